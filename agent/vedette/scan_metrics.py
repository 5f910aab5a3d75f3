"""The metrics of a scan: what is open, how much that matters, and what is known against it."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)

from vedette.risk import match, score
from vedette.scanned import CHANGES, Address, Scan, finding_key

_DAY = 86_400.0


def families(scan: Scan) -> Iterable[Metric]:
    """The metrics of one scan, risk included."""
    yield GaugeMetricFamily(
        "vedette_scanned_hosts", "Addresses that were asked at the last scan.", value=scan.targets
    )
    yield GaugeMetricFamily(
        "vedette_hosts_up", "Addresses that were up at the last scan.", value=len(scan.addresses)
    )
    changes = CounterMetricFamily(
        "vedette_port_changes",
        "Changes between scans since the agent's start; the first scan ever changes nothing.",
        labels=["change"],
    )
    for change in CHANGES:
        changes.add_metric([change], scan.changes[change])
    yield changes
    yield from _knowledge_families(scan)
    yield from _host_families(scan)
    yield from _port_families(scan)
    expiry = _gauge(
        "vedette_certificate_expiry_timestamp_seconds",
        "End of the certificate that a TLS port of this host showed when it was last asked; the"
        " same one on other addresses is told once.",
        "address",
        "port",
    )
    told = set()
    for port in scan.ports:
        shown = port.certificate
        if shown and shown.not_after is not None and (port.number, shown) not in told:
            told.add((port.number, shown))
            expiry.add_metric([str(port.address), str(port.number)], shown.not_after)
    yield expiry


def _knowledge_families(scan: Scan) -> Iterable[Metric]:
    built = _gauge(
        "vedette_knowledge_build_timestamp_seconds",
        "Date of what is known of vulnerabilities, by source, at the last scan.",
        "source",
    )
    records = _gauge(
        "vedette_knowledge_records",
        "Records of vulnerabilities and fixes known at the last scan, by source.",
        "source",
    )
    for source in scan.sources:
        records.add_metric([source.name], source.records)
        if source.date:
            date = datetime.fromisoformat(f"{source.date[:10]}T00:00:00+00:00")
            built.add_metric([source.name], date.timestamp())
    suppressed = _gauge(
        "vedette_suppressed_findings",
        "Findings left out of all counts at the last scan: by their version, or accepted.",
        "reason",
    )
    counts = Counter(one["reason"] for port in scan.ports for one in port.risk["suppressed"])
    usual = match.SUPPRESSIONS[0]  # stands there also for none at all
    for reason in match.SUPPRESSIONS:
        if counts[reason] or reason == usual:
            suppressed.add_metric([reason], counts[reason])
    yield from (built, records, suppressed)


def _host_families(scan: Scan) -> Iterable[Metric]:
    count = _gauge(
        "vedette_open_ports", "Ports found open at the last scan.", "address", "transport"
    )
    unexpected = _gauge(
        "vedette_unexpected_open_ports",
        "Open ports that are not on the allow-list, at the last scan.",
        "address",
    )
    missing = _gauge(
        "vedette_missing_expected_ports",
        "Ports of the allow-list that are not open, at the last scan.",
        "address",
    )
    risk = _gauge(
        "vedette_host_risk_score",
        "Risk of a host at the last scan, 0 to 10: its worst port, more for further critical ones.",
        "address",
    )
    findings = _gauge(
        "vedette_findings",
        "Findings at the last scan. confirmed: at least 70 % sure; only these make the scores.",
        "address",
        "severity",
        "confidence",
    )
    exploited = _gauge(
        "vedette_known_exploited_findings",
        "Confirmed findings at the last scan that CISA knows to be exploited.",
        "address",
    )
    due = _gauge(
        "vedette_finding_due_timestamp_seconds",
        "The earliest time by which a confirmed finding is to be mended (CISA BOD 26-04, counted"
        " from when it was first seen); no series: nothing has a deadline.",
        "address",
    )
    for address, here in scan.by_address().items():
        if address.is_loopback and not here:  # what listens everywhere is told of the others
            continue
        transports = Counter(port.transport for port in here)
        for transport in ("tcp", *(["udp"] if transports["udp"] else [])):
            count.add_metric([str(address), transport], transports[transport])
        if address in scan.missing:
            unexpected.add_metric([str(address)], sum(p.expected is False for p in here))
            missing.add_metric([str(address)], len(scan.missing[address]))
        risk.add_metric([str(address)], score.host_score([p.risk["score"] for p in here]))
        counts: dict[tuple[str, str], int] = {}
        for port in here:
            for confidence, name in (("confirmed", "findings"), ("possible", "possible")):
                for finding in port.risk[name]:
                    pair = (finding["level"], confidence)
                    counts[pair] = counts.get(pair, 0) + 1
        for (level, confidence), number in sorted(counts.items()):
            findings.add_metric([str(address), level, confidence], number)
        confirmed = [(port, finding) for port in here for finding in port.risk["findings"]]
        exploited.add_metric([str(address)], sum(f["known_exploited"] for _, f in confirmed))
        deadlines = [
            scan.findings_since[finding_key(port.key, f["finding"])] + f["due_days"] * _DAY
            for port, f in confirmed
            if f["due_days"] != score.NEXT_UPGRADE
        ]
        if deadlines:
            due.add_metric([str(address)], min(deadlines))
    yield from (count, unexpected, missing, risk, findings, exploited, due)


_WORST_FINDINGS = 20  # per host: series are dear, the inventory has them all


def _port_families(scan: Scan) -> Iterable[Metric]:
    where = ("address", "transport", "port")
    info = InfoMetricFamily(
        "vedette_open_port",
        "Port found open at the last scan, and what answers there; always 1.",
        labels=[*where, "service_name", "product", "version"],
    )
    risk = _gauge(
        "vedette_port_risk_score",
        "Risk of an open port at the last scan, 0 (none) to 10 (critical).",
        *where,
        "service_name",
    )
    finding_score = _gauge(
        "vedette_finding_score",
        f"The worst confirmed findings of each host ({_WORST_FINDINGS} at most), 0 to 10; on"
        " loopback none that are low.",
        *where,
        "finding",
        "severity",
    )
    worst: dict[Address, list[tuple[float, list[str]]]] = {}
    # The riskiest first: of too many ports, these are the series that stay.
    for port in sorted(scan.ports, key=lambda port: -port.risk["score"]):
        labels = [str(port.address), port.transport, str(port.number)]
        s = port.service
        info.add_metric([*labels, s.name, s.product, s.version], {})
        risk.add_metric([*labels, s.name], port.risk["score"])
        for f in port.risk["findings"]:
            if port.address.is_loopback and f["level"] == "low":
                continue
            row = (f["score"], [*labels, f["finding"], f["level"]])
            worst.setdefault(port.address, []).append(row)
    for rows in worst.values():
        for value, labels in sorted(rows, key=lambda row: (-row[0], row[1]))[:_WORST_FINDINGS]:
            finding_score.add_metric(labels, value)
    yield from (risk, info, finding_score)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=labels)
