"""timer.py: when jobs start."""

import os
import time
from collections.abc import Iterator
from threading import Event, Thread

import pytest

from vedette.job import JobOptions
from vedette.timer import Timer, share


def test_a_hosts_share_is_fixed_and_its_own() -> None:
    """After a reboot of the whole fleet each host starts where it always does."""
    assert share("machine-1", "scan") == share("machine-1", "scan")
    assert (
        len({share("machine-1", "scan"), share("machine-2", "scan"), share("machine-1", "a")}) == 3
    )


def test_the_shares_of_a_thousand_hosts_are_spread() -> None:
    """In each tenth of the splay there is about a tenth of the hosts."""
    shares = [share(f"machine-{n}", "scan") for n in range(1000)]
    tenths = [sum(1 for s in shares if n <= 10 * s < n + 1) for n in range(10)]

    assert all(0 <= s < 1 for s in shares)
    assert sum(tenths) == 1000
    assert all(70 < count < 130 for count in tenths)


class Driven:
    """A timer in a thread, and what it has triggered."""

    def __init__(self, **jobs: JobOptions) -> None:
        self.triggered: list[tuple[str, float]] = []
        self.ticks = 0
        self._stop = Event()
        self._start = time.monotonic()  # before the timer counts from its own
        self.timer = Timer(jobs, self._note, "machine-1")
        self.planned: dict[str, JobOptions] | None = None
        self._thread = Thread(target=self.timer.run, args=(self._stop, self._tick), daemon=True)
        self._thread.start()

    def _note(self, name: str) -> None:
        self.triggered.append((name, time.monotonic() - self._start))

    def _tick(self) -> None:
        self.ticks += 1
        if self.planned is not None:  # in the timer's own thread, as in the agent
            self.timer.plan(self.planned)
            self.planned = None

    def names(self) -> list[str]:
        return [name for name, _ in self.triggered]

    def wait_for(self, count: int, seconds: float) -> None:
        end = time.monotonic() + seconds
        while len(self.triggered) < count and time.monotonic() < end:
            time.sleep(0.01)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(3)
        assert not self._thread.is_alive()


@pytest.fixture
def clock() -> Iterator[None]:
    """Put the time zone back that the test has changed."""
    before = os.environ.get("TZ")
    yield
    if before is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = before
    time.tzset()


def set_zone(zone: str) -> None:
    os.environ["TZ"] = zone
    time.tzset()


def test_jobs_start_at_once_or_at_their_place_in_the_splay() -> None:
    """And then at their intervals; each tick is told, for deadlines."""
    late = share("machine-1", "late") * 0.5
    driven = Driven(soon=JobOptions(interval_seconds=1), late=JobOptions(splay_seconds=0.5))
    driven.wait_for(3, 4)
    driven.stop()

    assert driven.names()[:3] == ["soon", "late", "soon"]
    (_, first), (_, second), (_, third) = driven.triggered[:3]
    assert first < 0.2
    assert late <= second < late + 0.2
    assert first + 0.9 <= third < first + 2.5
    assert driven.ticks >= 2


@pytest.mark.usefixtures("clock")
def test_no_job_sleeps_through_the_end_of_summer_time() -> None:
    """The library plans by the local wall clock: once a year all jobs would stop for an hour."""
    set_zone("UTC-2")
    driven = Driven(a=JobOptions(interval_seconds=1))
    driven.wait_for(1, 2)
    set_zone("UTC-1")  # one hour back
    driven.wait_for(2, 5)
    driven.stop()

    assert len(driven.triggered) >= 2


def test_a_host_that_runs_no_job_still_ticks() -> None:
    """Everything may be switched off: the page still says so."""
    driven = Driven()
    time.sleep(0.1)
    driven.stop()

    assert driven.ticks >= 1


def test_a_new_plan_starts_ends_and_changes_jobs_and_leaves_the_others_their_pace() -> None:
    """A reload every half a minute must not keep the scan from ever running."""
    hour = JobOptions(interval_seconds=3600)
    timer = Timer({"same": hour, "off": hour, "faster": hour}, lambda _: None, "machine-1")
    stop = Event()
    timer.run(stop, stop.set)
    before = timer.next_run("same")
    timer.plan({"same": hour, "faster": JobOptions(interval_seconds=60), "on": hour})

    assert before is not None
    assert before == timer.next_run("same")
    assert timer.next_run("off") is None
    assert timer.next_run("faster") == pytest.approx(time.time() + 60, abs=2)
    assert timer.next_run("on") == pytest.approx(time.time(), abs=2)


def test_a_job_that_is_switched_on_while_it_turns_starts_soon() -> None:
    """Nobody who reloads waits for an hour to see it."""
    driven = Driven(a=JobOptions(interval_seconds=3600))
    driven.wait_for(1, 2)
    driven.planned = {"b": JobOptions(interval_seconds=3600)}
    driven.wait_for(2, 5)
    driven.stop()

    assert driven.names() == ["a", "b"]
