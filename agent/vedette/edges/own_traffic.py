"""When this agent itself asked ports: what is seen meanwhile is not somebody's use of them.

Its scans reach every open port of this host, each time; without this no port would ever be idle.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_lock = Lock()
_asking = 0
_ended = float("-inf")


@contextmanager
def asking() -> Iterator[None]:
    """Say that ports are asked for as long as the block runs. Any thread may."""
    global _asking, _ended  # noqa: PLW0603 - there is one agent in a process
    with _lock:
        _asking += 1
    try:
        yield
    finally:
        with _lock:
            _asking -= 1
            _ended = time.monotonic()


def within(seconds: float) -> bool:
    """Return whether ports were asked in the last so many seconds, or are now."""
    with _lock:
        return _asking > 0 or time.monotonic() - _ended < seconds
