"""jobs/scan.py: what a run has learnt in, a snapshot, metrics, facts out. No nmap is run here."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from inspect import signature
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import context, known, sample, series_of, text_of
from tests.unit import snapshots
from tests.unit.bases import empty
from tests.unit.snapshots import (
    GUESSED_FTP,
    HTTPS,
    LOOPBACK,
    SCAN,
    SSH,
    TELNET,
    V4,
    V6,
    hostile_scan,
    port,
    scan_of,
)
from vedette import log, scan_metrics
from vedette.edges import nmap
from vedette.edges.host import Listener
from vedette.errors import BadOutput
from vedette.job import Fact, Facts, Known
from vedette.jobs import scan
from vedette.judging import Judge
from vedette.probing import Key, Listeners, Memory
from vedette.scanned import Scan, Service

REPORT = sample("nmap_versions.xml")
SSH_KEY, FTP_KEY, LOCAL_KEY = (V4, "tcp", 22), (V4, "tcp", 2121), (LOOPBACK, "tcp", 6379)


def memory(service: Service, *, at: float = 900.0, identity: str = "") -> Memory:
    return Memory(service, at, 0.0, identity)


def value(service: Service) -> dict[str, str]:
    return {
        "service_name": service.name,
        "product": service.product,
        "version": service.version,
    }


def remembered(service: Service, *, present: bool = True, at: float = 900.0) -> Known:
    return known(value(service), memory(service, at=at).as_detail(), present=present)


def run_of(
    found: Mapping[Key, Service],
    options: scan.Options | None = None,
    *,
    sockets: tuple[Listener, ...] = (),
    previous: Scan | None = None,
    raw: bool = True,
) -> scan.Run:
    """A run that has swept, and identified what `found` says was probed."""
    own = (V4, V6, LOOPBACK)
    judge = Judge(empty(), None, own, "", 1000.0)
    run = scan.Run(
        *(options or scan.Options(), context(previous), raw, own, Listeners(sockets, own), judge),
        targets=1,
    )
    run.up = {key[0] for key in found} or {V4}
    run.guesses = {key: replace(service, probed=False) for key, service in found.items()}
    run.memories = {key: memory(service) for key, service in found.items()}
    return run


def listener(address: IPv4Address, number: int, process: str = "redis-server") -> Listener:
    return Listener(address, "tcp", number, process, "abcdef", own=False)


def changes_of(found: Mapping[Key, Service], before: Mapping[str, Known]) -> Mapping[str, int]:
    return scan.build(run_of(found), before, settled=True).changes


def counts(opened: int = 0, closed: int = 0, service_changed: int = 0) -> dict[str, int]:
    return {"opened": opened, "closed": closed, "service_changed": service_changed}


# ---- what may be scanned


@pytest.mark.parametrize(
    ("networks", "problem"),
    [
        (("8.8.8.0/24",), "8.8.8.0/24 is public; allow_public must be true for it"),
        (("2606:4700::/120",), "2606:4700::/120 is public; allow_public must be true for it"),
        (
            ("192.168.0.0/24", "1.1.1.1/32"),
            "1.1.1.1/32 is public; allow_public must be true for it",
        ),
        (("10.0.0.0/15",), "10.0.0.0/15 has more than 65,536 addresses"),
        (("0.0.0.0/4",), "0.0.0.0/4 has more than 65,536 addresses"),
        (("fd00::/64",), "fd00::/64 has more than 65,536 addresses"),
        (("224.0.0.0/24",), "224.0.0.0/24 is not a network of hosts"),
        (("0.0.0.0/32",), "0.0.0.0/32 is not a network of hosts"),
        (("240.0.0.0/24",), "240.0.0.0/24 is not a network of hosts"),
        # Python 3.13 writes it like this; older ones ::ffff:808:808.
        (("::ffff:8.8.8.8/128",), f"{ip_network('::ffff:8.8.8.8')} is not a network of hosts"),
        (("64:ff9b::808:808/128",), "64:ff9b::808:808/128 is not a network of hosts"),
    ],
)
def test_networks_that_may_not_be_scanned_are_refused(
    networks: tuple[str, ...], problem: str
) -> None:
    """A slip of the pen must not scan strangers; nor may IPv4 hide in IPv6 notation."""
    parsed = tuple(ip_network(text) for text in networks)

    with pytest.raises(ValueError, match=re.escape(problem)):
        scan.Options(networks=parsed)


def test_a_second_switch_allows_public_networks() -> None:
    """Who owns a public network may scan it, and says so twice."""
    networks = (IPv4Network("8.8.8.0/24"), IPv6Network("2606:4700::/120"))

    assert scan.Options(networks=networks, allow_public=True).networks == networks


# ---- what a run makes of what it found


def test_a_snapshot_tells_all_that_the_run_has_learnt() -> None:
    """Sorted, with the risk of each port, and what the next scan wants to know."""
    run = run_of({FTP_KEY: GUESSED_FTP, SSH_KEY: SSH}, sockets=(listener(V4, 22, "sshd"),))
    run.first_seen = {SSH_KEY: 1_790_000_000.0, FTP_KEY: 1_790_000_000.0}

    assert scan.build(run, {}, settled=True) == scan_of(
        port(V4, 22, SSH, process="sshd", exposure="public"),
        port(V4, 2121, GUESSED_FTP, exposure="public"),
        details={
            "192.0.2.10 tcp/22": memory(SSH).as_detail(),
            "192.0.2.10 tcp/2121": memory(GUESSED_FTP).as_detail(),
        },
    )


def test_a_port_that_is_new_was_first_seen_now() -> None:
    """The inventory says since when; the clock of the run is the one that counts."""
    (seen,) = scan.build(run_of({SSH_KEY: SSH}), {}, settled=True).ports

    assert seen.first_seen == 1000.0


def test_the_first_scan_ever_changes_nothing() -> None:
    """Else each new host would start with an alert for each of its ports."""
    assert changes_of({SSH_KEY: SSH, FTP_KEY: GUESSED_FTP}, {}) == counts()


def test_ports_that_open_and_close_are_counted() -> None:
    """A port of a host that was met before is news; one of a new host is not."""
    before = {"192.0.2.10 tcp/2121": remembered(GUESSED_FTP)}

    assert changes_of({SSH_KEY: SSH, (V6, "tcp", 22): SSH}, before) == counts(opened=1, closed=1)


def test_a_port_that_opens_again_is_opened() -> None:
    """It was gone, so it is news, although history knows it."""
    assert changes_of({SSH_KEY: SSH}, {"192.0.2.10 tcp/22": remembered(SSH, present=False)}) == (
        counts(opened=1)
    )


def test_a_port_that_stays_closed_is_not_closed_again() -> None:
    """One event, one count."""
    before = {"192.0.2.10 tcp/2121": remembered(GUESSED_FTP, present=False)}

    assert changes_of({}, before) == counts()


@pytest.mark.parametrize(
    ("before", "now", "changed"),
    [
        (SSH, SSH, 0),
        (SSH, replace(SSH, version="9.3p1"), 1),
        (SSH, HTTPS, 1),
        (SSH, replace(SSH, extra_info="protocol 1.0"), 0),
        (SSH, GUESSED_FTP, 0),  # no answer this time: not known to be another
        (GUESSED_FTP, SSH, 0),  # no answer last time: as little
        (Service(probed=True), SSH, 0),
    ],
)
def test_a_service_has_changed_if_both_answers_are_known(
    before: Service, now: Service, changed: int
) -> None:
    """A probe that ran out of its budget would otherwise look like a break-in."""
    assert changes_of({SSH_KEY: now}, {"192.0.2.10 tcp/22": remembered(before)}) == (
        counts(service_changed=changed)
    )


def test_changes_are_totals_since_the_agents_start() -> None:
    """They are counters: each scan goes on from the one before."""
    run = run_of({SSH_KEY: SSH}, previous=scan_of(changes=counts(5, 6, 7)))
    before = {"192.0.2.10 tcp/2121": remembered(GUESSED_FTP)}

    assert scan.build(run, before, settled=True).changes == counts(6, 7, 7)


def test_a_snapshot_between_the_steps_counts_nothing() -> None:
    """The next one of the same run will; a counter may not go up twice for one event."""
    run = run_of({SSH_KEY: SSH}, previous=scan_of(changes=counts(5, 6, 7)))
    before = {"192.0.2.10 tcp/2121": remembered(GUESSED_FTP)}

    assert scan.build(run, before, settled=False).changes == counts(5, 6, 7)
    assert list(scan.facts(scan.build(run, before, settled=False))) == []


def test_an_allow_list_tells_what_is_unexpected_and_what_is_missing() -> None:
    """Off loopback only: what cannot be reached from outside is nobody's surprise."""
    found: dict[Key, Service] = {SSH_KEY: SSH, FTP_KEY: GUESSED_FTP, LOCAL_KEY: TELNET}
    options = scan.Options(expected_ports=("tcp/22", "tcp/443", "udp/161"))

    seen = scan.build(run_of(found, options), {}, settled=True)

    assert [(p.number, p.expected) for p in seen.ports] == [(6379, None), (22, True), (2121, False)]
    assert seen.missing == {V4: ("tcp/443", "udp/161")}


def test_without_an_allow_list_nothing_is_judged() -> None:
    """And there are no series that say 0 unexpected ports, where nobody has looked."""
    seen = scan.build(run_of({SSH_KEY: SSH}), {}, settled=True)

    assert (seen.ports[0].expected, seen.missing) == (None, {})
    assert "unexpected" not in "".join(series_of(scan_metrics.families(seen)))


# ---- what is taken over from history


def test_what_still_holds_is_not_asked_again() -> None:
    """That is what makes the second scan fast."""
    run = run_of({SSH_KEY: SSH, FTP_KEY: GUESSED_FTP})
    run.memories.clear()
    before = {
        "192.0.2.10 tcp/22": remembered(SSH),
        "192.0.2.10 tcp/2121": remembered(TELNET, at=-90_000),  # older than a day
    }

    scan.recall(run, before)

    assert run.memories == {SSH_KEY: memory(SSH)}
    assert run.first_seen == {SSH_KEY: 100.0, FTP_KEY: 100.0}


def test_the_agents_own_port_is_never_asked() -> None:
    """It knows what it is, and would count its own probes as requests."""
    own = Listener(V4, "tcp", 22, "vedette", "abcdef", own=True)
    run = run_of({SSH_KEY: SSH}, sockets=(own,))
    run.memories.clear()

    scan.recall(run, {})

    assert run.memories[SSH_KEY].service.product == "vedette"


# ---- what is remembered and shown


def test_facts_are_the_open_ports_with_what_answers() -> None:
    """A new version is news; when it was probed is not."""
    seen = scan_of(port(V4, 22, SSH), details={"192.0.2.10 tcp/22": {"probed_at": 1}})

    assert list(scan.facts(seen)) == [
        Facts("port", (Fact("192.0.2.10 tcp/22", value(SSH), {"probed_at": 1}),)),
        Facts("finding", ()),
    ]


def test_a_confirmed_finding_is_a_fact() -> None:
    """When it was first seen decides when it is due."""
    _, found = scan.facts(scan_of(port(V4, 23, TELNET)))

    assert found == Facts(
        "finding", (Fact("192.0.2.10 tcp/23 RULE-CLEARTEXT-TELNET", {"severity": "medium"}),)
    )


def test_what_is_remembered_can_be_logged() -> None:
    """News is logged with the names of its values: a name of the log's own fails the whole run."""
    names = {name for told in scan.facts(SCAN) for fact in told.facts for name in fact.value}

    assert "severity" in names
    assert names & {*signature(log.event).parameters, "time", "key"} == set()


def test_a_scan_as_metrics() -> None:
    """Numbers that can be checked by hand; the golden file shows every family."""
    at, at6 = 'address="192.0.2.10"', 'address="2001:db8::10"'
    told = series_of(scan_metrics.families(SCAN))

    assert [row for row in told if "_info" not in row and "_port_risk" not in row] == [
        "vedette_scanned_hosts 3.0",
        "vedette_hosts_up 3.0",
        'vedette_port_changes_total{change="opened"} 2.0',
        'vedette_port_changes_total{change="closed"} 1.0',
        'vedette_port_changes_total{change="service_changed"} 3.0',
        'vedette_knowledge_build_timestamp_seconds{source="cves"} 1.7953056e+09',
        'vedette_knowledge_records{source="cves"} 6825.0',
        'vedette_suppressed_findings{reason="fixed_by_distribution"} 0.0',
        'vedette_suppressed_findings{reason="platform"} 1.0',
        'vedette_open_ports{address="127.0.0.1",transport="tcp"} 1.0',
        f'vedette_open_ports{{{at},transport="tcp"}} 5.0',
        f'vedette_open_ports{{{at},transport="udp"}} 1.0',
        f'vedette_open_ports{{{at6},transport="tcp"}} 1.0',
        f"vedette_unexpected_open_ports{{{at}}} 4.0",
        f"vedette_unexpected_open_ports{{{at6}}} 0.0",
        f"vedette_missing_expected_ports{{{at}}} 1.0",
        f"vedette_missing_expected_ports{{{at6}}} 2.0",
        'vedette_host_risk_score{address="127.0.0.1"} 3.7',
        f"vedette_host_risk_score{{{at}}} 9.0",
        f"vedette_host_risk_score{{{at6}}} 0.7",
        'vedette_findings{address="127.0.0.1",confidence="confirmed",severity="low"} 2.0',
        f'vedette_findings{{{at},confidence="confirmed",severity="critical"}} 1.0',
        f'vedette_findings{{{at},confidence="confirmed",severity="low"}} 2.0',
        f'vedette_findings{{{at},confidence="possible",severity="low"}} 1.0',
        f'vedette_findings{{{at},confidence="confirmed",severity="medium"}} 1.0',
        'vedette_known_exploited_findings{address="127.0.0.1"} 0.0',
        f"vedette_known_exploited_findings{{{at}}} 1.0",
        f"vedette_known_exploited_findings{{{at6}}} 0.0",
        # 60 and three days later
        'vedette_finding_due_timestamp_seconds{address="127.0.0.1"} 1.795184e+09',
        f"vedette_finding_due_timestamp_seconds{{{at}}} 1.7902592e+09",
        (
            f'vedette_finding_score{{{at},finding="CVE-2021-41773",port="80",'
            'severity="critical",transport="tcp"} 9.0'
        ),
        (
            f'vedette_finding_score{{{at},finding="RULE-CLEARTEXT-TELNET",port="23",'
            'severity="medium",transport="tcp"} 4.9'
        ),
        (
            f'vedette_finding_score{{{at},finding="RULE-UNSUPPORTED",port="443",'
            'severity="low",transport="tcp"} 2.9'
        ),
        (
            f'vedette_finding_score{{{at},finding="RULE-SNMP-V1V2C",port="161",'
            'severity="low",transport="udp"} 1.7'
        ),
        f'vedette_certificate_expiry_timestamp_seconds{{{at},port="443"}} 1.8e+09',
    ]


def test_the_worst_findings_of_each_host_have_series_and_the_others_do_not() -> None:
    """A host with a hundred telnets still fits its budget; the inventory has all of them."""
    ports = [port(V4, number, TELNET) for number in range(1, 101)]
    rows = [
        r for r in series_of(scan_metrics.families(scan_of(*ports))) if "vedette_finding_score" in r
    ]

    assert len(rows) == 20


def test_hostile_services_can_be_printed() -> None:
    """Escapes, quotes and newlines in labels are somebody's way into /metrics."""
    text = text_of(scan_metrics.families(hostile_scan()))

    assert all(line.isprintable() for line in text.splitlines())


@settings(max_examples=300)
@given(
    st.sampled_from([b'name="', b'product="', b'version="', b'extrainfo="', b'tunnel="', b"<cpe>"]),
    st.text(st.characters(exclude_characters="&<>\"'", exclude_categories=["Cs"]), max_size=99),
)
def test_any_report_is_bad_output_or_can_be_printed(field: bytes, text: str) -> None:
    """The whole way, from nmap's report to /metrics."""
    report = REPORT.replace(field, field + text.encode())
    with suppress(BadOutput):
        found: dict[Key, Any] = {
            (host.address, p.transport, p.number): p.service
            for host in nmap.read(report)
            for p in host.ports
            if p.state == "open"
        }
        printed = text_of(scan_metrics.families(scan.build(run_of(found), {}, settled=True)))

        assert printed.count("vedette_port_risk_score{") == 9


def test_series_are_not_spent_on_what_nobody_acts_on() -> None:
    """A host with 20 ports has a budget of 300.

    One certificate on two addresses expires once; loopback without a port of its own is no host.
    """
    made = scan_of(
        *(snapshots.port(where, 443, snapshots.HTTPS, certificate=snapshots.CERTIFICATE)
          for where in (V4, snapshots.V6)),
    )  # fmt: skip
    made = replace(made, addresses=(*made.addresses, snapshots.LOOPBACK))
    series = series_of(scan_metrics.families(made))

    assert len([one for one in series if "certificate_expiry" in one]) == 1
    assert not [one for one in series if str(snapshots.LOOPBACK) in one]
