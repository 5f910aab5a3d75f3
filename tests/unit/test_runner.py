"""runner.py: jobs of all kinds of misbehaviour in, counted failures out, and the others go on."""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

import pytest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from vedette import log
from vedette.errors import (
    BadOutput,
    JobError,
    NotPermitted,
    NotReady,
    TimedOut,
    ToolMissing,
)
from vedette.history import History
from vedette.job import Context, Fact, Facts, Job, JobOptions
from vedette.runner import Runner
from vedette.store import Record, Store

Observe = Callable[[JobOptions, Context[Any]], Iterable[Any]]


def gauge(snapshot: object) -> Iterable[Metric]:
    yield GaugeMetricFamily("vedette_seen", "What was seen.", value=float(str(snapshot)))


def job(name: str, observe: Observe, **more: Any) -> Job[JobOptions, Any]:
    return Job(name=name, options=JobOptions, observe=observe, **{"families": gauge, **more})


def sees(value: object) -> Observe:
    return lambda _options, _context: iter([value])


def raises(error: Exception) -> Observe:
    def observe(_options: JobOptions, _context: Context[Any]) -> Iterable[Any]:
        raise error

    return observe


@contextmanager
def running(*jobs: Job[JobOptions, Any], timeout_seconds: float = 30.0) -> Iterator[Runner]:
    options = JobOptions(timeout_seconds=timeout_seconds)
    runner = Runner({j.name: (j, options) for j in jobs}, Store(), History(None))
    runner.start()
    yield runner
    runner.stop(2.0)


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end, "it did not happen within 5 s"
        time.sleep(0.002)


def record(runner: Runner, name: str) -> Record:
    return runner.store.records()[name]


def run_out(runner: Runner, name: str) -> Record:
    """Run one job, and wait until that is over."""
    runner.trigger(name)
    until(lambda: runner.workers[name].idle and record(runner, name).running_since is None)
    return record(runner, name)


def failures(seen: Record) -> dict[str, int]:
    return {reason: count for reason, count in seen.failures.items() if count}


def test_a_good_run_brings_a_snapshot_and_its_families() -> None:
    """Families are made once, when the job has run, never at a scrape."""
    with running(job("a", sees(7))) as runner:
        seen = run_out(runner, "a")

    assert (seen.snapshot, seen.runs, failures(seen), seen.failure) == (7, 1, {}, None)
    assert [family.samples[0].value for family in seen.families] == [7.0]
    assert seen.last_success is not None


def test_a_job_never_runs_twice_at_once_and_skips_are_counted() -> None:
    """Two nmaps over one another would take twice as long each."""
    go, under_way = Event(), []

    def slow(_options: JobOptions, _context: Context[Any]) -> Iterator[int]:
        under_way.append(1)
        go.wait(5)
        yield len(under_way)

    with running(job("a", slow)) as runner:
        runner.trigger("a")
        until(lambda: under_way)
        runner.trigger("a")
        runner.trigger("a")
        go.set()
        until(lambda: runner.workers["a"].idle)
        seen = record(runner, "a")

    assert (seen.runs, seen.skipped, under_way) == (1, 2, [1])


def test_a_hung_job_costs_only_itself() -> None:
    """It is counted once, at its deadline; others run on; what it still brings is thrown away."""
    let_go, told_to_stop = Event(), []

    def hangs(_options: JobOptions, context: Context[Any]) -> Iterator[int]:
        let_go.wait(10)
        told_to_stop.append(context.stop.is_set())
        yield 666

    with running(job("hangs", hangs), job("works", sees(1)), timeout_seconds=0.05) as runner:
        runner.trigger("hangs")
        time.sleep(0.06)
        runner.check()
        runner.check()
        runner.trigger("hangs")

        assert run_out(runner, "works").snapshot == 1
        hung = record(runner, "hangs")
        assert (failures(hung), hung.runs, hung.skipped) == ({"timed_out": 1}, 1, 1)
        assert hung.failure is not None
        assert hung.failure.message == "it ran longer than 0.05 s"

        let_go.set()
        until(lambda: runner.workers["hangs"].idle)
        late = record(runner, "hangs")
        assert (late.snapshot, failures(late), late.last_success) == (None, {"timed_out": 1}, None)
        assert told_to_stop == [True]

        assert run_out(runner, "hangs").snapshot == 666  # it may try again


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ToolMissing("no nmap"), "tool_missing"),
        (NotPermitted("no raw sockets"), "not_permitted"),
        (TimedOut("too slow"), "timed_out"),
        (BadOutput("nonsense"), "bad_output"),
        (NotReady("shutting down"), "not_ready"),
    ],
)
def test_each_reason_is_counted_with_its_words(error: JobError, reason: str) -> None:
    """The label is one of few; the page shows the sentence."""
    with running(job("a", raises(error))) as runner:
        seen = run_out(runner, "a")

    assert failures(seen) == {reason: 1}
    assert seen.failure is not None
    assert (seen.failure.reason, seen.failure.message) == (reason, str(error))


def fails_late(_options: JobOptions, _context: Context[Any]) -> Iterator[int]:
    yield 5
    raise ZeroDivisionError("oh")


def bad_families(_: object) -> Iterable[Metric]:
    raise KeyError("families")


def bad_facts(_: object) -> Iterable[Facts]:
    raise IndexError("facts")


@pytest.mark.parametrize(
    ("faulty", "message", "snapshot"),
    [
        (job("a", raises(ValueError("x"))), "ValueError: x", None),
        (job("a", fails_late), "ZeroDivisionError: oh", 5),
        (job("a", sees(1), families=bad_families), "KeyError: 'families'", None),
        (job("a", sees(1), facts=bad_facts), "IndexError: facts", 1),
    ],
)
def test_a_bug_is_that_jobs_alone(
    faulty: Job[JobOptions, Any], message: str, snapshot: object
) -> None:
    """Whatever escapes is counted as a bug, and the next job does not notice."""
    with running(faulty, job("b", sees(2))) as runner:
        seen, other = run_out(runner, "a"), run_out(runner, "b")

    assert (failures(seen), seen.snapshot) == ({"bug": 1}, snapshot)
    assert seen.failure is not None
    assert seen.failure.message == message
    assert (other.snapshot, failures(other)) == (2, {})


def test_a_failed_run_keeps_the_last_good_snapshot() -> None:
    """One nmap that was killed must not make all ports vanish from the graphs."""
    answers = iter([sees(1), raises(BadOutput("x")), sees(3)])

    def changing(options: JobOptions, context: Context[Any]) -> Iterable[Any]:
        return next(answers)(options, context)

    with running(job("a", changing)) as runner:
        seen = [run_out(runner, "a") for _ in range(3)]

    assert [(s.snapshot, failures(s), s.failure is None) for s in seen] == [
        (1, {}, True),
        (1, {"bad_output": 1}, False),
        (3, {"bad_output": 1}, True),
    ]


def test_a_run_knows_its_own_last_snapshot() -> None:
    """Counters go on from it."""

    def counts(_options: JobOptions, context: Context[Any]) -> Iterable[int]:
        yield (context.previous or 0) + 1

    with running(job("a", counts)) as runner:
        seen = [run_out(runner, "a").snapshot for _ in range(3)]

    assert seen == [1, 2, 3]


def test_a_run_in_steps_shows_each_and_the_last_stays() -> None:
    """Open ports are shown seconds before it is known what they are."""
    go = Event()

    def steps(_options: JobOptions, _context: Context[Any]) -> Iterator[int]:
        yield 1
        go.wait(5)
        yield 2

    with running(job("a", steps)) as runner:
        runner.trigger("a")
        until(lambda: record(runner, "a").snapshot == 1)
        between = record(runner, "a")
        go.set()
        until(lambda: runner.workers["a"].idle)

        assert (between.last_success, between.running_since is None) == (None, False)
        assert record(runner, "a").snapshot == 2


def test_what_history_cannot_keep_is_not_ready() -> None:
    """A full disk is no bug of the job; its snapshot is shown all the same."""
    facts = Facts("port", (Fact("a", {}),))
    with running(job("a", sees(1), facts=lambda _: [facts])) as runner:
        runner.history.close()
        seen = run_out(runner, "a")

    assert (failures(seen), seen.snapshot) == ({"not_ready": 1}, 1)
    assert seen.failure is not None
    assert seen.failure.message.startswith("history cannot be used: ")


def test_known_facts_that_cannot_be_read_are_not_ready() -> None:
    """The same while reading, in the middle of a run."""

    def reads(_options: JobOptions, context: Context[Any]) -> Iterator[int]:
        yield len(context.known("port"))

    with running(job("a", reads)) as runner:
        runner.history.close()
        seen = run_out(runner, "a")

    assert failures(seen) == {"not_ready": 1}


def test_a_first_run_waits_for_the_snapshot_that_it_builds_on() -> None:
    """A fingerprint before the first scan would not know which ports are open."""
    with running(job("b", sees(2), after=("a",)), job("a", sees(1))) as runner:
        runner.trigger("b")
        time.sleep(0.05)
        before = record(runner, "b").runs
        runner.trigger("a")
        until(lambda: record(runner, "b").snapshot == 2)

        assert (before, record(runner, "b").skipped) == (0, 0)


def test_it_does_not_wait_for_a_job_that_fails() -> None:
    """Without nmap there is no scan ever; a host's own word on its system is there all the same."""
    missing = job("a", raises(ToolMissing("no nmap")))
    with running(job("b", sees(2), after=("a",)), missing) as runner:
        runner.trigger("b")
        runner.trigger("a")
        until(lambda: record(runner, "b").snapshot == 2)


def test_nor_for_a_job_that_is_switched_off() -> None:
    """It will never bring anything."""
    with running(job("b", sees(2), after=("a",))) as runner:
        assert run_out(runner, "b").snapshot == 2


def test_stopping_is_quick_even_if_a_job_hangs() -> None:
    """The service manager waits for five seconds, then it kills."""
    started, let_go = Event(), Event()

    def hangs(_options: JobOptions, _context: Context[Any]) -> Iterator[int]:
        started.set()
        let_go.wait(10)
        yield 1

    def heeds(_options: JobOptions, context: Context[Any]) -> Iterator[int]:
        context.stop.wait(10)
        raise NotReady("the run was told to stop")

    jobs = [job("hangs", hangs), job("heeds", heeds), job("idle", sees(1))]
    runner = Runner({j.name: (j, JobOptions()) for j in jobs}, Store(), History(None))
    runner.start()
    runner.trigger("hangs")
    runner.trigger("heeds")
    started.wait(5)
    begin = time.monotonic()
    runner.stop(0.3)
    took = time.monotonic() - begin
    let_go.set()

    assert took < 4
    assert failures(record(runner, "heeds")) == {}  # a shutdown is no failure
    runner.trigger("idle")
    assert record(runner, "idle").runs == 0


def test_a_run_in_the_callers_own_thread_is_counted_in_the_same_way() -> None:
    """`vedette once` has no schedule, and the same jobs."""
    told: list[float] = []

    def advances(_options: JobOptions, context: Context[Any]) -> Iterator[int]:
        context.progress(0.5, "halfway")
        yield 1

    jobs = [job("a", advances), job("b", raises(sqlite3.OperationalError("disk full")))]
    runner = Runner({j.name: (j, JobOptions()) for j in jobs}, Store(), History(None))
    for name in ("a", "b"):
        runner.workers[name].run_once(told.append)

    assert (record(runner, "a").snapshot, told) == (1, [0.5])
    assert failures(record(runner, "b")) == {"not_ready": 1}


def test_new_options_count_from_the_next_run_on() -> None:
    """The run under way goes on with its own, deadline included."""
    go, seen = Event(), []

    def observe(options: JobOptions, _context: Context[Any]) -> Iterator[int]:
        seen.append(options.timeout_seconds)
        go.wait(5)
        yield 1

    slow = job("a", observe)
    with running(slow, timeout_seconds=30.0) as runner:
        runner.trigger("a")
        until(lambda: seen)
        gone = runner.configure({"a": (slow, JobOptions(timeout_seconds=0.001))})
        time.sleep(0.01)
        runner.check()
        go.set()
        until(lambda: runner.workers["a"].idle)
        first = record(runner, "a")
        run_out(runner, "a")

    assert gone == set()
    assert (failures(first), first.timeout_seconds) == ({}, 0.001)
    assert seen == [30.0, 0.001]


def test_a_job_that_is_switched_off_ends_and_its_record_goes() -> None:
    """Its series vanish; what it still brings is lost, and nobody stumbles over it."""
    started, told, let_go = Event(), [], Event()

    def observe(_options: JobOptions, context: Context[Any]) -> Iterator[int]:
        started.set()
        told.append(context.stop.wait(5))
        let_go.wait(5)
        context.progress(0.5, "late")
        yield 1

    slow, other = job("slow", observe), job("other", sees(2))
    with running(slow, other) as runner:
        worker = runner.workers["slow"]
        runner.trigger("slow")
        started.wait(5)
        gone = runner.configure({"other": (other, JobOptions())})
        let_go.set()
        until(lambda: worker.idle)
        runner.trigger("slow")

        assert (gone, told, list(runner.store.records())) == ({"slow"}, [True], ["other"])
        assert run_out(runner, "other").snapshot == 2


def test_a_job_that_is_switched_on_runs() -> None:
    """Also one that was switched off before."""
    one, two = job("one", sees(1)), job("two", sees(2))
    with running(one) as runner:
        runner.configure({"two": (two, JobOptions())})
        runner.configure({"one": (one, JobOptions()), "two": (two, JobOptions())})

        assert [run_out(runner, name).snapshot for name in ("one", "two")] == [1, 2]


def test_a_thread_that_does_not_come_back_hangs() -> None:
    """Past its deadline a job is only late: it was told to stop, its children are killed."""
    let_go = Event()

    def hangs(_options: JobOptions, _context: Context[Any]) -> Iterator[int]:
        let_go.wait(10)
        yield 1

    with running(job("hangs", hangs), job("works", sees(1)), timeout_seconds=0.01) as runner:
        runner.trigger("hangs")
        time.sleep(0.05)
        runner.check()
        names = runner.hanging(0.01), runner.hanging(10)
        let_go.set()
        until(lambda: runner.workers["hangs"].idle)

        assert names == (["hangs"], [])
        assert runner.hanging(0.01) == []


def test_a_flood_of_changes_is_told_in_a_hundred_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """A neighbour who invents addresses must not fill the log: the history has them all."""
    many = (Facts("neighbour", tuple(Fact(str(n), {}) for n in range(1000)), complete=False),)
    log.start()
    with running(job("sniff", sees(1), facts=lambda _: many)) as runner:
        run_out(runner, "sniff")

        assert len(runner.history.changes(2000)) == 1000
    told = capsys.readouterr().err.splitlines()
    assert "neighbour appeared key=99" in told[-2]
    assert told[-1].endswith("more changed: the history has it job_name=sniff changes=900")
    assert len(told) == 101
