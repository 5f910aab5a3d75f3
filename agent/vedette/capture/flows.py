"""Flows (connections, and conversations over UDP), what each speaks and how much, bounded."""

from collections import defaultdict
from collections.abc import Mapping
from itertools import islice
from typing import Any

from vedette.capture import classify
from vedette.capture.announced import ANNOUNCING, Announced
from vedette.capture.classify.media import Stream
from vedette.capture.decode import Packet
from vedette.capture.worth import begins_connection

# Payloads of a flow that are looked at before its port has to do.
LOOKS = 8
_FLOWS_KEPT = 1 << 16
_NAMES_KEPT = 16  # of each protocol, of those that its flows have told
_TCP_HEADER, _UDP_HEADER = 20, 8
# Announced, but other protocols (STUN, DTLS) may share the port, and say so.
_SHARED = frozenset({"rtp", "rtcp"})

Key = tuple[bytes, bytes, int, int, str]


class Flow:
    """One conversation. protocol: "" until its content has said. first: ports, as it began.

    announced: what another conversation has said of this one.
    """

    __slots__ = (
        "_stream", "announced", "first", "looks", "packets", "protocol", "size", "told",
        "transport",
    )  # fmt: skip

    def __init__(
        self, transport: str, source_port: int, destination_port: int, announced: str = ""
    ) -> None:
        self.transport = transport
        self.first = (source_port, destination_port)
        self.looks = self.packets = self.size = 0
        self.announced = announced
        self.protocol = "" if announced in _SHARED else announced
        self.told: dict[str, str] = {}
        self._stream: Stream | None = None

    def look(self, payload: bytes, source_port: int, destination_port: int) -> None:
        """Learn from one payload, until the content has said what it is."""
        self.looks += 1
        if self.protocol:
            return
        self.protocol = classify.content(self.transport, payload, source_port, destination_port)
        if self.protocol:
            self.told = classify.told(self.protocol, payload)
        elif self.transport == "udp":
            self._stream = self._stream or Stream()
            self.protocol = "rtp" if self._stream.is_rtp(payload) else ""

    def verdict(self) -> classify.Verdict:
        """Return what it speaks: by its content or another's, else by the lower port."""
        if protocol := self.protocol or self.announced:
            return classify.Verdict(protocol, "content", self.told)
        usual = classify.by_port(self.transport, *self.first)
        return classify.Verdict(usual or classify.UNKNOWN, "port")


def payload(packet: Packet, frame: bytes) -> bytes:
    """Return what TCP or UDP carries in this frame; empty if nothing, or if its header lies."""
    at = packet.at
    if packet.protocol == "tcp":
        header = (frame[at + 12] >> 4) * 4 if len(frame) > at + 12 else 0
        return frame[at + header : packet.end] if header >= _TCP_HEADER else b""
    if packet.protocol == "udp" and len(frame) >= at + _UDP_HEADER:
        # A length of 0 is that of a jumbogram; the datagram may be cut short, never longer.
        length = (frame[at + 4] << 8 | frame[at + 5]) or len(frame)
        return frame[at + _UDP_HEADER : min(packet.end, at + length)]
    return b""


class Flows:
    """Every flow of TCP and UDP, counted exactly; the oldest are summed up when there are many."""

    def __init__(self) -> None:
        self._open: dict[Key, Flow] = {}
        self._sums: dict[str, _Sum] = defaultdict(_Sum)
        self._announced = Announced()

    def add(self, packet: Packet, frame: bytes, size: int) -> Flow | None:
        """Count one packet; return its flow if this is one of its first payloads."""
        if packet.protocol not in ("tcp", "udp") or not packet.end:
            return None
        key = (
            packet.source, packet.destination,
            packet.source_port, packet.destination_port, packet.protocol,
        )  # fmt: skip
        flow = self._open.get(key)
        if flow is None or (flow.looks and begins_connection(packet, frame)):
            flow = self._begin(packet, key, flow)
        flow.packets += 1
        flow.size += size
        looks = flow.looks
        if looks >= LOOKS and flow.protocol not in ANNOUNCING:
            return None
        said = payload(packet, frame)
        if not said:
            return None
        flow.look(said, packet.source_port, packet.destination_port)
        if flow.protocol in ANNOUNCING:
            self._announced.learn(flow.protocol, packet, said)
        return flow if looks < LOOKS else None

    def _begin(self, packet: Packet, key: Key, before: Flow | None) -> Flow:
        """Begin a flow, or its other direction. before: a connection of the same two ports."""
        source, destination, source_port, destination_port, transport = key
        back = destination, source, destination_port, source_port, transport
        if before is not None:
            self._add(before)
            self._open.pop(back, None)
            del self._open[key]
        flow = self._open.get(back)
        if flow is None:
            if len(self._open) >= _FLOWS_KEPT:
                self._sum_up(_FLOWS_KEPT // 2)
            announced = self._announced.expected(packet)
            flow = Flow(transport, source_port, destination_port, announced)
        self._open[key] = flow
        return flow

    def _sum_up(self, most: int) -> None:
        """Add the oldest flows to the sums: the packets that still come begin them anew."""
        oldest = list(islice(self._open, most))
        gone = {id(flow): flow for flow in map(self._open.pop, oldest)}
        # Of a flow that was heard both ways the other key goes as well.
        for key in [key for key, flow in self._open.items() if id(flow) in gone]:
            del self._open[key]
        for flow in gone.values():
            self._add(flow)

    def _add(self, flow: Flow) -> None:
        if not flow.looks:
            name = "no_payload"
            verdict = classify.Verdict(name, "port")
        else:
            verdict = flow.verdict()
        self._sums[verdict.protocol].add(flow, verdict)

    def as_json(self) -> Mapping[str, dict[str, Any]]:
        """Return {protocol: {flows, packets, bytes, by, names, alpn}}; closes all."""
        self._sum_up(len(self._open))
        return {
            name: {
                "flows": total.flows,
                "packets": total.packets,
                "bytes": total.size,
                "by": {"content": total.by_content, "port": total.flows - total.by_content},
                "names": sorted(total.names),
                "alpn": sorted(total.alpn),
            }
            for name, total in sorted(self._sums.items(), key=lambda item: -item[1].size)
        }


class _Sum:
    __slots__ = ("alpn", "by_content", "flows", "names", "packets", "size")

    def __init__(self) -> None:
        self.flows = self.packets = self.size = self.by_content = 0
        self.names: set[str] = set()
        self.alpn: set[str] = set()

    def add(self, flow: Flow, verdict: classify.Verdict) -> None:
        self.flows += 1
        self.packets += flow.packets
        self.size += flow.size
        self.by_content += verdict.how == "content"
        for key, kept in (("sni", self.names), ("host", self.names), ("alpn", self.alpn)):
            if key in verdict.told and len(kept) < _NAMES_KEPT:
                kept.add(verdict.told[key])
