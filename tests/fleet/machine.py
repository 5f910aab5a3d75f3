"""Debian machines with systemd as process 1: systemd-nspawn, each on an overlay of one root.

A fleet has a bridge and a subnet of its own, and its machines have no other network. Whatever
belongs to a run carries the number of its process, `vdf-<pid>`: what a killed run has left behind
can be told from what is in use, and is removed by the next one.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from tests import leftovers
from tests.fleet import root

T = TypeVar("T")

_OURS = re.compile(r"vdf-?(\d+)(-|$)")
_CGROUPS = Path("/sys/fs/cgroup")
# What the unit's ceilings need, beside systemd's own hierarchies.
_CONTROLLERS = ("memory", "pids", "cpu")
_SECONDS = 60.0
# Its address, also after a reboot.
_NETWORK = """[Unit]
Description=The address on the fleet's bridge
DefaultDependencies=no
Before=network.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=ip address replace {address}/24 dev host0
ExecStart=ip link set host0 up

[Install]
WantedBy=multi-user.target
"""


def wait_until(what: str, look: Callable[[], T | None], seconds: float = 30.0) -> T:
    """Return what `look` returns once that is true; fail in words after so long."""
    end = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.1)


def _run(*argv: str, seconds: float = _SECONDS) -> str:
    done = subprocess.run(  # noqa: S603 - the tests' own commands
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", check=False, timeout=seconds,
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(argv)} ended with {done.returncode}: {done.stdout}"
    return done.stdout


class Machine:
    """One machine, from `boot` to `remove`. address: its own, on the fleet's bridge."""

    def __init__(self, name: str, directory: Path, bridge: str, address: str, base: Path) -> None:
        self.name = name
        self.address = address
        self._base = base
        self.root = directory / "root"
        self._directory = directory
        self._bridge = bridge
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self.boot_seconds = 0.0

    def boot(self) -> None:
        """Start it; return when its systemd has nothing more to start."""
        started = time.monotonic()
        self._directory.mkdir()
        # In memory: fast, and an overlay cannot lie on an overlay, which a container's disk may be.
        _run("mount", "-t", "tmpfs", "-o", "size=2g,mode=700", self.name, str(self._directory))
        for name in ("root", "upper", "work"):
            (self._directory / name).mkdir()
        layers = f"lowerdir={self._base},upperdir={self._directory}/upper"
        options = f"{layers},workdir={self._directory}/work"
        _run("mount", "-t", "overlay", self.name, "-o", options, str(self.root))
        (self.root / "etc/hostname").write_text(f"{self.name}\n")
        (self.root / "etc/machine-id").write_text("")  # its own, made at boot
        units = self.root / "etc/systemd/system"
        (units / "fleet-network.service").write_text(_NETWORK.format(address=self.address))
        (units / "multi-user.target.wants").mkdir(exist_ok=True)
        (units / "multi-user.target.wants/fleet-network.service").symlink_to(
            "../fleet-network.service"
        )
        self._start()
        self.boot_seconds = time.monotonic() - started

    def reboot(self) -> None:
        """Have it reboot, and wait for that. systemd-nspawn ends, as for a manager of services."""
        assert self._supervisor is not None
        self.exec("systemctl", "reboot", "--no-block")
        self._supervisor.wait(_SECONDS)
        _remove_cgroups(self.name)
        self._start()

    def _start(self) -> None:
        groups = _make_cgroups(self.name)
        # It moves into cgroups of its own first, so that its systemd has a subtree to itself.
        enter = "".join(f'echo $$ > "{group}/cgroup.procs"; ' for group in groups)
        nspawn = (
            f"exec systemd-nspawn --quiet -D '{self.root}' -M {self.name} --boot --register=no"
            f" --keep-unit --network-bridge={self._bridge} --resolv-conf=off --timezone=off"
        )
        with (self._directory / "console").open("ab") as console:
            self._supervisor = subprocess.Popen(  # noqa: S603 - our own machine
                ["/bin/sh", "-ec", enter + nspawn],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
            )  # fmt: skip
        self._leader = wait_until("its process 1", self._find_leader, 20)
        wait_until("its systemd", self._is_up, 60)
        self._hand_over_controllers()

    def exec(self, *argv: str, seconds: float = _SECONDS) -> str:
        """Run a program in it as root; return what it prints. It must end well."""
        return _run(*self._command(*argv), seconds=seconds)

    def try_exec(self, *argv: str, seconds: float = _SECONDS) -> tuple[int, str]:
        """Run a program in it as root; return its exit status and what it prints."""
        done = subprocess.run(  # noqa: S603 - the tests' own commands
            self._command(*argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", check=False, timeout=seconds,
        )  # fmt: skip
        return done.returncode, done.stdout

    def copy(self, source: Path, target: str) -> None:
        """Copy a file or a folder into it."""
        there = self.path(target)
        there.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, there, dirs_exist_ok=True)
        else:
            shutil.copy(source, there)

    def write(self, target: str, text: str) -> None:
        """Write a file in it."""
        there = self.path(target)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(text)

    def path(self, path: str) -> Path:
        """Return where this host finds a file of it, as its own processes see it."""
        return Path(f"/proc/{self._leader}/root") / path.removeprefix("/")

    def alive(self) -> bool:
        """Whether its process 1 runs."""
        return self._supervisor is not None and self._supervisor.poll() is None

    def remove(self) -> None:
        """End all that runs in it, and leave nothing of it."""
        with suppress(ProcessLookupError):
            if self._leader:
                os.kill(self._leader, signal.SIGKILL)  # with process 1 its whole namespace ends
        if self._supervisor is not None:
            try:
                self._supervisor.wait(10)
            except subprocess.TimeoutExpired:
                self._supervisor.kill()
                self._supervisor.wait()
        _remove_cgroups(self.name)
        _remove_directory(self._directory)

    def console(self) -> str:
        """Return the last of what it has printed while booting."""
        with suppress(OSError):
            return (self._directory / "console").read_text(errors="replace")[-2000:]
        return ""

    def _command(self, *argv: str) -> list[str]:
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return [
            *("nsenter", "--all", "--target", str(self._leader), "--wdns=/"),
            *("env", "-i", f"PATH={path}", "LC_ALL=C.UTF-8", *argv),
        ]

    def _find_leader(self) -> int:
        assert self._supervisor is not None
        assert self.alive(), f"{self.name} does not boot: {self.console()}"
        own = self._supervisor.pid
        with suppress(OSError):
            for pid in Path(f"/proc/{own}/task/{own}/children").read_text().split():
                if Path(f"/proc/{pid}/comm").read_text() == "systemd\n":
                    return int(pid)
        return 0

    def _is_up(self) -> bool:
        assert self.alive(), f"{self.name} does not boot: {self.console()}"
        _, state = self.try_exec("systemctl", "is-system-running")
        return state.strip() in ("running", "degraded")

    def _hand_over_controllers(self) -> None:
        """Let its systemd enforce ceilings also where the host has cgroups of version 1.

        systemd-nspawn mounts those read-only, because the whole host's could be reached by them;
        here each is the machine's own subtree, in a namespace of its own.
        """
        if (_CGROUPS / "cgroup.controllers").exists():
            return
        for name in (mount.name for mount in _hierarchies() if mount.name in _CONTROLLERS):
            self.exec("mount", "-o", "remount,bind,rw", f"/sys/fs/cgroup/{name}")
        self.exec("systemctl", "daemon-reexec")  # it looks for them only when it starts
        wait_until("its systemd again", self._is_up)


class Fleet:
    """Machines on one bridge. network: its first three numbers, "10.98.7"."""

    def __init__(self) -> None:
        self.bridge = f"vdf{os.getpid()}"
        self.network = ""
        self.machines: list[Machine] = []
        root.CACHE.mkdir(parents=True, exist_ok=True)
        self.directory = Path(tempfile.mkdtemp(prefix=f"vdf-{os.getpid()}-", dir=root.CACHE))

    def create(self) -> None:
        """Make the bridge, with this host on .1."""
        with root.locked("networks"):  # of two that are made at once, each has its own
            taken = _run("ip", "-4", "route", "show", "table", "all")
            free = [f"10.98.{n}" for n in range(1, 255) if f" 10.98.{n}." not in f" {taken}"]
            assert free, "there is no free network 10.98.x.0/24"
            self.network = free[os.getpid() % len(free)]
            _run("ip", "link", "add", self.bridge, "type", "bridge")
            _run("ip", "address", "add", f"{self.network}.1/24", "dev", self.bridge)
            _run("ip", "link", "set", self.bridge, "up")

    def machine(self, base: Path | None = None) -> Machine:
        """Boot another one, from this root."""
        (machine,) = self.boot([base or root.base()])
        return machine

    def boot(self, bases: Iterable[Path]) -> list[Machine]:
        """Boot one from each of these roots, all at once: most of it is waiting."""
        made = []
        for number, base in enumerate(bases, 10 + len(self.machines)):
            name = f"vdf-{os.getpid()}-{number}"
            address = f"{self.network}.{number}"
            made.append(Machine(name, self.directory / name, self.bridge, address, base))
        self.machines += made
        with ThreadPoolExecutor(len(made)) as threads:
            list(threads.map(Machine.boot, made))  # which raises what went wrong
        return made

    def remove(self) -> None:
        """Remove all machines, and the bridge."""
        for machine in self.machines:
            machine.remove()
        with suppress(AssertionError):  # it may not have come so far
            _run("ip", "link", "delete", self.bridge)
        _remove_directory(self.directory)


@contextmanager
def fleet() -> Iterator[Fleet]:
    """Have a fleet, and nothing of it afterwards, whatever happens."""
    remove_leftovers()
    made = Fleet()
    try:
        made.create()
        yield made
    finally:
        made.remove()


def remove_leftovers() -> None:
    """Remove what runs that were killed could not remove themselves; one at a time does that."""
    with root.locked("leftovers"):
        _remove_leftovers()


def _remove_leftovers() -> None:
    for group in _cgroups_of(_is_left):
        for file in group.rglob("cgroup.procs"):
            with suppress(OSError):
                for pid in file.read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
    for name in {group.name for group in _cgroups_of(_is_left)}:
        _remove_cgroups(name)
    for directory in root.CACHE.glob("vdf-*"):
        if _is_left(directory.name):
            _remove_directory(directory)
    for line in _run("ip", "-o", "link", "show", "type", "bridge").splitlines():
        name = line.split(":")[1].strip()
        if _is_left(name):
            _run("ip", "link", "delete", name)


def _is_left(name: str) -> bool:
    return leftovers.is_left(name, _OURS)


def _hierarchies() -> list[Path]:
    """Return where cgroups are made: one mount of version 2, or some of version 1."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    return [
        path
        for name in ("systemd", "unified", *_CONTROLLERS)
        if os.access(path := _CGROUPS / name, os.W_OK)  # in a container they may be read-only
    ]


def _cgroups_of(chosen: Callable[[str], bool]) -> list[Path]:
    return [
        group for mount in _hierarchies() for group in mount.glob("vdf-*") if chosen(group.name)
    ]


def _make_cgroups(name: str) -> list[Path]:
    groups = [mount / name for mount in _hierarchies()]
    for group in groups:
        group.mkdir()
    if groups == [_CGROUPS / name]:
        with suppress(OSError):  # where they are on already, and the host's systemd keeps them
            (_CGROUPS / "cgroup.subtree_control").write_text(
                " ".join(f"+{controller}" for controller in _CONTROLLERS)
            )
    return groups


def _remove_cgroups(name: str) -> None:
    """Remove the cgroups of one machine; the kernel needs a moment after the last process."""
    for mount in _hierarchies():
        group = mount / name
        end = time.monotonic() + 5
        while group.exists():
            for inner in sorted(group.rglob("*"), reverse=True):
                if inner.is_dir():
                    with suppress(OSError):
                        inner.rmdir()
            with suppress(OSError):
                group.rmdir()
            if group.exists():
                assert time.monotonic() < end, f"{group} cannot be removed"
                time.sleep(0.05)


def _remove_directory(directory: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mountpoint in reversed(mounts):  # the innermost first
        if f"{mountpoint}/".startswith(f"{directory}/"):
            _run("umount", "--lazy", mountpoint)
    shutil.rmtree(directory)
