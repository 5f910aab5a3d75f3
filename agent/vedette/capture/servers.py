"""Who hands out addresses (DHCP) and routes (router advertisements), and who may not.

Whoever is first is right, unless the allowed ones are listed: passive, and nobody is asked.
"""

from collections.abc import Callable, Collection, Sequence
from ipaddress import ip_address
from typing import Any

from vedette.capture import dhcp, dhcp6
from vedette.capture.bounded import Bounded
from vedette.capture.events import Events
from vedette.thresholds import Thresholds

_SERVERS_KEPT = 64
_GATEWAYS_KEPT = 16
_TOLD = 8  # addresses and prefixes in the evidence
_ADVERTISEMENT = 16  # bytes of a router advertisement before its options
_PREFIX, _PREFIX_WORDS = 3, 4  # an option's kind, and its size in units of eight bytes


class Servers:
    """Those of each interface. gateways: addresses that were announced by those that may."""

    def __init__(
        self, thresholds: Thresholds, events: Events, own: Callable[[], frozenset[bytes]]
    ) -> None:
        self._thresholds, self._events, self._own = thresholds, events, own
        self._first: Bounded[tuple[str, str], bytes] = Bounded(_SERVERS_KEPT)
        self._gateways: Bounded[bytes, bool] = Bounded(_GATEWAYS_KEPT)

    def gateways(self) -> Collection[bytes]:
        """Return the routers that DHCP servers and advertisements have named."""
        return [address for address, _ in self._gateways.items()]

    def offered(self, interface: str, message: dhcp.Message, at: float) -> None:
        """Hear a DHCP server's answer."""
        if len(message.server) != 4:  # noqa: PLR2004 - it does not say who it is
            return
        # One that offers no address names only where to boot from (PXE): it is no DHCP server.
        if message.kind == dhcp.OFFER and not any(message.address):
            return
        allowed = _of_version(self._thresholds.dhcp_servers, 4)
        evidence = {"offers": _text(message.address)}
        if self._may("rogue_dhcp", interface, message.server, allowed, at, "dhcp", evidence):
            for router in message.routers:
                self._learn(router)

    def offered6(self, interface: str, source: bytes, message: dhcp6.Message, at: float) -> None:
        """Hear a DHCPv6 server's answer. source: the server's, or its relay's, address."""
        evidence: dict[str, Any] = {
            "duid": message.server.hex()[:40],
            "dns_servers": [_text(address) for address in message.dns_servers[:_TOLD]],
        }
        if len(message.address) == 16:  # noqa: PLR2004 - of IPv6
            evidence["offers"] = _text(message.address)
        allowed = _of_version(self._thresholds.dhcp_servers, 6)
        self._may("rogue_dhcp", interface, source, allowed, at, "dhcpv6", evidence)

    def advertised(
        self, interface: str, source: bytes, mac: bytes, message: bytes, at: float
    ) -> None:
        """Hear a router advertisement (RFC 4861, 4.2). It is a default router only for a while."""
        lifetime = int.from_bytes(message[6:8], "big")
        if source[:2] != b"\xfe\x80" or not lifetime or source in self._own():
            return
        evidence = {
            "mac": mac.hex(":"), "lifetime": lifetime, "prefixes": _prefixes(message),
        }  # fmt: skip
        allowed = self._thresholds.routers
        if self._may("rogue_router", interface, source, allowed, at, "router", evidence):
            self._learn(source)

    def _learn(self, gateway: bytes) -> None:
        self._gateways.put(gateway, True)  # noqa: FBT003 - a set

    def _may(  # noqa: PLR0917 - who, where, when
        self,
        event: str,
        interface: str,
        server: bytes,
        allowed: Sequence[str],
        at: float,
        what: str,
        evidence: dict[str, Any],
    ) -> bool:
        """Return whether it may do that; tell if not."""
        name = _text(server)
        first = self._first.use((interface, what), lambda: server)
        if name in allowed if allowed else server == first:
            return True
        self._events.tell(
            event, name, at,
            interface=interface, expected=list(allowed) or [_text(first)], **evidence,
        )  # fmt: skip
        return False


def _of_version(addresses: Sequence[str], version: int) -> list[str]:
    return [text for text in addresses if (":" in text) == (version == 6)]  # noqa: PLR2004 - IPv6


def _text(address: bytes) -> str:
    return str(ip_address(address))


def _prefixes(message: bytes) -> list[str]:
    """Return the networks in a router advertisement."""
    found: list[str] = []
    at = _ADVERTISEMENT
    while at + 8 <= len(message) and message[at + 1] and len(found) < _TOLD:
        size = message[at + 1] * 8
        if message[at] == _PREFIX and message[at + 1] == _PREFIX_WORDS and at + 32 <= len(message):
            found.append(f"{_text(message[at + 16 : at + 32])}/{message[at + 2]}")
        at += size
    return found
