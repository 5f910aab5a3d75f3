"""What `vedette inventory` found out: which package listens where.

The file is written by a privileged one-shot; whoever reads it trusts its directory, not its form.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from vedette.errors import BadOutput, NotReady
from vedette.scanned import Address, Installed, release_name

_LIMIT = 16 << 20  # bytes
# Two periods of systemd/vedette-inventory.timer.
MAX_AGE_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Entry:
    """One listening socket. address: None for all, of this version of IP, 0 if that is not known.

    package: None where none owns the program.

    own_build: whether the program is known, and belongs to no package.
    """

    address: Address | None
    transport: str
    port: int
    process: str
    executable: str
    package: Installed | None
    own_build: bool
    version: int = 0


@dataclass(frozen=True, slots=True)
class Inventory:
    """All of a host. generated: Unix seconds. release: debian:bookworm, "" if unknown."""

    generated: float
    release: str
    listeners: tuple[Entry, ...]

    def behind(self, address: Address, transport: str, port: int) -> Entry | None:
        """Return what listens there: on this very address, else on all of them."""
        here = [one for one in self.listeners if (one.transport, one.port) == (transport, port)]
        # One of IPv6 answers on IPv4, too, unless there is one of IPv4.
        everywhere = [one for one in here if one.address is None]
        everywhere.sort(key=lambda one: one.version not in {0, address.version})
        return next((one for one in here if one.address == address), next(iter(everywhere), None))


def read(path: Path) -> Inventory:
    """Read the file. Raises NotReady if there is none, BadOutput if it is damaged."""
    try:
        facts = path.stat()
        return _read(path, (facts.st_ino, facts.st_size, facts.st_mtime_ns))
    except OSError as exc:
        raise NotReady(f"{path} cannot be read: {exc.strerror}") from exc


@lru_cache(maxsize=1)  # the agent looks every few seconds whether the list is still fresh
def _read(path: Path, _: tuple[int, ...]) -> Inventory:
    """Read the file, once for each version of it."""
    with path.open("rb") as file:
        content = file.read(_LIMIT + 1)
    if len(content) > _LIMIT:
        raise BadOutput(f"{path} is larger than {_LIMIT >> 20} MiB")
    try:
        return parse(json.loads(content))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as exc:
        raise BadOutput(f"{path} is no list of listeners: {exc!r}") from exc


def read_fresh(path: Path, now: float, booted: float) -> Inventory:
    """Read the file, if it tells of this host as it is. booted: Unix seconds.

    Raises NotReady if there is none, or it is too old; BadOutput if it is damaged.
    """
    found = read(path)
    if found.generated < booted - 1:
        raise NotReady(f"{path} is from before this host started")
    if found.generated < now - MAX_AGE_SECONDS:
        raise NotReady(
            f"{path} is {(now - found.generated) / 60:.0f} minutes old: is the timer"
            " vedette-inventory active?"
        )
    return found


def why_not(path: Path, now: float, booted: float) -> str:
    """Return why the file is not used, "" if it is."""
    try:
        read_fresh(path, now, booted)
    except (NotReady, BadOutput) as exc:
        return str(exc)
    return ""


def parse(document: Mapping[str, Any]) -> Inventory:
    """Return the inventory in a document. Raises KeyError, TypeError, ValueError."""
    release = _release(document)
    rows = [_entry(row, release) for row in document["listeners"]]
    return Inventory(float(document["generated"]), release, tuple(rows))


def _release(where: Mapping[str, Any]) -> str:
    distribution, release = where.get("distribution"), where.get("release")
    return release_name(str(distribution), str(release)) if distribution and release else ""


def _entry(row: Mapping[str, Any], release: str) -> Entry:
    # docker-proxy holds the port for a program of which nothing is known.
    foreign = row.get("process") == "docker-proxy"
    name = "" if foreign else row.get("source_package") or row.get("package") or ""
    version = row.get("version") or ""
    where = _release(row) or release  # that of a container, else the host's
    executable = str(row.get("executable") or "")
    text = str(row["address"]).partition("%")[0].strip("[]")
    address = None if text in {"", "*"} else ip_address(text)
    package = None
    if name and version:
        package = Installed(
            where, str(name), str(version), replaced=bool(row.get("stale_executable"))
        )
    return Entry(
        address=None if address is None or address.is_unspecified else address,
        transport=str(row["transport"]),
        port=int(row["port"]),
        process=str(row.get("process") or ""),
        executable=executable,
        package=package,
        # Of what an interpreter runs nothing is known where the inventory names no script.
        own_build=bool(executable)
        and not name
        and not foreign
        and executable != row.get("interpreter"),
        version=0 if address is None else address.version,
    )
