"""The host itself, by psutil and /proc: addresses, counters, listening sockets, operating system.

No decisions here: what is virtual, real or worth showing is for the jobs to say.
"""

import errno
import hashlib
import os
import platform
import re
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import psutil

from vedette.edges import package_files
from vedette.edges.listening import endpoint
from vedette.edges.package_files import parse_os_release
from vedette.errors import BadOutput
from vedette.scanned import release_name

Address = IPv4Address | IPv6Address

_MACHINE_ID = Path("/etc/machine-id")
_INTERPRETER = re.compile(r"(python|perl|ruby|node|java|php|lua|bash|dash|sh|beam|mono|dotnet)")
# A capability is missing; or the address family is, in a sandbox (RestrictAddressFamilies=).
_REFUSED = (errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT)
_OS_RELEASE = (Path("/etc/os-release"), Path("/usr/lib/os-release"))


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """One address of one interface. mac: lower case with colons, "" where there is none."""

    interface: str
    address: Address
    mac: str


@dataclass(frozen=True, slots=True)
class InterfaceCounters:
    """Since the interface came up: bytes, packets."""

    receive_bytes: int
    transmit_bytes: int
    receive_errors: int
    transmit_errors: int
    receive_dropped: int
    transmit_dropped: int


@dataclass(frozen=True, slots=True)
class Filesystem:
    """One mounted file system. Sizes in bytes; available: to ordinary users."""

    mountpoint: str
    device: str
    size: int
    available: int


@dataclass(frozen=True, slots=True)
class Counters:
    """One reading of the machine. monotonic: when, in seconds of the monotonic clock.

    cpu_busy, cpu_total: seconds of all processors since boot. load: 1, 5, 15 minutes.
    Memory and swap in bytes.
    """

    monotonic: float
    cpu_busy: float
    cpu_total: float
    load: tuple[float, float, float]
    memory_size: int
    memory_available: int
    swap_used: int
    interfaces: Mapping[str, InterfaceCounters]
    filesystems: tuple[Filesystem, ...]


@dataclass(frozen=True, slots=True)
class Listener:
    """One socket that waits for peers.

    process: the program's name, "" where it may not be known. identity: changes when another
    program, another build of it, or (where the program may not be known) another socket listens.
    own: it is one of this very process.
    """

    address: Address
    transport: str
    port: int
    process: str
    identity: str
    own: bool


def addresses() -> tuple[InterfaceAddress, ...]:
    """Return the addresses of all interfaces that are up, sorted."""
    up = {name for name, state in psutil.net_if_stats().items() if state.isup}
    found = []
    for name, entries in psutil.net_if_addrs().items():
        mac = next((e.address for e in entries if e.family == psutil.AF_LINK), "")
        mac = mac.lower().replace("-", ":")
        for entry in entries:
            if name in up and entry.family in (socket.AF_INET, socket.AF_INET6):
                address = ip_address(entry.address.split("%")[0])
                found.append(InterfaceAddress(name, address, mac))
    return tuple(sorted(found, key=lambda a: (a.interface, a.address.version, a.address)))


def counters() -> Counters:
    """Read the machine's counters. About a millisecond."""
    times = psutil.cpu_times()
    memory = psutil.virtual_memory()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # guest time is part of user time already (proc(5), /proc/stat)
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return Counters(
        monotonic=time.monotonic(),
        cpu_busy=total - idle,
        cpu_total=total,
        load=psutil.getloadavg(),
        memory_size=memory.total,
        memory_available=memory.available,
        swap_used=psutil.swap_memory().used,
        interfaces={
            name: InterfaceCounters(
                c.bytes_recv, c.bytes_sent, c.errin, c.errout, c.dropin, c.dropout
            )
            for name, c in sorted(psutil.net_io_counters(pernic=True).items())
        },
        filesystems=tuple(_filesystems()),
    )


def _filesystems() -> Iterator[Filesystem]:
    """Yield the file systems that live on devices, and the root, each device once.

    Network file systems are never asked: statvfs on a hung one does not return.
    Images that are full by nature (snaps, CDs) are left out.
    """
    mounts = {p.mountpoint: p for p in psutil.disk_partitions(all=False)}
    seen = set()
    for mountpoint in sorted({*mounts, Path(sys.prefix).anchor}):
        partition = mounts.get(mountpoint)
        device = partition.device if partition else "rootfs"
        if device in seen or (partition and partition.fstype in ("squashfs", "iso9660")):
            continue
        with suppress(OSError):  # unmounted meanwhile, or not for us to see: no reading
            usage = os.statvfs(mountpoint)
            seen.add(device)
            yield Filesystem(
                mountpoint, device, usage.f_blocks * usage.f_frsize, usage.f_bavail * usage.f_frsize
            )


def listeners() -> tuple[Listener, ...]:
    """Return the listening TCP and bound UDP sockets, sorted by transport and port."""
    inodes = dict(_inodes())
    own, ours = os.getpid(), _own_sockets()
    found = []
    for connection in psutil.net_connections("inet"):
        tcp = connection.type == socket.SOCK_STREAM
        if not connection.laddr or (tcp and connection.status != psutil.CONN_LISTEN):
            continue
        if not tcp and connection.raddr:
            continue
        address = ip_address(connection.laddr.ip.split("%")[0])
        transport, port = "tcp" if tcp else "udp", connection.laddr.port
        inode = inodes.get((transport, address, port))
        # A child of ours has our sockets too, until it begins to be another program.
        pid = own if inode in ours else connection.pid
        process, identity = _program(pid)
        found.append(
            Listener(
                address,
                transport,
                port,
                process,
                identity or f"socket {inode or 'unknown'}",
                own=pid == own,
            )
        )
    return tuple(sorted(set(found), key=lambda s: (s.transport, s.port, str(s.address), s.process)))


def _program(pid: int | None) -> tuple[str, str]:
    """Return a process's name and an identity that an upgrade or another command line changes.

    Both are empty where the process is another user's, or gone.
    """
    if pid is None:
        return "", ""
    try:
        process = psutil.Process(pid)
        executable = process.exe()
        facts = Path(f"/proc/{pid}/exe").stat() if os.name == "posix" else Path(executable).stat()
        # Of an interpreter the program is in the command line. Of others it is left out: daemons
        # write their state into it (sshd: "0 of 10-100 startups").
        told = process.cmdline() if _INTERPRETER.match(Path(executable).name) else ()
        marks = (executable, facts.st_ino, facts.st_mtime_ns, *told)
    except (psutil.Error, OSError):
        return "", ""
    return process.name(), hashlib.sha256(repr(marks).encode()).hexdigest()[:16]


def _own_sockets() -> set[int]:
    """Return the inodes of this process's sockets; none where there is no /proc."""
    found = set()
    for link in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):  # the descriptor that lists them is closed by now
            name, _, number = str(link.readlink()).partition(":")
            if name == "socket":
                found.add(int(number.strip("[]")))
    return found


def _inodes() -> Iterator[tuple[tuple[str, Address, int], int]]:
    """Yield ((transport, address, port), inode) of the unconnected sockets, from /proc/net.

    Everybody may read these: an inode tells an unprivileged agent that a service was restarted.
    """
    for name in ("tcp", "tcp6", "udp", "udp6"):
        try:
            lines = Path("/proc/net", name).read_text(encoding="ascii").splitlines()[1:]
        except FileNotFoundError:  # no IPv6, or not Linux
            continue
        for line in lines:
            fields = line.split()
            local, peer = fields[1], fields[2]
            if int(peer.split(":")[1], 16) == 0:
                address, port = endpoint(local)
                yield (name[:3], address, port), int(fields[9])


def booted_at() -> float:
    """Return when this host started, in Unix seconds."""
    return psutil.boot_time()


@cache  # closing such a socket takes the kernel 12 ms; a process does not gain powers
def raw_sockets() -> bool:
    """Whether this process may open raw sockets. Asked of the kernel, not guessed from the uid."""
    if not hasattr(socket, "AF_PACKET"):
        return os.name == "posix" and os.geteuid() == 0
    try:
        # Protocol 0: it receives nothing.
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except OSError as exc:
        if exc.errno in _REFUSED:
            return False
        raise
    return True


def operating_system() -> tuple[str, str]:
    """Return this host's (family, name) from os-release(5), or from the platform elsewhere.

    Raises BadOutput if neither says anything.
    """
    values = _os_release()
    if name := values.get("PRETTY_NAME") or values.get("NAME"):
        return "Linux", name
    system = platform.system()
    if not system:
        raise BadOutput("neither os-release nor the platform names an operating system")
    return {"Darwin": "macOS"}.get(system, system), f"{system} {platform.release()}".strip()


def release() -> str:
    """Return this host's distribution and release (debian:bookworm, alpine:3.20), "" if unknown."""
    distribution, release = package_files.release(Path("/"))
    return release_name(distribution, release) if distribution and release else distribution


def _os_release() -> dict[str, str]:
    for file in _OS_RELEASE:
        with suppress(OSError):
            return parse_os_release(file.read_text(encoding="utf-8", errors="replace"))
    return {}


def identity() -> str:
    """Return what stays the same over reboots: the machine-id, else the host name."""
    with suppress(OSError):
        if text := _MACHINE_ID.read_text(encoding="ascii").strip():
            return text
    return socket.gethostname()


def hostname() -> str:
    """Return this host's name."""
    return socket.gethostname()
