"""`vedette assess`: everything known against what listens, on this host or in a report of nmap's.

Findings come as {"findings": [{"address", "transport", "port", "finding", "title", "score",
"severity", "confidence", "status", "known_exploited", "due_days", "fixed_in", "advice",
"reasons"}], "suppressed": [{"address", "transport", "port", "finding", "reason"}],
"accepted": [finding with "accepted", its reason and last day],
"services": [{"address", "transport", "port", "service_name", "product", "version"}]}; status is
"confirmed" from 70 % confidence on, "possible" below.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from vedette import scripts
from vedette.edges import nmap
from vedette.edges.acceptances import Acceptance
from vedette.edges.packages import Inventory
from vedette.judging import Judge
from vedette.risk.knowledge import Knowledge
from vedette.scanned import Address, Port, Service

Row = dict[str, Any]


def of_report(
    report: bytes,
    inventory: Inventory | None,
    knowledge: Knowledge,
    now: float,
    accepted: tuple[Acceptance, ...] = (),
) -> dict[str, list[Row]]:
    """Judge the open ports of an nmap XML report. Raises BadOutput if it is damaged."""
    hosts = nmap.read(report)
    services = {
        (host.address, port.transport, port.number): port.service
        for host in hosts
        for port in host.ports
        if port.state == "open"
    }
    own = [host.address for host in hosts] if inventory else []
    release = inventory.release if inventory else ""
    judge = Judge(knowledge, inventory, own, release, now, accepted=accepted)
    proved = {key: proof for host in hosts for key, proof in scripts.of_host(host).items()}
    risks = judge.risks(services, proved)
    return _document((*key, services[key], risk) for key, risk in risks.items())


def of_ports(ports: Iterable[Port]) -> dict[str, list[Row]]:
    """Return what a scan of this host judged already."""
    return _document(
        (port.address, port.transport, port.number, port.service, port.risk) for port in ports
    )


def _document(
    judged: Iterable[tuple[Address, str, int, Service, Mapping[str, Any]]],
) -> dict[str, list[Row]]:
    findings: list[Row] = []
    suppressed: list[Row] = []
    accepted: list[Row] = []
    services: list[Row] = []
    for address, transport, number, service, risk in judged:
        where = {"address": str(address), "transport": transport, "port": number}
        words = {"product": service.product, "version": service.version}
        services.append(where | {"service_name": service.name} | words)
        findings += [
            where | _row(finding, status)
            for status, kind in (("confirmed", "findings"), ("possible", "possible"))
            for finding in risk[kind]
        ]
        suppressed += [where | one for one in risk["suppressed"]]
        accepted += [
            where | _row(one, "accepted") | {"accepted": one["accepted"]}
            for one in risk["accepted"]
        ]
    findings.sort(key=lambda row: (row["status"], -row["score"], row["port"], row["finding"]))
    return {
        "findings": findings, "suppressed": suppressed, "accepted": accepted, "services": services,
    }  # fmt: skip


def _row(finding: Mapping[str, Any], status: str) -> Row:
    kept = ("finding", "title", "score", "confidence", "known_exploited", "due_days", "fixed_in",
            "advice", "reasons")  # fmt: skip
    return {name: finding[name] for name in kept} | {
        "severity": finding["level"],
        "status": status,
    }
