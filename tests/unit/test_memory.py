"""memory.py: what is free goes back to the system."""

import subprocess
import sys

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
