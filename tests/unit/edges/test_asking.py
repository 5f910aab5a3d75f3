"""edges/asking.py: one question over loopback, to services that behave and that do not."""

import re
import socket
from ipaddress import IPv4Address

import pytest

from tests.servers import Server, Talk, dripping, serving, silent
from vedette.edges.asking import Answer, ask

LOOPBACK = IPv4Address("127.0.0.1")
ENOUGH = re.compile(rb"enough")
REQUEST = b"GET / HTTP/1.1\r\n\r\n"


def saying(*pieces: bytes) -> Talk:
    """Read something, send these, close."""

    def talk(line: socket.socket, _: Server) -> None:
        line.recv(100)
        for piece in pieces:
            line.sendall(piece)

    return talk


def asked(talk: Talk, *, tls: bool = False, seconds: float = 5.0) -> Answer:
    with serving(talk) as server:
        return ask(LOOPBACK, server.port, REQUEST, ENOUGH, tls=tls, seconds=seconds)


@pytest.mark.parametrize(
    ("talk", "expected"),
    [
        (saying(b"yes"), Answer(b"yes", answered=True)),
        (saying(), Answer(b"", answered=True)),  # it hung up: that is an answer
        (silent, Answer()),
    ],
)
def test_an_answer_ends_with_the_connection_or_the_deadline(talk: Talk, expected: Answer) -> None:
    """Silence is none; whoever concludes something from it would be wrong."""
    assert asked(talk, seconds=0.5) == expected


def test_what_is_enough_is_not_waited_for_any_longer() -> None:
    """A server may keep the connection open."""

    def talk(line: socket.socket, server: Server) -> None:
        line.sendall(b"that is enough")
        server.stop.wait(30)

    assert asked(talk) == Answer(b"that is enough", answered=True)


def test_an_answer_without_end_is_cut() -> None:
    """By its size, or, where it drips, by the time."""
    flood = asked(saying(bytes(1 << 20)))
    drops = asked(dripping("HTTP/1.1 200 OK", 0.02), seconds=0.3)

    assert flood.answered
    assert 1 << 14 <= len(flood.data) < (1 << 14) + 4096
    assert drops.data


def test_who_speaks_no_tls_is_answered_without_data() -> None:
    """The handshake fails; nothing is raised."""
    answer = asked(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"), tls=True)

    assert answer == Answer(b"", answered=True)


def test_a_closed_port_has_not_answered() -> None:
    """It was open a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    assert ask(LOOPBACK, port, b"x", ENOUGH, tls=False, seconds=1) == Answer()
