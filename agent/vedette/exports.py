"""What `vedette assess` found, in the formats of other tools: SARIF and CycloneDX with VEX.

SARIF 2.1.0: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
CycloneDX 1.6: https://cyclonedx.org/docs/1.6/json/

Both are plain JSON of which a few dozen fields are used; a library for either would have to be
installed on every host.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from vedette import __version__
from vedette.risk.score import NEXT_UPGRADE

Document = Mapping[str, Sequence[Mapping[str, Any]]]

_SARIF_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_LEVELS = {"critical": "error", "high": "error", "medium": "warning", "low": "note", "none": "none"}

# Why one was left out (risk.match.SUPPRESSIONS): state and justification in VEX, and words.
_LEFT_OUT = {
    "fixed_by_distribution": ("resolved", "", "the distribution has fixed it in what is installed"),
    "fixed_upstream": ("resolved", "", "this branch has been fixed in this version"),
    "not_affected": ("not_affected", "code_not_present", "the distribution is not affected"),
    "platform": ("not_affected", "requires_environment", "it needs another platform"),
    "disputed": ("false_positive", "", "its project disputes it, and nobody exploits it"),
}


def sarif(document: Document) -> dict[str, Any]:
    """Return it as SARIF.

    Findings fail, possible ones are for review, accepted ones are suppressed, and what was left out
    is not applicable.
    """
    rules: dict[str, dict[str, Any]] = {}
    results = []
    for row in (*document["findings"], *document["accepted"]):
        rules.setdefault(row["finding"], _sarif_rule(row))
        sure = row["status"] != "possible"
        result = _sarif_result(row, "; ".join(row["reasons"])) | {
            "kind": "fail" if sure else "review",
            "level": _LEVELS[row["severity"]] if sure else "none",
            "properties": {
                "score": row["score"], "confidence": row["confidence"], "status": row["status"],
                "knownExploited": row["known_exploited"], "due": _due(row),
                "fixedIn": row["fixed_in"],
            },
        }  # fmt: skip
        if row["status"] == "accepted":
            result["suppressions"] = [
                {
                    "kind": "external", "status": "accepted",
                    "justification": f"{row['accepted']['reason']}"
                    f" (until {row['accepted']['expires']})",
                }
            ]  # fmt: skip
        results.append(result)
    for row in document["suppressed"]:
        rules.setdefault(row["finding"], {"id": row["finding"]})
        words = _LEFT_OUT[row["reason"]][2]
        results.append(
            _sarif_result(row, f"left out: {words}") | {"kind": "notApplicable", "level": "none"}
        )
    return {
        "$schema": _SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "vedette", "version": __version__, "rules": list(rules.values()),
                    }
                },
                "results": results,
            }
        ],
    }  # fmt: skip


def _sarif_rule(row: Mapping[str, Any]) -> dict[str, Any]:
    rule = {
        "id": row["finding"],
        "shortDescription": {"text": row["title"]},
        "help": {"text": row["advice"]},
        # What GitHub and others sort by.
        "properties": {"security-severity": f"{row['score']:.1f}", "tags": ["security"]},
    }
    return rule | ({"helpUri": _nvd(row["finding"])} if row["finding"].startswith("CVE-") else {})


def _sarif_result(row: Mapping[str, Any], text: str) -> dict[str, Any]:
    where = f"{row['address']}/{row['transport']}/{row['port']}".replace(":", "%3A")
    return {
        "ruleId": row["finding"],
        "message": {"text": text},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": where}},
                "logicalLocations": [{"fullyQualifiedName": _ref(row), "kind": "resource"}],
            }
        ],
        "partialFingerprints": {"finding/v1": f"{_ref(row)} {row['finding']}"},
    }


def cyclonedx(document: Document, now: float) -> dict[str, Any]:
    """Return it as CycloneDX with VEX: services are components, each finding has its analysis.

    now: Unix seconds.
    """
    time = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    refs = dict.fromkeys(
        _ref(row) for part in ("services", "findings", "accepted", "suppressed")
        for row in document[part]
    )  # fmt: skip
    named = {_ref(row): row for row in document["services"]}
    found = [*_affected(document), *_left_out(document)]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid5(NAMESPACE_URL, f"vedette {time} {[*refs]}").urn,
        "version": 1,
        "metadata": {
            "timestamp": time,
            "tools": {
                "components": [{"type": "application", "name": "vedette", "version": __version__}]
            },
        },
        "components": [_component(ref, named.get(ref)) for ref in refs],
        "vulnerabilities": found,
    }


def _component(ref: str, row: Mapping[str, Any] | None) -> dict[str, Any]:
    if row is None:
        return {"type": "application", "bom-ref": ref, "name": ref}
    component = {
        "type": "application",
        "bom-ref": ref,
        "name": row["product"] or row["service_name"],
        "description": f"{row['service_name']} on {ref}",
    }
    return component | ({"version": row["version"]} if row["version"] else {})


def _affected(document: Document) -> Iterator[dict[str, Any]]:
    for row in (*document["findings"], *document["accepted"]):
        detail = "; ".join(row["reasons"])
        analysis: dict[str, Any] = {
            "state": "in_triage" if row["status"] == "possible" else "exploitable",
            "detail": detail,
        }
        if row["status"] == "accepted":
            analysis["response"] = ["will_not_fix"]
            agreed = row["accepted"]
            analysis["detail"] = f"accepted until {agreed['expires']}: {agreed['reason']}; {detail}"
        yield _vulnerability(row, analysis) | {
            "ratings": [
                {
                    "source": {"name": "vedette"}, "score": row["score"],
                    "severity": row["severity"], "method": "other",
                    "justification": "severity x threat x exposure",
                }
            ],
            "description": row["title"],
            "recommendation": row["advice"],
            "properties": [
                {"name": f"vedette:{name}", "value": str(value)}
                for name, value in (
                    ("status", row["status"]), ("confidence", row["confidence"]),
                    ("known_exploited", str(row["known_exploited"]).lower()), ("due", _due(row)),
                    ("fixed_in", row["fixed_in"]),
                )
            ],
        }  # fmt: skip


def _left_out(document: Document) -> Iterator[dict[str, Any]]:
    for row in document["suppressed"]:
        state, justification, words = _LEFT_OUT[row["reason"]]
        analysis = {"state": state, "detail": words}
        yield _vulnerability(
            row, analysis | ({"justification": justification} if justification else {})
        )


def _vulnerability(row: Mapping[str, Any], analysis: Mapping[str, Any]) -> dict[str, Any]:
    source = (
        {"name": "NVD", "url": _nvd(row["finding"])}
        if row["finding"].startswith("CVE-")
        else {"name": "vedette"}
    )
    return {
        "id": row["finding"],
        "source": source,
        "analysis": dict(analysis),
        "affects": [{"ref": _ref(row)}],
    }


def _due(row: Mapping[str, Any]) -> str:
    return "next upgrade" if row["due_days"] == NEXT_UPGRADE else f"{row['due_days']} days"


def _ref(row: Mapping[str, Any]) -> str:
    return f"{row['address']} {row['transport']}/{row['port']}"


def _nvd(cve: str) -> str:
    return f"https://nvd.nist.gov/vuln/detail/{cve}"
