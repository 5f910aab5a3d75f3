"""A whole capture file at once, through the same code that counts the live traffic."""

from collections import Counter
from ipaddress import ip_address
from typing import Any, BinaryIO

from vedette.capture import decode, pcap
from vedette.capture.flows import Flows

# Beyond this many addresses the traffic of the rest counts as "other".
_PEERS_KEPT = 1 << 16


class Reading:
    """What is known of one capture so far."""

    def __init__(self) -> None:
        self.packets = self.size = 0
        self._protocols: dict[str, list[int]] = {}
        self._peers: dict[bytes, list[int]] = {}
        self._others = [0, 0]
        self._undecodable: Counter[str] = Counter()
        self._flows = Flows()

    def frame(self, link_type: int, frame: bytes, size: int) -> None:
        """Count one frame of `size` bytes on the wire."""
        self.packets += 1
        self.size += size
        packet = decode.packet(frame, link_type)
        count = self._protocols.get(packet.protocol)
        if count is None:
            count = self._protocols[packet.protocol] = [0, 0]
        count[0] += 1
        count[1] += size
        if packet.reason:
            self._undecodable[packet.reason] += 1
        for address in (packet.source, packet.destination) if packet.source else ():
            self._peer(address, size)
        self._flows.add(packet, frame, size)

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
            "undecodable": sum(undecodable.values()),
            "undecodable_reasons": dict(sorted(undecodable.items())),
        }


def _row(address: str, count: list[int]) -> dict[str, Any]:
    return {"address": address, "packets": count[0], "bytes": count[1]}


def read(stream: BinaryIO, most_peers: int) -> dict[str, Any]:
    """Return the whole of a capture file."""
    reader, reading = pcap.Reader(stream), Reading()
    for frame in reader:
        reading.frame(frame.link_type, frame.data, frame.size)
    return reading.as_json(most_peers, reader.problem)
