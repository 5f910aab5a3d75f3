"""Reading the configuration again (SIGHUP) while the agent runs on.

It is read in a thread of its own, because the child that does it may take its time; what comes of
it is picked up by the timer's loop.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from threading import Thread
from typing import Any

from vedette.errors import ConfigError
from vedette.settings import Settings


class Reload:
    """load: reads the settings; raises ConfigError. begun: called when a reading begins."""

    def __init__(self, load: Callable[[], Settings], begun: Callable[[], object]) -> None:
        self._load, self._begun = load, begun
        self._asked = False
        self._thread: Thread | None = None
        self._result: Settings | ConfigError | None = None

    def ask(self) -> None:
        """Have it read soon. A plain flag, so that a signal handler may call this at any moment."""
        self._asked = True

    def turn(self) -> Settings | ConfigError | None:
        """Return what was read, once, if it is there. To be called often; never waits."""
        if self._thread is None:
            if self._asked:
                self._asked = False
                self._begun()
                self._result = None
                self._thread = Thread(target=self._read, name="reload", daemon=True)
                self._thread.start()
            return None
        if self._thread.is_alive():
            return None
        self._thread = None
        return self._result or ConfigError(["it could not be read; the log says why"])

    def _read(self) -> None:
        try:
            self._result = self._load()
        except ConfigError as exc:
            self._result = exc
        except OSError as exc:  # no process, no pipe, no memory
            self._result = ConfigError([f"it could not be read: {exc}"])


def merged(running: Settings, read: Settings) -> tuple[Settings, list[str]]:
    """Return what the agent can run with from now on, and the settings that need a restart."""
    possible = replace(
        read,
        state_directory=running.state_directory,
        publish=replace(running.publish, max_series=read.publish.max_series),
    )
    return possible, sorted(_differences(asdict(possible), asdict(read)))


def _differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Return the paths ("publish.expose.port") at which two trees of settings differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            difference
            for key in one.keys() | other.keys()
            for difference in _differences(
                one.get(key), other.get(key), f"{path}.{key}" if path else key
            )
        ]
    return [] if one == other else [path]
