"""capture/announced.py and classify/media.py: what one conversation says of another."""

import io
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

from tests.captures import make
from vedette.capture import decode, offline
from vedette.capture.announced import ANNOUNCING, Announced
from vedette.capture.classify import media
from vedette.thresholds import Thresholds

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
A, B = make.A4, make.B4


def flows(*packets: Any) -> dict[str, int]:
    """Return {protocol: flows} of a capture of these."""
    data = make.pcap([bytes(ETHER / packet) for packet in packets], 1)
    found = offline.read(io.BytesIO(data), 5, Thresholds())["application_protocols"]
    return {name: count["flows"] for name, count in found.items()}


def tcp(source: str, to: str, ports: tuple[int, int], payload: bytes, flags: str = "PA") -> Any:
    """Return a segment."""
    return IP(src=source, dst=to) / TCP(sport=ports[0], dport=ports[1], flags=flags) / payload


def udp(source: str, to: str, ports: tuple[int, int], payload: bytes) -> Any:
    """Return a datagram."""
    return IP(src=source, dst=to) / UDP(sport=ports[0], dport=ports[1]) / payload


def rtp(sequence: int, source: int = 7) -> bytes:
    """Return a datagram of 20 ms of sound."""
    return struct.pack("!BBHII", 0x80, 0, sequence, 160 * sequence, source) + bytes(160)


SDP = (
    b"INVITE sip:b@example.org SIP/2.0\r\nContent-Type: application/sdp\r\n\r\n"
    b"v=0\r\nc=IN IP4 192.0.2.10\r\nm=audio 40100 RTP/AVP 0\r\nm=image 40200 udptl t38\r\n"
)


@pytest.mark.parametrize(
    "reply",
    [b"227 Entering Passive Mode (198,51,100,7,156,64).\r\n", b"229 Entered (|||40000|)\r\n"],
)
def test_ftp_says_where_its_data_goes(reply: bytes) -> None:
    """Whatever the data looks like: here it is a request of HTTP."""
    control = (50000, 21)
    said = [tcp(A, B, control, b"NOOP\r\n")] * 9  # later than a flow's first payloads
    data = tcp(A, B, (50001, 40000), b"GET / HTTP/1.1\r\n\r\n")

    answered = tcp(B, A, (21, 50000), reply)

    assert flows(tcp(A, B, control, b"USER a\r\n"), *said, answered, data) == {
        "ftp": 1,
        "ftp-data": 1,
    }
    assert "ftp-data" not in flows(tcp(A, B, control, b"USER a\r\n"), *said, data)


def test_tftp_answers_from_a_new_port() -> None:
    """The request went to port 69, the file comes from anywhere."""
    request = udp(A, B, (50000, 69), b"\0\1file\0octet\0")

    assert flows(request, udp(B, A, (33333, 50000), b"\0\3\0\1data")) == {"tftp": 2}


def test_a_call_says_where_its_media_go() -> None:
    """Sound, its reports one port above, and a fax."""
    call = udp(A, B, (5060, 5060), SDP)
    media_of_it = [
        udp(B, A, (7000, 40100), b"\x80\0short packet"),
        udp(B, A, (7100, 40101), bytes(12)),
        udp(B, A, (7200, 40200), b"fax"),
    ]

    assert flows(call, *media_of_it) == {"sip": 1, "rtp": 1, "rtcp": 1, "t38": 1}


def test_sound_continues_itself() -> None:
    """Without an announcement one header may be chance; two that follow one another are not."""
    ports = (41000, 42000)

    assert flows(*(udp(A, B, ports, rtp(n)) for n in (5, 6))) == {"rtp": 1}
    assert flows(udp(A, B, ports, rtp(5))) == {"unknown": 1}
    assert flows(*(udp(A, B, ports, rtp(n, n)) for n in (5, 6))) == {"unknown": 1}
    assert flows(*(udp(A, B, ports, rtp(n)) for n in (5, 500))) == {"unknown": 1}


def test_a_report_is_told_by_its_length() -> None:
    """RTCP counts words, and its kinds are none of RTP's."""
    report = struct.pack("!BBHI", 0x81, 200, 6, 7) + bytes(20)

    assert media.rtcp(report) == "rtcp"
    assert media.rtcp(report[:-4]) == media.rtcp(report[:-1]) == media.rtcp(bytes(28)) == ""


def test_a_second_connection_of_the_same_ports_is_another_flow() -> None:
    """A SYN after payload: a client that uses its port again. A SYN sent twice is the first."""
    ports = (50000, 80)
    syn, asks = tcp(A, B, ports, b"", "S"), tcp(A, B, ports, b"GET / HTTP/1.1\r\n\r\n")

    assert flows(syn, syn, asks) == {"http": 1}
    assert flows(syn, asks, syn, tcp(A, B, ports, b"SSH-2.0-x\r\n")) == {"http": 1, "ssh": 1}


@given(st.sampled_from(sorted(ANNOUNCING)), st.binary(max_size=300), st.binary(max_size=60))
def test_whatever_is_announced_is_taken(protocol: str, noise: bytes, more: bytes) -> None:
    """Nonsense is no place; what is kept stays bounded."""
    announced = Announced()
    packet = decode.Packet("udp", b"\1\2\3\4", b"\5\6\7\10", 1, 2)
    for said in (noise, SDP + noise, b"227 (1,2,3,4,5,6" + noise, b"m=audio 99999 RTP/" + more):
        announced.learn(protocol, packet, said)

    assert announced.expected(packet) in ("", "tftp", "rtp", "rtcp", "t38")


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_no_datagram_upsets_the_media(datagrams: list[bytes]) -> None:
    """Short ones too."""
    stream = media.Stream()

    assert all(
        stream.is_rtp(p) in (True, False) and media.rtcp(p) in ("", "rtcp") for p in datagrams
    )
