"""publish/server.py, over loopback: what peers send in, what they get out."""

import gzip
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.metrics_core import GaugeMetricFamily

from tests.support import exposition_of, record_of
from vedette.publish.exposition import OPENMETRICS, TEXT, Exposition
from vedette.publish.server import HTML, JSON, PLAIN, AddressInUse, Answer, Server

FAMILY = GaugeMetricFamily("vedette_test", "A test.", value=1)
METRICS = exposition_of({"job": record_of("job", [FAMILY])})
BODY = b"# HELP vedette_test A test.\n# TYPE vedette_test gauge\nvedette_test 1.0\n"


def broken() -> Answer:
    raise ZeroDivisionError("oh")


PAGES = {
    "/": lambda: Answer(200, HTML, b"<p>hello"),
    "/inventory.json": lambda: Answer(200, JSON, b"{}"),
    "/-/ready": lambda: Answer(503, PLAIN, b"scan: no snapshot yet\n"),
    "/broken": broken,
}
# What is too large, ambiguous, or no HTTP at all.
INDECENT = [
    b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
    b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 2000,
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n",
    b"\r\n\r\n\r\n\r\n",
    b"GET\r\n\r\n",
]
Response = tuple[int, dict[str, str], bytes]


@contextmanager
def serving(most_connections: int = 64, deadline_seconds: float = 5.0) -> Iterator[tuple[str, int]]:
    server = Server(METRICS, PAGES, most_connections)
    server.deadline_seconds = deadline_seconds
    address = server.bind("127.0.0.1", 0)
    server.start()
    try:
        yield address
    finally:
        server.stop()


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with serving() as where:
        yield where


def connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=5)


def receive(peer: socket.socket, *, body: bool = True) -> Response:
    """Read one response; raises ConnectionError if the server closes before its end."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += more(peer)
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
    size = int(headers.get("content-length", 0)) if body else 0
    while len(rest) < size:
        rest += more(peer)
    return int(first.split()[1]), headers, rest


def more(peer: socket.socket) -> bytes:
    piece = peer.recv(1 << 16)
    if not piece:
        raise ConnectionError("closed")
    return piece


def request(method: str, path: str, **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{''.join(lines)}\r\n".encode()


def ask(address: tuple[str, int], method: str, path: str, **headers: str) -> Response:
    with connect(address) as peer:
        peer.sendall(request(method, path, **headers))
        return receive(peer, body=method != "HEAD")


@pytest.mark.parametrize(
    ("path", "status", "content_type", "body"),
    [
        ("/metrics", 200, TEXT, BODY),
        ("/metrics?collect[]=x", 200, TEXT, BODY),
        ("/", 200, HTML, b"<p>hello"),
        ("/inventory.json", 200, JSON, b"{}"),
        ("http://somewhere:8000/metrics?x", 200, TEXT, BODY),
        ("HTTPS://somewhere", 200, HTML, b"<p>hello"),
        ("/-/ready", 503, PLAIN, b"scan: no snapshot yet\n"),
        ("/broken", 500, PLAIN, b"a bug; the log says more\n"),
        *(
            (
                path,
                404,
                PLAIN,
                b"not found; there are / /-/ready /broken /inventory.json /metrics\n",
            )
            for path in ("/metrics/", "/../etc/passwd", "//metrics", "/%6detrics", "/-/reload")
        ),
    ],
)
def test_paths(
    address: tuple[str, int], path: str, status: int, content_type: str, body: bytes
) -> None:
    """Each answers, and a bug in one is its own."""
    got, headers, content = ask(address, "GET", path)

    assert (got, headers["content-type"], content) == (status, content_type, body)
    assert headers["content-length"] == str(len(body))
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "FOO"])
def test_only_reading_is_allowed(address: tuple[str, int], method: str) -> None:
    """No request starts work or changes anything."""
    status, headers, _ = ask(address, method, "/metrics", Content_Length="0")

    assert (status, headers["allow"]) == (405, "GET, HEAD")


def test_head_tells_the_size_and_sends_nothing(address: tuple[str, int]) -> None:
    """A probe that looks whether the page is there; the connection stays usable after it."""
    with connect(address) as peer:
        peer.sendall(request("HEAD", "/metrics") + request("GET", "/inventory.json"))
        status, headers, rest = receive(peer, body=False)
        following = rest
        while not following.endswith(b"{}"):
            following += more(peer)

    assert (status, headers["content-length"]) == (200, str(len(BODY)))
    assert following.startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_connection_serves_many_requests(address: tuple[str, int]) -> None:
    """Prometheus keeps it: no handshake for each scrape."""
    with connect(address) as peer:
        for _ in range(3):
            peer.sendall(request("GET", "/metrics"))
            assert receive(peer)[2] == BODY


def test_a_scraper_gets_what_it_asks_for(address: tuple[str, int]) -> None:
    """Format and compression; a cache in between must know that they differ."""
    status, headers, body = ask(
        address, "GET", "/metrics", Accept="application/openmetrics-text", Accept_Encoding="gzip"
    )

    assert (status, headers["content-type"]) == (200, OPENMETRICS)
    assert (headers["content-encoding"], headers["vary"]) == ("gzip", "Accept, Accept-Encoding")
    assert gzip.decompress(body) == BODY + b"# EOF\n"


@pytest.mark.parametrize("sent", INDECENT)
def test_what_is_no_decent_request_ends_the_connection(
    address: tuple[str, int], sent: bytes
) -> None:
    """Too large, ambiguous, or no HTTP at all: refused or closed, and the server goes on."""
    with connect(address) as peer:
        with suppress(BrokenPipeError, ConnectionResetError):
            peer.sendall(sent)
        with suppress(ConnectionError):  # closed without a word, which is as good
            assert receive(peer)[0] in (400, 405)

    assert ask(address, "GET", "/metrics")[0] == 200


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_leave_the_server_alive(address: tuple[str, int], sent: bytes) -> None:
    """Whatever a port scanner throws at it, ours included."""
    with connect(address) as peer, suppress(ConnectionError):
        peer.sendall(sent + b"\r\n\r\n")
        peer.shutdown(socket.SHUT_WR)
        while more(peer):
            pass

    assert ask(address, "GET", "/metrics")[2] == BODY


def test_a_header_that_never_ends_is_cut_at_the_deadline() -> None:
    """One byte a second would hold a connection for hours; a few hundred would hold them all."""
    with serving(deadline_seconds=0.3) as address, connect(address) as peer:
        begin = time.monotonic()
        with pytest.raises(ConnectionError):  # noqa: PT012 - it drips until it is cut
            for byte in request("GET", "/metrics", X="y" * 100):
                peer.sendall(bytes([byte]))
                time.sleep(0.05)
            receive(peer)
        took = time.monotonic() - begin

    assert took < 2.0


def test_an_idle_connection_is_closed_at_the_deadline() -> None:
    """Between two requests as before the first."""
    with serving(deadline_seconds=0.3) as address, connect(address) as peer:
        peer.sendall(request("GET", "/metrics"))
        receive(peer)

        assert peer.recv(1) == b""


def test_connections_beyond_the_limit_are_closed_at_once() -> None:
    """Tornado knows no limit; ours counts a set of Tornado's own, which may be renamed one day."""
    with serving(most_connections=8) as address:
        idle = [connect(address) for _ in range(8)]
        for peer in idle:
            peer.sendall(request("GET", "/metrics"))
            receive(peer)
        with connect(address) as one_more, suppress(ConnectionResetError):
            one_more.sendall(request("GET", "/metrics"))
            assert one_more.recv(1) == b""
        idle.pop().close()
        end = time.monotonic() + 5
        served = False
        while not served and time.monotonic() < end:
            with suppress(ConnectionError):
                served = ask(address, "GET", "/metrics")[0] == 200

        assert served
        for peer in idle:
            peer.close()


def test_many_idle_connections_do_not_delay_an_answer() -> None:
    """A thread for each would; here they cost a file descriptor."""
    with serving(most_connections=512) as address:
        idle = [connect(address) for _ in range(200)]
        begin = time.monotonic()
        status, _, _ = ask(address, "GET", "/metrics")
        took = time.monotonic() - begin
        for peer in idle:
            peer.close()

    assert status == 200
    assert took < 4


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no IPv6")
@pytest.mark.parametrize(
    ("listens", "answers"),
    [("::", ["127.0.0.1", "::1"]), ("::1", ["::1"]), ("0.0.0.0", ["127.0.0.1"])],  # noqa: S104
)
def test_which_addresses_answer(listens: str, answers: list[str]) -> None:
    """Whoever opens a host of both families to all expects both; the watchdog asks there, too."""
    server = Server(METRICS, {"/-/healthy": lambda: Answer(200, PLAIN, b"")}, 8)
    _, port = server.bind(listens, 0)
    server.start()
    seen = []
    for host in ("127.0.0.1", "::1"):
        with suppress(ConnectionRefusedError):
            seen += [host] * (ask((host, port), "GET", "/metrics")[0] == 200)
    alive = server.answers(2.0)
    server.stop()

    assert (seen, alive) == (answers, True)


def test_an_address_in_use_is_one_clear_line(address: tuple[str, int]) -> None:
    """The commonest mistake: two agents, or another exporter."""
    host, port = address
    expected = rf"^cannot listen on 127\.0\.0\.1:{port}: Address already in use$"
    with pytest.raises(AddressInUse, match=expected):
        Server(METRICS, PAGES, 8).bind(host, port)


def test_an_address_that_is_not_ours_is_one_clear_line() -> None:
    """A typing error in the address."""
    with pytest.raises(AddressInUse, match=r"^cannot listen on 192\.0\.2\.1:8000: Cannot assign"):
        Server(METRICS, PAGES, 8).bind("192.0.2.1", 8000)
    with pytest.raises(AddressInUse, match=r"^cannot listen on \[2001:db8::1\]:8000: "):
        Server(METRICS, PAGES, 8).bind("2001:db8::1", 8000)


def test_after_stop_the_port_is_free() -> None:
    """A restart must not wait for the one before."""
    with serving() as (host, port):
        pass
    again = Server(METRICS, PAGES, 8)

    assert again.bind(host, port) == (host, port)
    again.start()
    again.stop()


def test_pages_are_made_when_they_are_asked_for() -> None:
    """The inventory is of this moment."""
    made: list[int] = []

    def page() -> Answer:
        made.append(1)
        return Answer(200, JSON, json.dumps(len(made)).encode())

    server = Server(METRICS, {"/": page}, 8)
    address = server.bind("127.0.0.1", 0)
    server.start()
    try:
        assert [ask(address, "GET", "/")[2] for _ in range(2)] == [b"1", b"2"]
    finally:
        server.stop()


class Torn(Exposition):
    """Metrics with a bug."""

    def body(self, content_type: str, *, compressed: bool) -> bytes:
        raise ZeroDivisionError(content_type, compressed)


TORN = Torn(dict, lambda _records, _dropped: (), 100)


@pytest.mark.parametrize(("metrics", "reason"), [(METRICS, ""), (TORN, "bug")])
def test_scrapes_are_counted_and_nothing_else(metrics: Exposition, reason: str) -> None:
    """What a publisher counts: attempts, failures by reason, the last success."""
    server = Server(metrics, PAGES, 8)
    host, port = server.bind("127.0.0.1", 0)
    server.start()
    for method, path in (("GET", "/"), ("HEAD", "/metrics"), ("POST", "/metrics"), ("GET", "/x")):
        ask((host, port), method, path)
    before = server.tally.attempts
    for _ in range(3):
        ask((host, port), "GET", "/metrics?a=b")
    server.stop()

    assert (before, server.tally.attempts) == (0, 3)
    assert server.tally.failures == {"auth": 0, "throttled": 0, "bug": 3 if reason else 0}
    assert (server.tally.last_success is None) == bool(reason)
