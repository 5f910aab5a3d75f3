"""`vedette inventory` on real servers: what dpkg-query says of them, and what an upgrade does."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.live.netns import V4, Namespace, output
from tests.live.running import VEDETTE
from tests.live.services import wait_until_open

pytestmark = pytest.mark.live

Yard = tuple[Namespace, Namespace, Path]
# As the unit has it: a namespace without network, and of root's power two capabilities.
SANDBOX = (
    "unshare", "--net", "setpriv", "--bounding-set=-all,+sys_ptrace,+dac_read_search", VEDETTE,
)  # fmt: skip


def listeners(*argv: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(output([*argv, "inventory", "--output", "-"]))[
        "listeners"
    ]
    return found


@pytest.mark.parametrize(
    ("port", "package"), [(22, "openssh-server"), (21, "vsftpd")], ids=["sshd", "vsftpd"]
)
def test_a_server_is_of_the_package_that_dpkg_names(yard: Yard, port: int, package: str) -> None:
    """From the unit's sandbox, across network and mount namespaces: exactly, and not by banner."""
    assert yard[0].pids()
    found = [  # another run's host may have the same address
        (row["package"], row["source_package"], row["version"], row["stale_executable"])
        for row in listeners(*SANDBOX)
        if (row["address"], row["port"]) == (V4, port)
    ]

    form = "-f=${source:Package} ${source:Version}"
    source, version = output(["dpkg-query", "-W", form, package]).split()
    assert (package, source, version, False) in found


def test_a_program_that_an_upgrade_replaced_is_stale(yard: Yard, tmp_path: Path) -> None:
    """An upgrade renames the new file over the old one, which runs on."""
    host = yard[1]
    program = tmp_path / "cache"
    found = shutil.which("memcached")
    assert found
    shutil.copy2(found, program)
    host.start([str(program), "-u", "root", "-U", "0", "-p", "11333"])
    wait_until_open(host, {11333})

    def stale() -> tuple[str, str, bool]:
        (row,) = {
            (row["executable"], row["package"], row["stale_executable"])
            for row in listeners(*host.command([VEDETTE]))
            if row["executable"] == str(program)
        }
        return row

    assert stale() == (str(program), "", False)
    shutil.copy2(found, tmp_path / "new")
    (tmp_path / "new").rename(program)
    assert stale() == (str(program), "", True)


def test_a_daemon_that_went_into_a_jail_is_the_hosts_program(yard: Yard, tmp_path: Path) -> None:
    """It opens its socket, then calls chroot(2), as named -t does: its files are out here."""
    host = yard[1]
    jail, script = tmp_path / "jail", tmp_path / "jailed.py"
    jail.mkdir()
    script.write_text(
        "import os, socket, time\n"
        "server = socket.create_server(('127.0.0.1', 11334))\n"
        f"os.chroot({str(jail)!r})\n"
        "time.sleep(60)\n"
    )
    host.start([sys.executable, str(script)])
    wait_until_open(host, {11334})

    found = [row for row in listeners(*host.command([VEDETTE])) if row["port"] == 11334]

    assert {row["executable"] for row in found} == {str(script)}
    assert not any("release" in row for row in found)


def test_the_file_is_roots_and_whole(yard: Yard, tmp_path: Path) -> None:
    """What the agent reads, readable by its group alone."""
    file = tmp_path / "run/listeners.json"
    output(yard[0].command([VEDETTE, "inventory", "--output", str(file)]))

    found = file.stat()
    assert (found.st_uid, found.st_mode & 0o777) == (0, 0o640)
    ports = {row["port"] for row in json.loads(file.read_text())["listeners"]}
    assert {21, 22} <= ports
