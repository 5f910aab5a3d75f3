"""What judging a host costs: 100 services against a base of 20,000 vulnerabilities.

Once 100 services of as many products, each of a version amid the flawed ones, and once what a host
has: a dozen kinds, many times, with and without packages. The base is the bundled one, three times
over: the copies have other numbers and other products, as those of a larger catalogue would.
Matching is what a service's vulnerabilities are found by; judging is that with scores and reasons
in words, as a scan does. Memory is what the process has more after than before.
"""

import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from ipaddress import ip_address
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from vedette.edges.packages import Inventory, parse
from vedette.judging import Judge, Key
from vedette.risk import match
from vedette.risk.knowledge import BUNDLED, Knowledge
from vedette.scanned import Service

SERVICES, ROUNDS = 100, 7
COPIES = 2
GOAL_MS, GOAL_MB = 100.0, 5.0
HOST = ip_address("192.0.2.10")

# What answers (nmap's product, version), and the package behind it.
RUNNING = (
    ("OpenSSH", "9.2p1 Debian 2+deb12u3", "openssh", "1:9.2p1-2+deb12u3"),
    ("nginx", "1.22.1", "nginx", "1.22.1-9+deb12u1"),
    ("Apache httpd", "2.4.54", "apache2", "2.4.54-2"),
    ("Redis key-value store", "7.0.11", "redis", "5:7.0.11-1"),
    ("MySQL", "5.5.5-10.11.4-MariaDB-1~deb12u1", "mariadb", "1:10.11.4-1~deb12u1"),
    ("Exim smtpd", "4.96", "exim4", "4.96-15+deb12u1"),
    ("Samba smbd", "4.17.12", "samba", "2:4.17.12+dfsg-0+deb12u1"),
    ("Apache Tomcat", "9.0.30", "", ""),
    ("PostgreSQL DB", "15.3", "", ""),
    ("HAProxy http proxy", "2.4.3", "", ""),
)


COPY = """
INSERT INTO product SELECT id + :product, name || :name FROM product WHERE id < 10000;
INSERT INTO cve SELECT id + :cve, severity, vector, published, kev, epss, exploitation, flags
  FROM cve WHERE id < 300000000000;
INSERT INTO range SELECT product + :product, cve + :cve, lo, lo_included, hi, hi_included, lo_text,
  hi_text, exact, strict, platforms, certain FROM range WHERE product < 10000;
"""


def enlarge(base: Path) -> int:
    """Add copies of all to a base; return how many vulnerabilities it has then."""
    with closing(sqlite3.connect(base)) as db:
        for copy in range(1, COPIES + 1):
            numbers = {"product": copy * 10_000, "name": f"-{copy}", "cve": copy * 3 * 10**11}
            for statement in COPY.split(";")[:-1]:
                db.execute(statement, numbers)
        db.commit()
        count: int = db.execute("SELECT count(*) FROM cve").fetchone()[0]
    return count


def services() -> Iterator[tuple[Key, Service]]:
    """Yield 100 open ports, of as many kinds as RUNNING has, with and without a package."""
    for number, (product, version, _, _) in enumerate(islice(cycle(RUNNING), SERVICES)):
        yield (
            (HOST, "tcp", 1000 + number),
            Service("x", product, version, probed=True),
        )


def different(base: Path) -> list[Service]:
    """Return 100 services that have nothing in common, each of a version amid the flawed ones."""
    found = []
    with closing(sqlite3.connect(base)) as db:
        names = db.execute(
            "SELECT product, min(text) FROM alias WHERE kind = 'name' GROUP BY product"
        ).fetchall()
        for product, name in names:
            told = db.execute(
                "SELECT hi_text FROM range WHERE product = ? AND hi_text GLOB '[0-9]*' ORDER BY hi",
                (product,),
            ).fetchall()
            if told:
                found.append(Service("x", name, told[len(told) // 2][0], probed=True))
    return found[:SERVICES]


def inventory() -> Inventory:
    """Return the packages behind every second port."""
    rows: list[dict[str, Any]] = [
        {
            "address": str(HOST), "port": 1000 + number, "transport": "tcp", "process": "x",
            "executable": "/usr/sbin/x", "source_package": name, "version": version,
        }
        for number, (_, _, name, version) in enumerate(islice(cycle(RUNNING), SERVICES))
        if name and number // len(RUNNING) % 2
    ]  # fmt: skip
    return parse(
        {"generated": 0, "distribution": "debian", "release": "bookworm", "listeners": rows}
    )


def resident() -> float:
    """Return this process's resident memory, in MB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1000


def timed(what: Callable[[], object]) -> str:
    """Say how long it takes, the first time and usually, and how much of that is its own work."""
    took, worked = [], []
    for _ in range(ROUNDS):
        start, work = time.perf_counter(), time.process_time()
        what()
        took.append((time.perf_counter() - start) * 1000)
        worked.append((time.process_time() - work) * 1000)
    return (
        f"first {took[0]:.0f} ms, then median {median(took[1:]):.0f} ms"
        f" ({median(worked[1:]):.0f} ms of CPU)"
    )


def main() -> int:
    """Measure and print."""
    with TemporaryDirectory() as directory:
        base = Path(shutil.copy(BUNDLED, Path(directory) / "base.sqlite"))
        base.chmod(0o600)
        cves = enlarge(base)
        before = resident()
        knowledge, asked, packages = Knowledge(base), dict(services()), inventory()
        pairs = [
            (service, entry.package if (entry := packages.behind(*key)) else None)
            for key, service in asked.items()
        ]

        def all_pairs() -> None:
            match.assess.cache_clear()
            for pair in pairs:
                match.assess(knowledge, *pair)

        strangers = different(base)

        def all_different() -> int:
            match.assess.cache_clear()
            return sum(len(match.assess(knowledge, one).affected) for one in strangers)

        apart = timed(all_different)
        affected = all_different()
        matching = timed(all_pairs)
        kinds = match.assess.cache_info().currsize
        matched = resident()
        judge = Judge(knowledge, packages, [HOST], "debian:bookworm", time.time())
        judging = timed(lambda: judge.risks(asked))
        found = sum(len(risk["findings"]) for risk in judge.risks(asked).values())
        print(f"{cves} CVEs, {base.stat().st_size / 1e6:.1f} MB; {SERVICES} services")
        print(
            f"matching, {len(strangers)} products, {affected} flaws: {apart} (goal {GOAL_MS:.0f})"
        )
        print(f"matching, {kinds} different ones: {matching} (goal {GOAL_MS:.0f})")
        print(f"memory of matching: {matched - before:+.1f} MB")
        print(f"judging: {judging}; {found} confirmed findings; {resident() - before:+.1f} MB")
        print(f"goal of memory: {GOAL_MB:+.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
