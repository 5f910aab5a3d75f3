"""One question to one TCP service, and the beginning of its answer. No decisions here."""

import re
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from vedette.edges import own_traffic
from vedette.scanned import Address

_MOST = 16 << 10  # bytes of an answer
_WANTS_CERTIFICATE = re.compile("CERTIFICATE_REQUIRED|BAD_CERTIFICATE|HANDSHAKE_FAILURE")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. answered: not silence until the deadline, and no refused connection.

    wants_certificate: the TLS handshake failed for want of a client's certificate.
    """

    data: bytes = b""
    answered: bool = False
    wants_certificate: bool = False


def ask(
    address: Address, port: int, request: bytes, enough: re.Pattern[bytes], *,
    tls: bool, seconds: float,
) -> Answer:  # fmt: skip
    """Send a request, and read until the answer has `enough`, ends, or takes too long.

    tls: inside of TLS, whatever the certificate: nothing secret is said. Never raises for what the
    service does.
    """
    end = monotonic() + seconds
    data = bytearray()
    try:
        with (
            own_traffic.asking(),
            socket.create_connection((str(address), port), timeout=seconds) as plain,
            _inside(plain, tls=tls) as line,
        ):
            line.sendall(request)
            while len(data) < _MOST and not enough.search(data):
                left = end - monotonic()
                if left <= 0:
                    return Answer(bytes(data), answered=bool(data))
                line.settimeout(left)
                piece = line.recv(4096)
                if not piece:
                    break
                data += piece
    except TimeoutError:
        return Answer(bytes(data), answered=bool(data))
    except ssl.SSLError as exc:
        wants = bool(_WANTS_CERTIFICATE.search(exc.reason or ""))
        return Answer(bytes(data), answered=True, wants_certificate=wants)
    except ConnectionResetError:  # it hangs up on what it does not like
        return Answer(bytes(data), answered=True)
    except OSError:
        return Answer(bytes(data))
    return Answer(bytes(data), answered=True)


def _inside(plain: socket.socket, *, tls: bool) -> socket.socket:
    if not tls:
        return plain
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with suppress(ssl.SSLError):  # old servers are what is looked for
        context.set_ciphers("ALL:@SECLEVEL=0")
    return context.wrap_socket(plain)
