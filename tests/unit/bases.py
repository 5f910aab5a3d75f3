"""Small knowledge bases for tests."""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vedette.knowledge import build
from vedette.knowledge.records import Records
from vedette.risk.knowledge import Knowledge

BUILT_AT = 1_790_000_000.0
# product: (CPE's names, nmap's name, source packages)
PRODUCTS: Mapping[str, tuple[list[str], str, list[str]]] = {
    "openssh": (["openbsd:openssh"], "OpenSSH", ["openssh"]),
    "nginx": (["f5:nginx", "igor_sysoev:nginx"], "nginx", ["nginx"]),
    "apache": (["apache:http_server"], "Apache httpd", ["apache2"]),
    "mysql": (["oracle:mysql", "mysql:mysql"], "MySQL", ["mysql-8.0"]),
    "mariadb": (["mariadb:mariadb"], "MariaDB", ["mariadb"]),
    "tomcat": (["apache:tomcat"], "Apache Tomcat", ["tomcat9"]),
    "openssl": (["openssl:openssl"], "OpenSSL", ["openssl"]),
    "erlang_otp": (["erlang:erlang/otp"], "Erlang Port Mapper Daemon", []),
    "redis": (["redis:redis"], "Redis key-value store", ["redis"]),
    "bind": (["isc:bind"], "ISC BIND", ["bind9"]),
    "powerdns": (["powerdns:authoritative", "powerdns:recursor"], "PowerDNS", ["pdns"]),
    "samba": (["samba:samba"], "Samba smbd", ["samba"]),
    "minio": (["minio:minio"], "MinIO", []),
    "jenkins": (["jenkins:jenkins"], "Jenkins", []),
    "ntp": (["ntp:ntp"], "NTP", ["ntp"]),
    "jetty": (["eclipse:jetty"], "Jetty", ["jetty9"]),
    "mssql": (["microsoft:sql_server"], "Microsoft SQL Server", []),
}


def base(
    path: Path,
    cves: Iterable[Mapping[str, Any]] = (),
    fixes: Iterable[Mapping[str, Any]] = (),
    *,
    complete: bool = False,
    shipped: Mapping[tuple[str, str], str] | None = None,
) -> Knowledge:
    """Build a base of these records at `path` and open it."""
    records = Records()
    for product, (cpes, name, sources) in PRODUCTS.items():
        records.add_product({"product": product, "cpe": cpes, "nmap": name, "deb_source": sources})
    for cve in cves:
        records.add_cve({"cvss": {}, "affected": [], **cve})
    for row in fixes:
        records.add_fixes({"src": "tracker", **row}, complete=complete)
    for (release, name), version in (shipped or {}).items():
        records.package(release, name)["shipped"] = version
    build.write(records, path, BUILT_AT)
    assert not records.skipped
    return Knowledge(path)


@cache
def empty() -> Knowledge:
    """Return a base that knows no vulnerability at all."""
    with TemporaryDirectory() as directory:  # the open file stays
        return base(Path(directory) / "empty.sqlite")


APACHE = {
    "cve": "CVE-2021-41773",
    "published": "2021-10-05",
    "cvss": {"v3": {"score": 9.8, "vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}},
    "kev": {"added": "2021-11-03", "ransomware": True},
    "affected": [{"p": "apache", "vsi": "2.4.49", "vee": "2.4.50", "src": "nvd"}],
}
ON_WINDOWS = {
    "cve": "CVE-2024-38472",
    "published": "2024-07-01",
    "cvss": {"v3": {"score": 7.5, "vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"}},
    "affected": [
        {"p": "apache", "vsi": "2.4.0", "vee": "2.4.60", "req": ["o:microsoft:windows:-"],
         "src": "nvd"},
        {"p": "apache", "vsi": "2.4.0", "vee": "2.4.60", "src": "vendor"},
    ],
}  # fmt: skip


@cache
def apache() -> Knowledge:
    """Return a base that knows a flaw of Apache 2.4.49, and one that it has on Windows only."""
    with TemporaryDirectory() as directory:
        return base(Path(directory) / "apache.sqlite", [APACHE, ON_WINDOWS])
