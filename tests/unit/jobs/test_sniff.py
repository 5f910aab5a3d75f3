"""jobs/sniff.py: windows of the capture process in, running counts and metrics out."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support import series_of
from tests.unit.snapshots import SNIFF, V4, address, port, scan_of
from vedette.job import Fact, Facts
from vedette.jobs import sniff
from vedette.scanned import Service
from vedette.sniffed import Sniff
from vedette.thresholds import EVENTS

NOTHING = Sniff(seconds=0, protocols={}, services={}, dropped={}, peers={}, neighbours={})
SERVICES = {("tcp", 22): "ssh"}


def summary(**fields: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {
        "seconds": 10.0, "protocols": [], "services": [], "peers": [], "neighbours": [],
        "dropped": {},
    }  # fmt: skip
    return empty | fields


def test_a_window_is_added_to_what_was_counted_before() -> None:
    """Counters since the agent's start; peers are of the last window only."""
    window = summary(
        protocols=[["eth0", "tcp", 1, 60], ["eth0", "gre", 2, 200]],
        services=[["tcp", 22, "in", 1, 60]],
        peers=[["198.51.100.8", 60], ["other", 200]],
        neighbours=[["192.0.2.2", "02:00:00:00:00:aa", "Acme"]],
        dropped={"eth0": 7, "wg0": 0},
    )

    assert sniff.add(SNIFF, window, SERVICES) == replace(
        SNIFF,
        seconds=10.0,
        protocols={
            ("eth0", "tcp"): (101, 50_060),
            ("eth0", "udp"): (10, 1000),
            ("eth0", "arp"): (2, 84),
            ("lo", "tcp"): (8, 800),
            ("eth0", "gre"): (2, 200),
        },
        services={("tcp", 22, "in", "ssh"): (41, 4060), ("tcp", 22, "out", "ssh"): (50, 40_000)},
        dropped={"eth0": 7, "lo": 5, "wg0": 0},
        peers={"198.51.100.8": 60, "other": 200},
        neighbours={
            "192.0.2.1": ("02:00:00:00:00:fe", "Acme"),
            "192.0.2.2": ("02:00:00:00:00:aa", "Acme"),
        },
    )


def test_a_services_counters_end_when_its_port_closes() -> None:
    """As its other series do; else a host that once ran a random port keeps it for ever."""
    assert sniff.add(SNIFF, summary(), {}).services == {}


def test_a_services_counters_begin_anew_under_another_name() -> None:
    """What nginx has sent is not what the program that took its port has sent."""
    window = summary(services=[["tcp", 22, "in", 1, 60]])

    assert sniff.add(SNIFF, window, {("tcp", 22): "telnet"}).services == {
        ("tcp", 22, "in", "telnet"): (1, 60)
    }


def test_services_are_named_by_this_hosts_ports_alone() -> None:
    """On a scanned neighbour something else may listen on the same number."""
    there = port(address(99), 22, Service("telnet", probed=True))
    here = port(V4, 22, Service("ssh", probed=True))

    assert sniff.service_names(scan_of(here, there), {V4}) == SERVICES
    assert sniff.service_names(None, {V4}) == {}


def test_neighbours_are_bounded_and_the_last_heard_stay() -> None:
    """Somebody who invents addresses fills the table, and is forgotten as it fills."""
    seen = NOTHING
    for start in range(0, 3000, 1000):
        rows = [[f"10.0.{n // 256}.{n % 256}", "02:00:00:00:00:01", ""] for n in range(1000)]
        rows = [[f"10.{start // 1000}.{a[5:]}", mac, vendor] for a, mac, vendor in rows]
        seen = sniff.add(seen, summary(neighbours=rows), {})

    assert len(seen.neighbours) == 1024
    assert list(seen.neighbours)[-1] == "10.2.3.231"


def test_interfaces_that_come_and_go_are_bounded_and_the_last_heard_stay() -> None:
    """A year of ppp and veth, each with a new name; what was there all the time loses nothing."""
    seen = NOTHING
    for number in range(1500):
        rows = [["eth0", "tcp", 1, 60], [f"veth{number}", "tcp", 1, 60]]
        seen = sniff.add(seen, summary(protocols=rows, dropped={f"veth{number}": 1}), {})

    assert seen.protocols["eth0", "tcp"] == (1500, 90_000)
    assert len({name for name, _ in seen.protocols}) == 1024
    assert ("veth1499", "tcp") in seen.protocols
    assert len(seen.dropped) <= 1024


def test_windows_as_metrics() -> None:
    """Every family of the job, by hand-checked numbers."""
    assert series_of(sniff.families(SNIFF)) == [
        'vedette_captured_packets_total{interface="eth0",protocol="arp"} 2.0',
        'vedette_captured_packets_total{interface="eth0",protocol="tcp"} 100.0',
        'vedette_captured_packets_total{interface="eth0",protocol="udp"} 10.0',
        'vedette_captured_packets_total{interface="lo",protocol="tcp"} 8.0',
        'vedette_captured_bytes_total{interface="eth0",protocol="arp"} 84.0',
        'vedette_captured_bytes_total{interface="eth0",protocol="tcp"} 50000.0',
        'vedette_captured_bytes_total{interface="eth0",protocol="udp"} 1000.0',
        'vedette_captured_bytes_total{interface="lo",protocol="tcp"} 800.0',
        'vedette_capture_dropped_packets_total{interface="eth0"} 0.0',
        'vedette_capture_dropped_packets_total{interface="lo"} 5.0',
        "vedette_capture_shed_frames_total 0.0",
        ('vedette_service_packets_total{app_protocol="ssh",direction="in",port="22",'
         'transport="tcp"} 40.0'),
        ('vedette_service_packets_total{app_protocol="ssh",direction="out",port="22",'
         'transport="tcp"} 50.0'),
        ('vedette_service_bytes_total{app_protocol="ssh",direction="in",port="22",'
         'transport="tcp"} 4000.0'),
        ('vedette_service_bytes_total{app_protocol="ssh",direction="out",port="22",'
         'transport="tcp"} 40000.0'),
        "vedette_idle_ports 0.0",
        'vedette_peer_bytes{peer="198.51.100.7"} 44000.0',
        'vedette_peer_bytes{peer="other"} 500.0',
        "vedette_neighbours 2.0",
        'vedette_neighbour_info{address="192.0.2.1",mac="02:00:00:00:00:fe",vendor="Acme"} 1.0',
        'vedette_neighbour_info{address="192.0.2.2",mac="02:00:00:00:00:fd",vendor=""} 1.0',
        'vedette_application_bytes_total{app_protocol="dns"} 500.0',
        'vedette_application_bytes_total{app_protocol="ssh"} 44000.0',
        *(f'vedette_network_events_total{{event="{event}"}} 0.0' for event in EVENTS),
    ]  # fmt: skip


def test_of_many_neighbours_the_last_heard_have_series() -> None:
    """A /16 full of machines must not fill /metrics; the inventory and the count have them all."""
    many = {f"10.0.{n // 256}.{n % 256}": ("02:00:00:00:00:01", "") for n in range(1000)}
    rows = series_of(sniff.families(replace(SNIFF, neighbours=many)))
    shown = [row for row in rows if "neighbour_info" in row]

    assert "vedette_neighbours 1000.0" in rows
    assert len(shown) == 32
    assert "10.0.3.231" in shown[-1]


def test_facts_are_the_neighbours_and_silence_is_no_news() -> None:
    """Who has not spoken for a while is not gone."""
    assert [facts for facts in sniff.facts(SNIFF) if facts.kind == "neighbour"] == [
        Facts(
            "neighbour",
            (
                Fact("192.0.2.1", {"mac": "02:00:00:00:00:fe"}, {"vendor": "Acme"}),
                Fact("192.0.2.2", {"mac": "02:00:00:00:00:fd"}, {"vendor": ""}),
            ),
            complete=False,
        )
    ]


sizes = st.integers(0, 1 << 40)
windows = st.lists(
    st.tuples(st.sampled_from(["eth0", "lo"]), st.sampled_from(["tcp", "udp"]), sizes, sizes),
    max_size=6,
)


@given(st.lists(windows, max_size=6))
def test_counters_never_lose_a_byte_and_never_go_back(
    several: list[list[tuple[str, str, int, int]]],
) -> None:
    """Prometheus takes a counter that falls for a restart."""
    seen = NOTHING
    for rows in several:
        before = seen
        seen = sniff.add(seen, summary(protocols=[list(row) for row in rows]), {})

        assert all(count <= seen.protocols[key] for key, count in before.protocols.items())
    total = sum(size for _, size in seen.protocols.values())
    assert total == sum(row[3] for rows in several for row in rows)
