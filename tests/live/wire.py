"""Frames put on a cable as they are, for what no program here would send."""

import socket
import time
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import DHCP6_Advertise, DHCP6OptDNSServers, DHCP6OptServerId
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptPrefixInfo, IPv6
from scapy.layers.l2 import ARP, Ether

from tests.live.netns import Namespace

EVERYBODY = "ff:ff:ff:ff:ff:ff"
_APART_SECONDS = 0.002  # 500 a second are looked into: a test's frames shall not be shed


class Wire:
    """One end of a cable. peer_mac: the card at the other end, to which unicast goes."""

    def __init__(self, sender: Namespace, peer_mac: str) -> None:
        self._peer_mac = peer_mac
        with sender.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            self._socket.bind(("eth0", 0))

    def send(self, packets: Iterable[Any], apart: float = _APART_SECONDS) -> None:
        """Send these frames, one after the other."""
        for packet in packets:
            self._socket.send(bytes(packet))
            time.sleep(apart)

    def flood(self, packets: Iterable[Any], seconds: float) -> None:
        """Send these over and over: some ten thousand a second."""
        frames = [bytes(packet) for packet in packets]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for frame in frames:
                self._socket.send(frame)
            time.sleep(_APART_SECONDS)

    def syn(self, source: str, to: str, port: int, mac: str) -> Any:
        """Return the beginning of a connection."""
        head = Ether(src=mac, dst=self._peer_mac) / IP(src=source, dst=to)
        return head / TCP(sport=40_000, dport=port, flags="S", options=[("MSS", 1460)])

    def datagram(self, source: str, to: str, port: int, mac: str) -> Any:
        """Return a datagram to a port."""
        head = Ether(src=mac, dst=self._peer_mac) / IP(src=source, dst=to)
        return head / UDP(sport=50_000, dport=port) / b"probe"

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def arp(sender: str, mac: str, target: str) -> Any:
    """Return the question who has an address."""
    return Ether(src=mac, dst=EVERYBODY) / ARP(op=1, hwsrc=mac, psrc=sender, pdst=target)


def dhcp(server: str, mac: str, kind: str, address: str) -> Any:
    """Return a DHCP server's answer to all, which gives an address."""
    options = [("message-type", kind), ("server_id", server), "end"]
    return (
        Ether(src=mac, dst=EVERYBODY) / IP(src=server, dst="255.255.255.255")
        / UDP(sport=67, dport=68)
        / BOOTP(op=2, yiaddr=address, chaddr=bytes.fromhex("020000000099")) / DHCP(options=options)
    )  # fmt: skip


def dhcp6(server: str, mac: str) -> Any:
    """Return a DHCPv6 server's offer, which names itself as resolver."""
    return (
        Ether(src=mac, dst="33:33:00:00:00:01") / IPv6(src=server, dst="ff02::1")
        / UDP(sport=547, dport=546) / DHCP6_Advertise(trid=7)
        / DHCP6OptServerId(duid=ip_address(server).packed) / DHCP6OptDNSServers(dnsservers=[server])
    )  # fmt: skip


def router(address: str, mac: str, prefix: str, lifetime: int = 1800) -> Any:
    """Return a router advertisement."""
    head = Ether(src=mac, dst="33:33:00:00:00:01") / IPv6(src=address, dst="ff02::1", hlim=255)
    return (
        head / ICMPv6ND_RA(routerlifetime=lifetime)
        / ICMPv6NDOptPrefixInfo(prefix=prefix, prefixlen=64)
    )  # fmt: skip
