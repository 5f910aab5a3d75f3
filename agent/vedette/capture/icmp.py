"""What was refused, by the errors of ICMP and ICMPv6 (RFC 792, RFC 4443). Nothing raises.

A host that is asked at a closed UDP port says so: its own errors are the trace of a UDP scan, whose
datagrams themselves look like any others.
"""

from vedette.capture import decode
from vedette.capture.decode import Packet
from vedette.capture.worth import UNREACHABLE

_HEADER = 8
# Codes: port unreachable, and what a firewall that rejects says.
_REFUSED = frozenset({3, 9, 10, 13})
_UNREACHABLE_6, _REFUSED_6 = 1, frozenset({1, 4, 5, 6})


def refused(message: bytes, *, ipv6: bool) -> Packet | None:
    """Return the packet that this error refuses, as far as it is quoted, or None."""
    if len(message) <= _HEADER:
        return None
    kind, code = message[0], message[1]
    wanted, codes = (_UNREACHABLE_6, _REFUSED_6) if ipv6 else (UNREACHABLE, _REFUSED)
    if kind != wanted or code not in codes:
        return None
    # What is quoted begins with its network header.
    quoted = decode.packet(message[_HEADER:], decode.BARE_LINK)
    return quoted if quoted.source else None
