"""Fixed snapshots of all four jobs: an ordinary web server, with addresses of RFC 5737 and 3849."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from tests.unit.bases import apache
from vedette.edges.host import Counters, Filesystem, InterfaceAddress, InterfaceCounters
from vedette.evidence import Certificate, Evidence
from vedette.jobs.fingerprint import Fingerprint, Guess
from vedette.jobs.stats import Stats
from vedette.risk.score import Exposure, calculate_risk_score
from vedette.scanned import Address, Port, Scan, Service, Source, finding_key
from vedette.sniffed import Sniff

V4, V6 = IPv4Address("192.0.2.10"), IPv6Address("2001:db8::10")
PUBLIC, LOOPBACK = IPv4Address("8.8.8.8"), IPv4Address("127.0.0.1")

SSH = Service(
    "ssh", "OpenSSH", "9.2p1 Debian 2+deb12u3", "protocol 2.0", probed=True,
    cpes=("cpe:/a:openbsd:openssh:9.2p1", "cpe:/o:linux:linux_kernel"),
)  # fmt: skip
HTTPS = Service("https", "nginx", "1.22.1", tunnel="ssl", probed=True)
TELNET = Service("telnet", "Linux telnetd", "", probed=True)
CERTIFICATE = Certificate(
    "www.example.org", "Example Authority", 1_790_000_000.0, 1_800_000_000.0, "rsa", 2048,
    "sha256WithRSAEncryption",
)  # fmt: skip
GUESSED_FTP = Service("ftp")


def port(
    address: Address,
    number: int,
    service: Service,
    *,
    transport: str = "tcp",
    process: str = "",
    expected: bool | None = None,
    exposure: Exposure = "private",
    certificate: Certificate | None = None,
) -> Port:
    """Return an open port with the risk that it has."""
    return Port(
        address=address,
        transport=transport,
        number=number,
        service=service,
        process=process,
        first_seen=1_790_000_000.0,
        expected=expected,
        risk=calculate_risk_score(
            number, service.name, exposure=exposure, transport=transport,
            probed=service.probed, address=str(address), banner=service, knowledge=apache(),
            evidence=Evidence((), certificate), now=1_795_000_000.0,
        ),
        certificate=certificate,
    )  # fmt: skip


def scan_of(*ports: Port, **changes: Any) -> Scan:
    """Return a finished scan that found these ports, and no more than that."""
    values: dict[str, Any] = {
        "targets": len({p.address for p in ports}),
        "addresses": tuple(sorted({p.address for p in ports}, key=lambda a: (a.version, a))),
        "ports": ports,
        "missing": {},
        "changes": {"opened": 0, "closed": 0, "service_changed": 0},
        "details": {},
        "settled": True,
        "findings_since": {
            finding_key(p.key, finding["finding"]): p.first_seen
            for p in ports
            for finding in p.risk["findings"]
        },
    }
    return Scan(**{**values, **changes})


SCAN = scan_of(
    port(LOOPBACK, 6379, Service("redis", "Redis key-value store", "7.0.15", probed=True),
         process="redis-server", exposure="loopback"),
    port(V4, 22, SSH, process="sshd", expected=True),
    port(V4, 23, TELNET, expected=False),
    port(V4, 443, HTTPS, process="nginx", expected=True, certificate=CERTIFICATE),
    port(V4, 2121, GUESSED_FTP, expected=False),
    port(V4, 80, Service("http", "Apache httpd", "2.4.49", probed=True), expected=False),
    port(V4, 161, Service("snmp", probed=True), transport="udp", expected=False),
    port(V6, 22, SSH, process="sshd", expected=True),
    targets=3,
    missing={V4: ("tcp/8080",), V6: ("tcp/80", "tcp/443")},
    changes={"opened": 2, "closed": 1, "service_changed": 3},
    sources=(Source("cves", "2026-11-22", 6825),),
)  # fmt: skip

STATS = Stats(
    addresses=(
        InterfaceAddress("eth0", V4, "02:00:00:00:00:01"),
        InterfaceAddress("eth0", V6, "02:00:00:00:00:01"),
    ),
    counters=Counters(
        monotonic=1000.0,
        cpu_busy=25.0,
        cpu_total=100.0,
        load=(0.5, 0.25, 0.125),
        memory_size=8 << 30,
        memory_available=3 << 30,
        swap_used=1 << 20,
        interfaces={"eth0": InterfaceCounters(1_000_000, 2_000_000, 1, 2, 3, 4)},
        filesystems=(Filesystem("/", "/dev/vda1", 40 << 30, 10 << 30),),
    ),
    cpu_usage=0.25,
    speeds={"eth0": (1500.0, 2500.5)},
)

FINGERPRINT = Fingerprint(
    (
        Guess(V4, "Linux", "Linux 5.0 - 5.2", "active", 0.97),
        Guess(V4, "Linux", "Debian GNU/Linux 12 (bookworm)", "local", 1.0),
        Guess(V6, "undetermined", "", "active", 0.0),
        Guess(V6, "Linux", "Debian GNU/Linux 12 (bookworm)", "local", 1.0),
    ),
    active=True,
)

SNIFF = Sniff(
    seconds=10.0,
    protocols={
        ("eth0", "tcp"): (100, 50_000),
        ("eth0", "udp"): (10, 1000),
        ("eth0", "arp"): (2, 84),
        ("lo", "tcp"): (8, 800),
    },
    services={("tcp", 22, "in", "ssh"): (40, 4000), ("tcp", 22, "out", "ssh"): (50, 40_000)},
    dropped={"eth0": 0, "lo": 5},
    peers={"198.51.100.7": 44_000, "other": 500},
    neighbours={"192.0.2.1": ("02:00:00:00:00:fe", "Acme"), "192.0.2.2": ("02:00:00:00:00:fd", "")},
    applications={"ssh": 44_000, "dns": 500},
)

HOSTILE = (
    "<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "{{ 7*7 }}{% raw %}",
    "\x1b[2J\x1b]0;owned\x07", "a\nb\r\nc\x00d", "\u202egnp.exe\u2066", "\ud800", '\\\n"',
    "é" * 5000, "",
)  # fmt: skip


def hostile_scan() -> Scan:
    """Return a scan of services that all try something, as if nothing had cleaned their words."""
    return scan_of(
        *(
            port(
                V4,
                number,
                Service(t, t, t, t, t, probed=True, cpes=(t,)),
                process=t,
                transport=t,
                certificate=Certificate(t, t, -1e10, 1e11, t, 1, t),
            )
            for number, t in enumerate(HOSTILE, 1)
        )
    )


def address(number: int) -> Address:
    """Return one of the many addresses of the documentation's network."""
    return ip_address(f"192.0.2.{number}")
