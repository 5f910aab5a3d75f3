"""Tests that mostly wait run beside the others, each in a thread and on hosts of its own.

    @beside
    def test_something() -> None:

starts with its module; in its place among the tests its result is waited for.
"""

import os
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tests.live.netns import output

_LONGEST_SECONDS = 115

# By (module, name of the test).
_STORIES: dict[tuple[str, str], Callable[[], None]] = {}


class Running:
    """The stories of a module that are under way, by the names of their tests."""

    def __init__(self, module: str, wanted: set[str]) -> None:
        stories = {
            name: story
            for (there, name), story in _STORIES.items()
            if there == module and name in wanted
        }
        self._pool = ThreadPoolExecutor(max(1, len(stories)), thread_name_prefix="story")
        self._futures: dict[str, Future[None]] = {
            name: self._pool.submit(story) for name, story in stories.items()
        }

    def result(self, name: str) -> None:
        """Wait for one, and raise what it raised."""
        self._futures[name].result(_LONGEST_SECONDS)

    def end(self) -> None:
        """Have what still runs fail, by ending the processes that it is about."""
        while not all(future.done() for future in self._futures.values()):
            for path in Path("/run/netns").glob(f"vdt-{os.getpid()}-story-*"):
                for pid in output(["ip", "netns", "pids", path.name]).split():
                    with suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
            for future in self._futures.values():
                with suppress(Exception):
                    future.result(0.5)
        self._pool.shutdown()


def beside(story: Callable[[], None]) -> Callable[[Running], None]:
    """Make a test of it that waits for the result."""
    name = story.__name__
    _STORIES[story.__module__, name] = story

    def wait(stories: Running) -> None:
        stories.result(name)

    wait.__name__, wait.__doc__ = name, story.__doc__
    return wait
