"""The HTTP server: metrics, the page, the inventory, health. Read-only; it only hands out.

Tornado was chosen by measurement (DECISIONS.md): one thread, one deadline for a whole request
header, and no idle peer that could keep another one waiting.
"""

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine

from vedette import log
from vedette.publish import exposition
from vedette.publish.tally import Tally

if TYPE_CHECKING:
    from vedette.publish.guard import Guard, Refusal

# For the whole header of a request, and for an idle connection between two: longer than the usual
# scrape intervals would keep attackers' connections as long.
_DEADLINE_SECONDS = 10
_HEADER_LIMIT = 16 << 10  # bytes, the request line included
_BODY_LIMIT = 1 << 10  # bytes: no path takes a body
_REASONS = {200: "OK", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed",
            429: "Too Many Requests", 500: "Internal Server Error",
            503: "Service Unavailable"}  # fmt: skip
# The page needs no script, and nobody may frame it or have it load anything.
_SAFETY = {
    # nmap, ours included, knows an HTTP server by this line; the version is nobody's business.
    "Server": "vedette",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

# Why a scrape brought nothing, in the words of all publishers. auth: a certificate of another
# name, or no good password.
_FAILURES = {401: "auth", 429: "throttled", 500: "bug"}

HTML = "text/html; charset=utf-8"
JSON = "application/json"
PLAIN = "text/plain; charset=utf-8"


class AddressInUse(Exception):
    """The address cannot be listened on; the message says why, in words."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a path gives. Everything but the body of /metrics is made when it is asked for."""

    status: int
    content_type: str
    body: bytes


class _Bounded(HTTPServer):
    """Closes connections beyond a number at once, and takes the TLS context of the moment.

    Tornado itself knows no limit, and one context for all time. The set and the method are its own
    and undocumented; tests/unit/publish/test_server.py and tests/live/test_tls.py guard them.
    """

    most_connections = 512
    guard: "Guard | None" = None
    own: frozenset[tuple[str, int]] = frozenset()

    def _handle_connection(self, connection: socket.socket, address: Any) -> None:
        ours = address[:2] in self.own
        if len(self._connections) >= self.most_connections and not ours:
            connection.close()
            return
        self.ssl_options = None if ours or self.guard is None else self.guard.context()
        super()._handle_connection(connection, address)


class _TornadoLog(logging.Handler):
    """What Tornado logs. A handshake that failed is the guard's, all else for those who debug."""

    def __init__(self, guard: "Guard | None") -> None:
        super().__init__()
        self._guard = guard

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if self._guard is not None and message.startswith("SSL Error on"):
            _, peer, error = record.args  # type: ignore[misc]  # as this message has them
            address = str(peer[0]) if isinstance(peer, tuple) else "?"
            self._guard.refuse("handshake", address, getattr(error, "reason", None) or str(error))
        elif record.levelno >= logging.ERROR:
            under_way = sys.exc_info()[0] is not None
            log.event("error", "bug in the server", error=message, trace=under_way)
        else:
            log.event("debug", "server", said=message)


class Server:
    """Serves in a thread of its own. pages: {path: what to answer}, for GET and HEAD.

    guard: who may come in, to any path; None: everybody. tally: what became of scrapes. It knows
    those whose question was understood; who was turned away before that is counted by the guard.
    """

    def __init__(
        self,
        metrics: exposition.Exposition,
        pages: Mapping[str, Callable[[], Answer]],
        most_connections: int,
        guard: "Guard | None" = None,
    ) -> None:
        self._metrics = metrics
        self._pages = pages
        self._most_connections = most_connections
        self.deadline_seconds: float = _DEADLINE_SECONDS
        self._guard = guard
        self.tally = Tally("expose", reasons=_FAILURES.values(), sends=False)
        self._sockets: list[socket.socket] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = Thread(target=self._serve, name="server", daemon=True)
        self._ready = Event()
        self._http: _Bounded | None = None
        self._pending: set[asyncio.Task[None]] = set()

    def bind(self, address: str, port: int) -> tuple[str, int]:
        """Listen; return the address and the port that it became. Raises AddressInUse.

        :: is all addresses of both families, where the system can do that.
        """
        both = address == "::" and socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            listening = socket.create_server(
                (address, port), family=family, backlog=128, dualstack_ipv6=both
            )
        except OSError as exc:
            # create_server adds the address as Python writes it.
            why = str(exc.strerror).partition(" (while")[0]
            raise AddressInUse(f"cannot listen on {_netloc(address, port)}: {why}") from exc
        listening.setblocking(False)  # noqa: FBT003 - as it is defined
        self._sockets = [listening]
        name: tuple[str, int] = listening.getsockname()[:2]
        return name

    def start(self) -> None:
        """Serve from now on. To be called after `bind`."""
        self._thread.start()
        self._ready.wait()

    def stop(self, grace_seconds: float = 1.0) -> None:
        """Close all connections and end the thread."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(grace_seconds)
        for listening in self._sockets:
            listening.close()
        if self._guard is not None:
            self._guard.stop()

    def answers(self, seconds: float) -> bool:
        """Whether /-/healthy answers through the real socket. For the watchdog, from its thread.

        The agent knows its own question by the socket that it comes from, which nobody else can
        have meanwhile. It needs no certificate, no password, and no place among the connections:
        neither a strict web configuration nor a flood of idle peers makes the agent look dead.
        """
        http = self._http
        if http is None:
            return False
        with suppress(OSError), socket.socket(self._sockets[0].family) as asking:
            address, port = self._sockets[0].getsockname()[:2]
            if address in ("0.0.0.0", "::"):  # noqa: S104 - a name
                address = "127.0.0.1" if address == "0.0.0.0" else "::1"  # noqa: S104 - likewise
            asking.settimeout(seconds)
            asking.bind((address, 0))
            own = asking.getsockname()[:2]
            http.own |= {own}
            try:
                asking.connect((address, port))
                asking.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return asking.recv(64).startswith(b"HTTP/1.1 200 ")
            finally:
                http.own -= {own}
        return False

    def _serve(self) -> None:
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(self._listen)
        self._loop.run_forever()

    def _listen(self) -> None:
        library = logging.getLogger("tornado")
        library.handlers, library.propagate = [_TornadoLog(self._guard)], False
        server = self._http = _Bounded(
            self._answer,
            idle_connection_timeout=self.deadline_seconds,
            max_header_size=_HEADER_LIMIT,
            max_body_size=_BODY_LIMIT,
            body_timeout=self.deadline_seconds,
        )
        server.most_connections = self._most_connections
        server.guard = self._guard
        server.add_sockets(self._sockets)
        self._ready.set()

    def _answer(self, request: HTTPServerRequest) -> None:
        if request.path.lower().startswith(("http://", "https://")):
            # As a proxy is asked, which has to be understood (RFC 9112, 3.2.2).
            request.path = "/" + request.path.partition("://")[2].partition("/")[2]
        if self._guard is None or self._is_own(request):
            self._give(request, None)
            return
        stream = _stream(request)
        if self._guard.turns_away(stream.socket, request.remote_ip or ""):
            self._count(request, 401)
            stream.close()
            return
        verdict = self._guard.judge(request.remote_ip or "", request.headers.get("Authorization"))
        if not isinstance(verdict, Coroutine):
            self._give(request, verdict)
            return
        assert self._loop is not None  # noqa: S101 - this runs in it
        task = self._loop.create_task(self._give_later(request, verdict))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    def _is_own(self, request: HTTPServerRequest) -> bool:
        address = getattr(getattr(request.connection, "context", None), "address", None) or ()
        return self._http is not None and address[:2] in self._http.own

    async def _give_later(
        self, request: HTTPServerRequest, verdict: "Coroutine[Any, Any, Refusal | None]"
    ) -> None:
        try:
            refusal = await verdict
        except Exception:  # noqa: BLE001 - as for a page; whoever it was does not come in
            log.event("error", "bug in the check of a password", trace=True)
            self._count(request, 500)
            _stream(request).close()
            return
        if not _stream(request).closed():  # it may have gone meanwhile
            self._give(request, refusal)

    def _give(self, request: HTTPServerRequest, refusal: "Refusal | None") -> None:
        headers = HTTPHeaders(_SAFETY)
        if self._guard is not None:
            headers.update(self._guard.rules.config.headers)
        if refusal is not None:
            headers.update(refusal.headers)
            answer = Answer(refusal.status, PLAIN, refusal.text.encode())
        else:
            try:
                answer = self._find(request, headers)
            except Exception:  # noqa: BLE001 - a bug in a page costs this answer, not the server
                log.event("error", "bug in a page", trace=True, path=request.path)
                answer = Answer(500, PLAIN, b"a bug; the log says more\n")
        self._count(request, answer.status)
        headers["Content-Type"] = answer.content_type
        headers["Content-Length"] = str(len(answer.body))
        connection = request.connection
        assert connection is not None  # noqa: S101 - it is there while a request is answered
        connection.write_headers(
            ResponseStartLine("HTTP/1.1", answer.status, _REASONS[answer.status]),
            headers,
            b"" if request.method == "HEAD" else answer.body,
        )
        connection.finish()

    def _count(self, request: HTTPServerRequest, status: int) -> None:
        if request.path == "/metrics" and request.method == "GET":
            self.tally.note(_FAILURES.get(status, ""))

    def _find(self, request: HTTPServerRequest, headers: HTTPHeaders) -> Answer:
        if request.path != "/metrics" and request.path not in self._pages:
            return Answer(
                404,
                PLAIN,
                f"not found; there are {' '.join(sorted({*self._pages, '/metrics'}))}\n".encode(),
            )
        if request.method not in ("GET", "HEAD"):
            headers["Allow"] = "GET, HEAD"
            return Answer(405, PLAIN, b"only GET and HEAD\n")
        if request.path != "/metrics":
            return self._pages[request.path]()
        content_type = exposition.negotiate(request.headers.get("Accept", ""))
        compressed = exposition.takes_gzip(request.headers.get("Accept-Encoding", ""))
        headers["Vary"] = "Accept, Accept-Encoding"
        if compressed:
            headers["Content-Encoding"] = "gzip"
        return Answer(200, content_type, self._metrics.body(content_type, compressed=compressed))


def _stream(request: HTTPServerRequest) -> Any:
    """Return what Tornado reads a request from; its types do not tell."""
    connection: Any = request.connection
    return connection.stream


def _netloc(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
