"""Small servers on loopback that answer as a test wants: well, badly, slowly, or not at all."""

import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Thread


@dataclass(frozen=True)
class Request:
    """What a client sent. headers: by lower-case name."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Server:
    """A server that runs. requests: what came, in order. stop: set when the test is over."""

    port: int
    secure: bool = False
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    stop: Event = field(default_factory=Event)

    @property
    def url(self) -> str:
        return f"http{'s' if self.secure else ''}://127.0.0.1:{self.port}"


Talk = Callable[[socket.socket, Server], None]


@contextmanager
def serving(talk: Talk, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Run `talk` for each connection, in a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = Server(listening.getsockname()[1], context is not None)

        def handle(line: socket.socket) -> None:
            with suppress(OSError), line:
                line.settimeout(5)
                if context is None:
                    talk(line, server)
                else:
                    with context.wrap_socket(line, server_side=True) as secure:
                        talk(secure, server)

        def accept() -> None:
            while not server.stop.is_set():
                with suppress(TimeoutError):
                    line, _ = listening.accept()
                    server.connections += 1
                    Thread(target=handle, args=(line,), daemon=True).start()

        listening.settimeout(0.01)
        thread = Thread(target=accept)
        thread.start()
        try:
            yield server
        finally:
            server.stop.set()
            thread.join()


def receive(line: socket.socket) -> Request:
    """Read one request."""
    with line.makefile("rb") as file:
        method, target, _ = file.readline().decode().split(" ")
        headers = {}
        while text := file.readline().decode().strip():
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
        return Request(method, target, headers, file.read(int(headers.get("content-length", 0))))


def answering(*answers: str) -> Talk:
    """Record each request; answer with these in turn, the last of them again and again."""
    waiting = list(answers)

    def talk(line: socket.socket, server: Server) -> None:
        server.requests.append(receive(line))
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        line.sendall(answer.encode())

    return talk


def status(code: int, text: str = "", *headers: str) -> str:
    """Return a whole answer."""
    lines = [f"HTTP/1.1 {code} X", f"Content-Length: {len(text)}", *headers]
    return "\r\n".join(lines) + f"\r\n\r\n{text}"


def dripping(text: str, seconds: float = 0.05) -> Talk:
    """Read the request, then send a byte each so many seconds, without an end."""

    def talk(line: socket.socket, server: Server) -> None:
        server.requests.append(receive(line))
        for byte in text.encode():
            if server.stop.wait(seconds):
                return
            line.sendall(bytes([byte]))
        while not server.stop.wait(seconds):
            line.sendall(b"x")

    return talk


def silent(_: socket.socket, server: Server) -> None:
    """Take the connection and say nothing; read nothing either."""
    server.stop.wait(30)


def leaving_early(line: socket.socket, server: Server) -> None:
    """Refuse at the first bytes and close: whoever goes on sending is answered with a reset."""
    line.recv(100)
    line.sendall(status(400, "too early").encode())
    # As Go's servers do. A reset at once could overtake the answer (RFC 9112, section 9.6).
    server.stop.wait(0.2)


def resetting(line: socket.socket, _: Server) -> None:
    """Break the connection off as soon as something comes."""
    line.recv(1)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
