"""The snapshot of the scan job. It stands outside `jobs/` because other jobs build on it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from vedette.evidence import Certificate

Address = IPv4Address | IPv6Address

DEBIAN = {
    "8": "jessie", "9": "stretch", "10": "buster", "11": "bullseye", "12": "bookworm",
    "13": "trixie", "14": "forky",
}  # fmt: skip
UBUNTU = {
    "14.04": "trusty", "16.04": "xenial", "18.04": "bionic", "20.04": "focal", "22.04": "jammy",
    "22.10": "kinetic", "23.04": "lunar", "23.10": "mantic", "24.04": "noble", "24.10": "oracular",
    "25.04": "plucky", "25.10": "questing", "26.04": "resolute",
}  # fmt: skip


CHANGES = ("opened", "closed", "service_changed")


def release_name(distribution: str, release: str) -> str:
    """Return debian:bookworm, also for Debian 12: os-release had no code names before 2016."""
    family = distribution.lower()
    names = {"debian": DEBIAN, "ubuntu": UBUNTU}.get(family, {})
    number = ".".join(release.split(".")[: 2 if family == "ubuntu" else 1])  # 22.04.3, 12.5
    return f"{family}:{names.get(number, release.lower())}"


@dataclass(frozen=True, slots=True)
class Service:
    """What answers on a port, by nmap's account (https://nmap.org/book/nmap-dtd.html).

    name: nmap's service name, "https" where an http speaks TLS. probed: it answered a probe; else
    the name is only a guess from the port number. cpes: all of them, as printed.
    """

    name: str = "unknown"
    product: str = ""
    version: str = ""
    extra_info: str = ""
    tunnel: str = ""
    probed: bool = False
    cpes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Installed:
    """The source package behind a listener, from its package manager.

    release: debian:bookworm. fixed: CVEs that its own changelog says it has fixed. inferred: found
    by its version, not by the listening process. replaced: the running program is no longer it.
    """

    release: str
    name: str
    version: str
    fixed: frozenset[str] = frozenset()
    inferred: bool = False
    replaced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One open port. process: the name of the listening program, "" where it cannot be known.

    risk: what `calculate_risk_score` returned. expected: None without an allow-list.
    first_seen: Unix seconds. certificate: what it showed, None if it was not asked, or has none.
    """

    address: Address
    transport: str
    number: int
    service: Service
    process: str
    first_seen: float
    expected: bool | None
    risk: Mapping[str, Any]
    certificate: Certificate | None = None

    @property
    def key(self) -> str:
        """The name under which history knows this port."""
        return f"{self.address} {self.transport}/{self.number}"


@dataclass(frozen=True, slots=True)
class Source:
    """What part of the knowledge base comes from. date: YYYY-MM-DD, "" if unknown."""

    name: str
    date: str
    records: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What is open on the scanned hosts.

    addresses: the hosts that are up, sorted. targets: how many were asked. ports: sorted.
    missing: {address: expected ports that are not open, "tcp/22"}. changes: {opened, closed,
    service_changed: count since the agent's start}. details: {port's key: what the next scan wants
    to know of this one}. settled: services are identified, not only ports swept. findings_since:
    {name of a confirmed finding (finding_key): Unix seconds}. sources: what risks were judged by.
    """

    targets: int
    addresses: tuple[Address, ...]
    ports: tuple[Port, ...]
    missing: Mapping[Address, tuple[str, ...]]
    changes: Mapping[str, int]
    details: Mapping[str, Mapping[str, Any]]
    settled: bool
    findings_since: Mapping[str, float] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()

    def by_address(self) -> dict[Address, list[Port]]:
        """Return {host that is up: its open ports, sorted}, the hosts sorted."""
        found: dict[Address, list[Port]] = {address: [] for address in self.addresses}
        for port in self.ports:
            found[port.address].append(port)
        return found

    def open_ports(self, address: Address, transport: str = "tcp") -> tuple[int, ...]:
        """The numbers of the open ports there, sorted."""
        return tuple(
            port.number
            for port in self.ports
            if port.address == address and port.transport == transport
        )


def finding_key(port: str, finding: str) -> str:
    """Return the name under which history knows a finding; port: Port.key."""
    return f"{port} {finding}"
