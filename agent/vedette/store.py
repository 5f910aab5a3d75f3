"""The newest record of each job: its snapshot, and how its runs went. In memory, thread-safe."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, TypeVar

from prometheus_client.metrics_core import Metric

from vedette.errors import REASONS

T = TypeVar("T")

# A snapshot is stale, and no longer handed to other jobs, after this many intervals without news.
STALE_INTERVALS = 3


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run brought nothing. at: Unix seconds."""

    at: float
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """All there is to know of one job. Times are Unix seconds, durations seconds.

    news_at: when the last good news came, or since when the job runs at this interval, by the
    monotonic clock: a clock that is set makes nothing stale.
    seen_at: when the snapshot was taken. failure: the last run's, None if it went well.
    running_since: None between runs. progress: how far the run is (0 to 1), and what it does.
    """

    name: str
    interval_seconds: float
    timeout_seconds: float
    news_at: float
    snapshot: Any = None
    families: tuple[Metric, ...] = ()
    seen_at: float | None = None
    runs: int = 0
    skipped: int = 0
    failures: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    failure: Failure | None = None
    last_success: float | None = None
    last_duration: float | None = None
    running_since: float | None = None
    progress: tuple[float, str] = (0.0, "")

    def stale(self, monotonic: float) -> bool:
        """Whether the last good news is too old. A run may take its time-out on top."""
        age = monotonic - self.news_at
        return age > STALE_INTERVALS * self.interval_seconds + self.timeout_seconds


class Store:
    """{job's name: Record}. Subscribers are told after a record has changed.

    now: Unix seconds. monotonic: seconds of a clock that nobody sets.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now, self._monotonic = now, monotonic
        self._lock = Lock()
        self._records: dict[str, Record] = {}
        self._subscribers: list[Callable[[bool], None]] = []

    def register(self, name: str, interval_seconds: float, timeout_seconds: float) -> None:
        """Make an empty record, so that a job that never ran shows up as such.

        Of a job that has one, only these two are changed.
        """
        empty = Record(
            name=name,
            interval_seconds=interval_seconds,
            timeout_seconds=timeout_seconds,
            news_at=self._monotonic(),
        )
        with self._lock:
            old = self._records.get(name, empty)
            same_pace = old.interval_seconds == interval_seconds
            self._records[name] = replace(
                old,
                interval_seconds=interval_seconds,
                timeout_seconds=timeout_seconds,
                # Fewer seconds between runs do not make an old snapshot stale at once.
                news_at=old.news_at if same_pace else empty.news_at,
            )

    def forget(self, name: str) -> None:
        """Drop a job's record: it was switched off. What its last run still tells is lost."""
        with self._lock:
            self._records.pop(name, None)

    def subscribe(self, subscriber: Callable[[bool], None]) -> None:
        """Call `subscriber` after each change, in the thread that made it.

        It is told whether a run is over (or was skipped), or has only brought a snapshot.
        """
        self._subscribers.append(subscriber)

    def records(self) -> dict[str, Record]:
        """Return {name: record}, sorted by name."""
        with self._lock:
            return dict(sorted(self._records.items()))

    def get(self, kind: type[T]) -> T | None:
        """Return the newest snapshot of this class, or None if none is fresh."""
        monotonic = self._monotonic()
        for record in self.records().values():
            if isinstance(record.snapshot, kind) and not record.stale(monotonic):
                return record.snapshot
        return None

    def started(self, name: str) -> None:
        """A run begins. Subscribers are told when it brings something, or ends."""
        with self._lock:
            if (record := self._records.get(name)) is not None:
                self._records[name] = replace(
                    record, runs=record.runs + 1, running_since=self._now(), progress=(0.0, "")
                )

    def advanced(self, name: str, ratio: float, text: str) -> None:
        """A run is so far. Subscribers are not told: it may come many times a second."""
        with self._lock:
            if (record := self._records.get(name)) is not None:
                self._records[name] = replace(record, progress=(ratio, text))

    def kept(self, name: str, snapshot: object, families: tuple[Metric, ...]) -> None:
        """A run has brought a snapshot; it may bring a better one."""
        self._change(
            name, over=False, snapshot=snapshot, families=families, seen_at=self._now(),
            news_at=self._monotonic(),
        )  # fmt: skip

    def succeeded(self, name: str, duration: float) -> None:
        """A run is over and went well."""
        self._change(
            name, last_success=self._now(), last_duration=duration, failure=None, running_since=None
        )

    def failed(self, name: str, reason: str, message: str, duration: float) -> None:
        """A run is over and brought nothing (more); the last snapshot stays."""
        self._change(
            name,
            failures=lambda r: {**r.failures, reason: r.failures[reason] + 1},
            failure=Failure(self._now(), reason, message),
            last_duration=duration,
            running_since=None,
        )

    def skipped(self, name: str) -> None:
        """A run was due while the one before it was still under way."""
        self._change(name, skipped=lambda r: r.skipped + 1)

    def _change(self, name: str, *, over: bool = True, **changes: Any) -> None:
        with self._lock:
            record = self._records.get(name)
            if record is None:
                return
            values = {
                key: change(record) if callable(change) else change
                for key, change in changes.items()
            }
            self._records[name] = replace(record, **values)
        for subscriber in self._subscribers:
            subscriber(over)
