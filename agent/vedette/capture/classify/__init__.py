"""Which application protocol a flow speaks: by its content first, by its port second. Pure.

The names are one fixed list, for they are label values: `NAMES`.
"""

from dataclasses import dataclass, field
from typing import Literal

from vedette.capture.classify import tcp, tls, udp
from vedette.capture.classify.ports import USUAL, by_port, usual

How = Literal["content", "port"]

UNKNOWN = "unknown"
NAMES = frozenset({name for table in USUAL.values() for name in table.values()}) | {
    UNKNOWN, "tls", "dtls", "isakmp", "stun", "dcerpc", "rpc", "nfs", "openvpn", "ipp", "fix",
    "mms", "rtp", "rtcp", "t38", "mpegts", "rtps", "thrift", "fins",
}  # fmt: skip

# Longer than any name in DNS (RFC 1035); names are for people, never labels.
_LONGEST_NAME = 253


@dataclass(slots=True)  # not frozen: one is made for each frame that is looked into
class Verdict:
    """What a payload was taken for. told: names in it: {"sni", "alpn", "host"}, where it says.

    Nobody changes it.
    """

    protocol: str
    how: How
    told: dict[str, str] = field(default_factory=dict)


def content(transport: str, payload: bytes, source_port: int, destination_port: int) -> str:
    """Return the protocol that the payload itself shows, "" if it shows none."""
    if not payload:
        return ""
    at_these = usual(transport, destination_port, source_port)
    ports = frozenset((source_port, destination_port))
    if transport == "tcp":
        return tcp.speaks(payload, ports, at_these)
    return udp.speaks(payload, ports, at_these) if transport == "udp" else ""


def told(protocol: str, payload: bytes) -> dict[str, str]:
    """Return what else the payload says of whom is asked: SNI and ALPN, or HTTP's host."""
    if protocol == "tls":
        hello = tls.hello(payload)
        found = {"sni": hello.server_name, "alpn": hello.alpn} if hello else {}
    elif protocol in ("http", "ipp"):
        found = {"host": _host(payload)}
    else:
        return {}
    return {key: printable(text) for key, text in found.items() if text}


def _host(payload: bytes) -> str:
    lower = payload[:4096].lower()
    at = lower.find(b"\r\nhost:")
    if at < 0:
        return ""
    end = payload.find(b"\r\n", at + 7)
    return payload[at + 7 : end if end > 0 else None].strip().decode("latin-1")


def printable(text: str) -> str:
    """Return a name from the wire, cut and without anything that does not print."""
    return "".join(c if c.isprintable() else "?" for c in text[:_LONGEST_NAME])


__all__ = ["NAMES", "UNKNOWN", "How", "Verdict", "by_port", "content", "printable", "told"]
