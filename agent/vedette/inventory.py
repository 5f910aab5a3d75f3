"""`vedette inventory`: which package is behind each listening socket, for the agent to read.

It needs root's eyes (CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH), and therefore has no network, ends at
once, and loads nothing but the standard library. What it writes:

{"generated": Unix seconds, "distribution": "debian", "release": "bookworm", "listeners": [
  {"address", "port", "transport", "process", "executable", "package", "source_package", "version",
   "stale_executable"}]}

What is not known is "". version is the source package's. A container's listener has its own
"distribution" and "release"; one whose program an interpreter runs names it ("interpreter"), and
"executable" is then the script, the archive, or, where neither is known, the interpreter.
"""

import argparse
import grp
import itertools
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vedette.edges import listening, package_files
from vedette.edges.listening import Address, Process, Socket
from vedette.errors import NotPermitted

DEFAULT_OUTPUT = Path("/run/vedette/listeners.json")
_GROUP = "vedette"
_PROC = Path("/proc")

_INTERPRETER = re.compile(
    r"^(python|perl|ruby|node|java|php|lua|tclsh|bash|dash|sh|beam|mono|dotnet)[\d.]*(\.smp)?$"
)
_PROXY = "docker-proxy"
_UNITS = (
    "/etc/systemd/system", "/run/systemd/system", "/run/systemd/generator",
    "/usr/lib/systemd/system", "/lib/systemd/system",
)  # fmt: skip
_UNIT_SIZE = 256 << 10  # bytes


@dataclass(frozen=True, slots=True)
class Program:
    """What serves a socket. file: below root, what to look up; "" if nothing is known of it."""

    root: Path
    process: str = ""
    file: str = ""
    interpreter: str = ""
    stale: bool = False


def main(words: list[str], parser: Callable[..., argparse.ArgumentParser]) -> int:
    """Run the command; return its exit code."""
    text = "Write down which package is behind each listening socket. As root; takes no network."
    command = parser(prog="vedette inventory", description=text)
    command.add_argument(
        "--output", metavar="FILE", default=str(DEFAULT_OUTPUT),
        help=f"default: {DEFAULT_OUTPUT}; - is standard output",
    )  # fmt: skip
    given = command.parse_args(words)
    document, refused = take(_PROC, time.time())
    if refused:
        print(
            f"vedette: {refused} processes may not be looked at: run as root, or grant"
            " CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH",
            file=sys.stderr,
        )
    content = json.dumps(document, indent=1) + "\n"
    try:
        if given.output == "-":
            sys.stdout.write(content)
        else:
            write(Path(given.output), content)
    except NotPermitted as exc:
        print(f"vedette: {exc}", file=sys.stderr)
        return 1
    return 0


def write(path: Path, content: str) -> None:
    """Put the file there at once, for root and the agent's group. Raises NotPermitted."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(content)
                _share(handle)
            temporary.replace(path)
        except BaseException:
            temporary.unlink()
            raise
    except OSError as exc:
        raise NotPermitted(f"{path} cannot be written: {exc.strerror}") from exc


def _share(handle: int) -> None:
    with suppress(KeyError):  # there is no such group: the agent runs as somebody else
        group = grp.getgrnam(_GROUP).gr_gid
        if os.geteuid() == 0 and os.fstat(handle).st_gid != group:
            os.fchown(handle, -1, group)
    os.fchmod(handle, 0o640)


def take(proc: Path, now: float) -> tuple[dict[str, Any], int]:
    """Return the document, and how many processes could not be looked at."""
    host, pids = listening.host_root(proc), listening.pids(proc)
    held, refused = listening.holders(proc, pids)
    found = list(_sockets(proc, pids))
    programs = {
        socket.inode: _program(proc, host, held[socket.inode], socket)
        for _, socket in found
        if socket.inode in held
    }
    nobody = Program(host)
    rows = [(address, socket, programs.get(socket.inode, nobody)) for address, socket in found]
    rows = _behind_proxies(rows, _commands(proc, host, held, rows))
    wanted: dict[Path, set[str]] = {}
    for _, _, program in rows:
        if program.file:
            wanted.setdefault(program.root, set()).add(program.file)
    packages = {root: package_files.owners(root, files) for root, files in wanted.items()}
    distribution, release = package_files.release(host)
    releases = {root: package_files.release(root) for root in wanted if root != host}
    listeners = [
        _row(address, socket, program, packages.get(program.root, {}), releases.get(program.root))
        for address, socket, program in rows
    ]
    unique = {json.dumps(row): row for row in listeners}  # SO_REUSEPORT: a socket for each worker
    return {
        "generated": int(now),
        "distribution": distribution,
        "release": release,
        "listeners": sorted(
            unique.values(), key=lambda row: (row["transport"], row["port"], row["address"])
        ),
    }, refused


def _row(
    address: Address,
    socket: Socket,
    program: Program,
    packages: Mapping[str, package_files.Package],
    own_release: tuple[str, str] | None,
) -> dict[str, Any]:
    # The interpreter's package is not the product that it runs.
    package = packages.get(program.file) if program.file != program.interpreter else None
    row: dict[str, Any] = {
        "address": str(address),
        "port": socket.port,
        "transport": socket.transport,
        "process": program.process,
        "executable": program.file,
        "package": package.name if package else "",
        "source_package": package.source if package else "",
        "version": package.version if package else "",
        "stale_executable": program.stale,
    }
    if program.interpreter:
        row["interpreter"] = program.interpreter
    if own_release is not None:
        row["distribution"], row["release"] = own_release
    return row


def _sockets(proc: Path, pids: Iterable[int]) -> Iterator[tuple[Address, Socket]]:
    """Yield each listening socket of every network namespace, with the address to ask it on.

    Those of the host as they are, and those of the namespace this runs in, if somebody has asked
    there; the unit's own is empty. Of the others only what the host can reach: 0.0.0.0 in there is
    not 0.0.0.0 out here.
    """
    own = set(listening.namespaces(proc, [1, os.getpid()]))
    for name, pid in listening.namespaces(proc, {1: None, **dict.fromkeys(pids)}).items():
        net = proc / str(pid) / "net"
        try:
            found = listening.sockets(net)
            addresses = [] if name in own or not found else listening.own_addresses(net)
        except OSError:  # its last process is gone
            continue
        for socket in found:
            if name in own:
                yield socket.address, socket
            elif socket.address.is_unspecified:
                # One of IPv6 answers on IPv4, too.
                most = socket.address.version
                yield from ((one, socket) for one in addresses if one.version <= most)
            elif socket.address in addresses:
                yield socket.address, socket


def _program(proc: Path, host: Path, holders: list[int], socket: Socket) -> Program:
    process = listening.process(proc, listening.topmost(proc, holders), host)
    if process is None:
        return Program(host)
    if process.pid == 1 and (service := _activated(host, socket)):
        return service
    root = process.root if process.container else host
    if not _INTERPRETER.match(Path(process.executable).name):
        return Program(root, process.name, process.executable, stale=process.stale)
    script = _script(process)
    return Program(
        root, process.name, script or process.executable, process.executable, process.stale
    )


def _script(process: Process) -> str:
    """Return the file that an interpreter runs, "" if its command line does not tell."""
    words = process.command[1:]
    if Path(process.executable).name == "java":
        named = [after for word, after in itertools.pairwise(words)
                 if word in {"-jar", "-cp", "-classpath", "--class-path"}]  # fmt: skip
        candidates = [jar for name in named for jar in name.split(":")]
    else:
        candidates = [word for word in words if not word.startswith("-")][:1]
        if words[:1] in (("-c",), ("-m",)):
            return ""
    for name in candidates:
        if name.startswith("/") and (file := listening.within(process.root, name)).is_file():
            return f"/{file.relative_to(process.root)}"
    return ""


# ---- who is meant, where systemd or docker holds the socket ----


def _activated(root: Path, socket: Socket) -> Program | None:
    """Return the service for which systemd listens (systemd.socket(5))."""
    for directory in _UNITS:
        with suppress(OSError):
            for file in sorted(listening.within(root, directory).glob("*.socket*")):
                stem = file.name.partition(".socket")[0]
                for unit in [file] if file.name.endswith(".socket") else file.glob("*.conf"):
                    settings = _unit(unit)
                    if any(_means(words, socket) for words in settings.get("Listen", ())):
                        return _service(root, stem, settings)
    return None


def _unit(file: Path) -> dict[str, list[str]]:
    """Return a unit file's settings, with all that a socket listens on under "Listen"."""
    settings: dict[str, list[str]] = {}
    with suppress(OSError):
        text = listening.read_within(file.parent, file.name, _UNIT_SIZE).decode(errors="replace")
        for line in text.splitlines():
            key, equals, value = line.partition("=")
            if equals and not key.startswith(("#", ";")):
                if key in {"ListenStream", "ListenDatagram"}:
                    key, value = "Listen", f"{'tcp' if key == 'ListenStream' else 'udp'} {value}"
                settings.setdefault(key.strip(), []).append(value.strip())
    return settings


def _means(words: str, socket: Socket) -> bool:
    transport, _, address = words.partition(" ")
    return transport == socket.transport and re.search(rf"(^|:){socket.port}$", address) is not None


def _service(root: Path, stem: str, settings: Mapping[str, list[str]]) -> Program | None:
    names = [*settings.get("Service", ()), f"{stem}.service", f"{stem}@.service"]
    for name in names:
        for directory in _UNITS:
            unit = listening.within(root, f"{directory}/{name}")
            for line in _unit(unit).get("ExecStart", ()):
                with suppress(ValueError, IndexError):  # no command that can be read
                    file = shlex.split(line)[0].lstrip("-@:+!")
                    path = f"/{listening.within(root, file).relative_to(root)}"
                    return Program(root, Path(path).name, path)
    return None


Found = tuple[Address, Socket, Program]


def _commands(
    proc: Path, host: Path, held: Mapping[int, list[int]], rows: Iterable[Found]
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (socket, command line) of each docker-proxy."""
    for _, socket, program in rows:
        if program.process == _PROXY:
            process = listening.process(proc, listening.topmost(proc, held[socket.inode]), host)
            if process is not None:
                yield socket.inode, process.command


def _behind_proxies(
    rows: Iterable[Found], commands: Iterable[tuple[int, tuple[str, ...]]]
) -> list[Found]:
    """Name what a docker-proxy passes its peers on to, instead of it."""
    rows = list(rows)
    listening_at = {
        (str(address), socket.transport, socket.port): program for address, socket, program in rows
    }
    behind = {}
    for inode, command in commands:
        told = dict(itertools.pairwise(command))
        port = told.get("-container-port", "")
        key = (
            told.get("-container-ip", ""), told.get("-proto", ""),
            int(port) if port.isdecimal() else 0,
        )  # fmt: skip
        if key in listening_at:
            behind[inode] = listening_at[key]
    return [(address, socket, behind.get(socket.inode, one)) for address, socket, one in rows]
