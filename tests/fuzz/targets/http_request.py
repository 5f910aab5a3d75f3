"""publish/server.py, guard.py, exposition.py: what anybody can send to the port, on loopback.

One server with a password for all inputs; its clock leaps, so that nobody is told to wait.
"""

import logging
import socket
import tempfile
from contextlib import suppress
from functools import cache
from itertools import count
from pathlib import Path

from tests.support import exposition_of, record_of
from tests.unit.publish.test_passwords import basic, hashed
from tests.unit.publish.test_server import BODY, FAMILY, INDECENT, PAGES, request
from vedette.publish.guard import Guard
from vedette.publish.server import Server

_LOGIN = basic(b"alice:secret")
WORDS = [
    *(b"GET ", b"HEAD ", b"POST ", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"\r\n\r\n", b"0\r\n\r\n"),
    *(b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n"),
    *(b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Host: ", b"Accept: "),
    *(b"application/openmetrics-text;version=1.0.0;q=0.5,", b"Accept-Encoding: gzip\r\n"),
    *(path.encode() for path in ("/metrics", *PAGES)),
    *(b"Authorization: Basic ", _LOGIN.encode(), basic(b"bob:x").encode()),
]


class _Errors(logging.Handler):
    """Keeps what is logged as an error: the server survives its bugs, and says so there."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(logging.Formatter().format(record))


@cache
def _server() -> tuple[tuple[str, int], _Errors]:
    """Start the server; return where it listens, and its errors."""
    errors = _Errors()
    logging.getLogger().addHandler(errors)
    web = Path(tempfile.mkdtemp(prefix="vedette-fuzz-")) / "web.yml"
    web.write_text(f"basic_auth_users: {{alice: '{hashed(b'secret')}'}}\n", encoding="utf-8")
    seconds = count(step=1000)
    guard = Guard(web, lambda: float(next(seconds)))
    guard.start()
    pages = {path: page for path, page in PAGES.items() if path != "/broken"}
    server = Server(exposition_of({"job": record_of("job", [FAMILY])}), pages, 64, guard)
    where = server.bind("127.0.0.1", 0)
    server.start()
    return where, errors


def seeds() -> list[bytes]:
    """Return decent requests, with and without a login, alone and in a row, and indecent ones."""
    decent = [
        request(method, path, **headers)
        for method, path in [("GET", path) for path in ("/metrics", *PAGES)] + [("HEAD", "/")]
        for headers in (
            {},
            {"Authorization": _LOGIN},
            {"Authorization": _LOGIN, "Accept": "text/plain;q=0.1,*/*", "Accept_Encoding": "gzip"},
        )
    ]
    body = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    return [*decent, b"".join(decent[:4]), body + decent[1], *(sent[:500] for sent in INDECENT)]


def take(sent: bytes) -> None:
    """Hold that the connection ends, that nothing went wrong inside, and that nobody came in."""
    where, errors = _server()
    answer = b""
    with socket.create_connection(where, timeout=5) as peer, suppress(ConnectionError):
        peer.sendall(sent)
        peer.shutdown(socket.SHUT_WR)
        while piece := peer.recv(1 << 16):
            answer += piece
    assert not errors.seen, errors.seen
    if _LOGIN.split()[1].encode() not in sent:
        assert b"HTTP/1.1 200 " not in answer
        assert BODY not in answer
