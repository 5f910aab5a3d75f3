"""What is captured, compared with what was sent and with what the kernel counted."""

import json
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.live.netns import PEER_V4, PEER_V6, V4, V6, Namespace, wait_for
from tests.live.running import Agent, Metrics, receive_all
from tests.live.services import BIG

pytestmark = pytest.mark.live

Field = tuple[Namespace, Namespace, Path]


def captured(metrics: Metrics, interface: str, protocol: str | None = None) -> float:
    """Return how many packets were captured there."""
    labels = {} if protocol is None else {"protocol": protocol}
    return metrics.value("vedette_captured_packets_total", interface=interface, **labels)


def two_windows_later(agent: Agent) -> Metrics:
    """Return the metrics when what has happened until now must be in them."""
    runs = agent.runs("sniff")
    wait_for("two windows", lambda: agent.runs("sniff") >= runs + 3, 20)
    return agent.metrics()


@pytest.fixture(scope="module")
def scanned(agent: Agent) -> Agent:
    """The agent when its scans are over and counted."""
    agent.wait_for_success("fingerprint", 30)
    two_windows_later(agent)
    return agent


@pytest.fixture
def calm(scanned: Agent) -> Metrics:
    """The metrics when nothing is on its way: each test here waits for what it has sent."""
    return scanned.metrics()


def send_datagrams(sender: Namespace, receiver: Namespace, address: str, count: int) -> None:
    """Send datagrams to a socket that waits for them, so that nothing is answered."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with receiver.entered():
        sink = socket.socket(family, socket.SOCK_DGRAM)
    with sender.entered():
        source = socket.socket(family, socket.SOCK_DGRAM)
    with sink, source:
        sink.bind((address, 0))
        for number in range(count):
            source.sendto(b"%100d" % number, sink.getsockname())


def test_loopback_is_counted_once(field: Field, agent: Agent, calm: Metrics) -> None:
    """A packet socket sees what leaves on loopback and, again, what arrives: twice the truth."""
    host, _, _ = field

    send_datagrams(host, host, "127.0.0.1", 1000)
    now = two_windows_later(agent)

    assert captured(now, "lo", "udp") - captured(calm, "lo", "udp") == 1000
    assert captured(now, "lo", "icmp") == captured(calm, "lo", "icmp")


def test_datagrams_are_counted_exactly(field: Field, agent: Agent, calm: Metrics) -> None:
    """Of both address families, and with their headers: 14 + 20 or 40 + 8 bytes."""
    host, peer, _ = field
    bytes_before = calm.value("vedette_captured_bytes_total", interface="eth0", protocol="udp")

    send_datagrams(peer, host, V4, 500)
    send_datagrams(peer, host, V6, 200)
    now = two_windows_later(agent)

    assert captured(now, "eth0", "udp") - captured(calm, "eth0", "udp") == 700
    size = now.value("vedette_captured_bytes_total", interface="eth0", protocol="udp")
    assert size - bytes_before == 500 * (14 + 20 + 8 + 100) + 200 * (14 + 40 + 8 + 100)


def ping(sender: Namespace, address: str, count: int) -> None:
    """Send echo requests and wait for each answer (RFC 792, RFC 4443)."""
    ipv6 = ":" in address
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    with sender.entered():
        raw = socket.socket(
            family, socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if ipv6 else socket.IPPROTO_ICMP
        )
    with raw:
        raw.settimeout(5)
        raw.connect((address, 0))
        for number in range(count):
            # Type, code, checksum, identifier, sequence number; of IPv6 the kernel sums itself.
            head = 0 if ipv6 else 0xFFFF ^ (0x0800 + 0x7664 + number)
            raw.send(struct.pack("!BBHHH", 128 if ipv6 else 8, 0, head, 0x7664, number))
            while struct.pack("!HH", 0x7664, number) not in raw.recv(1024):
                pass


def test_pings_are_counted_both_ways(field: Field, agent: Agent, calm: Metrics) -> None:
    """Ten requests and ten answers. ICMPv6 has neighbour discovery on top."""
    _, peer, _ = field

    for address in (V4, V6):
        ping(peer, address, 10)
    now = two_windows_later(agent)

    assert captured(now, "eth0", "icmp") - captured(calm, "eth0", "icmp") == 20
    assert captured(now, "eth0", "icmpv6") - captured(calm, "eth0", "icmpv6") >= 20


def fetch(peer: Namespace) -> None:
    """Fetch the big file over both address families."""
    for address in (V4, V6):
        with peer.connect(address, 80) as connection:
            connection.sendall(b"GET /big HTTP/1.0\r\n\r\n")
            assert len(receive_all(connection)) > BIG


def test_all_of_an_interface_agrees_with_the_kernel(field: Field, agent: Agent) -> None:
    """Packets and bytes, whatever they carry: the kernel's own count is the truth."""
    host, peer, _ = field

    def kernel() -> tuple[int, int]:
        (link,) = json.loads(host.ip("-j", "-s", "link", "show", "eth0"))
        both = link["stats64"]["rx"], link["stats64"]["tx"]
        return sum(x["packets"] for x in both), sum(x["bytes"] for x in both)

    def distance() -> tuple[float, float]:
        """Return how much more the kernel has counted, at a moment when nothing is on its way."""
        while True:
            packets, size = kernel()
            now = two_windows_later(agent)
            if kernel() == (packets, size):
                seen = now.value("vedette_captured_bytes_total", interface="eth0")
                return packets - captured(now, "eth0"), size - seen

    def dropped() -> Any:
        """Of the agent's life: its own scan of all ports is much for a machine that is busy."""
        return agent.metrics().all("vedette_capture_dropped_packets_total")

    before, lost = distance(), dropped()  # of the time before the capture began, and of its start
    _, size = kernel()
    fetch(peer)
    fetch(peer)

    assert distance() == before
    assert kernel()[1] - size > 4 * BIG
    assert dropped() == lost


def test_a_services_traffic_is_counted_by_direction(
    field: Field, agent: Agent, calm: Metrics
) -> None:
    """A web server sends much more than it receives."""
    _, peer, _ = field
    labels = {"transport": "tcp", "port": "80", "app_protocol": "http"}

    def size(metrics: Metrics, direction: str) -> float:
        return metrics.value("vedette_service_bytes_total", direction=direction, **labels)

    fetch(peer)
    now = two_windows_later(agent)

    out, into = (size(now, way) - size(calm, way) for way in ("out", "in"))
    assert 2 * BIG < out < 2.2 * BIG
    assert 100 < into < 0.1 * BIG
    assert now.value("vedette_service_packets_total", direction="in", **labels) > 4


def test_the_peer_is_a_neighbour_and_among_the_peers(field: Field, agent: Agent) -> None:
    """Its MAC is what ARP says; its bytes are those of the last window."""
    host, peer, _ = field
    (link,) = json.loads(peer.ip("-j", "link", "show", "eth0"))
    for namespace in (host, peer):
        namespace.ip("neigh", "flush", "dev", "eth0")
    fetch(peer)

    def peers() -> Metrics | None:
        metrics = agent.metrics()
        seen = metrics.all("vedette_peer_bytes")
        return metrics if (PEER_V4,) in seen and (PEER_V6,) in seen else None

    metrics = wait_for("the peer among the peers", peers, 10)

    assert metrics.value("vedette_peer_bytes", peer=PEER_V4) > BIG
    (neighbour,) = metrics.labels("vedette_neighbour_info", address=PEER_V4)
    assert neighbour["mac"] == link["address"]
    # And its two addresses of IPv6, once they were heard.
    assert 1 <= metrics.value("vedette_neighbours") <= 3
