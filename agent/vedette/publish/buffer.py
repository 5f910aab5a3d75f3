"""What waits to be sent: one file for each request, in a directory that outlives the agent.

A file is whole or not there (it gets its name when it is written), so `kill -9` loses nothing that
was added. Nothing is forced to the disk: a power cut may cost the last seconds, as it costs those
in which there was no power. Where the disk takes nothing, memory does, as far as that goes.
"""

import os
import re
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vedette import log

_NAME = re.compile(r"(\d{16})-(\d{1,9})\.snappy")
_UNFINISHED = "unfinished"
_MEMORY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Batch:
    """One request. body: None where it is in a file."""

    number: int
    samples: int
    size: int
    body: bytes | None


class Buffer:
    """First in, first out; where the limit is reached, the oldest goes. For one thread."""

    def __init__(self, directory: Path, most_bytes: int) -> None:
        """Take over what an earlier agent has left there."""
        self._directory = directory
        self._most_bytes = most_bytes
        self._batches: deque[Batch] = deque()
        self._failing = False
        self.samples = 0
        self.size = 0
        self._in_memory = 0
        self._next = 0
        try:
            self._load()
        except FileNotFoundError:  # nothing was ever left
            pass
        except OSError as exc:
            self._complain(exc)

    def __len__(self) -> int:
        return len(self._batches)

    def add(self, body: bytes, samples: int) -> int:
        """Append a request; return how many samples had to go for it."""
        kept = None if self._write(body, samples) else body
        self._append(Batch(self._next, samples, len(body), kept))
        self._next += 1
        lost = 0
        while self.size > self._most_bytes:
            lost += self.drop()
        while self._in_memory > _MEMORY_BYTES:
            oldest = next(n for n, b in enumerate(self._batches) if b.body is not None)
            lost += self._remove(oldest)
        return lost

    def first(self) -> bytes | None:
        """Return the oldest request; None if its file cannot be read any more."""
        batch = self._batches[0]
        if batch.body is not None:
            return batch.body
        try:
            return self._file(batch).read_bytes()
        except OSError as exc:
            self._complain(exc)
            return None

    def drop(self) -> int:
        """Remove the oldest request; return how many samples it had."""
        return self._remove(0)

    def _remove(self, place: int) -> int:
        batch = self._batches[place]
        del self._batches[place]
        self.samples -= batch.samples
        self.size -= batch.size
        if batch.body is not None:
            self._in_memory -= batch.size
        else:
            with suppress(OSError):
                self._file(batch).unlink()
        return batch.samples

    def _append(self, batch: Batch) -> None:
        self._batches.append(batch)
        self.samples += batch.samples
        self.size += batch.size
        self._in_memory += 0 if batch.body is None else batch.size

    def _load(self) -> None:
        for file in sorted(self._directory.iterdir()):
            if match := _NAME.fullmatch(file.name):
                count, samples = (int(text) for text in match.groups())
                self._append(Batch(count, samples, file.stat().st_size, None))
                self._next = count + 1

    def _write(self, body: bytes, samples: int) -> bool:
        unfinished = self._directory / _UNFINISHED
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            with os.fdopen(os.open(unfinished, flags, 0o600), "wb") as file:
                file.write(body)
            unfinished.rename(self._directory / _name(self._next, samples))
        except OSError as exc:
            with suppress(OSError):  # half of it would take what space there is
                unfinished.unlink()
            self._complain(exc)
            return False
        self._failing = False
        return True

    def _complain(self, exc: OSError) -> None:
        if not self._failing:
            log.event("error", "the buffer cannot use its directory: memory takes its place",
                      directory=str(self._directory), error=str(exc))  # fmt: skip
        self._failing = True

    def _file(self, batch: Batch) -> Path:
        return self._directory / _name(batch.number, batch.samples)


def _name(number: int, samples: int) -> str:
    return f"{number:016d}-{samples}.snappy"
