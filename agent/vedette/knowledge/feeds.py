"""Upstream's feeds, each read into the records that all sources share."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vedette.errors import KnowledgeError
from vedette.knowledge import nvd, osv
from vedette.knowledge.files import Progress, day, documents, elements, entries
from vedette.knowledge.records import CVE, Records
from vedette.risk import versions

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_SCORE = re.compile(rf"({CVE.pattern}),(0(?:\.\d+)?|1(?:\.0+)?|\d(?:\.\d+)?e-\d+)(?:,|$)")
_LIST = re.compile(r'"vulnerabilities"\s*:\s*(?=\[)')
_BROKEN = (KeyError, TypeError, ValueError, AttributeError)

Read = Callable[[Records, Sequence[Path], Progress], None]


def read(
    feeds: Sequence[tuple[str, Path]],
    base: Records,
    progress: Progress = lambda _: None,
) -> Records:
    """Return what the feeds say of the products in `base`, and what `base` holds besides.

    feeds: (kind, file or directory). Raises KnowledgeError, which names what cannot be read.
    """
    records = Records(products=base.products)
    told = [kind for kind in KINDS if any(named == kind for named, _ in feeds)]

    def take(kind: str) -> None:
        paths = [path for named, path in feeds if named == kind]
        done = told.index(kind)
        KINDS[kind](records, paths, lambda ratio: progress((done + ratio) / len(told)))

    for kind in told:
        if kind not in _MARKING:
            take(kind)
    records.add(base)
    for kind in told:
        if kind in _MARKING:
            take(kind)
    return records


def _read_debian(records: Records, paths: Sequence[Path], _: Progress) -> None:
    """The security tracker: {source package: {CVE: {"releases": {release: …}}}}, all of them."""
    packages, count = osv.source_packages(records), 0
    for where, content in _each(paths):
        for package, cves in _entries(where, content):
            if package in packages:
                for cve, told in cves.items() if isinstance(cves, dict) else ():
                    try:
                        if CVE.fullmatch(cve):  # TEMP-… has no number yet
                            count += _debian(records, package, packages[package], cve, told)
                    except _BROKEN as exc:
                        records.skipped.append(f"{where}: {package} {cve}: {exc!r}")
    if not count:
        raise KnowledgeError(f"{', '.join(map(str, paths))}: no package of ours in it can be read")
    records.sources["debian"] = (max(map(day, paths)), count)


def _entries(where: str, content: bytes) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a JSON object. Raises KnowledgeError, which names the file."""
    try:
        yield from entries(content.decode(errors="replace"))
    except (ValueError, RecursionError) as exc:
        raise KnowledgeError(f"{where} is damaged: {exc}") from exc


def _debian(records: Records, package: str, product: str, cve: str, told: Mapping[str, Any]) -> int:
    for release, state in told["releases"].items():
        row: dict[str, Any] = {
            "distro": "debian", "release": release, "package": package, "product": product,
            "src": "tracker",
        }  # fmt: skip
        status, fixed = state["status"], str(state.get("fixed_version", ""))
        if status == "resolved" and fixed == "0":
            row["not_affected"] = [cve]
        elif status == "resolved" and fixed:
            row["fixed"] = {cve: fixed}
        elif status == "undetermined" or state.get("urgency") == "unimportant":
            row["open"] = {cve: "undetermined" if status == "undetermined" else "unimportant"}
        elif status == "open":
            row["open"] = {cve: str(state.get("nodsa_reason") or "open")}
        else:
            raise ValueError(f"status {str(status)[:40]!r} in {release[:40]}")
        records.add_fixes(row, complete=True)
        archives = state.get("repositories", {}).values()
        versioned = [version for version in archives if isinstance(version, str)]
        newest = max(versioned, key=lambda v: versions.package_key(v, "dpkg"), default="")
        newest.encode()  # ValueError for what SQLite does not take
        records.package(f"debian:{release}", package)["shipped"] = newest
    records.add_cve({"cve": cve})
    return 1


def _read_kev(records: Records, paths: Sequence[Path], _: Progress) -> None:
    """CISA's catalogue of what is exploited: {"vulnerabilities": [{"cveID", "dateAdded", …}]}."""
    count, seen, date = 0, 0, ""
    for where, content in _each(paths):
        text = content.decode(errors="replace")
        head = _LIST.search(text)
        if head is None:
            raise KnowledgeError(f"{where} is no catalogue of CISA's")
        try:
            found = list(elements(text, head.end()))
        except (ValueError, RecursionError) as exc:
            raise KnowledgeError(f"{where} is damaged: {exc}") from exc
        for entry in found:
            try:
                added, cve = entry["dateAdded"], entry["cveID"]
                if not _DATE.fullmatch(added) or not CVE.fullmatch(cve):
                    raise ValueError(f"{added!r}, {cve!r}")
                ransomware = entry.get("knownRansomwareCampaignUse") == "Known"
            except _BROKEN as exc:
                records.skipped.append(f"{where}: {str(entry)[:60]}: {exc!r}")
                continue
            seen, date = seen + 1, max(date, added)
            if cve in records.cves:
                records.cves[cve]["kev"] = {"added": added, "ransomware": ransomware}
                count += 1
    if not seen:
        raise KnowledgeError(f"{', '.join(map(str, paths))}: no entry in it can be read")
    records.sources["kev"] = (date, count)


def _read_epss(records: Records, paths: Sequence[Path], _: Progress) -> None:
    """FIRST's daily scores: a comment with model and date, then cve,epss,percentile."""
    count, seen, date = 0, 0, ""
    for where, content in _each(paths):
        if not content.endswith(b"\n"):
            raise KnowledgeError(f"{where} is cut off")
        first, names, *rows = [*content.decode(errors="replace").splitlines(), "", ""]
        head = dict(part.split(":", 1) for part in first.strip("# ").split(",") if ":" in part)
        if "model_version" not in head or not names.startswith("cve,epss"):
            raise KnowledgeError(f"{where} is no file of EPSS scores")
        records.epss_model = head["model_version"]
        date = max(date, head.get("score_date", "")[:10])
        for row in filter(None, rows):
            match = _SCORE.match(row)
            if match is None:
                records.skipped.append(f"{where}: {row[:40]!r} is no score")
                continue
            seen += 1
            if match[1] in records.cves:
                records.cves[match[1]]["epss"] = float(match[2])
                count += 1
    if not seen:
        raise KnowledgeError(f"{', '.join(map(str, paths))}: no score in it can be read")
    records.sources["epss"] = (date, count)


def _each(paths: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        yield from documents(path)


# In this order: distributions name CVEs that NVD has not looked at; overrides go over NVD; and what
# is exploited is marked when all is known.
KINDS: Mapping[str, Read] = {
    "debian": _read_debian,
    "osv": osv.read,
    "overrides": nvd.read_overrides,
    "nvd": nvd.read,
    "kev": _read_kev,
    "epss": _read_epss,
}
_MARKING = frozenset({"kev", "epss"})
