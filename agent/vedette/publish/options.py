"""The section `publish:` of the configuration."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from vedette.option import setting

Profile = Literal["lean", "full"]

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def address(text: str) -> str:
    """Return an http or https URL, or "", as it was given. Raises ValueError, in words, without it.

    A URL is shown in logs: so it must hold no credentials, nor may a refusal repeat it.
    """
    if not text:
        return text
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as exc:
        raise ValueError("this is no URL") from exc
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("it must start with http:// or https:// and a host")
    if "@" in parts.netloc:
        raise ValueError("no user or password in a URL, which logs show: use username and"
                         " password_file")  # fmt: skip
    if "#" in text or not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("it must be ASCII, without blanks and without #")
    return text


@dataclass(frozen=True, kw_only=True)
class Expose:
    """The HTTP server: /metrics, the page and the inventory."""

    enabled: bool = setting(default=True, text="Whether to serve at all.")
    address: IPv4Address | IPv6Address = setting(
        IPv4Address("127.0.0.1"),
        "Address to listen on. 0.0.0.0 (IPv4) or '::' (both) lets other hosts scrape this one.",
    )
    port: int = setting(8000, "TCP port; 0 takes any free one.", ge=0, le=65535)
    max_connections: int = setting(512, "Beyond this, new connections are closed at once.", ge=8)
    web_config_file: Path | None = setting(
        None, "TLS and passwords: a web configuration file as node_exporter has it."
    )


_WHERE = " A relative name is looked for in $CREDENTIALS_DIRECTORY first."


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """What every publisher that goes out to a server can be told."""

    section: ClassVar[str] = "outgoing"

    enabled: bool = setting(default=False, text="Whether to send at all.")
    url: str = setting("", "Where to send to: http:// or https://.", parse=address)
    interval_seconds: int = setting(60, "Time between two snapshots sent.", ge=1)
    timeout_seconds: float = setting(
        10.0, "One exchange is given up after this, however slowly the server answers.", gt=0
    )
    username: str = setting("", "Of basic authentication.")
    password_file: Path | None = setting(None, "File that holds the password." + _WHERE)
    ca_file: Path | None = setting(
        None, "Certificates (PEM) that the server's must descend from; unset: the system's."
    )
    cert_file: Path | None = setting(None, "Client certificate (PEM)." + _WHERE)
    key_file: Path | None = setting(
        None, "Key of the client certificate; unset: in the same file." + _WHERE
    )
    allow_insecure: bool = setting(
        default=False, text="Send credentials over plain http, for everybody on the way to read."
    )
    proxy_url: str = setting(
        "", "Go through this proxy (http://). That of the environment is not used.", parse=address
    )

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        for wrong, words in self._problems():
            if wrong:
                raise ValueError(f"{self.section}: {words}")

    def _problems(self) -> tuple[tuple[bool, str], ...]:
        secure = self.url.startswith("https://")
        return (
            (self.enabled and not self.url, "url: it is enabled, but has nowhere to send to"),
            (
                self.timeout_seconds > self.interval_seconds,
                "timeout_seconds: it must not be above interval_seconds",
            ),
            (
                bool(self.username) != bool(self.password_file),
                "username and password_file go together",
            ),
            (":" in self.username, "username: it cannot hold a colon"),
            (
                bool(self.username and self.url) and not secure and not self.allow_insecure,
                "username: http shows the password to anybody; use https, or set allow_insecure",
            ),
            (bool(self.key_file) and not self.cert_file, "key_file: it needs a cert_file"),
            (
                bool(self.url) and not secure and bool(self.ca_file or self.cert_file),
                "ca_file and cert_file need a url with https://",
            ),
            (
                bool(self.proxy_url) and not self.proxy_url.startswith("http://"),
                "proxy_url: only http:// proxies are known (https goes through them unread)",
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Push(Outgoing):
    """To a Pushgateway: one complete snapshot in one group."""

    section: ClassVar[str] = "push"

    job: str = setting("vedette", "Label `job` of the group.")
    instance: str = setting("", "Label `instance` of the group; empty: the host's name.")
    profile: Profile = setting(
        "lean", "lean: what a fleet's dashboards need, at most 150 series; full: everything."
    )

    def _problems(self) -> tuple[tuple[bool, str], ...]:
        return (
            *super()._problems(),
            (not self.job, "job: a group needs one"),
            ("?" in self.url, "url: a Pushgateway knows no query"),
        )


@dataclass(frozen=True, kw_only=True)
class RemoteWrite(Outgoing):
    """To Prometheus, Mimir, Thanos, VictoriaMetrics: every interval's samples, by Remote-Write."""

    section: ClassVar[str] = "remote_write"

    external_labels: Mapping[str, str] = setting(
        default_factory=dict,
        text="Labels that every series gets. Default: instance, the host's name, and job, vedette.",
    )
    buffer_bytes: int = setting(
        32 << 20,
        "What waits in the state directory while the receiver is away; beyond, the oldest goes.",
        ge=64 << 10,
    )

    def _problems(self) -> tuple[tuple[bool, str], ...]:
        names = [n for n in self.external_labels if not _LABEL.fullmatch(n) or n.startswith("__")]
        empty = [name for name, value in self.external_labels.items() if not value]
        return (
            *super()._problems(),
            (bool(names), f"external_labels: {', '.join(map(repr, names))}: no names of labels"),
            (bool(empty), f"external_labels: {', '.join(empty)}: a label needs a value"),
        )


@dataclass(frozen=True, kw_only=True)
class Options:
    """How what was seen leaves the host."""

    expose: Expose = setting(default_factory=Expose)
    push: Push = setting(default_factory=Push)
    remote_write: RemoteWrite = setting(default_factory=RemoteWrite)
    max_series: int = setting(
        1000,
        "Ceiling of exposed series that no input can pass; the rest is counted in"
        " vedette_series_dropped_total.",
        ge=100,
    )
