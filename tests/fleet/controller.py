"""Who rolls out: ansible-playbook over ssh, as a user who may use sudo and is not root."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fleet.installed import wheelhouse
from tests.fleet.machine import Machine

PROJECT = Path(__file__).parents[2]
ANSIBLE = PROJECT / "ansible"
USER = "admin"
_SECONDS = 600
_RECAP = re.compile(r"^(\S+)\s+: (ok=.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Played:
    """One run of a playbook. hosts: {host: {"ok": 12, "changed": 0, …}}."""

    code: int
    output: str
    hosts: Mapping[str, Mapping[str, int]]
    seconds: float

    def all(self, what: str) -> int:
        """Return the sum over all hosts, of "changed" for example."""
        return sum(host[what] for host in self.hosts.values())


class Controller:
    """A directory with the inventory, the key and the releases; playbooks are the project's own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.inventory = directory / "inventory"
        self.wheelhouse = directory / "wheelhouse"
        self._key = directory / "key"
        self._known = directory / "known_hosts"
        self._maker = ThreadPoolExecutor(1)
        self._made: dict[str, Future[Path]] = {}
        directory.mkdir()
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._key))
        self._known.touch()
        shutil.copytree(ANSIBLE / "inventory/example", self.inventory)

    def adopt(self, name: str, machine: Machine) -> None:
        """Make a machine the host of this name in the example inventory, reachable by ssh."""
        machine.exec("useradd", "--create-home", "--shell", "/bin/bash", USER)
        machine.write(
            f"/home/{USER}/.ssh/authorized_keys", self._key.with_suffix(".pub").read_text()
        )
        machine.exec("chown", "-R", f"{USER}:{USER}", f"/home/{USER}/.ssh")
        machine.exec("chmod", "-R", "go=", f"/home/{USER}/.ssh")
        machine.write(f"/etc/sudoers.d/{USER}", f"{USER} ALL=(ALL) NOPASSWD: ALL\n")
        machine.write("/etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {machine.name}\n")
        kind, key, *_ = machine.path("/etc/ssh/ssh_host_ed25519_key.pub").read_text().split()
        with self._known.open("a") as known:
            known.write(f"{machine.address} {kind} {key}\n")
        hosts = self.inventory / "hosts.yml"
        text, number = re.subn(
            rf"(?m)^( *{name}: \{{ ansible_host: )[0-9.]+ ",
            rf"\g<1>{machine.address} ",
            hosts.read_text(),
        )
        assert number == 1, f"the example inventory has no {name}"
        hosts.write_text(text)

    def play(self, playbook: str, *words: str, **variables: Any) -> Played:
        """Run a playbook of the project, with these words and extra variables."""
        given = {
            "vedette_agent_wheelhouse": str(self.wheelhouse),
            "vedette_knowledge_directory": str(self.directory / "knowledge"),
            "vedette_batches": ["100%"],  # after the canary; a tenth of so few is one
            **variables,
        }
        started = time.monotonic()
        done = subprocess.run(  # noqa: S603 - the tests' own command
            [  # noqa: S607 - wherever the distribution has it
                "setpriv", "--pdeathsig", "TERM",  # a run that is killed takes it along
                str(Path(sys.executable).with_name("ansible-playbook")), playbook,
                "--inventory", str(self.inventory), "--extra-vars", json.dumps(given), *words,
            ],
            cwd=ANSIBLE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False, timeout=_SECONDS,
            env={
                **os.environ,
                "HOME": str(self.directory),
                "ANSIBLE_SSH_ARGS": (
                    f"-F none -i {self._key} -o UserKnownHostsFile={self._known}"
                    " -o ControlMaster=auto -o ControlPersist=60s -o ConnectTimeout=5"
                ),
                "ANSIBLE_NOCOLOR": "1",
            },
        )  # fmt: skip
        hosts = {
            name: {key: int(value) for key, _, value in (x.partition("=") for x in rest.split())}
            for name, rest in _RECAP.findall(done.stdout)
        }
        return Played(done.returncode, done.stdout, hosts, time.monotonic() - started)

    def prepare(self, releases: Mapping[str, Mapping[str, str]]) -> None:
        """Have releases made meanwhile, one after the other. {version: {file: what is added}}."""
        for version, broken in releases.items():
            self._made[version] = self._maker.submit(self._make, version, broken)

    def release(self, version: str) -> Path:
        """Put a release that was prepared into the wheelhouse, as `./dev wheelhouse` does."""
        made = self._made.pop(version).result()
        self.wheelhouse.mkdir(exist_ok=True)
        release = made.rename(self.wheelhouse / version)
        (self.wheelhouse / "latest").write_text(f"{version}\n")
        return release

    def _make(self, version: str, broken: Mapping[str, str]) -> Path:
        """Make a release of the project with this version."""
        with tempfile.TemporaryDirectory(dir=self.directory) as name:
            source = Path(name)
            for file in (
                "pyproject.toml",
                "README.md",
                "LICENSE",
                "requirements.txt",
                "requirements-build.txt",
            ):
                shutil.copy(PROJECT / file, source)
            unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(PROJECT / "agent", source / "agent", ignore=unwanted)
            for changed in (source / "pyproject.toml", source / "agent/vedette/__init__.py"):
                text, number = re.subn(
                    r'(?m)^((?:__)?version(?:__)? = )".*"$', rf'\g<1>"{version}"',
                    changed.read_text(),
                )  # fmt: skip
                assert number == 1, f"{changed} has no version"
                changed.write_text(text)
            for file, text in broken.items():
                with (source / file).open("a") as end:
                    end.write(text)
            return wheelhouse(self.directory / "made", ("3.11", "3.12", "3.13"), source)


def _run(*argv: str) -> str:
    done = subprocess.run(  # noqa: S603 - the tests' own commands
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False, timeout=_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout[-2000:]}"
    return done.stdout
