"""service.py: when the agent calls itself ready, and the line on how it is."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from vedette.notify import Notify
from vedette.service import Service, status
from vedette.store import Store


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(0)
        yield channel


def said(channel: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(channel.recv(4096).decode())
        except BlockingIOError:
            return messages


def service(store: Store, tmp_path: Path) -> Service:
    notify = Notify({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    return Service(notify, store.records, lambda: None, list, lambda _: True)


def store_of(*names: str) -> Store:
    store = Store()
    for name in names:
        store.register(name, 10, 5)
    return store


def test_ready_comes_after_the_sockets_and_the_first_look_and_once(
    manager: socket.socket, tmp_path: Path
) -> None:
    """Who starts after us may scrape us, and finds the host's figures."""
    store = store_of("scan", "stats")
    watched = service(store, tmp_path)
    watched.turn()
    before = said(manager)
    watched.serving()
    watched.turn()
    serving = said(manager)
    store.kept("stats", 1, ())
    watched.begin()
    watched.begin()

    assert before == []
    assert serving == ["STATUS=waiting for the first look at the host"]
    assert said(manager) == ["READY=1"]


def test_a_first_look_that_fails_does_not_end_the_agent(
    manager: socket.socket, tmp_path: Path
) -> None:
    """It would be restarted for ever, and never say why."""
    store = store_of("stats")
    watched = service(store, tmp_path)
    watched.serving()
    store.failed("stats", "bug", "oh", 0.1)
    watched.turn()

    assert said(manager)[1:] == ["READY=1", "STATUS=0/1 jobs ok (stats: bug)"]


def test_without_the_job_that_looks_first_nobody_waits_for_it(
    manager: socket.socket, tmp_path: Path
) -> None:
    """stats.enabled: false."""
    watched = service(store_of("scan"), tmp_path)
    watched.serving()
    watched.begin()

    assert said(manager)[-1] == "READY=1"


def test_a_reload_ends_with_ready_and_a_refused_one_shows(
    manager: socket.socket, tmp_path: Path
) -> None:
    """Without READY the reload lasts until its time-out."""
    store = store_of("stats")
    watched = service(store, tmp_path)
    watched.serving()
    store.kept("stats", 1, ())
    watched.turn()
    said(manager)
    watched.reloading()
    watched.reloaded(refused=True)
    watched.turn()

    reloading, *rest = said(manager)
    assert reloading.startswith("RELOADING=1\n")
    assert rest == [
        "READY=1",
        "STATUS=1/1 jobs ok, new configuration refused: the old one is in use",
    ]


def test_the_line_names_what_is_not_well() -> None:
    """All that `systemctl status` shows of the agent."""
    clock = [time.monotonic()]
    store = Store(lambda: clock[0], lambda: clock[0])
    for name in ("fingerprint", "scan", "sniff", "stats"):
        store.register(name, 10, 5)
    store.kept("scan", 1, ())
    store.failed("sniff", "not_permitted", "no", 0.1)
    clock[0] -= 3600
    store.register("stats", 11, 5)
    store.kept("stats", 1, ())
    noon = time.mktime((2026, 11, 22, 12, 4, 0, 0, 0, -1))

    assert status(store.records(), noon, refused=False) == (
        "1/4 jobs ok (fingerprint: first run, sniff: not_permitted, stats: stale), next scan 12:04"
    )
