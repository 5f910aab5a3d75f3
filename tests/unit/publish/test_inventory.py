"""publish/inventory.py: everything that is known as one plain JSON value."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.support import record_of
from tests.unit.snapshots import FINGERPRINT, SCAN, SNIFF, STATS, hostile_scan
from vedette.history import Change
from vedette.publish.inventory import ADVICE, inventory, scan_as_json
from vedette.store import Failure, Record

CAN = {"raw_sockets": True, "nmap": True, "capture": True, "packages": True, "history": True}
SNAPSHOTS = {"fingerprint": FINGERPRINT, "scan": SCAN, "sniff": SNIFF, "stats": STATS}
CHANGE = Change(
    999.0, "port", "192.0.2.10 tcp/22", "appeared", None, {"service_name": "ssh", "version": "9"}
)


def records(**snapshots: object) -> dict[str, Record]:
    return {name: record_of(name, (), snapshot) for name, snapshot in snapshots.items()}


def no_constants(text: str) -> Any:
    raise AssertionError(f"{text} is no JSON")


def test_everything_is_plain_json() -> None:
    """No NaN, no Python: any program in any language can read it."""
    told = inventory(records(**SNAPSHOTS), CAN, [CHANGE], 1000.0, 50.0)
    text = json.dumps(told, allow_nan=False)

    assert json.loads(text, parse_constant=no_constants) == json.loads(json.dumps(told))
    assert list(told) == [
        "generated", "agent", "jobs", "addresses", "machine", "hosts", "ports",
        "operating_systems", "traffic", "changes",
    ]  # fmt: skip


def test_before_the_first_runs_nothing_is_made_up() -> None:
    """An empty list is not yet a measurement; the jobs say how far they are."""
    told = inventory(records(scan=None, stats=None), CAN, [], 1000.0, 50.0)

    assert all(told[key] == [] for key in ("addresses", "hosts", "ports", "changes"))
    assert (told["machine"], told["traffic"]) == (None, None)
    assert [job["state"] for job in told["jobs"]] == ["waiting", "waiting"]


def test_ports_come_with_the_riskiest_first() -> None:
    """Whoever looks has a minute."""
    told = scan_as_json(SCAN)

    assert [(p["address"], p["port"], p["risk"]["score"]) for p in told["ports"]][:2] == [
        ("192.0.2.10", 80, 9.0),
        ("192.0.2.10", 23, 4.9),
    ]
    assert told["hosts"] == [
        {
            "address": "127.0.0.1",
            "open_ports": 1,
            "risk_score": 3.7,
            "level": "low",
            "missing_expected_ports": [],
        },
        {
            "address": "192.0.2.10",
            "open_ports": 6,
            "risk_score": 9.0,
            "level": "critical",
            "missing_expected_ports": ["tcp/8080"],
        },
        {
            "address": "2001:db8::10",
            "open_ports": 1,
            "risk_score": 0.7,
            "level": "low",
            "missing_expected_ports": ["tcp/80", "tcp/443"],
        },
    ]


def test_a_port_tells_all_that_is_known_of_it() -> None:
    """The metrics have what can be graphed; the rest is here."""
    (ssh,) = (p for p in scan_as_json(SCAN)["ports"] if p["port"] == 22 and "." in p["address"])

    assert {key: value for key, value in ssh.items() if key != "risk"} == {
        "address": "192.0.2.10",
        "transport": "tcp",
        "port": 22,
        "service_name": "ssh",
        "product": "OpenSSH",
        "version": "9.2p1 Debian 2+deb12u3",
        "extra_info": "protocol 2.0",
        "tunnel": "",
        "probed": True,
        "cpes": ["cpe:/a:openbsd:openssh:9.2p1", "cpe:/o:linux:linux_kernel"],
        "process": "sshd",
        "expected": True,
        "first_seen": 1_790_000_000.0,
        "certificate": None,
    }


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "waiting"),
        ({"running_since": 990.0}, "first run"),
        ({"last_success": 990.0, "seen_at": 990.0}, "ok"),
        ({"last_success": 990.0, "seen_at": 990.0, "running_since": 999.0}, "ok"),
        ({"last_success": 990.0, "seen_at": 990.0, "news_at": -200.0}, "stale"),
        ({"last_success": 990.0, "failure": Failure(999.0, "timed_out", "slow")}, "failing"),
        ({"failure": Failure(999.0, "tool_missing", "no nmap")}, "failing"),
    ],
)
def test_the_state_of_a_job_in_one_word(changes: dict[str, Any], state: str) -> None:
    """What the operator looks at first."""
    record = replace(record_of("scan", ()), **changes)

    assert inventory({"scan": record}, CAN, [], 1000.0, 50.0)["jobs"][0]["state"] == state


def test_a_failing_job_says_why_and_a_running_one_how_far_it_is() -> None:
    """In words, with the moment: the log may be far away."""
    record = replace(
        record_of("scan", ()),
        failure=Failure(999.0, "tool_missing", "nmap is not installed"),
        failures={"tool_missing": 3, "bug": 0},
        running_since=998.0,
        progress=(0.5, "sweeping IPv4"),
    )
    (job,) = inventory({"scan": record}, CAN, [], 1000.0, 50.0)["jobs"]

    assert job == {
        "job_name": "scan",
        "state": "failing",
        "interval_seconds": 60,
        "runs": 0,
        "skipped": 0,
        "failures": {"tool_missing": 3},
        "last_failure": {
            "at": 999.0,
            "reason": "tool_missing",
            "message": "nmap is not installed",
        },
        "last_success": None,
        "last_duration_seconds": None,
        "running_since": 998.0,
        "progress": {"ratio": 0.5, "text": "sweeping IPv4"},
    }


def test_what_is_missing_comes_with_how_to_get_it() -> None:
    """Each capability has its advice; what is there needs none."""
    nothing = dict.fromkeys(CAN, False)

    assert inventory({}, nothing, [], 0, 0)["agent"]["advice"] == [
        ADVICE[name] for name in ("history", "nmap", "packages", "raw_sockets")
    ]
    deaf = inventory({}, CAN | {"capture": False}, [], 0, 0)
    assert deaf["agent"]["advice"] == [ADVICE["capture"]]
    assert inventory({}, CAN, [], 0, 0)["agent"]["advice"] == []


def test_hostile_services_are_json_as_well() -> None:
    """Lone surrogates, control characters and markup are somebody's test of our escaping."""
    text = json.dumps(scan_as_json(hostile_scan()), allow_nan=False)

    assert text.isascii()
    assert json.loads(text) == json.loads(json.dumps(scan_as_json(hostile_scan())))


def test_a_certificate_is_told_with_its_times_as_they_are() -> None:
    """Unix seconds, which know no time zone; whoever shows them says UTC."""
    (https,) = (p for p in scan_as_json(SCAN)["ports"] if p["port"] == 443)

    assert https["certificate"] == {
        "subject": "www.example.org",
        "issuer": "Example Authority",
        "not_before": 1_790_000_000.0,
        "not_after": 1_800_000_000.0,
        "key": "rsa 2048",
        "signature": "sha256WithRSAEncryption",
        "self_signed": False,
    }
