"""capture/summary.py: packets in, the numbers of one window out, in bounded memory."""

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from vedette.capture.decode import Packet
from vedette.capture.summary import Window

OWN, OWN_TOO = IPv4Address("192.0.2.10").packed, IPv6Address("2001:db8::10").packed
PEER, OTHER_PEER = IPv4Address("198.51.100.7").packed, IPv4Address("198.51.100.8").packed


def window(**ports: list[int]) -> Window:
    return Window([OWN, OWN_TOO], {"tcp": [], "udp": [], **ports})


def tcp(source: bytes, source_port: int, destination: bytes, destination_port: int) -> Packet:
    return Packet("tcp", source, destination, source_port, destination_port)


def test_a_window_counts_protocols_services_and_peers() -> None:
    """The whole summary of a small exchange, in the shape that the agent reads."""
    seen = window(tcp=[22], udp=[53])
    seen.add("eth0", tcp(PEER, 50_000, OWN, 22), 100)
    seen.add("eth0", tcp(OWN, 22, PEER, 50_000), 1500)
    seen.add("eth0", Packet("udp", OTHER_PEER, OWN, 4000, 53), 60)
    seen.add("eth0", Packet("icmp", OTHER_PEER, OWN), 84)
    seen.add("eth0", Packet("malformed"), 9)

    assert seen.as_json(10.0004, 1, {"eth0": 3}) == {
        "seconds": 10.0,
        "protocols": [
            ["eth0", "icmp", 1, 84],
            ["eth0", "malformed", 1, 9],
            ["eth0", "tcp", 2, 1600],
            ["eth0", "udp", 1, 60],
        ],
        "services": [
            ["tcp", 22, "in", 1, 100],
            ["tcp", 22, "out", 1, 1500],
            ["udp", 53, "in", 1, 60],
        ],
        "peers": [["198.51.100.7", 1600], ["other", 144]],
        "neighbours": [],
        "dropped": {"eth0": 3},
    }


def test_a_port_that_is_not_open_here_counts_nowhere_among_services() -> None:
    """A client's random port, or somebody else's server, would grow the label set without bound."""
    seen = window(tcp=[22])
    seen.add("eth0", tcp(OWN, 43_210, PEER, 443), 100)
    seen.add("eth0", tcp(PEER, 43_210, OTHER_PEER, 22), 100)

    assert seen.as_json(1, 5, {})["services"] == []


def test_a_packet_between_two_own_addresses_counts_once_and_has_no_peer() -> None:
    """On loopback both ends are ours: counted in and out, each byte would stand there twice."""
    seen = window(tcp=[22, 8000])
    seen.add("lo", tcp(OWN, 22, OWN_TOO, 8000), 100)
    seen.add("lo", tcp(OWN, 22, OWN, 50_000), 10)

    summary = seen.as_json(1, 5, {})

    assert summary["services"] == [["tcp", 22, "out", 1, 10], ["tcp", 8000, "in", 1, 100]]
    assert summary["peers"] == [["other", 0]]


def test_no_peers_wanted_leaves_the_sum() -> None:
    """`peers: 0` is for those who may not keep addresses; the total is still true."""
    seen = window()
    seen.add("eth0", tcp(PEER, 1, OWN, 2), 70)

    assert seen.as_json(1, 0, {})["peers"] == [["other", 70]]


def test_neighbours_are_those_that_sent_arp_from_an_address_of_their_own() -> None:
    """0.0.0.0 is a probe for a free address, and this host is not its own neighbour."""
    mac = bytes.fromhex("020000000001")
    seen = window()
    for sender in (PEER, OWN, b"\0\0\0\0"):
        seen.add("eth0", Packet("arp", sender_mac=mac, sender=sender), 42)

    assert seen.as_json(1, 5, {}, {"02:00:00:00:00:01": "Acme"}.__getitem__)["neighbours"] == [
        ["198.51.100.7", "02:00:00:00:00:01", "Acme"]
    ]


def test_a_neighbour_is_listed_with_the_address_it_sent_last() -> None:
    """A card that was swapped must not leave the old one in the inventory."""
    seen = window()
    for last in (1, 2):
        seen.add("eth0", Packet("arp", sender_mac=bytes([2, 0, 0, 0, 0, last]), sender=PEER), 42)

    assert seen.as_json(1, 5, {})["neighbours"] == [["198.51.100.7", "02:00:00:00:00:02", ""]]


def test_100_000_forged_sources_stay_bounded() -> None:
    """A flood may cost time, never memory; and what is not kept by name still counts."""
    seen = window()
    for number in range(100_000):
        forged = number.to_bytes(4, "big")
        seen.add("eth0", tcp(b"\x0a" + forged[1:], 1, OWN, 2), 60)
        seen.add("eth0", Packet("arp", sender_mac=b"\2" + forged + b"\1", sender=forged), 42)

    summary = seen.as_json(1, 10_000, {})

    assert len(summary["peers"]) <= 1024 + 1
    assert sum(size for _, size in summary["peers"]) == 100_000 * 60
    assert len(summary["neighbours"]) == 1024


addresses = st.sampled_from([OWN, OWN_TOO, *(bytes([198, 51, 100, n]) for n in range(6))])


@given(
    st.lists(st.tuples(addresses, addresses, st.integers(0, 65_535)), max_size=40),
    st.integers(0, 8),
)
def test_the_top_peers_and_other_are_all_traffic_with_others(
    sent: list[tuple[bytes, bytes, int]], most: int
) -> None:
    """A dashboard stacks these series: what is missing there, nobody would ever miss."""
    own = {OWN, OWN_TOO}
    seen = window(tcp=[22])
    for source, destination, size in sent:
        seen.add("eth0", tcp(source, 22, destination, 22), size)

    peers = seen.as_json(1, most, {})["peers"]

    assert sum(size for _, size in peers) == sum(s for a, b, s in sent if (a in own) != (b in own))
    assert len(peers) <= most + 1
    assert peers[-1][0] == "other"
    assert [size for _, size in peers[:-1]] == sorted((s for _, s in peers[:-1]), reverse=True)
