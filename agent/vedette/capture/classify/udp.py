"""What a UDP datagram says. Each check knows one protocol; the first fits."""

import re
from collections.abc import Callable

from vedette.capture.classify import dns
from vedette.capture.classify.tcp import ber, is_kerberos, is_ldap, rpc

_SSDP = re.compile(rb"(M-SEARCH|NOTIFY) \* HTTP/1\.[01]\r?\n")
_SIP = re.compile(
    rb"SIP/2\.0 \d{3}|(INVITE|REGISTER|ACK|BYE|CANCEL|OPTIONS|SUBSCRIBE|NOTIFY|MESSAGE|INFO|PRACK"
    rb"|UPDATE|REFER|PUBLISH) (sips?|tel):"
)
_DHT = re.compile(rb"d1:[aeqr](d2:id20:|li\d+e|d\d)|d1:ad|d1:rd|d2:ip\d:")
_SYSLOG = re.compile(rb"<\d{1,3}>")
_TFTP = re.compile(rb"\0[\1\2][^\0]{1,255}\0(netascii|octet|mail)\0", re.IGNORECASE)
_MGCP = re.compile(rb"(EPCF|CRCX|MDCX|DLCX|RQNT|NTFY|AUEP|AUCX|RSIP) \d+ |\d{3} \d+")
_DHCP_COOKIE = b"\x63\x82\x53\x63"
_QUIC_VERSIONS = frozenset({0, 1, 0x6B3343CF, 0x709A50C4, 0x51474F01})
_STUN_COOKIE = b"\x21\x12\xa4\x42"


def _number(payload: bytes, at: int, size: int) -> int:
    return int.from_bytes(payload[at : at + size], "big")


def is_quic(p: bytes) -> bool:
    """Return whether this is QUIC's long header with a version in use, or Google's first QUIC."""
    if len(p) < 7:
        return False
    if p[0] & 0x80:
        version = _number(p, 1, 4)
        known = (
            version in _QUIC_VERSIONS
            or version >> 8 == 0xFF0000  # drafts of the IETF
            or version >> 4 == 0xFACEB00  # mvfst
            or version & 0x0F0F0F0F == 0x0A0A0A0A  # reserved, to provoke a negotiation
            or (p[1:2] in (b"Q", b"T") and p[2:5].isdigit())
        )
        return known and (p[5] <= 20 or p[1:2] == b"Q")
    return bool(
        p[0] & 0x09 in (0x09, 0x01) and len(p) > 13 and p[9:10] == b"Q" and p[10:13].isdigit()
    )


def _is_snmp(p: bytes) -> bool:
    tag, at = ber(p)
    if tag != 0x30 or p[at : at + 2] != b"\x02\x01" or len(p) < at + 4:
        return False
    return (p[at + 2] in (0, 1) and p[at + 3] == 4) or (p[at + 2] == 3 and p[at + 3] == 0x30)


def _is_isakmp(p: bytes) -> bool:
    return len(p) >= 28 and p[17] in (0x10, 0x20) and _number(p, 24, 4) == len(p) and any(p[:8])


def speaks(p: bytes, ports: frozenset[int], expected: str) -> str:
    """Return which protocol this datagram is, "" if it does not say."""
    size = len(p)
    if size >= 12 and expected in ("dns", "mdns", "llmnr") and dns.read(p):
        return expected
    if size >= 12 and expected == "nbns" and _number(p, 4, 2) <= 2:
        return "nbns"
    if size >= 240 and p[236:240] == _DHCP_COOKIE and p[0] in (1, 2):
        return "dhcp"
    if size >= 20 and p[4:8] == _STUN_COOKIE and p[0] < 0x40 and _number(p, 2, 2) == size - 20:
        return "stun"
    if _SSDP.match(p) or (1900 in ports and p.startswith(b"HTTP/1.1 200")):
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
        if _number(p, 11, 2) <= size:
            return "dtls"
    if (size == 148 and p[:4] == b"\1\0\0\0") or (size == 92 and p[:4] == b"\2\0\0\0"):
        return "wireguard"
    if size >= 32 and size % 16 == 0 and p[:4] == b"\4\0\0\0" and p[7:8] == p[15:16] == b"\0":
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
        return "nfs" if 2049 in ports else called.rstrip("?")
    if 389 in ports and is_ldap(p):
        return "ldap"
    check = _AT_ITS_PORT.get(expected)
    if check is not None and check(p):
        return expected
    if expected in ("", "quic") and size >= 20 and _strict_dns(p):
        return "dns"
    return ""


def _strict_dns(p: bytes) -> bool:
    """Return whether this is DNS where nobody expects it: one question, a name, nothing odd."""
    message = dns.read(p)
    if message is None or len(message.questions) != 1 or _number(p, 4, 2) != 1:
        return False
    name, _ = message.questions[0]
    return "." in name and name.isprintable() and name.isascii()


_AT_ITS_PORT: dict[str, Callable[[bytes], bool]] = {
    "ntp": lambda p: len(p) >= 12 and 1 <= (p[0] >> 3 & 7) <= 4 and 1 <= (p[0] & 7) <= 7,
    "dhcp": lambda p: len(p) >= 44 and p[0] in (1, 2),
    "dhcpv6": lambda p: len(p) >= 4 and 1 <= p[0] <= 36,
    "radius": lambda p: len(p) >= 20 and _number(p, 2, 2) <= len(p),
    "syslog": lambda p: bool(_SYSLOG.match(p)),
    "tftp": lambda p: len(p) >= 4 and p[0] == 0 and 1 <= p[1] <= 6,
    "openvpn": lambda p: len(p) >= 14 and 1 <= p[0] >> 3 <= 10,
    "coap": lambda p: len(p) >= 4 and p[0] >> 6 == 1 and p[0] & 15 <= 8,
    "l2tp": lambda p: len(p) >= 6 and p[1] & 15 in (2, 3),
    "gtp": lambda p: len(p) >= 8 and p[0] >> 5 in (1, 2),
    "vxlan": lambda p: len(p) >= 8 and p[0] & 8 == 8,
    "geneve": lambda p: len(p) >= 8 and p[0] >> 6 == 0,
    "rip": lambda p: len(p) >= 4 and p[0] in (1, 2) and p[1] in (1, 2),
    "ripng": lambda p: len(p) >= 4 and p[0] in (1, 2) and p[1] == 1,
    "hsrp": lambda p: len(p) >= 20,
    "bfd": lambda p: len(p) >= 24 and p[0] >> 5 in (0, 1),
    "netflow": lambda p: len(p) >= 16 and _number(p, 0, 2) in (1, 5, 7, 8, 9, 10),
    "sflow": lambda p: len(p) >= 28 and _number(p, 0, 4) in (2, 4, 5),
    "bacnet": lambda p: p[:1] == b"\x81",
    "mgcp": lambda p: bool(_MGCP.match(p)),
    "nbdgm": lambda p: len(p) >= 10 and 0x10 <= p[0] <= 0x16,
    "slp": lambda p: p[:1] in (b"\1", b"\2"),
    "rmcp": lambda p: p[:1] == b"\x06",
    "ws-discovery": lambda p: p.lstrip().startswith(b"<"),
    "ipsec": lambda p: p == b"\xff" or len(p) >= 8,
    "dropbox": lambda p: p[:1] == b"{",
    "ldp": lambda p: p[:2] == b"\0\1",
    "ptp": lambda p: len(p) >= 34 and p[1] & 15 in (1, 2),
    "memcached": lambda p: len(p) >= 8,
    "capwap": lambda p: len(p) >= 8,
    "nat-pmp": lambda p: p[:1] in (b"\0", b"\2"),
    "wireguard": lambda p: p[:1] in (b"\3", b"\4") and p[1:4] == b"\0\0\0",
}  # fmt: skip
