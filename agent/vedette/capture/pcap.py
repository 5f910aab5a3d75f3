"""Capture files: classic pcap and pcapng, of both byte orders, also gzipped, frame by frame.

Formats: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html and
…/draft-ietf-opsawg-pcapng-02.html. A damaged file ends where the damage is; `Reader.problem` says
which. Frames of every link type come out as the two that capture/decode.py knows.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from vedette.capture.decode import ETHERNET_LINK
from vedette.capture.links import UNKNOWN, normal

_CHUNK = 1 << 20
# The longest record that is believed; tcpdump takes no more, either (MAXIMUM_SNAPLEN).
_LONGEST = 1 << 18
_LONGEST_BLOCK = 1 << 24
_MOST_INTERFACES = 1 << 12

_GZIP = b"\x1f\x8b"
# First four bytes -> byte order, fractions of a second, bytes of a record's header. The last is
# the modified format of old Linux kernels' tools: eight more bytes in each record.
_CLASSIC = {
    b"\xa1\xb2\xc3\xd4": (">", 1e-6, 16),
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6, 16),
    b"\xa1\xb2\x3c\x4d": (">", 1e-9, 16),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9, 16),
    b"\xa1\xb2\xcd\x34": (">", 1e-6, 24),
    b"\x34\xcd\xb2\xa1": ("<", 1e-6, 24),
}
_SECTION = b"\x0a\x0d\x0d\x0a"
_ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
_INTERFACE, _OLD_PACKET, _SIMPLE, _ENHANCED = 1, 2, 3, 6
_TIME_UNIT, _TIME_OFFSET = 9, 14  # options of an interface


class Frame(NamedTuple):
    """One packet. link_type: ARPHRD, or UNKNOWN. size: bytes on the wire. at: Unix seconds."""

    interface: str
    link_type: int
    data: bytes
    size: int
    at: float


class Reader:
    """The frames of one file. problem: why reading ended early, "" if it did not."""

    def __init__(self, stream: BinaryIO) -> None:
        self._source = _Source(stream)
        self.problem = ""

    def __iter__(self) -> Iterator[Frame]:
        magic = self._source.take(4)
        if magic == _SECTION:
            yield from self._blocks()
        elif magic in _CLASSIC:
            yield from self._records(*_CLASSIC[magic])
        else:
            self.problem = "no capture file"

    def _records(self, order: str, unit: float, header_size: int) -> Iterator[Frame]:
        take = self._source.take
        head = take(20)
        if head is None:
            self.problem = "cut short"
            return
        link = struct.unpack_from(order + "I", head, 16)[0] & 0xFFFF
        record = struct.Struct(order + "IIII" + "x" * (header_size - 16))
        while (header := take(header_size)) is not None:
            seconds, fraction, captured, size = record.unpack(header)
            if captured > _LONGEST:
                self.problem = "a record longer than any packet"
                return
            data = take(captured)
            if data is None:
                break
            kind, frame = (ETHERNET_LINK, data) if link == ETHERNET_LINK else normal(link, data)
            yield Frame("", kind, frame, size, seconds + fraction * unit)
        if self._source.rest:
            self.problem = "cut short"

    def _blocks(self) -> Iterator[Frame]:
        order, interfaces = "", list[_Interface]()
        kind_bytes: bytes | None = _SECTION
        while kind_bytes is not None:
            size_bytes = self._source.take(4)
            if size_bytes is None:
                self.problem = "cut short"
                return
            skip = 8
            if kind_bytes == _SECTION:
                order_bytes = self._source.take(4) or b""
                if order_bytes not in _ORDERS:
                    self.problem = "a section of no byte order"
                    return
                order, interfaces, skip = _ORDERS[order_bytes], [], 12
            length = struct.unpack(order + "I", size_bytes)[0]
            if length < skip + 4 or length % 4 or length > _LONGEST_BLOCK:
                self.problem = "a block of an impossible length"
                return
            body = self._source.take(length - skip)
            if body is None:
                self.problem = "cut short"
                return
            (kind,) = struct.unpack(order + "I", kind_bytes)
            body = body[:-4]  # the length stands at the end once more
            if kind == _INTERFACE and len(body) >= 8 and len(interfaces) < _MOST_INTERFACES:
                interfaces.append(_interface(body, order, len(interfaces)))
            elif kind in (_OLD_PACKET, _SIMPLE, _ENHANCED):
                yield _packet(kind, body, order, interfaces)
            kind_bytes = self._source.take(4)
        if self._source.rest:
            self.problem = "cut short"


@dataclass(frozen=True, slots=True)
class _Interface:
    name: str
    link: int
    snap_length: int
    unit: float
    offset: int


def _interface(body: bytes, order: str, number: int) -> _Interface:
    link, snap_length = struct.unpack_from(order + "HxxI", body)
    unit, offset = 1e-6, 0
    at = 8
    while at + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, at)
        value = body[at + 4 : at + 4 + length]
        if code == _TIME_UNIT and len(value) == 1:
            power = value[0] & 127
            unit = 2.0**-power if value[0] & 128 else 10.0**-power
        elif code == _TIME_OFFSET and len(value) == 8:
            (offset,) = struct.unpack(order + "q", value)
        at += 4 + length + -length % 4
    return _Interface(str(number), link, snap_length, unit, offset)


def _packet(kind: int, body: bytes, order: str, interfaces: list[_Interface]) -> Frame:
    """Return the packet of a block; one that does not hold together is of an unknown link."""
    number, ticks = 0, 0
    if kind == _SIMPLE:
        if len(body) < 4 or not interfaces:
            return Frame("", UNKNOWN, b"", 0, 0.0)
        (size,) = struct.unpack_from(order + "I", body)
        data = body[4 : 4 + min(size, interfaces[0].snap_length or size)]
    else:
        if len(body) < 20:
            return Frame("", UNKNOWN, b"", 0, 0.0)
        numbers = "H2x" if kind == _OLD_PACKET else "I"
        number, high, low, captured, size = struct.unpack_from(order + numbers + "IIII", body)
        ticks = high << 32 | low
        data = body[20 : 20 + captured]
    if number >= len(interfaces):
        return Frame("", UNKNOWN, data, size, 0.0)
    interface = interfaces[number]
    at = min(ticks * interface.unit + interface.offset, 2.0**40) if ticks else 0.0
    return Frame(interface.name, *normal(interface.link, data), size, at)


class _Source:
    """Bytes of a stream, unpacked if they are gzipped. rest: some were left at a failed `take`."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._inflate: Any = None
        self._buffer, self._at = b"", 0
        self.rest = False  # also of what can be unpacked
        start = b""
        while len(start) < 2 and (more := stream.read(2 - len(start))):
            start += more
        if start == _GZIP:
            self._inflate = zlib.decompressobj(31)
            self._buffer = self._inflate.decompress(start)
        else:
            self._buffer = start

    def take(self, size: int) -> bytes | None:
        """Return so many bytes, or None if there are not so many."""
        end = self._at + size
        if end > len(self._buffer):
            self._fill(size)
            end = self._at + size
            if end > len(self._buffer):
                self.rest = self.rest or self._at < len(self._buffer)
                return None
        taken = self._buffer[self._at : end]
        self._at = end
        return taken

    def _fill(self, size: int) -> None:
        parts = [self._buffer[self._at :]]
        have = len(parts[0])
        while have < size and (more := self._more()) is not None:
            parts.append(more)
            have += len(more)
        self._buffer, self._at = b"".join(parts), 0

    def _more(self) -> bytes | None:
        if self._inflate is None:
            return self._stream.read(_CHUNK) or None
        pending = self._inflate.unconsumed_tail
        if self._inflate.eof:  # one file may be several gzip members
            pending = self._inflate.unused_data or self._stream.read(_CHUNK)
            if not pending:
                return None
            self._inflate = zlib.decompressobj(31)
        try:
            raw = pending or self._stream.read(_CHUNK)
            if raw:
                return bytes(self._inflate.decompress(raw, _CHUNK))
        except zlib.error:
            pass  # as good as cut short: what was unpacked before it counts
        self.rest = True
        return None
