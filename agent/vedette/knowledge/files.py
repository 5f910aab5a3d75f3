"""Reading feeds as they lie around: plain, gzip, xz, zip, or a directory of all these."""

import gzip
import json
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from vedette.errors import KnowledgeError

Progress = Callable[[float], None]  # 0 to 1

LARGEST = 1 << 30
_LARGEST_ARCHIVE = 8 << 30  # bytes of all files in a zip, decompressed
_SUFFIXES = (".json", ".json.gz", ".json.xz", ".zip")
_DAMAGED = (OSError, EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, RuntimeError)


def documents(
    path: Path, progress: Progress = lambda _: None, largest: int = LARGEST
) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of each file behind `path`. Raises KnowledgeError, which names it.

    largest: bytes of one file, decompressed.
    """
    if path.is_dir():
        found = sorted(child for child in path.rglob("*") if child.name.endswith(_SUFFIXES))
        for done, child in enumerate(found):
            progress(done / len(found))
            yield from documents(child, largest=largest)
        return
    try:
        with path.open("rb") as file:
            start = file.read(6)
        if start.startswith(b"PK"):
            yield from _members(path, progress, largest)
        elif start.startswith(b"\x1f\x8b"):
            with gzip.open(path) as file:
                yield path.name, _bounded(file, path.name, largest)
        elif start == b"\xfd7zXZ\x00":
            with lzma.open(path) as file:
                yield path.name, _bounded(file, path.name, largest)
        else:
            _refuse(path.name, path.stat().st_size, largest)
            with path.open("rb") as file:
                yield path.name, _bounded(file, path.name, largest)
    except _DAMAGED as exc:
        raise KnowledgeError(f"{path} cannot be read: {exc}") from exc


def day(path: Path) -> str:
    """Return the day on which a file was last changed, for feeds that bear no date."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()


def _members(path: Path, progress: Progress, largest: int) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        found = [info for info in archive.infolist() if info.filename.endswith(".json")]
        if sum(info.file_size for info in found) > _LARGEST_ARCHIVE:
            raise KnowledgeError(f"{path} holds more than {_LARGEST_ARCHIVE >> 30} GiB")
        for done, info in enumerate(found):
            progress(done / len(found))
            with archive.open(info) as file:
                yield f"{path.name}/{info.filename}", _bounded(file, info.filename, largest)


def _bounded(file: IO[bytes] | gzip.GzipFile | lzma.LZMAFile, name: str, largest: int) -> bytes:
    content = file.read(largest + 1)
    _refuse(name, len(content), largest)
    return content


def _refuse(name: str, size: int, largest: int) -> None:
    if size > largest:
        raise KnowledgeError(f"{name} is larger than {largest} bytes")


# Feeds of 100 MB are decoded record by record: as one document they would take 1 GB.
_decode = json.JSONDecoder().raw_decode
_BLANK = " \t\r\n"


def elements(text: str, start: int, progress: Progress = lambda _: None) -> Iterator[Any]:
    """Yield the elements of the JSON list that opens at text[start]. Raises ValueError."""
    at = _skip(text, start + 1, ",")
    while text[at : at + 1] != "]":
        value, at = _decode(text, at)
        yield value
        progress(at / len(text))
        at = _skip(text, at, ",")


def entries(text: str) -> Iterator[tuple[str, Any]]:
    """Yield (key, value) of the JSON object that a text holds. Raises ValueError."""
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        raise ValueError("no JSON object")
    at = _skip(text, at + 1, ",")
    while text[at : at + 1] != "}":
        key, at = _decode(text, at)
        value, at = _decode(text, _skip(text, at, ":"))
        yield str(key), value
        at = _skip(text, at, ",")


def _skip(text: str, at: int, separator: str = "") -> int:
    """Return where the next thing begins, behind blanks and one kind of separator."""
    allowed = _BLANK + separator
    while text[at : at + 1] and text[at] in allowed:
        at += 1
    return at
