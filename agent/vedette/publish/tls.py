"""TLS contexts from the web configuration, and what is to be known of certificates."""

import os
import re
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from vedette.errors import ConfigError
from vedette.publish.web_config import SIZE_LIMIT, Tls, same_address

_SECTION = "tls_server_config"
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_VERIFY = {
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
}
# DER (X.690): the types on the way to a certificate's end.
_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0x17, 0x18


def context(tls: Tls) -> ssl.SSLContext:
    """Return a new context for new connections. Raises ConfigError.

    Always a new one: a wrong pair loaded into one in use would break it for every later handshake.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version, made.maximum_version = tls.least, tls.most
    # A session that goes on would not be asked again who it is.
    made.options |= ssl.OP_NO_TICKET
    made.num_tickets = 0
    if not tls.server_chooses:
        made.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    made.set_alpn_protocols(["http/1.1"])
    try:
        if tls.ciphers is not None:
            made.set_ciphers(":".join(tls.ciphers))
        if tls.curve is not None:
            made.set_ecdh_curve(tls.curve)
    except (ssl.SSLError, ValueError) as exc:
        raise ConfigError([f"{_SECTION}: this OpenSSL lacks what is named: {exc}"]) from exc
    with ExitStack() as opened:
        certificate, key = (
            opened.enter_context(_path(name, pem))
            for name, pem in (("cert", tls.certificate), ("key", tls.key))
        )
        try:
            made.load_cert_chain(certificate, key, password=_no_password)
        except (OSError, ValueError) as exc:
            raise ConfigError([f"{_SECTION}: {_pair_problem(exc)}"]) from exc
    if tls.client_ca is not None:
        with _path("client_ca", tls.client_ca) as authorities:
            try:
                made.load_verify_locations(authorities)
            except (OSError, ValueError) as exc:
                why = "there is no certificate in it"
                raise ConfigError(
                    [f"{_SECTION}.{_key('client_ca', tls.client_ca)}: {why}"]
                ) from exc
        # As Go does it: whoever is in the file is trusted, if they have signed themselves or not.
        made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        made.verify_mode = _VERIFY[tls.client_auth]
    return made


@contextmanager
def _path(name: str, pem: Path | str) -> Iterator[str]:
    """Have a path to this PEM, which can be read. Raises ConfigError."""
    if isinstance(pem, Path):
        try:
            with pem.open("rb") as opened:
                opened.read(1)
        except (OSError, ValueError) as exc:  # ValueError: no name of a file at all
            why = exc.strerror if isinstance(exc, OSError) else "is no path"
            raise ConfigError([f"{_SECTION}.{_key(name, pem)}: {pem}: {why}"]) from exc
        yield str(pem)
        return
    # Python's ssl takes files only. This one is nowhere on a disk.
    number = os.memfd_create("pem")
    with os.fdopen(number, "wb") as memory:
        memory.write(pem.encode(errors="replace"))
        memory.flush()
        yield f"/proc/self/fd/{number}"


def _key(name: str, pem: Path | str) -> str:
    return f"{name}_file" if isinstance(pem, Path) else name


def _no_password() -> str:
    """Without this, OpenSSL would ask for a password on the terminal."""
    raise ValueError("the key is encrypted")


def _pair_problem(error: Exception) -> str:
    reason = getattr(error, "reason", None) or ""
    if reason == "KEY_VALUES_MISMATCH":
        return "certificate and key do not belong together"
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return "the key is encrypted: no password can be given for it"
    return f"certificate or key cannot be used: {reason or 'no PEM is in one of them'}"


def expires_at(tls: Tls) -> float | None:
    """Return when the server's certificate ends, Unix seconds; None if that cannot be told."""
    try:
        if isinstance(tls.certificate, Path):
            with tls.certificate.open("rb") as opened:
                pem = opened.read(SIZE_LIMIT)
        else:
            pem = tls.certificate.encode(errors="replace")
        found = _CERTIFICATE.search(pem)
        return _not_after(ssl.PEM_cert_to_DER_cert(found[0].decode())) if found else None
    except (OSError, ValueError, IndexError):
        return None


def _not_after(der: bytes) -> float:
    """Return the end of a certificate (RFC 5280, 4.1). Raises ValueError or IndexError."""
    body, _ = _value(_value(der)[0])
    while True:  # [0] version, serialNumber, signature, issuer; then validity
        kind = body[0]
        value, rest = _value(body)
        # Of the sequences, only validity starts with a time.
        if kind == _SEQUENCE and value[:1] and value[0] in (_UTC_TIME, _GENERALIZED_TIME):
            _, last = _value(value)
            text, _ = _value(last)
            form = "%y%m%d%H%M%SZ" if last[0] == _UTC_TIME else "%Y%m%d%H%M%SZ"
            return datetime.strptime(text.decode("ascii"), form).replace(tzinfo=UTC).timestamp()
        body = rest


def _value(der: bytes) -> tuple[bytes, bytes]:
    """Return the contents of the first value, and what comes after it."""
    length, start = der[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[2:start])
    if start + length > len(der):
        raise ValueError("a value is longer than what holds it")
    return der[start : start + length], der[start + length :]


def sans(connection: ssl.SSLSocket) -> frozenset[str]:
    """Return the names in the certificate that a client has shown and that was verified.

    DNS names, e-mail addresses, URIs, and IP addresses in their usual form; none without one.
    """
    try:
        shown = connection.getpeercert() or {}
    except ValueError:  # not yet shown, or bytes in it that are no text
        return frozenset()
    names: set[str] = set()
    for entry in shown.get("subjectAltName", ()):
        kind, value = str(entry[0]), str(entry[1])
        if kind in ("DNS", "email", "URI"):
            names.add(same_address(value) if _is_address(value) else value)
        elif kind == "IP Address":
            names.add(same_address(value))
    return frozenset(names)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def days_left(ends: float, now: float) -> str:
    """Say how long a certificate is still good for."""
    days = int(abs(ends - now) // 86400)
    text = "less than a day" if days == 0 else "1 day" if days == 1 else f"{days} days"
    day = datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%d")
    return (
        f"the certificate expired {text} ago, on {day}"
        if ends <= now
        else (f"the certificate is good for {text}, until {day}")
    )
