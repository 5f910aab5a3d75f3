"""How many series an ordinary host has: a promise to whoever pays for the Prometheus."""

from dataclasses import replace

from tests.support import exposition_of, record_of
from tests.unit.snapshots import STATS, V4, V6, address, port, scan_of
from vedette import scan_metrics
from vedette.edges.host import Filesystem, InterfaceAddress, InterfaceCounters
from vedette.jobs import fingerprint, sniff, stats
from vedette.jobs.fingerprint import Fingerprint, Guess
from vedette.publish import about, tally
from vedette.publish.exposition import TEXT, Exposition
from vedette.publish.server import Server
from vedette.scanned import Address, Service
from vedette.sniffed import Sniff

SERVICES = ["ssh", "http", "https", "telnet", "ftp", "redis", "mysql", "snmp", "unknown", "smtp"]
LEVELS = dict.fromkeys(("debug", "info", "warning", "error", "critical"), 1)
CAPABILITIES = dict.fromkeys(("raw_sockets", "nmap", "capture", "packages"), True)


def series_of_host(*addresses: Address) -> int:
    """Two interfaces, two file systems, ten peers, neighbours, 20 open ports on each address."""
    ports = [
        port(a, 20 + n, Service(SERVICES[n % 10], "product", "1.0", probed=True), expected=True)
        for a in addresses
        for n in range(20)
    ]
    counters = replace(
        STATS.counters,
        interfaces=dict.fromkeys(("eth0", "eth1"), InterfaceCounters(1, 1, 1, 1, 1, 1)),
        filesystems=(Filesystem("/", "/dev/a", 1, 1), Filesystem("/home", "/dev/b", 1, 1)),
    )
    looked = replace(
        STATS,
        addresses=tuple(InterfaceAddress("eth0", a, "02:00:00:00:00:01") for a in addresses),
        counters=counters,
        speeds=dict.fromkeys(("eth0", "eth1"), (1.0, 1.0)),
    )
    sniffed = Sniff(
        seconds=10,
        protocols={
            (i, p): (1, 1) for i in ("eth0", "lo") for p in ("tcp", "udp", "icmp", "arp", "icmpv6")
        },
        services={
            ("tcp", p.number, way, p.service.name): (1, 1)
            for p in ports[:5]
            for way in ("in", "out")
        },
        dropped={"eth0": 0, "lo": 0},
        peers={**{str(address(n)): 1 for n in range(10)}, "other": 1},
        neighbours={str(address(n)): ("02:00:00:00:00:01", "") for n in range(5)},
    )
    systems = Fingerprint(
        tuple(Guess(a, "Linux", "Linux", s, 1) for a in addresses for s in ("active", "local")),
        active=True,
    )
    records = {
        "fingerprint": record_of("fingerprint", fingerprint.families(systems)),
        "scan": record_of(
            "scan", scan_metrics.families(scan_of(*ports, missing=dict.fromkeys(addresses, ())))
        ),
        "sniff": record_of("sniff", sniff.families(sniffed)),
        "stats": record_of("stats", stats.families(looked)),
    }
    exposition = Exposition(
        lambda: records,
        lambda seen, dropped: (
            *about.families(seen, dropped, CAPABILITIES, LEVELS, 0.0),
            *tally.families([Server(exposition_of({}), {}, 8).tally]),
        ),
        10_000,
    )
    exposition.refresh()
    return sum(
        not line.startswith(b"#") for line in exposition.body(TEXT, compressed=False).splitlines()
    )


def test_an_ordinary_host_with_20_open_ports_stays_below_300_series() -> None:
    """The contract's budget, the agent's metrics on itself included."""
    assert series_of_host(V4) <= 300


def test_a_second_address_costs_what_its_ports_cost() -> None:
    """Two addresses are two times the ports: no more, and far from the ceiling of 1,000."""
    one, two = series_of_host(V4), series_of_host(V4, V6)
    print(f"series with IPv4: {one}, with IPv4 and IPv6: {two}")  # noqa: T201 - shown by pytest -s

    assert two - one <= 3 * 20 + 20
    assert two <= 400
