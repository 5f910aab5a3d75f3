"""store.py: what is known of each job, and for how long that is believed."""

from dataclasses import dataclass

from vedette.errors import REASONS
from vedette.store import Failure, Record, Store

NO_FAILURES = dict.fromkeys(REASONS, 0)


@dataclass(frozen=True)
class Seen:
    number: int


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def store_of(clock: Clock) -> Store:
    store = Store(clock, clock)
    store.register("job", interval_seconds=10, timeout_seconds=5)
    return store


def test_a_good_run_and_a_bad_one() -> None:
    """The bad one keeps the last good snapshot, and says why there is no newer one."""
    clock = Clock()
    store = store_of(clock)
    store.started("job")
    store.advanced("job", 0.5, "halfway")
    store.kept("job", Seen(1), ())
    store.succeeded("job", 2.0)
    clock.now = 1010.0
    store.skipped("job")
    store.started("job")
    store.failed("job", "timed_out", "too slow", 5.0)

    assert store.records() == {
        "job": Record(
            name="job",
            interval_seconds=10,
            timeout_seconds=5,
            news_at=1000.0,
            snapshot=Seen(1),
            seen_at=1000.0,
            runs=2,
            skipped=1,
            failures={**NO_FAILURES, "timed_out": 1},
            failure=Failure(1010.0, "timed_out", "too slow"),
            last_success=1000.0,
            last_duration=5.0,
        )
    }


def test_a_run_under_way_shows_since_when_and_how_far() -> None:
    """A scan takes minutes: the page says what it is doing."""
    store = store_of(Clock())
    store.started("job")
    store.advanced("job", 0.5, "halfway")
    record = store.records()["job"]

    assert (record.running_since, record.progress) == (1000.0, (0.5, "halfway"))


def test_a_snapshot_is_handed_out_by_its_class_until_it_is_stale() -> None:
    """After three intervals and a time-out without news, nobody should build on it."""
    clock = Clock()
    store = store_of(clock)
    assert store.get(Seen) is None

    store.kept("job", Seen(1), ())
    clock.now += 3 * 10 + 5
    assert store.get(Seen) == Seen(1)
    assert store.get(Record) is None

    clock.now += 0.1
    assert store.get(Seen) is None
    assert store.records()["job"].stale(clock.now)


def test_a_clock_that_is_set_makes_nothing_stale() -> None:
    """A year ahead at once, as when a host gets its time after it has booted."""
    clock, steady = Clock(), Clock()
    store = Store(clock, steady)
    store.register("job", interval_seconds=10, timeout_seconds=5)
    store.kept("job", Seen(1), ())
    clock.now += 365 * 86_400

    assert store.get(Seen) == Seen(1)
    clock.now -= 2 * 365 * 86_400
    steady.now += 36
    assert store.get(Seen) is None


def test_a_job_that_never_ran_becomes_stale_as_well() -> None:
    """A job that hangs from its first run on must not look as if it were just starting."""
    clock = Clock()
    record = store_of(clock).records()["job"]

    assert not record.stale(1035.0)
    assert record.stale(1035.1)


def test_subscribers_are_told_after_the_change_and_whether_the_run_is_over() -> None:
    """What they read then is what they were told of."""
    store = store_of(Clock())
    told: list[tuple[bool, object]] = []
    store.subscribe(lambda over: told.append((over, store.records()["job"].snapshot)))
    store.started("job")
    store.advanced("job", 0.1, "")
    store.kept("job", Seen(1), ())
    store.succeeded("job", 1.0)
    store.skipped("job")

    assert told == [(False, Seen(1)), (True, Seen(1)), (True, Seen(1))]


def test_records_are_sorted_by_name() -> None:
    """As /metrics and the page show them."""
    store = Store(Clock())
    for name in ("stats", "fingerprint", "scan"):
        store.register(name, 1, 1)

    assert list(store.records()) == ["fingerprint", "scan", "stats"]


def test_another_pace_keeps_what_was_seen_and_starts_the_clock_anew() -> None:
    """After a reload a snapshot is not stale only because news is due more often now."""
    clock = Clock()
    store = Store(clock, clock)
    store.register("job", interval_seconds=900, timeout_seconds=5)
    store.kept("job", Seen(1), ())
    clock.now += 800
    store.register("job", interval_seconds=10, timeout_seconds=6)
    before = store.get(Seen)
    clock.now += 40

    assert (before, store.get(Seen)) == (Seen(1), None)
    record = store.records()["job"]
    assert (record.interval_seconds, record.timeout_seconds, record.seen_at) == (10, 6, 1000.0)


def test_of_a_job_that_was_switched_off_nothing_is_known_and_nothing_is_taken() -> None:
    """Its last run may still tell something."""
    store = store_of(Clock())
    store.kept("job", Seen(1), ())
    store.forget("job")
    store.started("job")
    store.advanced("job", 0.5, "late")
    store.kept("job", Seen(2), ())
    store.failed("job", "bug", "late", 1.0)

    assert (store.records(), store.get(Seen)) == ({}, None)
