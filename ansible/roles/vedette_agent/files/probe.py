"""Print, as JSON, what a host has: which wheels it takes, room, the time, what is there and runs.

probe.py NOW ROOT ETC SYSTEMD COMMAND UNIT...: the controller's time, the directories of the agent,
of its configuration and of units, the link to its program, and the units that should run. Says

releases   {name: SHA-256 of its requirements, "" if it is not whole}
bases      of vulnerabilities
running    the release that the link `current` names, or ""
prepared   whether its user, its directories and the link are there as they should be
stale      whether a file that the agent reads when it starts is newer than its start
idle       the units that do not run, or would not after a reboot
"""

import grp
import hashlib
import json
import os
import pwd
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import List  # noqa: UP035 - it may be an old Python that says so

# systemd makes it when it starts the agent.
STARTED = Path("/run/vedette-agent")


def names(directory: Path) -> List[str]:  # noqa: UP006
    """Return what is in there, or nothing."""
    return sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []


def digest(release: Path) -> str:
    """Return the SHA-256 of the list of wheels that it was made of, or ""."""
    made_of = release / "requirements.txt"
    return hashlib.sha256(made_of.read_bytes()).hexdigest() if made_of.exists() else ""


def is_prepared(root: Path, command: Path) -> bool:
    """Whether tasks/prepare.yml would change nothing."""
    try:
        user, group = pwd.getpwnam("vedette"), grp.getgrnam("vedette")
        looks = [path.stat() for path in (root, root / "releases", root / "knowledge")]
        leads_to = os.readlink(command)  # noqa: PTH115 - Path's is new in 3.9
    except (KeyError, OSError):
        return False
    account = (user.pw_gid, user.pw_dir, user.pw_shell)
    return (
        account == (group.gr_gid, "/nonexistent", "/usr/sbin/nologin")
        and all((one.st_uid, one.st_gid, one.st_mode & 0o7777) == (0, 0, 0o755) for one in looks)
        and leads_to == str(root / "current/bin/vedette")
    )


def is_stale(root: Path, etc: Path, systemd: Path) -> bool:
    """Asked of the files, not of this run: one that was interrupted restarted nothing."""
    read = [root / "current", etc / "config.yaml", systemd / "vedette.service"]
    for folder in (etc / "credentials", systemd / "vedette.service.d"):
        read += [folder / name for name in names(folder)]
    try:
        started = STARTED.stat().st_mtime_ns
        return any(path.lstat().st_mtime_ns > started for path in read)
    except OSError:
        return True


def answers(question: str, units: List[str]) -> List[str]:  # noqa: UP006
    """Return what systemctl says of each."""
    asked = subprocess.Popen(  # noqa: S603
        ["systemctl", question, *units],  # noqa: S607 - wherever the distribution has it
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True,
    )  # fmt: skip
    return asked.communicate()[0].splitlines()


def idle(units: List[str]) -> List[str]:  # noqa: UP006
    """Return which of them do not run, or would not after a reboot."""
    active, enabled = answers("is-active", units), answers("is-enabled", units)
    if len(active) != len(units) or len(enabled) != len(units):  # one that is not known is left out
        return units
    return [
        unit
        for unit, *said in zip(units, active, enabled)  # noqa: B905 - new in 3.10
        if said != ["active", "enabled"]
    ]


off_seconds = time.time() - float(sys.argv[1])  # at once: with many hosts, much later is too late
root, etc, systemd, command = map(Path, sys.argv[2:6])
current = root / "current"
room = os.statvfs("/opt" if Path("/opt").is_dir() else "/")
print(
    json.dumps(
        {
            "tag": f"cp{sys.version_info[0]}{sys.version_info[1]}-{os.uname().machine}",
            "recent": sys.version_info >= (3, 11),
            "venv": find_spec("venv") is not None,
            "free_bytes": room.f_bavail * room.f_frsize,
            "off_seconds": off_seconds,
            "running": os.path.basename(os.readlink(current)) if current.is_symlink() else "",  # noqa: PTH115, PTH119
            "releases": {
                name: digest(root / "releases" / name) for name in names(root / "releases")
            },
            "bases": names(root / "knowledge"),
            "prepared": is_prepared(root, command),
            "stale": is_stale(root, etc, systemd),
            "idle": idle(sys.argv[6:]),
        }
    )
)
