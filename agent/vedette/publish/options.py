"""The section `publish:` of the configuration."""

from ipaddress import IPv4Address, IPv6Address

from pydantic import BaseModel, ConfigDict, Field


class Expose(BaseModel):
    """Serve /metrics, the page and the inventory over HTTP."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(default=True, description="Whether to serve at all.")
    address: IPv4Address | IPv6Address = Field(
        default=IPv4Address("127.0.0.1"),
        description="Address to listen on. 0.0.0.0 or :: lets other hosts scrape this one.",
    )
    port: int = Field(default=8000, ge=0, le=65535, description="TCP port; 0 takes any free one.")
    max_connections: int = Field(
        default=512, ge=8, description="Beyond this, new connections are closed at once."
    )


class Options(BaseModel):
    """How what was seen leaves the host."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    expose: Expose = Field(default_factory=Expose, description="The HTTP server.")
    max_series: int = Field(
        default=1000,
        ge=100,
        description="Ceiling of exposed series that no input can pass; the rest is counted in"
        " vedette_series_dropped_total.",
    )
