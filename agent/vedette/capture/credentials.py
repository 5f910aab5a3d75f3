"""Passwords that cross the network in clear text: that they do, by which protocol. Never which."""

import re

from vedette.capture.classify.shapes import ber

_HTTP_BASIC = re.compile(rb"\r\n(proxy-)?authorization: *basic +[a-z0-9+/=]{4}", re.IGNORECASE)
_LOGIN = {
    "ftp": re.compile(rb"PASS [^\r\n]+", re.IGNORECASE),
    "pop3": re.compile(rb"PASS [^\r\n]+|AUTH PLAIN", re.IGNORECASE),
    "imap": re.compile(
        rb"[^ \r\n]{1,16} (LOGIN [^\r\n]+|AUTHENTICATE (PLAIN|LOGIN))", re.IGNORECASE
    ),
    "smtp": re.compile(rb"AUTH (PLAIN|LOGIN)", re.IGNORECASE),
    "redis": re.compile(rb"\*[23]\r\n\$4\r\nAUTH\r\n|AUTH [^\r\n]+", re.IGNORECASE),
    "irc": re.compile(rb"PASS [^\r\n]+", re.IGNORECASE),
    "nntp": re.compile(rb"AUTHINFO PASS ", re.IGNORECASE),
}
_ANONYMOUS = re.compile(rb"USER (anonymous|ftp)\s", re.IGNORECASE)
_TELNET_PROMPT = re.compile(rb"(password|passwd)\s*:\s*$", re.IGNORECASE)


def is_anonymous(protocol: str, payload: bytes) -> bool:
    """Return whether somebody logs in to FTP as nobody: the password that follows is none."""
    return protocol == "ftp" and bool(_ANONYMOUS.match(payload))


def seen(protocol: str, payload: bytes) -> bool:
    """Return whether this payload carries a password in clear, or asks for one where it will."""
    if protocol == "http":
        return bool(_HTTP_BASIC.search(payload[:8192]))
    if protocol == "telnet":
        return bool(_TELNET_PROMPT.search(payload[-64:]))
    if protocol == "ldap":
        return _simple_bind(payload)
    pattern = _LOGIN.get(protocol)
    return pattern is not None and bool(pattern.match(payload))


def _simple_bind(payload: bytes) -> bool:
    """Return whether this is LDAP's bind with a name and a password (RFC 4511, 4.2)."""
    _, at = ber(payload)
    if not at or len(payload) < at + 2 or payload[at] != 2:
        return False
    tag, inner = ber(payload, at + 2 + payload[at + 1])
    if tag != 0x60 or payload[inner : inner + 2] != b"\x02\x01":
        return False
    name, begins = ber(payload, inner + 3)
    if name != 4 or not begins:
        return False
    length = payload[begins - 1]
    end = begins + length
    return (
        bool(length)
        and payload[end : end + 1] == b"\x80"
        and payload[end + 1 : end + 2] not in (b"", b"\0")
    )
