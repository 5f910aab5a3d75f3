"""Counting packets over one window, in bounded memory, and the summary of it as plain JSON."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from ipaddress import ip_address
from typing import Any

from vedette.capture.decode import Packet

# Beyond this many peers in one window (a flood of forged sources) the rest counts as "other".
_PEERS_KEPT = 4096
_NEIGHBOURS_KEPT = 1024

Count = list[int]  # packets, bytes


def _zero() -> Count:
    return [0, 0]


class Window:
    """What was seen since the window began.

    own: this host's addresses, as raw bytes; they tell what goes in and what goes out.
    ports: this host's open ports: {"tcp": numbers, "udp": numbers}.
    """

    def __init__(self, own: Collection[bytes], ports: dict[str, Collection[int]]) -> None:
        self._own = frozenset(own)
        self._ports = {transport: frozenset(numbers) for transport, numbers in ports.items()}
        self._protocols: dict[tuple[str, str], Count] = defaultdict(_zero)
        self._services: dict[tuple[str, int, str], Count] = defaultdict(_zero)
        self._peers: dict[bytes, Count] = {}
        self._other_peers = _zero()
        self._neighbours: dict[bytes, bytes] = {}

    def add(self, interface: str, packet: Packet, size: int) -> None:
        """Count one packet of `size` bytes on the wire."""
        count = self._protocols[interface, packet.protocol]
        count[0] += 1
        count[1] += size
        if packet.sender_mac:
            self._add_neighbour(packet)
        if not packet.source:
            return
        leaves, arrives = packet.source in self._own, packet.destination in self._own
        self._add_service(packet, size, leaves=leaves, arrives=arrives)
        if leaves != arrives:
            self._add_peer(packet.destination if leaves else packet.source, size)

    def _add_service(self, packet: Packet, size: int, *, leaves: bool, arrives: bool) -> None:
        ports = self._ports.get(packet.protocol)
        if ports is None:
            return
        # A packet between two addresses of this host comes in at one port and leaves at the other.
        if arrives and packet.destination_port in ports:
            count = self._services[packet.protocol, packet.destination_port, "in"]
        elif leaves and packet.source_port in ports:
            count = self._services[packet.protocol, packet.source_port, "out"]
        else:
            return
        count[0] += 1
        count[1] += size

    def _add_peer(self, peer: bytes, size: int) -> None:
        count = self._peers.get(peer)
        if count is None:
            if len(self._peers) >= _PEERS_KEPT:
                count = self._other_peers
            else:
                count = self._peers[peer] = _zero()
        count[0] += 1
        count[1] += size

    def _add_neighbour(self, packet: Packet) -> None:
        # 0.0.0.0 asks whether an address is free (RFC 5227): it is not anybody's address.
        if not any(packet.sender) or packet.sender in self._own:
            return
        if len(self._neighbours) < _NEIGHBOURS_KEPT or packet.sender in self._neighbours:
            self._neighbours[packet.sender] = packet.sender_mac

    def as_json(
        self, seconds: float, most_peers: int, dropped: dict[str, int], vendor_of: Any = None
    ) -> dict[str, Any]:
        """Return the summary. `seconds`: the window's length. `dropped`: {interface: packets}.

        protocols: [[interface, protocol, packets, bytes]]; services: [[transport, port, direction,
        packets, bytes]]; peers: [[address, bytes]], the most first, [["other", bytes]] last, so
        that the sum is all traffic with others; neighbours: [[address, mac, vendor]].
        """
        ranked = sorted(self._peers.items(), key=lambda item: (-item[1][1], item[0]))
        rest = self._other_peers[1] + sum(count[1] for _, count in ranked[most_peers:])
        return {
            "seconds": round(seconds, 3),
            "protocols": _rows(self._protocols),
            "services": _rows(self._services),
            "peers": [
                *([str(ip_address(peer)), count[1]] for peer, count in ranked[:most_peers]),
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
