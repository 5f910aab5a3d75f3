"""Putting a finished base into its place: looked at first, then renamed over the old one."""

import hashlib
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from vedette.errors import KnowledgeError
from vedette.knowledge.files import documents
from vedette.risk.knowledge import Knowledge, open_newest


def install(source: Path, target: Path, *, sha256: str = "", force: bool = False) -> str:
    """Install the base `source`, which may be compressed; return its SHA-256.

    sha256: what it must be, "" for any. force: also if it is older than the one in use. Raises
    KnowledgeError; then `target` is as it was.
    """
    if source.is_dir():
        raise KnowledgeError(f"{source} is a directory")
    ((_, content),) = documents(source)
    digest = hashlib.sha256(content).hexdigest()
    if sha256 and digest != sha256.lower():
        raise KnowledgeError(f"{source} has SHA-256 {digest}, not {sha256}: it is not used")
    temporary = target.with_name(f".{target.name}.new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        _check(temporary, target, force=force)
        temporary.replace(target)
    except OSError as exc:
        raise KnowledgeError(f"{target} cannot be written: {exc}") from exc
    except KnowledgeError as exc:
        raise KnowledgeError(f"{source} is not used: {exc}") from exc
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return digest


def _check(new: Path, target: Path, *, force: bool) -> None:
    found, (used, _) = Knowledge(new), open_newest([target])
    try:
        found.verify()
        if found.built_at < used.built_at and not force:
            was, now = (
                datetime.fromtimestamp(one.built_at, UTC).isoformat(timespec="minutes")
                for one in (found, used)
            )
            raise KnowledgeError(f"it was built {was}, {used.path} later, {now}; --force takes it")
    finally:
        found.close()
        used.close()
