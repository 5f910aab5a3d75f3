"""reload.py: reading again without making anybody wait, and what can be taken over."""

import time
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from threading import Event

from vedette import jobs
from vedette.errors import ConfigError
from vedette.publish.options import Expose
from vedette.publish.options import Options as Publish
from vedette.reload import Reload, merged
from vedette.settings import Settings

RUNNING = Settings(
    state_directory=Path("/a"), jobs={name: job.options() for name, job in jobs.found().items()}
)


def result_of(reload: Reload) -> Settings | ConfigError:
    end = time.monotonic() + 5
    while (result := reload.turn()) is None:
        assert time.monotonic() < end
        time.sleep(0.002)
    return result


def test_nothing_is_read_unless_somebody_asks() -> None:
    """And what was read is handed over once."""
    begun: list[int] = []
    reload = Reload(lambda: RUNNING, lambda: begun.append(1))
    before = [reload.turn() for _ in range(3)]
    reload.ask()

    assert (before, begun) == ([None, None, None], [])
    assert result_of(reload) is RUNNING
    assert (reload.turn(), begun) == (None, [1])


def test_a_slow_reader_keeps_nobody_waiting_and_a_second_wish_is_not_lost() -> None:
    """SIGHUP while the file is being read: it may have changed since."""
    go, readings = Event(), []

    def load() -> Settings:
        readings.append(1)
        go.wait(5)
        return RUNNING

    reload = Reload(load, lambda: None)
    reload.ask()
    begin = time.monotonic()
    turns = [reload.turn() for _ in range(100)]
    reload.ask()
    took = time.monotonic() - begin
    go.set()
    result_of(reload)
    result_of(reload)

    assert turns == [None] * 100
    assert took < 4
    assert len(readings) == 2


def test_what_goes_wrong_is_a_refusal_in_words() -> None:
    """The old configuration stays, whatever happened to the reader."""

    def invalid() -> Settings:
        raise ConfigError(["scan.ports: no"])

    def no_process() -> Settings:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    problems = []
    for load in (invalid, no_process):
        reload = Reload(load, lambda: None)
        reload.ask()
        result = result_of(reload)
        assert isinstance(result, ConfigError)
        problems += result.problems

    assert problems == [
        "scan.ports: no",
        "it could not be read: [Errno 11] Resource temporarily unavailable",
    ]


def test_jobs_log_and_ceiling_are_taken_over_and_the_rest_is_named() -> None:
    """A socket that is bound stays bound; the log says what waits for a restart."""
    stats = replace(RUNNING.jobs["stats"], interval_seconds=77)
    read = replace(
        RUNNING,
        state_directory=Path("/b"),
        log_level="debug",
        publish=Publish(expose=Expose(address=IPv4Address("192.0.2.1"), port=9), max_series=100),
        jobs={**RUNNING.jobs, "stats": stats},
    )
    possible, waiting = merged(RUNNING, read)

    assert possible == replace(
        RUNNING,
        log_level="debug",
        publish=replace(RUNNING.publish, max_series=100),
        jobs={**RUNNING.jobs, "stats": stats},
    )
    assert waiting == ["publish.expose.address", "publish.expose.port", "state_directory"]


def test_an_unchanged_configuration_waits_for_nothing() -> None:
    """And what still waits is named again at the next reload."""
    other = replace(RUNNING, state_directory=Path("/b"))
    once, _ = merged(RUNNING, other)

    assert merged(RUNNING, RUNNING) == (RUNNING, [])
    assert merged(once, other)[1] == ["state_directory"]
