"""Roots to boot machines from: built once by mmdebstrap, kept outside the repository."""

import fcntl
import hashlib
import re
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
UBUNTU = "noble"
_HOST = (
    *("systemd", "systemd-sysv", "dbus", "iproute2", "openssh-server", "sudo"),
    *("nftables", "ca-certificates"),
)
# As small as a host can be that ansible reaches: even its Python goes by another name.
BAREST = (*_HOST, "python3.13", "nmap")
BARE = (*_HOST, "python3", "python3-apt")  # without python3-apt, apt has no check mode
MACHINE = (*BARE, "nmap")
# What apt says then: its own words for a name, a connection, a page that is not to be had.
_NO_ANSWER = re.compile(r"^.*(?:resolving|connect to|Connection|40[34] ) .*$", re.MULTILINE)


class Unreachable(Exception):
    """The archive of a release does not answer here, in words."""


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
    """Return a root of a release, or of `release()`. Takes a minute the first time.

    Raises Unreachable for Ubuntu, whose archive not everybody who has Debian's can reach.
    """
    wanted, suite = sorted(packages), of or release()
    mark = hashlib.sha256(" ".join(wanted).encode()).hexdigest()[:8]
    with locked(f"fleet-{suite}-{mark}") as root:
        if not root.exists():
            _build(root, wanted, suite)
    return root


def _build(root: Path, packages: list[str], suite: str) -> None:
    unfinished = root.with_name(f"{root.name}.unfinished")
    more = []
    if suite == UBUNTU:  # Debian has the keys; which archive that is, mmdebstrap knows
        keys = root.with_name(f"{root.name}.keys")
        _mmdebstrap("--variant=extract", "--include=ubuntu-keyring", suite="trixie", into=keys)
        keyring = keys / "usr/share/keyrings/ubuntu-archive-keyring.gpg"
        more = [f"--keyring={keyring}", "--components=main,universe"]
    include = f"--include={','.join(packages)}"
    _mmdebstrap("--variant=minbase", include, *more, suite=suite, into=unfinished)
    unfinished.rename(root)


def _mmdebstrap(*options: str, suite: str, into: Path) -> None:
    shutil.rmtree(into, ignore_errors=True)  # half of one, of a run that was killed
    done = subprocess.run(  # noqa: S603 - the tests' own command
        ["mmdebstrap", *options, suite, str(into)],  # noqa: S607
        input=_sources(suite), text=True, check=False, timeout=_BUILD_SECONDS,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if suite == UBUNTU and done.returncode != 0 and (why := _NO_ANSWER.search(done.stdout)):
        raise Unreachable(why[0].strip())
    assert done.returncode == 0, f"mmdebstrap could not build {into}: {done.stdout[-2000:]}"


def _sources(suite: str) -> str:
    """Return this machine's own package sources for that release; mmdebstrap knows others."""
    if suite == UBUNTU or not _SOURCES.exists():
        return ""
    text = _SOURCES.read_text()
    for other in RELEASES.values():
        text = text.replace(other, suite)
    return text
