"""Who is on the local network, by ARP, NDP, DHCP and mDNS; and who claims to be somebody else.

A poisoner need not show one address with two MACs: it is enough that one MAC claims the gateway's
address and another one. What an honest host does stands in RFC 5227.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from vedette.capture.bounded import Bounded
from vedette.capture.events import Events
from vedette.thresholds import Thresholds

_KEPT = 1024
_CLAIMS_KEPT = 16  # addresses of one MAC
# Two MACs for one address within so long, back and forth, are two machines; a change that stays is
# another network card, or another lease.
_FLIP_SECONDS = 60.0
# A router that took over for good, with an address of its own beside, is one after so long.
_TAKEN_SECONDS = 3600.0
_SWEEP_SECONDS = 60.0
_TARGETS_KEPT = 4096
# MACs that several routers share in turns: VRRP and CARP (RFC 9568), HSRP 1 and 2, GLBP.
_SHARED = tuple(
    bytes.fromhex(start)
    for start in ("00005e0001", "00005e0002", "00000c07ac", "00000c9f", "0007b400")
)
_REQUEST, _REPLY = 1, 2


@dataclass(slots=True)
class _Claim:
    """Who speaks for an address. before: the MAC that did until `changed`. first: of all.

    announced: the change was told to all, and the MAC before has not contradicted since.
    """

    mac: bytes
    first: bytes
    seen: float
    before: bytes = b""
    changed: float = 0.0
    announced: bool = False


@dataclass(slots=True)
class _Sweep:
    since: float
    targets: set[bytes]


@dataclass(frozen=True, slots=True)
class Arp:
    """A valid ARP packet for Ethernet and IPv4; outer: the frame's own source."""

    operation: int
    mac: bytes
    sender: bytes
    target: bytes
    outer: bytes


def is_shared(mac: bytes) -> bool:
    """Return whether a MAC belongs to a group of routers, not to one machine."""
    return mac.startswith(_SHARED)


def _is_unicast(mac: bytes) -> bool:
    return len(mac) == 6 and any(mac) and not mac[0] & 1


class Neighbours:
    """What is known of them. gateways: their addresses, packed. All tables are bounded."""

    def __init__(
        self,
        thresholds: Thresholds,
        events: Events,
        own: Callable[[], frozenset[bytes]],
        gateways: Callable[[], Collection[bytes]],
        macs: Callable[[], Collection[bytes]],
    ) -> None:
        self._thresholds, self._events = thresholds, events
        self._own, self._gateways, self._macs = own, gateways, macs
        self._claims: Bounded[tuple[str, bytes], _Claim] = Bounded(_KEPT)
        self._addresses: Bounded[tuple[str, bytes], dict[bytes, float]] = Bounded(_KEPT)
        self._sweeps: Bounded[tuple[str, bytes], _Sweep] = Bounded(_KEPT)
        self._heard: Bounded[tuple[bytes, bytes], tuple[str, str]] = Bounded(_KEPT)
        self._proxies = frozenset(
            bytes.fromhex(mac.replace(":", "").replace("-", "")) for mac in thresholds.proxy_arp
        )

    def arp(self, interface: str, packet: Arp, at: float) -> None:
        """Hear one ARP packet."""
        self._sweep(interface, packet, at)
        # 0.0.0.0 asks whether an address is free (RFC 5227): it is not anybody's address.
        if not any(packet.sender) or not _is_unicast(packet.mac):
            return
        if packet.sender in self._own():
            self._of_ours(interface, packet, at)
            return
        self.heard(packet.sender, packet.mac, "arp")
        # An announcement (RFC 5227, 3): the address asks for itself.
        announced = packet.sender == packet.target
        self.claims(
            interface, packet.sender, packet.mac, at, outer=packet.outer, announced=announced
        )

    def heard(self, address: bytes, mac: bytes, how: str, name: str = "") -> None:
        """Remember that this MAC has this address; by `how`, under that name."""
        if address in self._own() or not _is_unicast(mac):
            return
        before = self._heard.get((address, mac))
        self._heard.put((address, mac), (how, name or (before[1] if before else "")))

    def claims(
        self,
        interface: str,
        address: bytes,
        mac: bytes,
        at: float,
        outer: bytes = b"",
        *,
        announced: bool = False,
    ) -> None:
        """Hear that a MAC speaks for an address, and tell if that cannot be true."""
        if is_shared(mac) or mac in self._proxies:
            return
        claim = self._claims.get((interface, address))
        if claim is None:
            self._claims.put((interface, address), _Claim(mac, mac, at))
        elif claim.mac != mac:
            self._changed(interface, address, claim, mac, at, announced=announced)
        else:
            claim.seen = at
        self._many(interface, address, mac, at, outer)

    def _changed(
        self,
        interface: str,
        address: bytes,
        claim: _Claim,
        mac: bytes,
        at: float,
        *,
        announced: bool,
    ) -> None:
        text = str(ip_address(address))
        flips = mac == claim.before and at - claim.changed < _FLIP_SECONDS
        if flips:
            self._events.tell(
                "address_conflict", text, at,
                macs=sorted((mac.hex(":"), claim.mac.hex(":"))), interface=interface,
                seconds=round(at - claim.changed, 3),
            )  # fmt: skip
        if address in self._gateways():
            self._events.tell(
                "gateway_changed", text, at,
                before=claim.mac.hex(":"), now=mac.hex(":"), interface=interface,
            )  # fmt: skip
        changed = _Claim(mac, claim.first, at, claim.mac, at, announced and not flips)
        self._claims.put((interface, address), changed)

    def _many(self, interface: str, address: bytes, mac: bytes, at: float, outer: bytes) -> None:
        """Tell if one MAC claims a gateway's address, and another's."""
        if len(address) != 4:
            return
        claimed = self._addresses.use((interface, mac), dict)
        claimed[address] = at
        if len(claimed) > _CLAIMS_KEPT:
            del claimed[min(claimed, key=lambda known: claimed[known])]
        recent = sorted(a for a, seen in claimed.items() if at - seen < _FLIP_SECONDS)
        gateways = self._gateways()
        others = [a for a in recent if a not in gateways]
        theirs = [a for a in recent if a in gateways]
        # A router with an address of its own beside the gateway's has had both from the beginning;
        # a poisoner takes over addresses that another MAC had. Who takes his own back is none, nor
        # is one that takes over for a dead one and says so to all: the dead do not contradict.
        taken = [a for a in recent if self._took(interface, a, mac, at)]
        if theirs and others and taken:
            self._events.tell(
                "arp_spoofing", mac.hex(":"), at,
                claims=[str(ip_address(a)) for a in recent[:8]], interface=interface,
                taken_over=[str(ip_address(a)) for a in taken[:8]],
                outer=outer.hex(":"),
            )  # fmt: skip
            for other in taken:
                self._events.tell(
                    "address_conflict", str(ip_address(other)), at,
                    macs=sorted({mac.hex(":"), self._before(interface, other).hex(":")}),
                    interface=interface, seconds=0.0,
                )  # fmt: skip

    def _took(self, interface: str, address: bytes, mac: bytes, at: float) -> bool:
        claim = self._claims.get((interface, address))
        return (
            claim is not None
            and claim.before != b""
            and not claim.announced
            and claim.first != mac
            and at - claim.changed < _TAKEN_SECONDS
        )

    def _before(self, interface: str, address: bytes) -> bytes:
        claim = self._claims.get((interface, address))
        return claim.before if claim else b""

    def _of_ours(self, interface: str, packet: Arp, at: float) -> None:
        """Tell if somebody else says that an address of this host is his."""
        ours = self._addresses.get(("", b"")) or {}
        if {packet.mac, packet.outer} & {*ours, *self._macs()} or is_shared(packet.mac):
            return
        self._events.tell(
            "address_conflict", str(ip_address(packet.sender)), at,
            macs=[packet.mac.hex(":")], interface=interface, seconds=0.0,
        )  # fmt: skip

    def mine(self, mac: bytes, at: float) -> None:
        """Remember a MAC that this host sends with."""
        if _is_unicast(mac):
            ours = self._addresses.use(("", b""), dict)
            if len(ours) < _CLAIMS_KEPT or mac in ours:
                ours[mac] = at

    def _sweep(self, interface: str, packet: Arp, at: float) -> None:
        if packet.operation != _REQUEST or packet.sender == packet.target:
            return
        if packet.sender in self._own() or packet.sender in self._gateways():
            return
        sweep = self._sweeps.use((interface, packet.mac), lambda: _Sweep(at, set()))
        if at - sweep.since > _SWEEP_SECONDS or at < sweep.since:
            sweep.since, sweep.targets = at, set()
        if len(sweep.targets) < _TARGETS_KEPT:
            sweep.targets.add(packet.target)
        if len(sweep.targets) >= self._thresholds.sweep_hosts:
            self._events.tell(
                "port_scan", str(ip_address(packet.sender)), at,
                shape="arp sweep", hosts=len(sweep.targets), mac=packet.mac.hex(":"),
                interface=interface, seconds=round(at - sweep.since, 3),
            )  # fmt: skip

    def take(self, vendor_of: Callable[[str], str]) -> list[list[Any]]:
        """Return [[address, mac, vendor, how, name]] of those heard since the last call."""
        rows = [
            [str(ip_address(address)), mac.hex(":"), vendor_of(mac.hex(":")), how, name]
            for (address, mac), (how, name) in self._heard.items()
        ]
        self._heard.clear()
        return sorted(rows)
