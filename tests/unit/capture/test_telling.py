"""capture/telling.py: which frames the kernel picks out, by running the filter on frames."""

import struct
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Ether

from tests.captures.make import HELLO
from vedette.capture.telling import program

V4, V6 = IP(src="192.0.2.1", dst="192.0.2.2"), IPv6(src="fe80::1", dst="fe80::2")


def taken(packet: Any, interface: int = 3) -> bool:
    """Run classic BPF as the kernel does: a load beyond the end leaves the packet."""
    frame = bytes(Ether() / packet)
    known = {
        0xFFFFF000: struct.unpack_from("!H", frame, 12)[0],
        0xFFFFF008: interface, 0xFFFFF004: 0, 0xFFFFF01C: 1,
    }  # fmt: skip
    code, a, x, at = program([3, 4]), 0, 0, 0
    while True:
        kind, true, false, k = code[at]
        at += 1
        if kind in (0x20, 0x28, 0x30, 0x40, 0x48, 0x50):
            if k in known:
                a = known[k]
                continue
            size = {0x00: 4, 0x08: 2, 0x10: 1}[kind & 0x18]
            start = k - 0xFFF00000 + 14 + (x if kind & 0x40 else 0)
            if start + size > len(frame):
                return False
            a = int.from_bytes(frame[start : start + size], "big")
        elif kind in (0x15, 0x35, 0x45):
            holds = {0x15: a == k, 0x35: a >= k, 0x45: bool(a & k)}[kind]
            at += true if holds else false
        elif kind == 0x06:
            return k > 0
        elif kind == 0x05:
            at += k
        elif kind == 0x07:
            x = a
        else:
            a = {0x0C: a + x, 0x54: a & k, 0x64: a << k, 0x74: a >> k, 0x00: k}[kind]


@pytest.mark.parametrize(
    "network", [V4, V6, IP(src="192.0.2.1", dst="192.0.2.2", options=b"\1\1\1\0")]
)
@pytest.mark.parametrize(
    ("transport", "wanted"),
    [
        (TCP(flags="S"), True),
        (TCP(flags="SA"), True),
        (TCP(flags="A"), False),
        (TCP(flags="PA") / b"SSH-2.0-x\r\n", True),
        (TCP(flags="PA", options=[("Timestamp", (1, 2))]) / HELLO, True),
        (TCP(flags="PA") / b"\0\0\0\x50\xfeSMB", True),
        (TCP(flags="PA") / bytes(1400), False),
        (TCP(flags="PA") / b"\x17\x03\x03\x05\xdc", False),
        (UDP(sport=40000, dport=53) / b"x", True),
        (UDP(sport=53, dport=40000) / b"x", True),
        (UDP(sport=40000, dport=443) / b"\xc3\0\0\0\1", True),
        (UDP(sport=443, dport=40000) / b"\x43\0\0\0\1", False),
        (UDP(sport=40000, dport=40001) / b"x", False),
    ],
)
def test_what_tells_something_is_taken(network: Any, transport: Any, wanted: bool) -> None:  # noqa: FBT001
    """The rest is never copied: at 400,000 packets a second nobody could look at it."""
    assert taken(network / transport) is wanted


@pytest.mark.parametrize(
    ("packet", "wanted"),
    [
        (ARP(), True),
        (V6 / ICMPv6ND_NS(tgt="fe80::2"), True),
        (V6 / ICMPv6EchoRequest(), False),
        (V4 / ICMP(), False),
        (IP(frag=5, proto=17) / b"\0\x35\0\x35abcd", False),
    ],
)
def test_neighbours_are_taken_and_fragments_are_not(packet: Any, wanted: bool) -> None:  # noqa: FBT001
    """A fragment's first bytes are no ports."""
    assert taken(packet) is wanted
    assert not taken(packet, interface=9)
