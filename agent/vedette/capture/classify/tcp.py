"""What the first bytes of a TCP connection say. Each check knows one protocol; the first fits."""

import re
from collections.abc import Callable

from vedette.capture.classify import dns, tls

_METHODS = re.compile(
    rb"(GET|POST|HEAD|PUT|DELETE|OPTIONS|PATCH|TRACE|CONNECT|PROPFIND|PROPPATCH|MKCOL|COPY|MOVE|LOCK"
    rb"|UNLOCK|REPORT|SEARCH|SUBSCRIBE|UNSUBSCRIBE|NOTIFY|M-SEARCH|RPC_IN_DATA|RPC_OUT_DATA) "
    rb"[!-~]{1,8192}( HTTP/\d|\r?\n|$)"
)
_HTTP_ANSWER = re.compile(rb"HTTP/[012](\.\d)? \d{3}")
_SIP = re.compile(
    rb"SIP/2\.0 \d{3}|(INVITE|REGISTER|ACK|BYE|CANCEL|OPTIONS|SUBSCRIBE|NOTIFY|MESSAGE|INFO|PRACK"
    rb"|UPDATE|REFER|PUBLISH) (sips?|tel):"
)
_RTSP = re.compile(
    rb"RTSP/1\.\d \d{3}|(OPTIONS|DESCRIBE|ANNOUNCE|SETUP|PLAY|PAUSE|TEARDOWN|GET_PARAMETER"
    rb"|SET_PARAMETER|RECORD) (rtsp[su]?:|\*|/)[^\r\n]* RTSP/"
)
_IRC = re.compile(
    rb"(:[^ ]+ )?(NICK|PRIVMSG|JOIN|NOTICE (AUTH|\*)|CAP (LS|REQ)|\d{3} [^ ]+ :)"
    rb"|USER [^ ]+ [^ ]+ [^ ]+ :|PASS [^ \r\n]+\r?\nNICK "
)
_GIT = re.compile(rb"[0-9a-f]{4}git-(upload|receive)-pack /")
_REDIS = re.compile(rb"\*\d{1,6}\r\n\$\d{1,9}\r\n|PING\r\n|\+PONG\r\n|-NOAUTH |-ERR ")
_MEMCACHED = re.compile(
    rb"(gets?|delete|touch) [^\s]{1,250}[^\r\n]*\r\n"
    rb"|(set|add|replace|append|prepend) [^\s]+ \d+ \d+ \d+"
    rb"|(stats|version|quit|flush_all)[^\r\n]*\r\n|VERSION \d|STAT [a-z_]+ |VALUE [^\s]+ \d+ \d+"
    rb"|STORED\r\n"
)
_SMTP_COMMAND = re.compile(rb"(EHLO|HELO|LHLO|MAIL FROM:|RCPT TO:|STARTTLS)", re.IGNORECASE)
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
_SYSLOG = re.compile(rb"(\d{1,5} )?<\d{1,3}>(1 |[A-Z][a-z]{2} [ \d]\d |[^\s])")
_BER_APPLICATION = frozenset(
    {0x60, 0x61, 0x63, 0x64, 0x65, 0x66, 0x68, 0x42, 0x77, 0x78, 0x4A, 0x6E}
)
_KERBEROS_TAGS = frozenset({0x6A, 0x6B, 0x6C, 0x6D, 0x6E, 0x6F, 0x74, 0x75, 0x76, 0x7E})
_MONGO_OPCODES = frozenset({1, 1000, 2001, 2002, 2004, 2005, 2006, 2007, 2010, 2011, 2012, 2013})
_RPC_NFS = 100003
# Programs that answer beside the port mapper and NFS: mount, NIS, locks, status, quotas, ACLs.
_RPC_PROGRAMS = range(100000, 100500)


def _number(payload: bytes, at: int, size: int, order: str = "big") -> int:
    return int.from_bytes(payload[at : at + size], "little" if order == "little" else "big")


def ber(payload: bytes, at: int = 0) -> tuple[int, int]:
    """Return (tag, where its content begins) of the BER element there; (0, 0) if there is none."""
    if len(payload) < at + 2:
        return 0, 0
    length = payload[at + 1]
    if length < 0x80:
        return payload[at], at + 2
    octets = length & 0x7F
    if not 1 <= octets <= 4 or len(payload) < at + 2 + octets:
        return 0, 0
    return payload[at], at + 2 + octets


def is_ldap(payload: bytes) -> bool:
    """Return whether this is an LDAP message (RFC 4511): a sequence, a number, an operation."""
    tag, at = ber(payload)
    if tag != 0x30 or len(payload) < at + 4 or payload[at] != 2 or not 1 <= payload[at + 1] <= 4:
        return False
    at += 2 + payload[at + 1]
    return at < len(payload) and payload[at] in _BER_APPLICATION


def is_kerberos(payload: bytes) -> bool:
    """Return whether this is a Kerberos message (RFC 4120): application tag, sequence, pvno 5."""
    tag, at = ber(payload)
    if tag not in _KERBEROS_TAGS or not at:
        return False
    inner, content = ber(payload, at)
    return inner == 0x30 and b"\x02\x01\x05" in payload[content : content + 8]


def rpc(payload: bytes) -> str:
    """Return which of Sun's RPC programs is called (RFC 5531), "" if none is."""
    if len(payload) < 24 or _number(payload, 4, 4) > 1:
        return ""
    if _number(payload, 4, 4) == 1:  # a reply: accepted, with a verifier, or denied
        fits = (
            _number(payload, 8, 4) <= 1
            and _number(payload, 12, 4) <= 6
            and _number(payload, 16, 4) <= 400
        )
        return "rpc?" if fits else ""
    if _number(payload, 8, 4) != 2:
        return ""
    program = _number(payload, 12, 4)
    if program == _RPC_NFS:
        return "nfs"
    return "rpc" if program in _RPC_PROGRAMS or program >= 200000 else ""


def _tls(p: bytes, _: frozenset[int]) -> str:
    return "tls" if tls.is_record(p) else ""


def _text(p: bytes, ports: frozenset[int]) -> str:
    if p.startswith(b"SSH-"):
        return "ssh"
    if p.startswith(b"PRI * HTTP/2.0"):
        return "http"
    if _SIP.match(p):
        return "sip"
    if _RTSP.match(p):
        return "rtsp"
    if _METHODS.match(p) or _HTTP_ANSWER.match(p):
        ipp = 631 in ports or b"application/ipp" in p[:2048]
        return "ipp" if ipp else "http"
    if p.startswith((b"220 ", b"220-")):
        if ports & {25, 465, 587, 2525} or re.search(rb"E?SMTP", p[:200], re.IGNORECASE):
            return "smtp"
        return "ftp" if 21 in ports or re.search(rb"ftp", p[:200], re.IGNORECASE) else ""
    if p.startswith(b"RFB 00"):
        return "vnc"
    if p.startswith(b"@RSYNCD:"):
        return "rsync"
    if p.startswith(b"\x13BitTorrent protocol"):
        return "bittorrent"
    if p.startswith((b"<?xml", b"<stream:stream")) and b"<stream:stream" in p[:300]:
        return "xmpp"
    if p.startswith(b"+OK"):
        return "redis" if 6379 in ports else "pop3"
    if p.startswith((b"* OK", b"* PREAUTH")):
        return "imap"
    if _GIT.match(p):
        return "git"
    if re.match(rb"8=FIX[.T\d]+\x01", p):
        return "fix"
    if p.startswith(b"AMQP"):
        return "amqp"
    if _SMTP_COMMAND.match(p):
        return "smtp"
    if _REDIS.match(p) and (6379 in ports or p[:1] == b"*"):
        return "redis"
    if _IRC.match(p):
        return "irc"
    return ""


def _binary(p: bytes, ports: frozenset[int]) -> str:
    size = len(p)
    if size >= 8 and p[0] in (0x00, 0x81, 0x82, 0x83, 0x85):
        if p[4:8] in (b"\xffSMB", b"\xfeSMB", b"\xfdSMB"):
            return "smb"
        if 139 in ports and p[0] != 0 and size == 4 + _number(p, 2, 2):
            return "smb"
    if size >= 4 and 139 in ports and p[:4] in (b"\x82\0\0\0", b"\x85\0\0\0"):
        return "smb"
    if size >= 7 and p[:2] == b"\x03\x00" and p[5] & 0xF0 in (0xE0, 0xD0, 0xF0):
        if 3389 in ports or b"mstshash=" in p[:64] or p[11:15] in (b"\1\0\x08\0", b"\2\0\x08\0"):
            return "rdp"
        if 102 in ports:
            return "s7"
    if size >= 19 and p[:16] == b"\xff" * 16 and 1 <= p[18] <= 5:
        return "bgp"
    if size >= 3 and p[0] == 0xFF and 0xFA <= p[1] <= 0xFE:
        return "telnet"
    if size >= 16 and p[0] == 5 and p[1] <= 1 and p[2] <= 20 and p[3] < 0x80:
        order = "little" if p[4] & 0xF0 == 0x10 else "big"
        if p[5:8] == b"\0\0\0" and 16 <= _number(p, 8, 2, order) <= 0x4000:
            return "dcerpc"
    if size >= 12 and p[0] == 0x10 and (b"\0\x04MQTT" in p[1:12] or b"\0\x06MQIsdp" in p[1:14]):
        return "mqtt"
    if (
        size >= 10
        and p[3] == 0
        and p[4] == 10
        and _number(p, 0, 3, "little") + 4 == size
        and 0 in p[5:40]
    ):
        return "mysql"
    if (
        size >= 8
        and p[4:8] in (b"\0\3\0\0", b"\x04\xd2\x16\x2f", b"\x04\xd2\x16\x2e")
        and _number(p, 0, 4) == size
    ):
        return "postgresql"
    if (
        size >= 16
        and _number(p, 12, 4, "little") in _MONGO_OPCODES
        and 16 <= _number(p, 0, 4, "little") <= 48_000_000
    ):
        if 27017 in ports or _number(p, 0, 4, "little") == size:
            return "mongodb"
    if (
        size >= 8
        and p[0] in (1, 2, 3, 4, 7, 0x10, 0x12)
        and _number(p, 2, 2) == size
        and p[1] in (0, 1)
        and p[4:6] == b"\0\0"
    ):
        if 1433 in ports or p[0] == 0x12:
            return "mssql"
    if size >= 8 and _number(p, 0, 2) == size and p[2:4] == b"\0\0" and 1 <= p[4] <= 12:
        if 1521 in ports or b"(CONNECT_DATA" in p:
            return "oracle"
    if size >= 20 and p[4:8] == b"\x21\x12\xa4\x42" and p[0] < 0x40:
        return "stun"
    if size >= 28 and p[0] & 0x80 and (called := rpc(p[4:])):
        if called != "rpc?" or ports & {111, 2049}:
            return "nfs" if 2049 in ports else called.rstrip("?")
    if (
        size >= 14
        and _number(p, 0, 2) == size - 2
        and p[2] in (0x38, 0x40, 0x50)
        and (1194 in ports or p[2] == 0x38)
    ):
        return "openvpn"
    if size >= 14 and (size - 2 == _number(p, 0, 2) or 53 in ports) and dns.read(p[2:]):
        return "dns"
    if is_kerberos(p[4:]) and ports & {88, 464}:
        return "kerberos"
    if is_ldap(p):
        return "ldap"
    return ""


# Too little of a sign on its own, but enough where the protocol is expected.
_AT_ITS_PORT: dict[str, Callable[[bytes], bool]] = {
    "memcached": lambda p: bool(_MEMCACHED.match(p)) or p[:1] in (b"\x80", b"\x81"),
    "redis": lambda p: p[:1] in b"*$+-:" and b"\r\n" in p,
    "ftp": lambda p: bool(_FTP_COMMAND.match(p)) or bool(re.match(rb"[1-5]\d\d[ -]", p)),
    "pop3": lambda p: bool(_POP_COMMAND.match(p)) or p[:4] == b"-ERR",
    "imap": lambda p: bool(_IMAP_COMMAND.match(p)),
    "smtp": lambda p: bool(re.match(rb"[2-5]\d\d[ -]", p)),
    "nntp": lambda p: bool(_NNTP.match(p)) or bool(re.match(rb"[1-5]\d\d ", p)),
    "modbus": lambda p: len(p) >= 8 and p[2:4] == b"\0\0" and _number(p, 4, 2) == len(p) - 6,
    "cassandra": lambda p: len(p) >= 9 and p[0] & 0x7F in (3, 4, 5) and p[4] <= 0x10,
    "mqtt": lambda p: len(p) >= 2 and p[0] >> 4 in range(1, 15),
    "postgresql": lambda p: len(p) >= 5 and p[:1].isalpha() and 4 <= _number(p, 1, 4) < 1 << 24,
    "mysql": lambda p: len(p) >= 5 and _number(p, 0, 3, "little") == len(p) - 4,
    "socks": lambda p: p[:1] in (b"\4", b"\5") and len(p) >= 2,
    "rtmp": lambda p: p[:1] == b"\3",
    "x11": lambda p: p[:1] in (b"l", b"B") and p[2:4] in (b"\x0b\0", b"\0\x0b"),
    "pptp": lambda p: p[4:8] == b"\x1a\x2b\x3c\x4d",
    "diameter": lambda p: len(p) >= 20 and p[0] == 1 and _number(p, 1, 3) >= 20,
    "dnp3": lambda p: p[:2] == b"\x05\x64",
    "iec104": lambda p: p[:1] == b"\x68",
    "enip": lambda p: len(p) >= 24 and _number(p, 2, 2, "little") == len(p) - 24,
    "opcua": lambda p: p[:4] in (b"HELF", b"ACKF", b"OPNF", b"MSGF", b"ERRF"),
    "snmp": lambda p: p[:1] == b"\x30" and b"\x02\x01" in p[:8],
    "ident": lambda p: bool(re.match(rb"\s*\d+\s*,\s*\d+", p)),
    "iscsi": lambda p: len(p) >= 48,
    "tacacs": lambda p: len(p) >= 12 and p[0] & 0xF0 == 0xC0,
    "irc": lambda p: bool(re.match(rb"(:[^ ]+ )?[A-Z0-9]{3,}[ \r\n]", p)),
    "telnet": lambda p: p.isascii(),
    "kerberos": lambda p: is_kerberos(p[4:]),
}  # fmt: skip


def speaks(payload: bytes, ports: frozenset[int], expected: str) -> str:
    """Return which protocol this payload is, "" if it does not say."""
    if found := _tls(payload, ports) or _text(payload, ports) or _binary(payload, ports):
        return found
    check = _AT_ITS_PORT.get(expected)
    return expected if check is not None and check(payload) else ""
