"""memory.py: what is free goes back to the system."""

import subprocess
import sys

from vedette import memory

HOLDS_AND_FREES = """
from pathlib import Path
from vedette import memory
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])
memory.share_one_arena()
blocks = [bytes(60_000) for _ in range(2000)]
kept = blocks[::100]
before = resident()
del blocks
freed = resident()
memory.give_back()
print(before - freed, freed - resident())
"""


def test_what_is_free_between_blocks_in_use_goes_back() -> None:
    """The allocator keeps it for next time, which for a scan is in a quarter of an hour."""
    done = subprocess.run(  # noqa: S603 - this Python, the text above
        [sys.executable, "-c", HOLDS_AND_FREES], capture_output=True, text=True, check=True
    )
    by_itself, given_back = map(int, done.stdout.split())

    assert given_back > by_itself


LETS_GO = """
from pathlib import Path
import numpy as np
from vedette import memory
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])
before = resident()
memory.let_go_of_libraries()
after = resident()
import json, sqlite3
assert np.linalg.inv(np.eye(3) * 2)[0, 0] == 0.5
assert sqlite3.connect(":memory:").execute("SELECT 1").fetchone() == (1,)
print(before, after, resident())
"""


def test_libraries_that_are_let_go_come_back_where_they_are_used() -> None:
    """What starting needed of them counts as the process's memory for ever."""
    done = subprocess.run(  # noqa: S603 - this Python, the text above
        [sys.executable, "-c", LETS_GO], capture_output=True, text=True, check=True
    )
    before, after, used_again = map(int, done.stdout.split())

    assert after < used_again < before


def test_only_libraries_as_in_their_files_are_let_go() -> None:
    """Anything else of it, in memory or swapped out, is nowhere but in this process."""

    def mapping(place: int, allowed: str, path: str, anonymous: int = 0, swapped: int = 0) -> str:
        head = f"{place:x}000-{place + 1:x}000 {allowed} 00000000 fe:00 26 "
        return (
            f"{head.ljust(73)}{path}\nRss: 4 kB\nAnonymous: {anonymous} kB\nSwap: {swapped} kB\n"
            "VmFlags: rd mr mw me\n"
        )

    smaps = (
        mapping(0x10, "r-xp", "/usr/bin/python3.11")
        + mapping(0x20, "r--p", "/usr/lib/libssl.so.3")
        + mapping(0x21, "r--p", "/usr/lib/libssl.so.3", anonymous=4)
        + mapping(0x22, "r--p", "/usr/lib/libssl.so.3", swapped=4)
        + mapping(0x23, "rw-p", "/usr/lib/libssl.so.3")
        + mapping(0x30, "r--p", "/var/lib/some.socket/database")
        + mapping(0x40, "rw-p", "")
        + mapping(0x50, "r-xp", "/usr/lib/libz.so.1 (deleted)")
        + mapping(0x60, "r-xp", "[vdso]")
    )

    assert memory.unchanged(smaps, "/usr/bin/python3.11") == {
        (0x10000, 0x11000), (0x20000, 0x21000), (0x50000, 0x51000),
    }  # fmt: skip
