"""The agent on a machine: the release of this very source tree, with the unit of systemd/."""

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.fleet import root
from tests.fleet.machine import Machine

_PROJECT = Path(__file__).parents[2]
_SECONDS = 300
_INSTALLS = _PROJECT / "ansible/roles/vedette_agent/files/install.py"
RELEASE = "/opt/vedette/releases/test"
DROP_INS = "/etc/systemd/system/vedette.service.d"


def wheelhouse(output: Path, pythons: Iterable[str], source: Path = _PROJECT) -> Path:
    """Make a release as `./dev wheelhouse` does, with what was downloaded before."""
    with root.locked("downloads") as downloads:
        done = subprocess.run(  # noqa: S603 - the project's own program
            [
                sys.executable, str(_PROJECT / "ansible/make_wheelhouse.py"), *pythons,
                "--source", str(source), "--output", str(output), "--downloads", str(downloads),
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False, timeout=_SECONDS,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    return output / (output / "latest").read_text().strip()


def install(machine: Machine, configuration: str) -> None:
    """Put agent, unit, user and configuration there. The machine needs no network for it."""
    with tempfile.TemporaryDirectory(dir=root.CACHE) as made:
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        release = wheelhouse(Path(made), [python])
        for kind in ("tar", "txt"):
            (file,) = release.glob(f"*.{kind}")
            machine.copy(file, f"/opt/vedette/wheels.{kind}")
    machine.copy(_INSTALLS, "/root/install.py")
    machine.exec(
        "sh", "-c",
        f"python3 /root/install.py /opt/vedette/wheels.tar {RELEASE} < /opt/vedette/wheels.txt",
        seconds=_SECONDS,
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
