"""Hosts of our own to test on: network namespaces joined by a cable, and nothing left of them."""

import ctypes
import fcntl
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypeVar

from tests import leftovers

T = TypeVar("T")

# vdt-<pid of the test run>-<what>: what an earlier run left behind can be told from ours.
_OURS = re.compile(r"vdt-(\d+)-")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def wait_for(what: str, look: Callable[[], T | None], seconds: float) -> T:
    """Return what `look` returns once that is true; fail in words after so long."""
    end = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.1)


def output(argv: Sequence[str]) -> str:
    """Return what a program prints on both outputs. It must end well."""
    done = subprocess.run(  # noqa: S603 - fixed programs
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout}"
    return done.stdout


def end(child: subprocess.Popen[bytes], seconds: float = 5.0) -> None:
    """End a child of ours, kindly at first."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
    child.wait()


class Namespace:
    """One network namespace; to the programs in it, a host."""

    def __init__(self, what: str) -> None:
        self.name = f"vdt-{os.getpid()}-{what}"
        self._children: list[subprocess.Popen[bytes]] = []

    def create(self) -> None:
        """Make it, with nothing but loopback."""
        output(["ip", "netns", "add", self.name])
        self.ip("link", "set", "lo", "up")

    def ip(self, *words: str) -> str:
        """Run `ip` in it."""
        return output(["ip", "-n", self.name, *words])

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the command that runs `argv` in it, under the same process id.

        Unlike a bare setns it has this namespace's /sys, and mounts of its own.
        """
        return ["ip", "netns", "exec", self.name, *argv]

    def start(
        self,
        argv: Sequence[str],
        *,
        log: IO[bytes] | int = subprocess.DEVNULL,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a program in it; it ends with the namespace at the latest."""
        child = subprocess.Popen(  # noqa: S603 - the tests' own commands
            self.command(argv),
            stdin=stdin,
            stdout=log,
            stderr=log,
            env={**os.environ, **(env or {})},
        )
        self._children.append(child)
        return child

    def run(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, seconds: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in it to its end, whatever that is."""
        return subprocess.run(  # noqa: S603 - the tests' own commands
            self.command(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env={**os.environ, **(env or {})},
            timeout=seconds,
        )

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Have this thread in it: the sockets it makes meanwhile stay there for good."""
        with (
            Path("/proc/thread-self/ns/net").open("rb") as home,
            Path("/run/netns", self.name).open("rb") as there,
        ):
            _enter(there)
            try:
                yield
            finally:
                _enter(home)

    def connect(self, address: str, port: int, seconds: float = 5.0) -> socket.socket:
        """Return a TCP connection from this host."""
        with self.entered():
            return socket.create_connection((address, port), seconds)

    def pids(self) -> set[int]:
        """Return the processes in it."""
        return {int(pid) for pid in output(["ip", "netns", "pids", self.name]).split()}

    def processes(self, *names: str) -> dict[int, str]:
        """Return {pid: command line} of the processes in it whose line has one of these words."""
        lines = {}
        for pid in self.pids():
            with suppress(OSError):  # it has ended meanwhile
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                if any(name in line for name in names):
                    lines[pid] = line
        return lines

    def listening(self) -> set[tuple[str, str, int]]:
        """Return {(transport, address, port)} that `ss` shows; * is written as 0.0.0.0 or ::."""
        found = set()
        for line in output(self.command(["ss", "-Hlntu"])).splitlines():
            transport, _, _, _, local = line.split()[:5]
            address, _, port = local.rpartition(":")
            address = address.split("%")[0].strip("[]").replace("*", "::")
            found.add((transport, address, int(port)))
        return found

    def remove(self) -> None:
        """End all that runs in it, and it."""
        for child in self._children:
            end(child)
        _kill(self.pids())
        output(["ip", "netns", "del", self.name])


def _enter(namespace: IO[bytes]) -> None:
    if _libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "setns")


def _kill(pids: set[int]) -> None:
    """End processes that were found in a namespace of ours, so are ours."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, 9)


def remove_leftovers() -> None:
    """Remove what a run of these tests that was killed could not remove itself."""
    with Path(__file__).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another of the tests' processes may be about to
        _remove_leftovers()


def _remove_leftovers() -> None:
    for line in output(["ip", "netns", "list"]).splitlines():
        name = line.split(" ")[0]
        if _is_left(name):
            _kill({int(pid) for pid in output(["ip", "netns", "pids", name]).split()})
            output(["ip", "netns", "del", name])
    for directory in Path(tempfile.gettempdir()).glob("vdt-*-*"):
        if _is_left(directory.name):
            shutil.rmtree(directory)


def _is_left(name: str) -> bool:
    return leftovers.is_left(name, _OURS)


@contextmanager
def directory(what: str) -> Iterator[Path]:
    """Have a temporary directory that other users may read."""
    with tempfile.TemporaryDirectory(prefix=f"vdt-{os.getpid()}-{what}-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def lone_host(what: str) -> Iterator[Namespace]:
    """Have a host with loopback alone."""
    namespace = Namespace(what)
    try:
        namespace.create()
        yield namespace
    finally:
        if Path("/run/netns", namespace.name).exists():
            namespace.remove()


V4, V6 = "10.99.0.1", "fd99::1"
PEER_V4, PEER_V6 = "10.99.0.2", "fd99::2"


def cable(host: Namespace, peer: Namespace) -> None:
    """Join a host (V4, V6) and a peer (PEER_V4, PEER_V6) by an eth0 each."""
    # Made right where it belongs, and as eth0: what is called veth… counts as virtual.
    host.ip(
        *("link", "add", "eth0", "type", "veth"),
        *("peer", "name", "eth0", "netns", peer.name),
    )
    for namespace, *addresses in ((host, V4, V6), (peer, PEER_V4, PEER_V6)):
        for address, bits in zip(addresses, (24, 64), strict=True):
            nodad = () if bits == 24 else ("nodad",)
            namespace.ip("addr", "add", f"{address}/{bits}", "dev", "eth0", *nodad)
        namespace.ip("link", "set", "eth0", "up")


@contextmanager
def two_hosts(what: str) -> Iterator[tuple[Namespace, Namespace]]:
    """Have a host (V4, V6) and a peer (PEER_V4, PEER_V6) with a cable between their eth0."""
    with lone_host(what) as host, lone_host(f"{what}-peer") as peer:
        cable(host, peer)
        yield host, peer
