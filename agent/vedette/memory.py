"""What glibc does with the memory of a process that rests most of the time.

Another C library does as it likes: nothing here is needed, it only saves some MiB.
"""

import ctypes
import re
from contextlib import suppress
from functools import cache
from pathlib import Path

_M_ARENA_MAX = -8  # mallopt(3)
_MADV_DONTNEED = 4  # madvise(2)
# Of proc(5)'s smaps: a mapping, and what of it is not as in its file any more.
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \d+ *(.*)")
_CHANGED = ("Anonymous:", "Swap:")


def share_one_arena() -> None:
    """Have all threads allocate from one place.

    glibc gives each its own, which keeps what a scan once needed: 3 of 45 MiB.
    """
    _ask("mallopt", _M_ARENA_MAX, 1)


def give_back() -> None:
    """Return to the system what is free between blocks in use: 3 MiB after a scan. Milliseconds."""
    _ask("malloc_trim", 0)


def let_go_of_libraries() -> None:
    """Unmap what starting has read of the libraries: 5 to 7 MiB, most of it never used again.

    What is used comes back from the kernel's page cache, 64 KiB at a time. Milliseconds. Nothing
    else may be loading a library meanwhile.
    """
    with suppress(OSError):  # another system
        text = Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace")
        program = str(Path("/proc/self/exe").readlink())
        for start, end in unchanged(text, program):
            _ask("madvise", ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


def unchanged(smaps: str, program: str) -> set[tuple[int, int]]:
    """Return where the program and its libraries lie in memory just as in their files.

    Libraries alone: nothing unmaps these, so that nobody else's memory can have come there since.
    """
    found, place = set(), (0, 0)
    for line in smaps.splitlines():
        if mapping := _MAPPING.fullmatch(line):
            start, end, allowed, path = mapping.groups()
            place = int(start, 16), int(end, 16)
            if "w" not in allowed and (path == program or ".so" in path.rpartition("/")[2]):
                found.add(place)
        elif line.startswith(_CHANGED) and line.split()[1] != "0":
            found.discard(place)
    return found


def _ask(name: str, *arguments: int | ctypes.c_void_p | ctypes.c_size_t) -> None:
    with suppress(OSError, AttributeError, TypeError):  # another C library, or none
        getattr(_library(), name)(*arguments)


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None)
