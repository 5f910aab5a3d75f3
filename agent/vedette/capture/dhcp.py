"""DHCP messages (RFC 2131, RFC 2132), as far as neighbours and servers go. Nothing raises."""

from dataclasses import dataclass

_FIXED = 240
_COOKIE = b"\x63\x82\x53\x63"
_TYPE, _SERVER, _ROUTER, _NAME, _END, _PAD = 53, 54, 3, 12, 255, 0
_MOST_OPTIONS = 64
OFFER, ACK = 2, 5


@dataclass(frozen=True, slots=True)
class Message:
    """kind: option 53. mac: the client's. address: what it gets. server, routers: packed."""

    reply: bool
    kind: int
    mac: bytes
    address: bytes
    server: bytes
    routers: tuple[bytes, ...]
    name: str


def read(payload: bytes) -> Message | None:
    """Return the message, or None if this is none."""
    if len(payload) < _FIXED or payload[236:240] != _COOKIE or payload[0] not in (1, 2):
        return None
    options: dict[int, bytes] = {}
    at = _FIXED
    for _ in range(_MOST_OPTIONS):
        if at >= len(payload) or payload[at] == _END:
            break
        if payload[at] == _PAD:
            at += 1
            continue
        if at + 1 >= len(payload) or at + 2 + payload[at + 1] > len(payload):
            return None  # an option that is longer than the message
        options[payload[at]] = payload[at + 2 : at + 2 + payload[at + 1]]
        at += 2 + payload[at + 1]
    kind = options.get(_TYPE, b"\0")
    routers = options.get(_ROUTER, b"")
    return Message(
        reply=payload[0] == 2,
        kind=kind[0] if kind else 0,
        mac=payload[28:34],
        address=payload[16:20],
        server=options.get(_SERVER, b"")[:4],
        routers=tuple(routers[i : i + 4] for i in range(0, len(routers) // 4 * 4, 4)),
        name=options.get(_NAME, b"").decode("ascii", "replace"),
    )
