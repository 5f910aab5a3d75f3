"""Debian roots to boot machines from: built once by mmdebstrap, kept outside the repository."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path("/var/tmp/vedette-roots")  # noqa: S108 - made by root, for root
_SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
_BUILD_SECONDS = 600

# The release whose Python is the one of .venv: the wheels that are made here must fit there.
RELEASES = {(3, 11): "bookworm", (3, 13): "trixie"}
_HOST = (
    *("systemd", "systemd-sysv", "dbus", "iproute2", "openssh-server", "sudo"),
    *("nftables", "ca-certificates"),
)
# As small as a host can be that ansible reaches: even its Python goes by another name.
BAREST = (*_HOST, "python3.13", "nmap")
BARE = (*_HOST, "python3", "python3-apt")  # without python3-apt, apt has no check mode
MACHINE = (*BARE, "nmap")


def release() -> str:
    """Return the Debian release of the machines."""
    version = sys.version_info[:2]
    assert version in RELEASES, (
        f"the fleet tests need Python 3.11 or 3.13, Debian's, in .venv; it has {version}"
    )
    return RELEASES[version]


@contextmanager
def locked(name: str) -> Iterator[Path]:
    """Have a path in the cache for oneself alone; two runs at once build it once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield CACHE / name


def base(packages: Iterable[str] = MACHINE, of: str = "") -> Path:
    """Return a root of a release, or of `release()`. Takes a minute the first time."""
    wanted, suite = sorted(packages), of or release()
    mark = hashlib.sha256(" ".join(wanted).encode()).hexdigest()[:8]
    with locked(f"fleet-{suite}-{mark}") as root:
        if not root.exists():
            _build(root, wanted, suite)
    return root


def _build(root: Path, packages: list[str], suite: str) -> None:
    unfinished = root.with_name(f"{root.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    done = subprocess.run(  # noqa: S603 - the tests' own command
        [  # noqa: S607 - wherever the distribution has it
            "mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}",
            suite, str(unfinished),
        ],
        input=_sources(suite), text=True, check=False, timeout=_BUILD_SECONDS,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, f"mmdebstrap could not build {root}: {done.stdout[-2000:]}"
    unfinished.rename(root)


def _sources(suite: str) -> str:
    """Return this machine's own package sources for that release; mmdebstrap knows others."""
    if not _SOURCES.exists():
        return ""
    text = _SOURCES.read_text()
    for other in RELEASES.values():
        text = text.replace(other, suite)
    return text
