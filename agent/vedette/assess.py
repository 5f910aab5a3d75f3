"""`vedette assess`: everything known against what listens, on this host or in a report of nmap's.

Findings come as {"findings": [{"address", "transport", "port", "finding", "title", "score",
"severity", "confidence", "status", "known_exploited", "due_days", "fixed_in", "advice",
"reasons"}], "suppressed": [{"address", "transport", "port", "finding", "reason"}]}; status is
"confirmed" from 70 % confidence on, "possible" below.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vedette.edges import nmap
from vedette.edges.listeners import Inventory
from vedette.risk import identity, score
from vedette.risk.identity import Banner
from vedette.risk.knowledge import Knowledge
from vedette.scanned import Address, Port

Row = dict[str, Any]


def of_report(
    report: bytes, inventory: Inventory | None, knowledge: Knowledge, now: float
) -> dict[str, list[Row]]:
    """Judge the open ports of an nmap XML report. Raises BadOutput if it is damaged."""
    hosts = nmap.read(report)
    addresses = [host.address for host in hosts]
    judged = [
        (host.address, port.transport, port.number, risk)
        for host in hosts
        for port, risk in _ports(host, inventory, knowledge, addresses, now)
    ]
    return _document(judged)


def of_ports(ports: Iterable[Port]) -> dict[str, list[Row]]:
    """Return what a scan of this host judged already."""
    return _document((port.address, port.transport, port.number, port.risk) for port in ports)


def _ports(
    host: nmap.Host,
    inventory: Inventory | None,
    knowledge: Knowledge,
    addresses: list[Address],
    now: float,
) -> Iterator[tuple[nmap.PortState, Mapping[str, Any]]]:
    open_ports = [port for port in host.ports if port.state == "open"]
    banners = [banner_of(port.service) for port in open_ports]
    release = (inventory.release if inventory else "") or identity.release_of(banners)
    for port, banner in zip(open_ports, banners, strict=True):
        listener = inventory and inventory.behind(host.address, port.transport, port.number)
        exposure = score.exposure_of(host.address)
        if listener and listener.address is None and exposure == "loopback":
            # It was asked on loopback, but listens everywhere.
            public = any(address.is_global for address in addresses)
            exposure = "public" if public else "private"
        yield (
            port,
            score.calculate_risk_score(
                port.number,
                port.service.name,
                exposure=exposure,
                transport=port.transport,
                probed=port.service.probed,
                address=str(host.address),
                banner=banner,
                package=listener.package if listener else None,
                own_build=listener.own_build if listener else False,
                host_release=release,
                knowledge=knowledge,
                now=now,
            ),
        )


def banner_of(service: Any) -> Banner:
    """Return what a service said of itself; nothing if it was only guessed."""
    if not service.probed:
        return Banner()
    return Banner(service.product, service.version, service.extra_info, service.cpes)


def _document(
    judged: Iterable[tuple[Address, str, int, Mapping[str, Any]]],
) -> dict[str, list[Row]]:
    findings, suppressed = [], []
    for address, transport, number, risk in judged:
        where = {"address": str(address), "transport": transport, "port": number}
        findings += [
            where | _row(finding, status)
            for status, kind in (("confirmed", "findings"), ("possible", "possible"))
            for finding in risk[kind]
        ]
        suppressed += [where | one for one in risk["suppressed"]]
    findings.sort(key=lambda row: (row["status"], -row["score"], row["port"], row["finding"]))
    return {"findings": findings, "suppressed": suppressed}


def _row(finding: Mapping[str, Any], status: str) -> Row:
    kept = ("finding", "title", "score", "confidence", "known_exploited", "due_days", "fixed_in",
            "advice", "reasons")  # fmt: skip
    return {name: finding[name] for name in kept} | {
        "severity": finding["level"],
        "status": status,
    }
