"""Facts on vulnerabilities from many sources, put together; and their files.

Every source is read into the same plain records, whose format is that of the files: JSON lists with
one record per line. `service_cves*.json` (a vulnerability and the versions that have it; files
ending in `_patch.json` only add to what others say), `products.json` (names of products),
`distro_fixes.json` (what a release says of its source packages), `debian_changelog_fixes.json`
(which version an archive holds), `epss.json`, and `manifest.json` for the dates of all these.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vedette.errors import KnowledgeError
from vedette.risk.knowledge import BUNDLED, Knowledge

CVE = re.compile(r"CVE-(?:19|20|21)\d\d-\d{4,8}")
_LARGEST_FILE = 1 << 30  # bytes


@dataclass(slots=True)
class Records:
    """All that is known so far. skipped: what could not be read, by what was wrong with it."""

    products: dict[str, dict[str, Any]] = field(default_factory=dict)
    cves: dict[str, dict[str, Any]] = field(default_factory=dict)
    # {(release, source package): {"product", "shipped", "complete", "fixes": [row]}}
    packages: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    sources: dict[str, tuple[str, int]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    rejected: set[str] = field(default_factory=set)  # CVEs that were none
    epss_model: str = ""

    def add_cve(self, record: Mapping[str, Any]) -> None:
        """Take what a source says of a CVE; what others have said of it stays.

        Raises ValueError for what is no such record.
        """
        name = record["cve"]
        if not CVE.fullmatch(name):
            raise ValueError(f"{name!r} is no CVE id")
        if name in self.rejected:
            return
        known = self.cves.setdefault(name, {"cve": name, "affected": [], "cvss": {}})
        for part in record.get("affected", ()):
            if not part["p"]:
                raise ValueError(f"{name}: a range without its product")
            if part not in known["affected"]:
                known["affected"].append(part)
        for version, scored in record.get("cvss", {}).items():
            known["cvss"].setdefault(version, scored)
        for product, versions in record.get("fixed_in", {}).items():
            known.setdefault("fixed_in", {}).setdefault(product, versions)
        for key, value in record.items():
            if key not in {"affected", "cvss", "fixed_in", "products"}:
                known.setdefault(key, value)

    def reject(self, cve: str) -> None:
        """Forget a CVE whose authority has taken it back, whoever names it."""
        self.rejected.add(cve)
        self.cves.pop(cve, None)

    def add(self, other: "Records") -> None:
        """Take what older records say, but for what their sources have said anew here."""
        for name, record in other.cves.items():
            fresh = {part["src"] for part in self.cves.get(name, {"affected": ()})["affected"]}
            if fresh & {"nvd", "anchore"}:
                fresh |= {"nvd", "nvd2019"}  # one replaces the other
            kept = [part for part in record["affected"] if not fresh >= {*part["src"].split("+")}]
            self.add_cve({**record, "affected": kept})
        for (release, name), package in other.packages.items():
            known = self.package(release, name, package["product"])
            known["shipped"] = known["shipped"] or package["shipped"]
            known["complete"] |= package["complete"]
            fresh = {row[-1] for row in known["fixes"]}
            known["fixes"] += [row for row in package["fixes"] if row[-1] not in fresh]
        self.sources = {**other.sources, **self.sources}
        self.skipped += other.skipped

    def add_fixes(self, row: Mapping[str, Any], *, complete: bool = False) -> None:
        """Take what a source says of a source package in a release. Raises ValueError, KeyError.

        row: distro, release, package, product, src; fixed {CVE: version}, not_affected [CVE], open
        {CVE: the distribution's word}.
        """
        package = self.package(
            f"{row['distro']}:{row['release']}", row["package"], row.get("product", "")
        )
        package["complete"] |= complete
        source, fixes = row["src"], package["fixes"]
        for cve, version in row.get("fixed", {}).items():
            version.encode()  # ValueError for what SQLite does not take
            fixes.append((cve, "fixed", version, "", source))
        for cve in row.get("not_affected", ()):
            fixes.append((cve, "not_affected", "", "", source))
        for cve, word in row.get("open", {}).items():
            state = "possible" if word in _UNDECIDED else "open"
            fixes.append((cve, state, "", word, source))

    def add_product(self, row: Mapping[str, Any]) -> None:
        """Take the names of a product: CPE's, nmap's, those of source packages."""
        known = self.products.setdefault(row["product"], {"cpe": [], "name": [], "source": []})
        known["cpe"] += [*row.get("cpe", ()), *row.get("nmap_cpe", ())]
        known["name"] += [row["nmap"]] if row.get("nmap") else []
        known["source"] += row.get("deb_source", ())

    def package(self, release: str, name: str, product: str = "") -> dict[str, Any]:
        """Return the entry of a source package in a release, a new one if need be."""
        f"{release}{name}".encode()  # as above
        empty = {"product": product, "shipped": "", "complete": False, "fixes": []}
        return self.packages.setdefault((release, name), empty)


def bundled_products() -> Records:
    """Return records that hold nothing but the products of the base in the package."""
    records, base = Records(), Knowledge(BUNDLED)
    for product, kind, text in base.aliases():
        names = records.products.setdefault(product, {"cpe": [], "name": [], "source": []})
        names[kind].append(text)
    base.close()
    return records


# Words of distributions that leave open whether the package is affected at all.
_UNDECIDED = frozenset({"unimportant", "undetermined", "needs-triage", "untriaged"})


def read(directories: Iterable[Path]) -> Records:
    """Read record files; later directories add to earlier ones. Raises KnowledgeError."""
    records = Records()
    listed = list(directories)
    paths = [path for directory in listed for path in sorted(directory.glob("*.json"))]
    if not paths:
        raise KnowledgeError(f"no record files in {', '.join(map(str, listed)) or 'no directory'}")
    # What only adds to others comes after them, wherever it lies.
    for path in sorted(paths, key=lambda path: (path.name != "products.json", _adds(path))):
        _read_file(records, path)
    return records


def _adds(path: Path) -> bool:
    return path.stem.endswith("_patch") or path.stem in {"epss", "debian_changelog_fixes"}


def _read_file(records: Records, path: Path) -> None:
    take = next((take for prefix, take in _READERS.items() if path.stem.startswith(prefix)), None)
    if take is None:
        return
    content = load(path)
    count = 0
    rows = content.items() if isinstance(content, dict) else enumerate(content, 1)
    for where, row in rows:
        try:
            take(records, (where, row))
            count += 1
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            what = row.get("cve") if isinstance(row, dict) else None
            records.skipped.append(f"{path.name}: record {what or where}: {exc!r}")
    if count == 0:
        raise KnowledgeError(f"{path}: no record in it can be read")
    # The same file in two directories, such as the distributions' fixes, is one source.
    date, before = records.sources.get(path.stem, ("", 0))
    records.sources[path.stem] = (max(date, _date(path)), before + count)


def load(path: Path) -> Any:
    """Read a JSON file. Raises KnowledgeError, which names it."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise KnowledgeError(f"{path} is larger than {_LARGEST_FILE >> 30} GiB")
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as exc:
        raise KnowledgeError(f"{path} cannot be read: {exc}") from exc


def _date(path: Path) -> str:
    manifest = path.with_name("manifest.json")
    return str(load(manifest).get("data_date", "")) if manifest.is_file() else ""


Entry = tuple[Any, Any]


def _take_changelog(records: Records, entry: Entry) -> None:
    name, row = entry
    # Which product it is, and what its entries fix, stands in distro_fixes.json.
    records.package("debian:bookworm", name)["shipped"] = row["installed"]


def _take_epss(records: Records, entry: Entry) -> None:
    row = entry[1]
    if row["cve"] in records.cves:
        records.cves[row["cve"]].setdefault("epss", float(row["epss"]))


_READERS = {
    "service_cves": lambda records, entry: records.add_cve(entry[1]),
    "products": lambda records, entry: records.add_product(entry[1]),
    "distro_fixes": lambda records, entry: records.add_fixes(entry[1]),
    "debian_changelog_fixes": _take_changelog,
    "epss": _take_epss,
}


def ranges(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a CVE's ranges, each with the platforms that it needs ("needs").

    A platform stated by one source binds the other sources' ranges of the same product that it
    overlaps: some vendors' lists forget it.
    """
    for part in record["affected"]:
        needs = list(part.get("req", ()))
        if part.get("tsw") in _RESTRICTING:
            needs.append(f"tsw:{part['tsw']}")
        if part.get("swe", "community") not in _FREE_EDITIONS:
            needs.append(f"swe:{part['swe']}")
        yield {**part, "needs": needs}


# CPE's target software that restricts; the others only name a package ecosystem.
_RESTRICTING = frozenset({"windows", "debian", "ubuntu", "pivotal_cloud_foundry"})
# CPE's editions that restrict nothing; of the others (enterprise, supported_preview) nobody knows
# whether this is one.
_FREE_EDITIONS = frozenset({"community", "lts", "open_source", "oss"})
