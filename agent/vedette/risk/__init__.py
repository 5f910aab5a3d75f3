"""How much an open port matters, and why."""
