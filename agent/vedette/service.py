"""The agent as systemd sees it: ready, one line on how it is, and a watchdog."""

import time
from collections.abc import Callable, Mapping
from threading import Lock

from vedette.notify import Notify
from vedette.store import Record
from vedette.watchdog import Watchdog

# The job whose first run must be over before the agent calls itself ready: it takes milliseconds.
_FIRST_JOB = "stats"


class Service:
    """records: the store's. next_scan: when the next scan is due, Unix seconds.

    hanging: names the jobs whose threads hang. answers: asks the server (watchdog.py).
    """

    def __init__(
        self,
        notify: Notify,
        records: Callable[[], Mapping[str, Record]],
        next_scan: Callable[[], float | None],
        hanging: Callable[[], list[str]],
        answers: Callable[[float], bool],
    ) -> None:
        self._notify, self._records, self._next_scan = notify, records, next_scan
        seconds = notify.watchdog_seconds
        self._watchdog = Watchdog(seconds, notify.alive, hanging, answers) if seconds else None
        self._lock = Lock()
        self._serving = False
        self._begun = False
        self.refused = False

    def serving(self) -> None:
        """The configuration is valid and the sockets are bound."""
        self._serving = True
        self._notify.status("waiting for the first look at the host")

    def begin(self) -> None:
        """Tell, once, that the agent is ready, if it is. Called after each change of a record."""
        with self._lock:
            if self._serving and not self._begun and _looked(self._records()):
                self._begun = True
                self._notify.ready()

    def reloading(self) -> None:
        """The configuration is being read again."""
        self._notify.reloading()

    def reloaded(self, *, refused: bool) -> None:
        """That is over; refused: the old one stays in use."""
        self.refused = refused
        self._notify.ready()

    def turn(self) -> None:
        """To be called at every turn of the timer's loop."""
        self.begin()
        if self._begun:
            self._notify.status(status(self._records(), self._next_scan(), refused=self.refused))
        if self._watchdog is not None:
            self._watchdog.turn()

    def stopping(self) -> None:
        """The agent ends."""
        self._notify.stopping()


def _looked(records: Mapping[str, Record]) -> bool:
    """Whether the first look is over; a look that failed is counted, and does not end the agent."""
    first = records.get(_FIRST_JOB)
    return first is None or first.seen_at is not None or first.failure is not None


def status(records: Mapping[str, Record], next_scan: float | None, *, refused: bool) -> str:
    """Return one line: "3/4 jobs ok (sniff: not_permitted), next scan 12:04"."""
    monotonic = time.monotonic()
    troubles = {name: _trouble(record, monotonic) for name, record in records.items()}
    named = ", ".join(f"{name}: {what}" for name, what in troubles.items() if what)
    fine = sum(not what for what in troubles.values())
    line = f"{fine}/{len(troubles)} jobs ok" + (f" ({named})" if named else "")
    if next_scan is not None:
        line += f", next scan {time.strftime('%H:%M', time.localtime(next_scan))}"
    return line + (", new configuration refused: the old one is in use" if refused else "")


def _trouble(record: Record, monotonic: float) -> str:
    if record.failure is not None:
        return record.failure.reason
    if record.seen_at is None:
        return "first run"
    return "stale" if record.stale(monotonic) else ""
