"""Which process listens on which socket, from /proc (proc(5), proc_net_tcp in the kernel's docs).

No decisions here, and nothing but the standard library: the inventory runs with root's eyes.
"""

import itertools
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from vedette.errors import BadOutput

Address = IPv4Address | IPv6Address

_LISTEN, _UNCONNECTED = "0A", "07"  # of TCP, of UDP
_LONGEST_COMMAND = 64 << 10  # bytes
_CAREFULLY = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_MOST_LINKS = 40  # the kernel's own limit


@dataclass(frozen=True, slots=True)
class Socket:
    """One that waits for peers."""

    transport: str
    address: Address
    port: int
    inode: int


@dataclass(frozen=True, slots=True)
class Process:
    """One process. root: where its file system begins, as this process sees it.

    executable: as its own root names it, without the kernel's " (deleted)". stale: the file of
    that name is no longer what runs. container: its root is not the host's.
    """

    pid: int
    parent: int
    name: str
    executable: str
    stale: bool
    command: tuple[str, ...]
    root: Path
    container: bool


def endpoint(text: str) -> tuple[Address, int]:
    """Parse "0100007F:0016": 32-bit words in host order."""
    words, port = text.split(":")
    raw = bytes.fromhex(words)
    swapped = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
    return ip_address(swapped), int(port, 16)


def parse_sockets(transport: str, text: str) -> Iterator[Socket]:
    """Yield the waiting sockets in a file of /proc/net. Raises BadOutput if it is none."""
    wanted = _LISTEN if transport == "tcp" else _UNCONNECTED
    for line in text.splitlines()[1:]:
        fields = line.split()
        try:
            local, peer, state, inode = fields[1], fields[2], fields[3], int(fields[9])
            if state == wanted and int(peer.split(":")[1], 16) == 0:
                yield Socket(transport, *endpoint(local), inode)
        except (IndexError, ValueError) as exc:
            raise BadOutput(f"/proc/net/{transport} has a line that is no socket") from exc


def sockets(net: Path) -> list[Socket]:
    """Return the waiting sockets of one network namespace; net: /proc/PID/net."""
    found: list[Socket] = []
    for name in ("tcp", "tcp6", "udp", "udp6"):
        with suppress(FileNotFoundError):  # no IPv6
            found += parse_sockets(name[:3], (net / name).read_text(encoding="ascii"))
    return found


def own_addresses(net: Path) -> list[Address]:
    """Return the addresses of one network namespace, without loopback."""
    found: list[Address] = []
    lines = (net / "fib_trie").read_text(encoding="ascii").splitlines()
    for before, line in itertools.pairwise(lines):
        if "host LOCAL" in line and "|--" in before:
            found.append(ip_address(before.split()[-1]))
    with suppress(FileNotFoundError):  # no IPv6
        lines = (net / "if_inet6").read_text(encoding="ascii").splitlines()
        found += [ip_address(bytes.fromhex(line.split()[0])) for line in lines]
    return [one for one in dict.fromkeys(found) if not one.is_loopback and not one.is_link_local]


def pids(proc: Path) -> list[int]:
    """Return all processes."""
    return sorted(int(name) for name in os.listdir(proc) if name.isdigit())  # noqa: PTH208 - fast


def namespaces(proc: Path, numbers: Iterable[int]) -> Mapping[str, int]:
    """Return {network namespace: one process in it}; pid 1's comes first."""
    found: dict[str, int] = {}
    for pid in numbers:
        with suppress(OSError):  # gone, or not for us to see
            found.setdefault(str((proc / str(pid) / "ns/net").readlink()), pid)
    return found


def holders(proc: Path, numbers: Iterable[int]) -> tuple[dict[int, list[int]], int]:
    """Return {socket's inode: the processes that hold it}, and how many could not be read."""
    found: dict[int, list[int]] = {}
    refused = 0
    for pid in numbers:
        directory = f"{proc}/{pid}/fd"
        try:
            with os.scandir(directory) as links:
                for link in links:
                    with suppress(OSError):  # closed meanwhile
                        target = os.readlink(link.path)  # noqa: PTH115 - thousands: fast
                        if target.startswith("socket:["):
                            found.setdefault(int(target[8:-1]), []).append(pid)
        except PermissionError:
            refused += 1
        except OSError:  # the process is gone
            continue
    return {inode: sorted(set(who)) for inode, who in found.items()}, refused


def topmost(proc: Path, numbers: Iterable[int]) -> int:
    """Return the one of these processes that started the others.

    pid 1 hands its sockets to services, and keeps them: it is named only if it is alone.
    """
    own = sorted(numbers)
    own = [pid for pid in own if pid != 1] or own
    parents = {pid: _status(proc, pid)[1] for pid in own}
    return next((pid for pid in own if parents[pid] not in parents), own[0])


def host_root(proc: Path) -> Path:
    """Return where the host's file system begins: pid 1's root, or ours where that is hidden."""
    for name in ("1", "self"):
        root = proc / name / "root"
        with suppress(OSError):
            root.stat()
            return root
    return Path("/")


def process(proc: Path, pid: int, host: Path) -> Process | None:
    """Return what a process is, None if it is gone or not for us to see; host: host_root()."""
    here = proc / str(pid)
    name, parent = _status(proc, pid)
    root = here / "root"
    try:
        link = str((here / "exe").readlink())
        jail = str(root.readlink())  # "/" of what has a mount namespace of its own
        own, hosts = root.stat(), host.stat()
        with (here / "cmdline").open("rb") as file:
            words = file.read(_LONGEST_COMMAND).rstrip(b"\0").split(b"\0")
    except OSError:
        return None
    executable = link.removesuffix(" (deleted)")
    stale = executable != link
    # chroot(2): the kernel names the program from its mounts' root on, not from the process's own,
    # below which it lies, unless it went there after its start, as daemons do.
    if jail != "/" and executable.startswith(f"{jail}/"):
        executable = executable.removeprefix(jail)
    elif jail != "/" and _same(here / "exe", host, executable):
        root, own = host, hosts
    if not stale:
        stale = _same(here / "exe", root, executable) is False
    return Process(
        pid=pid,
        parent=parent,
        name=name,
        executable=executable,
        stale=stale,
        command=tuple(word.decode(errors="replace") for word in words),
        root=root,
        # Not the mount namespace: every sandboxed unit has one of its own.
        container=(own.st_dev, own.st_ino) != (hosts.st_dev, hosts.st_ino),
    )


def _same(running: Path, root: Path, executable: str) -> bool | None:
    """Whether a root has this very file there; None if it has none, or not for us to see."""
    try:
        return running.samefile(within(root, executable))
    except OSError:  # in a mount that its root does not show
        return None


def _status(proc: Path, pid: int) -> tuple[str, int]:
    """Return a process's name and its parent, ("", 0) if it is gone."""
    try:
        text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", 0
    # The name stands in parentheses, and may hold some itself.
    name, _, rest = text.partition("(")[2].rpartition(")")
    return name, int(rest.split()[1])


def within(root: Path, path: str) -> Path:
    """Return where a path of that root leads to, from here. Raises OSError if it loops.

    A container's links are followed inside it: one to /etc/shadow is its own /etc/shadow.
    """
    done: list[str] = []
    ahead = path.split("/")[::-1]
    links = 0
    while ahead:
        part = ahead.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            done = done[:-1]
            continue
        try:
            target = str(root.joinpath(*done, part).readlink())
        except OSError:  # no link, or not there: whoever opens it will be told
            done.append(part)
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(f"too many links in {path}")
        if target.startswith("/"):
            done = []
        ahead += target.split("/")[::-1]
    return root.joinpath(*done)


def read_within(root: Path, path: str, most: int) -> bytes:
    """Return an ordinary file's content, cut after so many bytes. Raises OSError."""
    # A stranger's file may be a pipe that nobody writes to. Not every system has these.
    handle = os.open(within(root, path), _CAREFULLY)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path} is no ordinary file")
        return file.read(most)
