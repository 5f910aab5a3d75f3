"""The web configuration file: TLS and passwords, in the format of Prometheus' exporter-toolkit.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md, so that the
file that a host has for node_exporter can be used here as well. What would look like protection
and is none is refused, although the toolkit takes it (README.md has the list).

Read by the agent itself, again and again: plain checks, since pydantic would cost 10 MiB.
"""

import difflib
import re
import reprlib
import ssl
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import yaml

from vedette import bounded_yaml
from vedette.errors import ConfigError
from vedette.job import clean

# A certificate, its chain and its key are a few KiB, and there may be a few hundred users.
SIZE_LIMIT = 256 << 10
# bcrypt doubles its work with each: 16 takes 4 s of a processor for each login.
_HIGHEST_COST = 16

CLIENT_AUTH = (
    "NoClientCert",
    "RequestClientCert",
    "RequireAnyClientCert",
    "RequireClientCert",  # an older name of the one before
    "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
)
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_OLD_VERSIONS = ("TLS10", "TLS11")
# {Go's name: OpenSSL's} of the suites for TLS 1.2 (https://pkg.go.dev/crypto/tls#CipherSuites).
_CIPHERS = {
    f"TLS_{exchange}_WITH_{name}": f"{prefix}{openssl}"
    for exchange, prefix, names in (
        ("ECDHE_ECDSA", "ECDHE-ECDSA-", 5),
        ("ECDHE_RSA", "ECDHE-RSA-", 5),
        ("RSA", "", 4),
    )
    for name, openssl in (
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("AES_128_CBC_SHA", "AES128-SHA"),
        ("AES_256_CBC_SHA", "AES256-SHA"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
    )[:names]
}
# Those of TLS 1.3 may be named; Go, too, offers all three of them whatever is named.
_CIPHERS_13 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
_CURVES = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
# {header that may be set: its values, if they are few}.
_HEADERS: dict[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
# Whatever YAML takes for a boolean.
_FLAGS = {
    **dict.fromkeys(("true", "yes", "on", "y"), True),
    **dict.fromkeys(("false", "no", "off", "n"), False),
}
# Of salt and digest, the last character carries only some bits: others would never match.
_BCRYPT = re.compile(r"\$2[aby]\$(?P<cost>\d\d)\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_SHORT.maxlevel = 2
_SHORT.maxdict = _SHORT.maxlist = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How connections are encrypted, and whose are taken. A str is PEM, a Path a file of it.

    allowed_sans: None for any. ciphers: OpenSSL's names for TLS 1.2, None for its own choice.
    curve: the only one, OpenSSL's name; None for its own choice.
    """

    certificate: Path | str
    key: Path | str = field(repr=False)
    client_auth: str = "NoClientCert"
    client_ca: Path | str | None = None
    allowed_sans: frozenset[str] | None = None
    least: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ciphers: tuple[str, ...] | None = None
    server_chooses: bool = True
    curve: str | None = None

    def files(self) -> tuple[Path, ...]:
        """Return the files that it names."""
        return tuple(x for x in (self.certificate, self.key, self.client_ca) if isinstance(x, Path))


@dataclass(frozen=True, slots=True)
class RateLimit:
    """One request for each `interval_seconds`, after `burst` of them at once."""

    interval_seconds: float
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    """What the file says. users: {name: bcrypt hash}; none of them: no password is asked for."""

    tls: Tls | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    rate_limit: RateLimit | None = None


def read(file: Path) -> WebConfig:
    """Return what the file says; the files that it names are not opened. Raises ConfigError."""
    try:
        with file.open("rb") as opened:
            contents = opened.read(SIZE_LIMIT + 1)
    except OSError as exc:
        raise ConfigError([f"{file}: {exc.strerror}"]) from exc
    try:
        return parse(contents, file.parent)
    except ConfigError as exc:
        raise ConfigError([f"{file}: {problem}" for problem in exc.problems]) from exc


def parse(contents: bytes, directory: Path) -> WebConfig:
    """Return what the file says; paths in it are relative to `directory`. Raises ConfigError."""
    if len(contents) > SIZE_LIMIT:
        raise ConfigError([f"it is larger than {SIZE_LIMIT >> 10} KiB"])
    try:
        # A subclass of the safe loader, which can make nothing but plain values.
        given = yaml.load(contents, _Loader)  # noqa: S506
    except yaml.YAMLError as exc:
        raise ConfigError([f"it cannot be read as YAML: {_without_contents(exc)}"]) from exc
    except Exception as exc:  # a thousand brackets, say: PyYAML lets through what comes
        raise ConfigError([f"it cannot be read as YAML: {type(exc).__name__}"]) from exc
    problems: list[str] = []
    known = ("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit")
    top = _Section("", given, known, problems)
    config = WebConfig(
        tls=_tls(top, directory),
        headers=_headers(top),
        users=_users(top),
        rate_limit=_rate_limit(top),
    )
    if problems:
        raise ConfigError(problems)
    return config


class _Loader(bounded_yaml.Loader):
    """Takes every plain value for text, as Go does where text is wanted, and no key twice.

    A user may be called 007, or no.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    said = f"{_shown(key.value)} stands there twice"
                    raise yaml.constructor.ConstructorError(
                        problem=said, problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_TEXT_BUT = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
# Nothing else can be made, whatever tag somebody writes: PyYAML's own stumble over wrong values.
_Loader.yaml_constructors = {
    tag: constructor
    for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.removeprefix("tag:yaml.org,2002:") in ("null", "str", "seq", "map")
}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _TEXT_BUT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Section:
    """One mapping of the file, asked key by key. What is wrong with it goes to `problems`."""

    def __init__(self, path: str, given: Any, known: tuple[str, ...], problems: list[str]) -> None:
        self.path = path
        self.problems = problems
        self.given: dict[str, Any] = {}
        if given is None:
            return
        if not isinstance(given, dict):
            where = f"{path}: {_shown(given)} is not allowed: " if path else ""
            self.problems.append(f"{where}it must hold keys and values ({', '.join(known)})")
            return
        for key, value in given.items():
            if key in known:
                self.given[key] = value
            else:
                near = difflib.get_close_matches(str(key)[:60], known, n=1, cutoff=0.6)
                hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
                self.problems.append(f"{self.key(_plain(key))}: unknown key; {hint}")

    def key(self, name: str) -> str:
        """Return the whole path of a key."""
        return f"{self.path}.{name}" if self.path else name

    def refuse(self, name: str, why: str) -> None:
        """Note that a value is refused."""
        self.problems.append(f"{self.key(name)}: {why}")

    def section(self, name: str, known: tuple[str, ...]) -> "_Section":
        return _Section(self.key(name), self.given.get(name), known, self.problems)

    def text(self, name: str) -> str:
        """Return a text, "" if there is none: to the toolkit, empty is as good as absent."""
        value = self.given.get(name)
        if value is not None and not isinstance(value, str):
            self.refuse(name, f"{_shown(value)} is not allowed: it must be text")
            return ""
        return value or ""

    def one_of(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        value = self.text(name)
        if value and value not in allowed:
            self.refuse(name, f"{_shown(value)} is not allowed (allowed: {', '.join(allowed)})")
            return default
        return value or default

    def flag(self, name: str, *, default: bool) -> bool:
        value = self.text(name)
        if value and value.lower() not in _FLAGS:
            self.refuse(name, f"{_shown(value)} is not allowed (allowed: true or false)")
            return default
        return _FLAGS[value.lower()] if value else default

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts, () if there is none."""
        value = self.given.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(x, str) and x for x in value):
            self.refuse(name, f"{_shown(value)} is not allowed: it must be a list of texts")
            return ()
        return tuple(value)

    def pem(self, name: str, directory: Path) -> Path | str | None:
        """Return what NAME_file or NAME says: a path, or the PEM itself."""
        file, inline = self.text(f"{name}_file"), self.text(name)
        if file and inline:
            self.refuse(name, f"{self.key(f'{name}_file')} says it as well; keep one of them")
        if "\0" in file:
            self.refuse(f"{name}_file", f"{_shown(file)} is no path")
            return None
        return directory / file if file else inline or None


def _tls(top: _Section, directory: Path) -> Tls | None:
    section = top.section(
        "tls_server_config",
        (
            *("cert_file", "key_file", "client_ca_file", "cert", "key", "client_ca"),
            *("client_auth_type", "client_allowed_sans", "min_version", "max_version"),
            *("cipher_suites", "prefer_server_cipher_suites", "curve_preferences"),
        ),
    )
    if not any(section.given.values()):
        return None
    certificate, key = (section.pem(name, directory) for name in ("cert", "key"))
    for name, value in (("cert_file", certificate), ("key_file", key)):
        if value is None:
            section.refuse(name, "is missing; there is no TLS without certificate and key")
    least, most = _versions(section)
    ciphers = _ciphers(section)
    if ciphers == ():  # suites of TLS 1.3 alone
        least, ciphers = ssl.TLSVersion.TLSv1_3, None
    if least > most:
        section.refuse("max_version", "is below what min_version and cipher_suites leave")
    return Tls(
        certificate=certificate or "",
        key=key or "",
        **_clients(section, directory),
        least=least,
        most=most,
        ciphers=ciphers,
        server_chooses=section.flag("prefer_server_cipher_suites", default=True),
        curve=_curve(section),
    )


def _clients(section: _Section, directory: Path) -> dict[str, Any]:
    """Return what is said about clients' certificates, and refuse what would check nothing."""
    auth = section.one_of("client_auth_type", CLIENT_AUTH, "NoClientCert")
    ca = section.pem("client_ca", directory)
    sans = section.texts("client_allowed_sans")
    verifies = auth in ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
    advice = "write RequireAndVerifyClientCert and client_ca_file"
    if auth in ("RequireAnyClientCert", "RequireClientCert"):
        section.refuse(
            "client_auth_type",
            f"{auth} takes any certificate, whoever signed it, so protects nothing; {advice}",
        )
    elif verifies and ca is None:
        section.refuse("client_ca_file", f"is missing: {auth} needs those who sign for clients")
    elif not verifies and ca is not None:
        section.refuse("client_auth_type", f"with {auth}, client_ca_file is never asked; {advice}")
    elif not verifies and sans:
        section.refuse(
            "client_allowed_sans", f"with client_auth_type {auth}, nobody checks them; {advice}"
        )
    given = (
        "client_allowed_sans" in section.given and section.given["client_allowed_sans"] is not None
    )
    return {
        "client_auth": auth,
        "client_ca": ca,
        "allowed_sans": frozenset(map(same_address, sans)) if given and verifies else None,
    }


def same_address(san: str) -> str:
    """Return an IP address in its one usual form, everything else as it is."""
    try:
        return str(ip_address(san.strip()))
    except ValueError:
        return san


def _versions(section: _Section) -> tuple[ssl.TLSVersion, ssl.TLSVersion]:
    found = []
    for name, default in (("min_version", "TLS12"), ("max_version", "TLS13")):
        value = section.text(name)
        if value in _OLD_VERSIONS:
            section.refuse(name, f"{value} is not allowed: TLS 1.2 is the least (TLS12 or TLS13)")
            value = default
        else:
            value = section.one_of(name, tuple(_VERSIONS), default)
        found.append(_VERSIONS[value])
    return found[0], found[1]


def _ciphers(section: _Section) -> tuple[str, ...] | None:
    """Return OpenSSL's names of the suites for TLS 1.2, None if no suites are named at all."""
    names = section.texts("cipher_suites")
    for name in names:
        if name not in _CIPHERS and name not in _CIPHERS_13:
            near = difflib.get_close_matches(name[:60], [*_CIPHERS, *_CIPHERS_13], n=1, cutoff=0.6)
            hint = f"; did you mean {near[0]}?" if near else ""
            section.refuse("cipher_suites", f"{_shown(name)} is not known{hint}")
    return tuple(_CIPHERS[name] for name in names if name in _CIPHERS) if names else None


def _curve(section: _Section) -> str | None:
    names = section.texts("curve_preferences")
    for name in names:
        if name not in _CURVES:
            known = ", ".join(_CURVES)
            section.refuse("curve_preferences", f"{_shown(name)} is not known (known: {known})")
    # Python's ssl can set one curve or leave the choice to OpenSSL: no list of them before 3.15.
    return _CURVES.get(names[0]) if len(names) == 1 else None


def _headers(top: _Section) -> Mapping[str, str]:
    section = top.section("http_server_config", ("http2", "headers"))
    section.flag("http2", default=True)  # there is none here: clients use HTTP/1.1 then
    headers = section.section("headers", tuple(_HEADERS))
    found = {}
    for name in headers.given:
        value = headers.text(name)
        if value and _HEADERS[name] and value not in _HEADERS[name]:
            allowed = " or ".join(_HEADERS[name])
            headers.refuse(name, f"{_shown(value)} is not allowed (allowed: {allowed})")
        elif not all(" " <= c <= "~" for c in value):
            headers.refuse(name, f"{_shown(value)} is not allowed: printable ASCII only")
        elif value:
            found[name] = value
    return found


def _users(top: _Section) -> Mapping[str, str]:
    given = top.given.get("basic_auth_users")
    if given is None:
        return {}
    if not isinstance(given, dict):
        top.refuse("basic_auth_users", "it must hold names and bcrypt hashes")
        return {}
    for name, hashed in given.items():
        # Never the value: it may be the password itself.
        what = f"basic_auth_users.{_plain(name)}"
        if not isinstance(name, str) or ":" in name:
            top.problems.append(f"{what}: a name must be text without a colon")
        elif not isinstance(hashed, str) or not (match := _BCRYPT.fullmatch(hashed)):
            top.problems.append(f'{what}: is no bcrypt hash; make one with `htpasswd -nBC 10 ""`')
        elif not 4 <= int(match["cost"]) <= _HIGHEST_COST:  # noqa: PLR2004 - bcrypt's least
            top.problems.append(
                f"{what}: a cost of {match['cost']} is not allowed: from 04 to {_HIGHEST_COST}"
            )
    return given


def _rate_limit(top: _Section) -> RateLimit | None:
    section = top.section("rate_limit", ("interval", "burst"))
    interval, burst = section.text("interval"), section.text("burst")
    seconds = _duration(interval)
    if seconds is None:
        section.refuse("interval", f"{_shown(interval)} is no duration such as 1s, 100ms or 1m30s")
        return None
    if burst and not (burst.isascii() and burst.isdigit() and len(burst) <= 9):  # noqa: PLR2004
        section.refuse("burst", f"{_shown(burst)} is not allowed: it must be a whole number")
        return None
    if seconds == 0:
        return None
    if not int(burst or 0):
        section.refuse("burst", "0 would refuse every request: at least 1")
        return None
    return RateLimit(seconds, int(burst))


def _duration(text: str) -> float | None:
    """Return the seconds of one of Go's durations; a bare number means nanoseconds, as there."""
    if not text:
        return 0.0
    if text.isascii() and text.isdigit():
        seconds = int(text[:30]) * 1e-9
    else:
        parts = _DURATION.findall(text[:100])
        if "".join(number + unit for number, unit in parts) != text:
            return None
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    return seconds if seconds < 1e9 else None  # noqa: PLR2004 - thirty years


def _without_contents(error: yaml.YAMLError) -> str:
    """Return the error without the line it is about: there may be a key in it."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        return f"{clean(str(error.problem or error.context), 100)}{where}"
    return clean(str(error), 200)


def _plain(key: Any) -> str:
    """Return a key as it is written, if that is one printable and short word."""
    plain = isinstance(key, str) and key.isprintable() and 0 < len(key) <= 60  # noqa: PLR2004
    return key if plain else _shown(key)


def _shown(value: Any) -> str:
    return _SHORT.repr(value)
