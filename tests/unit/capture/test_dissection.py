"""capture/dissection.py: each event fires on the real thing, and is silent on ordinary traffic."""

import json
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import (
    DHCP6_Advertise,
    DHCP6OptDNSServers,
    DHCP6OptIA_NA,
    DHCP6OptIAAddress,
    DHCP6OptServerId,
)
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6ND_NA,
    ICMPv6ND_RA,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptPrefixInfo,
    IPv6,
)
from scapy.layers.l2 import ARP, Ether

from tests.captures.make import HELLO
from vedette.capture import dhcp6, icmp, offline, passive_os, pcap
from vedette.capture.dissection import Dissection, by_port
from vedette.capture.syns import Row
from vedette.thresholds import EVENTS, Thresholds

OWN, PEER, GATEWAY, OTHER = "192.0.2.10", "192.0.2.66", "192.0.2.1", "192.0.2.50"
OWN_MAC, PEER_MAC = "02:00:00:00:00:10", "02:00:00:00:00:66"
GATEWAY_MAC, OTHER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:50"
MACS = {OWN: OWN_MAC, PEER: PEER_MAC, GATEWAY: GATEWAY_MAC, OTHER: OTHER_MAC}
SYN, PUSH, ACK = 2, 8, 16
START = 1_700_000_000.0


class Host:
    """A dissection on a host with two ports, and what it has told."""

    def __init__(
        self, *, ports: dict[str, list[int]] | None = None, names: int = 0, **thresholds: Any
    ) -> None:
        self.dissection = Dissection(
            Thresholds(**thresholds),
            lambda: frozenset({ip_address(OWN).packed}),
            lambda: ports or {"tcp": [22, 443], "udp": [53]},
            gateways=lambda: [ip_address(GATEWAY).packed],
            macs=lambda: [bytes.fromhex(OWN_MAC.replace(":", ""))],
            names=names,
        )
        self.at = START

    def hears(self, packets: Iterable[Any], apart: float = 0.01) -> "Host":
        for packet in packets:
            frame = bytes(packet)
            self.dissection.frame("eth0", 1, frame, len(frame), self.at)
            self.at += apart
        return self

    def events(self, syns: Sequence[Row] = (), **counted: int) -> dict[str, Any]:
        told = self.dissection.window(syns, **counted)
        assert json.loads(json.dumps(told)) == told
        assert {kind for kind, *_ in told["events"]} <= set(EVENTS)
        return {f"{kind} {subject}": evidence for kind, subject, evidence, _ in told["events"]}


@cache
def ip(source: str, to: str) -> Any:
    ether = Ether(src=MACS.get(source, GATEWAY_MAC), dst=MACS.get(to, GATEWAY_MAC))
    return ether / IP(src=source, dst=to)


@cache
def before_tcp(source: str, to: str, size: int) -> bytes:
    """Return the headers before a TCP segment of `size` bytes."""
    return bytes(ip(source, to) / TCP() / bytes(size - 20))[:34]


def segment(
    source: str, to: str, ports: tuple[int, int], flags: int, *, seq: int = 0, payload: bytes = b""
) -> bytes:
    """Return a frame of TCP, without a checksum: scapy takes a hundred times as long for one."""
    tcp = struct.pack("!HHIIBBHHH", *ports, seq, 0, 5 << 4, flags, 8192, 0, 0) + payload
    return before_tcp(source, to, len(tcp)) + tcp


def syn(source: str, to: str, port: int, from_port: int = 40_000) -> bytes:
    return segment(source, to, (from_port, port), SYN)


def connection(
    source: str, to: str, port: int, *said: tuple[bool, bytes], sport: int = 40_000
) -> list[bytes]:
    """Return a handshake and what is said: (by the server, payload)."""
    frames = [syn(source, to, port, sport), segment(to, source, (port, sport), SYN | ACK)]
    numbers = {True: 1, False: 1}
    for by_server, payload in said:
        ports = (port, sport) if by_server else (sport, port)
        ends = (to, source) if by_server else (source, to)
        frames.append(segment(*ends, ports, PUSH | ACK, seq=numbers[by_server], payload=payload))
        numbers[by_server] += len(payload)
    return frames


def arp(sender: str, mac: str, target: str, *, reply: bool = False) -> Any:
    return Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(
        op=2 if reply else 1, hwsrc=mac, psrc=sender, pdst=target
    )


def dhcp(server: str, kind: str, router: str = GATEWAY) -> Any:
    options = [("message-type", kind), ("server_id", server), ("router", router), "end"]
    return (
        ip(server, "255.255.255.255") / UDP(sport=67, dport=68)
        / BOOTP(op=2, yiaddr=OTHER, chaddr=bytes.fromhex(OTHER_MAC.replace(":", ""))) / DHCP(options=options)
    )  # fmt: skip


def advertised6(server: str, mac: str) -> Any:
    return (
        Ether(src=mac, dst="33:33:00:00:00:01") / IPv6(src=server, dst="ff02::1")
        / UDP(sport=547, dport=546) / DHCP6_Advertise(trid=7)
        / DHCP6OptServerId(duid=b"\0\3\0\1" + bytes(6))
        / DHCP6OptIA_NA(iaid=1, ianaopts=[DHCP6OptIAAddress(addr="2001:db8::99")])
        / DHCP6OptDNSServers(dnsservers=[server])
    )  # fmt: skip


def router(address: str, mac: str, lifetime: int = 1800) -> Any:
    return (
        Ether(src=mac, dst="33:33:00:00:00:01") / IPv6(src=address, dst="ff02::1")
        / ICMPv6ND_RA(routerlifetime=lifetime)
        / ICMPv6NDOptPrefixInfo(prefix="2001:db8:bad::", prefixlen=64)
    )  # fmt: skip


def refusal(asker: str, port: int, from_port: int = 50_000) -> Any:
    """Return what this host says to who asks at a closed UDP port."""
    asked = IP(src=asker, dst=OWN) / UDP(sport=from_port, dport=port) / b"probe"
    return ip(OWN, asker) / ICMP(type=3, code=3) / asked


def query(name: str, source: str = PEER) -> Any:
    return ip(source, OWN) / UDP(sport=5000, dport=53) / DNS(rd=1, qd=DNSQR(qname=name))


def announcement(address: str, mac: str) -> Any:
    """Return gratuitous ARP: the address asks for itself."""
    return arp(address, mac, address)


def boots_from(server: str) -> Any:
    """Return a boot server's offer beside the DHCP server's (PXE): it gives no address."""
    options = [
        ("message-type", "offer"),
        ("server_id", server),
        ("vendor_class_id", b"PXEClient"),
        "end",
    ]
    return (
        ip(server, "255.255.255.255") / UDP(sport=67, dport=68)
        / BOOTP(op=2, yiaddr="0.0.0.0", siaddr=server) / DHCP(options=options)
    )  # fmt: skip


def nibbles(number: int) -> str:
    """Return an IPv6 address as it stands in a name."""
    return ".".join(f"{0x20010DB8 << 96 | number:032x}"[::-1])


def many(number: int, port: int, *said: tuple[bool, bytes], clients: int = 250) -> list[Any]:
    """Return so many connections of others to a port of this host."""
    return [
        packet
        for n in range(number)
        for packet in connection(f"198.51.100.{n % clients + 1}", OWN, port, *said, sport=2_000 + n)
    ]


# MySQL's greeting: the server speaks first, and the client's answer begins with nothing known.
GREETING = b"\x4a\0\0\0\x0a8.0.36\0" + bytes(65)
PAGE = (False, b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"), (True, b"HTTP/1.1 200 OK\r\n\r\n")
SSH = (True, b"SSH-2.0-x\r\n"), (False, b"SSH-2.0-y\r\n")

# Made when they are wanted: only one of the tests' processes wants them.
Scene = Callable[[], list[Any]]

# By the event that each might be taken for.
ORDINARY: dict[str, dict[str, Scene]] = {
    "port_scan": {
        "browsing: 150 connections to 150 servers, all answered": lambda: [
            packet
            for number in range(150)
            for packet in connection(OWN, f"198.51.100.{number + 1}", 443, (False, HELLO), sport=20_000 + number)
        ],
        "somebody else's browsing: 200 servers, three of them dead": lambda: [
            packet
            for number in range(200)
            for packet in connection(OTHER, f"198.51.100.{number + 1}", 443, (False, HELLO), sport=20_000 + number)[: 1 if number % 70 == 0 else 3]
        ],
        "a build server that opens 500 connections to 20 ports, each of which answers": lambda: [
            packet for number in range(500)
            for packet in connection(PEER, OTHER, 3000 + number % 20, *PAGE, sport=20_000 + number)
        ],
        "a monitor that opens 200 connections to two ports": lambda: [
            packet
            for number in range(200)
            for packet in connection(PEER, OWN, (22, 443)[number % 2], SSH[0] if number % 2 == 0 else (False, HELLO), sport=20_000 + number)
        ],
        "a monitor that asks for 40 ports of a host that is down, again and again": lambda: [
            syn(PEER, OTHER, 1000 + n % 40, 20_000 + n) for n in range(400)
        ],
        "a client that tries a closed port again and again": lambda: [syn(PEER, OWN, 8080, 20_000 + n) for n in range(90)],
        "traceroute": lambda: [ip(PEER, OWN) / UDP(sport=60_000, dport=33_434 + n) / b"12345678" for n in range(30 * 3)],
        "late answers of a resolver, refused; and a traceroute's datagrams": lambda: [
            *(refusal(PEER, 40_000 + n, 53) for n in range(90)),
            *(refusal(OTHER, 33_434 + n) for n in range(90)),
        ],
        "a router that asks for its whole network": lambda: [arp(GATEWAY, GATEWAY_MAC, f"192.0.2.{n}") for n in range(200)],
    },
    "syn_flood": {
        "a busy server: 600 connections in a second": lambda: many(600, 443, (False, HELLO)),
        "a busy database, which speaks first": lambda: many(600, 3306, (True, GREETING)),
        "a backup: one client, 300 connections at once": lambda: many(300, 22, *SSH, clients=1),
    },
    "address_conflict": {
        "gratuitous ARP at boot, probes, and answers": lambda: [
            *(arp("0.0.0.0", PEER_MAC, PEER) for _ in range(3)), arp(PEER, PEER_MAC, PEER),
            arp(GATEWAY, GATEWAY_MAC, OTHER), arp(OTHER, OTHER_MAC, GATEWAY, reply=True),
            arp("0.0.0.0", OTHER_MAC, PEER), arp("0.0.0.0", PEER_MAC, OTHER),
        ],
        "another network card takes over an address, and keeps it": lambda: [
            arp(OTHER, OTHER_MAC, GATEWAY), arp(OTHER, "02:00:00:00:00:51", GATEWAY),
            arp(OTHER, "02:00:00:00:00:51", GATEWAY),
        ],
        "a service's address goes over to the other one of a pair": lambda: [
            arp(PEER, PEER_MAC, GATEWAY), arp(OTHER, OTHER_MAC, GATEWAY), announcement("192.0.2.5", OTHER_MAC),
            *(announcement("192.0.2.5", PEER_MAC) for _ in range(5)), arp("192.0.2.5", PEER_MAC, GATEWAY),
        ],
    },
    "arp_spoofing": {
        "the gateway takes its address back from a poisoner": lambda: [
            arp(GATEWAY, PEER_MAC, OTHER), arp("192.0.2.2", GATEWAY_MAC, OTHER),
        ],
        "a router that answers to two addresses": lambda: [
            arp(GATEWAY, GATEWAY_MAC, OTHER), arp("192.0.2.2", GATEWAY_MAC, OTHER), announcement(GATEWAY, GATEWAY_MAC),
        ],
    },
    "gateway_changed": {
        "two routers that share an address by VRRP": lambda: [
            packet
            for _ in range(5)
            for packet in (arp(GATEWAY, "00:00:5e:00:01:07", OTHER), arp(GATEWAY, "00:00:0c:07:ac:01", OTHER))
        ],
    },
    "rogue_dhcp": {
        "DHCP renewals": lambda: [dhcp(GATEWAY, kind) for kind in ("offer", "ack", "ack")],
        "DHCP through a relay, by the same server": lambda: [
            dhcp(GATEWAY, "ack"),
            ip(OTHER, PEER) / UDP(sport=67, dport=68) / dhcp(GATEWAY, "ack")[BOOTP],
        ],
        "a boot server beside the DHCP server": lambda: [boots_from(OTHER), dhcp(GATEWAY, "offer"), boots_from(OTHER)],
        "DHCPv6 renewals": lambda: [advertised6("fe80::1", GATEWAY_MAC)] * 3,
    },
    "rogue_router": {
        "a router of another network, which is no default one": lambda: [
            router("fe80::1", GATEWAY_MAC), router("fe80::2", OTHER_MAC, 0), router("fe80::1", GATEWAY_MAC),
        ],
    },
    "dns_tunnelling": {
        "names of a CDN, and of blocklists": lambda: [
            *(query(f"e{n}.dscb.akamaiedge.net") for n in range(150)),
            *(query(f"{n % 250}.2.0.192.zen.spamhaus.org") for n in range(150)),
        ],
        "a mail server: keys, policies, where from, and blocklists of IPv6 addresses": lambda: [
            *(query(f"selector-2026-{n}._domainkey.customer{n}.example") for n in range(150)),
            *(query(f"_dmarc.a-rather-long-name-of-a-sender-number-{n}.example") for n in range(150)),
            *(query(f"{nibbles(n)}.ip6.arpa") for n in range(150)),
            *(query(f"{nibbles(n)}.dnsbl.example.org") for n in range(150)),
        ],
        "hashes that are looked up in a blocklist": lambda: [
            query(f"{n:040x}.ebl.msbl.org") for n in range(150)
        ],
        "long names, the same few again and again": lambda: [
            query(f"a-rather-long-name-of-something-in-the-cloud-{n % 30}.region.example.net") for n in range(900)
        ],
    },
    "cleartext_credentials": {
        "what is said in TLS, and FTP as nobody": lambda: [
            *connection(PEER, OWN, 443, (False, HELLO), (False, b"\x17\3\3\0\x05PASS ")),
            *connection(OWN, OTHER, 21, (True, b"220 FTP\r\n"), (False, b"USER anonymous\r\n"), (False, b"PASS me@\r\n")),
        ],
        "a token, a digest, and a page about passwords": lambda: connection(
            OWN, OTHER, 80, (False, b"GET /a HTTP/1.1\r\nAuthorization: Bearer abcdef\r\n\r\n"),
            (True, b"HTTP/1.1 200 OK\r\n\r\n<label>Password: </label>"),
            (False, b'GET /b HTTP/1.1\r\nAuthorization: Digest username="me"\r\n\r\n'),
        ),
        "mail by STARTTLS, and a directory that is asked anonymously": lambda: [
            *connection(
                OWN, OTHER, 587, (True, b"220 mail ESMTP\r\n"), (False, b"EHLO me\r\n"),
                (True, b"250-AUTH PLAIN LOGIN\r\n250 STARTTLS\r\n"), (False, b"STARTTLS\r\n"), (True, b"220 go\r\n"), (False, HELLO),
            ),
            *connection(OWN, OTHER, 389, (False, bytes.fromhex("300c020101600702010304008000")), sport=40_001),
        ],
        "a password for a service on this host itself": lambda: connection(
            OWN, OWN, 6379, (False, b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n")
        ),
    },
    "protocol_mismatch": {
        "plain HTTP at TLS' port is told its mistake": lambda: connection(
            PEER, OWN, 443, (False, b"GET / HTTP/1.1\r\n\r\n"), (True, b"HTTP/1.1 400 Bad Request\r\n\r\n")
        ),
        "a stranger says SSH to a port that speaks TLS": lambda: connection(
            PEER, OWN, 443, (False, b"SSH-2.0-scanner\r\n"), (True, b"\x15\x03\x01\x00\x02\x02\x46")
        ),
        "a download whose pieces begin with what looks like other protocols": lambda: connection(
            PEER, OWN, 443, (False, HELLO), (True, HELLO), (True, b"SSH-2.0-x\r\n"), (True, b"\xff\xfb\x01"), (True, b"220 FTP\r\n"),
        ),
        "a download whose beginning was not seen": lambda: connection(
            PEER, OWN, 22, (True, bytes(100)), (True, b"\xff\xfd\x18"), (True, HELLO), (True, b"HTTP/1.1 200 OK\r\n\r\n"),
        )[3:],
        "SSH through a web proxy": lambda: connection(
            PEER, OWN, 8080, (False, b"CONNECT git.example.org:22 HTTP/1.1\r\n\r\n"), (True, b"HTTP/1.1 200 Connection established\r\n\r\n"), *SSH,
        ),
        "mail that goes on in TLS": lambda: connection(
            PEER, OWN, 25, (True, b"220 mail ESMTP\r\n"), (False, b"STARTTLS\r\n"), (True, b"220 go\r\n"), (False, HELLO), (True, HELLO),
        ),
        "a client that has a server's port": lambda: connection(OWN, OTHER, 2049, (True, HELLO), sport=993),
    },
    # Whether a card is new is the history's to say: tests/unit/test_sniffed.py, tests/live/test_events.py.
    "new_neighbour": {"everybody who is there already": lambda: [arp(PEER, PEER_MAC, GATEWAY), arp(OTHER, OTHER_MAC, GATEWAY)]},
}  # fmt: skip


@cache
def made(scene: Scene) -> list[bytes]:
    """Return its frames."""
    return [bytes(packet) for packet in scene()]


SCENES = [(event, name) for event, scenes in ORDINARY.items() for name in scenes]
# The host's ports that are open, besides those of every test.
OPEN = {"tcp": [21, 22, 25, 443, 3306, 6379, 8080], "udp": [53]}
# Whose host it is, what the gateway is, and whether a connection's beginning is there.
UNKNOWN_TO_A_FILE = {
    "a router that asks for its whole network",
    "a password for a service on this host itself",
    "a download whose beginning was not seen",
}


@pytest.mark.parametrize(("event", "name"), SCENES, ids=[name for _, name in SCENES])
def test_ordinary_traffic_is_no_event(event: str, name: str) -> None:
    """An alarm that cries at each backup is switched off: on a host, and in a capture file."""
    frames = made(ORDINARY[event][name])

    assert Host(ports=OPEN).hears(frames, 0.001).events() == {}
    if name not in UNKNOWN_TO_A_FILE:
        assert captured(frames) == {}


def test_there_is_ordinary_traffic_for_each_event() -> None:
    assert ORDINARY.keys() == set(EVENTS)


def captured(frames: Sequence[bytes]) -> dict[str, Any]:
    """Return {"kind subject": evidence} of what a file of these frames tells."""
    reading = offline.Reading(Thresholds())
    for number, frame in enumerate(frames):
        reading.frame(pcap.Frame("", 1, frame, len(frame), START + number / 1000))
    told = reading.as_json(0, "")["events"]
    return {f"{row['event']} {row['subject']}": row["evidence"] for row in told}


def test_a_fail_over_of_the_gateway_is_told_as_that_and_a_contradiction_as_spoofing() -> None:
    """The dead do not contradict who takes over and says so to all (keepalived without a MAC of its own)."""
    host = Host().hears([
        arp(GATEWAY, GATEWAY_MAC, OTHER), arp(PEER, PEER_MAC, OTHER),
        *(announcement(GATEWAY, PEER_MAC) for _ in range(5)), arp(PEER, PEER_MAC, OTHER),
    ])  # fmt: skip
    assert list(host.events()) == [f"gateway_changed {GATEWAY}"]

    host.hears([arp(GATEWAY, GATEWAY_MAC, OTHER), announcement(GATEWAY, PEER_MAC)])

    assert f"arp_spoofing {PEER_MAC}" in host.events()


def test_a_flood_is_judged_by_all_syns_and_by_what_is_accepted() -> None:
    """Of which few were looked at; what this host accepts is no flood, whatever is spoken."""
    few = [syn(f"203.0.113.{n % 250}", OWN, 443, n) for n in range(100)]

    told = Host().hears(few, 0.01).events(begun=90_000, accepted=3)
    assert told[f"syn_flood {OWN} tcp/443"]["begun"] == 90_000
    assert Host().hears(few, 0.01).events(begun=90_000, accepted=80_000) == {}
    assert Host().hears(few, 0.01).events(begun=100, accepted=3) == {}


def test_many_events_of_one_kind_hide_none_of_another() -> None:
    """A thousand poisoned addresses, and one scan."""
    storm = [arp(OWN, f"02:00:00:01:{n >> 8:02x}:{n & 255:02x}", GATEWAY) for n in range(10)]
    host = Host(cooldown_seconds=0.001).hears(storm * 100)

    told = host.hears([syn(PEER, OWN, port) for port in range(1, 130)]).events()

    assert f"port_scan {PEER}" in told


ATTACKS: dict[str, tuple[Scene, str, dict[str, Any]]] = {
    "nmap -sS": (
        lambda: [syn(PEER, OWN, port) for port in range(1, 130)],
        f"port_scan {PEER}", {"shape": "vertical", "ports": 100, "hosts": 1},
    ),
    "nmap -sU": (
        lambda: [ip(PEER, OWN) / UDP(sport=60_000, dport=port) / b"probe" for port in range(1000, 1130)],
        f"port_scan {PEER}", {"shape": "vertical", "ports": 100},
    ),
    "one port of a network": (
        lambda: [syn(PEER, f"192.0.2.{n}", 22) for n in range(1, 60)],
        f"port_scan {PEER}", {"shape": "horizontal", "ports": 1, "hosts": 50},
    ),
    "nmap -sn": (
        lambda: [arp(PEER, PEER_MAC, f"192.0.2.{n}") for n in range(1, 60)],
        f"port_scan {PEER}", {"shape": "arp sweep", "hosts": 50},
    ),
    "arpspoof": (
        lambda: [
            arp(GATEWAY, GATEWAY_MAC, OTHER), arp(PEER, PEER_MAC, GATEWAY),
            arp(GATEWAY, PEER_MAC, OWN, reply=True), arp(PEER, PEER_MAC, GATEWAY),
        ],
        f"arp_spoofing {PEER_MAC}", {"claims": [GATEWAY, PEER], "taken_over": [GATEWAY]},
    ),
    "two machines with one address": (
        lambda: [arp(OTHER, OTHER_MAC, GATEWAY), arp(OTHER, PEER_MAC, GATEWAY), arp(OTHER, OTHER_MAC, GATEWAY)],
        f"address_conflict {OTHER}", {"macs": [OTHER_MAC, PEER_MAC]},
    ),
    "somebody takes an address of this host": (
        lambda: [arp(OWN, PEER_MAC, GATEWAY)], f"address_conflict {OWN}", {"macs": [PEER_MAC]},
    ),
    "the gateway has another MAC": (
        lambda: [arp(GATEWAY, GATEWAY_MAC, OTHER), arp(GATEWAY, PEER_MAC, OTHER)],
        f"gateway_changed {GATEWAY}", {"before": GATEWAY_MAC, "now": PEER_MAC},
    ),
    "a second DHCP server": (
        lambda: [dhcp(GATEWAY, "ack"), dhcp(PEER, "offer", PEER)],
        f"rogue_dhcp {PEER}", {"expected": [GATEWAY]},
    ),
    "a second DHCPv6 server": (
        lambda: [advertised6("fe80::1", GATEWAY_MAC), advertised6("fe80::66", PEER_MAC)],
        "rogue_dhcp fe80::66",
        {"expected": ["fe80::1"], "offers": "2001:db8::99", "dns_servers": ["fe80::66"]},
    ),
    "a second router": (
        lambda: [router("fe80::1", GATEWAY_MAC), router("fe80::66", PEER_MAC)],
        "rogue_router fe80::66",
        {"expected": ["fe80::1"], "mac": PEER_MAC, "prefixes": ["2001:db8:bad::/64"]},
    ),
    "nmap -sU at ports that nobody looks into": (
        lambda: [refusal(PEER, port) for port in range(1000, 1130)],
        f"port_scan {PEER}", {"shape": "vertical", "ports": 100},
    ),
    "a SYN flood": (
        lambda: [syn(f"203.0.113.{n % 250}", OWN, 443, n) for n in range(1, 1200)],
        f"syn_flood {OWN} tcp/443", {"begun": 1199, "went_on": 0, "sources": 250},
    ),
    "FTP": (
        lambda: connection(PEER, OWN, 21, (True, b"220 x FTP\r\n"), (False, b"USER me\r\n"), (False, b"PASS secret\r\n")),
        f"cleartext_credentials {OWN} tcp/21", {"protocol": "ftp", "client": PEER},
    ),
    "HTTP Basic": (
        lambda: connection(PEER, OWN, 80, (False, b"GET / HTTP/1.1\r\nAuthorization: Basic c2VjcmV0\r\n\r\n")),
        f"cleartext_credentials {OWN} tcp/80", {"protocol": "http", "client": PEER},
    ),
    "LDAP bind": (
        lambda: connection(PEER, OWN, 389, (False, bytes.fromhex("301302010160 0e020103040463 6e3d788003736563".replace(" ", "")) + b"re")),
        f"cleartext_credentials {OWN} tcp/389", {"protocol": "ldap", "client": PEER},
    ),
    "telnet": (
        lambda: connection(OWN, PEER, 23, (True, b"\xff\xfd\x18"), (True, b"Password: ")),
        f"cleartext_credentials {PEER} tcp/23", {"protocol": "telnet", "client": OWN},
    ),
    "iodine": (
        lambda: [query(f"{n:06d}{'a1b2c3d4e5' * 5}.t.example.org") for n in range(150)],
        f"dns_tunnelling {PEER}", {"domain": "example.org", "names": 100},
    ),
    "443 talks SSH": (
        lambda: connection(PEER, OWN, 443, (True, b"SSH-2.0-OpenSSH_9.2\r\n")),
        f"protocol_mismatch {OWN} tcp/443", {"speaks": "ssh", "usual": "tls"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("packets", "event", "evidence"), ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_is_an_event_with_what_was_seen(
    packets: Scene, event: str, evidence: dict[str, Any]
) -> None:
    """Whom it is about and the figures, for whoever has to judge it."""
    host = Host().hears(made(packets), 0.0005)

    told = host.events()

    assert event in told
    assert {key: told[event].get(key) for key in evidence} == evidence
    assert "secret" not in json.dumps(told)


def test_a_slow_scan_is_seen_over_an_hour() -> None:
    """One port a half-minute stays below every limit of a minute."""
    told = Host().hears([syn(PEER, OWN, port) for port in range(1, 65)], 30).events()

    assert told[f"port_scan {PEER}"]["shape"] == "slow"


def test_a_scan_that_goes_on_is_told_again_after_the_cooldown() -> None:
    """Once told, it is not judged at each try; it is not forgotten, either."""
    host = Host(cooldown_seconds=100.0)
    told = [
        host.hears([syn(PEER, OWN, port) for port in range(first, first + 500)]).events()
        for first in range(1, 20_000, 500)
    ]

    assert [n for n, events in enumerate(told) if f"port_scan {PEER}" in events] == [0, 20]


def test_what_all_packets_say_counts_where_only_some_were_seen() -> None:
    """A flood leaves no budget to look at each SYN."""
    told = Host().events([(ip_address(PEER).packed, 90_000, 1, 5_000)])

    assert told[f"port_scan {PEER}"] == {
        "shape": "vertical",
        "ports": 5000,
        "hosts": 1,
        "syns": 90_000,
    }


def test_a_host_is_not_in_conflict_with_itself() -> None:
    """Not even if the first that is heard of it is that it asks for somebody."""
    assert Host().hears([arp(OWN, OWN_MAC, GATEWAY)]).events() == {}


def test_an_event_is_told_once_within_its_cooldown() -> None:
    """And again after it."""
    host = Host(cooldown_seconds=100.0).hears([arp(OWN, PEER_MAC, GATEWAY)] * 50)
    assert list(host.events()) == [f"address_conflict {OWN}"]
    assert host.hears([arp(OWN, PEER_MAC, GATEWAY)]).events() == {}
    host.at += 100

    assert list(host.hears([arp(OWN, PEER_MAC, GATEWAY)]).events()) == [f"address_conflict {OWN}"]


def test_the_allowed_dhcp_servers_are_no_rogues() -> None:
    """Two that share the work."""
    host = Host(dhcp_servers=(GATEWAY, OTHER)).hears([dhcp(GATEWAY, "ack"), dhcp(OTHER, "ack")])

    assert host.events() == {}


def test_a_port_of_this_host_is_known_by_what_it_speaks() -> None:
    """And when it last did."""
    host = Host().hears(connection(PEER, OWN, 443, (False, HELLO)))

    assert host.dissection.window([])["spoken"] == [["tcp", 443, "tls", "content", START + 0.02]]


def test_ports_whose_words_nobody_looked_into_are_told_by_their_number() -> None:
    """What has no usual protocol is not guessed."""
    spoken = [["tcp", 8080, "tls", "content", START]]
    used = [("tcp", 8080, "in"), ("udp", 51820, "in"), ("udp", 51820, "out"), ("tcp", 12_345, "in")]

    told = by_port([[*place, 1, 60] for place in used], spoken, START)

    assert told == [["udp", 51820, "wireguard", "port", START]]


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (0, {("tls", "alpn", "http/1.1", 2)}),
        (
            5,
            {
                ("tls", "alpn", "http/1.1", 2), ("tls", "sni", "www.example.org", 2),
                ("http", "host", "example.org", 1),
            },
        ),
    ],
)  # fmt: skip
def test_what_is_asked_for_is_told_and_names_only_if_wanted(names: int, wanted: set[Any]) -> None:
    """Once for each conversation; the next window begins anew."""
    host = Host(names=names)
    host.hears(connection(PEER, OWN, 443, (False, HELLO), (False, HELLO)))
    host.hears(connection(PEER, OTHER, 443, (False, HELLO), sport=40_001))
    host.hears(connection(PEER, OTHER, 80, *PAGE, sport=40_002))

    assert {tuple(row) for row in host.dissection.window([])["asked"]} == wanted
    assert host.dissection.window([])["asked"] == []


def test_neighbours_are_heard_by_arp_ndp_dhcp_and_mdns() -> None:
    """Not this host itself, and by mDNS only what comes from where it says."""
    answer = DNS(qr=1, an=DNSRR(rrname="printer.local", type="A", rdata=OTHER))
    solicited = ICMPv6ND_NA(tgt="fe80::66") / ICMPv6NDOptDstLLAddr(lladdr=PEER_MAC)
    host = Host().hears([
        arp(PEER, PEER_MAC, GATEWAY), arp(OWN, OWN_MAC, GATEWAY),
        Ether(src=PEER_MAC) / IPv6(src="fe80::66", dst="ff02::1") / solicited,
        dhcp(GATEWAY, "ack"),
        ip(OTHER, "224.0.0.251") / UDP(sport=5353, dport=5353) / answer,
        ip(PEER, "224.0.0.251") / UDP(sport=5353, dport=5353) / answer,
    ])  # fmt: skip

    heard = {
        (address, mac, how, name)
        for address, mac, _, how, name in host.dissection.window([])["heard"]
    }

    assert heard == {
        (PEER, PEER_MAC, "arp", ""), ("fe80::66", PEER_MAC, "ndp", ""),
        (OTHER, OTHER_MAC, "mdns", "printer.local"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ttl", "options", "expected"),
    [
        (60, [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)], ("Linux", "exact")),
        (120, [("MSS", 1460), ("NOP", None), ("WScale", 8), ("NOP", None), ("NOP", None), ("SAckOK", b"")], ("Windows", "exact")),
        (64, [("MSS", 1460), ("NOP", None), ("WScale", 6), ("NOP", None), ("NOP", None), ("Timestamp", (1, 0)), ("SAckOK", b""), ("EOL", None)], ("macOS", "exact")),
        (64, [("MSS", 1460), ("NOP", None), ("WScale", 6), ("SAckOK", b""), ("Timestamp", (1, 0))], ("BSD", "exact")),
        (50, [("MSS", 1460)], None),
    ],
)  # fmt: skip
def test_the_order_of_options_tells_the_family(
    ttl: int, options: list[Any], expected: tuple[str, str] | None
) -> None:
    """Each stack writes them in its own order; nmap's own SYN says nothing."""
    packet = (
        Ether(src=PEER_MAC, dst=OWN_MAC)
        / IP(src=PEER, dst=OWN, ttl=ttl)
        / TCP(flags="S", window=1024, options=options)
    )

    systems = Host().hears([packet]).dissection.window([])["systems"]

    assert systems == ([[PEER, *expected]] if expected else [])


@given(st.binary(max_size=80), st.integers(0, 255))
def test_any_tcp_header_has_a_signature_or_none(data: bytes, ttl: int) -> None:
    """Lying lengths and endless options included."""
    syn_read = passive_os.read(data, ttl)

    assert syn_read is None or passive_os.family(syn_read) is None or len(syn_read.layout) <= 20


def test_the_listed_servers_and_routers_are_no_rogues() -> None:
    """Each family has its own list: IPv4's addresses say nothing of who may do DHCPv6."""
    host = Host(dhcp_servers=(GATEWAY, "fe80::66"), routers=("fe80::1", "fe80::2")).hears([
        advertised6("fe80::66", PEER_MAC), router("fe80::1", GATEWAY_MAC), router("fe80::2", OTHER_MAC),
        dhcp(GATEWAY, "ack"),
    ])  # fmt: skip
    assert host.events() == {}

    assert list(host.hears([advertised6("fe80::1", GATEWAY_MAC)]).events()) == [
        "rogue_dhcp fe80::1"
    ]


@given(st.integers(1, 11), st.binary(max_size=30), st.integers(0, 3), st.integers(0, 120))
def test_dhcpv6_is_read_as_scapy_writes_it(kind: int, duid: bytes, servers: int, cut: int) -> None:
    """And what is cut short is none, or has less in it."""
    resolvers = [f"2001:db8::{n + 1}" for n in range(servers)]
    body = bytes(
        DHCP6OptServerId(duid=duid)
        / DHCP6OptIA_NA(ianaopts=[DHCP6OptIAAddress(addr="2001:db8::99")])
        / DHCP6OptDNSServers(dnsservers=resolvers)
    )
    message = bytes([kind, 0, 0, 7]) + body

    assert dhcp6.read(message) == dhcp6.Message(
        kind, duid, ip_address("2001:db8::99").packed,
        tuple(ip_address(text).packed for text in resolvers),
    )  # fmt: skip
    short = dhcp6.read(message[:cut])
    assert short is None or len(short.dns_servers) <= servers


@given(st.binary(max_size=120))
def test_any_bytes_are_dhcpv6_or_not(data: bytes) -> None:
    """Lying lengths included."""
    dhcp6.read(data)


@given(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=80), st.booleans())
def test_any_icmp_refuses_something_or_nothing(
    kind: int,
    code: int,
    quoted: bytes,
    ipv6: bool,  # noqa: FBT001
) -> None:
    """What is quoted is a stranger's bytes."""
    packet = icmp.refused(bytes([kind, code]) + bytes(6) + quoted, ipv6=ipv6)

    assert packet is None or packet.source


def test_what_an_icmp_error_refuses_is_what_it_quotes() -> None:
    """Of both families: whose datagram, and at which port."""
    four = bytes(ICMP(type=3, code=3) / IP(src=PEER, dst=OWN) / UDP(sport=50_000, dport=161))
    six = bytes(
        IPv6(src="fe80::1", dst="fe80::66") / ICMPv6DestUnreach(code=4)
        / IPv6(src="fe80::66", dst="fe80::1") / UDP(sport=50_000, dport=161)
    )[40:]  # fmt: skip

    for message, ipv6, asker in ((four, False, PEER), (six, True, "fe80::66")):
        packet = icmp.refused(message, ipv6=ipv6)
        assert packet is not None
        assert (packet.source, packet.protocol, packet.destination_port) == (
            ip_address(asker).packed, "udp", 161,
        )  # fmt: skip
    assert icmp.refused(four[:1] + b"\1" + four[2:], ipv6=False) is None  # host unreachable


def test_names_are_counted_by_window() -> None:
    """Each once, whoever asks, however it is spelt."""
    host = Host().hears([query("a.example"), query("A.example", OTHER), query("b.example")])

    assert [host.dissection.window([])["names"] for _ in range(2)] == [2, 0]


@cache
def seeds() -> list[bytes]:
    """Return the first frames of each scene."""
    scenes = [scene for named in ORDINARY.values() for scene in named.values()]
    scenes += [scene for scene, _, _ in ATTACKS.values()]
    return [frame for scene in scenes for frame in made(scene)[:3]]


@given(
    st.lists(
        st.tuples(st.deferred(lambda: st.sampled_from(seeds())), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6), st.integers(0, 400)),
        max_size=20,
    ),
    st.sampled_from([1, 772, 65534, 7]),
)  # fmt: skip
def test_whatever_comes_is_taken(
    frames: list[tuple[bytes, list[tuple[int, int]], int]], link_type: int
) -> None:
    """The capture process must not die of a packet."""
    host = Host()
    for frame, changes, cut in frames:
        changed = bytearray(frame[: len(frame) - cut % len(frame)])
        for at, value in changes:
            changed[at % len(changed)] = value
        host.dissection.frame("eth0", link_type, bytes(changed), len(frame), host.at)
    host.events()


def test_a_million_strangers_are_forgotten() -> None:
    """Every table has an end: here as many sources, flows, MACs and addresses as fit ten times."""
    host = Host()
    frame = bytearray(bytes(syn(PEER, OWN, 443)))
    spoken = bytearray(bytes(connection(PEER, OWN, 443, (False, HELLO))[-1]))
    claim = bytearray(bytes(arp(PEER, PEER_MAC, GATEWAY)))
    for number in range(20_000):
        stranger = number.to_bytes(4, "big")
        frame[26:30] = spoken[26:30] = claim[28:32] = stranger
        claim[24:28] = stranger
        for packet in (frame, spoken, claim):
            host.dissection.frame("eth0", 1, bytes(packet), len(packet), host.at)

    tables = [
        getattr(part, name)
        for part in (host.dissection, host.dissection._scans, host.dissection._neighbours)
        for name in vars(part)
        if hasattr(getattr(part, name), "items")
    ]
    assert max(len(table) for table in tables) <= 8192
