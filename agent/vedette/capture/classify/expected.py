"""Checks that are too little of a sign on their own, but enough at the protocol's usual port."""

import re
from collections.abc import Callable

from vedette.capture.classify.shapes import is_kerberos, number

_MEMCACHED = re.compile(
    rb"(gets?|delete|touch) [^\s]{1,250}[^\r\n]*\r\n"
    rb"|(set|add|replace|append|prepend) [^\s]+ \d+ \d+ \d+"
    rb"|(stats|version|quit|flush_all)[^\r\n]*\r\n|VERSION \d|STAT [a-z_]+ |VALUE [^\s]+ \d+ \d+"
    rb"|STORED\r\n"
)
_FTP_COMMAND = re.compile(
    rb"(USER|PASS|PASV|EPSV|PORT|LIST|RETR|STOR|CWD|SYST|FEAT|TYPE|QUIT|PWD|AUTH)([ \r]|$)",
    re.IGNORECASE,
)
_POP_COMMAND = re.compile(
    rb"(USER|PASS|APOP|CAPA|STAT|UIDL|RETR|TOP|LIST|AUTH|QUIT)([ \r]|$)", re.IGNORECASE
)
_IMAP_COMMAND = re.compile(
    rb"[A-Za-z0-9.]{1,12} (CAPABILITY|LOGIN|AUTHENTICATE|SELECT|STARTTLS|NOOP|ID|LIST|LOGOUT)",
    re.IGNORECASE,
)
_NNTP = re.compile(
    rb"20[01] .*(NNTP|[Nn]ews|INN)|(MODE READER|GROUP [a-z]|ARTICLE )", re.IGNORECASE
)
_SYSLOG = re.compile(rb"<\d{1,3}>")
_MGCP = re.compile(rb"(EPCF|CRCX|MDCX|DLCX|RQNT|NTFY|AUEP|AUCX|RSIP) \d+ |\d{3} \d+")


def _is_socks(p: bytes) -> bool:
    """Return whether this is a greeting, a request, or an answer to one (RFC 1928; SOCKS 4)."""
    if len(p) < 2 or p[0] not in (0, 4, 5):
        return False
    if p[0] == 5:
        return len(p) in (2, 2 + p[1]) or (len(p) >= 10 and p[2] == 0 and p[3] in (1, 3, 4))
    return (p[0] == 4 and p[1] in (1, 2)) or (len(p) == 8 and 90 <= p[1] <= 93)


TCP: dict[str, Callable[[bytes], bool]] = {
    "memcached": lambda p: bool(_MEMCACHED.match(p)) or p[:1] in (b"\x80", b"\x81"),
    "redis": lambda p: p[:1] in b"*$+-:" and b"\r\n" in p,
    "ftp": lambda p: bool(_FTP_COMMAND.match(p)) or bool(re.match(rb"[1-5]\d\d[ -]", p)),
    "pop3": lambda p: bool(_POP_COMMAND.match(p)) or p[:4] == b"-ERR",
    "imap": lambda p: bool(_IMAP_COMMAND.match(p)),
    "smtp": lambda p: bool(re.match(rb"[2-5]\d\d[ -]", p)),
    "nntp": lambda p: bool(_NNTP.match(p)) or bool(re.match(rb"[1-5]\d\d ", p)),
    "modbus": lambda p: len(p) >= 8 and p[2:4] == b"\0\0" and number(p, 4, 2) == len(p) - 6,
    "cassandra": lambda p: len(p) >= 9 and p[0] & 0x7F in (3, 4, 5) and p[4] <= 0x10,
    "mqtt": lambda p: len(p) >= 2 and p[0] >> 4 in range(1, 15),
    "postgresql": lambda p: len(p) >= 5 and p[:1].isalpha() and 4 <= number(p, 1, 4) < 1 << 24,
    "mysql": lambda p: len(p) >= 5 and number(p, 0, 3, "little") == len(p) - 4,
    "socks": _is_socks,
    "rtmp": lambda p: p[:1] == b"\3",
    "x11": lambda p: p[:1] in (b"l", b"B") and p[2:4] in (b"\x0b\0", b"\0\x0b"),
    "pptp": lambda p: p[4:8] == b"\x1a\x2b\x3c\x4d",
    "diameter": lambda p: len(p) >= 20 and p[0] == 1 and number(p, 1, 3) >= 20,
    "dnp3": lambda p: p[:2] == b"\x05\x64",
    "iec104": lambda p: p[:1] == b"\x68",
    "enip": lambda p: len(p) >= 24 and number(p, 2, 2, "little") == len(p) - 24,
    "opcua": lambda p: p[:4] in (b"HELF", b"ACKF", b"OPNF", b"MSGF", b"ERRF"),
    "snmp": lambda p: p[:1] == b"\x30" and b"\x02\x01" in p[:8],
    "ident": lambda p: bool(re.match(rb"\s*\d+\s*,\s*\d+", p)),
    "iscsi": lambda p: len(p) >= 48,
    "tacacs": lambda p: len(p) >= 12 and p[0] & 0xF0 == 0xC0,
    "irc": lambda p: bool(re.match(rb"(:[^ ]+ )?[A-Z0-9]{3,}[ \r\n]", p)),
    "telnet": lambda p: p.isascii(),
    "kerberos": lambda p: is_kerberos(p[4:]),
    "openflow": lambda p: len(p) >= 8 and 1 <= p[0] <= 6 and p[1] <= 35 and number(p, 2, 2) >= 8,
    "rpki-rtr": lambda p: len(p) >= 8 and p[0] <= 2 and p[1] <= 11 and number(p, 4, 4) < 1 << 16,
    "ldp": lambda p: p[:2] == b"\0\1",
    "msdp": lambda p: len(p) >= 3 and 1 <= p[0] <= 7,
    "synphasor": lambda p: p[:1] == b"\xaa",
    "h323": lambda p: p[:2] == b"\3\0" and p[4:5] == b"\x08",
    "pcep": lambda p: len(p) >= 4 and p[0] >> 5 == 1 and number(p, 2, 2) >= 4,
    "stomp": lambda p: p.startswith((b"CONNECT\n", b"STOMP\n", b"CONNECTED\n")),
}  # fmt: skip
UDP: dict[str, Callable[[bytes], bool]] = {
    "ntp": lambda p: len(p) >= 12 and 1 <= (p[0] >> 3 & 7) <= 4 and 1 <= (p[0] & 7) <= 7,
    "dhcp": lambda p: len(p) >= 44 and p[0] in (1, 2),
    "dhcpv6": lambda p: len(p) >= 4 and 1 <= p[0] <= 36,
    "radius": lambda p: len(p) >= 20 and p[0] > 0 and 20 <= number(p, 2, 2) <= len(p),
    "syslog": lambda p: bool(_SYSLOG.match(p)),
    "tftp": lambda p: len(p) >= 4 and p[0] == 0 and 1 <= p[1] <= 6,
    "openvpn": lambda p: len(p) >= 14 and 1 <= p[0] >> 3 <= 10,
    "coap": lambda p: len(p) >= 4 and p[0] >> 6 == 1 and p[0] & 15 <= 8,
    "l2tp": lambda p: len(p) >= 6 and p[1] & 15 in (2, 3),
    "gtp": lambda p: len(p) >= 8 and p[0] >> 5 in (1, 2) and len(p) - number(p, 2, 2) in (4, 6, 8),
    "vxlan": lambda p: len(p) >= 8 and p[0] & 8 == 8,
    "geneve": lambda p: len(p) >= 8 and p[0] >> 6 == 0,
    "rip": lambda p: len(p) >= 4 and p[0] in (1, 2) and p[1] in (1, 2),
    "ripng": lambda p: len(p) >= 4 and p[0] in (1, 2) and p[1] == 1,
    "hsrp": lambda p: len(p) >= 20,
    "nbns": lambda p: len(p) >= 12 and number(p, 4, 2) <= 2,
    "rx": lambda p: len(p) >= 28 and 1 <= p[20] <= 13,
    "aodv": lambda p: len(p) >= 4 and 1 <= p[0] <= 4,
    "mpls-ping": lambda p: len(p) >= 32 and number(p, 0, 2) == 1,
    "hart-ip": lambda p: len(p) >= 8 and p[0] == 1 and number(p, 6, 2) == len(p),
    "knxip": lambda p: p[:2] == b"\x06\x10",
    "gvcp": lambda p: p[:1] == b"\x42" or p[:2] == b"\0\0",
    "xdmcp": lambda p: len(p) >= 6 and p[:2] == b"\0\1" and number(p, 4, 2) <= len(p) - 6,
    "iax2": lambda p: len(p) >= 4,
    "diameter": lambda p: len(p) >= 20 and p[0] == 1,
    "bfd": lambda p: len(p) >= 24 and p[0] >> 5 in (0, 1),
    "netflow": lambda p: len(p) >= 16 and number(p, 0, 2) in (1, 5, 7, 8, 9, 10),
    "sflow": lambda p: len(p) >= 28 and number(p, 0, 4) in (2, 4, 5),
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
