"""What a UDP datagram says. Each check knows one protocol; the first fits."""

import re
from collections.abc import Sequence

from vedette.capture.classify import dns, expected, media
from vedette.capture.classify.shapes import ber, is_kerberos, is_ldap, number, rpc

# Requests, and what a device answers, from whatever port, to the port that asked.
_SSDP = re.compile(
    rb"(M-SEARCH|NOTIFY) \* HTTP/1\.[01]\r?\n|HTTP/1\.[01] 200 [^\0]*?\n(ST|USN) *:", re.IGNORECASE
)
_SIP = re.compile(
    rb"SIP/2\.0 \d{3}|(INVITE|REGISTER|ACK|BYE|CANCEL|OPTIONS|SUBSCRIBE|NOTIFY|MESSAGE|INFO|PRACK"
    rb"|UPDATE|REFER|PUBLISH) (sips?|tel):"
)
_DHT = re.compile(rb"d1:[aeqr](d2:id20:|li\d+e|d\d)|d1:ad|d1:rd|d2:ip\d:")
_TFTP = re.compile(rb"\0[\1\2][^\0]{1,255}\0(netascii|octet|mail)\0", re.IGNORECASE)
_DHCP_COOKIE = b"\x63\x82\x53\x63"
# RFC 9000 and 9369; the IETF's drafts; Google's; mvfst's.
_QUIC_VERSIONS = frozenset(
    {1, 0x6B3343CF, 0x709A50C4, 0x51474F01, *range(0xFF000001, 0xFF000023),
     *range(0xFACEB000, 0xFACEB010)}
)  # fmt: skip
_RAKNET = bytes.fromhex("00ffff00fefefefefdfdfdfd12345678")
_GNUTELLA = frozenset({0, 1, 2, 0x30, 0x31, 0x32, 0x40, 0x44, 0x80, 0x81})
_CLASSIC_STUN = (b"\0\1", b"\1\1", b"\1\x11")
_STUN_COOKIE = b"\x21\x12\xa4\x42"


def _is_quic_version(told: bytes) -> bool:
    version = number(told, 0, 4)
    return (
        version in _QUIC_VERSIONS
        or version & 0x0F0F0F0F == 0x0A0A0A0A  # reserved, to provoke a negotiation
        or (told[:1] in (b"Q", b"T") and told[1:].isdigit())
    )


def is_quic(p: bytes) -> bool:
    """Return whether this is QUIC's long header with a version in use, or Google's first QUIC."""
    if len(p) < 7:
        return False
    if p[0] & 0x80:
        if any(p[1:5]):
            return _is_quic_version(p[1:5]) and (p[5] <= 20 or p[1:2] == b"Q")
        at = 7 + p[5] + number(p, 6 + p[5], 1)  # a negotiation: all that a server speaks
        offered = [p[n : n + 4] for n in range(at, len(p), 4)]
        return any(map(_is_quic_version, offered))
    return bool(
        p[0] & 0x09 in (0x09, 0x01) and len(p) > 13 and p[9:10] == b"Q" and p[10:13].isdigit()
    )


def _is_snmp(p: bytes) -> bool:
    tag, at = ber(p)
    if tag != 0x30 or p[at : at + 2] != b"\x02\x01" or len(p) < at + 4:
        return False
    return (p[at + 2] in (0, 1) and p[at + 3] == 4) or (p[at + 2] == 3 and p[at + 3] == 0x30)


def _is_isakmp(p: bytes) -> bool:
    return len(p) >= 28 and p[17] in (0x10, 0x20) and number(p, 24, 4) == len(p) and any(p[:8])


def speaks(p: bytes, ports: frozenset[int], usual: Sequence[str]) -> str:
    """Return which protocol this datagram is, "" if it does not say. usual: at its ports."""
    size = len(p)
    for name in usual:
        if size >= 12 and name in ("dns", "mdns", "llmnr") and dns.read(p):
            return name
    if size >= 240 and p[236:240] == _DHCP_COOKIE and p[0] in (1, 2):
        return "dhcp"
    if size >= 20 and p[4:8] == _STUN_COOKIE and p[0] < 0x40 and number(p, 2, 2) == size - 20:
        return "stun"
    if _SSDP.match(p):
        return "ssdp"
    if _SIP.match(p):
        return "sip"
    if _DHT.match(p):
        return "bittorrent"
    if (
        size >= 13
        and p[0] in (0x14, 0x15, 0x16, 0x17)
        and p[1:3] in (b"\xfe\xff", b"\xfe\xfd", b"\1\0")
    ):
        if number(p, 11, 2) <= size:
            return "dtls"
    if (size == 148 and p[:4] == b"\1\0\0\0") or (size == 92 and p[:4] == b"\2\0\0\0"):
        return "wireguard"
    if size >= 32 and size % 16 == 0 and p[:4] == b"\4\0\0\0" and p[12:16] == b"\0\0\0\0":
        return "wireguard"
    if is_quic(p):
        return "quic"
    if _is_snmp(p):
        return "snmp"
    if _TFTP.match(p):
        return "tftp"
    if _is_isakmp(p) or (p[:4] == b"\0\0\0\0" and _is_isakmp(p[4:])):
        return "isakmp"
    if is_kerberos(p) and ports & {88, 464}:
        return "kerberos"
    if size >= 40 and (called := rpc(p)) and (called != "rpc?" or ports & {111, 2049}):
        return "nfs" if called == "rpc?" and 2049 in ports else called.rstrip("?")
    if 389 in ports and is_ldap(p):
        return "ldap"
    for name in usual:
        check = expected.UDP.get(name)
        if check is not None and check(p):
            return name
    if (not usual or usual[0] == "quic") and size >= 20 and _strict_dns(p):
        return "dns"
    return _anywhere(p)


def _anywhere(p: bytes) -> str:
    """Return what else shows itself at whatever port."""
    size = len(p)
    # RFC 3489 had no cookie.
    if size >= 20 and p[:2] in _CLASSIC_STUN and number(p, 2, 2) == size - 20:
        return "stun"
    if _RAKNET in p[1:33]:
        return "raknet"
    if p[:4] == b"RTPS" and size >= 20:
        return "rtps"
    if p[:4] == b"MIOP":
        return "giop"
    if p.startswith(b"BT-SEARCH * HTTP/"):
        return "bittorrent"
    # DCE/RPC without connections: version 4, a kind, how numbers are written, the body's length.
    if size >= 80 and p[0] == 4 and p[1] <= 19 and p[4] in (0, 0x10) and p[5] <= 3:
        order = "little" if p[4] else "big"
        length = number(p, 74, 2, order)
        if p[6] == 0 and (0 < length <= size - 80 or length == size - 80):
            return "dcerpc"
    # A GUID, a kind (0x44: its distributed table), time to live, hops, the length of what follows.
    if size >= 23 and p[16] in _GNUTELLA and number(p, 19, 4, "little") == size - 23:
        return "gnutella"
    if size >= 188 and size % 188 == 0 and set(p[::188]) == {0x47}:
        return "mpegts"
    return media.rtcp(p)


def _strict_dns(p: bytes) -> bool:
    """Return whether this is DNS where nobody expects it: one question, a name, nothing odd."""
    message = dns.read(p)
    if message is None or len(message.questions) != 1 or number(p, 4, 2) != 1:
        return False
    name, _ = message.questions[0]
    return "." in name and name.isprintable() and name.isascii()
