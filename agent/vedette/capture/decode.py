"""Packet headers, as far as counting needs them: who, which protocol, which ports. Pure.

Bytes in, a `Packet` out; malformed bytes give a `Packet` that says so. Nothing here raises.
"""

import struct
from dataclasses import dataclass, field

from vedette.capture import protocols

# Link types by ARPHRD_… (linux/if_arp.h): those with an Ethernet header, and those with none.
ETHERNET_LINK, LOOPBACK_LINK, BARE_LINK = 1, 772, 65534
ETHERNET = frozenset({ETHERNET_LINK, LOOPBACK_LINK})
RAW_IP = frozenset(
    {BARE_LINK, 512, 768, 769, 776, 778, 519}
)  # tun, ppp, tunnels: the network header

_IPV4, _IPV6, _ARP, _RARP = 0x0800, 0x86DD, 0x0806, 0x8035
# Tags before the EtherType, and how far it is to the next one: VLANs; VN- and E-tag; TrustSec's of
# security groups; what carries Ethernet in Ethernet: provider backbone bridges and FabricPath.
_TAGS = {0x8100: 4, 0x88A8: 4, 0x9100: 4, 0x8926: 6, 0x893F: 8, 0x8909: 8, 0x88E7: 18, 0x8903: 16}
_MACSEC, _ENCRYPTED, _WITH_CHANNEL = 0x88E5, 0x0C, 0x20
_MPLS = frozenset({0x8847, 0x8848})
_PPPOE_SESSION = 0x8864
_SERVICE_HEADER, _NSH = 0x894F, {1: _IPV4, 2: _IPV6}  # RFC 8300
_PPP = {0x0021: _IPV4, 0x0057: _IPV6}  # PPP's numbers of the network protocols
_LONGEST_802_3 = 1500  # where an EtherType would stand: up to here a length, LLC follows
_SNAP = b"\xaa\xaa\x03\0\0\0"
# Extension headers of IPv6 that are walked, and how many at most (RFC 8200; a bound against loops).
EXTENSIONS = frozenset({0, 43, 44, 51, 60, 135, 139, 140})
_MOST_EXTENSIONS = 8
_MOST_TAGS = 4
_FRAGMENT, _AUTHENTICATION = 44, 51
_IPV4_HEADER, _IPV6_HEADER = 20, 40  # bytes, without options
_WITH_PORTS = frozenset({6, 17, 33, 132, 136})  # TCP, UDP, DCCP, SCTP, UDP-Lite: ports come first

_PORTS = struct.Struct("!HH")
_ARP_BODY = struct.Struct("!HHBBH6s4s6s4s")


@dataclass(slots=True)  # not frozen: that would take as long as all the rest of the decoding
class Packet:
    """What was read of one packet. Nobody changes it.

    protocol: the name of what follows the network header ("tcp"), of the network protocol itself
    ("arp"), "fragment" (not the first one: no ports), "other" or "malformed". Addresses are raw
    bytes, empty where there are none; ports are 0 where there are none.
    sender_mac, sender: of a valid ARP packet. reason: why it is malformed, or not believed.
    at, end: where what follows the network header begins, and where it ends by the packet's own
    length (Ethernet pads short packets); both 0 where there is no such thing.
    """

    protocol: str
    source: bytes = b""
    destination: bytes = b""
    source_port: int = 0
    destination_port: int = 0
    sender_mac: bytes = b""
    sender: bytes = b""
    reason: str = field(default="", compare=False)
    at: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


def _malformed(reason: str) -> Packet:
    return Packet("malformed", reason=reason)


_CUT_LINK = _malformed("link header cut short")
_TAG_TOWER = _malformed("too many tags or labels")
_CUT_NETWORK = _malformed("network header cut short")
_NOT_THE_VERSION = _malformed("network header of another version")
_CUT_EXTENSION = _malformed("extension header cut short")
_BAD_LENGTH = _malformed("header length that cannot be")
# ARP all the same, but nobody's address is taken from it.
_BAD_ARP = Packet("arp", reason="arp of another kind")
_CUT_ARP = Packet("arp", reason="arp cut short")
_REVERSE_ARP = Packet("arp")
_UNKNOWN_LINK = Packet("unknown_link", reason="unknown link type")
_OTHER = Packet("other")


def packet(frame: bytes, link_type: int) -> Packet:
    """Read the headers of one frame of an interface of this type (ARPHRD)."""
    if link_type in ETHERNET:
        return _ethernet(frame)
    if link_type in RAW_IP:
        version = frame[0] >> 4 if frame else 0
        return _network({4: _IPV4, 6: _IPV6}.get(version, 0), frame, 0)
    return _UNKNOWN_LINK


def _ethernet(frame: bytes) -> Packet:
    at = 12
    for _ in range(_MOST_TAGS):
        if len(frame) < at + 2:
            return _CUT_LINK
        kind = frame[at] << 8 | frame[at + 1]
        step = _TAGS.get(kind)
        if kind == _MACSEC and len(frame) > at + 2 and not frame[at + 2] & _ENCRYPTED:
            step = 16 if frame[at + 2] & _WITH_CHANNEL else 8
        if step is None:
            break
        at += step
    else:
        return _TAG_TOWER
    at += 2
    if kind <= _LONGEST_802_3 and frame[at : at + 6] == _SNAP and len(frame) >= at + 8:
        kind, at = frame[at + 6] << 8 | frame[at + 7], at + 8
    if kind == _PPPOE_SESSION and len(frame) >= at + 8:
        squeezed = frame[at + 6] & 1  # the protocol, into one byte (RFC 1661, 6.5)
        kind = _PPP.get(frame[at + 6] if squeezed else frame[at + 6] << 8 | frame[at + 7], 0)
        at += 7 if squeezed else 8
    elif kind == _SERVICE_HEADER and len(frame) >= at + 8:
        kind, at = _NSH.get(frame[at + 3], 0), at + (frame[at + 1] & 0x3F) * 4
    if kind in _MPLS:
        return _mpls(frame, at)
    return _network(kind, frame, at)


def _mpls(frame: bytes, at: int) -> Packet:
    for _ in range(_MOST_TAGS):
        if len(frame) < at + 5:
            return _CUT_LINK
        bottom = frame[at + 2] & 1
        at += 4
        if bottom:
            return _network({4: _IPV4, 6: _IPV6}.get(frame[at] >> 4, 0), frame, at)
    return _TAG_TOWER


def _network(kind: int, frame: bytes, at: int) -> Packet:
    if kind == _IPV4:
        return _ipv4(frame, at)
    if kind == _IPV6:
        return _ipv6(frame, at)
    if kind == _ARP:
        return _arp(frame, at)
    return _REVERSE_ARP if kind == _RARP else _OTHER


def _ipv4(frame: bytes, at: int) -> Packet:  # noqa: PLR0911 - ways to be malformed
    if len(frame) < at + _IPV4_HEADER:
        return _CUT_NETWORK
    if frame[at] >> 4 != 4:  # noqa: PLR2004 - the version
        return _NOT_THE_VERSION
    header = (frame[at] & 15) * 4
    if header < _IPV4_HEADER:
        return _BAD_LENGTH
    if len(frame) < at + header:
        return _CUT_NETWORK
    source, destination = frame[at + 12 : at + 16], frame[at + 16 : at + 20]
    if (frame[at + 6] << 8 | frame[at + 7]) & 0x1FFF:
        return Packet("fragment", source, destination)
    # Segmentation left to the hardware shows a length of 0.
    length = (frame[at + 2] << 8 | frame[at + 3]) or len(frame)
    if length < header:
        return _BAD_LENGTH
    end = min(len(frame), at + length)
    return _transport(frame[at + 9], frame, at + header, end, source, destination)


def _ipv6(frame: bytes, at: int) -> Packet:
    if len(frame) < at + _IPV6_HEADER:
        return _CUT_NETWORK
    if frame[at] >> 4 != 6:  # noqa: PLR2004 - the version
        return _NOT_THE_VERSION
    source, destination = frame[at + 8 : at + 24], frame[at + 24 : at + 40]
    length = (frame[at + 4] << 8 | frame[at + 5]) or len(frame)
    number, at = frame[at + 6], at + 40
    end = min(len(frame), at + length)
    for _ in range(_MOST_EXTENSIONS):
        if number not in EXTENSIONS:
            return _transport(number, frame, at, end, source, destination)
        if len(frame) < at + 8:
            return _CUT_EXTENSION
        if number == _FRAGMENT and (frame[at + 2] << 8 | frame[at + 3]) & 0xFFF8:
            return Packet("fragment", source, destination)
        units = (
            8
            if number == _FRAGMENT
            else ((frame[at + 1] + 2) * 4 if number == _AUTHENTICATION else (frame[at + 1] + 1) * 8)
        )
        number, at = frame[at], at + units
    return Packet("malformed", source, destination, reason="too many extension headers")


def _transport(  # noqa: PLR0917 - it runs for every packet
    number: int, frame: bytes, at: int, end: int, source: bytes, destination: bytes
) -> Packet:
    name = protocols.name(number)
    if number in _WITH_PORTS and len(frame) >= at + 4:
        ports = _PORTS.unpack_from(frame, at)
        return Packet(name, source, destination, ports[0], ports[1], at=at, end=end)
    return Packet(name, source, destination, at=at, end=end)


def _arp(frame: bytes, at: int) -> Packet:
    if len(frame) < at + _ARP_BODY.size:
        return _CUT_ARP
    hardware, network, mac_size, address_size, _, mac, sender, _, _ = _ARP_BODY.unpack_from(
        frame, at
    )
    # Only Ethernet and IPv4 as they should be: other frames fake neighbours.
    if (hardware, network, mac_size, address_size) != (1, _IPV4, 6, 4):
        return _BAD_ARP
    return Packet("arp", sender_mac=mac, sender=sender, at=at)
