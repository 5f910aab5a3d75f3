"""What was seen, first and last, and what changed: SQLite in the state directory.

    fact    one row for each thing ever seen: its value, since when, until when
    change  one row for each appearance, disappearance or change of value

WAL and one transaction for each snapshot: kill -9 leaves the last whole snapshot. What SQLite
cannot read is set aside under another name, and a new history begins.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from vedette import log
from vedette.job import Facts, Known

_FORMAT = 1  # PRAGMA user_version: another format is set aside like a damaged file
_SCHEMA = f"""
BEGIN;
CREATE TABLE IF NOT EXISTS fact(
    kind TEXT, key TEXT, value TEXT, detail TEXT, first_seen REAL, last_seen REAL, present INTEGER,
    PRIMARY KEY(kind, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS change(
    id INTEGER PRIMARY KEY, at REAL, kind TEXT, key TEXT, what TEXT, before TEXT, after TEXT);
CREATE INDEX IF NOT EXISTS change_kind ON change(kind);
PRAGMA user_version = {_FORMAT};
COMMIT;
"""
# Of each kind, for a host that is watched for years, and for neighbours who invent addresses: these
# must not push out since when a port is open, or by when a finding is to be mended.
_FACTS_KEPT = 20_000
_CHANGES_KEPT = 10_000
_REWRITE_SECONDS = 300
# Primary result codes (https://sqlite.org/rescode.html) of a permission, a lock, a full disk: what
# stands in the file may be good.
_NOT_THE_FILE = frozenset({
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN,
})  # fmt: skip

What = Literal["appeared", "disappeared", "changed"]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not as it was. before, after: the fact's value, None where it was not."""

    at: float
    kind: str
    key: str
    what: What
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


class History:
    """The memory of the agent. Its methods may be called from any thread.

    kept: whether it outlives the agent.
    """

    def __init__(self, path: Path | None) -> None:
        """Open or create the file; None keeps everything in memory. Raises OSError if it cannot."""
        self.kept = path is not None
        self._lock = Lock()
        self._written: dict[str, tuple[Facts, float]] = {}
        self._connection = _open(path) if path else _connect(":memory:")

    def close(self) -> None:
        """Close the file. What comes later raises sqlite3.ProgrammingError."""
        with self._lock:
            self._connection.close()

    def known(self, kind: str) -> dict[str, Known]:
        """Return all that is remembered of one kind: {key: Known}."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT key, value, detail, first_seen, last_seen, present FROM fact"
                " WHERE kind = ?",
                (kind,),
            ).fetchall()
        return {
            key: Known(_loads(value), _loads(detail), first, last, bool(present))
            for key, value, detail, first, last, present in rows
        }

    def changes(self, limit: int = 100) -> list[Change]:
        """Return the newest changes, newest first."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT at, kind, key, what, before, after FROM change ORDER BY id DESC LIMIT ?",
                (limit,),
            ).fetchall()
        return [
            Change(at, kind, key, what, _value(before), _value(after))
            for at, kind, key, what, before, after in rows
        ]

    def remember(self, seen: Iterable[Facts], at: float) -> list[Change]:
        """Compare the facts of one snapshot with what is known, keep both, and return what changed.

        One transaction: all of it is kept, or (sqlite3.Error) nothing. The very same facts are
        written again, for their `last_seen`, only every few minutes.
        """
        changes: list[Change] = []
        news = [facts for facts in seen if not self._just_written(facts, at)]
        if not news:
            return []
        with self._lock, self._connection as connection:
            for facts in news:
                new = list(_remember(connection, facts, at))
                connection.executemany(
                    "INSERT INTO change(at, kind, key, what, before, after)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    [(c.at, c.kind, c.key, c.what, _text(c.before), _text(c.after)) for c in new],
                )
                if new:
                    _forget(connection, facts)
                changes += new
        self._written.update({facts.kind: (facts, at) for facts in news})
        return changes

    def _just_written(self, facts: Facts, at: float) -> bool:
        written, when = self._written.get(facts.kind, (None, 0.0))
        return written == facts and 0 <= at - when < _REWRITE_SECONDS


def _remember(connection: sqlite3.Connection, seen: Facts, at: float) -> Iterable[Change]:
    known = {
        key: (value, bool(present))
        for key, value, present in connection.execute(
            "SELECT key, value, present FROM fact WHERE kind = ?", (seen.kind,)
        )
    }
    for fact in seen.facts:
        before, present = known.pop(fact.key, (None, False))
        after = json.dumps(fact.value, sort_keys=True)
        connection.execute(
            "INSERT INTO fact VALUES (?, ?, ?, ?, ?, ?, 1) ON CONFLICT(kind, key) DO UPDATE SET"
            " value = excluded.value, detail = excluded.detail, last_seen = excluded.last_seen,"
            " present = 1",
            (seen.kind, fact.key, after, json.dumps(fact.detail), at, at),
        )
        if not present:
            yield Change(at, seen.kind, fact.key, "appeared", None, fact.value)
        elif before != after:
            yield Change(at, seen.kind, fact.key, "changed", _value(before), fact.value)
    if seen.complete:
        for key, (before, present) in known.items():
            if present:
                connection.execute(
                    "UPDATE fact SET present = 0 WHERE kind = ? AND key = ?", (seen.kind, key)
                )
                yield Change(at, seen.kind, key, "disappeared", _value(before), None)


def _forget(connection: sqlite3.Connection, seen: Facts) -> None:
    """Keep a kind bounded: the oldest changes go, and of the facts those gone for longest.

    What is present stays where the snapshot names all there is, and so bounds it itself.
    """
    connection.execute(
        "DELETE FROM change WHERE kind = ?1 AND id <="
        " (SELECT id FROM change WHERE kind = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        (seen.kind, _CHANGES_KEPT),
    )
    connection.execute(
        "DELETE FROM fact WHERE kind = ?1 AND NOT (present AND ?3) AND key IN (SELECT key FROM fact"
        " WHERE kind = ?1 ORDER BY present DESC, last_seen DESC LIMIT -1 OFFSET ?2)",
        (seen.kind, _FACTS_KEPT, seen.complete),
    )


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _connect(path)
    except sqlite3.DatabaseError as exc:
        if getattr(exc, "sqlite_errorcode", 0) & 0xFF in _NOT_THE_FILE:
            raise OSError(f"{path}: {exc}") from exc
        aside = _set_aside(path)
        log.event(
            "error", "history is damaged: set aside, a new one begins",
            file=str(path), aside=str(aside), error=str(exc),
        )  # fmt: skip
        return _connect(path)


def _set_aside(path: Path) -> Path:
    """Rename the damaged file to the first free name; its write-ahead log goes with it."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(aside)
    for ending in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
    return aside


def _connect(path: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False, timeout=10)
    try:
        connection.execute("PRAGMA cache_size = -512")  # KiB: the agent's memory has a budget
        _check(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SCHEMA)
    except UnicodeDecodeError as exc:  # SQLite quotes a damaged schema, as it stands there
        connection.close()
        raise sqlite3.DatabaseError("its schema is damaged") from exc
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection) -> None:
    """Raise DatabaseError if this is no history of ours, or a damaged one. Changes nothing."""
    (form,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if form == tables == 0:
        return
    if form != _FORMAT:
        raise sqlite3.DatabaseError(f"its format is {form}, this agent writes {_FORMAT}")
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)
    # quick_check does not look into the rows.
    connection.text_factory = lambda raw: raw.decode(errors="replace")
    for table, columns in (("fact", ("value", "detail")), ("change", ("before", "after"))):
        odd = " OR ".join(
            f"NOT json_valid(coalesce({name}, '{{}}'))"
            f" OR json_type(coalesce({name}, '{{}}')) != 'object'"
            for name in columns
        )
        if connection.execute(f"SELECT 1 FROM {table} WHERE {odd} LIMIT 1").fetchone():  # noqa: S608 - of constants
            raise sqlite3.DatabaseError(f"{table}: a row is no JSON object")


def _text(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True)


def _value(text: str | None) -> Any:
    return None if text is None else _loads(text)


def _loads(text: str) -> Any:
    # Not strict, as SQLite's idea of JSON: control characters may stand in a string.
    return json.loads(text, strict=False)
