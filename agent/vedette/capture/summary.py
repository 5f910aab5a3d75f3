"""Counting packets over one window, in bounded memory, and the summary of it as plain JSON."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_address
from typing import Any

from vedette.capture.decode import Packet
from vedette.capture.heavy import Heavy
from vedette.capture.syns import Row, Syns

_NEIGHBOURS_KEPT = 1024
_NOBODY = bytes(4)
# Of senders of SYNs, and of what each of them tried in a window.
_SENDERS_KEPT, _TRIES_KEPT = 512, 1024
_SENDERS_TOLD = 64

Count = list[int]  # packets, bytes


def _zero() -> Count:
    return [0, 0]


class Window:
    """What was seen since the window began.

    own: this host's addresses, as raw bytes; they tell what goes in and what goes out.
    ports: this host's open ports: {"tcp": numbers, "udp": numbers}.
    """

    def __init__(self, own: Collection[bytes], ports: Mapping[str, Collection[int]]) -> None:
        self.own = frozenset(own)
        self.ports = {transport: frozenset(numbers) for transport, numbers in ports.items()}
        self.peers = Heavy()
        self._protocols: dict[tuple[str, str], Count] = defaultdict(_zero)
        self._services: dict[tuple[str, int, str], Count] = defaultdict(_zero)
        self._syns = Syns(_SENDERS_KEPT, _TRIES_KEPT)
        self.begun = 0  # SYNs of others to this host
        self._neighbours: dict[bytes, bytes] = {}

    def add(self, interface: str, packet: Packet, size: int) -> None:
        """Count one packet of `size` bytes on the wire."""
        self.count_protocol(interface, packet.protocol, 1, size)
        if packet.sender_mac:
            self.add_neighbour(packet.sender, packet.sender_mac)
        if not packet.source:
            return
        leaves, arrives = packet.source in self.own, packet.destination in self.own
        self._add_service(packet, size, leaves=leaves, arrives=arrives)
        if leaves != arrives:
            self.peers.add(packet.destination if leaves else packet.source, size)

    def count_protocol(self, interface: str, protocol: str, packets: int, size: int) -> None:
        """Count packets of a protocol."""
        count = self._protocols[interface, protocol]
        count[0] += packets
        count[1] += size

    def count_service(
        self, transport: str, port: int, direction: str, packets: int, size: int
    ) -> None:
        """Count packets of one of this host's open ports. direction: in or out."""
        count = self._services[transport, port, direction]
        count[0] += packets
        count[1] += size

    def count_syn(self, source: bytes, destination: bytes, port: int, number: int) -> None:
        """Count SYNs to this host, one of which was looked at."""
        self.begun += number if source not in self.own else 0
        self._syns.add(source, destination, port, number)

    def add_neighbour(self, sender: bytes, mac: bytes) -> None:
        """Take that an address is at a card, as ARP says."""
        # 0.0.0.0 asks whether an address is free (RFC 5227): it is not anybody's address.
        if sender == _NOBODY or sender in self.own:
            return
        if len(self._neighbours) < _NEIGHBOURS_KEPT or sender in self._neighbours:
            self._neighbours[sender] = mac

    def syns(self) -> list[Row]:
        """Return what the sources that tried most have tried, the worst first."""
        return sorted(self._syns.rows(), key=lambda row: (-row[3], -row[1], row[0]))[:_SENDERS_TOLD]

    def _add_service(self, packet: Packet, size: int, *, leaves: bool, arrives: bool) -> None:
        ports = self.ports.get(packet.protocol)
        if ports is None:
            return
        # A packet between two addresses of this host comes in at one port and leaves at the other.
        if arrives and packet.destination_port in ports:
            self.count_service(packet.protocol, packet.destination_port, "in", 1, size)
        elif leaves and packet.source_port in ports:
            self.count_service(packet.protocol, packet.source_port, "out", 1, size)

    def macs(self) -> list[str]:
        """Return the cards of the neighbours heard."""
        return [mac.hex(":") for mac in self._neighbours.values()]

    def as_json(
        self, seconds: float, most_peers: int, dropped: dict[str, int], vendor_of: Any = None
    ) -> dict[str, Any]:
        """Return the summary. `seconds`: the window's length. `dropped`: {interface: packets}.

        protocols: [[interface, protocol, packets, bytes]]; services: [[transport, port, direction,
        packets, bytes]]; peers: [[address, bytes]], the most first, [["other", bytes]] last, so
        that the sum is all traffic with others; neighbours: [[address, mac, vendor]].
        """
        ranked = self.peers.busiest(most_peers)
        rest = self.peers.total - sum(size for _, size in ranked)
        return {
            "seconds": round(seconds, 3),
            "protocols": _rows(self._protocols),
            "services": _rows(self._services),
            "peers": [
                *([str(ip_address(peer)), size] for peer, size in ranked),
                ["other", rest],
            ],
            "neighbours": [
                [
                    str(ip_address(address)),
                    mac.hex(":"),
                    vendor_of(mac.hex(":")) if vendor_of else "",
                ]
                for address, mac in sorted(self._neighbours.items())
            ],
            "dropped": dropped,
        }


def _rows(counts: dict[Any, Count]) -> list[list[Any]]:
    rows: Iterable[tuple[Any, Count]] = sorted(counts.items())
    return [[*key, *count] for key, count in rows]
