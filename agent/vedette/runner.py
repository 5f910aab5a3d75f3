"""Runs each job in a worker thread of its own, and catches what goes wrong in one place.

A job never runs twice at once: what is due while it runs is skipped and counted. A run that is past
its deadline is counted as timed_out at once and told to stop; its thread is not waited for, so a
hung job costs only itself. What it still brings comes too late and is thrown away.
"""

import sqlite3
import time
from collections.abc import Callable, Mapping
from threading import Event, Lock, Thread
from typing import Any

from vedette import log, memory
from vedette.errors import BUG, JobError, NotReady
from vedette.history import Change, History
from vedette.job import Context, Job, JobOptions
from vedette.store import Store

Clock = Callable[[], float]


# After its deadline a run is told to stop, and its children are killed. A thread that is still not
# back so much later hangs for good: only a new process helps (watchdog.py).
_HANGS_SECONDS = 30.0
# A job that is switched off may take so long to end what it has started.
_SWITCH_OFF_SECONDS = 1.0
# Changes of one snapshot that get a line each: who invents neighbours must not fill the log, for
# journald drops what is too much, whatever it is.
_TOLD = 100
# A run that took so much of the processor, in its own thread, has taken memory for a moment too.
_MUCH_SECONDS = 0.05


class _Run:
    """One run under way, with the options of its start. `deadline`: by the monotonic clock."""

    def __init__(self, options: JobOptions) -> None:
        self.options = options
        self.started = time.monotonic()
        self.deadline = self.started + options.timeout_seconds
        self.stop = Event()
        self.over = False  # counted already: what comes now is late


class Worker:
    """One job, its options from the next run on, and the thread that runs it."""

    def __init__(self, job: Job[Any, Any], options: JobOptions, runner: "Runner") -> None:
        self.job = job
        self.options = options
        self._runner = runner
        self._lock = Lock()
        self._wake = Event()
        self._run: _Run | None = None
        self._thread = Thread(target=self._work, name=job.name, daemon=True)
        self._stopping = False

    def start(self) -> None:
        """Start the thread; it waits to be triggered."""
        self._thread.start()

    def trigger(self) -> bool:
        """Ask for a run. Returns False, and counts a skip, if one is under way."""
        with self._lock:
            if self._run is not None or self._stopping:
                busy = not self._stopping
            else:
                self._run = _Run(self.options)
                busy = False
                self._wake.set()
        if busy:
            self._runner.store.skipped(self.job.name)
        return not busy

    def check(self) -> None:
        """Count a run that is past its deadline, once, and tell it to stop."""
        with self._lock:
            run = self._run
            if run is None or run.over or time.monotonic() < run.deadline:
                return
            run.over = True
        run.stop.set()
        self._failed("timed_out", f"it ran longer than {run.options.timeout_seconds:g} s", run)

    def stop(self) -> None:
        """Tell the run under way, and the thread, to end."""
        with self._lock:
            self._stopping = True
            if self._run is not None:
                self._run.over = True
                self._run.stop.set()
            self._wake.set()

    def join(self, timeout: float) -> None:
        """Wait for the thread, if it was ever started."""
        if self._thread.is_alive():
            self._thread.join(timeout)

    @property
    def idle(self) -> bool:
        """Whether no run is under way or asked for."""
        return self._run is None

    def hangs(self, grace_seconds: float) -> bool:
        """Whether a run is so long past its deadline and its thread is still not back."""
        run = self._run
        return run is not None and time.monotonic() > run.deadline + grace_seconds

    def run_once(self, tell: Callable[[float], None]) -> None:
        """Run here and now, in the caller's thread. tell: told the progress, 0 to 1."""
        with self._lock:
            run = self._run = _Run(self.options)
        try:
            self._observe(run, tell)
        finally:
            with self._lock:
                self._run = None

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            with self._lock:
                run = self._run
                if self._stopping:
                    return
            if run is not None:
                used = time.thread_time()
                self._observe(run)
                if time.thread_time() - used > _MUCH_SECONDS:  # it took memory as well
                    memory.give_back()
                with self._lock:
                    self._run = None

    def _observe(self, run: _Run, tell: Callable[[float], None] = lambda _: None) -> None:
        name, store = self.job.name, self._runner.store
        store.started(name)

        def advanced(ratio: float, text: str) -> None:
            store.advanced(name, ratio, text)
            tell(ratio)

        record = store.records().get(name)
        if record is None:  # switched off meanwhile
            return
        context: Context[Any] = Context(
            previous=record.snapshot,
            latest=store,
            known=self._runner.history.known,
            stop=run.stop,
            progress=advanced,
            now=self._runner.now,
        )
        try:
            for snapshot in self.job.observe(run.options, context):
                if run.over:
                    return
                self._keep(snapshot)
        except JobError as exc:
            self._finish(run, exc.reason, str(exc))
        except sqlite3.Error as exc:
            self._finish(run, NotReady.reason, f"history cannot be used: {exc}")
        except Exception as exc:  # noqa: BLE001 - the one place where a bug in a job ends
            log.event("error", "bug in a job", trace=True, job_name=name)
            self._finish(run, BUG, f"{type(exc).__name__}: {exc}")
        else:
            self._finish(run, None, "")

    def _keep(self, snapshot: object) -> None:
        families = tuple(self.job.families(snapshot))
        self._runner.store.kept(self.job.name, snapshot, families)
        self._runner.wake_waiting()
        facts = tuple(self.job.facts(snapshot))
        if facts:
            changes = self._runner.history.remember(facts, self._runner.now())
            for change in changes[:_TOLD]:
                _tell(change)
            if len(changes) > _TOLD:
                log.event(
                    "info", "more changed: the history has it",
                    job_name=self.job.name, changes=len(changes) - _TOLD,
                )  # fmt: skip

    def _finish(self, run: _Run, reason: str | None, message: str) -> None:
        with self._lock:
            if run.over:
                return
            run.over = True
        if reason is None:
            record = self._runner.store.records().get(self.job.name)
            if record is not None and record.failure is not None:
                log.event("info", "job works again", job_name=self.job.name)
            self._runner.store.succeeded(self.job.name, time.monotonic() - run.started)
        else:
            self._failed(reason, message, run)

    def _failed(self, reason: str, message: str, run: _Run) -> None:
        record = self._runner.store.records().get(self.job.name)
        before = None if record is None else record.failure
        # A job that fails every five seconds for one reason says so once.
        if before is None or before.reason != reason:
            log.event("warning", "job failed", job_name=self.job.name, reason=reason, error=message)
        self._runner.store.failed(self.job.name, reason, message, time.monotonic() - run.started)
        self._runner.wake_waiting()


class Runner:
    """All workers. `now`: Unix seconds."""

    def __init__(
        self,
        jobs: Mapping[str, tuple[Job[Any, Any], JobOptions]],
        store: Store,
        history: History,
        now: Clock = time.time,
    ) -> None:
        self.store = store
        self.history = history
        self.now = now
        self.workers: dict[str, Worker] = {}
        self._started = False
        self._waiting: set[str] = set()
        self._lock = Lock()
        self.configure(jobs)

    def configure(self, jobs: Mapping[str, tuple[Job[Any, Any], JobOptions]]) -> set[str]:
        """Run these jobs from now on, with these options from their next run on.

        Returns the names of those that ran so far and no longer do: their records are gone.
        """
        workers = {}
        for name, (job, options) in jobs.items():
            worker = self.workers.get(name)
            if worker is None:
                worker = Worker(job, options, self)
                if self._started:
                    worker.start()
            worker.options = options
            workers[name] = worker
            self.store.register(name, options.interval_seconds, options.timeout_seconds)
        gone = {name: worker for name, worker in self.workers.items() if name not in workers}
        with self._lock:
            self.workers = workers
            self._waiting.difference_update(gone)
        for worker in gone.values():
            worker.stop()
        for name, worker in gone.items():
            worker.join(_SWITCH_OFF_SECONDS)
            self.store.forget(name)
        return set(gone)

    def trigger(self, name: str) -> None:
        """Ask for a run of one job; the first one waits for the jobs that it builds on."""
        with self._lock:
            if name in self.workers:
                self._waiting.add(name)
        self.wake_waiting()

    def wake_waiting(self) -> None:
        """Start what has waited for a snapshot that is there by now, or has failed to come."""
        with self._lock:
            ready = [name for name in sorted(self._waiting) if not self._waits(name)]
            self._waiting.difference_update(ready)
            workers = [self.workers[name] for name in ready]
        for worker in workers:
            worker.trigger()

    def _waits(self, name: str) -> bool:
        records = self.store.records()
        return any(
            other in records and records[other].snapshot is None and records[other].failure is None
            for other in self.workers[name].job.after
        )

    def start(self) -> None:
        """Start the worker threads."""
        self._started = True
        for worker in self.workers.values():
            worker.start()

    def check(self) -> None:
        """Look for runs past their deadlines. To be called about once a second."""
        for worker in self.workers.values():
            worker.check()

    def hanging(self, grace_seconds: float = _HANGS_SECONDS) -> list[str]:
        """Return the names of the jobs whose threads hang."""
        return sorted(n for n, worker in self.workers.items() if worker.hangs(grace_seconds))

    def stop(self, grace_seconds: float) -> None:
        """Tell everything to end and wait at most so long for all of it."""
        for worker in self.workers.values():
            worker.stop()
        end = time.monotonic() + grace_seconds
        for worker in self.workers.values():
            worker.join(max(0.0, end - time.monotonic()))


def _tell(change: Change) -> None:
    values = change.after if change.after is not None else change.before
    before = {f"{key}_before": value for key, value in (change.before or {}).items()}
    log.event(
        "info",
        f"{change.kind} {change.what}",
        key=change.key,
        **(values or {}),
        **(before if change.what == "changed" else {}),
    )
