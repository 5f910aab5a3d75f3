"""The HTTP server: metrics, the page, the inventory, health. Read-only; it only hands out.

Tornado was chosen by measurement (DECISIONS.md): one thread, one deadline for a whole request
header, and no idle peer that could keep another one waiting.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.netutil import bind_sockets

from vedette import log
from vedette.publish import exposition

if TYPE_CHECKING:
    import socket

# For the whole header of a request, and for an idle connection between two: longer than the usual
# scrape intervals would keep attackers' connections as long.
_DEADLINE_SECONDS = 10
_HEADER_LIMIT = 16 << 10  # bytes, the request line included
_BODY_LIMIT = 1 << 10  # bytes: no path takes a body
_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 500: "Internal Server Error",
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
    """Closes connections beyond a number at once: Tornado itself knows no limit."""

    most_connections = 512

    def handle_stream(self, stream: Any, address: Any) -> None:
        # The set is Tornado's own and undocumented; tests/unit/publish/test_server.py guards it.
        if len(self._connections) >= self.most_connections:
            stream.close()
            return
        super().handle_stream(stream, address)


class Server:
    """Serves in a thread of its own. pages: {path: what to answer}, for GET and HEAD."""

    def __init__(
        self,
        metrics: exposition.Exposition,
        pages: Mapping[str, Callable[[], Answer]],
        most_connections: int,
    ) -> None:
        self._metrics = metrics
        self._pages = pages
        self._most_connections = most_connections
        self.deadline_seconds: float = _DEADLINE_SECONDS
        self._sockets: list[socket.socket] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = Thread(target=self._serve, name="server", daemon=True)
        self._ready = Event()

    def bind(self, address: str, port: int) -> tuple[str, int]:
        """Listen; return the address and the port that it became. Raises AddressInUse."""
        try:
            self._sockets = bind_sockets(port, address, backlog=128)
        except OSError as exc:
            raise AddressInUse(
                f"cannot listen on {_netloc(address, port)}: {exc.strerror}"
            ) from exc
        name: tuple[str, int] = self._sockets[0].getsockname()[:2]
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

    def _serve(self) -> None:
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(self._listen)
        self._loop.run_forever()

    def _listen(self) -> None:
        server = _Bounded(
            self._answer,
            idle_connection_timeout=self.deadline_seconds,
            max_header_size=_HEADER_LIMIT,
            max_body_size=_BODY_LIMIT,
            body_timeout=self.deadline_seconds,
        )
        server.most_connections = self._most_connections
        server.add_sockets(self._sockets)
        self._ready.set()

    def _answer(self, request: HTTPServerRequest) -> None:
        headers = HTTPHeaders(_SAFETY)
        try:
            answer = self._find(request, headers)
        except Exception:  # noqa: BLE001 - a bug in a page costs this answer, not the server
            log.event("error", "bug in a page", trace=True, path=request.path)
            answer = Answer(500, PLAIN, b"a bug; the log says more\n")
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

    def _find(self, request: HTTPServerRequest, headers: HTTPHeaders) -> Answer:
        if request.path != "/metrics" and request.path not in self._pages:
            return Answer(404, PLAIN, b"not found; there are / /metrics /inventory.json\n")
        if request.method not in ("GET", "HEAD"):
            headers["Allow"] = "GET, HEAD"
            return Answer(405, PLAIN, b"only GET and HEAD\n")
        if request.path != "/metrics":
            return self._pages[request.path]()
        content_type = exposition.negotiate(request.headers.get("Accept", ""))
        compressed = "gzip" in request.headers.get("Accept-Encoding", "").lower()
        headers["Vary"] = "Accept, Accept-Encoding"
        if compressed:
            headers["Content-Encoding"] = "gzip"
        return Answer(200, content_type, self._metrics.body(content_type, compressed=compressed))


def _netloc(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
