"""Packet headers, as far as counting needs them: who, which protocol, which ports. Pure.

Bytes in, a `Packet` out; malformed bytes give a `Packet` that says so. Nothing here raises.
"""

import struct
from dataclasses import dataclass, field

from vedette.capture import protocols

ETHERNET_LINK = 1
# Link types by ARPHRD_… (linux/if_arp.h): those with an Ethernet header, and those with none.
ETHERNET = frozenset({ETHERNET_LINK, 772})  # Ethernet, loopback
RAW_IP = frozenset({65534, 512, 768, 769, 776, 778, 519})  # tun, ppp, tunnels: the network header

_IPV4, _IPV6, _ARP = 0x0800, 0x86DD, 0x0806
_VLAN_TAGS = frozenset({0x8100, 0x88A8, 0x9100})
_MPLS = frozenset({0x8847, 0x8848})
_PPPOE_SESSION = 0x8864
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


@dataclass(frozen=True, slots=True)
class Packet:
    """What was read of one packet.

    protocol: the name of what follows the network header ("tcp"), of the network protocol itself
    ("arp"), "fragment" (not the first one: no ports), "other" or "malformed". Addresses are raw
    bytes, empty where there are none; ports are 0 where there are none.
    sender_mac, sender: of a valid ARP packet. reason: why it is malformed.
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
_BAD_ARP = _malformed("arp of another kind")
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
        if kind not in _VLAN_TAGS:
            break
        at += 4
    else:
        return _TAG_TOWER
    at += 2
    if kind <= _LONGEST_802_3 and frame[at : at + 6] == _SNAP and len(frame) >= at + 8:
        kind, at = frame[at + 6] << 8 | frame[at + 7], at + 8
    if kind == _PPPOE_SESSION and len(frame) >= at + 8:
        kind = _PPP.get(frame[at + 6] << 8 | frame[at + 7], 0)
        at += 8
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
    return _OTHER


def _ipv4(frame: bytes, at: int) -> Packet:
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
        return _CUT_NETWORK
    hardware, network, mac_size, address_size, _, mac, sender, _, _ = _ARP_BODY.unpack_from(
        frame, at
    )
    # Only Ethernet and IPv4 as they should be: other frames fake neighbours.
    if (hardware, network, mac_size, address_size) != (1, _IPV4, 6, 4):
        return _BAD_ARP
    return Packet("arp", sender_mac=mac, sender=sender, at=at)
