"""Link types of capture files (https://www.tcpdump.org/linktypes.html), made into two. Total.

A frame of any of them comes out as Ethernet or as a bare network header, which is what
capture/decode.py reads; one that has no Ethernet header gets one of zeros instead of its own.
"""

from vedette.capture.decode import BARE_LINK, ETHERNET_LINK

UNKNOWN = -1

Frame = tuple[int, bytes]  # ARPHRD, bytes

_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
# BSD's number of IPv6 depends on the system: NetBSD, FreeBSD, macOS; Linux.
_FAMILIES = {2: _IPV4, 10: _IPV6, 24: _IPV6, 28: _IPV6, 30: _IPV6}
_SLARP = b"\x80\x35"  # Cisco's; elsewhere it is the reverse ARP's
_PPP = {0x21: _IPV4, 0x57: _IPV6, 0x281: b"\x88\x47", 0x283: b"\x88\x48"}  # RFC 1661; MPLS
_NLPID = {0xCC: _IPV4, 0x8E: _IPV6}  # of frame relay and the like (RFC 2427)
_SNAP = (b"\xaa\xaa\x03\0\0\0", b"\xaa\xaa\x03\0\0\xf8")
_ARCNET = {212: _IPV4, 240: _IPV4, 213: b"\x08\x06", 241: b"\x08\x06", 196: _IPV6}  # RFC 1201, 1051
# Where the EtherType stands, how long the header is, where the sender's MAC is and its length.
_COOKED = {
    104: (2, 4, 0, 0),  # Cisco's HDLC
    113: (14, 16, 6, 5),
    138: (16, 18, 0, 0),  # IP over FireWire
    242: (40, 44, 0, 0),  # IP over InfiniBand
    276: (0, 20, 12, 11),
}
_MOST_NESTED = 4


def normal(link: int, data: bytes, nested: int = 0) -> Frame:  # noqa: C901, PLR0911, PLR0912 - one per link type
    """Return (ARPHRD, frame) of a frame of this link type."""
    match link:
        case 1:
            return ETHERNET_LINK, data
        case 12 | 14 | 101 | 228 | 229:
            return BARE_LINK, data
        case 0 | 108:  # the family in the host's byte order, or the network's; BSD's and Linux's
            family = min(int.from_bytes(data[:4], "little"), int.from_bytes(data[:4], "big"))
            return _ethernet(_FAMILIES.get(family, data[2:4]), data[4:])  # AIX: an EtherType
        case 9 | 50 if data[:1] in (b"\x0f", b"\x8f"):  # Cisco's HDLC, on a serial line
            return _cooked(104, data)
        case 9 | 50:
            return _ppp(data)
        case 204:  # a byte for the direction before it
            return _ppp(data[1:])
        case 51:
            return _ethernet(b"\x88\x64", data)
        case 104 | 113 | 138 | 242 | 276:
            return _cooked(link, data)
        case 6 | 10:  # Token Ring, FDDI: LLC after two addresses, and after a route if one is told
            at = 14 if link == 6 else 13
            if link == 6 and len(data) > at and data[8] & 0x80:
                at += data[at] & 0x1F
            return _llc(data[at:])
        case 7 | 129:
            return _arcnet(data if link == 7 else data[:2] + data[4:])
        case 100:  # ATM, RFC 2684
            return _llc(data)
        case 105:
            return _wireless(data)
        case 107:
            return _frame_relay(data)
        case 119 | 127 | 163 | 192 if nested < _MOST_NESTED:
            return _behind_own_length(link, data, nested)
        case 226:  # Solaris' IPNET: version, family, types, zones
            return (
                _ethernet(_FAMILIES.get({26: 30}.get(data[1], data[1]), b""), data[24:])
                if len(data) > 24
                else (ETHERNET_LINK, b"")
            )
        case 239:
            return _nflog(data)
        case 149 | 258 if nested < _MOST_NESTED and len(data) >= 12:  # Apple's PKTAP
            size, kind, inner = (int.from_bytes(data[at : at + 4], "little") for at in (0, 4, 8))
            if kind <= 1 and 12 <= size <= len(data):
                return normal(inner, data[size:], nested + 1)
    return UNKNOWN, data


def _ppp(data: bytes) -> Frame:
    at = 2 if data[:2] == b"\xff\x03" else 0
    # The protocol may be squeezed into one byte, which is odd then (RFC 1661, 6.5).
    size = 1 if data[at : at + 1] and data[at] & 1 else 2
    number = int.from_bytes(data[at : at + size], "big")
    return _ethernet(_PPP.get(number, b"\0\0"), data[at + size :])


def _cooked(link: int, data: bytes) -> Frame:
    kind, size, mac, mac_size = _COOKED[link]
    if len(data) < size:
        return ETHERNET_LINK, b""
    if link == 104 and data[2:4] == _SLARP:
        return _ethernet(b"", data[size:])
    told = data[mac : mac + 6] if mac and data[mac_size] == 6 else bytes(6)
    return _ethernet(data[kind : kind + 2], data[size:], told)


def _llc(data: bytes, source: bytes = bytes(6)) -> Frame:
    """Return what stands behind LLC's header, if that is SNAP's; else it is of no kind we count."""
    if data[:6] in _SNAP:
        return _ethernet(data[6:8], data[8:], source)
    return _ethernet(b"", data, source)


def _arcnet(data: bytes) -> Frame:
    kind = _ARCNET.get(data[2], b"") if len(data) > 2 else b""
    if len(data) > 3 and data[2] not in (240, 241):  # RFC 1201 has a flag, and a sequence number
        return _ethernet(kind, data[10:] if data[3] == 0xFF else data[6:])
    return _ethernet(kind, data[3:])


def _wireless(data: bytes) -> Frame:
    """802.11: data frames that are not encrypted carry LLC; all else is of no kind we count."""
    if len(data) < 24:
        return ETHERNET_LINK, b""
    kind, flags = data[0], data[1]
    if kind & 0x0C != 0x08 or kind & 0x40 or flags & 0x40:
        return _ethernet(b"", b"")
    size = 30 if flags & 3 == 3 else 24
    if kind & 0x80:  # quality of service; the last bit: a control field more
        size += 6 if flags & 0x80 else 2
    source = {0: 10, 1: 10, 2: 16}.get(flags & 3, 24)
    return _llc(data[size:], data[source : source + 6].ljust(6, b"\0"))


def _behind_own_length(link: int, data: bytes, nested: int) -> Frame:
    inner = 105
    if link == 192:  # PPI: the link type is told as well
        size, inner = int.from_bytes(data[2:4], "little"), int.from_bytes(data[4:8], "little")
    elif link == 127:
        size = int.from_bytes(data[2:4], "little")
    else:
        size = int.from_bytes(data[4:8], "big" if link == 163 or data[:1] == b"\x80" else "little")
    if not 8 <= size <= len(data):
        return UNKNOWN, data
    return normal(inner, data[size:], nested + 1)


def _frame_relay(data: bytes) -> Frame:
    size = 2 if data[1:2] and data[1] & 1 else 4
    if data[size : size + 1] == b"\x03":  # unnumbered information, perhaps a byte of padding
        at = size + (2 if data[size + 1 : size + 2] == b"\0" else 1)
        number = data[at] if len(data) > at else 0
        if number == 0x80:  # SNAP
            return _ethernet(data[at + 4 : at + 6], data[at + 6 :])
        return _ethernet(_NLPID.get(number, b""), data[at + 1 :])
    return _ethernet(data[size : size + 2], data[size + 2 :])  # Cisco's: an EtherType


def _nflog(data: bytes) -> Frame:
    """Linux' firewall log: a family, then (length, kind, value), of which kind 9 is the packet."""
    at = 4
    while at + 4 <= len(data):
        size, kind = (int.from_bytes(data[at + n : at + n + 2], "little") for n in (0, 2))
        if kind == 9:
            return _ethernet(_FAMILIES.get(data[0], b""), data[at + 4 : at + size])
        at += max(4, size + -size % 4)
    return ETHERNET_LINK, b""


def _ethernet(kind: bytes, payload: bytes, source: bytes = bytes(6)) -> Frame:
    return ETHERNET_LINK, bytes(6) + source + (kind.ljust(2, b"\0")) + payload
