"""The score of an open port: severity x threat x exposure, and the words that explain it.

Severity 0 to 10, threat 0.35 to 1 (how likely somebody uses it), exposure 0.4 to 1 (who can reach
it). Confidence stands beside the score and is never multiplied in. After Greenbone's quality of
detection, only what is at least 70 % sure counts; the rest is listed as possible.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any, Literal

from vedette.evidence import Evidence
from vedette.risk import match, proofs, rules, support
from vedette.risk.knowledge import Cve, Knowledge
from vedette.scanned import Installed, Service

Exposure = Literal["loopback", "bridge", "private", "public"]

LEVELS = ("none", "low", "medium", "high", "critical")

COUNTING_CONFIDENCE = 70

_REACH: dict[str, float] = {"loopback": 0.0, "bridge": 0.35, "private": 0.7, "public": 1.0}
_LOCAL_REACH = 0.2  # at most, for what only a user of this host can do
_REACH_OF_KEV = 0.7  # from where on a flaw that is used in the wild is critical
_KEV_FLOOR = 9.0

# Any open port is something to attack, with nothing known against it.
_SURFACE_SEVERITY, _SURFACE_THREAT = 2.0, 0.15

_REASONS = 10  # in words, the worst first; the findings themselves are all there

_UNSCORED = 5.0  # severity of a CVE to which nobody has given one
_NEW_DAYS = 30
NEXT_UPGRADE = 9999  # days: there is no deadline but that


# RFC 5737 and RFC 3849: nobody has them, and in every example they stand for public addresses.
_DOCUMENTATION = tuple(
    map(ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"))
)


def exposure_of(address: IPv4Address | IPv6Address) -> Exposure:
    """Say from where an address can be reached, by the address alone."""
    if address.version == 6 and (within := address.ipv4_mapped):  # noqa: PLR2004 - IPv6
        address = within
    if address.is_loopback:
        return "loopback"
    exemplary = any(address in network for network in _DOCUMENTATION)
    return "public" if address.is_global or exemplary else "private"


def level_of(score: float) -> str:
    """Return the CVSS level of a score: none, low, medium, high, critical."""
    for level, least in (("critical", 9.0), ("high", 7.0), ("medium", 4.0), ("low", 0.1)):
        if score >= least:
            return level
    return "none"


def calculate_risk_score(
    port: int,
    service: str,
    *,
    exposure: Exposure = "private",
    transport: str = "tcp",
    probed: bool = True,
    address: str = "",
    banner: Service | None = None,
    package: Installed | None = None,
    own_build: bool = False,
    host_release: str = "",
    knowledge: Knowledge | None = None,
    now: float | None = None,
    accepted: Mapping[str, Mapping[str, str]] | None = None,
    evidence: Evidence | None = None,
) -> dict[str, Any]:
    """Return how risky an open port is, and why.

    port, transport: where. service: nmap's service name. exposure: from where it can be reached.
    probed: the service answered a probe; else its name is guessed from the port number, and what
    follows from it is only possible. address: only for the words. banner: what it answered.
    package: what it was installed from; own_build: from no package. host_release: what the host
    runs (debian:bookworm). knowledge: the base of vulnerabilities; without one, rules alone count.
    now: Unix seconds. accepted: {finding that somebody has accepted: its "reason" and "expires"}.
    evidence: what scripts proved.

    The dictionary: {"score": 0.0 to 10.0, "level": str, "confidence": 0 to 100, "reasons": [str],
    "findings": [finding], "possible": [finding], "suppressed": [{"finding", "reason"}],
    "accepted": [finding with "accepted", which count for nothing]}, a finding
    being {"finding": CVE or rule's id, "title", "advice", "score", "level", "severity", "threat",
    "exposure", "confidence", "known_exploited": bool, "due_days": 3, 14, 60 or 9999 (with the next
    upgrade), "fixed_in": version or "", "reasons": [str]}. Both lists are sorted, the worst first.
    """
    where = f"{exposure} address{f' {address}' if address else ''}"
    confidence = rules.BY_PROBE if probed else rules.BY_NUMBER
    known = (
        f"{service} answered" if probed else f"{service} is guessed from port {transport}/{port}"
    )
    answer = replace(banner or Service(service), name=service, probed=probed)
    verdict = match.Verdict()
    if knowledge is not None:
        verdict = match.assess(
            knowledge,
            banner or Service(),
            package,
            host_release=host_release,
            own_build=own_build,
        )
    today = time.time() if now is None else now
    seen = proofs.of_banner(answer).merged(evidence or Evidence())
    told = list(rules.of_certificate(seen.certificate, today)) if seen.certificate else []
    if knowledge is not None:
        told += support.ended(
            knowledge, answer, package, verdict.identities, today,
            host_release=host_release, own_build=own_build,
        )  # fmt: skip
    seen = seen.merged(Evidence(tuple(told)))
    found = [
        _rule_finding(hit, exposure, where, known)
        for hit in rules.matching(service, exposure, port=port, probed=probed, evidence=seen)
    ]
    if package is not None and package.replaced:
        found.append(_stale_finding(knowledge, package, exposure, where, today))
    found += [_cve_finding(one, exposure, where, today) for one in verdict.affected]
    found.sort(key=lambda finding: (-finding["score"], finding["finding"]))
    agreed = accepted or {}
    kept = [f for f in found if f["finding"] not in agreed]
    findings = [f for f in kept if f["confidence"] >= COUNTING_CONFIDENCE]
    possible = [f for f in kept if f["confidence"] < COUNTING_CONFIDENCE]
    surface = _score(_SURFACE_SEVERITY, _threat(_SURFACE_THREAT), _REACH[exposure])
    score = max(surface, port_score([f["score"] for f in findings]))
    reasons = [f["reasons"][0] for f in findings[:_REASONS]]
    if len(findings) > _REASONS:
        further = len(findings) - _REASONS
        reasons.append(f"and {further} further finding{'s' if further > 1 else ''}")
    if not findings:
        product = _product(surface, _SURFACE_SEVERITY, _threat(_SURFACE_THREAT), _REACH[exposure])
        reasons = [f"{product}: an open port on a {where}; nothing is known against {service}"]
    reasons += [f"possible, not counted: {f['reasons'][0]}" for f in possible[:1]]
    if len(possible) > 1:
        more = "one more is" if len(possible) == 2 else f"{len(possible) - 1} more are"  # noqa: PLR2004
        reasons.append(f"{more} possible, not counted")
    return {
        "score": score,
        "level": level_of(score),
        "confidence": max((f["confidence"] for f in findings), default=confidence),
        "reasons": reasons,
        "findings": findings,
        "possible": possible,
        "suppressed": [
            {"finding": one.cve.name, "reason": one.reason}
            for one in sorted(verdict.suppressed, key=lambda one: one.cve.name)
        ],
        "accepted": [
            f | {"accepted": agreed[f["finding"]]} for f in found if f["finding"] in agreed
        ],
    }


def _rule_finding(hit: rules.Hit, exposure: Exposure, where: str, known: str) -> dict[str, Any]:
    rule = hit.rule
    threat, reach = _threat(rule.threat), _REACH[exposure]
    score = _score(hit.severity, threat, reach)
    product = _product(score, hit.severity, threat, reach)
    reason = (
        f"{product} ({where}): {rule.title}; confidence {hit.confidence}: {hit.why or known};"
        f" {rule.advice}"
    )
    return {
        "finding": rule.id,
        "title": rule.title,
        "advice": rule.advice,
        "score": score,
        "level": level_of(score),
        "severity": hit.severity,
        "threat": threat,
        "exposure": _exposure(reach),
        "confidence": hit.confidence,
        "known_exploited": False,
        "due_days": deadline(
            kev=False,
            public=exposure == "public",
            automatable=rule.automatable,
            total=rule.total,
        ),
        "fixed_in": "",
        "reasons": [reason],
    }


def _stale_finding(
    knowledge: Knowledge | None, package: Installed, exposure: Exposure, where: str, now: float
) -> dict[str, Any]:
    """As urgent as the worst of what the package that is now on disk has mended."""
    rule = rules.BY_ID["RULE-STALE-BINARY"]
    installed = f"{package.name} {package.version} is installed, an older one runs"
    mended = match.mended_by(knowledge, package) if knowledge is not None else ()
    inherited = [
        _cve_finding(match.Affected(cve, rules.BY_PROOF, installed, ""), exposure, where, now)
        for cve in mended
    ]
    plain = _rule_finding(
        rules.Hit(rule, rules.BY_PROOF, installed, rule.severity), exposure, where, ""
    )
    if not inherited:
        return plain
    worst = max(inherited, key=lambda finding: (finding["score"], finding["finding"]))
    return worst | {
        "finding": rule.id,
        "title": rule.title,
        "advice": rule.advice,
        "fixed_in": package.version,
        "reasons": [
            f"{worst['reasons'][0]}; which has mended {worst['finding']}"
            + (f" and {len(inherited) - 1} more" if len(inherited) > 1 else "")
            + f"; {rule.advice}"
        ],
    }


def _cve_finding(one: match.Affected, exposure: Exposure, where: str, now: float) -> dict[str, Any]:
    cve = one.cve
    severity = _UNSCORED if cve.severity is None else cve.severity
    likelihood, threat_words = _likelihood(cve, now)
    reach = _reach(cve, exposure)
    threat = _threat(likelihood)
    score = _score(severity, threat, reach)
    product = _product(score, severity, threat, reach, threat_words)
    if (
        cve.kev
        and one.confidence >= COUNTING_CONFIDENCE
        and reach >= _REACH_OF_KEV
        and score < _KEV_FLOOR
    ):
        product = f"{_KEV_FLOOR:.1f}, raised from {product}"
        score = _KEV_FLOOR
    unscored = "; nobody has given it a severity" if cve.severity is None else ""
    fixed = f"; fixed in {one.fixed_in}" if one.fixed_in else ""
    fixed += f" ({one.instead})" if one.instead else ""
    advice = f"upgrade to {one.fixed_in}" if one.fixed_in else "upgrade, or restrict who reaches it"
    return {
        "finding": cve.name,
        "title": f"{cve.name}{' (known exploited)' if cve.kev else ''}",
        "advice": advice,
        "score": score,
        "level": level_of(score),
        "severity": severity,
        "threat": threat,
        "exposure": _exposure(reach),
        "confidence": one.confidence,
        "known_exploited": bool(cve.kev),
        "due_days": deadline(
            kev=bool(cve.kev),
            public=exposure == "public",
            automatable=_automatable(cve),
            total=_total(cve),
        ),
        "fixed_in": one.fixed_in,
        "reasons": [
            f"{product} ({where}); confidence {one.confidence}: {one.why}{unscored}{fixed}"
        ],
    }


def _likelihood(cve: Cve, now: float) -> tuple[float, str]:
    """Return how likely a CVE is used, 0 to 1, and by what that is known."""
    if cve.kev:
        ransomware = ", ransomware" if "ransomware" in cve.flags else ""
        return 1.0, f"CISA KEV since {cve.kev}{ransomware}"
    if cve.exploitation == "active":
        maturity, words = 0.6, "exploited"
    elif cve.exploitation == "poc" or "nuclei" in cve.flags:
        maturity, words = 0.4, "public proof of concept"
    elif cve.epss is None and _age_days(cve, now) < _NEW_DAYS:
        maturity, words = 0.3, "new"
    else:
        maturity, words = 0.15, "no exploit known"
    if cve.epss is None:
        return maturity, words
    ranked = cve.epss**0.35
    return (maturity, words) if maturity >= ranked else (ranked, f"EPSS {cve.epss:.3g}")


def _age_days(cve: Cve, now: float) -> float:
    if not cve.published:
        return math.inf
    published = datetime.fromisoformat(f"{cve.published}T00:00:00+00:00")
    return (now - published.timestamp()) / 86_400


def _reach(cve: Cve, exposure: Exposure) -> float:
    """Who can use it: not everybody who reaches the port, where that is not enough."""
    reach = _REACH[exposure]
    vector = f"/{cve.vector}/"
    if "/AV:L/" in vector or "/AV:P/" in vector:
        return min(reach, _LOCAL_REACH)
    return reach * 0.5 if any(ui in vector for ui in ("/UI:R/", "/UI:P/", "/UI:A/")) else reach


def _automatable(cve: Cve) -> bool:
    """CISA's word, else what the vector says."""
    if cve.flags & {"automatable", "not_automatable"}:
        return "automatable" in cve.flags
    vector = f"/{cve.vector}/"
    return all(part in vector for part in ("/AV:N/", "/AC:L/")) and (
        ("/PR:N/" in vector and "/UI:N/" in vector) or "/Au:N/" in vector
    )


def _total(cve: Cve) -> bool:
    if cve.flags & {"total", "partial"}:
        return "total" in cve.flags
    vector = f"/{cve.vector}/"
    return any(
        all(part in vector for part in parts)
        for parts in (("/C:H/", "/I:H/"), ("/C:C/", "/I:C/"), ("/VC:H/", "/VI:H/"))
    )


def deadline(*, kev: bool, public: bool, automatable: bool, total: bool) -> int:
    """Return the days until it must be mended, by CISA's BOD 26-04; 9999: with the next upgrade.

    automatable: reconnaissance to exploitation can be automated. total: it gives full control.
    """
    if kev and public:
        return 3 if automatable or total else 14
    if kev:
        return 3 if automatable and total else 14
    if public:
        return {0: 14, 1: 14, 2: 3}[automatable + total]
    return 60 if automatable else NEXT_UPGRADE


def port_score(scores: Sequence[float]) -> float:
    """Return a port's score: its worst finding, and a little for further ones of 4 and more."""
    if not scores:
        return 0.0
    ordered = sorted(scores, reverse=True)
    further = sum(1 for score in ordered[1:] if score >= 4)  # noqa: PLR2004 - medium
    return float(
        min(
            Decimal(10),
            _rounded(Decimal(str(ordered[0])) + Decimal(str(0.3 * math.log10(1 + further)))),
        )
    )


def host_score(port_scores: list[float]) -> float:
    """Return a host's score: its worst port, and 0.2 for each further critical one; at most 10."""
    if not port_scores:
        return 0.0
    further = sum(1 for score in port_scores if level_of(score) == "critical") - 1
    return float(
        min(Decimal(10), Decimal(str(max(port_scores))) + Decimal("0.2") * max(0, further))
    )


def _threat(likelihood: float) -> float:
    return float(Decimal("0.35") + Decimal("0.65") * Decimal(str(likelihood)))


def _exposure(reach: float) -> float:
    return float(Decimal("0.4") + Decimal("0.6") * Decimal(str(reach)))


def _score(severity: float, threat: float, reach: float) -> float:
    exact = Decimal(str(severity)) * Decimal(str(threat)) * Decimal(str(_exposure(reach)))
    return float(min(Decimal(10), _rounded(exact)))


def _rounded(exact: Decimal) -> Decimal:
    # Half up: 4.45 is 4.5 for everybody who checks the sum by hand.
    return exact.quantize(Decimal("0.1"), ROUND_HALF_UP)


def _product(score: float, severity: float, threat: float, reach: float, why: str = "") -> str:
    return (
        f"{score:.1f} = severity {severity:.1f} x threat {threat:.2f}{f' ({why})' if why else ''}"
        f" x exposure {_exposure(reach):.2f}"
    )
