"""risk/support.py: what nobody mends any more, by the table."""

from datetime import UTC, date, datetime

import pytest

from tests.unit.bases import apache
from vedette.risk import support
from vedette.risk.identity import Identity
from vedette.risk.knowledge import BUNDLED, Knowledge
from vedette.scanned import Installed, Service

NOW = datetime(2026, 11, 28, tzinfo=UTC).timestamp()


def ended(
    *found: Identity,
    banner: Service | None = None,
    package: Installed | None = None,
    release: str = "",
    own_build: bool = False,
) -> list[tuple[int, str]]:
    """Return (how sure, why) of each proof that it has ended."""
    proofs = support.ended(
        apache(), banner or Service(probed=True), package, found, NOW,
        host_release=release, own_build=own_build,
    )  # fmt: skip
    return [(proof.sure, proof.words) for proof in proofs]


def test_every_entry_is_a_day_and_has_a_source() -> None:
    """A slip of the pen in a table nobody runs would be found by a wrong alarm."""
    table = support.table()
    families = {name.partition(":")[0] for name in table["releases"]}

    assert date.fromisoformat(table["date"])
    for days in table["releases"].values():
        assert 1 <= len(days) <= 2
        assert sorted(days) == [date.fromisoformat(day).isoformat() for day in days]
    for branches in table["products"].values():
        assert all(date.fromisoformat(day) for day in branches.values())
    assert {*families, *table["products"]} == set(table["sources"])


@pytest.mark.parametrize(
    ("identity", "sure"),
    [
        (Identity("apache", "2.2.34"), 80),
        (Identity("apache", "2.4.62"), None),
        (Identity("openssl", "1.0.2k"), 80),
        (Identity("openssl", "1.1.1w"), 80),
        (Identity("openssl", "3.5.0"), None),
        (Identity("postgresql", "9.6.24"), 80),
        (Identity("postgresql", "13.2"), 80),
        (Identity("postgresql", "17.1"), None),
        (Identity("tomcat", "8.5.100"), 80),
        (Identity("tomcat", "9.0.98"), None),
        (Identity("mariadb", "10.11.6"), None),
        (Identity("redis", "5.0.14"), 80),
        (Identity("redis", "6.2.14"), None),
        (Identity("nginx", "1.18.0"), 80),
        (Identity("nginx", "1.30.1"), None),
        (Identity("iis", "7.5"), 80),
        (Identity("nobody", "0.1"), None),  # unknown is no finding
        (Identity("apache", ""), None),
        (Identity("apache", "2.2.15", build="rhel"), None),  # which mends it itself
        (Identity("apache", "2.2.15", secondary=True), None),
    ],
)
def test_a_branch_ends_when_its_project_says_so(identity: Identity, sure: int | None) -> None:
    """By the longest branch that the table names: 8.5 before 8."""
    assert [found for found, _ in ended(identity)] == ([] if sure is None else [sure])


@pytest.mark.parametrize(
    ("release", "version", "sure"),
    [
        ("debian:buster", "1.14.2-2+deb10u5", 97),
        ("debian:bullseye", "1.18.0-6.1", 97),
        ("debian:bookworm", "1.22.1-9", None),
        ("ubuntu:focal", "1.18.0-0ubuntu1.7", 50),  # unless the subscription is there
        ("ubuntu:focal", "1.18.0-0ubuntu1.7+esm1", None),
        ("centos:7", "1:1.20.1-10.el7", 97),
        ("rocky:9.4", "1:1.20.1-14.el9", None),
        ("alpine:3.18.4", "1.24.0-r6", 97),
        ("ubuntu:questing", "1.28.0-6ubuntu1", 97),
        ("ubuntu:resolute", "1.28.1-1ubuntu1", None),
        ("ubuntu:trusty", "1.4.6-1ubuntu3.9+esm5", 97),
        ("fedora:40", "2:1.26.2-1.fc40", 97),
        ("rhel:10.1", "2:1.26.3-1.el10", None),
        ("gentoo:17", "1", None),
    ],
)
def test_a_package_ends_with_its_release(release: str, version: str, sure: int | None) -> None:
    """Its distribution mends it until then, however old upstream's version is."""
    package = Installed(release, "nginx", version)
    found = ended(Identity("apache", "2.2.34", package), package=package)

    assert [one for one, _ in found] == ([] if sure is None else [sure])


def test_what_the_hosts_own_distribution_may_have_built_is_no_finding() -> None:
    """A banner does not tell; an inventory does."""
    old = Identity("apache", "2.2.34")

    assert ended(old, release="debian:bookworm") == []
    assert [sure for sure, _ in ended(old, release="debian:bookworm", own_build=True)] == [80]


def test_a_version_that_a_living_release_has_may_be_its_build() -> None:
    """A bare nginx/1.22.1 is Debian 12's, which mends it; 1.18.0 was Debian 11's, and is over."""

    def sure(version: str, *, own_build: bool = False, release: str = "") -> list[int]:
        found = support.ended(
            Knowledge(BUNDLED), Service(probed=True), None, [Identity("nginx", version)], NOW,
            host_release=release, own_build=own_build,
        )  # fmt: skip
        return [proof.sure for proof in found]

    assert sure("1.22.1") == [50]
    assert sure("1.22.0") == sure("1.18.0") == sure("1.22.1", own_build=True) == [80]
    assert sure("1.22.1", release="debian:bookworm") == []


def test_php_beside_the_service_is_possible_only() -> None:
    """Most PHP comes from a distribution, which goes on mending it."""
    banner = Service("http", "Apache httpd", "2.4.62", "(Debian) PHP/7.4.33", probed=True)

    assert ended(banner=banner) == [
        (50, "PHP 7.4.33 is named beside the service, and has had no support since 2022-11-28")
    ]
