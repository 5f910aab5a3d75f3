"""How the agent ends, and what it knows when it starts again."""

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.netns import V4, Namespace, end, wait_for
from tests.live.running import FIGURES, Agent
from tests.live.services import listen

pytestmark = pytest.mark.live

Yard = tuple[Namespace, Namespace, Path]
QUICK = ("--scan.tcp-ports", "1-1000", "--scan.splay-seconds", "0", "--sniff.interval-seconds", "1")


@pytest.fixture
def scanning(yard: Yard, tmp_path: Path) -> Iterator[Agent]:
    """An agent in the middle of a long version detection: a port there never speaks."""
    host, _, _ = yard
    silent = listen(host, [{"port": 777, "address": V4}])
    agent = Agent(host, tmp_path / "state", *QUICK)
    wait_for("a version detection", lambda: host.processes(" -sV "), 20)
    wait_for("a window", lambda: agent.successes("sniff"), 20)
    yield agent
    end(silent)


def test_sigterm_during_a_scan_ends_everything_within_5_seconds(scanning: Agent) -> None:
    """Nothing survives: no nmap, no capture."""
    before = scanning.family()
    assert any(" -sV " in line for line in before.values())
    assert any("vedette.capture" in line for line in before.values())

    took = scanning.stop()

    FIGURES["SIGTERM during a scan to the end"] = f"{took:.2f} s"
    assert took < 5
    assert scanning.process.returncode == 0
    assert scanning.family() == {}
    assert [e["signal"] for e in scanning.events("stopping")] == ["SIGTERM"]


def test_kill_9_ends_the_children_too(scanning: Agent) -> None:
    """The capture sees that nobody reads it; nmap is told by the kernel."""
    assert len(scanning.host.processes("vedette.capture")) == 1
    assert scanning.host.processes("nmap")

    scanning.process.kill()
    scanning.process.wait()

    wait_for("the end", lambda: not scanning.family(), 5)


def kill(host: Namespace, pid: int) -> None:
    """End a process in a namespace of ours at once."""
    handle = os.pidfd_open(pid)  # it stays that process, whatever becomes of its number
    if pid in host.pids():
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    os.close(handle)


def rows(state: Path, kind: str) -> dict[str, float]:
    """Return {key: first seen} of one kind of fact in a history file."""
    with sqlite3.connect(f"file:{state}/history.sqlite?mode=ro", uri=True) as connection:
        found = connection.execute("SELECT key, first_seen FROM fact WHERE kind = ?", (kind,))
        return dict(found.fetchall())


def test_history_survives_kill_9_and_goes_on(yard: Yard, tmp_path: Path) -> None:
    """First seen is first seen, however the agent ended; and what is known is not asked again."""
    host, _, _ = yard
    agent = Agent(host, tmp_path / "state", *QUICK)
    agent.wait_for_success("scan", 40)
    agent.process.kill()
    agent.process.wait()
    known = rows(tmp_path / "state", "port")
    assert {f"{V4} tcp/21", f"{V4} tcp/22"} <= set(known)

    again = Agent(host, tmp_path / "state", *QUICK)
    again.wait_for_success("scan", 40)

    assert again.version_scans() == []
    assert again.metrics().port(V4, 22)[1] == "OpenSSH"
    assert again.events("port appeared") == []
    assert set(again.metrics().all("vedette_port_changes_total").values()) == {0}
    shown = {(p["address"], p["port"]): p["first_seen"] for p in again.inventory()["ports"]}
    assert shown[V4, 22] == known[f"{V4} tcp/22"]
    assert rows(tmp_path / "state", "port") == known
    again.stop()


def test_a_damaged_history_is_set_aside(yard: Yard, tmp_path: Path) -> None:
    """With an error line that says where to; the agent runs on a new one."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "history.sqlite").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 64)
    agent = Agent(yard[0], state, *QUICK)

    (line,) = (e for e in agent.events() if e["level"] == "error")
    assert line["message"].startswith("history is damaged")
    assert line["aside"] == f"{state}/history.sqlite.damaged-1"
    assert Path(line["aside"]).stat().st_size == 16 + 256 * 64
    agent.wait_for_success("stats", 10)
    assert rows(state, "address").keys() == {f"eth0 {V4}", "eth0 fd99::1"}
    assert agent.metrics().value("vedette_log_messages_total", level="error") == 1
    agent.stop()


def test_a_killed_capture_is_started_again(yard: Yard, tmp_path: Path) -> None:
    """It costs a window of its own and nothing of the others; the counters go on."""
    host, _, _ = yard
    agent = Agent(host, tmp_path / "state", *QUICK, "--stats.interval-seconds", "1")
    agent.wait_for_success("sniff", 20)
    (killed,) = host.processes("vedette.capture")
    counted = agent.metrics().value("vedette_captured_packets_total", interface="lo")

    kill(host, killed)
    wait_for("the failure", lambda: agent.metrics().failures(), 10)
    assert agent.metrics().failures() == {("sniff", "bad_output"): 1}
    last = time.time()
    agent.wait_for_success("sniff", 20, after=last)

    (restarted,) = host.processes("vedette.capture")
    assert restarted != killed
    assert agent.metrics().value("vedette_captured_packets_total", interface="lo") > counted
    others = {job for job, _ in agent.metrics().failures()} - {"sniff"}
    assert others == set()
    assert agent.successes("stats") > last
    agent.stop()


def test_without_a_state_directory_it_runs_and_says_so(yard: Yard, tmp_path: Path) -> None:
    """What it learns is kept in memory; an error line and a metric tell the price."""
    (tmp_path / "file").touch()
    agent = Agent(yard[0], tmp_path / "file", *QUICK)

    agent.wait_for_success("stats", 10)
    assert [e["message"] for e in agent.events() if e["level"] == "error"] == [
        "history is kept in memory only: it will be lost"
    ]
    assert agent.metrics().value("vedette_capability", capability="history") == 0
    agent.stop()
