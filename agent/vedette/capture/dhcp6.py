"""DHCPv6 messages (RFC 8415), as far as servers go. Nothing raises."""

from dataclasses import dataclass

SERVER_PORT, CLIENT_PORT = 547, 546
ADVERTISE, REPLY = 2, 7
_SERVER_ID, _ADDRESSES, _ADDRESS, _DNS_SERVERS = 2, 3, 5, 23
_MOST_OPTIONS = 32
_IDENTITY = 12  # bytes of IA_NA before its own options: IAID, T1, T2


@dataclass(frozen=True, slots=True)
class Message:
    """kind: the message's type. server: its DUID. address: what it gives, packed; empty if none.

    dns_servers: packed. An attacker needs no more than to be one of them.
    """

    kind: int
    server: bytes
    address: bytes
    dns_servers: tuple[bytes, ...]


def read(payload: bytes) -> Message | None:
    """Return a message between client and server, or None if this is none."""
    if len(payload) < 4 or not 1 <= payload[0] <= 11:  # noqa: PLR2004 - 12 and 13: between relays
        return None
    options = _options(payload[4:])
    if options is None:
        return None
    inner = _options(options.get(_ADDRESSES, b"")[_IDENTITY:]) or {}
    resolvers = options.get(_DNS_SERVERS, b"")
    return Message(
        kind=payload[0],
        server=options.get(_SERVER_ID, b""),
        address=inner.get(_ADDRESS, b"")[:16],
        dns_servers=tuple(resolvers[i : i + 16] for i in range(0, len(resolvers) // 16 * 16, 16)),
    )


def _options(data: bytes) -> dict[int, bytes] | None:
    """Return {code: body}, None if one is longer than the message."""
    options: dict[int, bytes] = {}
    at = 0
    for _ in range(_MOST_OPTIONS):
        if at + 4 > len(data):
            break
        code, size = (
            int.from_bytes(data[at : at + 2], "big"),
            int.from_bytes(data[at + 2 : at + 4], "big"),
        )
        if at + 4 + size > len(data):
            return None
        options[code] = data[at + 4 : at + 4 + size]
        at += 4 + size
    return options
