"""DNS messages (RFC 1035), as far as anybody may say them: names, types, how many. Nothing raises.

mDNS, LLMNR and NetBIOS' name service speak the same format.
"""

import struct
from dataclasses import dataclass

_HEADER = struct.Struct("!HHHHHH")
_LONGEST_NAME = 255
_MOST_JUMPS = 16
_MOST_RECORDS = 64
_LARGEST_OPCODE = 6
_QUERY, _POINTER = 0x80, 0xC0
_A, _PTR, _TXT, _AAAA, _SRV = 1, 12, 16, 28, 33
# Of questions: those that are in use, not the whole registry, so that chance bytes rarely fit.
_TYPES = frozenset({*range(1, 66), 99, *range(249, 260), 32768, 32769, 65})
_CLASSES = frozenset({1, 3, 4, 254, 255})


@dataclass(frozen=True, slots=True)
class Message:
    """response; the questions: (name, type); answers: (name, type, data); rcode."""

    response: bool
    rcode: int
    questions: tuple[tuple[str, int], ...]
    answers: tuple[tuple[str, int, bytes], ...]


def read(payload: bytes) -> Message | None:
    """Return the message, or None if this is none."""
    if len(payload) < _HEADER.size:
        return None
    _, flags, asked, answered, authority, additional = _HEADER.unpack_from(payload)
    if (flags >> 11 & 15) > _LARGEST_OPCODE or asked + answered + authority + additional == 0:
        return None
    if max(asked, answered, authority, additional) > 4 * _MOST_RECORDS:
        return None
    at, questions = _HEADER.size, []
    for _ in range(min(asked, _MOST_RECORDS)):
        got = _name(payload, at)
        if got is None or len(payload) < got[1] + 4:
            return None
        kind, klass = struct.unpack_from("!HH", payload, got[1])
        if kind not in _TYPES or klass & 0x7FFF not in _CLASSES:
            return None
        questions.append((got[0], kind))
        at = got[1] + 4
    answers = _records(payload, at, min(answered, _MOST_RECORDS))
    if not asked and not answers and answered:
        return None
    if not asked and not answered and (authority + additional) and len(payload) <= at:
        return None
    return Message(bool(flags >> 15), flags & 15, tuple(questions), answers)


def _records(payload: bytes, at: int, number: int) -> tuple[tuple[str, int, bytes], ...]:
    records = []
    for _ in range(number):
        got = _name(payload, at)
        if got is None or len(payload) < got[1] + 10:
            break
        kind, _, _, size = struct.unpack_from("!HHIH", payload, got[1])
        at = got[1] + 10 + size
        records.append((got[0], kind, payload[got[1] + 10 : at]))
    return tuple(records)


def _name(payload: bytes, at: int) -> tuple[str, int] | None:
    """Return the name that stands there and where it ends; None if none does."""
    labels: list[str] = []
    size, end = 0, 0
    for _ in range(_LONGEST_NAME):
        if at >= len(payload):
            return None
        length = payload[at]
        if length & _POINTER == _POINTER:
            if at + 1 >= len(payload):
                return None
            end = end or at + 2
            to = (length & 0x3F) << 8 | payload[at + 1]
            if to >= at:  # only backwards, so that it comes to an end
                return None
            at = to
            continue
        if length & _POINTER:
            return None
        at += 1
        if not length:
            return ".".join(labels), end or at
        size += length + 1
        if size > _LONGEST_NAME or at + length > len(payload):
            return None
        labels.append(payload[at : at + length].decode("ascii", "replace"))
        at += length
    return None
