"""The agent on a machine: from wheels alone, as a release of its own, with the unit of systemd/."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fleet import root
from tests.fleet.machine import Machine

_PROJECT = Path(__file__).parents[2]
_PIP_SECONDS = 300
RELEASE = "/opt/vedette/releases/test"
DROP_INS = "/etc/systemd/system/vedette.service.d"


def _pip(*words: str) -> None:
    done = subprocess.run(  # noqa: S603 - the tests' own command
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        timeout=_PIP_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, f"pip {' '.join(words)}: {done.stdout[-2000:]}"


def wheelhouse() -> Path:
    """Return a folder with the wheels of requirements.txt, each checked against its hash."""
    requirements = _PROJECT / "requirements.txt"
    mark = hashlib.sha256(requirements.read_bytes()).hexdigest()[:8]
    with root.locked(f"wheels-{root.release()}-{mark}") as folder:
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=root.CACHE) as made:
                # python-nmap comes as source only; .venv has the pinned setuptools that builds it.
                _pip(
                    *("wheel", "--quiet", "--require-hashes", "--only-binary", ":all:"),
                    *("--no-binary", "python-nmap", "--use-pep517", "--no-build-isolation"),
                    *("--wheel-dir", f"{made}/wheels", "-r", str(requirements)),
                )
                Path(made, "wheels").rename(folder)
    return folder


def own_wheel(machine: Machine) -> None:
    """Put the wheel of this very source tree there; made from a copy, as a build writes into it."""
    with tempfile.TemporaryDirectory() as copy:
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(_PROJECT / name, copy)
        shutil.copytree(
            _PROJECT / "agent", Path(copy, "agent"),
            ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"),
        )  # fmt: skip
        _pip(
            *("wheel", "--quiet", "--no-deps", "--no-build-isolation"),
            *("--wheel-dir", f"{copy}/wheels", copy),
        )
        machine.copy(Path(copy, "wheels"), "/root/wheels")


def install(machine: Machine, configuration: str) -> None:
    """Put agent, unit, user and configuration there. The machine needs no network for it."""
    machine.copy(wheelhouse(), "/root/wheels")
    own_wheel(machine)
    machine.exec("python3", "-m", "venv", RELEASE, seconds=_PIP_SECONDS)
    machine.exec(
        *(f"{RELEASE}/bin/pip", "install", "--quiet", "--no-index", "--find-links", "/root/wheels"),
        "vedette", seconds=_PIP_SECONDS,
    )  # fmt: skip
    machine.exec("ln", "-sfn", RELEASE, "/opt/vedette/current")
    machine.exec("useradd", "--system", "--user-group", "--no-create-home", "vedette")
    for unit in ("vedette.service", "vedette-inventory.service", "vedette-inventory.timer"):
        machine.copy(_PROJECT / "systemd" / unit, f"/etc/systemd/system/{unit}")
    machine.write("/etc/vedette/config.yaml", configuration)
    machine.exec("systemctl", "daemon-reload")


def drop_in(machine: Machine, name: str, text: str | None) -> None:
    """Put a drop-in there, or take it away."""
    if text is None:
        machine.exec("rm", "-f", f"{DROP_INS}/{name}.conf")
    else:
        machine.write(f"{DROP_INS}/{name}.conf", text)
    machine.exec("systemctl", "daemon-reload")
