"""What goes wrong around a running agent: it runs on, says so, and loses nothing that it knew.

The README's table of faults names these tests, and those that are elsewhere.
"""

import os
import shutil
import signal
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from tests.live.certificates import Authority
from tests.live.netns import (
    V4,
    Namespace,
    cable,
    directory,
    lone_host,
    output,
    two_hosts,
    wait_for,
)
from tests.live.receivers import STILL
from tests.live.running import Agent, Metrics
from tests.live.services import start_sshd, start_vsftpd, wait_until_open
from tests.live.stories import beside
from tests.live.test_nmap_fails import REAL, fake

pytestmark = pytest.mark.live

BUSY = ("--stats.interval-seconds", "1", "--sniff.interval-seconds", "1")
SMALL = ("--scan.tcp-ports", "1-100", "--scan.splay-seconds", "0")
FEW = (*BUSY, *SMALL, "--fingerprint.enabled", "no")
QUIET = (*SMALL, "--fingerprint.enabled", "no", "--sniff.enabled", "no")
EVERY_TEN = ("--scan.interval-seconds", "10")

YEAR_SECONDS = 365 * 86_400
CLOCK = Path(__file__).with_name("clock.c")


def never_less(before: Metrics, after: Metrics) -> None:
    """No counter of traffic has lost anything, and none has gone."""
    for name in ("vedette_captured_packets_total", "vedette_service_packets_total"):
        counts, later = before.all(name), after.all(name)
        assert counts != {}
        for labels, count in counts.items():
            assert later.get(labels, -1) >= count, (name, labels)


@beside
def test_a_capture_that_is_killed_every_second() -> None:
    """Each death is counted, starts are spread out, and the counters go on where they were."""
    with lone_host("story-killed") as host, directory("story-killed") as where:
        start_sshd(host, where)
        wait_until_open(host, {22})
        agent = Agent(host, where / "state", *FEW)
        agent.wait_for_success("scan", 40)
        agent.wait_for_success("sniff", 20)
        wait_for("traffic of its port", lambda: _served(agent) or _knock(host, "127.0.0.1"), 20)
        seen = [agent.metrics()]
        for _ in range(8):
            for pid in host.processes("vedette.capture"):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(1)
            seen.append(agent.metrics())
        stopped = time.time()
        seen.append(agent.wait_for_success("sniff", 40, after=stopped))
        recovered = agent.events("job works again")
        agent.stop()

    for before, after in pairwise(seen):
        never_less(before, after)
    reasons = dict(seen[-1].failures())
    assert 2 <= reasons.pop(("sniff", "bad_output")) <= 5  # killed, and not started each second
    reasons.pop(("sniff", "not_ready"), None)  # the pause before a start
    assert reasons == {}
    assert seen[-1].value("vedette_job_runs_total", job_name="stats") >= 8
    assert seen[-1].all("vedette_open_port_info") == seen[0].all("vedette_open_port_info")
    assert recovered != []


def _served(agent: Agent) -> bool:
    return agent.metrics().all("vedette_service_packets_total") != {}


def _knock(host: Namespace, address: str = V4) -> bool:
    """Make traffic from there to a port."""
    with suppress(OSError):
        host.connect(address, 22, 1).close()
    return False


@beside
def test_the_clock_jumps_by_a_year() -> None:
    """To either side, in the middle of the work: the pace stays, and nothing becomes stale.

    The real clock is the whole machine's, so a library (clock.c) answers the agent and its capture
    in its place. What the kernel itself stamps does not jump; the agent reads no such stamp.
    """
    with lone_host("story-clock") as host, directory("story-clock") as where:
        library, offset = where / "clock.so", where / "offset"
        output(["tcc", "-shared", "-nostdlib", "-o", str(library), str(CLOCK)])
        offset.write_bytes(struct.pack("q", 0))
        start_sshd(host, where)
        wait_until_open(host, {22})
        agent = Agent(
            host, where / "state", *FEW,
            env={"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(offset)},
        )  # fmt: skip
        agent.wait_for_success("scan", 60)
        agent.wait_for_success("sniff", 20)
        wait_for("traffic of its port", lambda: _served(agent) or _knock(host, "127.0.0.1"), 20)
        wait_for("the end of the first scan", lambda: agent.get("/-/ready").status == 200, 20)
        before = agent.metrics()
        for years in (1, -1):
            before = _jump(agent, offset, years, before)
        assert "Traceback" not in agent.log.read_text()
        agent.stop()


def _jump(agent: Agent, offset: Path, years: int, before: Metrics) -> Metrics:
    """Set the agent's clock that far from the real one; return the metrics of then."""
    offset.write_bytes(struct.pack("q", years * YEAR_SECONDS))
    then = time.time() + years * YEAR_SECONDS
    for job in ("stats", "sniff"):
        wait_for(f"{job} of then", partial(_succeeded, agent, job, then), 15)
    runs = agent.runs("stats")
    wait_for("the pace", lambda: agent.runs("stats") >= runs + 3, 10)

    after = agent.metrics()
    assert agent.runs("stats") < runs + 12  # nor are runs made up for
    assert agent.get("/-/ready").status == 200, agent.get("/-/ready").text
    assert after.failures() == {}, agent.events("job failed")
    assert after.all("vedette_open_port_info") == before.all("vedette_open_port_info")
    assert after.value("vedette_port_changes_total") == 0
    never_less(before, after)
    return after


def _succeeded(agent: Agent, job: str, about: float) -> bool:
    return abs(agent.successes(job) - about) < 60


@beside
def test_an_interface_goes_and_comes_back() -> None:
    """Its series go and come with it; what it had carried stays counted; nothing fails."""
    with two_hosts("story-cable") as (host, peer), directory("story-cable") as where:
        start_sshd(host, where)
        wait_until_open(host, {22})
        agent = Agent(host, where / "state", *FEW, *EVERY_TEN)
        agent.wait_for_success("scan", 40)
        wait_for("traffic", lambda: _carried(agent.metrics()) > 0 or _knock(peer), 20)
        first = agent.metrics()
        assert V4 in _addresses(first)

        host.ip("link", "del", "eth0")
        wait_for("its end", lambda: not _addresses(agent.metrics()), 10)
        agent.wait_for_success("sniff", 20, after=time.time())
        agent.wait_for_success("scan", 40, after=time.time())
        without = agent.metrics()
        never_less_captured(first, without)
        assert without.all("vedette_interface_receive_bytes_total", interface="eth0") == {}
        assert without.labels("vedette_open_port_info", address=V4) == []
        assert without.port("127.0.0.1", 22)[1] == "OpenSSH"

        cable(host, peer)
        wait_for("its return", lambda: V4 in _addresses(agent.metrics()), 10)
        wait_for(
            "traffic", lambda: _carried(agent.metrics()) > _carried(without) or _knock(peer), 20
        )
        agent.wait_for_success("scan", 40, after=time.time())
        again = agent.metrics()
        assert again.port(V4, 22) == first.port(V4, 22)
        never_less_captured(without, again)
        speeds = again.all("vedette_interface_receive_bytes_per_second")
        assert all(speed >= 0 for speed in speeds.values())
        assert again.failures() == {}, agent.events("job failed")
        told = [(e["message"], e["key"]) for e in agent.events() if e.get("key") == f"eth0 {V4}"]
        assert told[-2:] == [(f"address {w}", f"eth0 {V4}") for w in ("disappeared", "appeared")]
        agent.stop()


def never_less_captured(before: Metrics, after: Metrics) -> None:
    name = "vedette_captured_packets_total"
    later = after.all(name)
    assert all(later.get(labels, -1) >= n for labels, n in before.all(name).items())


def _addresses(metrics: Metrics) -> set[str]:
    return {found["address"] for found in metrics.labels("vedette_address_info", interface="eth0")}


def _carried(metrics: Metrics) -> float:
    return metrics.value("vedette_captured_packets_total", interface="eth0")


@contextmanager
def disk(where: Path) -> Iterator[Path]:
    """Have a file system of 512 KiB."""
    where.mkdir()
    output(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(where)])
    try:
        yield where
    finally:
        output(["umount", str(where)])


def fill(where: Path) -> Path:
    """Leave not a byte free there; return the file that has them all."""
    ballast = where / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(where).free))
    assert shutil.disk_usage(where).free == 0
    return ballast


@beside
def test_a_full_disk_keeps_the_history_and_what_is_seen_is_shown() -> None:
    """What cannot be written is shown all the same, and written when there is room."""
    with (
        lone_host("story-full") as host,
        directory("story-full") as where,
        disk(where / "state") as state,
    ):
        start_sshd(host, where)
        wait_until_open(host, {22})
        agent = Agent(host, state, *QUIET, *EVERY_TEN)
        agent.wait_for_success("scan", 40)
        known = {p["port"]: p["first_seen"] for p in agent.inventory()["ports"]}

        ballast = fill(state)
        start_vsftpd(host, where)
        wait_until_open(host, {21})
        wait_for("the failure", lambda: agent.metrics().failures(), 40)
        full = agent.metrics()
        assert full.failures().keys() == {("scan", "not_ready")}
        assert full.port("127.0.0.1", 21)[0] == "ftp"
        assert full.port("127.0.0.1", 22)[1] == "OpenSSH"
        assert "full" in agent.get("/").text
        assert agent.get("/-/ready").status == 200

        ballast.unlink()
        agent.wait_for_success("scan", 40, after=time.time())
        assert [e["key"] for e in agent.events("port appeared")][-1] == "127.0.0.1 tcp/21"
        agent.stop()

        ballast = fill(state)
        forgetful = Agent(host, state, *QUIET)
        forgetful.wait_for_success("scan", 40)
        said = [e["message"] for e in forgetful.events() if e["level"] == "error"]
        forgetful.stop()
        ballast.unlink()
        again = Agent(host, state, *QUIET)
        again.wait_for_success("scan", 40)
        kept = {p["port"]: p["first_seen"] for p in again.inventory()["ports"]}
        news = again.events("port appeared")
        again.stop()

    assert said in ([], ["history is kept in memory only: it will be lost"])
    assert known.keys() == {22}
    assert kept.keys() == {21, 22}
    assert abs(kept[22] - known[22]) < 1
    assert news == []


@beside
def test_an_nmap_that_floods() -> None:
    """Its report ends at a limit, its complaints at the deadline; neither stays in memory."""
    with lone_host("story-flood") as host, directory("story-flood") as where:
        start_sshd(host, where)
        wait_until_open(host, {22})
        agent = Agent(
            host, where / "state", *QUIET, *EVERY_TEN, "--scan.timeout-seconds", "15",
            "--stats.interval-seconds", "1", env=fake(where, REAL),
        )  # fmt: skip
        ports = agent.wait_for_success("scan", 40).all("vedette_open_port_info")
        memory = agent.status("VmRSS")

        fake(where, "exec yes '<host>'")
        wait_for("a flood", lambda: agent.metrics().failures(), 40)
        assert agent.metrics().failures() == {("scan", "bad_output"): 1}
        fake(where, "exec yes >&2")
        wait_for("another flood", lambda: len(agent.metrics().failures()) == 2, 40)
        flooded = agent.metrics()

        assert flooded.failures() == {("scan", "bad_output"): 1, ("scan", "timed_out"): 1}
        assert flooded.all("vedette_open_port_info") == ports
        assert host.processes("yes") == {}
        assert agent.status("VmRSS") - memory < 10 << 10
        assert agent.status("VmHWM") - memory < 150 << 10
        fake(where, REAL)
        agent.wait_for_success("scan", 40, after=time.time())
        agent.stop()


def expect(agent: Agent, reason: str, *publishers: str) -> None:
    """Wait until each has failed twice more for this reason; meanwhile stats go on."""
    name = "vedette_publish_failures_total"

    def counts() -> list[float]:
        found = agent.metrics()
        return [found.value(name, publisher=who, reason=reason) for who in publishers]

    before, runs = counts(), agent.runs("stats")
    wait_for(
        f"{reason} of {' and '.join(publishers)}",
        lambda: all(now >= then + 2 for now, then in zip(counts(), before, strict=True)),
        20,
    )
    assert agent.runs("stats") > runs
    assert agent.get("/metrics").status == 200


def sent(agent: Agent, publisher: str) -> float:
    """Return when one of its attempts last went well, 0 for never."""
    name = "vedette_publish_last_success_timestamp_seconds"
    return agent.metrics().value(name, publisher=publisher)


def kept(agent: Agent) -> float:
    """Return how many samples wait to be written."""
    return agent.metrics().value("vedette_publish_buffered_samples", publisher="remote_write")


# What the agent calls the place it sends to, and how that name is looked up.
NAME = "receiver.example"
_OURS = 'for file in hosts resolv.conf; do mount --bind "$0/$file" "/etc/$file" || exit; done'
NAMED = ("sh", "-c", f'{_OURS}; exec "$@"')
SENDS = (
    *("--publish.push.enabled", "yes", "--publish.push.url", f"http://{NAME}:9091"),
    *("--publish.remote-write.enabled", "yes"),
    *("--publish.remote-write.url", f"https://{NAME}:9092/api/v1/write"),
    *(
        word
        for mode in ("push", "remote-write")
        for what, value in (("interval", "1"), ("timeout", "0.5"))
        for word in (f"--publish.{mode}.{what}-seconds", value)
    ),
)


class Receiver:
    """Where an agent sends to, and all that can be wrong with it."""

    def __init__(self, host: Namespace, where: Path) -> None:
        self._host, self._where = host, where
        # A neighbour on the cable who does not exist: what is sent there is lost without a word.
        nobody = ("10.99.0.9", "lladdr", "02:00:00:00:00:09")
        host.ip("neigh", "add", *nobody, "dev", "eth0", "nud", "permanent")
        (where / "resolv.conf").write_text("nameserver 127.0.0.1\n")  # where nobody listens
        self.named("127.0.0.1")
        ours = Authority(where, "ours")
        ours.sign("right", f"DNS:{NAME}")
        ours.sign("elsewhere", "DNS:elsewhere.example")
        ours.sign("expired", f"DNS:{NAME}", days=-1)
        self.mood("well", "right")

    def named(self, address: str) -> None:
        """Have the name stand for this address; for "": nothing, and no server knows more."""
        (self._where / "hosts").write_text(f"{address} {NAME}\n" if address else "")

    def mood(self, answer: str, pair: str = "right") -> None:
        """See moody.py."""
        (self._where / "new").write_text(f"{answer} {pair}")
        (self._where / "new").rename(self._where / "mood")

    def start(self) -> None:
        """Have it listen, from now on."""
        module = ("-m", "tests.live.moody")
        self._host.start([sys.executable, *module, "9091", str(self._where / "mood")])
        wait_until_open(self._host, {9091, 9092})


@beside
def test_receivers_that_fail_in_every_way() -> None:
    """Each is counted under its reason, by both publishers; nothing is dropped, nobody waits."""
    with two_hosts("story-sends") as (host, _), directory("story-sends") as where:
        receiver = Receiver(host, where)
        agent = Agent(
            host, where / "state", *STILL[:-2], "--stats.interval-seconds", "1", *SENDS,
            "--publish.remote-write.ca-file", str(where / "ours.crt"), before=(*NAMED, str(where)),
        )  # fmt: skip
        memory = agent.status("VmRSS")
        both = ("push", "remote_write")

        expect(agent, "refused", *both)
        receiver.named("10.99.0.9")
        expect(agent, "timeout", *both)
        receiver.named("")
        expect(agent, "dns", *both)
        receiver.mood("dripping")
        receiver.start()
        receiver.named("127.0.0.1")
        expect(agent, "timeout", *both)
        receiver.mood("failing", "elsewhere")
        expect(agent, "tls", "remote_write")
        expect(agent, "server_error", "push")
        receiver.mood("failing")
        expect(agent, "server_error", *both)
        receiver.mood("well", "expired")
        expect(agent, "tls", "remote_write")
        wait_for("a push", lambda: sent(agent, "push"), 15)
        assert kept(agent) > 0

        before = sent(agent, "remote_write")
        receiver.mood("well")
        wait_for("a write", lambda: sent(agent, "remote_write") > before, 15)
        wait_for("all of it", lambda: not kept(agent), 15)
        found = agent.metrics()
        words = [e["words"] for e in agent.events("publishing fails") if e["reason"] == "tls"]
        grown = agent.status("VmRSS") - memory
        agent.stop()

    assert found.value("vedette_publish_dropped_samples_total", publisher="remote_write") == 0
    assert found.failures() == {}
    assert ["mismatch" in words[0], "expired" in words[-1]] == [True, True], words
    assert grown < 8 << 10
