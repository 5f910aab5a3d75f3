"""Which family of systems sends such a SYN.

The table is ours, from how TCP stacks are known to behave: the first TTL (64; Windows has 128, many
devices 255), and the order of the TCP options, which is each stack's own. Families only: a version
cannot be told.
"""

from dataclasses import dataclass
from typing import Literal

Confidence = Literal["exact", "generic", "fuzzy"]

_END, _NOP, _MSS, _SCALE, _SACK, _TIMESTAMP = 0, 1, 2, 3, 4, 8
_LETTERS = {_NOP: "n", _MSS: "m", _SCALE: "w", _SACK: "s", _TIMESTAMP: "t"}
_MOST_OPTIONS = 20
_TTLS = (32, 64, 128, 255)
# Order of the options -> family, by the first TTL. m: MSS, s: SACK permitted, t: timestamp, w:
# window scale, n: no operation, e: end of the list.
_LAYOUTS: dict[tuple[int, str], tuple[str, Confidence]] = {
    (64, "mstnw"): ("Linux", "exact"),
    (64, "mnwnnts"): ("macOS", "generic"),
    (64, "mnwnntse"): ("macOS", "exact"),
    (64, "mnwst"): ("BSD", "exact"),  # FreeBSD
    (64, "mnnsnwnnt"): ("BSD", "exact"),  # OpenBSD
    (64, "mnwsnnt"): ("BSD", "generic"),  # NetBSD
    (64, "mnwnnt"): ("BSD", "fuzzy"),
    (64, "mnnsnw"): ("Linux", "generic"),  # timestamps off
    (64, "mst"): ("Linux", "generic"),
    (128, "mnwnns"): ("Windows", "exact"),
    (128, "mnwstnn"): ("Windows", "generic"),
    (128, "mnwst"): ("Windows", "generic"),
    (128, "mnns"): ("Windows", "generic"),
    (128, "mnwnntnns"): ("Windows", "exact"),
    (128, "mstnw"): ("Windows", "fuzzy"),
    (255, "mnnsnw"): ("network device", "fuzzy"),
    (255, "m"): ("network device", "generic"),
}
_SCANNER_WINDOWS = frozenset({1024, 2048, 3072, 4096})


@dataclass(frozen=True, slots=True)
class Syn:
    """What of a SYN tells its sender's system. layout: the order of its options, in letters."""

    ttl: int
    window: int
    mss: int
    scale: int
    layout: str


def read(tcp: bytes, ttl: int) -> Syn | None:
    """Return the signature of a TCP header with its options; None if they do not hold together."""
    if len(tcp) < 20:
        return None
    end = min(len(tcp), (tcp[12] >> 4) * 4)
    letters, mss, scale, at = "", 0, -1, 20
    for _ in range(_MOST_OPTIONS):
        if at >= end:
            break
        kind = tcp[at]
        if kind == _END:
            letters += "e"
            break
        if kind == _NOP:
            letters, at = letters + "n", at + 1
            continue
        size = tcp[at + 1] if at + 1 < end else 0
        if size < 2 or at + size > end:
            return None
        if kind == _MSS and size == 4:
            mss = tcp[at + 2] << 8 | tcp[at + 3]
        elif kind == _SCALE and size == 3:
            scale = tcp[at + 2]
        letters, at = letters + _LETTERS.get(kind, "?"), at + size
    return Syn(ttl, tcp[14] << 8 | tcp[15], mss, scale, letters)


def family(syn: Syn) -> tuple[str, Confidence] | None:
    """Return (family, how sure) of the sender of this SYN, None if nothing fits."""
    first = next((known for known in _TTLS if syn.ttl <= known), 255)
    # nmap's own SYN has one option and a round window: it says nothing of the system behind it.
    if syn.layout == "m" and syn.window in _SCANNER_WINDOWS:
        return None
    found = _LAYOUTS.get((first, syn.layout))
    if found is not None:
        return found
    if first == 128 and syn.layout.startswith("mnw"):
        return "Windows", "fuzzy"
    if first == 64 and syn.layout.startswith("mst"):
        return "Linux", "fuzzy"
    return None
