"""The score of an open port: severity x threat x exposure, and the words that explain it.

Severity 0 to 10, threat 0.35 to 1 (how likely somebody uses it), exposure 0.4 to 1 (who can reach
it). Confidence stands beside the score and is never multiplied in. After Greenbone's quality of
detection, only what is at least 70 % sure counts; the rest is listed as possible.
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Literal

from vedette.risk import rules

Exposure = Literal["loopback", "private", "public"]

LEVELS = ("none", "low", "medium", "high", "critical")

COUNTING_CONFIDENCE = 70
_PROBED, _PORT_NUMBER_ONLY = 80, 30

_REACH: Mapping[str, float] = {"loopback": 0.0, "private": 0.7, "public": 1.0}

# Any open port is something to attack, with nothing known against it.
_SURFACE_SEVERITY, _SURFACE_THREAT = 2.0, 0.15


def exposure_of(address: IPv4Address | IPv6Address) -> Exposure:
    """Say from where an address can be reached, by the address alone."""
    if address.is_loopback:
        return "loopback"
    return "public" if address.is_global else "private"


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
) -> dict[str, Any]:
    """Return how risky an open port is, and why.

    port, transport: where. service: nmap's service name. exposure: from where it can be reached.
    probed: the service answered a probe; else its name is guessed from the port number, and what
    follows from it is only possible. address: only for the words.

    The dictionary: {"score": 0.0 to 10.0, "level": str, "confidence": 0 to 100, "reasons": [str],
    "findings": [finding], "possible": [finding]}, a finding being {"finding": rule's id, "title",
    "advice", "score", "level", "severity", "threat", "exposure", "confidence", "reasons": [str]}.
    Both lists are sorted, the worst first.
    """
    confidence = _PROBED if probed else _PORT_NUMBER_ONLY
    where = f"{exposure} address{f' {address}' if address else ''}"
    known = (
        f"{service} answered" if probed else f"{service} is guessed from port {transport}/{port}"
    )
    found = sorted(
        (
            _finding(rule, exposure, confidence, where, known)
            for rule in rules.matching(service, exposure)
        ),
        key=lambda finding: (-finding["score"], finding["finding"]),
    )
    findings = [f for f in found if f["confidence"] >= COUNTING_CONFIDENCE]
    possible = [f for f in found if f["confidence"] < COUNTING_CONFIDENCE]
    surface = _score(_SURFACE_SEVERITY, _SURFACE_THREAT, exposure)
    score = max([surface, *(f["score"] for f in findings)])
    reasons = [reason for f in findings for reason in f["reasons"]]
    if not findings:
        product = _product(surface, _SURFACE_SEVERITY, _SURFACE_THREAT, exposure)
        reasons = [f"{product}: an open port on a {where}; no rule applies to {service}"]
    reasons += [f"possible, not counted: {f['reasons'][0]}" for f in possible]
    return {
        "score": score,
        "level": level_of(score),
        "confidence": max((f["confidence"] for f in findings), default=confidence),
        "reasons": reasons,
        "findings": findings,
        "possible": possible,
    }


def _finding(
    rule: rules.Rule, exposure: Exposure, confidence: int, where: str, known: str
) -> dict[str, Any]:
    score = _score(rule.severity, rule.threat, exposure)
    product = _product(score, rule.severity, rule.threat, exposure)
    sureness = f"confidence {confidence}: {known}"
    return {
        "finding": rule.id,
        "title": rule.title,
        "advice": rule.advice,
        "score": score,
        "level": level_of(score),
        "severity": rule.severity,
        "threat": _threat(rule.threat),
        "exposure": _exposure(exposure),
        "confidence": confidence,
        "reasons": [f"{product} ({where}): {rule.title}; {sureness}; {rule.advice}"],
    }


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


def _exposure(exposure: Exposure) -> float:
    return float(Decimal("0.4") + Decimal("0.6") * Decimal(str(_REACH[exposure])))


def _score(severity: float, likelihood: float, exposure: Exposure) -> float:
    # Decimals, half up: 4.45 is 4.5 for everybody who checks the sum by hand.
    exact = (
        Decimal(str(severity))
        * Decimal(str(_threat(likelihood)))
        * Decimal(str(_exposure(exposure)))
    )
    return float(min(Decimal(10), exact.quantize(Decimal("0.1"), ROUND_HALF_UP)))


def _product(score: float, severity: float, likelihood: float, exposure: Exposure) -> str:
    return (
        f"{score:.1f} = severity {severity:.1f} x threat {_threat(likelihood):.2f}"
        f" x exposure {_exposure(exposure):.2f}"
    )
