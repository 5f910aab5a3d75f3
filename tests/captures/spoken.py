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


def _dns(name: bytes, kind: int = 1) -> bytes:
    return struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + name + b"\0" + struct.pack("!HH", kind, 1)


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
    Spoken(
        "raknet",
        "",
        "udp",
        30000,
        b"\1" + bytes(8) + bytes.fromhex("00ffff00fefefefefdfdfdfd12345678") + bytes(8),
    ),
    Spoken("rtps", "rtps", "udp", 7400, b"RTPS\2\3\1\x0f" + bytes(12) + b"\1\1\0\0"),
    Spoken("wireguard", "wg", "udp", 51820, b"\4\0\0\0\1\2\3\xff" + bytes(8) + bytes(32)),
    Spoken("rtcp", "rtcp", "udp", 41001, _rtcp()),
    # At ports that say nothing: by their content alone.
    Spoken("tls", "tls", "tcp", 30001, make.HELLO),
    Spoken(
        "stun",
        "stun",
        "tcp",
        30037,
        bytes.fromhex("0014000100002112a442") + bytes(range(12)),
    ),
    Spoken("quic", "", "udp", 30038, bytes.fromhex("8000000000010800000000010a1a2a3a")),
    Spoken("http", "http", "tcp", 30002, b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"),
    Spoken("http", "http", "tcp", 30003, b"POST  /  HTTP/1.0\r\n\r\n"),
    Spoken(
        "http",
        "",
        "tcp",
        30004,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"),
    ),
    Spoken("ssh", "", "tcp", 30005, b"SSH-2.0-OpenSSH_9.2\r\n"),
    Spoken(
        "sip",
        "sip",
        "udp",
        30006,
        b"OPTIONS sip:a@example.org SIP/2.0\r\nVia: SIP/2.0/UDP a\r\n\r\n",
    ),
    Spoken("stun", "stun", "udp", 30007, bytes.fromhex("000100002112a442") + bytes(range(12))),
    Spoken("stun", "classicstun", "udp", 30008, bytes.fromhex("00010000") + bytes(range(16))),
    Spoken(
        "quic",
        "quic",
        "udp",
        30009,
        bytes.fromhex("c00000000108") + bytes(8) + b"\0\0\x44\xb0" + bytes(1200),
    ),
    Spoken(
        "dtls",
        "dtls",
        "udp",
        30010,
        bytes.fromhex("16feff0000000000000000000d01000001000000000000000100"),
    ),
    Spoken("smb", "", "tcp", 30011, bytes.fromhex("00000044fe534d4240000100") + bytes(60)),
    Spoken("mqtt", "", "tcp", 30012, bytes.fromhex("101000044d5154540402003c000476656474")),
    Spoken("postgresql", "", "tcp", 30013, bytes.fromhex("0000000804d2162f")),
    Spoken(
        "mysql",
        "",
        "tcp",
        30014,
        bytes.fromhex("4a0000000a382e302e3336000b0000004a2b3c4d5e6f7a0100ffff080200ffc315")
        + bytes(10)
        + b"\x11\x223DUfw\x88\x99\x0a\x0b\x0c\0mysql_native_password\0",
    ),
    Spoken("redis", "", "tcp", 30015, b"*1\r\n$4\r\nPING\r\n"),
    Spoken(
        "mongodb",
        "",
        "tcp",
        30016,
        struct.pack("<iiii", 39, 1, 0, 2004) + bytes(4) + b"admin.$cmd\0" + bytes(8),
    ),
    Spoken(
        "mssql",
        "",
        "tcp",
        30017,
        bytes.fromhex("1201002f0000000000001a00060100200001020021000103002200000400220001ff")
        + bytes(13),
    ),
    Spoken("vnc", "vnc", "tcp", 30018, b"RFB 003.008\n"),
    Spoken("amqp", "", "tcp", 30019, b"AMQP\0\0\x09\x01"),
    Spoken(
        "xmpp",
        "",
        "tcp",
        30020,
        b"<?xml version='1.0'?><stream:stream to='example.org' xmlns='jabber:client'>",
    ),
    Spoken("rtsp", "", "tcp", 30021, b"OPTIONS rtsp://example.org/a RTSP/1.0\r\nCSeq: 1\r\n\r\n"),
    Spoken("irc", "", "tcp", 30022, b"NICK me\r\nUSER me 0 * :me\r\n"),
    Spoken("bgp", "", "tcp", 30023, b"\xff" * 16 + bytes.fromhex("001304")),
    Spoken("smtp", "", "tcp", 30024, b"EHLO example.org\r\n"),
    Spoken("telnet", "", "tcp", 30025, bytes.fromhex("fffd18fffd20fffd23fffd27")),
    Spoken(
        "rdp",
        "",
        "tcp",
        30026,
        b"\3\0\0\x2a\x25\xe0\0\0\0\0\0Cookie: mstshash=me\r\n\1\0\x08\0\3\0\0\0",
    ),
    Spoken("ldap", "", "tcp", 30027, bytes.fromhex("300c020101600702010304008000")),
    Spoken("bittorrent", "bittorrent", "tcp", 30028, b"\x13BitTorrent protocol" + bytes(48)),
    Spoken("rsync", "", "tcp", 30029, b"@RSYNCD: 31.0\n"),
    Spoken("git", "", "tcp", 30030, b"002egit-upload-pack /a.git\0host=example.org\0"),
    Spoken(
        "isakmp",
        "",
        "udp",
        30031,
        bytes(range(1, 9)) + bytes(8) + bytes.fromhex("2120220800000000") + struct.pack("!I", 28),
    ),
    Spoken(
        "snmp",
        "",
        "udp",
        30032,
        bytes.fromhex(
            "302602010104067075626c6963a019020101020100020100300e300c06082b060102010101000500"
        ),
    ),
    Spoken("wireguard", "wg", "udp", 30033, b"\1\0\0\0" + bytes(144)),
    Spoken("dcerpc", "dcerpc", "udp", 30034, b"\4\0\x01\0" + bytes(76)),
    Spoken(
        "ssdp",
        "",
        "udp",
        30039,
        b"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=9\r\nST: upnp:all\r\n\r\n",
    ),
    Spoken("ssdp", "", "udp", 30035, b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\r\n"),
    Spoken("dns", "dns", "udp", 30036, _dns(b"\x03www\x07example\x03org")),
    # At their own.
    Spoken("dns", "dns", "udp", 53, _dns(b"\x03www\x07example\x03org")),
    Spoken("mdns", "mdns", "udp", 5353, _dns(b"\x07printer\x05local")),
    Spoken("llmnr", "llmnr", "udp", 5355, _dns(b"\x04wpad")),
    Spoken("nbns", "nbns", "udp", 137, _dns(b"\x20" + b"CA" * 16, kind=32)),
    Spoken("ntp", "ntp", "udp", 123, b"\x23" + bytes(47)),
    Spoken("tftp", "tftp", "udp", 69, b"\0\1boot.img\0octet\0"),
    Spoken("syslog", "syslog", "udp", 514, b"<34>Oct 11 22:14:15 host su: failed"),
    Spoken("coap", "coap", "udp", 5683, bytes.fromhex("40010001b16102ff") + b"a"),
    Spoken("openvpn", "openvpn", "udp", 1194, b"\x38" + bytes(range(8)) + bytes(5)),
    Spoken("radius", "radius", "udp", 1812, bytes.fromhex("01010014") + bytes(16)),
    Spoken(
        "kerberos",
        "kerberos",
        "udp",
        88,
        bytes.fromhex("6a163014a103020105a20302010aa408300606042b060105"),
    ),
    Spoken("modbus", "mbtcp", "tcp", 502, bytes.fromhex("000100000006010300000001")),
    Spoken(
        "s7",
        "s7comm",
        "tcp",
        102,
        bytes.fromhex("0300001902f08032010000000000080000f0000001000101e0"),
    ),
    Spoken("ftp", "ftp", "tcp", 21, b"USER me\r\n"),
    Spoken("pop3", "pop", "tcp", 110, b"CAPA\r\n"),
    Spoken("irc", "irc", "tcp", 6667, b"STARTTLS\r\n"),
    Spoken("imap", "imap", "tcp", 143, b"a1 CAPABILITY\r\n"),
    Spoken("memcached", "memcache", "tcp", 11211, b"get key\r\n"),
    Spoken(
        "oracle",
        "tns",
        "tcp",
        1521,
        bytes.fromhex("003a000001000000013a012c00000800ffff7f080000000100000000") + bytes(30),
    ),
    Spoken("cassandra", "cql", "tcp", 9042, bytes.fromhex("040000000500000000")),
    Spoken("tls", "tls", "tcp", 853, make.HELLO),
    Spoken("netflow", "cflow", "udp", 4739, struct.pack("!HHIII", 10, 16, 0, 0, 0)),
    Spoken(
        "ntp", "ntp", "udp", 123, bytes.fromhex("e30006e80000000000000002") + b"INIT" + bytes(32)
    ),
    Spoken("bittorrent", "", "udp", 6771, b"BT-SEARCH * HTTP/1.1\r\nPort: 6881\r\n\r\n"),
)


def capture() -> bytes:
    """Return the file: a client's first payload of each."""
    frames = []
    for number, spoken in enumerate(SPOKEN):
        ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        kind = TCP if spoken.transport == "tcp" else UDP
        head = kind(sport=50000 + number, dport=spoken.port)
        frames.append(bytes(ether / IP(src=make.A4, dst=make.B4) / head / spoken.payload))
    return make.pcap(frames, 1)
