"""`vedette sniff` beside real traffic, and the capture process on either of its backends."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.live import wire
from tests.live.netns import PEER_V4, V4, Namespace, two_hosts, wait_for
from tests.live.running import FIGURES, VEDETTE, environment, vedette
from tests.live.services import start_sshd, wait_until_open
from tests.live.wire import Wire

pytestmark = pytest.mark.live

WATCH = ("sniff", "--windows", "2")
ROGUE = "02:00:00:00:00:67"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Namespace, Namespace]]:
    """A host with sshd where TLS is usual, and its peer, who asks it again and again."""
    with two_hosts("watching") as (host, peer):
        start_sshd(host, tmp_path_factory.mktemp("sshd"), 8443)
        wait_until_open(host, {8443})
        knock = f'import socket, time\nwhile True:\n s = socket.create_connection(("{V4}", 8443))'
        peer.start([sys.executable, "-c", f"{knock}\n s.recv(64); s.close(); time.sleep(0.2)"])
        yield host, peer


def test_watching_by_json_is_a_line_for_each_window(
    hosts: tuple[Namespace, Namespace], tmp_path: Path
) -> None:
    """For other programs: counts that grow, and the busiest peers."""
    done = vedette(hosts[0], tmp_path, *WATCH, "--format", "json")
    first, second = (json.loads(line) for line in done.stdout.splitlines())

    assert packets(first) < packets(second)
    assert second["peers"][0]["peer"] == PEER_V4
    assert done.returncode == 0


def packets(document: dict[str, Any]) -> int:
    return sum(row["packets"] for row in document["protocols"] if row["protocol"] == "tcp")


def test_watching_into_a_pipe_is_plain(hosts: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """Lines with tabs: no boxes, no colours, nothing drawn anew."""
    done = vedette(hosts[0], tmp_path, *WATCH)
    rows = [line.split("\t") for line in done.stdout.splitlines()]

    assert [row[:3] for row in rows].count(["WHAT", "NAME", "WHERE"]) == 2
    assert ["protocol", "tcp", "eth0"] in [row[:3] for row in rows]
    assert "\x1b" not in done.stdout


def test_watching_on_a_terminal_is_a_table_that_is_drawn_anew(
    hosts: tuple[Namespace, Namespace], tmp_path: Path
) -> None:
    """The second one in the place of the first."""
    screen, terminal = pty.openpty()
    env = environment(tmp_path, {"TERM": "xterm", "COLUMNS": "120", "LINES": "60"})
    child = hosts[0].start([VEDETTE, *WATCH], log=terminal, env=env)
    os.close(terminal)
    shown = b""
    try:
        while piece := os.read(screen, 1 << 16):
            shown += piece
    except OSError:  # the other side has closed it
        pass
    os.close(screen)

    assert child.wait(10) == 0
    text = shown.decode()
    assert "┏━" in text
    assert "2 s" in text
    assert "4 s" in text.partition("\x1b[1A")[2]  # up again, before the second one
    assert "peer" in text
    assert PEER_V4 in text


@contextmanager
def capturing(host: Namespace, backend: str, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have the capture process, and what it prints in that file."""
    options = ("--window-seconds", "1", "--peers", "3", "--looks", "500")
    command = [sys.executable, "-m", "vedette.capture", "--backend", backend, *options]
    told = {"interfaces": ["eth0"], "own": [V4], "macs": [], "ports": {"tcp": [8443]}}
    with output.open("wb") as log:
        child = host.start(command, stdin=subprocess.PIPE, log=log)
        assert child.stdin is not None
        child.stdin.write(json.dumps(told).encode() + b"\n")
        child.stdin.flush()
        yield child
        child.stdin.close()  # as when the agent is gone
        child.wait(5)


@pytest.mark.parametrize("backend", ["ring", "scapy"])
def test_both_backends_see_the_same(
    hosts: tuple[Namespace, Namespace], tmp_path: Path, backend: str
) -> None:
    """Counts, what a port speaks, neighbours with their makers, and events."""
    host, peer = hosts
    (link,) = json.loads(host.ip("-j", "link", "show", "eth0"))
    there, output = Wire(peer, link["address"]), tmp_path / "windows"

    def windows() -> list[dict[str, Any]]:
        return [
            json.loads(line)
            for line in output.read_text().splitlines(keepends=True)
            if line.endswith("\n")
        ]

    def rows(kind: str) -> list[list[Any]]:
        return [row for window in windows() for row in window[kind]]

    with capturing(host, backend, output) as child:
        wait_for("a window", windows, 20)
        there.send([
            wire.arp("10.99.0.77", "00:1b:21:00:00:77", "10.99.0.99"),
            wire.dhcp(PEER_V4, wire.EVERYBODY, "ack", "10.99.0.9"),
            wire.dhcp("10.99.0.67", ROGUE, "offer", "10.99.0.68"),
            *(there.syn("10.99.0.30", V4, port, ROGUE) for port in range(1, 150)),
        ])  # fmt: skip
        wait_for("the maker", lambda: "Intel Corporate" in [row[2] for row in rows("heard")], 15)
        wanted = {
            ("rogue_dhcp", "10.99.0.67"), ("port_scan", "10.99.0.30"),
            ("protocol_mismatch", f"{V4} tcp/8443"),
        }  # fmt: skip
        wait_for("events", lambda: wanted <= {(row[0], row[1]) for row in rows("events")}, 15)
        memory = Path(f"/proc/{child.pid}/status").read_text()
        systems = rows("systems")
        spoken = {tuple(row[:4]) for row in rows("spoken")}
    there.close()

    assert ("tcp", 8443, "ssh", "content") in spoken
    assert [PEER_V4, "Linux", "exact"] in systems
    assert sum(row[3] for row in rows("services")) > 10
    assert sum(window["shed"] for window in windows()) == 0
    FIGURES[f"capture process ({backend}), resident"] = memory.partition("VmRSS:")[2].split()[0]
    (peak,) = [int(line.split()[1]) for line in memory.splitlines() if line.startswith("VmRSS")]
    assert peak < (60 << 10 if backend == "ring" else 80 << 10)  # KiB
