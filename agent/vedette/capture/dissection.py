"""What single frames tell: who speaks what, who is there, and what looks like an attack.

It sees the frames that tell something, not all; what needs every packet is given to `window`.
Everything in it is bounded, and nothing that comes in raises.
"""

import struct
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from ipaddress import ip_address
from time import time
from typing import Any

from vedette.capture import classify, credentials, decode, dhcp, dhcp6, icmp, passive_os
from vedette.capture.bounded import Bounded
from vedette.capture.classify import dns
from vedette.capture.decode import Packet
from vedette.capture.events import Events
from vedette.capture.flows import LOOKS, Flow, Key, payload
from vedette.capture.heavy import Heavy
from vedette.capture.lookups import Lookups
from vedette.capture.neighbours import Arp, Neighbours
from vedette.capture.scans import Scans
from vedette.capture.servers import Servers
from vedette.capture.syns import Row
from vedette.capture.worth import ACK, SYN
from vedette.thresholds import Thresholds

_FLOWS_KEPT = 8192
_SYSTEMS_KEPT = 1024
_ASKED_KEPT, _ASKED_TOLD = 256, 12
# Nothing is offered at Linux' ports from here on: clients have them, and traceroutes end there.
_CLIENTS_FROM = 32_768
_RST = 0x04
_ARP_BODY = struct.Struct("!HHBBH6s4s6s4s")
_NUMBER = struct.Struct("!I")
_NEIGHBOUR_SOLICITATION, _NEIGHBOUR_ADVERTISEMENT, _ROUTER_ADVERTISEMENT = 135, 136, 134
# Protocols that may begin in clear and go on in TLS, and those that answer for one another.
_NEVER_TLS = frozenset({"ssh", "dns", "smb", "telnet", "rsync", "bgp", "modbus", "tftp"})
_AKIN = (
    frozenset({"http", "tls", "ipp", "socks", "rtsp", "rtmp", "quic"}),
    frozenset({"ftp", "ftp-data", "smtp"}),
    frozenset({"smtp", "tls"}),  # submission is in clear at some of TLS' ports
    frozenset({"smb", "dcerpc", "rpc", "nfs"}),
    frozenset({"dns", "mdns", "llmnr"}),
    frozenset({"isakmp", "ipsec"}),
    frozenset({"s7", "mms"}),  # both over ISO's transport service
    # What gets calls through firewalls is offered at the web's ports, and at the calls' own.
    frozenset({"stun", "tls", "quic", "dtls", "sip", "rtp", "rtcp"}),
)
_CARRIES_ANY = frozenset({"socks", "ftp-data"})
_LOOPBACK = (b"\x7f", bytes(15) + b"\1")


def _is_multicast(address: bytes) -> bool:
    return address[0] == 255 or (len(address) == 4 and address[0] >> 4 == 14)


def _ends(packet: Packet) -> tuple[bytes, int, bytes, int]:
    return packet.source, packet.source_port, packet.destination, packet.destination_port


def _nobody() -> Collection[bytes]:
    return ()


def by_port(
    services: Iterable[Sequence[Any]], spoken: Iterable[Sequence[Any]], at: float
) -> list[list[Any]]:
    """Return rows like those of `spoken`, of services whose words were not looked into.

    services: [transport, port, ...], of those that were used.
    """
    known = {(row[0], row[1]) for row in spoken}
    return [
        [transport, port, usual, "port", at]
        for transport, port in sorted({(row[0], row[1]) for row in services} - known)
        if (usual := classify.by_port(transport, port))
    ]


class Dissection:
    """own: this host's addresses, packed. ports: its open ports, {"tcp": numbers, "udp": numbers}.

    everything: whose host this is is not known (a capture file): all servers are looked at.
    vendor_of: from a MAC to its maker. gateways: the default ones, packed. macs: of
    this host's cards, as far as they are known. names: how many are told of those that clients ask
    for (TLS' SNI, HTTP's host).
    """

    def __init__(
        self,
        thresholds: Thresholds,
        own: Callable[[], frozenset[bytes]],
        ports: Callable[[], dict[str, list[int]]],
        *,
        everything: bool = False,
        vendor_of: Callable[[str], str] = lambda _: "",
        gateways: Callable[[], Collection[bytes]] = _nobody,
        macs: Callable[[], Collection[bytes]] = _nobody,
        names: int = 0,
    ) -> None:
        self._thresholds, self._own, self._ports = thresholds, own, ports
        self._everything, self._vendor_of = everything, vendor_of
        self._told_gateways, self._names = gateways, names
        self._events = Events(thresholds.cooldown_seconds)
        self._servers = Servers(thresholds, self._events, own)
        self._lookups = Lookups(thresholds, self._events)
        self._neighbours = Neighbours(thresholds, self._events, own, self._gateways, macs)
        self._scans = Scans(thresholds, self._events, own)
        self._flows: Bounded[Key, Flow] = Bounded(_FLOWS_KEPT)
        self._anonymous: Bounded[Key, bool] = Bounded(_FLOWS_KEPT)
        # By server and client: the sequence number of the server's first words.
        self._begun: Bounded[tuple[bytes, int, bytes, int], int] = Bounded(_FLOWS_KEPT)
        self._spoken: Bounded[tuple[str, int], tuple[str, str, float]] = Bounded(_FLOWS_KEPT)
        self._systems: Bounded[bytes, tuple[str, str]] = Bounded(_SYSTEMS_KEPT)
        self._asked = Heavy(_ASKED_KEPT)
        self._counts: dict[str, list[int]] = {}
        self._malformed: Counter[str] = Counter()
        self._at = 0.0

    def _gateways(self) -> Collection[bytes]:
        return {*self._told_gateways(), *self._servers.gateways()}

    def frame(self, interface: str, link_type: int, frame: bytes, size: int, at: float) -> None:
        """Look at one frame of `size` bytes on the wire, at that Unix time."""
        self.packet(interface, decode.packet(frame, link_type), link_type, frame, size, at)

    def packet(  # noqa: PLR0917 - what a frame is
        self,
        interface: str,
        packet: Packet,
        link_type: int,
        frame: bytes,
        size: int,
        at: float,
        flow: Flow | None = None,
    ) -> None:
        """Look at one frame whose headers are read. flow: its own, if this was looked at there."""
        self._at = max(at, self._at)
        mac = frame[6:12] if link_type == decode.ETHERNET_LINK else b""
        if packet.source and packet.source in self._own():
            self._neighbours.mine(mac, at)
        match packet.protocol:
            case "arp" if packet.sender_mac:
                self._arp(interface, packet, frame, mac, at)
            case "icmp":
                self._refused(packet, frame, at)
            case "icmpv6":
                self._refused(packet, frame, at)
                self._ndp(interface, packet, frame, mac, at)
            case "tcp":
                self._tcp(packet, frame, size, at, flow)
            case "udp":
                self._udp(interface, packet, frame, mac, size, at, flow)

    def _arp(self, interface: str, packet: Packet, frame: bytes, mac: bytes, at: float) -> None:
        body = _ARP_BODY.unpack_from(frame, packet.at)
        arp = Arp(body[4], packet.sender_mac, packet.sender, body[8], mac)
        if mac and mac != packet.sender_mac:
            self._malformed["arp sender is not the frame's"] += 1
        self._neighbours.arp(interface, arp, at)

    def _refused(self, packet: Packet, frame: bytes, at: float) -> None:
        """Learn from what this host refuses who asks at its closed UDP ports."""
        if packet.source not in self._own():
            return
        said = frame[packet.at : packet.end]
        asked = icmp.refused(said, ipv6=packet.protocol == "icmpv6")
        # The quotation has to be of a packet to this host: a router's is of somebody else's.
        if asked is None or asked.protocol != "udp" or asked.destination not in self._own():
            return
        port = asked.destination_port
        if port < min(asked.source_port, _CLIENTS_FROM):
            self._scans.begun(asked.source, asked.destination, "udp", port, at)

    def _ndp(self, interface: str, packet: Packet, frame: bytes, mac: bytes, at: float) -> None:
        message = frame[packet.at : packet.end]
        if not mac or len(message) < 8 or not any(packet.source):
            return
        if message[0] == _NEIGHBOUR_ADVERTISEMENT and len(message) >= 24:
            target = message[8:24]
            if target not in self._own():
                self._neighbours.heard(target, mac, "ndp")
                self._neighbours.claims(interface, target, mac, at)
        elif message[0] in (_NEIGHBOUR_SOLICITATION, _ROUTER_ADVERTISEMENT):
            if message[0] == _ROUTER_ADVERTISEMENT:
                self._servers.advertised(interface, packet.source, mac, message, at)
            self._neighbours.heard(packet.source, mac, "ndp")
            if packet.source not in self._own():
                self._neighbours.claims(interface, packet.source, mac, at)

    def _tcp(self, packet: Packet, frame: bytes, size: int, at: float, flow: Flow | None) -> None:
        if len(frame) < packet.at + 14 or not packet.source:
            return
        flags = frame[packet.at + 13]
        if flags & SYN and not flags & _RST:
            if flags & ACK:
                (number,) = _NUMBER.unpack_from(frame, packet.at + 4)
                self._begun.put(_ends(packet), (number + 1) % (1 << 32))
                self._scans.answered(packet.destination, packet.source, "tcp", packet.source_port)
                return
            self._scans.begun(packet.source, packet.destination, "tcp", packet.destination_port, at)
            self._system(packet, frame)
            return
        said = payload(packet, frame)
        if said:
            (number,) = _NUMBER.unpack_from(frame, packet.at + 4)
            first = self._begun.get(_ends(packet))
            # Where its beginning was not seen, chance bytes in its middle may look like anything.
            # Of a file's connections only the first payloads are looked at.
            begins = self._everything if first is None else number == first
            self._said(packet, said, size, at, flow, begins=begins)

    def _system(self, packet: Packet, frame: bytes) -> None:
        if packet.source in self._own():
            return
        ttl = self._ttl(packet, frame)
        syn = passive_os.read(frame[packet.at : packet.end], ttl)
        guess = passive_os.family(syn) if syn else None
        if guess is not None:
            self._systems.put(packet.source, guess)

    @staticmethod
    def _ttl(packet: Packet, frame: bytes) -> int:
        """Return the TTL or hop limit: it stands before the addresses, which are there."""
        back = frame.rfind(packet.source + packet.destination, 0, packet.at)
        if back < 0:
            return 0
        before = 4 if len(packet.source) == 4 else 1
        return frame[back - before] if back >= before else 0

    def _udp(  # noqa: PLR0917 - what a frame is
        self,
        interface: str,
        packet: Packet,
        frame: bytes,
        mac: bytes,
        size: int,
        at: float,
        flow: Flow | None,
    ) -> None:
        said = payload(packet, frame)
        if not packet.source or not said:
            return
        ports = {packet.source_port, packet.destination_port}
        if 53 in ports:
            self._dns(packet, said, at)
        if ports & {67, 68}:
            self._dhcp(interface, said, at)
        if (packet.source_port, packet.destination_port) == (dhcp6.SERVER_PORT, dhcp6.CLIENT_PORT):
            self._dhcp6(interface, packet, said, at)
        if 5353 in ports and mac:
            self._mdns(packet, said, mac)
        # Who asks everybody scans nobody.
        if not _is_multicast(packet.destination) and packet.destination_port < packet.source_port:
            self._scans.begun(packet.source, packet.destination, "udp", packet.destination_port, at)
        self._scans.answered(packet.destination, packet.source, "udp", packet.source_port)
        self._said(packet, said, size, at, flow, begins=True)

    def _dns(self, packet: Packet, said: bytes, at: float) -> None:
        message = dns.read(said)
        if message is None:
            self._malformed["dns"] += 1
            return
        if message.response:
            return
        self._lookups.asked(packet.source, message, at)

    def _dhcp(self, interface: str, said: bytes, at: float) -> None:
        message = dhcp.read(said)
        if message is None:
            self._malformed["dhcp"] += 1
            return
        if not message.reply or message.kind not in (dhcp.OFFER, dhcp.ACK):
            return
        if message.kind == dhcp.ACK and any(message.address):
            name = classify.printable(message.name)
            self._neighbours.heard(message.address, message.mac, "dhcp", name)
        self._servers.offered(interface, message, at)

    def _dhcp6(self, interface: str, packet: Packet, said: bytes, at: float) -> None:
        message = dhcp6.read(said)
        if message is None:
            self._malformed["dhcpv6"] += 1
        elif message.kind in (dhcp6.ADVERTISE, dhcp6.REPLY):
            self._servers.offered6(interface, packet.source, message, at)

    def _mdns(self, packet: Packet, said: bytes, mac: bytes) -> None:
        message = dns.read(said)
        if message is None:
            self._malformed["mdns"] += 1
            return
        for name, kind, value in message.answers if message.response else ():
            # Somebody may speak for others (a reflector): the frame must come from the address.
            if kind in (1, 28) and value == packet.source:
                self._neighbours.heard(value, mac, "mdns", classify.printable(name))

    def _said(
        self,
        packet: Packet,
        said: bytes,
        size: int,
        at: float,
        known: Flow | None,
        *,
        begins: bool,
    ) -> None:
        """Learn from what a flow carries. begins: these may be the sender's first words."""
        ends = (packet.source, packet.source_port), (packet.destination, packet.destination_port)
        low, high = sorted(ends)
        key = low[0], high[0], low[1], high[1], packet.protocol
        ports = packet.source_port, packet.destination_port
        flow = known or self._flows.use(key, lambda: Flow(packet.protocol, *ports))
        if known is None and flow.looks < LOOKS:
            told = flow.told
            flow.look(said, *ports)
            if flow.told is not told:
                self._ask(flow)
        new = flow.looks == 1
        if new and packet.protocol == "tcp":
            self._scans.spoke(packet.destination, packet.destination_port)
            self._scans.spoke(packet.source, packet.source_port)  # the server may speak first
        verdict = flow.verdict()
        self._credentials(key, verdict.protocol, packet, said, at)
        judged = begins and not flow.announced
        if not self._associate(verdict, packet, said, at, judged=judged):
            count = self._counts.setdefault(verdict.protocol, [0, 0, 0])
            count[0] += new
            count[1] += 1
            count[2] += size

    def _ask(self, flow: Flow) -> None:
        """Count what a conversation asks for. For whom is nobody's business, by default."""
        for what, value in flow.told.items():
            if self._names or what == "alpn":
                self._asked.add(f"{flow.protocol} {what} {value}".encode(), 1)

    def _within_this_host(self, packet: Packet) -> bool:
        """Return whether this does not leave the host: nobody else can read it."""
        own = self._own()
        return packet.source.startswith(_LOOPBACK) or {packet.source, packet.destination} <= own

    def _credentials(self, key: Key, protocol: str, packet: Packet, said: bytes, at: float) -> None:
        if not self._everything and self._within_this_host(packet):
            return
        if credentials.is_anonymous(protocol, said):
            self._anonymous.put(key, True)  # noqa: FBT003 - a set
        elif credentials.seen(protocol, said) and self._anonymous.get(key) is None:
            server, client = (packet.destination, packet.destination_port), packet.source
            if protocol == "telnet":  # whose prompt it is
                server, client = (packet.source, packet.source_port), packet.destination
            self._events.tell(
                "cleartext_credentials", f"{ip_address(server[0])} tcp/{server[1]}", at,
                protocol=protocol, client=str(ip_address(client)),
            )  # fmt: skip

    def _associate(
        self, verdict: classify.Verdict, packet: Packet, said: bytes, at: float, *, judged: bool
    ) -> bool:
        """Learn what a port of this host speaks, by its own words if it has said any.

        judged: whether it is told if that is not what is usual there. Return whether it is one of
        this host's open ports.
        """
        transport, open_ports = packet.protocol, self._ports().get(packet.protocol, ())
        own = self._own()
        if packet.source in own and packet.source_port in open_ports:
            port, serves = packet.source_port, True
        elif packet.destination in own and packet.destination_port in open_ports:
            port, serves = packet.destination_port, False
        elif self._everything and transport == "tcp":
            # The lower port is the server's.
            serves = packet.source_port < packet.destination_port
            port = min(packet.source_port, packet.destination_port)
        else:
            return False
        if not self._everything:
            known = self._spoken.get((transport, port))
            better = serves or known is None or known[1] == "port"
            what = (verdict.protocol, verdict.how) if better or known is None else known[:2]
            self._spoken.put((transport, port), (*what, at))
        if serves and judged and verdict.how == "content":
            own_words = classify.content(transport, said, packet.source_port, 0)
            self._mismatch(transport, packet, own_words, at)
        return not self._everything

    def _mismatch(self, transport: str, packet: Packet, spoken: str, at: float) -> None:
        usual = classify.by_port(transport, packet.source_port)
        if not spoken or not usual or spoken == usual or packet.source_port >= 10_000:
            return
        # A client may have one of the lowest ports, as NFS' has.
        if usual in _CARRIES_ANY or spoken == classify.by_port(transport, packet.destination_port):
            return
        if spoken in ("tls", "dtls") and usual not in _NEVER_TLS:
            return
        if any(spoken in akin and usual in akin for akin in _AKIN):
            return
        self._events.tell(
            "protocol_mismatch",
            f"{ip_address(packet.source)} {transport}/{packet.source_port}",
            at, speaks=spoken, usual=usual,
        )  # fmt: skip

    def window(
        self, syns: Sequence[Row], begun: int = 0, accepted: int | None = None
    ) -> dict[str, Any]:
        """Return what was learned since the last call, as plain JSON, and judge the window.

        syns: (source, SYNs sent, destinations, pairs) of the busiest, of all packets. begun: SYNs
        of others to this host. accepted: connections that it accepted, if that is known.

        application: [[protocol, flows, packets, bytes]] of the frames seen here that are not of
        this host's open ports. spoken: [[transport, port, protocol, content|port, Unix seconds of
        the last seen]].
        names: how many were asked for by DNS. asked: [[protocol, sni|host|alpn, which, how often]]
        of the conversations begun. events: [[kind, subject, evidence, Unix seconds]].
        heard: [[address, mac, vendor, how, name]]. systems: [[address, family, how sure: exact,
        generic or fuzzy]].
        """
        self._scans.window(syns, self._at or time(), begun, accepted)
        told = {
            "application": [[name, *count] for name, count in sorted(self._counts.items())],
            "spoken": [[*key, *value] for key, value in sorted(self._spoken.items())],
            "names": self._lookups.take(),
            "asked": [
                [*key.decode().split(" ", 2), times]
                for key, times in self._asked.busiest(max(self._names, _ASKED_TOLD))
            ],
            "events": self._events.take(),
            "heard": self._neighbours.take(self._vendor_of),
            "systems": [[str(ip_address(a)), *guess] for a, guess in self._systems.items()],
            "malformed": dict(sorted(self._malformed.items())),
        }
        self._counts, self._malformed = {}, Counter()
        self._asked = Heavy(_ASKED_KEPT)
        self._spoken.clear()
        self._systems.clear()
        return told
