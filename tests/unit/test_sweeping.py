"""sweeping.py: what of a sweep is a port of its own. No nmap is run here."""

from ipaddress import IPv4Address

import pytest

from tests.unit.snapshots import LOOPBACK, SSH, V4, V6
from vedette.edges.host import Listener
from vedette.probing import Key, Listeners
from vedette.sweeping import drop_echoes

OWN = (V4, V6, LOOPBACK)
EVERYWHERE = IPv4Address("0.0.0.0")  # noqa: S104 - nothing is bound


def listener(address: IPv4Address, number: int) -> Listener:
    return Listener(address, "tcp", number, "redis-server", "abcdef", own=False)


def left_of(keys: list[Key], sockets: tuple[Listener, ...], *, raw: bool) -> list[Key]:
    services = dict.fromkeys(keys, SSH)
    drop_echoes(services, OWN, Listeners(sockets, OWN), raw=raw)
    return list(services)


@pytest.mark.parametrize(
    ("number", "sockets", "raw", "stays"),
    [
        pytest.param(22, [listener(EVERYWHERE, 22)], True, False, id="the wildcard's echo"),
        pytest.param(22, [listener(V4, 22)], True, False, id="not on loopback at all"),
        pytest.param(22, [listener(LOOPBACK, 22)], True, True, id="a socket of its own"),
        pytest.param(6379, [listener(EVERYWHERE, 6379)], True, True, id="seen nowhere else"),
        pytest.param(6379, [], True, True, id="SYN scans do not meet themselves"),
        pytest.param(45_678, [], False, False, id="a connect scan that met itself"),
        pytest.param(6379, [listener(LOOPBACK, 6379)], False, True, id="a real one by connecting"),
    ],
)
def test_what_is_no_port_of_its_own_on_loopback_is_dropped(
    number: int, sockets: list[Listener], *, raw: bool, stays: bool
) -> None:
    """The same sshd on each address and again on loopback is one risk, not two."""
    here, elsewhere = (LOOPBACK, "tcp", number), (V4, "tcp", 22)
    also = listener(V4, 22)
    left = left_of([here, elsewhere], (*sockets, also), raw=raw)

    assert left == ([here, elsewhere] if stays else [elsewhere])


def test_other_hosts_ports_are_never_echoes() -> None:
    """Nothing here can know what listens there."""
    there = (IPv4Address("198.51.100.7"), "tcp", 22)
    assert left_of([there], (), raw=False) == [there]
