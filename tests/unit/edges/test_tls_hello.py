"""edges/tls_hello.py: how a client begins, and what a server's first bytes say."""

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vedette.edges import tls_hello


def server(version: int, cipher: int, session: bytes = b"") -> bytes:
    """A ServerHello as RFC 5246 has it."""
    body = struct.pack(">H", version) + bytes(32) + bytes([len(session)]) + session
    body += struct.pack(">HB", cipher, 0)
    message = b"\x02" + struct.pack(">I", len(body))[1:] + body
    return struct.pack(">BHH", 22, version, len(message)) + message


@pytest.mark.parametrize("session", [b"", bytes(32)])
def test_a_server_says_version_and_cipher(session: bytes) -> None:
    """Behind a session of any length."""
    assert tls_hello.server_hello(server(0x0301, 0x002F, session)) == (0x0301, 0x002F)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x15\x03\x01\x00\x02\x02\x28",  # alert: handshake failure
        server(0x0301, 0x002F)[:-2],
        server(0x0301, 0x002F, bytes(32))[:60],
        b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(40),
    ],
)
def test_whatever_else_is_no_choice(answer: bytes) -> None:
    """A refusal, a piece, another protocol."""
    assert tls_hello.server_hello(answer) is None


@pytest.mark.parametrize("version", [0x0300, 0x0301, 0x0302, 0x0303])
def test_a_hello_says_its_own_lengths(version: int) -> None:
    """A server that is strict hangs up on anything else; SSL 3.0 knows no extensions."""
    hello = tls_hello.client_hello(version, [0x002F, 0xC013], bytes(32))

    assert struct.unpack_from(">BHH", hello) == (22, min(version, 0x0301), len(hello) - 5)
    assert struct.unpack_from(">I", b"\0" + hello[6:9])[0] == len(hello) - 9
    assert struct.unpack_from(">H", hello, 9)[0] == version
    # version, random, session; ciphers with the signal of RFC 5746; compression
    suites = 9 + 2 + 32 + 1
    assert struct.unpack_from(">HHHH", hello, suites) == (6, 0x002F, 0xC013, 0x00FF)
    rest = hello[suites + 8 + 2 :]
    assert (rest == b"") == (version == 0x0300)
    assert not rest or struct.unpack_from(">H", rest)[0] == len(rest) - 2


@given(st.binary(max_size=120), st.binary(max_size=60))
@example(b"\x16\x03\x01\x00\x31\x02\x00\x00\x2d" + bytes(34) + b"\xff", b"")
def test_any_bytes_are_a_choice_or_none(start: bytes, more: bytes) -> None:
    """They are a stranger's."""
    for answer in (start, server(0x0301, 0x002F)[:44] + start, start + more):
        chosen = tls_hello.server_hello(answer)
        assert chosen is None or all(0 <= number < 1 << 16 for number in chosen)
