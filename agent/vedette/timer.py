"""When each job runs: the library `schedule`, and each host's own fixed place in the splay."""

import math
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
    """Calls `trigger(name)` when a job is due; never waits for it. One thread uses it."""

    def __init__(
        self, jobs: Mapping[str, JobOptions], trigger: Callable[[str], object], identity: str
    ) -> None:
        self._scheduler = schedule.Scheduler()
        self._trigger = trigger
        self._identity = identity
        self._intervals: dict[str, int] = {}
        self._first: dict[str, float] = {}  # {job: when it starts first, on the monotonic clock}
        self.plan(jobs)

    def plan(self, jobs: Mapping[str, JobOptions]) -> None:
        """Drive these jobs from now on. Those whose interval stays as it was keep their pace."""
        now, before = time.monotonic(), self._intervals
        self._intervals = {name: options.interval_seconds for name, options in jobs.items()}
        for name in {*before} - {*jobs}:
            self._first.pop(name, None)
            self._scheduler.clear(name)
        for name, options in jobs.items():
            if name not in before:
                self._first[name] = now + options.splay_seconds * share(self._identity, name)
            elif before[name] != self._intervals[name] and name not in self._first:
                self._scheduler.clear(name)
                self._plan(name)

    def next_run(self, name: str) -> float | None:
        """Return when a job is due next, Unix seconds; None if it is not planned."""
        if name in self._first:
            return time.time() + self._first[name] - time.monotonic()
        planned = [job.next_run for job in self._scheduler.get_jobs(name) if job.next_run]
        return planned[0].timestamp() if planned else None

    def run(self, stop: Event, each_tick: Callable[[], object]) -> None:
        """Drive the jobs until `stop` is set; call `each_tick` about once a second."""
        offset = _clock_offset()
        while not stop.is_set():
            for name in sorted(self._first, key=lambda job: (self._first[job], job)):
                if self._first[name] <= time.monotonic():
                    del self._first[name]
                    self._trigger(name)
                    self._plan(name)
            if abs(_clock_offset() - offset) > _JUMP_SECONDS:
                offset = _clock_offset()
                for job in self._scheduler.get_jobs():
                    self._scheduler.cancel_job(job)
                    self._plan(*(str(tag) for tag in job.tags))
            self._scheduler.run_pending()
            each_tick()
            soonest = min(self._first.values(), default=math.inf) - time.monotonic()
            stop.wait(max(0.01, min(_TICK_SECONDS, soonest)))

    def _plan(self, name: str) -> None:
        self._scheduler.every(self._intervals[name]).seconds.do(self._trigger, name).tag(name)


def _clock_offset() -> float:
    """How far the local wall clock, which `schedule` plans by, is ahead of the monotonic one.

    It jumps when the clock is set, and twice a year: without care, every job of a host would sleep
    for an hour at the end of summer time.
    """
    return (datetime.now() - datetime(1970, 1, 1)).total_seconds() - time.monotonic()  # noqa: DTZ001, DTZ005 - the naive local time that schedule uses
