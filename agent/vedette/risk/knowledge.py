"""The knowledge base: which versions of which products have which vulnerability. Read only.

One SQLite file, made by `vedette knowledge build` (see knowledge/build.py). All that is asked is
one product, or one package: nothing of it is held in memory.
"""

import hashlib
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from vedette.errors import KnowledgeError
from vedette.risk import versions

SCHEMA = 1
BUNDLED = Path(__file__).with_name("data") / "seed.sqlite"

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE source (name TEXT PRIMARY KEY, date TEXT NOT NULL, records INTEGER NOT NULL)
  WITHOUT ROWID;
CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
-- kind: cpe (vendor:product), name (as nmap prints it), source (a source package)
CREATE TABLE alias (kind TEXT, text TEXT, product INTEGER NOT NULL, PRIMARY KEY (kind, text))
  WITHOUT ROWID;
-- id: year * 10^8 + number. severity: CVSS base or null. kev: date added to CISA's catalogue.
CREATE TABLE cve (id INTEGER PRIMARY KEY, severity REAL, vector TEXT NOT NULL,
  published TEXT NOT NULL, kev TEXT, epss REAL, exploitation TEXT NOT NULL, flags TEXT NOT NULL);
-- lo, hi: versions.key, null where open. exact: canonical versions between spaces, or null.
-- platforms: one of these is needed, between spaces. certain: 0 where the record itself is vague.
CREATE TABLE range (product INTEGER NOT NULL, cve INTEGER NOT NULL,
  lo BLOB, lo_included INTEGER NOT NULL, hi BLOB, hi_included INTEGER NOT NULL,
  lo_text TEXT, hi_text TEXT, exact TEXT, strict INTEGER NOT NULL, platforms TEXT,
  certain INTEGER NOT NULL);
CREATE INDEX range_of_product ON range (product);
-- The first fixed version of a branch: beats the ranges.
CREATE TABLE good (product INTEGER, cve INTEGER, version TEXT,
  PRIMARY KEY (product, cve, version)) WITHOUT ROWID;
-- release: debian:bookworm, ubuntu:jammy, ubuntu:esm-infra/xenial. shipped: what its archive holds.
-- complete: whether a CVE that has no row in fix is known not to affect the package.
CREATE TABLE package (id INTEGER PRIMARY KEY, release TEXT, name TEXT, product INTEGER,
  shipped TEXT, complete INTEGER NOT NULL, UNIQUE (release, name));
-- state: fixed (from `version` on; key: versions.package_key), not_affected, open, possible
CREATE TABLE fix (package INTEGER, cve INTEGER, state TEXT, version TEXT, key BLOB, word TEXT,
  source TEXT, PRIMARY KEY (package, cve, source)) WITHOUT ROWID;
"""


def number_of(cve: str) -> int:
    """Return the id of CVE-2024-6387 in the base. Raises ValueError."""
    _, year, number = cve.split("-")
    return int(year) * 10**8 + int(number)


def name_of(number: int) -> str:
    """Return CVE-2024-6387 for its id."""
    return f"CVE-{number // 10**8}-{number % 10**8:04d}"


@dataclass(frozen=True, slots=True)
class Cve:
    """What is known of one vulnerability, whatever it is found in.

    severity: CVSS base score, None where nobody has given one. vector: CVSS, "" if unknown.
    published, kev: dates, "" if unknown; kev "" also if it is not in CISA's catalogue. epss: 0 to
    1. exploitation: none, poc, active, "" if unknown. flags: automatable, not_automatable, total,
    partial, nuclei, ransomware, disputed, client_side.
    """

    name: str
    severity: float | None
    vector: str
    published: str
    kev: str
    epss: float | None
    exploitation: str
    flags: frozenset[str]


@dataclass(frozen=True, slots=True)
class Match:
    """A version lies in a range of this CVE. platforms: it is affected on one of these only.

    begin: what sorts no later than the first version in the range, None if that is not told. upper:
    its upper bound, "" if it has none.
    """

    cve: Cve
    certain: bool
    platforms: tuple[str, ...]
    fixed_in: str
    begin: bytes | None
    upper: str
    bounds: str


@dataclass(frozen=True, slots=True)
class Fix:
    """What a distribution says of a CVE in one of its packages.

    state: fixed, from `version` on; not_affected; open; possible (nobody has decided). word: the
    distribution's own for it. installed_has_it: only with `fixed`.
    """

    cve: Cve
    state: str
    version: str
    word: str
    source: str
    installed_has_it: bool


@dataclass(frozen=True, slots=True)
class Package:
    """A source package of a release.

    shipped: what its archive holds, else the newest in which something is mended, "" if unknown.
    epoch: of its versions, or "".
    """

    id: int
    release: str
    name: str
    product: str
    shipped: str
    complete: bool
    epoch: str


_PACKAGE = """SELECT id, release, name, product, coalesce(nullif(shipped, ''), (SELECT version
     FROM fix WHERE package = package.id AND state = 'fixed' ORDER BY key DESC LIMIT 1)), complete,
    (SELECT version FROM fix WHERE package = package.id AND instr(version, ':')
     ORDER BY key DESC LIMIT 1) FROM package """


class Knowledge:
    """One base, open for reading. Thread-safe, as SQLite is."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises KnowledgeError for what is no base, or one of another schema."""
        self.path = path
        try:
            self._db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
            )
            self._db.execute("PRAGMA cache_size = -256")  # KiB: the system caches the file as well
            self.meta: Mapping[str, str] = dict(self._db.execute("SELECT key, value FROM meta"))
            schema, self.built_at = int(self.meta["schema"]), float(self.meta["built_at"])
        except (sqlite3.Error, KeyError, ValueError) as exc:
            raise KnowledgeError(f"{path} is no knowledge base: {exc}") from exc
        if schema != SCHEMA:
            raise KnowledgeError(f"{path} has schema {schema}, this vedette reads {SCHEMA}")
        self._products: dict[int, str] = dict(self._db.execute("SELECT id, name FROM product"))
        self._good: dict[str, dict[str, tuple[str, ...]]] = {}
        self._numbers = {name: number for number, name in self._products.items()}

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def verify(self) -> None:
        """Read it all once. Raises KnowledgeError if it is damaged."""
        try:
            (said,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.Error as exc:
            said = str(exc)
        if said != "ok":
            raise KnowledgeError(f"{self.path} is damaged: {said}")

    def aliases(self) -> Iterator[tuple[str, str, str]]:
        """Yield (product, kind, text) of all names; kind as in product()."""
        for number, kind, text in self._db.execute("SELECT product, kind, text FROM alias"):
            yield self._products[number], kind, text

    def sources(self) -> tuple[tuple[str, str, int], ...]:
        """Return (name, date, records) of what it was built from."""
        return tuple(self._db.execute("SELECT name, date, records FROM source ORDER BY name"))

    def counts(self) -> Mapping[str, int]:
        """Return how many rows there are of each kind."""
        tables = ("product", "cve", "range", "package", "fix")
        return {
            table: self._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - ours
            for table in tables
        }

    def product(self, kind: str, text: str) -> str:
        """Return the product behind an alias ("" if there is none). kind: cpe, name, source."""
        row = self._db.execute(
            "SELECT product FROM alias WHERE kind = ? AND text = ?",
            (kind, text.lower().encode(errors="replace").decode()),  # SQLite takes no surrogates
        ).fetchone()
        return self._products[row[0]] if row else ""

    def named(self, name: str) -> str:
        """Return the product of this very name, "" if there is none."""
        return name if name in self._numbers else ""

    def package(self, release: str, name: str) -> Package | None:
        """Return what is known of a source package in a release (debian:bookworm)."""
        row = self._db.execute(
            _PACKAGE + "WHERE release = ? AND name = ?", (release, name)
        ).fetchone()
        return self._package(row) if row else None

    def packages_of(self, release: str, product: str) -> tuple[Package, ...]:
        """Return the packages of a product in a release, "" for all releases."""
        rows = self._db.execute(
            _PACKAGE + "WHERE product = ?1 AND ?2 IN (release, '')",
            (self._numbers.get(product), release),
        )
        return tuple(self._package(row) for row in rows)

    def _package(self, row: tuple[Any, ...]) -> Package:
        number, release, name, product, shipped, complete, versioned = row
        epoch = (shipped or versioned or "").partition(":")
        return Package(
            number, release, name, self._products.get(product, ""), shipped or "", bool(complete),
            epoch[0] if epoch[1] else "",
        )  # fmt: skip

    def matches(self, product: str, version: str) -> Iterator[Match]:
        """Yield the ranges of a product in which a version lies, by its project's own order."""
        full, base = versions.key(version), versions.key(versions.without_portable(version))
        canonical, edition = f" {versions.canonical(version)} ", _edition(version)
        portable = product in _PORTABLE
        plain = f" {versions.canonical(versions.without_portable(version))} "
        rows = self._db.execute(
            "SELECT lo, lo_included, hi, hi_included, lo_text, hi_text, exact, strict, platforms,"
            " certain, cve.* FROM range JOIN cve ON cve.id = range.cve"
            " WHERE product = ? AND (lo IS NULL OR lo <= ?) AND (hi IS NULL OR hi >= ?)"
            " AND (exact IS NULL OR instr(exact, ?) OR instr(exact, ?))",
            (self._numbers.get(product), full, base, canonical, plain if portable else canonical),
        )
        mended: frozenset[int] | None = None
        for lo, lo_in, hi, hi_in, lo_text, hi_text, exact, strict, needs, certain, *cve in rows:
            loosely = False
            if exact is not None:
                # A list with portable releases means just these, one with 7.3 alone 7.3p1 as well.
                if canonical not in exact and ".p." in exact:
                    continue
            else:
                if not edition and _edition(lo_text or hi_text):
                    continue
                upper = full
                if full != base and hi_in and not strict and hi_text:
                    # A bound that names no portable release (7.7) covers them all (7.7p1). In
                    # others' versions (NTP's 4.2.8p15) that is a level of patches: perhaps.
                    upper = base if hi_text == versions.without_portable(hi_text) else full
                    loosely = not portable and full > hi
                if lo is not None and (full < lo or (full == lo and not lo_in)):
                    continue
                if hi is not None and (upper > hi or (upper == hi and not hi_in)):
                    continue
            if lo is None and hi_text and product in _TOLD_BY_BRANCH:
                loosely |= versions.branch(version) != versions.branch(hi_text)
            elif lo is None and certain and exact is None:
                mended = self._mended(product, version) if mended is None else mended
                loosely |= cve[0] in mended
            yield Match(
                _cve(*cve),
                bool(certain) and not loosely,
                tuple((needs or "").split()),
                hi_text if hi_text and not hi_in else "",
                lo,
                hi_text or "",
                _bounds(lo_text, lo_in, hi_text, hi_in, exact),
            )

    def _mended(self, product: str, version: str) -> frozenset[int]:
        """Return the CVEs of which a range ends below a version, in the same branch.

        "9.9.7-P1 and before, 9.10.2-P2 and before" are two ranges without a beginning: 9.9.7-P2 is
        in the second by its number, but not by what is meant.
        """
        here = versions.branch(version)
        rows = self._db.execute(
            "SELECT cve, hi_text FROM range WHERE product = ?1 AND hi > ?2 AND hi <= ?3"
            " AND lo IS NULL AND exact IS NULL AND (hi < ?3 OR NOT hi_included)",
            (self._numbers.get(product), versions.beginning(".".join(here)), versions.key(version)),
        )
        return frozenset(cve for cve, text in rows if versions.branch(text) == here)

    def upper_bounds(self, product: str) -> Mapping[str, list[str]]:
        """Return the upper bounds of all ranges of a product, by CVE."""
        bounds: dict[str, list[str]] = {}
        for cve, text in self._db.execute(
            "SELECT cve, hi_text FROM range WHERE product = ? AND hi_text IS NOT NULL",
            (self._numbers.get(product),),
        ):
            bounds.setdefault(name_of(cve), []).append(text)
        return bounds

    def good(self, product: str, cve: str) -> tuple[str, ...]:
        """Return the first fixed version of each branch, where the project tells them."""
        if product not in self._good:  # a few dozen, of one product or two
            known: dict[str, tuple[str, ...]] = {}
            for number, version in self._db.execute(
                "SELECT cve, version FROM good WHERE product = ?", (self._numbers.get(product),)
            ):
                known[name_of(number)] = (*known.get(name_of(number), ()), version)
            self._good[product] = known
        return self._good[product].get(cve, ())

    def lacking(self, package: Package, installed: bytes, *, esm: bool) -> frozenset[str]:
        """Return the CVEs that the distribution has not mended in the installed version.

        installed: versions.package_key. esm: whether that is from Ubuntu's extended maintenance,
        without which its fixes are not there, whatever their versions.
        """
        rows = self._db.execute(
            "SELECT DISTINCT cve FROM fix WHERE package = ?2 AND (state = 'open' OR"
            " (state = 'fixed' AND (key > ?1 OR (NOT ?3 AND instr(version, 'esm')))))",
            (installed, package.id, esm),
        )
        return frozenset(name_of(number) for (number,) in rows)

    def mended_by(self, package: Package, version: str) -> Iterator[Fix]:
        """Yield what is said to be mended first in this version of the package."""
        rows = self._db.execute(
            "SELECT version, word, source, cve.* FROM fix JOIN cve ON cve.id = fix.cve"
            " WHERE package = ? AND state = 'fixed' AND version = ?",
            (package.id, version),
        )
        for found, word, source, *cve in rows:
            yield Fix(_cve(*cve), "fixed", found, word or "", source, installed_has_it=True)

    def fixes(self, package: Package, installed: bytes, cves: frozenset[str]) -> Iterator[Fix]:
        """Yield all that is said of these CVEs. installed: versions.package_key."""
        wanted = ",".join(str(number_of(cve)) for cve in cves)
        rows = self._db.execute(
            "SELECT state, version, word, source, key <= ?1, cve.* FROM fix"  # noqa: S608 - numbers
            f" JOIN cve ON cve.id = fix.cve WHERE package = ?2 AND fix.cve IN ({wanted})",
            (installed, package.id),
        )
        for state, version, word, source, has_it, *cve in rows:
            yield Fix(_cve(*cve), state, version or "", word or "", source, bool(has_it))


# Oracle names each affected branch by its last version ("5.7.44 and prior, 8.0.35 and prior"): a
# range without a beginning says nothing certain of the other branches.
_TOLD_BY_BRANCH = frozenset({"mysql"})

# Whose p1 only names the port to other systems.
_PORTABLE = frozenset({"openssh", "opensmtpd"})

# BIND's supported preview (9.18.11-S1): what begins with one is in that edition alone.
_EDITION = re.compile(r"-S\d+$", re.IGNORECASE)


def _edition(version: str | None) -> bool:
    return version is not None and "-" in version and _EDITION.search(version) is not None


@lru_cache(maxsize=512)
def _cve(*row: Any) -> Cve:
    number, severity, vector, published, kev, epss, exploitation, flags = row
    return Cve(
        name_of(number), severity, vector, published, kev or "", epss, exploitation,
        frozenset(flags.split()),
    )  # fmt: skip


def _bounds(
    lo: str | None, lo_included: int, hi: str | None, hi_included: int, exact: str | None
) -> str:
    """Say a range in words: 2.4.49, from 8.6 before 9.8."""
    if exact is not None or (lo and lo == hi):
        return "listed by itself"
    parts = [f"{'from' if lo_included else 'after'} {lo}"] if lo else []
    parts += [f"{'up to' if hi_included else 'before'} {hi}"] if hi else []
    return " ".join(parts) or "all versions"


def open_newest(paths: Iterable[Path], sha256: str = "") -> tuple[Knowledge, list[KnowledgeError]]:
    """Open the newest of these bases that can be read, and the bundled one if there is none.

    sha256: what the others must have, "" for any. Also returns what is wrong with those that are
    there and not used.
    """
    best, problems = Knowledge(BUNDLED), []
    for path in paths:
        if not path.exists():
            continue
        try:
            if sha256 and (digest := _digest(path)) != sha256:
                raise KnowledgeError(f"{path} has SHA-256 {digest}, not {sha256}")  # noqa: TRY301
            found = Knowledge(path)
        except KnowledgeError as exc:
            problems.append(exc)
            continue
        if found.built_at >= best.built_at:
            best, found = found, best
        found.close()
    return best, problems


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise KnowledgeError(f"{path} cannot be read: {exc}") from exc
