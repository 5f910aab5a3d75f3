"""Remote-Write to Debian's Prometheus and VictoriaMetrics: what arrives, also after an outage."""

import shutil
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.live.netns import Namespace, directory, lone_host, output, wait_for
from tests.live.receivers import STILL, Receiver, exposed, prometheus, victoria
from tests.live.running import Agent
from vedette.publish.buffer import Buffer
from vedette.publish.outgoing import BUFFER

pytestmark = pytest.mark.live

# Nothing but stats, each second: the agent's metrics on itself are rendered when a job has run.
BUSY = [*STILL[:-2], "--stats.interval-seconds", "1"]
_NO_ROOM = "the buffer cannot use its directory: memory takes its place"
EVERY_SECOND = ["--publish.remote-write.enabled", "true"]
EVERY_SECOND += ["--publish.remote-write.interval-seconds", "1"]
EVERY_SECOND += ["--publish.remote-write.timeout-seconds", "0.5"]


@pytest.fixture(scope="module")
def lab() -> Iterator[tuple[Namespace, Path]]:
    """A host with loopback alone."""
    with lone_host("write") as host, directory("write") as where:
        yield host, where


@pytest.fixture(scope="module", params=[prometheus, victoria])
def receiver(lab: tuple[Namespace, Path], request: pytest.FixtureRequest) -> Iterator[Receiver]:
    running: Receiver = request.param(*lab).start()
    yield running
    running.stop()


def flags(receiver: Receiver, instance: str, *more: str) -> list[str]:
    """Return how an agent writes there each second, as this instance."""
    labels = f"{{instance: {instance}, site: north}}"
    return [
        *EVERY_SECOND, "--publish.remote-write.url", f"{receiver.url}/api/v1/write",
        "--publish.remote-write.external-labels", labels, *more,
    ]  # fmt: skip


def test_what_arrives_is_what_is_exposed_and_ends_with_the_agent(
    lab: tuple[Namespace, Path], receiver: Receiver
) -> None:
    """Without the marks, every series would seem alive for five minutes more."""
    host, where = lab
    mine = '{instance="same"}'
    agent = Agent(host, where / f"same-{receiver.port}", *STILL, *flags(receiver, "same"))
    try:
        agent.wait_for_success("stats")
        expected = exposed(agent.metrics(), job="vedette", instance="same", site="north")
        # VictoriaMetrics keeps 15 digits or so.
        wait_for("all of it", lambda: receiver.now(mine) == pytest.approx(expected, rel=1e-12), 15)
    finally:
        stopped = agent.stop()

    assert stopped < 5
    wait_for("its end", lambda: receiver.now(mine) == {}, 5)


def test_what_was_seen_in_an_outage_arrives_in_order(lab: tuple[Namespace, Path]) -> None:
    """Also when the agent is killed in it, and the clock of each sample is kept."""
    host, where = lab
    receiver = prometheus(host, where, 9092)
    state = where / "outage"
    words = flags(receiver, "outage")
    first = Agent(host, state, *STILL, *words)
    wait_for("four waiting", lambda: len(waiting(state)) >= 4, 10)
    first.process.kill()
    first.process.wait()
    kept = waiting(state)
    second = Agent(host, state, *BUSY, *words)
    try:
        wait_for("two more", lambda: len(waiting(state)) >= len(kept) + 2, 10)
        assert waiting(state)[: len(kept)] == kept
        receiver.start()
        try:
            wait_for("an empty buffer", lambda: not waiting(state), 20)
            build = 'vedette_build_info{instance="outage"}'
            ((_, samples),) = receiver.samples(build).items()
            lost = count(second, "dropped_samples_total")
            refused = second.events("publishing fails")[0]["reason"]
        finally:
            receiver.stop()
    finally:
        second.stop()
    stamps = [at for at, _ in samples]

    assert len(stamps) >= len(kept) + 2
    assert stamps == sorted(stamps)
    # A second apart, in both lives of the agent: nothing is missing, nothing was moved.
    steps = [later - earlier for earlier, later in pairwise(stamps)]
    assert sum(step > 1900 for step in steps) <= 1
    assert (lost, refused) == (0, "refused")


def waiting(state: Path) -> list[str]:
    """Return the requests in the buffer."""
    return sorted(file.name for file in (state / BUFFER).glob("*.snappy"))


def count(agent: Agent, name: str, **labels: str) -> float:
    """Return one of the publisher's metrics on itself, as of the last run of a job."""
    return agent.metrics().value(f"vedette_publish_{name}", publisher="remote_write", **labels)


def test_a_full_buffer_drops_the_oldest_and_says_so(lab: tuple[Namespace, Path]) -> None:
    host, where = lab
    state = where / "full"
    buffer = Buffer(state / BUFFER, 64 << 10)
    for _ in range(16):  # as an earlier outage would have left it
        buffer.add(bytes(4000), 100)
    nobody = Receiver(host, 1, [], where / "none")
    small = ("--publish.remote-write.buffer-bytes", str(64 << 10))
    agent = Agent(host, state, *BUSY, *flags(nobody, "full", *small))
    try:
        wait_for("a drop", lambda: count(agent, "dropped_samples_total") >= 100, 10)
        assert agent.get("/-/healthy").status == 200
    finally:
        agent.stop()

    left = list((state / BUFFER).iterdir())
    assert min(file.name for file in left) > "0000000000000001"
    assert sum(file.stat().st_size for file in left) <= 64 << 10


def test_a_full_disk_costs_nothing_while_memory_lasts(lab: tuple[Namespace, Path]) -> None:
    """The state directory has no room left: samples go through memory, the agent runs on."""
    host, where = lab
    receiver = prometheus(host, where, 9093)
    state = where / "disk"
    state.mkdir()
    output(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(state)])
    try:
        agent = Agent(host, state, *BUSY, *flags(receiver, "disk"))
        try:
            (state / "ballast").write_bytes(bytes(shutil.disk_usage(state).free))
            wait_for("a word", lambda: agent.events(_NO_ROOM), 10)
            time.sleep(2)
            (state / "ballast").unlink()
            receiver.start()
            try:
                wait_for("success", lambda: count(agent, "last_success_timestamp_seconds"), 15)
                wait_for("all", lambda: not count(agent, "buffered_samples"), 15)
                ((_, samples),) = receiver.samples('vedette_build_info{instance="disk"}').items()
                assert count(agent, "dropped_samples_total") == 0
            finally:
                receiver.stop()
        finally:
            agent.stop()
    finally:
        output(["umount", str(state)])

    assert len(agent.events(_NO_ROOM)) == 1  # not a line each second
    assert all(later - earlier < 1900 for (earlier, _), (later, _) in pairwise(samples))


def test_what_a_receiver_refuses_is_dropped_and_counted(lab: tuple[Namespace, Path]) -> None:
    """A Prometheus that was not told to take Remote-Write says 404."""
    host, where = lab
    receiver = prometheus(host, where, 9094)
    receiver.argv.remove("--web.enable-remote-write-receiver")
    receiver.start()
    agent = Agent(host, where / "refused", *BUSY, *flags(receiver, "refused"))
    try:
        wait_for("refusals", lambda: count(agent, "failures_total", reason="rejected") >= 2, 10)
        assert count(agent, "dropped_samples_total") > 0
        assert agent.get("/-/healthy").status == 200
    finally:
        agent.stop()
        receiver.stop()
