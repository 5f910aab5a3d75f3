"""NVD 2.0 records, and what overrides them (https://nvd.nist.gov/developers/vulnerabilities).

A record holds nearly all: scores, ranges of versions as CPE, CISA's decision points, the date in
its catalogue, and what the CVE's own authority (CNA) said, which is all there is where NIST has not
looked. Unknown fields and unknown states are passed over: judged is what a record holds.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vedette.errors import KnowledgeError
from vedette.knowledge.files import Progress, documents, elements
from vedette.knowledge.records import CVE, Records
from vedette.risk import versions

Range = dict[str, Any]

_LIST = re.compile(r'"(?:vulnerabilities|cve_items)"\s*:\s*(?=\[)')
_HEAD = 4096  # characters in which the list of a page or feed begins
_LONGEST = 128  # characters of a version
_CISA = "134c704f-9b21-4f2e-91b3-4a467353bcc0"
_METRICS = (
    *(("v3", "cvssMetricV31"), ("v3", "cvssMetricV30")),
    *(("v4", "cvssMetricV40"), ("v2", "cvssMetricV2")),
)
_BOUNDS = {
    "versionStartIncluding": "vsi",
    "versionStartExcluding": "vse",
    "versionEndIncluding": "vei",
    "versionEndExcluding": "vee",
}


def read(records: Records, paths: Sequence[Path], progress: Progress) -> None:
    """Add what API pages, feeds or a mirror's files say of our products. Raises KnowledgeError.

    Of a CVE that comes more than once the newest record counts.
    """
    products = cpe_names(records)
    newest: dict[str, tuple[str, dict[str, Any] | None]] = {}
    for where, cve in _records(records, paths, progress):
        name = str(cve.get("id"))
        try:
            changed = str(cve.get("lastModified", ""))
            if not CVE.fullmatch(name):
                records.skipped.append(f"{where}: {name[:40]!r} is no CVE id")
            elif name not in newest or newest[name][0] <= changed:
                newest[name] = changed, convert(cve, products)
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            records.skipped.append(f"{where}: record {name[:40]}: {exc!r}")
    if not newest:
        raise KnowledgeError(f"{', '.join(map(str, paths))}: no NVD record in it can be read")
    kept = 0
    for name, (_, record) in newest.items():
        if record is None:
            records.reject(name)
        elif record["affected"] or name in records.cves:
            _add(records, record)
            kept += 1
    date = max(changed for changed, _ in newest.values())[:10]
    records.sources["nvd"] = (date, kept)


def read_overrides(records: Records, paths: Sequence[Path], progress: Progress) -> None:
    """Add nvd-data-overrides: one file for each CVE, in the shape of NVD's configurations."""
    products, kept, seen, date = cpe_names(records), 0, 0, ""
    for path in paths:
        for where, content in documents(path, progress):
            try:
                document = json.loads(content)
                name = document["_annotation"]["cve_id"]
                found = ranges(document["cve"].get("configurations", ()), products, "anchore")
                seen, told = seen + 1, document["_annotation"]
                date = max(date, str(told.get("modified", ""))[:10])
                if found:
                    published = str(told.get("published", ""))[:10]
                    dated = {"published": published} if published else {}
                    records.add_cve({"cve": name, **dated, "affected": found})
                    kept += 1
            except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as exc:
                records.skipped.append(f"{where}: {exc!r}")
    if not seen:
        raise KnowledgeError(f"{', '.join(map(str, paths))}: no override in it can be read")
    records.sources["overrides"] = (date, kept)


def cpe_names(records: Records) -> dict[str, str]:
    """Return the product behind each vendor:product of CPE."""
    return {
        name.lower(): product for product, names in records.products.items()
        for name in names["cpe"]
    }  # fmt: skip


def _records(
    records: Records, paths: Iterable[Path], progress: Progress
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (where, cve) from pages, feeds, and files of one record."""
    for path in paths:
        within = (lambda _: None) if path.is_dir() else progress
        for where, content in documents(path, progress):
            text = content.decode(errors="replace")
            head = _LIST.search(text, 0, _HEAD)
            try:
                found = elements(text, head.end(), within) if head else [json.loads(text)]
                for item in found:
                    cve = item.get("cve", item) if isinstance(item, dict) else item
                    if isinstance(cve, dict):
                        yield where, cve
                    else:
                        records.skipped.append(f"{where}: {str(item)[:40]!r} is no record")
            except (ValueError, RecursionError) as exc:
                if head:  # the rest is lost with it
                    raise KnowledgeError(f"{where} is damaged: {exc}") from exc
                records.skipped.append(f"{where}: {exc!r}")


def _add(records: Records, record: Mapping[str, Any]) -> None:
    """Add a record; whoever corrects NVD, or knows more than the CNA, goes over it."""
    name = record["cve"]
    told = records.cves.get(name, {"affected": ()})["affected"]
    overridden = {part["p"] for part in told if part["src"] == "anchore"}
    known = {part["p"] for part in told}
    kept = [
        part for part in record["affected"]
        if part["p"] not in (known if part["src"] == "cna" else overridden)
    ]  # fmt: skip
    records.add_cve({**record, "affected": kept})
    records.cves[name]["cvss"] |= record["cvss"]
    records.cves[name]["published"] = record["published"]


def convert(cve: Mapping[str, Any], products: Mapping[str, str]) -> dict[str, Any] | None:
    """Return a CVE record with its ranges of our products; None if it was rejected.

    Raises KeyError, TypeError, ValueError or AttributeError for what is no NVD record.
    """
    if cve.get("vulnStatus") == "Rejected":
        return None
    configurations = cve.get("configurations")
    affected = (
        ranges(configurations, products, "nvd")
        if configurations
        else _from_cna(cve.get("affected", ()), products)
    )
    metrics = cve.get("metrics", {})
    record = {
        "cve": cve["id"],
        "published": str(cve.get("published", ""))[:10],
        "affected": list(affected),
        "cvss": _cvss(metrics),
    }
    if ssvc := _ssvc(metrics.get("ssvcV203", ())):
        record["ssvc"] = ssvc
    if added := cve.get("cisaExploitAdd"):
        record["kev"] = {"added": str(added)[:10]}
    if any("disputed" in tagged.get("tags", ()) for tagged in cve.get("cveTags", ())):
        record["disputed"] = True
    return record


def _cvss(metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for version, key in _METRICS:
        for metric in sorted(metrics.get(key, ()), key=lambda one: one.get("type") != "Primary"):
            data, source = metric["cvssData"], metric.get("source")
            score = float(data["baseScore"])
            if not 0 <= score <= 10:  # noqa: PLR2004 - CVSS
                raise ValueError(f"CVSS {score}")
            by = "nvd" if source == "nvd@nist.gov" else "cisa-adp" if source == _CISA else "cna"
            vector = str(data.get("vectorString", ""))
            found.setdefault(version, {"score": score, "vector": vector, "src": by})
    return found


def _ssvc(metrics: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """CISA's decision points, whoever carries them: `No` and `no` both occur."""
    for metric in metrics:
        data = metric.get("ssvcData", {})
        if "CISA" in str(data.get("role", "")):
            told = {key: str(value).lower() for o in data["options"] for key, value in o.items()}
            names = {"exploitation": "exploitation", "automatable": "automatable",
                     "technicalImpact": "technical_impact"}  # fmt: skip
            return {names[key]: value for key, value in told.items() if key in names}
    return {}


# ---- CPE ----


def ranges(
    configurations: Iterable[Mapping[str, Any]], products: Mapping[str, str], source: str
) -> list[Range]:
    """Return the ranges of our products, each with the platforms that its AND demands.

    Versions that are listed one by one become one range: they mean just these, 9.9 and 9.9p1.
    """
    found: list[Range] = []
    listed: dict[str, list[Range]] = {}
    for part in _ranges(configurations, products, source):
        if part.get("v", "-") == "-":
            found.append(part)
        else:
            beside = {key: value for key, value in part.items() if key not in {"v", "upd"}}
            listed.setdefault(json.dumps(beside), []).append(part)
    for common, parts in listed.items():
        exact = [part["v"] + part.get("upd", "").removeprefix("-") for part in parts]
        found += parts if len(parts) == 1 else [{**json.loads(common), "vs": exact}]
    return found


def _ranges(
    configurations: Iterable[Mapping[str, Any]], products: Mapping[str, str], source: str
) -> Iterator[Range]:
    for configuration in configurations:
        nodes = configuration["nodes"]
        joined = configuration.get("operator") == "AND"
        for node in nodes:
            if node.get("negate"):
                continue  # says where it is not
            beside = nodes if joined else [node] if node.get("operator") == "AND" else []
            for match in node["cpeMatch"]:
                if match["vulnerable"]:
                    yield from _range(match, products, source, beside)


def _range(
    match: Mapping[str, Any],
    products: Mapping[str, str],
    source: str,
    beside: Iterable[Mapping[str, Any]],
) -> Iterator[Range]:
    _, vendor, name, version, update, *rest = parse_cpe(match["criteria"])
    product = products.get(f"{vendor}:{name}")
    if product is None:
        return
    part = {"p": product}
    if version == "*":
        part |= {short: _version(match[key]) for key, short in _BOUNDS.items() if key in match}
    else:
        part["v"] = _version(version)
    if update != "*":
        part["upd"] = _version(update)
    edition, software = rest[2], rest[3]
    part |= {"tsw": software} if software not in {"*", "-"} else {}
    part |= {"swe": edition} if edition not in {"*", "-"} else {}
    needs = {
        ":".join(parse_cpe(other["criteria"])[:4]).replace(" ", "_")
        for node in beside for other in node["cpeMatch"] if not other["vulnerable"]
    }  # fmt: skip
    yield {**part, **({"req": sorted(needs)} if needs else {}), "src": source}


def parse_cpe(text: str) -> list[str]:
    r"""Return the eleven parts of a CPE 2.3 name, lower-case, unescaped (erlang\/otp)."""
    parts = re.split(r"(?<!\\):", text.lower())
    if len(parts) != 13 or parts[:2] != ["cpe", "2.3"]:  # noqa: PLR2004 - by the standard
        raise ValueError(f"{text[:80]!r} is no CPE 2.3 name")
    return [re.sub(r"\\(.)", r"\1", part) for part in parts[2:]]


def _version(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > _LONGEST:
        raise ValueError(f"{str(value)[:40]!r} is no version")
    return value


# ---- what the CVE's own authority says ----

_NOTHING = frozenset({"", "0", "*", "-", "n/a", "all", "unspecified", "unknown"})
_COMPARED = re.compile(r"(<=?|>=?|=)\s*v?([^\s,<>=]+)")


def _from_cna(
    affected: Iterable[Mapping[str, Any]], products: Mapping[str, str]
) -> Iterator[Range]:
    for told in affected:
        for entry in told.get("affectedData", ()):
            vendor, name = (str(entry.get(key, "")) for key in ("vendor", "product"))
            names = [f"{vendor}:{name}".lower().replace(" ", "_")]
            names += [":".join(parse_cpe(cpe)[1:3]) for cpe in entry.get("cpes", ())
                      if cpe.startswith("cpe:2.3:")]  # fmt: skip
            for product in sorted({products[name] for name in names if name in products}):
                for part in _cna_ranges(entry):
                    yield {"p": product, **part, "src": "cna"}


def _cna_ranges(entry: Mapping[str, Any]) -> Iterator[Range]:
    platforms = [str(platform).lower() for platform in entry.get("platforms", ())]
    windows = platforms and all("windows" in platform for platform in platforms)
    where = {"tsw": "windows"} if windows else {}
    told = [one for one in entry.get("versions", ()) if one.get("status") == "affected"]
    for one in told:
        if one.get("versionType") != "git":
            yield {**_cna_range(one), **where}
    if not told and entry.get("defaultStatus") == "affected":
        yield {"fallback": True, **where}


def _cna_range(one: Mapping[str, Any]) -> Range:
    """Return one entry of `versions` as a range, a vague one if it says it vaguely."""
    version = str(one["version"]).strip()
    fixed = [c["at"] for c in one.get("changes", ()) if c.get("status") == "unaffected"]
    compared = _COMPARED.findall(version)
    if compared:  # GitHub's way: ">= 7.0, < 7.2.4"
        signs = {"<": "vee", "<=": "vei", ">": "vse", ">=": "vsi", "=": "v"}
        bounds = {signs[sign]: bound for sign, bound in compared}
    elif fixed or "lessThan" in one or "lessThanOrEqual" in one:
        upper = {"vei": one["lessThanOrEqual"]} if "lessThanOrEqual" in one else {}
        upper = {"vee": one["lessThan"]} if "lessThan" in one else upper
        bounds = {"vsi": version} | ({"vee": fixed[0]} if fixed else upper)
    else:
        bounds = {"v": version}
    known = {key: str(bound).strip().removeprefix("v") for key, bound in bounds.items()}
    known = {key: bound for key, bound in known.items() if bound.lower() not in _NOTHING}
    usable = {key: bound for key, bound in known.items() if versions.usable(bound)}
    vague = {} if usable == known and usable else {"fallback": True}
    return {**usable, **vague}
