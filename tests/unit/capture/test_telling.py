"""capture/telling.py: which frames the kernel picks out, by running the filter on frames."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6ND_NS, ICMPv6ND_RA, IPv6
from scapy.layers.l2 import ARP, Ether

from tests.captures.make import HELLO
from vedette.capture import decode
from vedette.capture.decode import LOOPBACK_LINK
from vedette.capture.telling import program
from vedette.capture.worth import (
    BEGINS,
    DATAGRAM,
    FIRST_WORDS,
    FOURTH_WORDS,
    NOTHING,
    SAID,
    SECOND_WORDS,
    WHO,
    Budget,
    kind,
)

V4, V6 = IP(src="192.0.2.1", dst="192.0.2.2"), IPv6(src="fe80::1", dst="fe80::2")

# Both ends are known: scapy would ask for them on the network.
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


def taken(packet: Any, interface: int = 3, link_type: int = 1) -> int:
    """Run classic BPF as the kernel does: a load beyond the end leaves the packet."""
    frame = bytes(ETHER / packet)
    known = {
        0xFFFFF000: struct.unpack_from("!H", frame, 12)[0],
        0xFFFFF008: interface, 0xFFFFF004: 0, 0xFFFFF01C: link_type,
    }  # fmt: skip
    code, a, x, at = program([3, 4]), 0, 0, 0
    while True:
        operation, true, false, k = code[at]
        at += 1
        if operation in (0x20, 0x28, 0x30, 0x40, 0x48, 0x50):
            if k in known:
                a = known[k]
                continue
            size = {0x00: 4, 0x08: 2, 0x10: 1}[operation & 0x18]
            start = k - 0xFFF00000 + 14 + (x if operation & 0x40 else 0)
            if start + size > len(frame):
                return NOTHING
            a = int.from_bytes(frame[start : start + size], "big")
        elif operation in (0x15, 0x35, 0x45):
            holds = {0x15: a == k, 0x35: a >= k, 0x45: bool(a & k)}[operation]
            at += true if holds else false
        elif operation == 0x06:
            return k
        elif operation == 0x05:
            at += k
        elif operation == 0x07:
            x = a
        else:
            a = {0x0C: a + x, 0x54: a & k, 0x64: a << k, 0x74: a >> k, 0x00: k}[operation]


@pytest.mark.parametrize(
    "network", [V4, V6, IP(src="192.0.2.1", dst="192.0.2.2", options=b"\1\1\1\0")]
)
@pytest.mark.parametrize(
    ("transport", "wanted"),
    [
        (TCP(flags="S"), BEGINS),
        (TCP(flags="SA"), BEGINS),
        (TCP(flags="A"), NOTHING),
        (TCP(flags="PA") / b"SSH-2.0-x\r\n", SAID),
        (TCP(flags="PA", options=[("Timestamp", (1, 2))]) / HELLO, SAID),
        (TCP(flags="PA") / b"\0\0\0\x50\xfeSMB", SAID),
        (TCP(flags="PA") / bytes(1400), NOTHING),
        (TCP(flags="A") / bytes(12) / b"\xdd\7\0\0" / bytes(20), SAID),  # MongoDB
        (TCP(flags="PA") / b"\x12\1\0\x2f" / bytes(43), SAID),  # SQL Server
        (TCP(flags="PA") / b"\0\x3a\0\0\1\0\0\0" / bytes(50), SAID),  # Oracle
        (TCP(flags="PA") / b"\x17\x03\x03\x05\xdc", NOTHING),
        (TCP(flags="PA") / bytes.fromhex("300c020101600702010304008000"), SAID),  # LDAP's bind
        (TCP(flags="PA") / b"\x4a\0\0\0\x0a8.0.36\0", SAID),  # MySQL's greeting
        (TCP(flags="PA") / b"\x4a\0\0\1\x0a8.0.36\0", NOTHING),
        (TCP(flags="PA", dport=143) / b"a1 LOGIN me secret\r\n", SAID),
        (TCP(flags="PA", sport=143) / b"a1 BAD command\r\n", NOTHING),
        (TCP(flags="PA", sport=23) / b"\r\nPassword: ", SAID),
        (TCP(flags="A", sport=23) / bytes(1400), NOTHING),
        (UDP(sport=40000, dport=53) / b"x", DATAGRAM),
        (UDP(sport=53, dport=40000) / b"x", DATAGRAM),
        (UDP(sport=40000, dport=443) / b"\xc3\0\0\0\1", DATAGRAM),
        (UDP(sport=443, dport=40000) / b"\x43\0\0\0\1", NOTHING),
        (UDP(sport=53, dport=443) / b"SSH-", DATAGRAM),
        (UDP(sport=68, dport=67) / b"x", WHO),
        (UDP(sport=547, dport=546) / b"x", WHO),
        (UDP(sport=40000, dport=40001) / b"x", NOTHING),
    ],
)
def test_what_tells_something_is_taken(network: Any, transport: Any, wanted: int) -> None:
    """The rest is never copied: at 400,000 packets a second nobody could look at it."""
    frame = bytes(ETHER / network / transport)

    assert taken(network / transport) == wanted
    assert kind(decode.packet(frame, 1), frame, 1) == wanted


@pytest.mark.parametrize(
    ("flags", "said", "wanted"),
    [("S", b"", NOTHING), ("SA", b"", NOTHING), ("PA", b"SSH-2.0-x", SAID)],
)
def test_on_loopback_only_what_is_said_is_taken(flags: str, said: bytes, wanted: int) -> None:
    """The agent's own sweep begins 65,535 connections there: nothing else would be looked into."""
    packet = V4 / TCP(flags=flags) / said
    frame = bytes(ETHER / packet)

    assert taken(packet, link_type=LOOPBACK_LINK) == wanted
    assert kind(decode.packet(frame, LOOPBACK_LINK), frame, LOOPBACK_LINK) == wanted


BEGINNINGS = [
    *FIRST_WORDS,
    *(bytes(4) + word for word in SECOND_WORDS),
    *(bytes(12) + word for word in FOURTH_WORDS),
    b"", HELLO,
]  # fmt: skip


PORTS = st.sampled_from([23, 53, 68, 143, 443, 40000])


@given(
    st.sampled_from([V4, V6]), st.sampled_from([TCP, UDP]), PORTS, PORTS,
    st.sampled_from(["A", "PA", "S", "SA", "R"]),
    st.sampled_from(BEGINNINGS) | st.binary(max_size=12), st.binary(max_size=4),
)  # fmt: skip
def test_the_kernel_and_scapys_backend_pick_the_same(  # noqa: PLR0917 - what a frame is
    network: Any, transport: Any, sport: int, dport: int, flags: str, said: bytes, more: bytes
) -> None:
    """Whatever the frames carry: a filter of instructions and one of Python are one rule."""
    header = transport(sport=sport, dport=dport, **({"flags": flags} if transport is TCP else {}))
    packet = network / header / (said + more)
    frame = bytes(ETHER / packet)

    assert kind(decode.packet(frame, 1), frame, 1) == taken(packet)


@pytest.mark.parametrize(
    ("packet", "wanted"),
    [
        (ARP(), WHO),
        (V6 / ICMPv6ND_NS(tgt="fe80::2"), WHO),
        (V6 / ICMPv6EchoRequest(), NOTHING),
        (V4 / ICMP(), NOTHING),
        (V4 / ICMP(type=3, code=3) / bytes(28), WHO),
        (V6 / ICMPv6DestUnreach(code=4) / bytes(48), WHO),
        (V6 / ICMPv6ND_RA(), WHO),
        (IP(frag=5, proto=17) / b"\0\x35\0\x35abcd", NOTHING),
    ],
)
def test_neighbours_are_taken_and_fragments_are_not(packet: Any, wanted: int) -> None:
    """A fragment's first bytes are no ports."""
    assert taken(packet) == wanted
    assert not taken(packet, interface=9)
    frame = bytes(ETHER / packet)
    assert kind(decode.packet(frame, 1), frame, 1) == wanted


def test_beyond_the_budget_frames_are_shed_and_counted() -> None:
    """So many a second, then no more before the next."""
    budget = Budget(3)

    assert [budget.allows(at, SAID) for at in (9.0, 9.1, 9.2, 9.3, 9.9, 10.0)] == [
        True, True, True, False, False, True,
    ]  # fmt: skip
    assert budget.shed == 2


def test_a_flood_of_one_kind_leaves_their_shares_to_the_others() -> None:
    """Half is for whoever comes first, the other half is shared out."""
    budget = Budget(80)

    assert sum(budget.allows(1.0, BEGINS) for _ in range(1000)) == 50
    assert [sum(budget.allows(1.5, kind) for _ in range(20)) for kind in (WHO, DATAGRAM, SAID)] == [
        10, 10, 10,
    ]  # fmt: skip
    assert budget.shed == 950 + 30
