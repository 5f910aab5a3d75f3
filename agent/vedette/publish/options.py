"""The section `publish:` of the configuration."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from vedette.option import setting


@dataclass(frozen=True, kw_only=True)
class Expose:
    """The HTTP server: /metrics, the page and the inventory."""

    enabled: bool = setting(default=True, text="Whether to serve at all.")
    address: IPv4Address | IPv6Address = setting(
        IPv4Address("127.0.0.1"),
        "Address to listen on. 0.0.0.0 or :: lets other hosts scrape this one.",
    )
    port: int = setting(8000, "TCP port; 0 takes any free one.", ge=0, le=65535)
    max_connections: int = setting(512, "Beyond this, new connections are closed at once.", ge=8)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How what was seen leaves the host."""

    expose: Expose = setting(default_factory=Expose)
    max_series: int = setting(
        1000,
        "Ceiling of exposed series that no input can pass; the rest is counted in"
        " vedette_series_dropped_total.",
        ge=100,
    )
