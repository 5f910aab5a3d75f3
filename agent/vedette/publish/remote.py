"""One HTTP exchange with a server out there, over by a deadline whatever that server does.

`http.client` writes the request and reads the answer, over a connection of our own whose every step
waits for no longer than what is left of the whole: `Timeout`s of libraries count from byte to byte,
so that a server which sends one a second would hold us for ever.
"""

import base64
import email.utils
import http.client
import io
import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

from vedette import __version__
from vedette.job import clean
from vedette.publish.options import Outgoing

# Why nothing was accepted. credentials: a file of ours cannot be read. bug: a fault in the agent.
REASONS = (
    "auth", "bad_answer", "bug", "credentials", "dns", "refused", "rejected", "reset",
    "server_error", "throttled", "timeout", "tls",
)  # fmt: skip
# Trying the same again would be answered the same.
FINAL = frozenset({"auth", "rejected"})

_ANSWER_LIMIT = 64 << 10  # bytes of an answer, headers included
_WORDS_LIMIT = 1 << 10  # bytes of a refusal's text that are read
_SHOWN = 200  # characters of it that are logged
_STEP_SECONDS = 0.2  # how long a wait may pass over an order to stop
_UNAUTHORIZED = frozenset({401, 403, 407})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an exchange went. reason: one of REASONS, "" if it was accepted, "stopped" if called off.

    words: what there is to say about it. retry_after: seconds that the server asks to wait for.
    """

    reason: str
    words: str = ""
    retry_after: float | None = None


class _Failed(Exception):
    def __init__(self, reason: str, words: str) -> None:
        super().__init__(words)
        self.reason = reason


class Remote:
    """A server, and how to talk to it. Exchanges one at a time; files are read when they change."""

    def __init__(
        self,
        options: Outgoing,
        now: Callable[[], float] = time.time,
        look_up: Callable[..., list[Any]] = socket.getaddrinfo,
    ) -> None:
        self._options = options
        self._now = now
        self._look_up = look_up
        self._url = urlsplit(options.url)
        self._host = self._url.hostname or ""
        self._secure = self._url.scheme == "https"
        self._port = self._url.port or (443 if self._secure else 80)
        self._lookup: Thread | None = None
        self._context: ssl.SSLContext | None = None
        self._files: tuple[object, ...] = ()

    @property
    def path(self) -> str:
        """The path of the URL, without a slash at its end."""
        return self._url.path.rstrip("/")

    @property
    def query(self) -> str:
        """The URL's query with its question mark, or nothing."""
        return f"?{self._url.query}" if self._url.query else ""

    def exchange(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        stop: Event,
        seconds: float | None = None,
    ) -> Outcome:
        """Send one request and say how it went. target: path and query.

        seconds: for all of it, name look-up and answer included; default: the options' time-out.
        stop: calls it off when set.
        """
        allowed = self._options.timeout_seconds if seconds is None else seconds
        deadline = _Deadline(allowed, stop)
        try:
            return self._exchange(method, target, body, dict(headers or {}), deadline)
        except _Failed as exc:
            return Outcome(exc.reason, str(exc))
        except (ConnectionError, ssl.SSLEOFError) as exc:
            return Outcome("reset", clean(str(exc), _SHOWN))
        except ssl.SSLError as exc:  # also one that comes with the answer, as in TLS 1.3
            words = getattr(exc, "verify_message", "") or exc.reason or str(exc)
            return Outcome("tls", clean(words, _SHOWN))
        except (http.client.HTTPException, ValueError) as exc:
            return Outcome("bad_answer", clean(f"{type(exc).__name__}: {exc}", _SHOWN))
        except OSError as exc:
            return Outcome("refused", exc.strerror or str(exc))

    def _exchange(
        self, method: str, target: str, body: bytes, headers: dict[str, str], deadline: "_Deadline"
    ) -> Outcome:
        headers["Host"] = self._url.netloc
        headers["User-Agent"] = f"vedette/{__version__}"
        headers["Connection"] = "close"
        if self._options.username:
            headers["Authorization"] = self._authorization()
        context = self._tls() if self._secure else None
        line = self._connect(deadline)
        try:
            if context is not None:
                line.secure(context, self._host)
            elif self._options.proxy_url:
                target = f"{self._url.scheme}://{self._url.netloc}{target}"
            connection = http.client.HTTPConnection(self._host)
            connection.sock = line  # it uses no more of a socket than a line has
            with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
                # Who refuses early may close before it has read everything: the answer tells.
                connection.request(method, target, body, headers)
            answer = http.client.HTTPResponse(line, method=method)  # type: ignore[arg-type]  # as above
            answer.begin()
            return self._outcome(answer)
        finally:
            line.close()

    def _outcome(self, answer: http.client.HTTPResponse) -> Outcome:
        reason = _reason(answer.status)
        if not reason:
            return Outcome("")
        text = b""
        # The status is known: how the words about it come to an end does not matter.
        with suppress(_Failed, OSError, http.client.HTTPException, ValueError):
            text = answer.read(_WORDS_LIMIT)
        words = clean(f"{answer.status} {text.decode(errors='replace')}", _SHOWN)
        return Outcome(reason, words, retry_after(answer.getheader("Retry-After"), self._now()))

    def _authorization(self) -> str:
        assert self._options.password_file is not None  # noqa: S101 - the options see to it
        file = find(self._options.password_file)
        try:
            password = file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as exc:
            raise _Failed("credentials", f"{file} cannot be read") from exc
        pair = f"{self._options.username}:{password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    def _tls(self) -> ssl.SSLContext:
        given = (self._options.ca_file, self._options.cert_file, self._options.key_file)
        ca, cert, key = (None if file is None else find(file) for file in given)
        try:
            files = tuple(_stamp(file) for file in (ca, cert, key) if file is not None)
            if self._context is None or files != self._files:
                self._context, self._files = _context(ca, cert, key), files
        except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
            shown = ", ".join(str(file) for file in (ca, cert, key) if file is not None)
            words = clean(getattr(exc, "reason", None) or type(exc).__name__, _SHOWN)
            raise _Failed("credentials", f"{shown}: {words}") from exc
        return self._context

    def _connect(self, deadline: "_Deadline") -> "_Line":
        if not self._options.proxy_url:
            return _Line(self._dial(self._host, self._port, deadline), deadline)
        proxy = urlsplit(self._options.proxy_url)
        line = _Line(self._dial(proxy.hostname or "", proxy.port or 80, deadline), deadline)
        if self._secure:
            try:
                self._tunnel(line)
            except BaseException:
                line.close()
                raise
        return line

    def _tunnel(self, line: "_Line") -> None:
        host = f"[{self._host}]" if ":" in self._host else self._host
        order = f"CONNECT {host}:{self._port} HTTP/1.1\r\nHost: {host}:{self._port}\r\n\r\n"
        line.sendall(order.encode("ascii"))
        answer = http.client.HTTPResponse(line, method="CONNECT")  # type: ignore[arg-type]  # as above
        answer.begin()
        if answer.status != http.client.OK:
            raise _Failed(_reason(answer.status) or "bad_answer", f"the proxy: {answer.status}")

    def _dial(self, host: str, port: int, deadline: "_Deadline") -> socket.socket:
        """Return a connected socket: the first of the host's addresses that takes it."""
        found = self._resolve(host, port, deadline)
        failure = _Failed("dns", f"{host} has no address")
        for number, (family, kind, protocol, _, address) in enumerate(found):
            # An address that swallows everything leaves the others their share.
            share = deadline.left() / (len(found) - number)
            try:
                line = socket.socket(family, kind, protocol)
            except OSError as exc:  # a family that this system does not have
                failure = _Failed("refused", exc.strerror or str(exc))
                continue
            try:
                line.setblocking(False)  # noqa: FBT003 - the name says it
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _connect(line, address, deadline.part(share))
            except (_Failed, OSError) as exc:
                line.close()
                if isinstance(exc, _Failed):
                    failure = exc
                else:
                    failure = _Failed("refused", exc.strerror or str(exc))
                deadline.left()  # raises when it is over for good
            else:
                return line
        raise failure

    def _resolve(self, host: str, port: int, deadline: "_Deadline") -> list[Any]:
        """Ask the resolver, which knows no deadline, in a thread that can be left behind."""
        result: list[Any] = []
        failure: list[OSError | UnicodeError] = []

        def ask() -> None:
            try:
                result.extend(self._look_up(host, port, type=socket.SOCK_STREAM))
            except (OSError, UnicodeError) as exc:
                failure.append(exc)

        if self._lookup is not None and self._lookup.is_alive():
            raise _Failed("dns", "the resolver has not yet answered to the attempt before")
        self._lookup = Thread(target=ask, name="resolver", daemon=True)
        self._lookup.start()
        while self._lookup.is_alive():
            try:
                self._lookup.join(min(_STEP_SECONDS, deadline.left()))
            except _Failed as exc:
                if exc.reason == "timeout":
                    raise _Failed("dns", "the resolver does not answer") from exc
                raise
        if failure:
            raise _Failed("dns", f"{host}: {getattr(failure[0], 'strerror', None) or failure[0]}")
        return result


class _Deadline:
    """When everything must be over; `left` raises when it is, or when somebody calls it off."""

    def __init__(self, seconds: float, stop: Event) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._stop = stop

    def left(self) -> float:
        """Return the seconds that are left."""
        if self._stop.is_set():
            raise _Failed("stopped", "called off")
        left = self._end - time.monotonic()
        if left <= 0:
            raise _Failed("timeout", f"not done within {self._seconds:g} s")
        return left

    def part(self, seconds: float) -> "_Deadline":
        """Return a deadline that is over earlier."""
        return _Deadline(seconds, self._stop)

    def wait(self, line: socket.socket, event: int) -> None:
        """Wait until the socket can be read from, or written to."""
        poll = select.poll()  # select() cannot watch numbers above 1023
        poll.register(line, event)
        while not poll.poll(max(1.0, 1000 * min(_STEP_SECONDS, self.left()))):
            pass


def _connect(line: socket.socket, address: Any, deadline: _Deadline) -> None:
    with suppress(BlockingIOError):
        line.connect(address)
    deadline.wait(line, select.POLLOUT)
    if number := line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(number, os.strerror(number))


class _Line:
    """A connected socket, non-blocking, TLS or not, that keeps to a deadline and to a limit.

    Stands for a socket towards http.client: `sendall`, `makefile`.
    """

    def __init__(self, line: socket.socket, deadline: _Deadline) -> None:
        self._line = line
        self._deadline = deadline
        self._received = 0

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Speak TLS from now on."""
        line = context.wrap_socket(self._line, server_hostname=host, do_handshake_on_connect=False)
        self._line = line
        self._patiently(line.do_handshake, select.POLLIN)

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        rest = memoryview(data)
        while rest:
            sent: int = self._patiently(self._line.send, select.POLLOUT, rest)
            rest = rest[sent:]

    def makefile(self, *_: object) -> io.BufferedReader:
        """Return what comes, as a file; closing that leaves the line open."""
        return io.BufferedReader(_Reading(self))

    def receive(self, buffer: Any) -> int:
        """Read what there is, at least a byte; 0 at the end."""
        number: int = self._patiently(self._line.recv_into, select.POLLIN, buffer)
        self._received += number
        if self._received > _ANSWER_LIMIT:
            raise _Failed("bad_answer", f"more than {_ANSWER_LIMIT >> 10} KiB")
        return number

    def close(self) -> None:
        """Hang up."""
        self._line.close()

    def _patiently(self, step: Callable[..., Any], event: int, *arguments: Any) -> Any:
        while True:
            self._deadline.left()
            try:
                return step(*arguments)
            except BlockingIOError:
                waited = event
            except ssl.SSLWantReadError:
                waited = select.POLLIN
            except ssl.SSLWantWriteError:
                waited = select.POLLOUT
            self._deadline.wait(self._line, waited)


class _Reading(io.RawIOBase):
    """What comes over a line."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._line.receive(buffer)


def _context(ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificate and host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(ca)
    if cert is not None:
        # An encrypted key would make OpenSSL ask on the terminal.
        context.load_cert_chain(cert, key, password=lambda: b"")
    return context


def _stamp(file: Path) -> tuple[object, ...]:
    state = file.stat()
    return file, state.st_mtime_ns, state.st_size, state.st_ino


def find(file: Path) -> Path:
    """Return where a secret is: systemd's directory of credentials goes before others."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if directory and not file.is_absolute() and (given := Path(directory) / file).exists():
        return given
    return file


def _reason(status: int) -> str:
    """Return why this status is a failure, "" if it is none."""
    if 200 <= status < 300:  # noqa: PLR2004 - RFC 9110, section 15
        return ""
    if status in _UNAUTHORIZED:
        return "auth"
    if status == http.client.TOO_MANY_REQUESTS:
        return "throttled"
    if status == http.client.REQUEST_TIMEOUT:
        return "timeout"
    by_class = {4: "rejected", 5: "server_error"}
    return by_class.get(status // 100, "bad_answer")  # a redirection would carry off the password


def retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds that a Retry-After asks for (RFC 9110, section 10.2.3), None for none."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
