"""Remote-Write 1.0 on the wire (https://prometheus.io/docs/specs/prw/remote_write_spec/).

Three messages of Protocol Buffers, written by hand: the library would cost 3.6 MiB and five times
the processor time (DECISIONS.md). The compression is a library's.

    WriteRequest {repeated TimeSeries = 1}     TimeSeries {repeated Label = 1, repeated Sample = 2}
    Label {string name = 1, string value = 2}  Sample {double value = 1, int64 timestamp = 2}
"""

import struct
from collections.abc import Iterable, Mapping

import cramjam

HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
# The value of a series that has ended: a NaN with a payload of its own.
STALE = struct.pack("<Q", 0x7FF0000000000002)

_FIRST, _SECOND = b"\x0a", b"\x12"  # field 1 or 2, with a length (wire type 2)
_VALUE, _TIMESTAMP = b"\x09", b"\x10"  # field 1 of 64 bits; field 2, a varint
_SHORT = tuple(bytes((value,)) for value in range(0x80))
_double = struct.Struct("<d").pack


def number(value: float) -> bytes:
    """Return a value as a sample holds it."""
    return _double(value)


def labels(name: str, own: Mapping[str, str], external: Mapping[str, str]) -> bytes:
    """Return a series' labels: sorted by name, the empty ones left out, its own before others'."""
    # The specification wants the order of bytes: Python's for text is that of UTF-8's.
    merged = {**external, **own, "__name__": name}
    pairs = (
        _field(_FIRST, key.encode()) + _field(_SECOND, merged[key].encode("utf-8", "replace"))
        for key in sorted(merged)
        if merged[key]
    )
    return b"".join(_field(_FIRST, pair) for pair in pairs)


def request(samples: Iterable[tuple[bytes, bytes]], timestamp: int) -> bytes:
    """Return a compressed WriteRequest. samples: (labels, value). timestamp: ms since 1970."""
    # All samples of one moment are equally long, and end equally.
    end = _TIMESTAMP + _varint(timestamp)
    begin = _SECOND + _varint(len(_VALUE) + len(STALE) + len(end)) + _VALUE
    size = len(begin) + len(STALE) + len(end)
    parts: list[bytes] = []
    for of_series, value in samples:
        parts += (_FIRST, _varint(len(of_series) + size), of_series, begin, value, end)
    return bytes(cramjam.snappy.compress_raw(b"".join(parts)))


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Return a number, seven bits a byte, the least first; a negative one as if of 64 bits."""
    if 0 <= value < len(_SHORT):  # nearly all: the lengths of labels
        return _SHORT[value]
    value &= 0xFFFFFFFFFFFFFFFF
    found = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
