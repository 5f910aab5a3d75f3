"""When a publisher sends: at its own place in the interval, and how soon again after a failure."""

import random
from collections.abc import Callable

from vedette.publish.remote import FINAL, Outcome

_FIRST_RETRY_SECONDS = 1.0
# What a server may ask for by Retry-After: more would be a way to silence a host.
_LONGEST_PAUSE_SECONDS = 300.0
# A slot that comes sooner than this share of the interval is the one that was just used.
_SAME_SLOT = 0.05


class Pace:
    """Slots are fixed by the clock on the wall: a fleet that restarts at once stays spread.

    phase: this host's place in the interval, in [0, 1). jitter: (low, high) -> a number between.
    """

    def __init__(
        self,
        interval_seconds: float,
        phase: float,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._interval = interval_seconds
        self._phase = phase
        self._jitter = jitter
        self._failures = 0

    def until_slot(self, now: float, *, first: bool = False) -> float:
        """Return the seconds until this host's next slot. now: Unix seconds."""
        wait = (self._phase * self._interval - now) % self._interval
        return wait if first or wait > _SAME_SLOT * self._interval else wait + self._interval

    def after(self, outcome: Outcome, until_slot: float) -> float:
        """Return the seconds until the next attempt, after one that went like this.

        Exponential with full jitter, until it would reach over the interval: from then on each slot
        is one attempt, so that a fleet returns as spread as it was.
        """
        pause = min(outcome.retry_after or 0.0, max(_LONGEST_PAUSE_SECONDS, self._interval))
        if not outcome.reason:
            self._failures = 0
            return until_slot
        ceiling = _FIRST_RETRY_SECONDS * 2**self._failures
        if outcome.reason in FINAL or ceiling >= self._interval:
            return self._slot_after(pause, until_slot)
        self._failures += 1
        wait = max(pause, self._jitter(0.0, ceiling))
        return wait if wait < until_slot else self._slot_after(pause, until_slot)

    def _slot_after(self, pause: float, until_slot: float) -> float:
        """The first slot that is not sooner than `pause`."""
        while until_slot < pause:
            until_slot += self._interval
        return until_slot
