"""capture/decode.py: bytes of a frame in, a Packet out. The oracle that builds them is scapy."""

import struct
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scapy.contrib.mpls import MPLS
from scapy.layers.dot11 import Dot11
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_RR
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether

from vedette.capture import decode
from vedette.capture.decode import Packet, packet
from vedette.capture.protocols import NAMES, name

ETHERNET, LOOPBACK, RAW = 1, 772, 65_534
A4, B4 = "192.0.2.10", "198.51.100.7"
A6, B6 = "2001:db8::10", "2001:db8::7"
PACKED = {
    A4: bytes([192, 0, 2, 10]),
    B4: bytes([198, 51, 100, 7]),
    A6: bytes.fromhex("20010db8000000000000000000000010"),
    B6: bytes.fromhex("20010db8000000000000000000000007"),
}
V4, V6 = IP(src=A4, dst=B4), IPv6(src=A6, dst=B6)
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


def read(layers: Any, link_type: int = ETHERNET) -> Packet:
    return packet(bytes(layers), link_type)


def between(first: str, second: str, protocol: str, *ports: int) -> Packet:
    source_port, destination_port = ports or (0, 0)
    return Packet(protocol, PACKED[first], PACKED[second], source_port, destination_port)


@pytest.mark.parametrize("number", range(256))
def test_every_protocol_number_has_a_name_of_a_fixed_list(number: int) -> None:
    """The name is a label: a number nobody uses must not become a series of its own."""
    seen = read(ETHER / IP(src=A4, dst=B4, proto=number))

    assert seen == between(A4, B4, NAMES.get(number, "other"))


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1, "icmp"), (6, "tcp"), (17, "udp"), (33, "dccp"), (47, "gre"), (50, "esp"),
        (58, "icmpv6"), (89, "ospf"), (132, "sctp"), (253, "experimental"), (254, "experimental"),
        (255, "reserved"), (200, "other"),
    ],
)  # fmt: skip
def test_names_are_those_of_the_registry(number: int, expected: str) -> None:
    """DCCP is 33. The seed took it for 253, which is for experiments (RFC 3692)."""
    assert name(number) == expected


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        pytest.param(
            ETHER / V4 / TCP(sport=22, dport=5), between(A4, B4, "tcp", 22, 5), id="tcp over IPv4"
        ),
        pytest.param(
            ETHER / V6 / UDP(sport=53, dport=5), between(A6, B6, "udp", 53, 5), id="udp over IPv6"
        ),
        pytest.param(ETHER / V4 / ICMP(), between(A4, B4, "icmp"), id="no ports"),
        pytest.param(
            ETHER / Dot1Q(vlan=5) / V4 / TCP(sport=22, dport=5),
            between(A4, B4, "tcp", 22, 5),
            id="VLAN",
        ),
        pytest.param(
            ETHER / Dot1AD(vlan=5) / Dot1Q(vlan=6) / V6 / TCP(sport=22, dport=5),
            between(A6, B6, "tcp", 22, 5),
            id="QinQ",
        ),
        pytest.param(
            ETHER / Dot1Q() / Dot1Q() / Dot1Q() / Dot1Q() / V4, Packet("malformed"), id="tag tower"
        ),
        pytest.param(
            ETHER / MPLS(s=1, label=16) / V4 / UDP(sport=1, dport=2),
            between(A4, B4, "udp", 1, 2),
            id="MPLS",
        ),
        pytest.param(
            ETHER / MPLS(s=0, label=16) / MPLS(s=1, label=17) / V6 / UDP(sport=1, dport=2),
            between(A6, B6, "udp", 1, 2),
            id="stacked MPLS",
        ),
        pytest.param(
            ETHER / (MPLS(s=0) / MPLS(s=0) / MPLS(s=0) / MPLS(s=0)) / V4,
            Packet("malformed"),
            id="MPLS without a bottom",
        ),
        pytest.param(
            ETHER / IP(src=A4, dst=B4, options=[IPOption_RR()]) / TCP(sport=22, dport=5),
            between(A4, B4, "tcp", 22, 5),
            id="IPv4 options",
        ),
        pytest.param(
            ETHER / IP(src=A4, dst=B4, flags="MF", frag=0) / UDP(sport=53, dport=5),
            between(A4, B4, "udp", 53, 5),
            id="first fragment",
        ),
        pytest.param(
            ETHER / IP(src=A4, dst=B4, frag=7, proto=17) / b"\0\x35\0\x05",
            between(A4, B4, "fragment"),
            id="later fragment: its bytes are no ports",
        ),
        pytest.param(
            ETHER / V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / TCP(sport=22, dport=5),
            between(A6, B6, "tcp", 22, 5),
            id="IPv6 extension headers",
        ),
        pytest.param(
            ETHER / V6 / IPv6ExtHdrRouting(addresses=[B6]) / UDP(sport=1, dport=2),
            between(A6, B6, "udp", 1, 2),
            id="IPv6 routing header",
        ),
        pytest.param(
            ETHER / V6 / IPv6ExtHdrFragment(offset=0, m=1) / UDP(sport=1, dport=2),
            between(A6, B6, "udp", 1, 2),
            id="IPv6 first fragment",
        ),
        pytest.param(
            ETHER / V6 / IPv6ExtHdrFragment(offset=3) / b"later",
            between(A6, B6, "fragment"),
            id="IPv6 later fragment",
        ),
        pytest.param(ETHER / b"\x88\xb5", Packet("other"), id="no IP at all"),
    ],
)
def test_headers_are_read(frame: Any, expected: Packet) -> None:
    """What stands in front of a packet must not hide whose it is, or which port it is for."""
    assert read(frame) == expected
    assert read(frame, LOOPBACK) == expected


def test_the_unknown_ether_type_is_other_and_not_an_error() -> None:
    """LLDP, spanning tree and the like are ordinary company on a network."""
    assert read(Ether(type=0x88CC) / b"lldp") == Packet("other")


@pytest.mark.parametrize("length", [1, 4, 6, 40, 255])
def test_an_authentication_header_is_as_long_as_it_says(length: int) -> None:
    """Its unit is 4 bytes, those of its neighbours 8 (RFC 4302, 2.2): a trap for every decoder."""
    header = bytes([6, length]) + bytes((length + 2) * 4 - 2)
    frame = ETHER / IPv6(src=A6, dst=B6, nh=51) / header / TCP(sport=22, dport=5)

    assert read(frame) == between(A6, B6, "tcp", 22, 5)


@pytest.mark.parametrize(
    ("headers", "expected"), [(7, "tcp"), (8, "malformed"), (200, "malformed")]
)
def test_a_chain_of_extension_headers_ends_somewhere(headers: int, expected: str) -> None:
    """An attacker can chain as many as fit: the walk stops, the packet is called what it is."""
    chain = b"".join(bytes([60 if n + 1 < headers else 6]) + bytes(7) for n in range(headers))
    frame = bytes(ETHER / IPv6(src=A6, dst=B6, nh=60)) + chain + bytes(TCP(sport=22, dport=5))

    assert read(frame).protocol == expected


@pytest.mark.parametrize("link_type", sorted(decode.RAW_IP))
def test_tunnels_and_modems_have_no_ethernet_header(link_type: int) -> None:
    """On tun and ppp devices the first byte is the IP header's."""
    assert read(V4 / TCP(sport=22, dport=5), link_type) == between(A4, B4, "tcp", 22, 5)
    assert read(V6 / UDP(sport=1, dport=2), link_type) == between(A6, B6, "udp", 1, 2)
    assert read(b"", link_type) == Packet("other")


def test_a_link_type_nobody_decodes_says_so() -> None:
    """Bytes of a monitor interface read as Ethernet would be made-up packets."""
    assert read(Dot11(), 803) == Packet("unknown_link")


def test_arp_tells_who_has_an_address() -> None:
    """The neighbours of the inventory come from here."""
    frame = ETHER / ARP(hwsrc="02:00:00:00:00:01", psrc=A4, pdst=B4)

    assert read(frame) == Packet("arp", sender_mac=bytes.fromhex("020000000001"), sender=PACKED[A4])


@pytest.mark.parametrize(
    "odd", [ARP(hwtype=6), ARP(ptype=0x86DD), ARP(hwlen=8), ARP(plen=16), ARP(hwlen=0)]
)
def test_arp_that_is_not_ethernet_and_ipv4_makes_no_neighbour(odd: Any) -> None:
    """Frames with other sizes put their author's bytes where an address is expected."""
    assert read(bytes(ETHER / odd)[:42].ljust(60, b"\0")) == Packet("arp")


@pytest.mark.parametrize(
    "whole",
    [
        ETHER / Dot1Q() / V4 / TCP(sport=22, dport=5),
        ETHER / MPLS(s=1) / V6 / UDP(sport=22, dport=5),
        ETHER / V6 / IPv6ExtHdrHopByHop() / TCP(sport=22, dport=5),
        ETHER / ARP(psrc=A4),
    ],
)
def test_a_frame_cut_anywhere_is_malformed_or_lacks_its_ports(whole: Any) -> None:
    """Capture cuts frames, and attackers do: half a header is never read as a whole one."""
    frame = bytes(whole)
    expected = read(frame)
    for length in range(len(frame)):
        seen = packet(frame[:length], ETHERNET)
        assert seen.protocol in ("malformed", expected.protocol)
        assert seen.source_port in (0, expected.source_port)
        assert seen.source in (b"", expected.source)


def test_an_ipv4_header_that_is_shorter_than_it_may_be_is_malformed() -> None:
    """Length 0 to 4 words would put the ports into the addresses."""
    for words in range(5):
        frame = bytearray(bytes(ETHER / V4 / TCP()))
        frame[14] = 0x40 | words
        assert read(bytes(frame)) == Packet("malformed")


def test_a_version_that_belies_the_ether_type_is_malformed() -> None:
    """IPv4 in an IPv6 frame: whatever it is, its addresses are not to be believed."""
    for kind, inner in ((0x0800, V6), (0x86DD, V4 / bytes(40))):
        assert read(bytes(12) + struct.pack("!H", kind) + bytes(inner)) == Packet("malformed")


PREFIXES = [
    b"",
    bytes(12) + b"\x08\x00",
    bytes(12) + b"\x86\xdd",
    bytes(12) + b"\x86\xdd" + bytes(ETHER / V6)[14:54],
    bytes(12) + b"\x08\x06\x00\x01\x08\x00\x06\x04",
    bytes(12) + b"\x81\x00\x00\x01\x88\x47",
]


@given(
    st.sampled_from(PREFIXES),
    st.binary(max_size=120),
    st.sampled_from([ETHERNET, LOOPBACK, RAW, 0, 803, -1]),
)
@example(b"", b"\x45", RAW)
@example(b"", b"\x60", RAW)
def test_any_bytes_of_any_link_are_a_packet(start: bytes, rest: bytes, link_type: int) -> None:
    """Anybody can send anything: nothing may raise, and every name is one of a fixed list."""
    seen = packet(start + rest, link_type)

    assert seen.protocol in {
        *NAMES.values(), "other", "arp", "fragment", "malformed", "unknown_link",
    }  # fmt: skip
    assert len(seen.source) == len(seen.destination)
    assert len(seen.source) in (0, 4, 16)
    assert len(seen.sender) in (0, 4)
    assert 0 <= seen.source_port < 1 << 16
    assert 0 <= seen.destination_port < 1 << 16
