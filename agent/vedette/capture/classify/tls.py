"""TLS records and the ClientHello (RFC 8446, RFC 6066, RFC 7301): who is asked for. Total."""

from dataclasses import dataclass

_HANDSHAKE, _CLIENT_HELLO = 0x16, 1
_KINDS = frozenset({0x14, 0x15, 0x16, 0x17, 0x18})
_LONGEST_RECORD = (1 << 14) + 2048
_SERVER_NAME, _ALPN, _VERSIONS = 0, 16, 43
_MOST_EXTENSIONS = 64


@dataclass(frozen=True, slots=True)
class Hello:
    """What a client asks for; "" where it does not say."""

    server_name: str
    alpn: str


def is_record(payload: bytes) -> bool:
    """Return whether this begins with a TLS record, or with SSL 2's ClientHello."""
    if len(payload) < 5:
        return False
    if payload[0] in _KINDS and payload[1] == 3 and payload[2] <= 4:
        return 0 < (payload[3] << 8 | payload[4]) <= _LONGEST_RECORD
    length = (payload[0] & 0x7F) << 8 | payload[1]
    return bool(
        payload[0] & 0x80
        and payload[2] == _CLIENT_HELLO
        and payload[3:5] in (b"\0\2", b"\3\0", b"\3\1", b"\3\2", b"\3\3")
        and length >= 9
        and length + 2 <= max(len(payload), 256)
    )


def hello(payload: bytes) -> Hello | None:
    """Return what a ClientHello says, as far as it is in this packet."""
    if len(payload) < 44 or payload[0] != _HANDSHAKE or payload[5] != _CLIENT_HELLO:
        return None
    at = 9 + 2 + 32  # header of the handshake, version, random
    for width in (1, 2, 1):  # session, cipher suites, compressions
        if at + width > len(payload):
            return Hello("", "")
        at += width + int.from_bytes(payload[at : at + width], "big")
    at += 2
    name = alpn = ""
    for _ in range(_MOST_EXTENSIONS):
        if at + 4 > len(payload):
            break
        kind = payload[at] << 8 | payload[at + 1]
        size = payload[at + 2] << 8 | payload[at + 3]
        body = payload[at + 4 : at + 4 + size]
        if kind == _SERVER_NAME and len(body) > 5:
            name = body[5 : 5 + (body[3] << 8 | body[4])].decode("ascii", "replace")
        elif kind == _ALPN and len(body) > 3:
            alpn = body[3 : 3 + body[2]].decode("ascii", "replace")
        at += 4 + size
    return Hello(name, alpn)
