"""An nmap that misbehaves: one failed run with a reason, and nothing of it left behind."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.netns import V4, Namespace, wait_for
from tests.live.running import Agent, Metrics, vedette

pytestmark = pytest.mark.live

Yard = tuple[Namespace, Namespace, Path]
Fake = Callable[[str], dict[str, str]]

HEAD = '<?xml version="1.0"?><nmaprun scanner="nmap" args="" start="1" version="7.93">'
# How it misbehaves: (what it does, the reason that is counted).
KINDS = {
    "a report cut off in the middle": (f"echo '{HEAD}<host><status state=\"up\"'", "bad_output"),
    "garbage": ("head -c 5000 /dev/urandom", "bad_output"),
    "a failure": ("echo 'QUITTING!' >&2; exit 1", "bad_output"),
    "closed output": ("exec >&- 2>&-; exec sleep 600", "timed_out"),
    "deafness": ("trap '' TERM INT HUP; sleep 600; sleep 600", "timed_out"),
    "a child that outlives it": ("sleep 600 & exit 0", "timed_out"),
}


@pytest.fixture
def fake(tmp_path_factory: pytest.TempPathFactory) -> Fake:
    """Return variables under which nmap is a script of these lines."""
    directory = tmp_path_factory.mktemp("bin")

    def write(lines: str) -> dict[str, str]:
        file = directory / "new"
        file.write_text(f"#!/bin/sh\n{lines}\n")
        file.chmod(0o755)
        file.rename(directory / "nmap")
        return {"PATH": f"{directory}:/usr/sbin:/usr/bin:/sbin:/bin"}

    return write


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_nmap_costs_one_run(yard: Yard, tmp_path: Path, fake: Fake, kind: str) -> None:
    """The reason is one of the fixed few; no process of it survives."""
    host, _, _ = yard
    lines, reason = KINDS[kind]

    done = vedette(
        host, tmp_path / "state", "once", "--job", "scan", "--scan.timeout-seconds", "1",
        env=fake(lines),
    )  # fmt: skip

    assert done.returncode == 1
    assert Metrics(done.stdout).failures() == {("scan", reason): 1}
    assert "Traceback" not in done.stderr
    wait_for("the end of all it started", lambda: host.processes("nmap", "sleep") == {}, 3)


def test_the_last_good_scan_stays_and_others_go_on(yard: Yard, tmp_path: Path, fake: Fake) -> None:
    """Two bad runs after a good one; then nmap is well again, and so is the job."""
    host, _, _ = yard
    agent = Agent(
        host, tmp_path / "state", "--scan.interval-seconds", "10", "--scan.timeout-seconds", "3",
        "--scan.tcp-ports", "1-100", "--stats.interval-seconds", "1", "--fingerprint.active", "no",
        "--sniff.enabled", "no", "--scan.splay-seconds", "0", env=fake('exec /usr/bin/nmap "$@"'),
    )  # fmt: skip
    try:
        good = agent.wait_for_success("scan", 30)
        ports = good.all("vedette_open_port_info", address=V4)
        assert len(ports) == 2

        fake("exit 3")
        wait_for("a bad run", lambda: agent.metrics().failures(), 15)
        assert agent.metrics().failures() == {("scan", "bad_output"): 1}
        assert agent.metrics().all("vedette_open_port_info", address=V4) == ports

        fake("sleep 600 & wait")
        wait_for("a hung run", lambda: len(agent.metrics().failures()) == 2, 20)
        bad = agent.metrics()
        assert bad.failures() == {("scan", "bad_output"): 1, ("scan", "timed_out"): 1}
        assert bad.all("vedette_open_port_info", address=V4) == ports
        assert agent.get("/-/ready").status == 200  # it is not stale yet
        assert agent.inventory()["jobs"][1]["last_failure"]["reason"] == "timed_out"
        assert "timed_out" in agent.get("/").text
        wait_for("no orphan", lambda: host.processes("sleep") == {}, 3)

        fake('exec /usr/bin/nmap "$@"')
        last = agent.successes("scan")
        agent.wait_for_success("scan", 20, after=last)
        assert agent.metrics().value("vedette_port_changes_total") == 0
        runs = agent.runs("stats")
        assert runs >= 20
        assert agent.metrics().value("vedette_job_failures_total", job_name="stats") == 0
    finally:
        agent.stop()
