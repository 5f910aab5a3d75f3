"""One flow of each of many protocols: what it is called here, and what tshark calls it."""

import struct
from dataclasses import dataclass

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

from tests.captures import make


@dataclass(frozen=True, slots=True)
class Spoken:
    """name: ours; theirs: tshark's layer, "" if it needs more than this to tell."""

    name: str
    theirs: str
    transport: str
    port: int
    payload: bytes


def _rtcp() -> bytes:
    return struct.pack("!BBHI", 0x81, 200, 6, 7) + bytes(20)


SPOKEN = (
    Spoken("openflow", "openflow", "tcp", 6653, bytes.fromhex("0100000800000001")),
    Spoken("rpki-rtr", "rpkirtr", "tcp", 323, bytes.fromhex("0002000000000008")),
    Spoken("giop", "giop", "tcp", 12000, b"GIOP\1\2\1\5\0\0\0\0"),
    Spoken("dnp3", "dnp3", "tcp", 20000, bytes.fromhex("056405c001000004e921")),
    Spoken("icap", "icap", "tcp", 1344, b"OPTIONS icap://example.org/x ICAP/1.0\r\n\r\n"),
    Spoken("hl7", "", "tcp", 2575, b"\x0bMSH|^~\\&|A|B|C|D\r\x1c\r"),
    Spoken("zabbix", "", "tcp", 10051, b"ZBXD\1\2\0\0\0\0\0\0\0{}"),
    Spoken("thrift", "", "tcp", 9091, b"\x80\1\0\1\0\0\0\4ping\0\0\0\1\0"),
    Spoken("gnutella", "gnutella", "tcp", 6346, b"GNUTELLA CONNECT/0.6\r\n\r\n"),
    Spoken("bfd", "bfd", "udp", 4784, bytes.fromhex("20400318" + "00" * 20)),
    Spoken("radius", "radius", "udp", 3799, bytes.fromhex("28010014" + "00" * 16)),
    Spoken("hsrp", "", "udp", 1985, bytes(20)),
    Spoken("mpls-ping", "mpls-echo", "udp", 3503, b"\0\1" + bytes(30)),
    Spoken("knxip", "kip", "udp", 3671, bytes.fromhex("06100203000e0801000000000000")),
    Spoken("raknet", "", "udp", 30000, b"\1" + bytes(8) + bytes.fromhex(
        "00ffff00fefefefefdfdfdfd12345678") + bytes(8)),
    Spoken("rtps", "rtps", "udp", 7400, b"RTPS\2\3\1\x0f" + bytes(12) + b"\1\1\0\0"),
    Spoken("wireguard", "wg", "udp", 51820, b"\4\0\0\0\1\2\3\xff" + bytes(8) + bytes(32)),
    Spoken("rtcp", "rtcp", "udp", 41001, _rtcp()),
    Spoken("bittorrent", "", "udp", 6771, b"BT-SEARCH * HTTP/1.1\r\nPort: 6881\r\n\r\n"),
)  # fmt: skip


def capture() -> bytes:
    """Return the file: a client's first payload of each."""
    frames = []
    for number, spoken in enumerate(SPOKEN):
        ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        kind = TCP if spoken.transport == "tcp" else UDP
        head = kind(sport=50000 + number, dport=spoken.port)
        frames.append(bytes(ether / IP(src=make.A4, dst=make.B4) / head / spoken.payload))
    return make.pcap(frames, 1)
