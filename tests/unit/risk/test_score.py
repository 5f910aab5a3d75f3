"""risk/: the score of a port, by sums to be checked by hand, and the words that explain it."""

from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.bases import APACHE, base
from vedette.risk import rule_table
from vedette.risk.score import (
    LEVELS,
    Exposure,
    calculate_risk_score,
    exposure_of,
    host_score,
    level_of,
)
from vedette.scanned import Service

SERVICES = sorted(
    {name for rule in rule_table.RULES for name in rule.services} | {"ssh", "unknown"}
)
SURFACE = (
    "0.9 = severity 2.0 x threat 0.45 x exposure 1.00: an open port on a public address;"
    " nothing is known against "
)
EXPOSURES: tuple[Exposure, ...] = ("loopback", "private", "public")


def test_the_whole_answer_for_a_telnet() -> None:
    """The shape that callers rely on, and words that somebody can act on."""
    reason = (
        "4.9 = severity 8.1 x threat 0.74 x exposure 0.82 (private address 192.0.2.10): telnet"
        " sends passwords in clear text; confidence 80: telnet answered; replace it with SSH"
    )

    assert calculate_risk_score(23, "telnet", address="192.0.2.10") == {
        "score": 4.9,
        "level": "medium",
        "confidence": 80,
        "reasons": [reason],
        "findings": [
            {
                "finding": "RULE-CLEARTEXT-TELNET",
                "title": "telnet sends passwords in clear text",
                "advice": "replace it with SSH",
                "score": 4.9,
                "level": "medium",
                "severity": 8.1,
                "threat": 0.74,
                "exposure": 0.82,
                "confidence": 80,
                "known_exploited": False,
                "due_days": 9999,
                "fixed_in": "",
                "reasons": [reason],
            }
        ],
        "possible": [],
        "suppressed": [],
        "accepted": [],
    }


def test_the_whole_answer_where_nothing_is_known() -> None:
    """An open port is something to attack; the score says how little more is known."""
    assert calculate_risk_score(22, "ssh", exposure="public") == {
        "score": 0.9,
        "level": "low",
        "confidence": 80,
        "reasons": [f"{SURFACE}ssh"],
        "findings": [],
        "possible": [],
        "suppressed": [],
        "accepted": [],
    }


@pytest.mark.parametrize(
    ("service", "exposure", "score"),
    [
        # severity x (0.35 + 0.65 x likelihood) x (0.4 + 0.6 x reach)
        ("telnet", "public", 6.0),  # 8.1 x 0.74 x 1 = 5.994
        ("telnet", "loopback", 2.4),  # 8.1 x 0.74 x 0.4 = 2.3976
        ("login", "public", 6.1),  # 9 x 0.675 = 6.075
        ("ftp", "private", 2.4),  # 5.3 x 0.545 x 0.82 = 2.36857
        ("docker", "public", 6.0),  # 8.1 x 0.74 = 5.994
        ("docker", "loopback", 0.4),  # no finding: 2 x 0.4475 x 0.4 = 0.358
        ("redis", "public", 2.9),  # 5.3 x 0.545 = 2.8885
        ("redis", "private", 0.7),  # no finding: 2 x 0.4475 x 0.82 = 0.7339
        ("microsoft-ds", "public", 4.0),  # 6.5 x 0.61 = 3.965
        ("vnc", "private", 3.3),  # 6.5 x 0.61 x 0.82 = 3.2513
        ("snmp", "private", 1.7),  # 4.3 x 0.48 x 0.82 = 1.69248
        ("unknown", "loopback", 0.4),
    ],
)
def test_scores_are_the_product_that_the_documentation_says(
    service: str, exposure: Exposure, score: float
) -> None:
    """Somebody will check the sum with a pocket calculator."""
    assert calculate_risk_score(1, service, exposure=exposure)["score"] == score


def test_a_guessed_service_is_possible_and_does_not_count() -> None:
    """Its name comes from the port number: a game server on port 23 is no telnet."""
    risk = calculate_risk_score(23, "telnet", probed=False, exposure="public")

    assert (risk["score"], risk["level"], risk["confidence"], risk["findings"]) == (
        0.9,
        "low",
        30,
        [],
    )
    assert [(f["finding"], f["confidence"]) for f in risk["possible"]] == [
        ("RULE-CLEARTEXT-TELNET", 30)
    ]
    assert risk["reasons"] == [
        f"{SURFACE}telnet",
        (
            "possible, not counted: 6.0 = severity 8.1 x threat 0.74 x exposure 1.00 (public"
            " address): telnet sends passwords in clear text; confidence 30: telnet is guessed"
            " from port tcp/23; replace it with SSH"
        ),
    ]


@pytest.mark.parametrize(
    ("score", "level"),
    [(0.0, "none"), (0.1, "low"), (3.9, "low"), (4.0, "medium"), (6.9, "medium"), (7.0, "high"),
     (8.9, "high"), (9.0, "critical"), (10.0, "critical")],
)  # fmt: skip
def test_levels_are_those_of_cvss(score: float, level: str) -> None:
    """Everybody has learnt these borders already."""
    assert level_of(score) == level


@pytest.mark.parametrize(
    ("address", "exposure"),
    [
        ("127.0.0.1", "loopback"), ("127.9.9.9", "loopback"), ("::1", "loopback"),
        ("10.0.0.1", "private"), ("192.168.1.1", "private"), ("172.31.255.255", "private"),
        ("169.254.1.1", "private"), ("100.64.0.1", "private"), ("fd00::1", "private"),
        ("fe80::1", "private"), ("8.8.8.8", "public"), ("172.32.0.1", "public"),
        ("2606:4700::1111", "public"), ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:8.8.8.8", "public"), ("::ffff:10.0.0.1", "private"),
        # Those of examples, where they are what the internet can reach.
        ("192.0.2.1", "public"), ("198.51.100.1", "public"), ("203.0.113.5", "public"),
        ("2001:db8::1", "public"),
    ],
)  # fmt: skip
def test_exposure_is_told_by_the_address(address: str, exposure: str) -> None:
    """An address that the internet can reach weighs more than one it cannot."""
    assert exposure_of(ip_address(address)) == exposure


@pytest.mark.parametrize(
    ("scores", "score"),
    [
        ([], 0.0),
        ([4.9, 0.7], 4.9),
        ([8.9, 8.9, 8.9], 8.9),
        ([9.0], 9.0),
        ([9.0, 9.1], 9.3),
        ([9.0, 9.0, 9.0, 8.0], 9.4),
        ([9.9, 9.9, 9.9], 10.0),
    ],
)
def test_a_host_is_as_risky_as_its_worst_port_and_more_for_further_critical_ones(
    scores: list[float], score: float
) -> None:
    """Not a mean: thirty harmless ports do not make an open database safer."""
    assert host_score(scores) == score


def test_the_rules_are_a_sound_table() -> None:
    """Ids are label values and must be unique; severities are CVSS's, likelihoods ratios."""
    ids = [rule.id for rule in rule_table.RULES]

    assert len(ids) == len(set(ids))
    for rule in rule_table.RULES:
        assert 0 < rule.severity <= 10
        assert 0 <= rule.threat <= 1
        assert rule.services or rule.needs_proof
        assert not (rule.public_only and rule.wider_than_loopback)


@given(
    st.integers(1, 65_535),
    st.sampled_from(SERVICES) | st.text(),
    st.sampled_from(EXPOSURES),
    st.sampled_from(["tcp", "udp"]),
    st.booleans(),
)
def test_every_answer_is_sound(
    number: int,
    service: str,
    exposure: Exposure,
    transport: str,
    probed: bool,  # noqa: FBT001 - drawn
) -> None:
    """Between 0 and 10, the level fits the score, every number has its reason."""
    risk = calculate_risk_score(
        number, service, exposure=exposure, transport=transport, probed=probed
    )

    assert 0 <= risk["score"] <= 10
    assert risk["level"] == level_of(risk["score"])
    assert risk["level"] in LEVELS
    assert risk["reasons"]
    assert all(f["reasons"] for f in risk["findings"] + risk["possible"])
    assert all(f["confidence"] >= 70 for f in risk["findings"])
    assert all(f["confidence"] < 70 for f in risk["possible"])
    assert not (probed and risk["possible"])
    assert f"{risk['score']:.1f} = " in risk["reasons"][0]


@given(st.sampled_from(SERVICES))
def test_who_can_be_reached_by_more_is_not_less_at_risk(service: str) -> None:
    """Moving a service from loopback to the internet never makes it look better."""
    scores = [calculate_risk_score(1, service, exposure=e)["score"] for e in EXPOSURES]

    assert scores == sorted(scores)


def test_what_is_accepted_is_shown_and_does_not_count() -> None:
    """Somebody has said why, and until when."""
    said = {"reason": "behind a firewall", "expires": "2027-03-31"}

    risk = calculate_risk_score(23, "telnet", accepted={"RULE-CLEARTEXT-TELNET": said})

    assert risk["findings"] == []
    assert [(f["finding"], f["accepted"]) for f in risk["accepted"]] == [
        ("RULE-CLEARTEXT-TELNET", said)
    ]
    assert risk["score"] == calculate_risk_score(22, "ssh")["score"]


@pytest.mark.parametrize(
    ("count", "words"),
    [(2, "one more is possible, not counted"), (4, "3 more are possible, not counted")],
)
def test_what_is_only_possible_is_counted_in_whole_sentences(
    tmp_path: Path, count: int, words: str
) -> None:
    """The page shows these reasons as they are."""
    records = [{**APACHE, "cve": f"CVE-2021-4177{number}"} for number in range(count)]
    banner = Service("http", "Apache httpd", "2.4.49", "(Debian)", probed=True)

    risk = calculate_risk_score(
        80, "http", banner=banner, knowledge=base(tmp_path / "base", records)
    )

    assert len(risk["possible"]) == count
    assert risk["reasons"][-1] == words
