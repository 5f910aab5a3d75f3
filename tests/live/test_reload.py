"""SIGHUP, and what a manager is told: the agent as a process, without systemd (that is fleet's)."""

import os
import pty
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.live.netns import Namespace, directory, lone_host, wait_for
from tests.live.running import VEDETTE, Agent, environment

pytestmark = pytest.mark.live

GOOD = """
scan: {enabled: false}
fingerprint: {enabled: false}
sniff: {enabled: false}
"""


class Manager:
    """A socket that hears what systemd would hear."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._channel.bind(str(path))
        self._channel.settimeout(0)
        self.heard: list[str] = []

    def listen(self) -> list[str]:
        """Return all messages so far."""
        try:
            while True:
                self.heard.append(self._channel.recv(4096).decode())
        except BlockingIOError:
            return self.heard

    def close(self) -> None:
        self._channel.close()


@pytest.fixture(scope="module")
def host() -> Iterator[Namespace]:
    with lone_host("reload") as namespace:
        yield namespace


@pytest.fixture(scope="module")
def where() -> Iterator[Path]:
    with directory("reload") as path:
        yield path


@pytest.fixture(scope="module")
def manager(where: Path) -> Iterator[Manager]:
    with closing(Manager(where / "notify")) as heard:
        yield heard


@pytest.fixture(scope="module")
def agent(host: Namespace, manager: Manager, where: Path) -> Iterator[Agent]:
    """An agent that a manager watches, every four seconds. The tests go on from one another."""
    file = where / "config.yaml"
    file.write_text(GOOD)
    env = {
        "VEDETTE_CONFIG": str(file),
        "NOTIFY_SOCKET": str(manager.path),
        "WATCHDOG_USEC": "4000000",
    }
    running = Agent(host, where / "state", env=env)
    yield running
    running.stop()


def reload(agent: Agent, manager: Manager, configuration: str) -> None:
    """Write the file, send the signal, and wait until the agent says that it is done."""
    (agent.state.parent / "config.yaml").write_text(configuration)
    before = len(manager.listen())
    agent.process.send_signal(signal.SIGHUP)
    wait_for("the end of the reload", lambda: "READY=1" in manager.listen()[before:], 15)
    (begun,) = [m for m in manager.heard[before:] if m.startswith("RELOADING=1\nMONOTONIC_USEC=")]
    assert manager.heard.index(begun) < len(manager.heard) - manager.heard[::-1].index("READY=1")


def successful(agent: Agent) -> float:
    return agent.metrics().value("vedette_config_last_reload_successful")


def jobs(agent: Agent) -> set[str]:
    return {x["job_name"] for x in agent.metrics().labels("vedette_job_interval_seconds")}


def test_ready_comes_with_the_first_figures_and_the_watchdog_is_fed(
    agent: Agent, manager: Manager
) -> None:
    """All that an agent without a fault says."""
    wait_for("the watchdog's second meal", lambda: manager.listen().count("WATCHDOG=1") > 1, 15)

    assert manager.heard.count("READY=1") == 1
    assert "STATUS=1/1 jobs ok" in manager.heard
    assert agent.metrics().value("vedette_memory_size_bytes") > 0


def test_a_bad_file_keeps_the_old_one_running(agent: Agent, manager: Manager) -> None:
    """And says why: in the log, in a metric, in the status. The next good one ends that."""
    read_at = agent.metrics().value("vedette_config_last_reload_success_timestamp_seconds")
    reload(agent, manager, GOOD + "stats: {intervall_seconds: 1}\n")
    wait_for("the metric", lambda: successful(agent) == 0, 5)

    (refused,) = agent.events("new configuration refused: the old one stays")
    assert "stats.intervall_seconds: unknown key" in refused["problem"]
    wait_for("the status", lambda: any("refused" in m for m in manager.listen()), 5)
    assert agent.metrics().value(
        "vedette_config_last_reload_success_timestamp_seconds"
    ) == pytest.approx(read_at, abs=0.001)
    assert agent.get("/-/healthy").status == 200

    reload(agent, manager, GOOD)
    wait_for("the metric", lambda: successful(agent) == 1, 5)
    assert agent.metrics().value("vedette_config_last_reload_success_timestamp_seconds") > read_at
    assert agent.process.poll() is None


def test_a_good_file_counts_from_the_next_run_on(agent: Agent, manager: Manager) -> None:
    """Jobs come, go and change their pace; the process stays, and so does what it counted."""
    before = jobs(agent)
    runs = agent.runs("stats")
    reload(
        agent,
        manager,
        "fingerprint: {enabled: false}\nsniff: {interval_seconds: 1}\n"
        "stats: {interval_seconds: 1}\npublish: {expose: {max_connections: 99}}\n",
    )
    wait_for("a scan", lambda: agent.successes("scan"), 30)
    wait_for("a window", lambda: agent.successes("sniff"), 30)
    wait_for("the new pace", lambda: agent.runs("stats") > runs + 3, 10)

    assert (before, jobs(agent)) == ({"stats"}, {"scan", "sniff", "stats"})
    assert agent.metrics().value("vedette_job_interval_seconds", job_name="stats") == 1
    (waiting,) = agent.events("settings that need a restart")
    assert waiting["settings"] == "publish.expose.max_connections"


def test_a_job_that_is_switched_off_leaves_no_series_and_no_process(
    agent: Agent, manager: Manager
) -> None:
    """The capture's child goes with its job, and comes back with it."""
    sniffing = GOOD.replace("sniff: {enabled: false}", "sniff: {interval_seconds: 1}")
    reload(agent, manager, GOOD)
    wait_for("its end", lambda: not agent.host.processes("vedette.capture"), 5)
    wait_for("no series", lambda: "sniff" not in jobs(agent), 5)
    assert not agent.metrics().labels("vedette_captured_packets_total")

    reload(agent, manager, sniffing)
    wait_for("a window", lambda: agent.successes("sniff"), 30)
    assert len(agent.host.processes("vedette.capture")) == 1
    reload(agent, manager, GOOD)


def test_signals_in_a_storm_end_in_one_valid_configuration(agent: Agent, manager: Manager) -> None:
    """A provisioning tool gone wild: each is heard, none is fatal."""
    for _ in range(20):
        agent.process.send_signal(signal.SIGHUP)
        time.sleep(0.02)
    reload(agent, manager, GOOD)

    assert agent.process.poll() is None
    assert successful(agent) == 1


def test_a_stop_is_announced(agent: Agent, manager: Manager) -> None:
    """Or systemd would call it a failure of the service."""
    agent.stop()

    assert manager.listen()[-1] == "STOPPING=1\nSTATUS=stopping"
    assert agent.process.returncode == 0


def test_a_burst_of_signals_never_ties_it_up(host: Namespace, tmp_path: Path) -> None:
    """Whatever the main thread holds when they come: it ends, in order and soon."""
    (tmp_path / "config.yaml").write_text(GOOD)
    env = {"VEDETTE_CONFIG": str(tmp_path / "config.yaml")}
    agent = Agent(host, tmp_path / "state", env=env, port=8002)
    for number in range(50):
        agent.process.send_signal(signal.SIGTERM if number % 5 == 4 else signal.SIGHUP)
        time.sleep(0.002)  # or the kernel would make one of them

    assert agent.process.wait(5) == 0
    assert agent.events("stopping") != []


def test_a_terminal_that_is_closed_ends_it(host: Namespace, tmp_path: Path) -> None:
    """There SIGHUP means that nobody watches any more."""
    ours, theirs = pty.openpty()
    child = host.start(
        ["setsid", "--ctty", "--wait", VEDETTE, "run", "--scan.enabled", "false"],
        stdin=theirs, log=theirs,
        env=environment(tmp_path / "state", {"VEDETTE_FINGERPRINT__ENABLED": "false"}),
    )  # fmt: skip
    os.close(theirs)
    wait_for("its first line", lambda: b"watches" in os.read(ours, 4096), 20)
    os.close(ours)

    assert child.wait(10) == 0
