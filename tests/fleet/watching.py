"""Somebody who asks an agent all the time, as Prometheus does, only more often."""

import re
import time
import urllib.request
from itertools import pairwise
from threading import Event, Thread
from types import TracebackType
from typing import Self

_VERSION = re.compile(rb'^vedette_build_info\{[^}\n]*version="([^"]*)"', re.MULTILINE)
_PAUSE_SECONDS = 0.2


def version_of(address: str) -> str:
    """Return the version that answers there now, or ""."""
    try:
        with urllib.request.urlopen(f"http://{address}:8000/metrics", timeout=2) as answer:
            found = _VERSION.search(answer.read())
    except OSError:
        return ""
    return found[1].decode() if found else ""


class Watch:
    """While it is entered, what answers: [(when, version or "")]."""

    def __init__(self, address: str) -> None:
        self.seen: list[tuple[float, str]] = []
        self._address = address
        self._stop = Event()
        self._thread = Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._stop.set()
        self._thread.join()

    def away_seconds(self, version: str) -> float:
        """Return how long that version did not answer, at the longest."""
        return self._longest([when for when, seen in self.seen if seen == version])

    def silent_seconds(self) -> float:
        """Return how long nothing answered, at the longest."""
        return self._longest([when for when, seen in self.seen if seen])

    def _longest(self, good: list[float]) -> float:
        assert len(good) >= 2, self.seen
        return max(after - before for before, after in pairwise(good))

    def _ask(self) -> None:
        while not self._stop.wait(_PAUSE_SECONDS):
            self.seen.append((time.monotonic(), version_of(self._address)))
