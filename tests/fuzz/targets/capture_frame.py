"""capture/dissection.py: frames as they come from the network, several in one input."""

import json

from scapy.layers.dhcp6 import (
    DHCP6_Advertise,
    DHCP6OptDNSServers,
    DHCP6OptIA_NA,
    DHCP6OptIAAddress,
    DHCP6OptServerId,
)
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptPrefixInfo, IPv6
from scapy.layers.l2 import Ether

from tests.captures import make
from vedette.capture.dissection import Dissection
from vedette.thresholds import EVENTS, Thresholds

OWN = frozenset({bytes([198, 51, 100, 7])})
WORDS = [
    b"\x16\x03\x01",
    b"\x63\x82\x53\x63",
    b"SSH-",
    b"GET / HTTP/1.1\r\n",
    b"\x08\x06\0\1\x08\0\6\4",
    b"\x02\x23\x02\x22",  # DHCPv6's ports
    b"\x86\0",  # a router advertisement
]
_MAC = "02:00:00:00:00:01"
_V6 = IPv6(src="fe80::1", dst="ff02::1")
_LOCAL = (
    _V6 / UDP(sport=547, dport=546) / DHCP6_Advertise() / DHCP6OptServerId(duid=b"\0\3\0\1abcdef")
    / DHCP6OptIA_NA(ianaopts=[DHCP6OptIAAddress(addr="2001:db8::99")])
    / DHCP6OptDNSServers(dnsservers=["fe80::1"]),
    _V6 / ICMPv6ND_RA() / ICMPv6NDOptPrefixInfo(prefix="2001:db8::", prefixlen=64),
    IP(src="198.51.100.7", dst="192.0.2.1") / ICMP(type=3, code=3)
    / IP(src="192.0.2.1", dst="198.51.100.7") / UDP(sport=50_000, dport=161),
)  # fmt: skip
_APART = b"\xff\0\xff\0"


def seeds() -> list[bytes]:
    """Return a frame of each kind, and all together."""
    frames = [frame for _, frame in make.ethernet()]
    frames += [bytes(Ether(src=_MAC, dst=_MAC) / packet) for packet in _LOCAL]
    return [*frames, _APART.join(frames)]


def take(data: bytes) -> None:
    """Hold that it raises nothing, and tells plain JSON with events of the fixed list."""
    dissection = Dissection(Thresholds(), lambda: OWN, lambda: {"tcp": [80], "udp": [53]})
    for number, frame in enumerate(data.split(_APART)):
        dissection.frame("eth0", 1 + 771 * (number % 2), frame, len(frame), float(number))
    told = dissection.window([])
    assert json.loads(json.dumps(told)) == told
    assert {event[0] for event in told["events"]} <= set(EVENTS)
