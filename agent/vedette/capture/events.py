"""What is told of the network, each thing once in a while only."""

from collections import Counter
from typing import Any

from vedette.capture.bounded import Bounded

_WAITING = 32  # of one kind in one window; more are told of none
_REMEMBERED = 4096


class Events:
    """Those of a window, and when each was told last."""

    def __init__(self, cooldown_seconds: float) -> None:
        self._cooldown = cooldown_seconds
        self._told: Bounded[tuple[str, str], float] = Bounded(_REMEMBERED)
        self._waiting: list[list[Any]] = []
        self._kinds: Counter[str] = Counter()

    def due(self, kind: str, subject: str, at: float) -> bool:
        """Return whether this would be told: who has it costly to say why asks first."""
        last = self._told.get((kind, subject))
        return (last is None or at - last >= self._cooldown) and self._kinds[kind] < _WAITING

    def tell(self, kind: str, subject: str, at: float, **evidence: Any) -> None:
        """Tell this, unless it was told within the cooldown.

        subject: whom it is about. evidence: what was seen, with its figures.
        """
        if not self.due(kind, subject, at):
            return
        self._told.put((kind, subject), at)
        self._kinds[kind] += 1
        self._waiting.append([kind, subject, evidence, round(at, 3)])

    def take(self) -> list[list[Any]]:
        """Return what was told since the last call: [kind, subject, evidence, Unix seconds]."""
        waiting, self._waiting = self._waiting, []
        self._kinds.clear()
        return waiting
