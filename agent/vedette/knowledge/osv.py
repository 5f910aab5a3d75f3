"""OSV records (https://ossf.github.io/osv-schema/): what distributions and Bitnami say.

One file for each vulnerability and source; `all.zip` has those of one ecosystem.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vedette.errors import KnowledgeError
from vedette.knowledge import cvss
from vedette.knowledge.files import Progress, documents
from vedette.knowledge.nvd import cpe_names, parse_cpe
from vedette.knowledge.records import CVE, Records
from vedette.scanned import DEBIAN, UBUNTU

# What is unfixed stands there too, so that silence means "not affected". Others list fixes only.
_COMPLETE = frozenset({"debian", "ubuntu"})
# Source packages that are called otherwise than Debian's.
_ELSEWHERE = {
    "httpd": "apache", "exim": "exim", "bind": "bind", "mysql": "mysql", "postgresql": "postgresql",
    "redis": "redis", "tomcat": "tomcat", "gnutls": "gnutls", "ntp": "ntp", "proftpd": "proftpd",
    "cyrus-imapd": "cyrus_imap", "dhcp": "isc_dhcp", "pdns": "powerdns", "nfs-utils": "nfs_utils",
    "krb5": "krb5", "rabbitmq-server": "rabbitmq", "pure-ftpd": "pureftpd", "frr": "quagga_frr",
    "openldap": "openldap", "valkey": "valkey", "mongodb": "mongodb", "docker": "docker",
}  # fmt: skip


def read(records: Records, paths: Sequence[Path], progress: Progress) -> None:
    """Add what OSV's files say of our products and their packages. Raises KnowledgeError."""
    reader, seen, dates = _Reader(records), 0, ""
    for path in paths:
        for where, content in documents(path, progress):
            try:
                document = json.loads(content)
                reader.take(document)
                dates = max(dates, str(document.get("modified", ""))[:10])
                seen += 1
            except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as exc:
                records.skipped.append(f"{where}: {exc!r}")
    if not seen:
        raise KnowledgeError(f"{', '.join(map(str, paths))}: no OSV record in it can be read")
    for family, count in reader.counts.items():
        records.sources[f"osv-{family}"] = (dates, count)
    if reader.unknown:
        names = ", ".join(f"{name} ({n})" for name, n in reader.unknown.most_common(10))
        records.skipped.append(f"OSV ecosystems without a release we know: {names}")


class _Reader:
    def __init__(self, records: Records) -> None:
        self._records = records
        self._cpes = cpe_names(records)
        self._packages = source_packages(records)
        self.counts: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()

    def take(self, document: Mapping[str, Any]) -> None:
        cves = _cves(document)
        if document.get("withdrawn") or not cves:
            return
        for entry in document.get("affected", ()):
            ecosystem = str(entry["package"]["ecosystem"])
            if ecosystem == "Bitnami":
                self._ranges(document, entry, cves)
            else:
                self._fix(document, entry, ecosystem, cves)

    def _ranges(
        self, document: Mapping[str, Any], entry: Mapping[str, Any], cves: Sequence[str]
    ) -> None:
        told = document.get("database_specific", {}).get("cpes", ())
        names = {":".join(parse_cpe(cpe)[1:3]) for cpe in told}
        products = sorted({self._cpes[name] for name in names if name in self._cpes})
        scored = _cvss(entry) or _cvss(document)
        for cve in cves if products else ():
            affected = [
                {"p": product, **bounds, "src": "bitnami"}
                for product in products for bounds in _pairs(entry)
            ]  # fmt: skip
            self._add(document, cve, affected, scored)
            self.counts["bitnami"] += 1

    def _fix(
        self,
        document: Mapping[str, Any],
        entry: Mapping[str, Any],
        ecosystem: str,
        cves: Sequence[str],
    ) -> None:
        name = str(entry["package"]["name"])
        product = self._packages.get(name)
        if product is None:
            return
        specific = entry.get("ecosystem_specific", {})
        distro, release = _release(ecosystem, str(specific.get("availability", "")))
        if not release:
            self.unknown[ecosystem] += 1
            return
        if distro in _COMPLETE and "CVE-" not in str(document.get("id", "")):
            return  # an advisory: the record of each CVE says it better
        ends = [bounds.get("vee", "") for bounds in _pairs(entry)]
        if not ends:
            return  # exact versions only
        row: dict[str, Any] = {
            "distro": distro, "release": release, "package": name, "product": product, "src": "osv",
        }  # fmt: skip
        if ends[-1]:
            row["fixed"] = dict.fromkeys(cves, ends[-1])
        else:
            urgency = str(specific.get("urgency", ""))
            row["open"] = dict.fromkeys(cves, urgency if urgency == "unimportant" else "open")
        self._records.add_fixes(row, complete=distro in _COMPLETE)
        scored = _cvss(document)
        for cve in cves:
            self._add(document, cve, [], scored)
            self.counts[distro] += 1

    def _add(
        self,
        document: Mapping[str, Any],
        cve: str,
        affected: Sequence[Mapping[str, Any]],
        scored: Mapping[str, Any],
    ) -> None:
        record = {"cve": cve, "affected": affected, "cvss": scored}
        published = str(document.get("published", ""))[:10]
        self._records.add_cve(record | ({"published": published} if published else {}))


def source_packages(records: Records) -> dict[str, str]:
    """Return the product behind each source package."""
    for package, product in _ELSEWHERE.items():
        if product in records.products and package not in records.products[product]["source"]:
            records.products[product]["source"].append(package)
    return {
        package: product for product, names in records.products.items()
        for package in names["source"]
    }  # fmt: skip


def _cves(document: Mapping[str, Any]) -> list[str]:
    """Return the CVEs that a record is about; each source keeps them elsewhere."""
    for found in (
        document.get("upstream"), document.get("aliases"), [document.get("id")],
        document.get("related"),
    ):  # fmt: skip
        if cves := [one for one in found or () if isinstance(one, str) and CVE.fullmatch(one)]:
            return cves
    return []


def _release(ecosystem: str, availability: str) -> tuple[str, str]:
    """Return ("debian", "bookworm") for Debian:12; ("", "") for what is no release we know."""
    name, _, rest = ecosystem.partition(":")
    parts = [part for part in rest.split(":") if part != "LTS"]
    if name == "Debian":
        return "debian", DEBIAN.get(rest, "")
    if name == "Ubuntu" and parts[:1] == ["Pro"] and len(parts) == 2:  # noqa: PLR2004 - Pro:16.04
        pocket = "esm-infra" if "nfra" in availability else "esm-apps"
        code = UBUNTU.get(parts[1], "")
        return "ubuntu", f"{pocket}/{code}" if code else ""
    if name == "Ubuntu" and len(parts) == 1:
        return "ubuntu", UBUNTU.get(parts[0], "")
    if name == "Alpine":
        return "alpine", rest.removeprefix("v")
    if name == "Red Hat" and parts[:1] == ["enterprise_linux"] and len(parts) > 1:
        return "rhel", parts[1].partition(".")[0]
    others = {"Rocky Linux": "rocky", "AlmaLinux": "almalinux"}
    return (others[name], rest) if name in others else ("", "")


def _pairs(entry: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the ranges of an entry: its introduced and fixed events, by turns."""
    for told in entry.get("ranges", ()):
        if told.get("type") == "GIT":
            continue
        bounds: dict[str, str] | None = None
        for event in told["events"]:
            if "introduced" in event:
                if bounds is not None:
                    yield bounds
                since = str(event["introduced"])
                bounds = {} if since == "0" else {"vsi": since}
            elif bounds is not None and ("fixed" in event or "last_affected" in event):
                key = "fixed" if "fixed" in event else "last_affected"
                yield bounds | {"vee" if key == "fixed" else "vei": str(event[key])}
                bounds = None
        if bounds is not None:
            yield bounds


def _cvss(holder: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found = {}
    for told in holder.get("severity", ()):
        kind, vector = told.get("type"), str(told.get("score", ""))
        if kind == "CVSS_V3":
            found["v3"] = {"score": cvss.base_score(vector), "vector": vector, "src": "osv"}
        elif kind == "CVSS_V4":
            found["v4"] = {"score": None, "vector": vector, "src": "osv"}
    return found
