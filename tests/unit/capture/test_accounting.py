"""capture/accounting.py: many packets at once are counted as one by one."""

import struct
from ipaddress import IPv4Address, IPv6Address

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.capture.slots import ETHERNET_TYPE, batch
from vedette.capture import decode
from vedette.capture.accounting import Counter
from vedette.capture.ring import Batch
from vedette.capture.summary import Window

OWN4, OWN6 = IPv4Address("192.0.2.10").packed, IPv6Address("2001:db8::10").packed
HOSTS4 = [OWN4, *(bytes([198, 51, 100, n]) for n in range(4))]
HOSTS6 = [OWN6, *(IPv6Address(f"2001:db8::a{n}").packed for n in range(4))]
PORTS = {"tcp": [22, 443], "udp": [53]}
TUN = 65534


def window() -> Window:
    return Window([OWN4, OWN6], PORTS)


def told(seen: Window) -> tuple[dict[str, object], object]:
    return seen.as_json(1, 50, {}), seen.syns()


def one_by_one(frames: list[bytes], link: int) -> Window:
    """What the decoder makes of them, cut as the ring cuts them."""
    seen = window()
    kept = 126 if link == ETHERNET_TYPE else 112
    for frame in frames:
        packet = decode.packet(frame[:kept], link)
        seen.add("eth0", packet, len(frame))
    return seen


def at_once(frames: list[bytes], link: int) -> Window:
    seen, counter = window(), Counter()
    counter.begin(seen)
    counter.add(batch(frames, link), {3: "eth0"})
    counter.end()
    return seen


ports = st.sampled_from([22, 53, 443, 50_000])
lengths = st.integers(0, 200)


@st.composite
def ipv4(draw: st.DrawFn) -> bytes:
    """A packet that is mostly as it should be: options, fragments, any protocol, cut anywhere."""
    protocol = draw(st.sampled_from([1, 6, 6, 6, 17, 17, 33, 47, 132, 200]))
    words = draw(st.sampled_from([5, 5, 5, 5, 6, 15, 4, 0]))
    fragment = draw(st.sampled_from([0, 0, 0, 0x4000, 0x2000, 1, 0x1FFF]))
    source, destination = draw(st.sampled_from(HOSTS4)), draw(st.sampled_from(HOSTS4))
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x40 | words, 0, 0, 0, fragment, 64, protocol, 0, source, destination
    )
    flags = draw(st.sampled_from([2, 0x12, 0x10, 0x18]))
    body = struct.pack("!HHIIBBHHH", draw(ports), draw(ports), 0, 0, 0x50, flags, 0, 0, 0)
    packet = header + bytes(max(0, words - 5) * 4) + body + bytes(draw(lengths))
    return packet[: draw(st.one_of(st.just(10_000), st.integers(0, 60)))]


@st.composite
def ipv6(draw: st.DrawFn) -> bytes:
    following = draw(st.sampled_from([6, 6, 17, 58, 0, 44, 43, 59, 60, 200]))
    source, destination = draw(st.sampled_from(HOSTS6)), draw(st.sampled_from(HOSTS6))
    header = struct.pack("!IHBB16s16s", 0x6000_0000, 0, following, 64, source, destination)
    flags = draw(st.sampled_from([2, 0x12, 0x10]))
    body = struct.pack("!HHIIBBHHH", draw(ports), draw(ports), 0, 0, 0x50, flags, 0, 0, 0)
    return (header + body + bytes(draw(lengths)))[: draw(st.sampled_from([10_000, 39, 43, 44, 60]))]


@st.composite
def arp(draw: st.DrawFn) -> bytes:
    """ARP, mostly of Ethernet and IPv4 and whole."""
    kind = draw(st.sampled_from([(1, 0x0800, 6, 4)] * 4 + [(6, 0x0800, 6, 4), (1, 0x0800, 8, 4)]))
    sender = draw(st.sampled_from([*HOSTS4, bytes(4)]))
    mac = draw(st.sampled_from([b"\2" * 6, b"\4" * 6]))
    packet = struct.pack("!HHBBH6s4s6s4s", *kind, 1, mac, sender, bytes(6), OWN4)
    return packet[: draw(st.sampled_from([28, 28, 28, 27, 9, 0]))] + bytes(draw(lengths))


MACS = bytes(12)
frames = st.one_of(
    ipv4().map(lambda packet: MACS + b"\x08\0" + packet),
    ipv6().map(lambda packet: MACS + b"\x86\xdd" + packet),
    ipv4().map(lambda packet: MACS + b"\x81\0\0\7\x08\0" + packet),
    ipv4().map(lambda packet: MACS + b"\x88\xcc" + packet),
    arp().map(lambda packet: MACS + b"\x08\6" + packet),
    st.binary(max_size=80).map(lambda rest: MACS + rest),
)


@given(st.lists(frames, min_size=1, max_size=30))
def test_many_frames_count_as_one_by_one(sent: list[bytes]) -> None:
    """The ring's process must not see another network than the portable one."""
    expected, got = one_by_one(sent, ETHERNET_TYPE), at_once(sent, ETHERNET_TYPE)

    assert told(got)[0] == told(expected)[0]


@given(st.lists(st.one_of(ipv4(), ipv6()), min_size=1, max_size=30))
def test_packets_without_a_link_header_count_as_well(sent: list[bytes]) -> None:
    """Tunnels hand over the network header at once."""
    sent = [packet for packet in sent if packet] or [b"\x45"]

    assert told(at_once(sent, TUN))[0] == told(one_by_one(sent, TUN))[0]


TAPS = {3: ("eth0", ETHERNET_TYPE), 4: ("tun0", TUN), 5: ("eth1", ETHERNET_TYPE), 6: ("odd", 824)}


@given(st.lists(st.tuples(frames, st.sampled_from(list(TAPS))), min_size=1, max_size=30))
def test_interfaces_whose_packets_alternate_count_as_one_by_one(
    sent: list[tuple[bytes, int]],
) -> None:
    """All interfaces share the ring; each has its kind of link header, or an unknown one."""
    expected, got, counter = window(), window(), Counter()
    rows = []
    for frame, interface in sent:
        name, link = TAPS[interface]
        sent_there = frame[14:] or b"\x45" if link == TUN else frame
        kept = 112 if link == TUN else 126
        expected.add(name, decode.packet(sent_there[:kept], link), len(sent_there))
        rows.append(batch([sent_there], link, interface).rows)
    counter.begin(Window([OWN4, OWN6], {"tcp": [50_000], "udp": [443]}))
    counter.begin(got)  # what a window before looked for is forgotten
    counter.add(Batch(np.concatenate(rows)), {index: name for index, (name, _) in TAPS.items()})
    counter.end()

    assert told(got)[0] == told(expected)[0]


def syn(source: bytes, destination: bytes, port: int, flags: int = 2) -> bytes:
    tcp = struct.pack("!HHIIBBHHH", 4000, port, 0, 0, 80, flags, 0, 0, 0)
    if len(source) == 16:
        header = struct.pack("!IHBB16s16s", 0x6000_0000, 20, 6, 64, source, destination)
        return MACS + b"\x86\xdd" + header + tcp
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, source, destination)
    return MACS + b"\x08\0" + header + tcp


@pytest.mark.parametrize("hosts", [HOSTS4, HOSTS6])
def test_syns_are_counted_by_who_sends_them(hosts: list[bytes]) -> None:
    """Nothing else of a scan is sure to be there: ports may be closed, answers dropped."""
    own, scanner, client = hosts[:3]
    scan = [syn(scanner, own, port) for port in range(1, 101)]
    talk = [syn(client, own, 443), syn(client, own, 443, 0x10), syn(own, client, 80)]

    assert at_once([*scan, *talk], ETHERNET_TYPE).syns() == [
        (scanner, 100, 1, 100), (client, 1, 1, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("senders", [1, 100_000])
def test_a_flood_of_syns_costs_bounded_memory(senders: int) -> None:
    """Forged sources come without end; how many SYNs there were in all is not told by them."""
    seen, counter = window(), Counter()
    counter.begin(seen)
    for start in range(0, 100_000, 10_000):
        sources = ((start + n) % senders for n in range(10_000))
        flood = [syn((0x0A00_0000 + s).to_bytes(4, "big"), OWN4, 443) for s in sources]
        counter.add(batch(flood), {3: "eth0"})
    counter.end()
    syns = seen.syns()

    assert len(syns) <= 64
    assert sum(size for _, size in seen.as_json(1, 10, {})["peers"]) == 100_000 * 54
    if senders == 1:
        assert syns == [(b"\x0a\0\0\0", 100_000, 1, 1)]


def test_a_scan_amid_a_flood_is_counted() -> None:
    """Senders of whom one SYN is all that ever comes take no place of others."""
    own, scanner = HOSTS4[:2]
    seen = window()
    for number in range(100_000):
        seen.count_syn(number.to_bytes(4, "big"), own, 443, 1)
        if number % 500 == 0:
            seen.count_syn(scanner, own, 1 + number // 500, 1)

    assert seen.syns()[0] == (scanner, 200, 1, 200)
    assert seen.begun == 100_200


def test_an_interface_that_is_gone_still_has_a_name() -> None:
    """Packets may lie in the ring when their interface vanishes."""
    seen, counter = window(), Counter()
    counter.begin(seen)
    counter.add(batch([syn(HOSTS4[1], OWN4, 22)]), {})

    assert seen.as_json(1, 1, {})["protocols"] == [["unknown", "tcp", 1, 54]]
