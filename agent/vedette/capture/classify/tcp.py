"""What the first bytes of a TCP connection say. Each check knows one protocol; the first fits."""

import re
from collections.abc import Sequence

from vedette.capture.classify import dns, expected, tls
from vedette.capture.classify.shapes import is_kerberos, is_ldap, number, rpc

_METHODS = re.compile(
    rb"(GET|POST|HEAD|PUT|DELETE|OPTIONS|PATCH|TRACE|CONNECT|PROPFIND|PROPPATCH|MKCOL|COPY|MOVE|LOCK"
    rb"|UNLOCK|REPORT|SEARCH|SUBSCRIBE|UNSUBSCRIBE|NOTIFY|M-SEARCH|RPC_IN_DATA|RPC_OUT_DATA) {1,8}"
    rb"[!-~]{1,8192}( {1,8}HTTP/\d|\r?\n|$)"
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
# Telnet's commands (RFC 854), and what may follow them: text, or more commands.
_TELNET = re.compile(
    rb"(\xff[\xfb-\xfe].|\xff\xfa[^\xff]{0,64}(\xff\xf0|$))+(?P<rest>.{0,16})", re.DOTALL
)
_TELNET_TEXT = bytes((0, 255, 0x1B, *range(7, 14), *range(0x20, 0x7F)))
_GIT = re.compile(rb"[0-9a-f]{4}git-(upload|receive)-pack /")
_REDIS = re.compile(rb"\*\d{1,6}\r\n\$\d{1,9}\r\n|PING\r\n|\+PONG\r\n|-NOAUTH |-ERR ")
_SMTP_COMMAND = re.compile(rb"(EHLO|HELO|LHLO|MAIL FROM:|RCPT TO:)", re.IGNORECASE)
_MAIL = frozenset({25, 465, 587, 2525})
_ICAP = re.compile(rb"ICAP/1\.\d \d{3}|(REQMOD|RESPMOD|OPTIONS) icap://")
# What nothing else begins with.
_STARTS = (
    (b"AMQP", "amqp"), (b"GIOP\1", "giop"), (b"JRMI\0", "rmi"), (b"GNUTELLA", "gnutella"),
    (b"ceph v0", "ceph"), (b"ZBXD\1", "zabbix"), (b"FINS\0\0\0", "fins"), (b"\x0bMSH|", "hl7"),
    (b"\0REQ\0\0\0", "gearman"), (b"HS\0\0", "hislip"), (b"MSRP ", "msrp"), (b"INFO {", "nats"),
)  # fmt: skip
_TEXT_BEGINS = frozenset({*range(0x20, 0x7F), 0x13, *(start[0] for start, _ in _STARTS)})
_THRIFT = (b"\x80\1\0\1", b"\x80\1\0\2", b"\x80\1\0\3", b"\x80\1\0\4")
_SMPP = frozenset({*range(1, 10), 0x15, 0x21, 0x102, 0x103, 0x111, 0x112, 11})
_MONGO_OPCODES = frozenset({1, 1000, 2001, 2002, 2004, 2005, 2006, 2007, 2010, 2011, 2012, 2013})


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
        return "ipp" if b"application/ipp" in p[:2048] else "http"
    if p.startswith((b"220 ", b"220-")):
        server = min(ports)  # the other one may be any, of a mail server's, too
        if server in _MAIL or re.search(rb"E?SMTP", p[:200], re.IGNORECASE):
            return "smtp"
        return "ftp" if server == 21 or re.search(rb"ftp", p[:200], re.IGNORECASE) else ""
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
    if _ICAP.match(p):
        return "icap"
    for start, name in _STARTS:
        if p.startswith(start):
            return name
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
        if 139 in ports and p[0] != 0 and size == 4 + number(p, 2, 2):
            return "smb"
    if size >= 4 and 139 in ports and p[:4] in (b"\x82\0\0\0", b"\x85\0\0\0"):
        return "smb"
    if size >= 7 and p[:2] == b"\x03\x00" and p[5] & 0xF0 in (0xE0, 0xD0, 0xF0):
        if 3389 in ports or b"mstshash=" in p[:64] or p[11:15] in (b"\1\0\x08\0", b"\2\0\x08\0"):
            return "rdp"
        if 102 in ports and p[5] & 0xF0 == 0xF0:  # data: the S7 protocols have numbers of their own
            return "s7" if p[7:8] in (b"\x32", b"\x72") else "mms"
    if size >= 19 and p[:16] == b"\xff" * 16 and 1 <= p[18] <= 5:
        return "bgp"
    # Two bytes of chance may be a command, amid what is encrypted: text does not follow.
    if (commands := _TELNET.match(p)) and not commands["rest"].translate(None, _TELNET_TEXT):
        return "telnet"
    if size >= 16 and p[0] == 5 and p[1] <= 1 and p[2] <= 20 and p[3] < 0x80:
        order = "little" if p[4] & 0xF0 == 0x10 else "big"
        if p[5:8] == b"\0\0\0" and 16 <= number(p, 8, 2, order) <= 0x4000:
            return "dcerpc"
    if size >= 12 and p[0] == 0x10 and (b"\0\x04MQTT" in p[1:12] or b"\0\x06MQIsdp" in p[1:14]):
        return "mqtt"
    if (
        size >= 10
        and p[3] == 0
        and p[4] == 10
        and number(p, 0, 3, "little") + 4 == size
        and 0 in p[5:40]
    ):
        return "mysql"
    if (
        size >= 8
        and p[4:8] in (b"\0\3\0\0", b"\x04\xd2\x16\x2f", b"\x04\xd2\x16\x2e")
        and number(p, 0, 4) == size
    ):
        return "postgresql"
    if (
        size >= 16
        and number(p, 12, 4, "little") in _MONGO_OPCODES
        and 16 <= number(p, 0, 4, "little") <= 48_000_000
    ):
        if 27017 in ports or number(p, 0, 4, "little") == size:
            return "mongodb"
    if (
        size >= 8
        and p[0] in (1, 2, 3, 4, 7, 0x10, 0x12)
        and number(p, 2, 2) == size
        and p[1] in (0, 1)
        and p[4:6] == b"\0\0"
    ):
        if 1433 in ports or p[0] == 0x12:
            return "mssql"
    if size >= 8 and number(p, 0, 2) == size and p[2:4] == b"\0\0" and 1 <= p[4] <= 12:
        if 1521 in ports or b"(CONNECT_DATA" in p:
            return "oracle"
    if size >= 20 and p[4:8] == b"\x21\x12\xa4\x42" and p[0] < 0x40:
        return "stun"
    if size >= 22 and p[6:10] == b"\x21\x12\xa4\x42" and number(p, 0, 2) <= size - 2:
        return "stun"  # behind its length (RFC 4571)
    if size >= 28 and p[0] & 0x80 and (called := rpc(p[4:])):
        if called != "rpc?" or ports & {111, 2049}:
            return "nfs" if called == "rpc?" and 2049 in ports else called.rstrip("?")
    if (
        size >= 14
        and number(p, 0, 2) == size - 2
        and p[2] in (0x38, 0x40, 0x50)
        and (1194 in ports or p[2] == 0x38)
    ):
        return "openvpn"
    if size >= 14 and (size - 2 == number(p, 0, 2) or 53 in ports) and dns.read(p[2:]):
        return "dns"
    if is_kerberos(p[4:]) and ports & {88, 464}:
        return "kerberos"
    if is_ldap(p):
        return "ldap"
    if p[:4] in _THRIFT or (p[4:8] in _THRIFT and number(p, 0, 4) == size - 4):
        return "thrift"
    if p[4:14] == b"\1ActiveMQ\0":
        return "openwire"
    if size >= 10 and p[2] == 0xD0 and number(p, 0, 2) <= size and p[8:9] in (b"\x10", b"\x14"):
        return "drda" if number(p, 6, 2) == number(p, 0, 2) - 6 else ""
    if size >= 10 and p[:2] == b"\x05\x64" and p[2] >= 5:
        return "dnp3"
    if size >= 16 and number(p, 0, 4) == size and number(p, 4, 4) & 0x7FFFFFFF in _SMPP:
        return "smpp" if p[8:11] == b"\0\0\0" else ""
    return ""


def speaks(payload: bytes, ports: frozenset[int], usual: Sequence[str]) -> str:
    """Return which protocol this payload is, "" if it does not say. usual: at its ports."""
    if tls.is_record(payload):
        return "tls"
    text = _text(payload, ports) if payload[0] in _TEXT_BEGINS else ""
    if found := text or _binary(payload, ports):
        return found
    for name in usual:
        check = expected.TCP.get(name)
        if check is not None and check(payload):
            return name
    return ""
