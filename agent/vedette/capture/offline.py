"""A whole capture file at once, through the same code that counts the live traffic."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import Any, BinaryIO

from vedette.capture import decode, pcap
from vedette.capture.decode import Packet
from vedette.capture.dissection import Dissection
from vedette.capture.flows import Flows
from vedette.capture.syns import Syns
from vedette.capture.worth import SYN, begins_connection
from vedette.thresholds import Thresholds

# Beyond this many addresses the traffic of the rest counts as "other".
_PEERS_KEPT = 1 << 16
# Of the capture's own time; the live capture judges as often.
_WINDOW_SECONDS = 10.0
_KEPT = 4096  # neighbours, systems, events: of each so many
_SYNS_KEPT = 4096  # sources of a window, and tries of each
# UDP ports whose every message tells something: DNS, DHCP, mDNS.
_ASKED = frozenset({53, 67, 5353})


class Reading:
    """What is known of one capture so far."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._dissection = Dissection(thresholds, frozenset, dict, everything=True)
        self._window_ends = 0.0
        self._syns = Syns(_SYNS_KEPT, _SYNS_KEPT)
        self._neighbours: dict[tuple[str, str], list[Any]] = {}
        self._systems: dict[str, list[Any]] = {}
        self._events: list[list[Any]] = []
        self.packets = self.size = 0
        self._protocols: dict[str, list[int]] = {}
        self._peers: dict[bytes, list[int]] = {}
        self._others = [0, 0]
        self._undecodable: Counter[str] = Counter()
        self._flows = Flows()

    def frame(self, given: pcap.Frame) -> None:
        """Count one frame."""
        frame, size = given.data, given.size
        self.packets += 1
        self.size += size
        packet = decode.packet(frame, given.link_type)
        if not 0 <= self._window_ends - given.at <= _WINDOW_SECONDS:
            self._close_window()
            self._window_ends = given.at + _WINDOW_SECONDS
        count = self._protocols.get(packet.protocol)
        if count is None:
            count = self._protocols[packet.protocol] = [0, 0]
        count[0] += 1
        count[1] += size
        if packet.reason:
            self._undecodable[packet.reason] += 1
        for address in (packet.source, packet.destination) if packet.source else ():
            self._peer(address, size)
        flow = self._flows.add(packet, frame, size)
        if self._tells(packet, frame) or flow is not None:
            self._dissection.packet(
                given.interface, packet, given.link_type, frame, size, given.at, flow
            )

    def _tells(self, packet: Packet, frame: bytes) -> bool:
        """Return whether a packet tells something, whether or not it is a flow's first payload."""
        if packet.protocol == "tcp":
            at = packet.at + 13
            flags = frame[at] if len(frame) > at else 0
            if begins_connection(packet, frame):
                self._syns.add(packet.source, packet.destination, packet.destination_port)
            return bool(flags & SYN)
        if packet.protocol == "udp":
            return packet.source_port in _ASKED or packet.destination_port in _ASKED
        return packet.protocol in ("arp", "icmpv6")

    def _close_window(self) -> None:
        told = self._dissection.window(self._syns.rows())
        self._syns = Syns(_SYNS_KEPT, _SYNS_KEPT)
        self._events = [*self._events, *told["events"]][-_KEPT:]
        for row in told["heard"]:
            if len(self._neighbours) < _KEPT:
                self._neighbours[row[0], row[1]] = row
        for row in told["systems"]:
            if len(self._systems) < _KEPT:
                self._systems[row[0]] = row
        self._undecodable.update(told["malformed"])

    def _peer(self, address: bytes, size: int) -> None:
        count = self._peers.get(address)
        if count is None:
            if len(self._peers) >= _PEERS_KEPT:
                count = self._others
            else:
                count = self._peers[address] = [0, 0]
        count[0] += 1
        count[1] += size

    def as_json(self, most_peers: int, problem: str) -> dict[str, Any]:
        """Return all of it; problem: why the file ended early, which counts as undecodable."""
        self._close_window()
        ranked = sorted(self._peers.items(), key=lambda item: (-item[1][1], item[0]))
        rest = [self._others, *(count for _, count in ranked[most_peers:])]
        undecodable = dict(self._undecodable) | ({f"file: {problem}": 1} if problem else {})
        return {
            "packets": self.packets,
            "bytes": self.size,
            "protocols": {
                name: {"packets": count[0], "bytes": count[1]}
                for name, count in sorted(self._protocols.items(), key=lambda item: -item[1][1])
            },
            "application_protocols": self._flows.as_json(),
            "peers": [
                *(_row(str(ip_address(peer)), count) for peer, count in ranked[:most_peers]),
                _row("other", [sum(count[0] for count in rest), sum(count[1] for count in rest)]),
            ],
            "neighbours": [
                dict(zip(("address", "mac", "vendor", "heard_by", "name"), row, strict=True))
                for row in self._neighbours.values()
            ],
            "systems": [
                dict(zip(("address", "family", "confidence"), row, strict=True))
                for row in self._systems.values()
            ],
            "events": [
                dict(zip(("event", "subject", "evidence", "at"), row, strict=True))
                for row in self._events
            ],
            "undecodable": sum(undecodable.values()),
            "undecodable_reasons": dict(sorted(undecodable.items())),
        }


def _row(address: str, count: list[int]) -> dict[str, Any]:
    return {"address": address, "packets": count[0], "bytes": count[1]}


def read(
    stream: BinaryIO,
    most_peers: int,
    thresholds: Thresholds,
    makers: Callable[[Iterable[str]], Mapping[str, str]] = lambda _: {},
) -> dict[str, Any]:
    """Return the whole of a capture file. makers: looks up who made these cards."""
    reader, reading = pcap.Reader(stream), Reading(thresholds)
    for frame in reader:
        reading.frame(frame)
    document = reading.as_json(most_peers, reader.problem)
    if neighbours := document["neighbours"]:
        made_by = makers(neighbour["mac"] for neighbour in neighbours)
        for neighbour in neighbours:
            neighbour["vendor"] = made_by.get(neighbour["mac"], "")
    return document
