"""capture/pcap.py and capture/offline.py: files in, exact counts out, whatever is wrong."""

import gzip
import io
import struct
from collections import Counter
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from tests.captures import make, spoken
from vedette.capture import classify, makers, offline, pcap
from vedette.thresholds import Thresholds

CAPTURES = make.captures()
GOOD = next(capture.data for capture in CAPTURES if capture.name == "little")


def read(data: bytes) -> dict[str, Any]:
    return offline.read(io.BytesIO(data), 5, Thresholds())


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda capture: capture.name)
def test_every_packet_and_byte_is_counted_under_its_protocol(capture: make.Capture) -> None:
    """Of every link type, byte order and format; a tunnel is its outer protocol."""
    document = read(capture.data)

    counted = {n: (c["packets"], c["bytes"]) for n, c in document["protocols"].items()}
    assert counted == capture.truth
    assert (document["packets"], document["bytes"]) == (
        sum(packets for packets, _ in capture.truth.values()),
        sum(size for _, size in capture.truth.values()),
    )
    assert document["undecodable"] == 0


def test_the_flows_say_what_they_speak_and_how_it_is_known() -> None:
    """8080 talks TLS, 2222 talks SSH: by content, whatever the port."""
    found = read(GOOD)["application_protocols"]

    assert {n: (c["flows"], c["by"]["content"], c["names"]) for n, c in found.items()} == {
        "http": (1, 1, ["example.org"]),
        "ssh": (2, 2, []),
        "tls": (1, 1, ["www.example.org"]),
        "dns": (1, 1, []),
        "ntp": (1, 1, []),
        "dhcp": (1, 1, []),
    }


def test_a_file_cut_short_counts_what_is_whole() -> None:
    """And says that something is missing."""
    document = read(GOOD[:-10])

    assert document["packets"] == len(make.ethernet()) - 1
    assert document["undecodable_reasons"] == {"file: cut short": 1}
    assert read(gzip.compress(GOOD)[:-12])["undecodable_reasons"] == {"file: cut short": 1}


def test_gzip_of_several_members_is_one_file() -> None:
    """As `cat a.gz b.gz` makes it."""
    half = len(GOOD) // 2
    joined = gzip.compress(GOOD[:half]) + gzip.compress(GOOD[half:])

    assert read(joined) == read(GOOD)


def test_a_block_of_no_known_interface_is_undecodable() -> None:
    """Pcapng names an interface by number; a number may lie."""
    file = make.pcapng([(1, [])]) + make.block(6, struct.pack("<IIIII", 7, 0, 0, 4, 4) + b"abcd")

    assert read(file)["undecodable_reasons"] == {"unknown link type": 1}


@given(
    st.sampled_from([capture.data for capture in CAPTURES]),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=12),
    st.integers(0, 4000),
)
@example(b"\x1f\x8b", [], 2)
def test_whatever_is_in_a_file_is_counted_or_undecodable(
    data: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    """Never an exception, and the sum of the parts is the whole."""
    changed = bytearray(data[: max(cut, 40)])
    for at, value in changes:
        changed[at % len(changed)] = value

    document = read(bytes(changed))

    parts = document["protocols"].values()
    assert sum(c["packets"] for c in parts) == document["packets"]
    assert sum(c["bytes"] for c in parts) == document["bytes"]
    assert set(document["application_protocols"]) <= classify.NAMES | {"no_payload"}


@given(
    st.binary(max_size=400),
    st.sampled_from(
        [
            0,
            1,
            6,
            7,
            9,
            10,
            12,
            50,
            51,
            100,
            101,
            104,
            105,
            107,
            108,
            113,
            119,
            127,
            129,
            138,
            149,
            163,
            192,
            204,
            226,
            228,
            239,
            242,
            258,
            276,
            999,
        ]
    ),
)
def test_a_frame_of_any_link_type_is_taken(data: bytes, link: int) -> None:
    """Runts and nonsense too."""
    document = read(make.pcap([data], link))

    assert document["packets"] == 1


@given(
    st.sampled_from(["tcp", "udp"]),
    st.binary(max_size=600),
    st.integers(0, 65535) | st.sampled_from(sorted(classify.ports.USUAL["tcp"])),
    st.integers(0, 65535) | st.sampled_from(sorted(classify.ports.USUAL["udp"])),
)
def test_any_payload_is_classified(transport: str, payload: bytes, source: int, to: int) -> None:
    """Into a name of the fixed list, or none; names for people are printable."""
    found = classify.content(transport, payload, source, to)

    assert found in classify.NAMES or found == ""
    assert all(text.isprintable() for text in classify.told(found, payload).values())


def test_records_longer_than_any_packet_end_the_file() -> None:
    """A length of four gigabytes is not believed."""
    file = make.pcap([], 1) + struct.pack("<IIII", 0, 0, 0xFFFFFFFF, 0xFFFFFFFF)

    assert list(pcap.Reader(io.BytesIO(file))) == []
    assert read(file)["undecodable_reasons"] == {"file: a record longer than any packet": 1}


def test_every_flow_is_called_what_it_is() -> None:
    """One of each; none goes by its port alone."""
    found = read(spoken.capture())["application_protocols"]

    assert {name: count["by"]["content"] for name, count in found.items()} == Counter(
        flow.name for flow in spoken.SPOKEN
    )


def test_neighbours_of_both_families_are_told_with_the_makers_of_their_cards() -> None:
    """ARP's and neighbour discovery's; IPv6 addresses are peers like the others."""
    ether = Ether(src="00:26:5a:00:00:01", dst="33:33:00:00:00:01")
    told = ICMPv6ND_NA(tgt=make.A6, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=ether.src)
    frames = [
        ether / IPv6(src=make.A6, dst="ff02::1") / told,
        ether / ARP(hwsrc=ether.src, psrc=make.A4, pdst=make.A4),
    ]
    file = io.BytesIO(make.pcap([bytes(frame) for frame in frames], 1))

    document = offline.read(file, 5, Thresholds(), makers.look_up)

    assert {(n["address"], n["heard_by"], n["vendor"]) for n in document["neighbours"]} == {
        (make.A6, "ndp", "D-Link Corporation"),
        (make.A4, "arp", "D-Link Corporation"),
    }
    assert make.A6 in [peer["address"] for peer in document["peers"]]


def test_alpn_stands_beside_the_names_asked_for() -> None:
    """As the client offers it first."""
    assert read(GOOD)["application_protocols"]["tls"]["alpn"] == ["http/1.1"]


def test_who_greets_is_told_by_the_server_s_port_and_not_by_the_client_s() -> None:
    """A client's own port may be any, even one of a mail server's."""
    welcome = b"220 files.example.org ready\r\n"

    assert classify.content("tcp", welcome, 21, 2525) == "ftp"
    assert classify.content("tcp", welcome, 2525, 50_000) == "smtp"


@pytest.mark.parametrize("version", [4, 6])
def test_loopback_of_aix_tells_the_network_by_its_ether_type(version: int) -> None:
    """Where BSD has the family alone, AIX has the interface's kind and an EtherType."""
    kind, packet = {4: (b"\x08\0", IP()), 6: (b"\x86\xdd", IPv6())}[version]
    file = make.pcap([b"\x18\0" + kind + bytes(packet / UDP())], 0)

    assert list(read(file)["protocols"]) == ["udp"]


@pytest.mark.parametrize(
    "payload",
    [
        bytes.fromhex("87") + bytes(50),  # a game's, of zeros: no version is offered
        bytes.fromhex("ffff0000a0005cd998ddf5f3c0a80a6e000002002701"),  # no draft has that number
    ],
)
def test_a_high_bit_and_a_few_zeros_are_no_quic(payload: bytes) -> None:
    """Every second datagram of chance has the one; a version that is in use decides."""
    assert classify.content("udp", payload, 50_000, 50_001) == ""
