"""risk/rules.py with risk/score.py: from what was seen to a finding."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.bases import base
from vedette.evidence import Certificate, Evidence, Proof, proved, refuted
from vedette.risk import rules
from vedette.risk.score import calculate_risk_score
from vedette.scanned import Installed, Service

NOW = 1_795_000_000.0
DAY = 86_400.0
REMOTE = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
REDIS = Service("redis", "Redis key-value store", "7.0.15", probed=True)


def found(
    service: Service, *proofs: Proof, port: int = 6379, exposure: Any = "private", **more: Any
) -> dict[str, tuple[int, float]]:
    """Return {rule: (confidence, severity)}."""
    risk = calculate_risk_score(
        port, service.name, probed=service.probed, banner=service, exposure=exposure, now=NOW,
        evidence=Evidence(proofs, more.get("certificate")),
    )  # fmt: skip
    return {
        finding["finding"]: (finding["confidence"], finding["severity"])
        for finding in risk["findings"] + risk["possible"]
    }


def test_a_script_is_believed_before_a_banner_and_a_banner_before_a_number() -> None:
    """Proved 95, told 80, guessed from the port's number 30: that one counts for nothing."""
    rule = "RULE-REDIS-NOAUTH"

    assert found(REDIS, proved(rule, "")) == {rule: (95, 9.8)}
    assert found(REDIS) == {rule: (80, 9.8)}
    assert found(Service("redis", "Redis key-value store", probed=True)) == {}
    assert found(Service("redis")) == {rule: (30, 9.8)}
    assert found(Service(), port=6379) == {rule: (30, 9.8)}


def test_a_reply_that_demands_authentication_is_clean() -> None:
    """Whatever the number, or the version, suggested."""
    for service in (REDIS, Service("redis")):
        assert found(service, refuted("RULE-REDIS-NOAUTH", "")) == {}


def test_what_a_proof_says_of_severity_counts() -> None:
    """Anonymous FTP is worse where they may write."""
    ftp = Service("ftp", "vsftpd", "3.0.3", probed=True)
    rule = "RULE-FTP-ANONYMOUS"

    assert found(ftp, proved(rule, ""))[rule] == (95, 6.5)
    assert found(ftp, proved(rule, "", 8.1))[rule] == (95, 8.1)
    assert "RULE-CLEARTEXT-FTP" not in found(ftp, refuted("RULE-CLEARTEXT-FTP", "AUTH TLS"))


@pytest.mark.parametrize(
    ("service", "port", "known", "general"),
    [
        ("docker", 2375, "RULE-DOCKER-API-NOAUTH", "RULE-EXPOSED-CONTROL-API"),
        ("etcd-client", 2379, "RULE-ETCD-NOAUTH", "RULE-EXPOSED-CONTROL-API"),
    ],
)
def test_who_was_asked_is_no_longer_suspected(
    service: str, port: int, known: str, general: str
) -> None:
    """The general rule is for those of whom only the name is known."""
    answering = Service(service, probed=True)

    assert general in found(answering, port=port)
    assert general not in found(answering, refuted(known, ""), port=port)
    assert set(found(answering, proved(known, ""), port=port)) == {known}


def test_a_datastore_with_a_password_is_still_exposed_on_a_public_address() -> None:
    """And one without is more than exposed."""
    exposed, open_ = "RULE-EXPOSED-DATASTORE", "RULE-REDIS-NOAUTH"

    assert set(found(REDIS, refuted(open_, ""), exposure="public")) == {exposed}
    assert set(found(REDIS, proved(open_, ""), exposure="public")) == {open_}


CERTIFICATE = Certificate("a", "b", NOW - 100 * DAY, NOW + 100 * DAY, "rsa", 2048, "sha256WithRSA")
HTTPS = Service("https", "nginx", "1.22.1", tunnel="ssl", probed=True)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, None),
        ({"not_after": NOW - 1}, "RULE-TLS-CERT-EXPIRED"),
        ({"not_after": None}, None),
        ({"self_signed": True}, "RULE-TLS-SELF-SIGNED"),
        ({"bits": 1024}, "RULE-TLS-WEAK-KEY"),
        ({"key": "ec", "bits": 256}, None),
        ({"key": "ec", "bits": 192}, "RULE-TLS-WEAK-KEY"),
        ({"bits": 0}, None),
        ({"signature": "sha1WithRSAEncryption"}, "RULE-TLS-WEAK-KEY"),
        ({"signature": "md5WithRSAEncryption"}, "RULE-TLS-WEAK-KEY"),
        ({"signature": "ecdsa-with-SHA1"}, "RULE-TLS-WEAK-KEY"),
        ({"signature": "ecdsa-with-SHA384"}, None),
    ],
)
def test_certificates_are_judged_by_the_clock_of_the_scan(
    changes: dict[str, Any], rule: str | None
) -> None:
    """What expires tomorrow is no finding today, but has a series of its own."""
    values = {name: getattr(CERTIFICATE, name) for name in Certificate.__dataclass_fields__}
    certificate = Certificate(**(values | changes))

    assert set(found(HTTPS, port=443, certificate=certificate)) == ({rule} if rule else set())


def test_a_self_signed_certificate_on_loopback_is_nobodys_business() -> None:
    """Nobody can stand between a host and itself."""
    certificate = Certificate("a", "a", None, NOW + DAY, self_signed=True)

    assert found(HTTPS, port=443, exposure="loopback", certificate=certificate) == {}


def test_an_admin_page_is_a_finding_on_public_addresses_only() -> None:
    """On private ones it is where it belongs."""
    grafana = Service("http", "Grafana http", "", probed=True)

    assert set(found(grafana, port=3000, exposure="public")) == {"RULE-EXPOSED-ADMIN-UI"}
    assert found(grafana, port=3000) == {}


def test_every_proof_speaks_of_a_rule_that_there_is() -> None:
    """A misspelt one would hold for ever, and never show."""
    named = {name for rule in rules.BY_ID.values() for name in rule.unless | rule.moot_by}

    assert named <= set(rules.BY_ID)


FLAWS = [
    {"cve": f"CVE-2024-{number}", "cvss": {"v3": {"score": score, "vector": REMOTE}}}
    for number, score in ((1001, 5.3), (1002, 9.8), (1003, 7.5))
]


@pytest.mark.parametrize(
    ("version", "severity", "words"),
    [
        ("1:9.2p1-2+deb12u3", 9.8, "which has mended CVE-2024-1002 and 1 more"),
        ("1:9.2p1-2+deb12u4", 7.5, "which has mended CVE-2024-1003"),
        ("1:9.2p1-2+deb12u5", 5.0, "an older one runs"),
    ],
)
def test_a_replaced_program_inherits_the_worst_of_what_was_mended_meanwhile(
    tmp_path: Path, version: str, severity: float, words: str
) -> None:
    """What is on disk is in order; what runs is not, until somebody restarts it."""
    fixed = {
        "CVE-2024-1001": "1:9.2p1-2+deb12u3",
        "CVE-2024-1002": "1:9.2p1-2+deb12u3",
        "CVE-2024-1003": "1:9.2p1-2+deb12u4",
    }
    said = {"distro": "debian", "release": "bookworm", "package": "openssh", "product": "openssh"}
    knowledge = base(tmp_path / "base", FLAWS, [said | {"fixed": fixed}])
    installed = Installed("debian:bookworm", "openssh", version, replaced=True)
    ssh = Service("ssh", "OpenSSH", "9.2p1", probed=True)

    def judged(package: Installed) -> list[Any]:
        risk = calculate_risk_score(
            22, "ssh", banner=ssh, package=package, knowledge=knowledge, now=NOW
        )
        return [f for f in risk["findings"] if f["finding"] == "RULE-STALE-BINARY"]

    (stale,) = judged(installed)
    assert (stale["severity"], stale["confidence"]) == (severity, 95)
    assert words in stale["reasons"][0]
    assert stale["reasons"][0].endswith("restart the service")
    assert judged(replace(installed, replaced=False)) == []
