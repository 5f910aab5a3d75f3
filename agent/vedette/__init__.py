"""A sentry on every host: what is open, what talks, what changed, and how much it matters."""

__version__ = "0.1.0"
