"""exports.py: what others read of it. Both were tried against the official JSON schemas."""

import json
from datetime import date
from ipaddress import IPv4Address
from typing import Any

from tests.unit.bases import apache
from vedette import assess, exports
from vedette.edges.acceptances import Acceptance
from vedette.evidence import Evidence, proved
from vedette.judging import Judge
from vedette.risk import match
from vedette.scanned import Address, Port, Service

HERE: Address = IPv4Address("10.0.0.10")
NOW = 1_795_000_000.0


def document() -> dict[str, Any]:
    """A confirmed CVE, one left out, a possible rule, an accepted one."""
    services = {
        (HERE, "tcp", 80): Service("http", "Apache httpd", "2.4.49", probed=True),
        (HERE, "tcp", 21): Service("ftp", "vsftpd", "3.0.3", probed=True),
        (HERE, "tcp", 6379): Service("redis"),
    }
    agreed = (Acceptance("RULE-FTP-ANONYMOUS", "a mirror", date(2099, 1, 1)),)
    judge = Judge(apache(), None, [], "", NOW, accepted=agreed)
    proof = {(HERE, "tcp", 21): Evidence((proved("RULE-FTP-ANONYMOUS", "it let us in"),))}
    risks = judge.risks(services, proof)
    ports = [
        Port(
            address=key[0], transport=key[1], number=key[2], service=service, process="",
            first_seen=NOW, expected=None, risk=risks[key],
        )
        for key, service in services.items()
    ]  # fmt: skip
    return assess.of_ports(ports)


def test_sarif_has_each_finding_with_its_place() -> None:
    """Confirmed ones fail, possible ones are for review, accepted ones suppressed."""
    made = json.loads(json.dumps(exports.sarif(document())))
    (run,) = made["runs"]
    results = {result["ruleId"]: result for result in run["results"]}

    assert made["version"] == "2.1.0"
    assert {name: (one["kind"], one["level"]) for name, one in results.items()} == {
        "CVE-2021-41773": ("fail", "error"),
        "CVE-2024-38472": ("notApplicable", "none"),
        "RULE-CLEARTEXT-FTP": ("fail", "note"),
        "RULE-FTP-ANONYMOUS": ("fail", "note"),
        "RULE-REDIS-NOAUTH": ("review", "none"),
    }
    assert results["RULE-FTP-ANONYMOUS"]["suppressions"] == [
        {
            "kind": "external",
            "status": "accepted",
            "justification": "a mirror (until 2099-01-01)",
        }
    ]
    place = results["CVE-2021-41773"]["locations"][0]["logicalLocations"][0]
    assert place["fullyQualifiedName"] == "10.0.0.10 tcp/80"
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == set(results)


def test_cyclonedx_says_of_each_whether_the_service_has_it() -> None:
    """The states are those of VEX; what was left out has a justification."""
    made = json.loads(json.dumps(exports.cyclonedx(document(), NOW)))
    analyses = {one["id"]: one["analysis"] for one in made["vulnerabilities"]}

    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    assert {name: analysis["state"] for name, analysis in analyses.items()} == {
        "CVE-2021-41773": "exploitable",
        "CVE-2024-38472": "not_affected",
        "RULE-CLEARTEXT-FTP": "exploitable",
        "RULE-FTP-ANONYMOUS": "exploitable",
        "RULE-REDIS-NOAUTH": "in_triage",
    }
    assert analyses["CVE-2024-38472"]["justification"] == "requires_environment"
    assert analyses["RULE-FTP-ANONYMOUS"]["response"] == ["will_not_fix"]
    named = {one["bom-ref"]: (one["name"], one.get("version")) for one in made["components"]}
    assert named["10.0.0.10 tcp/80"] == ("Apache httpd", "2.4.49")
    assert {a["ref"] for one in made["vulnerabilities"] for a in one["affects"]} <= set(named)


def test_every_reason_to_leave_one_out_can_be_exported() -> None:
    """A new one in match.py would stop the export otherwise."""
    row = {"address": "192.0.2.1", "transport": "tcp", "port": 1, "finding": "CVE-2020-1234"}
    left_out = [row | {"reason": reason} for reason in match.SUPPRESSIONS]
    empty: dict[str, Any] = {"findings": [], "accepted": [], "services": []}
    given = empty | {"suppressed": left_out}

    assert len(exports.sarif(given)["runs"][0]["results"]) == len(match.SUPPRESSIONS)
    assert len(exports.cyclonedx(given, NOW)["vulnerabilities"]) == len(match.SUPPRESSIONS)
