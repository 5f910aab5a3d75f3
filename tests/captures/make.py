"""Captures with a known truth: what is in them is said beside what they are made of.

`python -m tests.captures.make DIRECTORY` writes them, to look at with other programs.
"""

import gzip
import struct
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from scapy.contrib.mpls import MPLS
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, GRE, LLC, SNAP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.sctp import SCTP

from vedette.capture.protocols import NAMES

A4, B4, A6, B6 = "192.0.2.10", "198.51.100.7", "2001:db8::10", "2001:db8::7"
_ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
_V4, _V6 = IP(src=A4, dst=B4), IPv6(src=A6, dst=B6)


@dataclass(frozen=True, slots=True)
class Capture:
    """A file's bytes, and what is in it: {protocol: (packets, bytes)}."""

    name: str
    data: bytes
    truth: dict[str, tuple[int, int]]


def _tcp(payload: bytes, port: int, base: Any = _V4) -> Any:
    return base / TCP(sport=40000, dport=port, flags="PA", seq=1, ack=1) / payload


def _udp(payload: Any, port: int, base: Any = _V4) -> Any:
    return base / UDP(sport=40000, dport=port) / payload


HELLO = bytes.fromhex(
    "16030100560100005203030000000000000000000000000000000000000000000000000000000000000000000002130101"
    "0000270000001400120000"
) + b"\x0fwww.example.org" + bytes.fromhex("0010000b000908687474702f312e31")  # fmt: skip

# Every line: the truth's protocol, the packet without its link header.
NETWORK: tuple[tuple[str, Any], ...] = (
    ("tcp", _tcp(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", 80)),
    ("tcp", _tcp(b"SSH-2.0-OpenSSH_9.2\r\n", 2222, _V6)),
    ("tcp", _tcp(HELLO, 8080)),
    ("udp", _udp(DNS(rd=1, qd=DNSQR(qname="example.org")), 53)),
    ("udp", _udp(b"\x23" + bytes(47), 123, _V6)),
    (
        "udp",
        _V4 / UDP(sport=68, dport=67) / BOOTP(op=1) / DHCP(options=[("message-type", 1), "end"]),
    ),
    ("icmp", _V4 / ICMP()),
    ("icmpv6", _V6 / ICMPv6EchoRequest()),
    ("icmpv6", _V6 / IPv6ExtHdrHopByHop() / ICMPv6EchoRequest()),
    ("sctp", _V4 / SCTP(sport=1, dport=2)),
    ("gre", _V4 / GRE() / _V4 / ICMP()),
    ("ipv6-in-ip", _V4 / _V6 / ICMPv6EchoRequest()),
    ("fragment", IP(src=A4, dst=B4, frag=9, proto=17) / b"\0\x35\0\x35later"),
    ("fragment", _V6 / IPv6ExtHdrFragment(offset=9, nh=17) / b"\0\x35\0\x35later"),
)
NUMBERS: tuple[tuple[str, Any], ...] = tuple(
    (NAMES[number], IP(src=A4, dst=B4, proto=number) / bytes(64)) for number in sorted(NAMES)
)


def _frames(packets: Iterable[tuple[str, Any]], head: Any = None) -> list[tuple[str, bytes]]:
    return [
        (name, bytes(head / packet if head is not None else packet)) for name, packet in packets
    ]


def _stacked() -> list[tuple[str, bytes]]:
    """Return packets below all that stands between Ethernet and the network header."""
    inner = _tcp(b"SSH-2.0-x\r\n", 22)
    return [
        ("tcp", bytes(_ETHER / Dot1Q(vlan=5) / inner)),
        ("tcp", bytes(_ETHER / Dot1AD(vlan=5) / Dot1Q(vlan=6) / inner)),
        ("tcp", bytes(_ETHER / MPLS(s=0, label=16) / MPLS(s=1, label=17) / inner)),
        ("tcp", bytes(_ETHER / PPPoE(sessionid=1) / PPP() / inner)),
        ("tcp", bytes(Dot3(src=_ETHER.src, dst=_ETHER.dst) / LLC() / SNAP(code=0x800) / inner)),
        ("arp", bytes(_ETHER / ARP(hwsrc=_ETHER.src, psrc=A4, pdst=B4)) + bytes(18)),
        ("other", bytes(_ETHER)[:12] + b"\x88\xcc" + bytes(46)),
        ("arp", bytes(_ETHER)[:12] + b"\x80\x35" + bytes(ARP(op=3)) + bytes(18)),
        *(
            ("tcp", bytes(_ETHER)[:12] + tag + b"\x08\0" + bytes(inner))
            for tag in (
                b"\x89\x26" + bytes(4),  # VN-tag
                b"\x89\x3f" + bytes(6),  # E-tag
                b"\x89\x09\1\1\0\1\0\7",  # TrustSec, a security group
                b"\x88\xe7" + bytes(4) + bytes(_ETHER)[:12],  # provider backbone bridges
                b"\x89\x03" + bytes(2) + bytes(_ETHER)[:12],  # FabricPath
            )
        ),
    ]


def pcap(
    frames: Sequence[bytes], link: int, order: str = "<", magic: int = 0xA1B2C3D4, more: int = 0
) -> bytes:
    """Return a classic file. more: bytes of each packet that were on the wire, but not caught."""
    head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    return head + b"".join(
        struct.pack(order + "IIII", 1_700_000_000, number, len(frame), len(frame) + more) + frame
        for number, frame in enumerate(frames)
    )


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """Return one block of a pcapng file."""
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def pcapng(interfaces: Sequence[tuple[int, Sequence[bytes]]], order: str = "<") -> bytes:
    """Return a file of several interfaces: (link type, frames); all kinds of packet blocks."""
    file = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    for link, _ in interfaces:
        nanoseconds = struct.pack(order + "HHBxxxHH", 9, 1, 9, 0, 0)
        file += block(1, struct.pack(order + "HHI", link, 0, 0) + nanoseconds, order)
    file += block(4, bytes(4), order)  # names: of no use to us
    for number, (_, frames) in enumerate(interfaces):
        for turn, frame in enumerate(frames):
            sizes = len(frame), len(frame)
            if number == 0 and turn % 3 == 1:
                file += block(3, struct.pack(order + "I", len(frame)) + frame, order)
            elif turn % 3 == 2:
                head = struct.pack(order + "HHIIII", number, 0, 0, 0, *sizes)
                file += block(2, head + frame, order)
            else:
                high, low = divmod(1_700_000_000_000_000_000 + turn, 1 << 32)
                head = struct.pack(order + "IIIII", number, high, low, *sizes)
                file += block(6, head + frame, order)
    return file


def _truth(frames: Sequence[tuple[str, bytes]], more: int = 0) -> dict[str, tuple[int, int]]:
    packets: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for name, frame in frames:
        packets[name] += 1
        size[name] += len(frame) + more
    return {name: (packets[name], size[name]) for name in packets}


def _linked(link: int) -> list[tuple[str, bytes]]:
    """Return all packets of NETWORK, each below the header of that link type."""
    kinds = {4: b"\x08\x00", 6: b"\x86\xdd"}
    families = {4: 2, 6: 30}
    ppp = {4: b"\x00\x21", 6: b"\x00\x57"}
    snap = {version: b"\xaa\xaa\x03\0\0\0" + kind for version, kind in kinds.items()}
    wireless = b"\x08\x01" + bytes(22)  # a data frame to the access point

    def head(version: int) -> bytes:
        return {
            0: struct.pack("<I", families[version]),
            108: struct.pack(">I", families[version]),
            9: b"\xff\x03" + ppp[version],
            50: b"\xff\x03" + ppp[version],
            113: struct.pack("!HHH8s", 0, 1, 6, bytes(8)) + kinds[version],
            100: snap[version],
            105: wireless + snap[version],
            107: b"\x18\x41\x03" + {4: b"\xcc", 6: b"\x8e"}[version],
            127: b"\0\0\x08\0" + bytes(4) + wireless + snap[version],
            242: bytes(40) + kinds[version] + bytes(2),
            276: kinds[version] + struct.pack("!HIHBB8s", 0, 1, 1, 0, 6, bytes(8)),
        }.get(link, b"")

    return [(name, head(int(packet.version)) + bytes(packet)) for name, packet in NETWORK]


def ethernet() -> list[tuple[str, bytes]]:
    """Return a frame of each kind: (protocol, bytes)."""
    return _frames(NETWORK, _ETHER) + _stacked()


@cache
def captures() -> list[Capture]:
    """Return them all."""
    frames = ethernet()
    bare = [frame for _, frame in frames]
    made = [
        Capture(
            "numbers",
            pcap([f for _, f in _frames(NUMBERS, _ETHER)], 1),
            _truth(_frames(NUMBERS, _ETHER)),
        ),
        Capture("little", pcap(bare, 1), _truth(frames)),
        Capture("big", pcap(bare, 1, ">"), _truth(frames)),
        Capture("nanoseconds", pcap(bare, 1, ">", 0xA1B23C4D), _truth(frames)),
        Capture("snapped", pcap(bare, 1, more=1000), _truth(frames, 1000)),
        Capture("gzipped", gzip.compress(pcap(bare, 1)), _truth(frames)),
    ]
    for link in (0, 9, 50, 100, 101, 105, 107, 108, 113, 127, 242, 276):
        linked = _linked(link)
        made.append(Capture(f"link-{link}", pcap([f for _, f in linked], link), _truth(linked)))
    for order in "<>":
        raw = _linked(101)
        file = pcapng([(1, bare), (101, [f for _, f in raw])], order)
        name = "little" if order == "<" else "big"
        made.append(Capture(f"pcapng-{name}", file, _truth([*frames, *raw])))
    return made


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for capture in captures():
        (folder / f"{capture.name}.pcap").write_bytes(capture.data)
