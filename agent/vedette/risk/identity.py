"""What really listens: product, version and build, from its package or else from its banner.

Banners are written by strangers and by distributions: the one may lie, the other mean something
else than what nmap makes of it. The rules here are from what nmap really prints for the usual
services (tests/unit/risk/test_identity.py has the rows).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from vedette.risk import versions
from vedette.risk.knowledge import Knowledge
from vedette.scanned import DEBIAN, UBUNTU, Installed, Service


@dataclass(frozen=True, slots=True)
class Identity:
    """One component, and how it came there.

    version: upstream's, "" if it is not known. package: its source package, if the exact revision
    is known. build: the distribution that built it (debian), if only that is known. from_banner:
    whether package was read out of a banner. secondary: named beside the service.
    """

    product: str
    version: str
    package: Installed | None = None
    build: str = ""
    from_banner: bool = False
    secondary: bool = False
    windows: bool = False


# A release ships one upstream version of OpenSSH, and its banner does not always name the release.
_OPENSSH = {
    "debian": {"6.7p1": "jessie", "7.4p1": "stretch", "7.9p1": "buster", "8.4p1": "bullseye",
               "9.2p1": "bookworm", "10.0p1": "trixie"},
    "ubuntu": {"6.6p1": "trusty", "7.2p2": "xenial", "7.6p1": "bionic", "8.2p1": "focal",
               "8.9p1": "jammy", "9.3p1": "mantic", "9.6p1": "noble", "9.7p1": "oracular",
               "9.9p1": "plucky", "10.0p1": "questing"},
}  # fmt: skip

# What a program calls itself, where its package has kept the older number.
_RENAMED = {"6.6.1p1": "6.6p1", "10.0p2": "10.0p1"}

_BUILDS = {
    "debian": r"\bdebian\b|[+~]deb\d+u|\braspbian\b|\ddfsg|[+~](dfsg|squeeze|wheezy|lenny|etch)",
    "ubuntu": r"\bubuntu\b|\dubuntu\d",
    "rhel": r"\b(red ?hat|rhel|centos|rocky|almalinux|alma|oracle linux|scientific linux|fedora"
    r"|amazon)\b|\.(el|fc|amzn)\d",
    "suse": r"\b(open)?suse\b",
    "gentoo": r"\bgentoo\b",
    "mageia": r"\b(mageia|mandriva|mandrake)\b|mdv\d|\.mga\d",
    "alt": r"\balt linux\b|-alt\d",
    "alpine": r"\balpine\b",
    "freebsd": r"\bfreebsd\b",
}
_BUILD = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _BUILDS.items()}

# OpenSSH prints "9.2p1 Debian 2+deb12u3"; the package is 1:9.2p1-2+deb12u3.
_OPENSSH_REVISION = re.compile(r"(\S+) (Debian|Ubuntu)[ -]([\w.+~]+)$", re.IGNORECASE)
# The databases and BIND print their package's whole version: 8.0.32-0ubuntu0.22.04.2.
_WHOLE_VERSION = re.compile(
    r"^(?:5\.5\.5-)?(\d[\w.+]*(?:-P\d+)?)-(?:MariaDB-)?"
    r"(\d[\w.]*(?:ubuntu[\w.]+(?:\+esm\d+)?|[+~]deb\d+u\d+))"
)
_BUILD_BEHIND = re.compile(r"^(\d[\w.+]*(?:-P\d+)?)-(\d[\w.+~]*)-(?:Debian|Ubuntu)\b")
_REVISION_DEBIAN = re.compile(r"[+~]deb(\d+)u?")
_REVISION_UBUNTU = re.compile(r"ubuntu\d+\.(\d\d\.\d\d)\.")
_MARIADB = re.compile(r"^(?:5\.5\.5-)?(\d[\d.]*)-MariaDB", re.IGNORECASE)
_PREFIX = re.compile(r"^(?:release|version|v)[ ._-]?(?=\d)", re.IGNORECASE)  # RELEASE.2023-03-20T…
_COMPONENT = re.compile(r"\b([A-Za-z][A-Za-z_]{2,30})/(\d[\w.+~-]*)")
_PART = r"((?:[^:\\]|\\.)*)"
# vendor, product, version, update
_CPE = re.compile(rf"cpe:(?:/|2\.3:)a:{_PART}:{_PART}(?::{_PART})?(?::{_PART})?")
_ESCAPE = re.compile(r"\\(.)")
_EXTRA_NAMES = {"openssl": "openssl", "gnutls": "gnutls", "mod_jk": "ghostcat_ajp"}
# Packages that a project builds itself, for a distribution whose fixes are not theirs. PostgreSQL's
# are 15.4-1.pgdg120+1 and 15.4-1PGDG.rhel9, MariaDB's 1:10.11.4+maria~deb12, nginx'
# 1.24.0-1~bookworm and 1:1.24.0-1.el9.ngx, Redis' 6:7.0.11-1rl1~bookworm1, Remi's
# 7.2.1-1.el9.remi, MySQL's 8.0.33-1debian12.
_RELEASES, _UBUNTUS = "|".join((*DEBIAN.values(), *UBUNTU.values())), "|".join(UBUNTU)
_OF_THE_PROJECT = re.compile(
    rf"\.pgdg\d|\dPGDG\b|\.ngx$|\.remi\b|\+maria~|-\d+(?:rl\d+)?~(?:{_RELEASES})\d*$"
    rf"|-\d+(?:debian\d+|ubuntu(?:{_UBUNTUS}))$"
)
# Editions of what a vendor packs itself: gitlab-ce.
_VENDORS_EDITION = re.compile(r"-(?:ce|ee|oss|org|server|community)$")
# Source packages of vendors' own, in whatever format; no distribution calls its own so.
_VENDORS = {
    "mysql-community": "mysql", "mysql-community-server": "mysql", "MariaDB": "mariadb",
    "MariaDB-server": "mariadb", "mongodb-org": "mongodb", "mongodb-org-server": "mongodb",
    "docker-ce": "docker", "gitlab-ce": "gitlab", "gitlab-ee": "gitlab", "influxdb2": "influxdb",
    "clickhouse-server": "clickhouse", "elasticsearch": "elasticsearch", "kibana": "kibana",
}  # fmt: skip
_WINDOWS = re.compile(r"\bWin(?:32|64)\b|^cpe:/o:microsoft:windows\b", re.IGNORECASE)
# nmap's guess for whatever Samba is newer: it printed it of 4.17.12.
_GUESSED = frozenset({("samba", "4.6.2")})
# Whose version is that of a connector or a protocol, not of the server.
_NO_VERSION = re.compile(r"Coyote|Call Manager|Management Interface", re.IGNORECASE)
# 4.X is some version of a branch, "v4" (of NTP, distcc) a protocol.
_NOT_ONE = re.compile(r"(?:^|\.)x\b|^v\d+$", re.IGNORECASE)
# Behind a version: the commit or revision that it was built from, what a vendor says in words.
_BUILT_FROM = re.compile(
    r"-(?:[0-9a-f]{7,40}|\d{6,9})(?=$|[;, ])|[;,/] ?.*$| (?=(?:alpha|beta|rc)\b)"
)
# What may follow a product's name in another's: "Dovecot imapd", "Kubernetes master node httpd".
_GENERIC = re.compile(
    r"[a-z0-9]{1,8}d|server|service|daemon|https?|web|proxy|db|dbms|database|community|enterprise"
    r"|edition|personal|over|ssl|tls|authoritative|recursor|rest|api|remote|\(?[\d.]+\S*"
)


def identify(
    knowledge: Knowledge, banner: Service, package: Installed | None, host_release: str = ""
) -> Iterator[Identity]:
    """Yield what is known to run behind a port: the service first, then components it names.

    banner: what answered a probe; nothing else may be passed. host_release: as for match.assess.
    """
    of_banner = _from_banner(knowledge, banner, host_release)
    if package is not None and (product := _vendors(knowledge, package)):
        yield Identity(product, upstream(package.version))
        return
    if package is not None and (product := product_of(knowledge, package)):
        running = package
        if package.replaced and of_banner and of_banner.package:
            running = replace(package, version=of_banner.package.version)
        yield Identity(product, upstream(running.version), running)
        return
    if of_banner is not None:
        # Names of source packages are known of Debian and Ubuntu alone: httpd may be a build of
        # its distribution, with its fixes.
        if package is not None and not package.release.startswith(("debian:", "ubuntu:")):
            family = package.release.partition(":")[0]
            of_banner = replace(of_banner, build=of_banner.build or family)
        yield of_banner
    yield from _components(banner)


def _vendors(knowledge: Knowledge, package: Installed) -> str:
    """Return the product in a package that its project or vendor has built, "" if it has not.

    That is what its version says; or Debian has no source package of the product: jenkins 2.426.2.
    """
    product = product_of(knowledge, package)
    # Debian's own have a revision.
    plain = package.release.startswith(("debian:", "ubuntu:")) and "-" not in package.version
    packed = plain and not any(
        knowledge.package(where, package.name) for where in releases(package.release)
    )
    if packed or _OF_THE_PROJECT.search(package.version):
        return product or knowledge.named(_VENDORS_EDITION.sub("", package.name))
    if vendors := knowledge.named(_VENDORS.get(package.name, "")):
        return vendors
    if product or not package.release.startswith(("debian:", "ubuntu:")):
        return ""
    return knowledge.named(_VENDORS_EDITION.sub("", package.name))


def product_of(knowledge: Knowledge, package: Installed) -> str:
    """Return the product in a source package, "" if the base knows none."""
    for release in releases(package.release):
        known = knowledge.package(release, package.name)
        if known is not None and known.product:
            return known.product
    # postgresql-17 and mariadb-10.11 are new names of what is known without its number.
    stem = re.sub(r"-?\d[\d.]*$", "", package.name)
    product = knowledge.product("source", package.name) or knowledge.product("source", stem)
    if product or package.release.startswith(("debian:", "ubuntu:")):
        return product
    return knowledge.named(stem)  # the names of source packages are known of these two alone


def releases(release: str) -> list[str]:
    """Return the names under which a release's fixes may be known: its own, and wider ones."""
    family, _, number = release.partition(":")
    if family == "ubuntu":  # extended maintenance, in archives of its own
        return [release, f"ubuntu:esm-infra/{number}", f"ubuntu:esm-apps/{number}"]
    # rocky:9.4 is mended as rocky:9, alpine:3.20.3 as alpine:3.20
    parts = number.split(".")
    return [f"{family}:{'.'.join(parts[:count])}" for count in range(len(parts), 0, -1)]


def upstream(version: str) -> str:
    """Return the upstream part of a package version: 4.17.12 of 2:4.17.12+dfsg-0+deb12u1."""
    rest = version.partition(":")[2] if re.match(r"\d+:", version) else version
    rest = rest.rpartition("-")[0] or rest
    rest = re.sub(r"~(?=(rc|beta|alpha|pre)\d*)", "", rest)
    return re.split(r"[+~]|[.-]?(?:dfsg|ds\d)", rest, maxsplit=1)[0]


def distribution(texts: Iterable[str]) -> str:
    """Return the distribution that these texts name (debian, ubuntu, rhel …), or ""."""
    joined = " ".join(texts)
    return next((name for name in ("ubuntu", "debian", *_BUILD) if _BUILD[name].search(joined)), "")


def release_of(banners: Iterable[Service]) -> str:
    """Return the release that one of a host's banners gives away (debian:bookworm), or ""."""
    for banner in banners:
        revision = _revision(banner)
        if revision is not None:
            return revision.release
    return ""


def _from_banner(knowledge: Knowledge, banner: Service, host: str) -> Identity | None:
    product, told, secondary = _product(knowledge, banner)
    if not product:
        return None
    version, windows = told, product == "iis" or _on_windows(banner)
    if match := _MARIADB.match(version):
        product, version = "mariadb", match[1]
    elif version.lower().startswith("for_windows_"):
        version, windows = version[len("for_windows_") :], True
    build = distribution([banner.version, banner.extra_info])
    revision = _revision(banner, host)
    if _NO_VERSION.search(banner.product):
        return Identity(product, "", build=build)
    if revision is not None:
        return Identity(
            product, upstream(revision.version), revision, build=build, from_banner=True
        )
    cleaned = _clean(version, product)
    return Identity(product, cleaned, build=build, windows=windows, secondary=secondary)


def _on_windows(banner: Service) -> bool:
    return any(_WINDOWS.search(text) for text in (banner.extra_info, *banner.cpes))


def _clean(version: str, product: str) -> str:
    """Return the upstream version in a banner's, "" if there is none that can be compared."""
    # 9.18.24-1-Debian, 4.17.12-Debian, 9.16.1-Ubuntu, 7.9p1 Raspbian 10+deb10u2
    named = re.sub(
        r"(-\d[\w.+~]*)?[ (-]+(Debian|Ubuntu|Raspbian|FreeBSD)\b.*$", "", version,
        flags=re.IGNORECASE,
    )  # fmt: skip
    if product in {"mysql", "mariadb"}:  # 5.7.33-log, 8.0.32-0ubuntu0.22.04.2
        named = re.sub(r"^(\d[\d.]*)-.*$", r"\1", named)
    named = "" if _NOT_ONE.search(named) else _BUILT_FROM.sub("", _PREFIX.sub("", named))
    return named if versions.usable(named) and (product, named) not in _GUESSED else ""


def _product(knowledge: Knowledge, banner: Service) -> tuple[str, str, bool]:
    """Return the product, its version, and whether it is only part of what answered.

    nmap names with one CPE or several what it takes a service for, what that is made of, and what
    it imitates; the version beside its product's name is that of the first kind only.
    """
    named, whole = _named(knowledge, banner.product)
    others = False
    for cpe in banner.cpes:
        match = _CPE.match(cpe)
        if match is None:
            continue
        vendor, name, version, update = (_ESCAPE.sub(r"\1", part or "") for part in match.groups())
        product = knowledge.product("cpe", f"{vendor}:{name}")
        if not product:
            others = True
            continue
        told = f"{version.strip('*-')}{update.strip('*-')}"
        spoken = set(re.split(r"\W+", banner.product.lower()))
        if (
            product == named
            or not banner.product
            or (told and not banner.version)
            or (version and banner.version.lower().startswith(version.lower()))
            or set(re.split(r"[\W_]+", name.lower())) <= spoken
            or (product != vendor.lower() and set(product.split("_")) <= spoken)
        ):
            return product, banner.version or told, False
        return product, told, True
    return named, banner.version, not whole and (others or not _is_generic(knowledge, banner))


def _named(knowledge: Knowledge, name: str) -> tuple[str, bool]:
    """Return the product with which a name begins, and whether it is the whole name."""
    words = name.split()
    # nmap adds words to some names ("Dovecot imapd"): the longest known wins.
    for count in range(len(words), 0, -1):
        if product := knowledge.product("name", " ".join(words[:count])):
            return product, count == len(words)
    # Others than nmap write "Redis", "HAProxy", "Apache ZooKeeper" (CPE's apache:zookeeper).
    plain = [word.lower() for word in words if not _GENERIC.fullmatch(word.lower())]
    product = knowledge.named("_".join(plain))
    if len(plain) > 1 and not product:
        product = knowledge.product("cpe", f"{plain[0]}:{'_'.join(plain[1:])}")
    return product, bool(product)


def _is_generic(knowledge: Knowledge, banner: Service) -> bool:
    """Whether the words behind a known name leave it the same product: not "Docker Registry"."""
    words = banner.product.split()
    known = (n for n in range(len(words), 0, -1) if knowledge.product("name", " ".join(words[:n])))
    rest = words[next(known, 0) :]
    return all(_GENERIC.fullmatch(word.lower()) for word in rest)


def _revision(banner: Service, host: str = "") -> Installed | None:
    """Return the package that a banner names to the revision. host: its release, where known."""
    if match := _OPENSSH_REVISION.match(banner.version):
        version, family, revision = match[1], match[2].lower(), match[3]
        version = _RENAMED.get(version, version)
        named = _REVISION_DEBIAN.search(revision)
        release = DEBIAN.get(named[1], "") if named else _OPENSSH[family].get(version, "")
        if not release:
            return None
        return Installed(f"{family}:{release}", "openssh", f"{version}-{revision}")
    if match := _WHOLE_VERSION.match(banner.version) or _BUILD_BEHIND.match(banner.version):
        version, revision = match[1], match[2]
        if ubuntu := _REVISION_UBUNTU.search(revision):
            release = f"ubuntu:{UBUNTU[ubuntu[1]]}" if ubuntu[1] in UBUNTU else ""
        elif debian := _REVISION_DEBIAN.search(revision):
            release = f"debian:{DEBIAN[debian[1]]}" if debian[1] in DEBIAN else ""
        else:  # 9.18.1-1ubuntu1.2-Ubuntu is jammy's if something else there says so
            family = distribution([banner.version])
            release = host if family and host.startswith(f"{family}:") else ""
        if release:
            spoken = f"{banner.product} {banner.version}".lower()
            name = "mariadb" if "mariadb" in spoken else banner.product.lower().split(" ")[-1]
            return Installed(release, name, f"{version}-{revision}")
    return None


def _components(banner: Service) -> Iterator[Identity]:
    build = distribution([banner.version, banner.extra_info])
    for name, version in _COMPONENT.findall(banner.extra_info):
        product = _EXTRA_NAMES.get(name.lower())
        if product and versions.usable(version):
            yield Identity(product, version, build=build, secondary=True)
