"""Name a base of vulnerabilities the newest: FILE becomes <SHA-256>.sqlite beside it.

Called by tasks/knowledge.yml, on the controller. Prints "new"; or "same", where the newest has
the same rows: then that stays, so that no host gets a file, and a restart, that tells it nothing.
"""

import hashlib
import sqlite3
import sys
from contextlib import closing
from pathlib import Path


def publish(file: Path) -> bool:
    """Move the base to its place; return whether it says anything new. The last two stay."""
    latest = file.with_name("latest")
    before = latest.read_text().strip() if latest.exists() else ""
    known = file.with_name(f"{before}.sqlite")
    if known.exists() and _digest(known) == before and rows(known) == rows(file):
        file.unlink()
        return False
    digest = _digest(file)
    file.replace(file.with_name(f"{digest}.sqlite"))
    unfinished = file.with_name("latest.unfinished")
    unfinished.write_text(f"{digest}\n")
    unfinished.replace(latest)
    for old in file.parent.glob("*.sqlite"):
        if old.stem not in (digest, before):
            old.unlink()
    return True


def rows(file: Path) -> str:
    """Return a digest of all that a base says, but when it was built."""
    digest = hashlib.sha256()
    with closing(
        sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    ) as db:
        tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        for (table,) in tables.fetchall():
            digest.update(f"{table}\n".encode())
            for row in db.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - its own name
                if (table, row[0]) != ("meta", "built_at"):
                    digest.update(f"{row}\n".encode())
    return digest.hexdigest()


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


if __name__ == "__main__":
    print("new" if publish(Path(sys.argv[1])) else "same")
