"""Real-time media (RFC 3550), which has no port of its own and hardly a header. Nothing raises."""

_VERSION = 2
_RTP_HEADER = 12
# Packet types of RTCP (IANA), as they stand in the second byte; RTP's with its marker bit do not.
_RTCP = range(200, 208)
_STATIC, _DYNAMIC = range(35), range(96, 128)
_MOST_LOST, _LONGEST_STEP = 16, 1 << 20  # packets, and units of the clock, between two


def rtcp(p: bytes) -> str:
    """Return "rtcp" if this is a report: whole words, a kind, a length that fits."""
    if len(p) < 8 or len(p) % 4 or p[0] >> 6 != _VERSION or p[1] not in _RTCP:
        return ""
    return "rtcp" if 4 <= (p[2] << 8 | p[3]) * 4 + 4 <= len(p) else ""


class Stream:
    """Whether datagrams that might be RTP follow one another. Bounded by how many it is shown."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: dict[bytes, tuple[int, int]] = {}  # source and kind: sequence, time

    def is_rtp(self, p: bytes) -> bool:
        """Return whether this continues what came before: one such header may be chance."""
        if len(p) < _RTP_HEADER or p[0] >> 6 != _VERSION:
            return False
        kind = p[1] & 0x7F
        if kind not in _STATIC and kind not in _DYNAMIC:
            return False
        source = bytes((kind,)) + p[8:12]
        sequence, time = int.from_bytes(p[2:4], "big"), int.from_bytes(p[4:8], "big")
        before = self._last.get(source)
        self._last[source] = sequence, time
        return (
            before is not None
            and any(p[8:12])
            and 1 <= (sequence - before[0]) % 65536 <= _MOST_LOST
            and (time - before[1]) % 2**32 < _LONGEST_STEP
        )
