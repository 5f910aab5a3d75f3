"""Records in, one SQLite file out: a new file under a temporary name, renamed when it is whole."""

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from vedette.errors import KnowledgeError
from vedette.knowledge.records import Records, ranges
from vedette.risk import versions
from vedette.risk.knowledge import SCHEMA, TABLES, number_of

_VENDOR_SEVERITY = {"low": 3.0, "moderate": 5.0, "medium": 5.0, "high": 7.5, "critical": 9.5}

# What no record says, from the projects' own advisories. Flaws of a client or an agent that a
# server's package also holds: nobody reaches them through the port. Disputed by the project.
_CLIENT_SIDE = frozenset(
    f"CVE-{number}"
    for number in (  # OpenSSH: https://www.openssh.com/security.html and its release notes
        "2015-5352", "2016-0777", "2016-0778", "2016-1908", "2016-10009", "2018-20685",
        "2019-6109", "2019-6110", "2019-6111", "2020-14145", "2020-15778", "2021-28041",
        "2023-28531", "2023-38408", "2023-51384", "2023-51385", "2024-39894", "2025-26465",
        "2025-61984", "2025-61985",
    )
)  # fmt: skip
_DISPUTED = frozenset({"CVE-2019-9193"})
# Ranges that a source has wrong: {CVE: (product, source, what holds)}. Bitnami gives one bound for
# Jenkins' weekly and long-term releases: https://www.jenkins.io/security/advisory/2024-01-24/
_WRONG: Mapping[str, tuple[str, str, Sequence[Mapping[str, str]]]] = {
    "CVE-2024-23897": ("jenkins", "bitnami", ({"vee": "2.426.3"}, {"vee": "2.442"})),
    "CVE-2024-23898": (
        "jenkins", "bitnami",
        ({"vsi": "2.222.1", "vee": "2.426.3"}, {"vsi": "2.217", "vee": "2.442"}),
    ),
}  # fmt: skip


def write(records: Records, output: Path, built_at: float) -> str:
    """Write the base; return its SHA-256. Raises KnowledgeError; then `output` is as it was."""
    temporary = output.with_name(f".{output.name}.new")
    try:
        temporary.unlink(missing_ok=True)
        with closing(sqlite3.connect(temporary)) as db:
            db.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + TABLES)
            _fill(db, records, built_at)
            db.commit()
            db.execute("VACUUM")
        digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
        temporary.replace(output)
    except (OSError, sqlite3.Error) as exc:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise KnowledgeError(f"{output} cannot be written: {exc}") from exc
    return digest


def _fill(db: sqlite3.Connection, records: Records, built_at: float) -> None:
    db.executemany(
        "INSERT INTO meta VALUES (?, ?)",
        [
            ("schema", str(SCHEMA)),
            ("built_at", str(built_at)),
            ("epss_model", _plain(records.epss_model)),
        ],
    )
    db.executemany(
        "INSERT INTO source VALUES (?, ?, ?)",
        sorted((name, _plain(date), count) for name, (date, count) in records.sources.items()),
    )
    numbers = _products(db, records)
    known = set()
    for name in sorted(records.cves):
        try:
            record = _corrected(records.cves[name])
            json.dumps(record, ensure_ascii=False).encode()  # SQLite takes no surrogates
            rows = list(_ranges(record, numbers))
            good = list(_good(record, numbers))
            cve = _cve(record)
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            records.skipped.append(f"record {name}: {exc!r}")
            continue
        db.execute("INSERT INTO cve VALUES (?, ?, ?, ?, ?, ?, ?, ?)", cve)
        db.executemany("INSERT INTO range VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        db.executemany("INSERT OR IGNORE INTO good VALUES (?, ?, ?)", good)
        known.add(name)
    _packages(db, records, numbers, known)


def _corrected(record: Mapping[str, Any]) -> Mapping[str, Any]:
    if record["cve"] not in _WRONG:
        return record
    product, source, right = _WRONG[record["cve"]]
    kept = [part for part in record["affected"] if (part["p"], part["src"]) != (product, source)]
    return {
        **record,
        "affected": [*kept, *({"p": product, "src": product, **one} for one in right)],
    }


def _plain(text: str) -> str:
    """Without surrogates, which SQLite does not take."""
    return text.encode(errors="replace").decode()


def _products(db: sqlite3.Connection, records: Records) -> dict[str, int]:
    named = {part["p"] for record in records.cves.values() for part in record["affected"]}
    numbers = {name: n for n, name in enumerate(sorted(named | set(records.products)), 1)}
    db.executemany("INSERT INTO product VALUES (?, ?)", [(n, name) for name, n in numbers.items()])
    for product, aliases in sorted(records.products.items()):
        for kind, texts in aliases.items():
            db.executemany(
                "INSERT OR IGNORE INTO alias VALUES (?, ?, ?)",
                [(kind, text.lower(), numbers[product]) for text in texts],
            )
    return numbers


def _cve(record: Mapping[str, Any]) -> tuple[Any, ...]:
    scored, name = record["cvss"], record["cve"]
    told = [scored[version] for version in ("v3", "v4", "v2") if version in scored]
    best = next((one for one in told if one.get("score") is not None), None)
    severity = best["score"] if best else _VENDOR_SEVERITY.get(record.get("vendor_severity", ""))
    kev, ssvc = record.get("kev"), record.get("ssvc") or {}
    flags = {
        "automatable": ssvc.get("automatable", "").lower() == "yes",
        "not_automatable": ssvc.get("automatable", "").lower() == "no",
        "total": ssvc.get("technical_impact", "").lower() == "total",
        "partial": ssvc.get("technical_impact", "").lower() == "partial",
        "nuclei": bool(record.get("nuclei")),
        "ransomware": bool(kev and kev.get("ransomware")),
        "disputed": bool(record.get("disputed")) or name in _DISPUTED,
        "client_side": name in _CLIENT_SIDE,
    }
    return (
        number_of(name),
        None if severity is None else float(severity),
        (best or (told or [{}])[0]).get("vector", ""),
        record.get("published", ""),
        kev["added"] if kev else None,
        record.get("epss"),
        ssvc.get("exploitation", "").lower(),
        " ".join(flag for flag, holds in flags.items() if holds),
    )


def _good(record: Mapping[str, Any], numbers: Mapping[str, int]) -> Iterator[tuple[Any, ...]]:
    for product, fixed in record.get("fixed_in", {}).items():
        for version in fixed:
            yield numbers[product], number_of(record["cve"]), version


def _ranges(record: Mapping[str, Any], numbers: Mapping[str, int]) -> Iterator[tuple[Any, ...]]:
    told = [_joined(part, record["affected"]) for part in ranges(record)]
    parts = [(part, bounds) for part in told if (bounds := _bounds(part)) is not None]
    for part, bounds in parts:
        needs = part["needs"] or sorted(
            {
                platform
                for other, its in parts
                if other["p"] == part["p"] and not _same_source(other, part) and _meet(bounds, its)
                for platform in other["needs"]
            }
        )
        certain = not part.get("fallback") and bounds[2] is not None
        yield (
            numbers[part["p"]], number_of(record["cve"]), *bounds, " ".join(needs) or None, certain,
        )  # fmt: skip


def _joined(part: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return a range with those that go on where it ends: 2.4.50 mends nothing if it is affected.

    Sources write "2.4.49 before 2.4.50" and "2.4.50 before 2.4.51".
    """
    for _ in others:  # at most once through all
        following = next(
            (
                other["vee"]
                for other in others
                if "vee" in part and other.get("vsi") == part["vee"] and "vee" in other
                if _scope(other) == _scope(part)
            ),
            None,
        )
        if following is None:
            break
        part = {**part, "vee": following}
    return part


def _scope(part: Mapping[str, Any]) -> list[Any]:
    return [part.get(key) for key in ("p", "req", "tsw", "swe", "fallback", "upd")]


def _same_source(part: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return not set(part["src"].split("+")).isdisjoint(other["src"].split("+"))


# lo, lo_included, hi, hi_included, lo_text, hi_text, exact, strict
_Bounds = tuple[bytes | None, bool, bytes | None, bool, str | None, str | None, str | None, bool]


_DAY = re.compile(r"(?<=\.\d)20\d{6}$|(?<=\.\d\d)20\d{6}$")  # glued to Jetty's: 9.4.620170531


def _bounds(part: Mapping[str, Any]) -> _Bounds | None:
    """Return a range as columns; None for one that matches no version ("-": not given)."""
    update = part.get("upd", "")
    # Jetty's updates are the days of its builds.
    suffix = "" if update in {"", "-", "*"} or update.isdigit() else update
    if "v" in part:
        if part["v"] == "-":
            return None
        version = part["v"] + suffix
        at = versions.key(version)
        return at, True, at, True, version, version, None, bool(update)
    if "vs" in part:
        listed = [_DAY.sub("", version) for version in part["vs"]]
        keys = sorted(versions.key(version) for version in listed)
        exact = " ".join(sorted({versions.canonical(version) for version in listed}))
        return keys[0], True, keys[-1], True, None, None, f" {exact} ", True
    lo, hi = part.get("vsi") or part.get("vse"), part.get("vei") or part.get("vee")
    hi = hi and hi + suffix
    return (
        (versions.first(lo) if "vsi" in part else versions.key(lo)) if lo else None, "vsi" in part,
        versions.key(hi) if hi else None, "vei" in part,
        lo, hi, None, bool(update),
    )  # fmt: skip


def _meet(a: _Bounds, b: _Bounds) -> bool:
    """Whether two ranges overlap."""
    return not any(
        x[2] is not None and y[0] is not None and x[2] < y[0] for x, y in ((a, b), (b, a))
    )


def _packages(
    db: sqlite3.Connection, records: Records, numbers: Mapping[str, int], known: set[str]
) -> None:
    for number, ((release, name), package) in enumerate(sorted(records.packages.items()), 1):
        try:
            syntax = versions.syntax_of(release)
        except KeyError:
            records.skipped.append(f"release {release}: its version syntax is not known")
            continue
        db.execute(
            "INSERT INTO package VALUES (?, ?, ?, ?, ?, ?)",
            (number, release, name, numbers.get(package["product"]), package["shipped"],
             package["complete"]),
        )  # fmt: skip
        db.executemany(
            "INSERT OR REPLACE INTO fix VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (number, number_of(cve), state, version,
                 versions.package_key(version, syntax) if state == "fixed" else None, word, source)
                for cve, state, version, word, source in package["fixes"]
                if cve in known
            ],
        )  # fmt: skip
