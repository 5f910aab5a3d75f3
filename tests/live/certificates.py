"""Certificates for the tests, made by openssl, and a client that shows them."""

import base64
import http.client
import socket
import ssl
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from tests.live.netns import output

_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Signs for others. where: a directory for what it makes."""

    def __init__(self, where: Path, name: str) -> None:
        self.where, self.name = where, name
        self.certificate, self.key = where / f"{name}.crt", where / f"{name}.key"
        output(
            ["openssl", "req", "-x509", *_EC, "-days", "2", "-subj", f"/CN={name}",
             "-keyout", str(self.key), "-out", str(self.certificate)]
        )  # fmt: skip

    def sign(self, name: str, sans: str = "DNS:localhost", days: int = 2) -> Pair:
        """Make a pair. days: how long it is good for; -1: it has expired."""
        made = Pair(self.where / f"{name}.crt", self.where / f"{name}.key")
        request, extensions = self.where / f"{name}.csr", self.where / f"{name}.ext"
        extensions.write_text(f"subjectAltName={sans}\n")
        output(
            ["openssl", "req", *_EC, "-subj", f"/CN={name}",
             "-keyout", str(made.key), "-out", str(request)]
        )  # fmt: skip
        output(
            ["openssl", "x509", "-req", "-in", str(request), *_validity(days),
             "-CA", str(self.certificate), "-CAkey", str(self.key), "-CAcreateserial",
             "-extfile", str(extensions), "-out", str(made.certificate)]
        )  # fmt: skip
        return made


def _validity(days: int) -> list[str]:
    """Return options of openssl. Since 3.4 it takes no negative days, but dates."""
    number = output(["openssl", "version"]).split()[1].split(".")
    if days < 0 and (int(number[0]), int(number[1])) >= (3, 4):
        end = datetime.now(UTC) + timedelta(days=days)
        start = end - timedelta(days=1)
        return ["-not_before", f"{start:%Y%m%d%H%M%S}Z", "-not_after", f"{end:%Y%m%d%H%M%S}Z"]
    return ["-days", str(days)]


@dataclass(frozen=True)
class Client:
    """Somebody who asks this host: with TLS or without, with a certificate, with a user."""

    port: int
    tls: bool = True
    pair: Pair | None = None
    login: str = ""
    most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    source: str = "127.0.0.1"

    def connect(self) -> socket.socket:
        """Return a connection, with its handshake done."""
        connection = socket.create_connection(
            ("127.0.0.1", self.port), 5, source_address=(self.source, 0)
        )
        # As http.client, curl and Prometheus have it: or a request waits for the other side to
        # acknowledge the end of the handshake, 40 ms.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self.tls:
            return connection
        try:
            return _context(self.most, self.pair).wrap_socket(
                connection, server_hostname="localhost"
            )
        except OSError:
            connection.close()
            raise

    def headers(self) -> dict[str, str]:
        """Return the login as a header."""
        if not self.login:
            return {}
        return {"Authorization": f"Basic {base64.b64encode(self.login.encode()).decode()}"}

    def ask(
        self, path: str = "/metrics", over: socket.socket | None = None
    ) -> tuple[int, Mapping[str, str]]:
        """Return status and headers; 0 if the connection is refused or closed unanswered."""
        asking = http.client.HTTPConnection("127.0.0.1", self.port)
        try:
            asking.sock = over or self.connect()
            asking.request("GET", path, headers=self.headers())
            answer = asking.getresponse()
            answer.read()
            return answer.status, dict(answer.headers)
        except (OSError, http.client.HTTPException):
            return 0, {}
        finally:
            if over is None:
                asking.close()

    def status(self, path: str = "/metrics") -> int:
        """Return the status alone."""
        return self.ask(path)[0]

    def sees(self) -> bytes | None:
        """Return the server's certificate."""
        with self.connect() as connection:
            assert isinstance(connection, ssl.SSLSocket)
            return connection.getpeercert(binary_form=True)


@cache  # making one takes longer than a scrape
def _context(most: ssl.TLSVersion, pair: Pair | None) -> ssl.SSLContext:
    """Trusts everybody: it is the other side that is under test."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if most < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():  # old versions are deprecated: that is the point
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = min(most, ssl.TLSVersion.TLSv1_2)
        context.maximum_version = most
    if pair is not None:
        context.load_cert_chain(pair.certificate, pair.key)
    return context
