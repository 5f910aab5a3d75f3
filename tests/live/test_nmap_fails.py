"""An nmap that misbehaves: one failed run with a reason, and nothing of it left behind."""

from pathlib import Path

import pytest

from tests.live.netns import Namespace, directory, lone_host, wait_for
from tests.live.running import Agent, Metrics, vedette
from tests.live.services import start_sshd, wait_until_open
from tests.live.stories import beside

pytestmark = pytest.mark.live

Yard = tuple[Namespace, Namespace, Path]

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


def fake(directory: Path, lines: str) -> dict[str, str]:
    """Return variables under which nmap is a script of these lines from now on."""
    file = directory / "new"
    file.write_text(f"#!/bin/sh\n{lines}\n")
    file.chmod(0o755)
    file.rename(directory / "nmap")
    return {"PATH": f"{directory}:/usr/sbin:/usr/bin:/sbin:/bin"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_nmap_costs_one_run(yard: Yard, tmp_path: Path, kind: str) -> None:
    """The reason is one of the fixed few; no process of it survives."""
    host, _, _ = yard
    lines, reason = KINDS[kind]

    done = vedette(
        host, tmp_path / "state", "once", "--job", "scan", "--scan.timeout-seconds", "1",
        env=fake(tmp_path, lines),
    )  # fmt: skip

    assert done.returncode == 1
    assert Metrics(done.stdout).failures() == {("scan", reason): 1}
    assert "Traceback" not in done.stderr
    wait_for("the end of all it started", lambda: host.processes("nmap", "sleep") == {}, 3)


REAL = 'exec /usr/bin/nmap "$@"'


@beside
def test_the_last_good_scan_stays_and_others_go_on() -> None:
    """Two bad runs after a good one; then nmap is well again, and so is the job."""
    with lone_host("story-fails") as host, directory("story-fails") as where:
        start_sshd(host, where)
        wait_until_open(host, {22})
        agent = Agent(
            host, where / "state", "--scan.interval-seconds", "10", "--scan.timeout-seconds", "6",
            "--stats.interval-seconds", "1", "--sniff.enabled", "no", env=fake(where, REAL),
        )  # fmt: skip
        good = agent.wait_for_success("scan", 30)
        ports = good.all("vedette_open_port_info")
        assert good.port("127.0.0.1", 22)[1] == "OpenSSH"

        fake(where, "exit 3")
        wait_for("a bad run", lambda: agent.metrics().failures(), 30)
        assert agent.metrics().failures() == {("scan", "bad_output"): 1}
        assert agent.metrics().all("vedette_open_port_info") == ports

        fake(where, "sleep 600 & wait")
        wait_for("a hung run", lambda: len(agent.metrics().failures()) == 2, 30)
        bad = agent.metrics()
        assert bad.failures() == {("scan", "bad_output"): 1, ("scan", "timed_out"): 1}
        assert bad.all("vedette_open_port_info") == ports
        assert agent.get("/-/ready").status == 200  # it is not stale yet
        assert "timed_out" in agent.get("/").text
        wait_for("no orphan", lambda: host.processes("sleep") == {}, 3)

        fake(where, REAL)
        agent.wait_for_success("scan", 30, after=agent.successes("scan"))
        assert agent.metrics().all("vedette_open_port_info") == ports
        assert agent.metrics().value("vedette_port_changes_total") == 0
        assert agent.runs("stats") >= 20
        assert agent.events("job works again") != []
        agent.stop()
