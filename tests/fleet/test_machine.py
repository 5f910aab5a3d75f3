"""machine.py: what a machine can reach, and that nothing of it is left."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet import root
from tests.fleet.machine import Fleet, remove_leftovers, wait_until

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(120, func_only=True)]

# Boots a machine, says so, and waits for its end.
KILLED = """
from tests.fleet.machine import fleet
with fleet() as made:
    made.machine()
    print("booted", flush=True)
    input()
"""


def traces(pid: int) -> list[str]:
    """Return what there is of the run of this process."""
    links = Path("/sys/class/net").glob(f"vdf{pid}")
    groups = Path("/sys/fs/cgroup").glob(f"**/vdf-{pid}-*")
    directories = root.CACHE.glob(f"vdf-{pid}-*")
    mounts = Path("/proc/self/mounts").read_text().split()
    return [
        *(str(path) for paths in (links, groups, directories) for path in paths),
        *(mount for mount in mounts if f"/vdf-{pid}-" in mount),
    ]


def test_a_machine_reaches_its_bridge_and_nothing_else(fleet: Fleet) -> None:
    """What is tested there cannot quietly come from the internet."""
    machine = fleet.machine()
    routes = machine.exec("ip", "-4", "route").splitlines()

    assert [line.split()[0] for line in routes] == [f"{fleet.network}.0/24"]
    assert machine.exec("hostname").strip() == machine.name
    assert machine.try_exec("getent", "hosts", "deb.debian.org")[0] != 0


def test_what_a_killed_run_has_left_is_removed_by_the_next() -> None:
    """Bridge, machine, mounts, cgroups: and only those of the dead."""
    child = subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"booted\n"
        before = traces(child.pid)
        remove_leftovers()
        alive = traces(child.pid)
    finally:
        child.kill()
        child.wait()
    killed = traces(child.pid)
    remove_leftovers()

    wait_until("the end of the interfaces", lambda: not traces(child.pid), 5)
    assert len(before) >= 4
    assert before == alive == killed
