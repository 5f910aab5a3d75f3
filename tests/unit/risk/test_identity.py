"""risk/identity.py: what nmap really prints for real services, and what to make of it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.bases import empty
from vedette.risk.identity import identify, release_of, upstream
from vedette.risk.knowledge import BUNDLED, Knowledge
from vedette.scanned import Installed, Service


def service(product: str, version: str = "", extra: str = "", *cpes: str) -> Service:
    return Service("x", product, version, extra, probed=True, cpes=cpes)


def told(banner: Service) -> tuple[str, str, str, str]:
    """(product, upstream version, package, distribution that built it) of the service itself."""
    found = next(identify(Knowledge(BUNDLED), banner, None), None)
    if found is None:
        return "", "", "", ""
    package = found.package
    named = f"{package.release} {package.name} {package.version}" if package else ""
    return found.product, found.version, named, found.build


@pytest.mark.parametrize(
    ("banner", "expected"),
    [
        (
            service("OpenSSH", "9.2p1 Debian 2+deb12u3", "protocol 2.0"),
            ("openssh", "9.2p1", "debian:bookworm openssh 9.2p1-2+deb12u3", "debian"),
        ),
        (
            service("OpenSSH", "8.9p1 Ubuntu 3ubuntu0.10", "Ubuntu Linux; protocol 2.0"),
            ("openssh", "8.9p1", "ubuntu:jammy openssh 8.9p1-3ubuntu0.10", "ubuntu"),
        ),
        (  # which calls itself 6.6.1 since its fix of curve25519
            service("OpenSSH", "6.6.1p1 Ubuntu 2ubuntu2.13", "Ubuntu Linux; protocol 2.0"),
            ("openssh", "6.6p1", "ubuntu:trusty openssh 6.6p1-2ubuntu2.13", "ubuntu"),
        ),
        (  # whose second portable release calls itself so; the package does not
            service("OpenSSH", "10.0p2 Debian 7", "protocol 2.0"),
            ("openssh", "10.0p1", "debian:trixie openssh 10.0p1-7", "debian"),
        ),
        (service("OpenSSH", "9.7", "protocol 2.0"), ("openssh", "9.7", "", "")),
        (service("OpenSSH", "for_Windows_9.5"), ("openssh", "9.5", "", "")),
        (
            service("nginx", "1.22.1", "", "cpe:/a:igor_sysoev:nginx:1.22.1"),
            ("nginx", "1.22.1", "", ""),
        ),
        (service("nginx", "1.18.0", "Ubuntu"), ("nginx", "1.18.0", "", "ubuntu")),
        (service("nginx"), ("nginx", "", "", "")),
        (
            service("ISC BIND", "9.18.28-1~deb12u2-Debian"),
            ("bind", "9.18.28", "debian:bookworm bind 9.18.28-1~deb12u2", "debian"),
        ),
        (
            service("ISC BIND", "9.11.5-P4-5.1+deb10u9-Debian"),
            ("bind", "9.11.5-P4", "debian:buster bind 9.11.5-P4-5.1+deb10u9", "debian"),
        ),
        (service("ISC BIND", "9.18.24-1-Debian"), ("bind", "9.18.24", "", "debian")),
        (service("ISC BIND", "9.16.1-Ubuntu"), ("bind", "9.16.1", "", "ubuntu")),
        (service("ISC BIND", "9.11.4-P2"), ("bind", "9.11.4-P2", "", "")),
        (service("Apache httpd", "2.4.57", "(Debian)"), ("apache", "2.4.57", "", "debian")),
        (
            service("Apache httpd", "2.4.37", "(Rocky Linux) OpenSSL/1.1.1k"),
            ("apache", "2.4.37", "", "rhel"),
        ),
        (
            service(
                "Apache Tomcat/Coyote JSP engine", "1.1", "",
                "cpe:/a:apache:coyote_http_connector:1.1",
            ),
            ("", "", "", ""),  # the connector's version is not the server's
        ),
        (
            service("MySQL", "5.5.5-10.6.12-MariaDB-0ubuntu0.22.04.1"),
            ("mariadb", "10.6.12", "ubuntu:jammy mariadb 10.6.12-0ubuntu0.22.04.1", "ubuntu"),
        ),
        (service("MySQL", "5.5.5-10.11.4-MariaDB"), ("mariadb", "10.11.4", "", "")),
        (
            service("MySQL", "5.5.5-10.5.8-MariaDB-1:10.5.8+maria~focal", "",
                    "cpe:/a:mariadb:mariadb:5.5.5-10.5.8-mariadb-1:10.5.8+maria~focal"),
            ("mariadb", "10.5.8", "", ""),
        ),
        (
            service("MySQL", "8.0.32-0ubuntu0.22.04.2"),
            ("mysql", "8.0.32", "ubuntu:jammy mysql 8.0.32-0ubuntu0.22.04.2", "ubuntu"),
        ),
        (
            service("MySQL", "5.7.41-0ubuntu0.16.04.1+esm1"),
            ("mysql", "5.7.41", "ubuntu:xenial mysql 5.7.41-0ubuntu0.16.04.1+esm1", "ubuntu"),
        ),
        (service("MySQL", "5.7.33-log"), ("mysql", "5.7.33", "", "")),
        (service("MySQL", "10.3.23 or earlier"), ("mysql", "", "", "")),
        (service("Samba smbd", "3.X - 4.X"), ("samba", "", "", "")),
        (service("Werkzeug", "1.0"), ("", "", "", "")),
        (service("Apache Derby", "10.14"), ("", "", "", "")),
        (service("Oracle Database Vault", "12.1"), ("", "", "", "")),  # not HashiCorp's
        # The version stands in the CPE alone, or in CPE's newer form; its update part follows it.
        (service("", "", "", "cpe:/a:igor_sysoev:nginx:1.20.0"), ("nginx", "1.20.0", "", "")),
        (
            service("", "", "", "cpe:2.3:a:apache:tomcat:9.0.0:m9:*:*:*:*:*:*"),
            ("tomcat", "9.0.0m9", "", ""),
        ),
        (service("nginx", "1.20.0", "", "cpe:/a:no:such:1"), ("nginx", "1.20.0", "", "")),
        # What a version is of: not of the protocol, the module, or the product around it.
        (service("NTP", "v4", "secondary server"), ("ntp", "", "", "")),
        (service("Exim smtpd", "4.X", "", "cpe:/a:exim:exim:4"), ("exim", "", "", "")),
        (
            service("Asterisk Call Manager", "1.1", "", "cpe:/a:digium:asterisk:1.1"),
            ("asterisk", "", "", ""),
        ),
        (
            service("Asterisk", "16.2.1~dfsg-1+deb10u2", "", "cpe:/a:digium:asterisk:16.2.1"),
            ("asterisk", "16.2.1~dfsg-1+deb10u2", "", "debian"),
        ),
        (
            service("Zookeeper", "3.4.13-2d71af4dbe22557fda74f9a9b4309b15a7487f03, built on 2018"),
            ("zookeeper", "3.4.13", "", ""),
        ),
        (service("Zookeeper", "3.4.6-1569965"), ("zookeeper", "3.4.6", "", "")),
        (service("Sendmail", "8.14.4/8.14.4"), ("sendmail", "8.14.4", "", "")),
        (service("FileZilla ftpd", "0.9.41 beta"), ("filezilla_server", "0.9.41beta", "", "")),
        (
            service("Microsoft SQL Server 2017", "14.00.1000.169; RTM"),
            ("mssql", "14.00.1000.169", "", ""),
        ),
        (service("Jetty", "9.4.6.v20170531"), ("jetty", "9.4.6.v20170531", "", "")),
        (
            service("x", "25.0", "", r"cpe:/a:erlang:erlang\/otp:25.0"),
            ("erlang_otp", "25.0", "", ""),
        ),
    ],
)  # fmt: skip
def test_what_nmap_prints_is_understood(
    banner: Service, expected: tuple[str, str, str, str]
) -> None:
    """Rows of nmap 7.93 against genuine banners."""
    assert told(banner) == expected


def test_components_beside_the_service_are_weaker_evidence() -> None:
    """Apache names its OpenSSL; a distribution mends both under the same version."""
    banner = service("Apache httpd", "2.4.37", "(Unix) OpenSSL/1.1.1k")

    assert [
        (one.product, one.version, one.secondary) for one in identify(empty(), banner, None)
    ] == [
        ("apache", "2.4.37", False),
        ("openssl", "1.1.1k", True),
    ]


@pytest.mark.parametrize(
    ("banner", "product", "version", "secondary"),
    [
        # Its own CPE, a name that says the same, a name that nobody else knows.
        (service("Elasticsearch Kibana", "7.6.0", "", "cpe:/a:elasticsearch:kibana:7.6.0"),
         "kibana", "7.6.0", False),
        (service("Hashicorp Vault", "1.2.0", "", "cpe:/a:hashicorp:vault"),
         "vault", "1.2.0", False),
        (service("Cyrus pop3d", "2.3.7", "", "cpe:/a:cmu:cyrus_imap_server:2.3.7"),
         "cyrus_imap", "2.3.7", False),
        (service("Ultr@VNC", "1.0.8.0", "", "cpe:/a:ultravnc:ultravnc:1.0.8.0"),
         "ultravnc", "1.0.8.0", False),
        # What it is made of: the CPE's version is that one's.
        (service("WEBrick httpd", "1.3.1", "Ruby 1.9.3",
                 "cpe:/a:openssl:openssl:1.0.1", "cpe:/a:ruby-lang:ruby:1.9.3"),
         "openssl", "1.0.1", True),
        (service("Liferay Portal Community Edition", "6.1", "", "cpe:/a:apache:tomcat"),
         "tomcat", "", True),
        (service("Apache mod_ftpd", "0.12.4", "", "cpe:/a:apache:http_server"), "apache", "", True),
        # Others whose name begins alike.
        (service("Prometheus Pushgateway", "1.4.0"), "prometheus", "1.4.0", True),
        (service("Grafana Loki", "2.9.0"), "grafana", "2.9.0", True),
        (service("OpenVPN Access Server", "2.5.1", "",
                 "cpe:/a:openvpn:openvpn_access_server:2.5.1"),
         "openvpn", "2.5.1", True),
        (service("Dovecot imapd", "2.0.11"), "dovecot", "2.0.11", False),
        (service("Jenkins httpd", "2.426.2"), "jenkins", "2.426.2", False),
        # As others than nmap call them.
        (service("Redis", "7.0.11"), "redis", "7.0.11", False),
        (service("HAProxy", "2.4.3"), "haproxy", "2.4.3", False),
        (service("PostgreSQL server", "15.3"), "postgresql", "15.3", False),
        (service("Apache ZooKeeper", "3.4.13"), "zookeeper", "3.4.13", False),
        (service("HashiCorp Consul", "1.9.0"), "consul", "1.9.0", False),
    ],
)  # fmt: skip
def test_a_version_is_that_of_what_it_stands_beside(
    banner: Service,
    product: str,
    version: str,
    secondary: bool,  # noqa: FBT001
) -> None:
    """What a service only contains, imitates or is called like is not confirmed by its version."""
    found = next(identify(Knowledge(BUNDLED), banner, None))

    assert (found.product, found.version, found.secondary) == (product, version, secondary)


def test_the_package_goes_over_the_banner() -> None:
    """Docker's proxy, a renamed banner: what is installed is what runs."""
    package = Installed("debian:bookworm", "nginx", "1.22.1-9+deb12u3")

    (found,) = identify(empty(), service("Apache httpd", "2.4.49"), package)

    assert (found.product, found.version, found.package) == ("nginx", "1.22.1", package)


def test_of_a_replaced_program_the_banner_tells_what_still_runs() -> None:
    """The package is new on the disk, and old in memory."""
    package = Installed("debian:bookworm", "openssh", "1:9.2p1-2+deb12u7", replaced=True)

    (found,) = identify(empty(), service("OpenSSH", "9.2p1 Debian 2+deb12u2"), package)

    assert found.package is not None
    assert found.package.version == "9.2p1-2+deb12u2"


@pytest.mark.parametrize(
    ("package", "version"),
    [
        ("1:9.2p1-2+deb12u3", "9.2p1"),
        ("2.4.62-1~deb12u2", "2.4.62"),
        ("2:4.17.12+dfsg-0+deb12u1", "4.17.12"),
        ("1.3.8+dfsg-4+deb12u3", "1.3.8"),
        ("5:7.0.15-1~deb12u1", "7.0.15"),
        ("2.90~rc1-1", "2.90rc1"),
        ("1.22.1", "1.22.1"),
    ],
)
def test_the_upstream_version_stands_in_the_package_version(package: str, version: str) -> None:
    """Without epoch, revision, and what Debian has added."""
    assert upstream(package) == version


def test_one_banner_tells_the_release_of_its_host() -> None:
    """OpenSSH is on nearly every host, and says it."""
    banners = [service("nginx", "1.22.1"), service("OpenSSH", "9.2p1 Debian 2+deb12u3")]

    assert release_of(banners) == "debian:bookworm"
    assert not release_of(banners[:1])


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=300), st.text(max_size=80))
def test_any_banner_is_identified_or_not(product: str, version: str, extra: str, cpe: str) -> None:
    """Strangers write banners."""
    banner = service(product, version, extra, f"cpe:/a:{cpe}")

    for found in identify(empty(), banner, None):
        assert found.product


def test_the_bundled_base_is_there_and_is_small() -> None:
    """A fresh installation assesses at once, offline; the package stays small."""
    assert Path(BUNDLED).stat().st_size < 4 << 20
    assert Knowledge(BUNDLED).counts()["cve"] > 6000


@pytest.mark.parametrize(
    ("release", "name", "version", "product"),
    [
        ("debian:bookworm", "jenkins", "2.426.2", "jenkins"),  # Debian has none
        ("debian:bookworm", "grafana", "10.0.0", "grafana"),  # none of its own has no revision
        ("debian:bookworm", "mysql-community", "8.0.33-1debian12", "mysql"),
        ("ubuntu:jammy", "mysql-community", "8.0.33-1ubuntu22.04", "mysql"),
        ("debian:bookworm", "nginx", "1.24.0-1~bookworm", "nginx"),
        ("debian:bookworm", "mongodb-org", "6.0.5", "mongodb"),
        ("debian:bookworm", "docker-ce", "5:24.0.2-1~debian.12~bookworm", "docker"),
        ("ubuntu:jammy", "gitlab-ce", "16.0.0-ce.0", "gitlab"),
        ("rhel:9", "nginx", "1:1.24.0-1.el9.ngx", "nginx"),
        ("rhel:9", "postgresql15", "15.3-1PGDG.rhel9", "postgresql"),
        ("rhel:9", "mysql-community", "8.0.34-1.el9", "mysql"),
        ("rhel:8", "MariaDB", "10.11.4-1.el8", "mariadb"),
        ("rocky:9", "redis", "7.0.11-1.el9.remi", "redis"),
    ],
)
def test_what_its_vendor_has_packed_is_no_distributions_build(
    release: str, name: str, version: str, product: str
) -> None:
    """Upstream's ranges hold for it as they are."""
    (found,) = identify(Knowledge(BUNDLED), Service(), Installed(release, name, version))

    assert (found.product, found.version) == (product, upstream(version))
    assert found.package is None


@pytest.mark.parametrize("name", ["jenkins", "nginx", "mysql"])
def test_of_other_families_nobody_knows_which_packages_are_a_vendors(name: str) -> None:
    """What Debian has no source package of may well be one elsewhere."""
    package = Installed("rhel:9", name, "2.426.2-1.el9")

    (found,) = identify(Knowledge(BUNDLED), Service(), package)

    assert (found.product, found.package) == (name, package)


@pytest.mark.parametrize(
    ("banner", "windows"),
    [
        (service("Apache httpd", "2.4.49", "(Win64) OpenSSL/1.1.1k"), True),
        (service("Apache httpd", "2.4.49", "", "cpe:/o:microsoft:windows"), True),
        (service("Microsoft IIS httpd", "6.0"), True),
        (service("Apache httpd", "2.4.49", "(Unix)", "cpe:/o:linux:linux_kernel"), False),
    ],
)
def test_what_says_that_it_runs_on_windows_does(banner: Service, windows: bool) -> None:  # noqa: FBT001
    """Flaws that are on Windows only are there."""
    assert next(identify(Knowledge(BUNDLED), banner, None)).windows is windows
