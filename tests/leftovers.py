"""Whose is what tests make on this machine: its name has the number of the process that made it."""

import re
from pathlib import Path


def is_left(name: str, ours: re.Pattern[str]) -> bool:
    """Whether this is a name of ours, and the process that its first group names is dead."""
    made_by = ours.match(name)
    if made_by is None:
        return False
    try:
        stat = Path("/proc", made_by[1], "stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"  # it is dead, only nobody has noticed yet
