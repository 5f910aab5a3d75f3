"""Conversations that another one has arranged: FTP's data, TFTP's transfers, calls' media.

What is announced is an address with a port, and who speaks there. Bounded; nothing raises.
"""

import re
from collections.abc import Iterator
from ipaddress import ip_address

from vedette.capture.bounded import Bounded
from vedette.capture.decode import Packet

ANNOUNCING = frozenset({"ftp", "tftp", "sip", "rtsp", "mgcp"})
_KEPT = 4096
_LONGEST = 4096  # bytes of a message that are searched
_PORT = re.compile(rb"(?:PORT |227 [^\r\n]*?)\(?\d{1,3}(?:,\d{1,3}){3},(\d{1,3}),(\d{1,3})")
_EXTENDED = re.compile(rb"(?:229 [^\r\n]*?\(|EPRT )([!-~])[^\r\n]*?\1(\d{1,5})\1(?:\)|\r)")
_MEDIA = re.compile(rb"^m=(audio|video|image) (\d{1,5})(?:/\d+)? ([A-Za-z/]+)", re.MULTILINE)
_CALLED_AT = re.compile(rb"^c=IN IP[46] ([0-9A-Fa-f.:]{2,45})", re.MULTILINE)
_RTSP = re.compile(rb"(client|server)_port=(\d{1,5})(?:-(\d{1,5}))?")
_TFTP_REQUESTS = (b"\0\1", b"\0\2")

Place = tuple[str, bytes, int]  # transport, address, port


class Announced:
    """What was announced, by place."""

    def __init__(self) -> None:
        self._names: Bounded[Place, str] = Bounded(_KEPT)

    def expected(self, packet: Packet) -> str:
        """Return what was said to go on at an end of this new conversation, "" if nothing was."""
        return (
            self._names.get((packet.protocol, packet.destination, packet.destination_port))
            or self._names.get((packet.protocol, packet.source, packet.source_port))
            or ""
        )

    def learn(self, protocol: str, packet: Packet, said: bytes) -> None:
        """Take over what a message of this protocol arranges."""
        for transport, address, port, name in _places(protocol, packet, said[:_LONGEST]):
            if 0 < port < 1 << 16:
                self._names.put((transport, address, port), name)


def _places(  # noqa: C901 - one case for each protocol
    protocol: str, packet: Packet, said: bytes
) -> Iterator[tuple[str, bytes, int, str]]:
    here = packet.source
    """Yield what is arranged. FTP means the sender's own address, whatever it says behind NAT."""
    match protocol:
        case "ftp":
            if found := _PORT.match(said):
                yield "tcp", here, int(found[1]) << 8 | int(found[2]), "ftp-data"
            elif found := _EXTENDED.match(said):
                yield "tcp", here, int(found[2]), "ftp-data"
        case "tftp" if said.startswith(_TFTP_REQUESTS):  # the answer comes from a new port
            yield "udp", here, packet.source_port, "tftp"
        case "rtsp":
            for found in _RTSP.finditer(said):
                # The answer repeats what the client has said of itself.
                mine = (found[1] == b"server") == said.startswith(b"RTSP/")
                address = here if mine else packet.destination
                yield "udp", address, int(found[2]), "rtp"
                yield "udp", address, int(found[3] or 0), "rtcp"
        case "sip" | "mgcp":
            there = _CALLED_AT.search(said)
            address = (_packed(there[1]) if there else b"") or here
            for found in _MEDIA.finditer(said):
                if b"udptl" in found[3].lower():
                    yield "udp", address, int(found[2]), "t38"
                elif found[3].startswith(b"RTP/"):
                    yield "udp", address, int(found[2]), "rtp"
                    yield "udp", address, int(found[2]) + 1, "rtcp"


def _packed(address: bytes) -> bytes:
    try:
        return ip_address(address.decode("ascii")).packed
    except ValueError:
        return b""
