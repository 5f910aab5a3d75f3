"""Print, as JSON, what a host has: which wheels it takes, room, the time, what is installed.

probe.py ROOT: releases {name: SHA-256 of its requirements, "" if it is not whole}, bases (of
vulnerabilities), and running: the release that the link `current` names, or "".
"""

import hashlib
import json
import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import List  # noqa: UP035 - it may be an old Python that says so


def names(directory: Path) -> List[str]:  # noqa: UP006
    """Return what is in there, or nothing."""
    return sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []


def digest(release: Path) -> str:
    """Return the SHA-256 of the list of wheels that it was made of, or ""."""
    made_of = release / "requirements.txt"
    return hashlib.sha256(made_of.read_bytes()).hexdigest() if made_of.exists() else ""


root = Path(sys.argv[1])
current = root / "current"
room = os.statvfs("/opt" if Path("/opt").is_dir() else "/")
print(
    json.dumps(
        {
            "tag": f"cp{sys.version_info[0]}{sys.version_info[1]}-{os.uname().machine}",
            "recent": sys.version_info >= (3, 11),
            "venv": all(find_spec(name) for name in ("ensurepip", "venv")),
            "free_bytes": room.f_bavail * room.f_frsize,
            "now": time.time(),
            "running": os.path.basename(os.readlink(current)) if current.is_symlink() else "",  # noqa: PTH115, PTH119
            "releases": {
                name: digest(root / "releases" / name) for name in names(root / "releases")
            },
            "bases": names(root / "knowledge"),
        }
    )
)
