"""notify.py: what arrives at a real socket of a manager."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from vedette import log
from vedette.notify import Notify


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A manager's socket, and what NOTIFY_SOCKET says of it."""
    name = f"@vedette-{os.getpid()}" if "abstract" in request.param else str(tmp_path / "notify")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as channel:
        channel.bind(name.replace("@", "\0"))
        channel.settimeout(2)
        yield channel, name


def test_each_message_is_one_datagram(manager: tuple[socket.socket, str]) -> None:
    """In the words of sd_notify(3)."""
    channel, name = manager
    notify = Notify({"NOTIFY_SOCKET": name})
    notify.ready()
    notify.alive()
    notify.stopping()

    received = [channel.recv(4096).decode() for _ in range(3)]
    assert received == ["READY=1", "WATCHDOG=1", "STOPPING=1\nSTATUS=stopping"]


def test_reloading_carries_the_monotonic_clock(manager: tuple[socket.socket, str]) -> None:
    """Without it systemd 253 and later drop the message."""
    channel, name = manager
    Notify({"NOTIFY_SOCKET": name}).reloading()

    word, _, stamp = channel.recv(4096).decode().partition("\nMONOTONIC_USEC=")
    assert word == "RELOADING=1"
    assert int(stamp) > 0


def test_a_status_is_one_clean_line_and_said_once(manager: tuple[socket.socket, str]) -> None:
    """A line break in it would be another variable for systemd."""
    channel, name = manager
    notify = Notify({"NOTIFY_SOCKET": name})
    for text in ("4/4 jobs ok", "4/4 jobs ok", "bad\nMAINPID=1"):
        notify.status(text)
    notify.ready()

    received = [channel.recv(4096).decode() for _ in range(3)]
    assert received == ["STATUS=4/4 jobs ok", "STATUS=bad MAINPID=1", "READY=1"]


def test_children_do_not_inherit_the_managers_variables() -> None:
    """No nmap shall be taken for the agent."""
    environment = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "", "A": "b"}

    assert Notify(environment).watchdog_seconds == 4.0
    assert environment == {"A": "b"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getppid())},
    ],
)
def test_no_watchdog_without_an_order_to_this_process(environment: dict[str, str]) -> None:
    """WATCHDOG_PID names whom it is for (sd_watchdog_enabled(3))."""
    assert Notify(environment).watchdog_seconds is None


def test_without_a_manager_nothing_happens() -> None:
    """`vedette run` in a terminal."""
    Notify({}).ready()


def test_a_manager_that_is_gone_is_logged_once_and_costs_nothing_more(tmp_path: Path) -> None:
    """The agent goes on."""
    counts = log.start().counts
    notify = Notify({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    notify.ready()
    notify.alive()

    assert counts["error"] == 1


def test_a_manager_that_does_not_read_does_not_stop_the_agent(tmp_path: Path) -> None:
    """Its queue is full after a while; the timer's loop must not wait for it."""
    counts = log.start().counts
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as channel:
        channel.bind(str(tmp_path / "notify"))
        notify = Notify({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        for _ in range(5000):
            notify.alive()

    assert counts["error"] == 1
