"""When each job runs: the library `schedule`, and each host's own fixed place in the splay."""

import random
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from threading import Event

import schedule

from vedette.job import JobOptions

_TICK_SECONDS = 1.0
_JUMP_SECONDS = 2.0


def share(identity: str, name: str) -> float:
    """Return this host's fixed number in [0, 1): hosts that start together spread out."""
    return random.Random(f"{identity}/{name}").random()  # noqa: S311 - spread, not secrecy


class Timer:
    """Calls `trigger(name)` when a job is due; never waits for it."""

    def __init__(
        self, jobs: Mapping[str, JobOptions], trigger: Callable[[str], object], identity: str
    ) -> None:
        self._scheduler = schedule.Scheduler()
        self._trigger = trigger
        self._first = sorted(
            (options.splay_seconds * share(identity, name), name) for name, options in jobs.items()
        )
        self._intervals = {name: options.interval_seconds for name, options in jobs.items()}

    def run(self, stop: Event, each_tick: Callable[[], object]) -> None:
        """Drive the jobs until `stop` is set; call `each_tick` about once a second."""
        start = time.monotonic()
        offset = _clock_offset()
        while not stop.is_set():
            while self._first and self._first[0][0] <= time.monotonic() - start:
                _, name = self._first.pop(0)
                self._trigger(name)
                self._plan(name)
            if abs(_clock_offset() - offset) > _JUMP_SECONDS:
                offset = _clock_offset()
                for job in self._scheduler.get_jobs():
                    self._scheduler.cancel_job(job)
                    self._plan(*(str(tag) for tag in job.tags))
            self._scheduler.run_pending()
            each_tick()
            soonest = (
                self._first[0][0] - (time.monotonic() - start) if self._first else _TICK_SECONDS
            )
            stop.wait(max(0.01, min(_TICK_SECONDS, soonest)))

    def _plan(self, name: str) -> None:
        self._scheduler.every(self._intervals[name]).seconds.do(self._trigger, name).tag(name)


def _clock_offset() -> float:
    """How far the local wall clock, which `schedule` plans by, is ahead of the monotonic one.

    It jumps when the clock is set, and twice a year: without care, every job of a host would sleep
    for an hour at the end of summer time.
    """
    return (datetime.now() - datetime(1970, 1, 1)).total_seconds() - time.monotonic()  # noqa: DTZ001, DTZ005 - the naive local time that schedule uses
