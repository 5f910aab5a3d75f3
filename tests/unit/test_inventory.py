"""inventory.py: a /proc and package databases made of files in, the document out."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette import inventory
from vedette.edges import listening, package_files, packages
from vedette.errors import BadOutput
from vedette.scanned import Installed

ANYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid inode\n"
DPKG = """\
Package: openssh-server
Status: install ok installed
Architecture: amd64
Source: openssh
Version: 1:9.2p1-2+deb12u3
Description: secure shell (SSH) server
 Package: this line is only of the description

Package: bash
Status: install ok installed
Architecture: amd64
Source: bash (5.2.15-2)
Version: 5.2.15-2+b8

Package: nginx-common
Status: deinstall ok config-files
Architecture: all
Source: nginx
Version: 1.18.0-6

Package: better-ssh
Status: install ok installed
Architecture: all
Version: 3
"""
APK = """\
P:redis
V:7.0.15-r1
o:redis
F:usr/bin
R:vdt-redis
R:redis-cli

P:busybox-extras
V:1.36.1-r20
o:busybox
F:bin
R:busybox-extras
"""


class Fake:
    """A /proc, its processes and the file systems that they see."""

    def __init__(self, where: Path) -> None:
        self.proc, self.host = where / "proc", where / "host"
        self.file("etc/os-release", "ID=debian\nVERSION_CODENAME=bookworm\nVERSION_ID=12\n")
        self.file("var/lib/dpkg/status", DPKG)
        self.lists("openssh-server", "/.", "/usr/sbin/vdt-sshd", "/usr/share/doc")
        self.lists("bash", "/bin/vdt-bash")
        self._sockets: dict[str, list[str]] = {}
        self.process(1, "systemd", "/usr/lib/systemd/vdt-systemd")

    def file(self, path: str, text: str, root: Path | None = None) -> Path:
        file = (root or self.host) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def lists(self, package: str, *files: str) -> None:
        self.file(f"var/lib/dpkg/info/{package}.list", "\n".join(files) + "\n")

    def process(
        self,
        pid: int,
        name: str,
        executable: str,
        *,
        parent: int = 1,
        root: Path | None = None,
        net: str = "net:[1]",
        inodes: Sequence[int] = (),
        command: Sequence[str] = (),
    ) -> None:
        here, root = self.proc / str(pid), root or self.host
        (here / "fd").mkdir(parents=True)
        (here / "ns").mkdir()
        (here / "net").mkdir()
        (here / "ns/net").symlink_to(net)
        (here / "root").symlink_to(root)
        # Names that no machine has: the kernel's link leads to the file, this one must not.
        (here / "exe").symlink_to(executable)
        (here / "cmdline").write_text("\0".join(command or [executable]) + "\0")
        (here / "stat").write_text(f"{pid} ({name}) S {parent} 0 0\n")
        for number, inode in enumerate(inodes):
            (here / f"fd/{number}").symlink_to(f"socket:[{inode}]")
        for transport in ("tcp", "udp", "tcp6"):
            (here / "net" / transport).write_text(HEAD)
        (here / "net/fib_trie").write_text(
            "Main:\n  |-- 172.17.0.2\n     /32 host LOCAL\n  |-- 127.0.0.1\n     /32 host LOCAL\n"
        )

    def listens(
        self, pid: int, local: str, inode: int, *, transport: str = "tcp", state: str = "0A"
    ) -> None:
        line = f"   0: {local} 00000000:0000 {state} 0:0 00:00000000 00000000 0 0 {inode}\n"
        with (self.proc / f"{pid}/net/{transport}").open("a") as file:
            file.write(line)

    def rows(self) -> list[dict[str, Any]]:
        document, refused = inventory.take(self.proc, 1000.0)
        assert refused == 0
        json.dumps(document)  # it can be written
        found: list[dict[str, Any]] = document["listeners"]
        return found


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    """A Debian host on which nobody listens yet."""
    return Fake(tmp_path)


def test_a_listener_has_its_program_package_and_version_of_the_source(fake: Fake) -> None:
    """The form that the agent reads. Fixes are known for the source package."""
    fake.process(10, "sshd", "/usr/sbin/vdt-sshd", inodes=[7])
    fake.listens(1, "00000000:0016", 7)

    document, refused = inventory.take(fake.proc, 1000.5)

    assert refused == 0
    assert document == {
        "generated": 1000,
        "distribution": "debian",
        "release": "bookworm",
        "listeners": [
            {
                "address": ANYWHERE,
                "port": 22,
                "transport": "tcp",
                "process": "sshd",
                "executable": "/usr/sbin/vdt-sshd",
                "package": "openssh-server",
                "source_package": "openssh",
                "version": "1:9.2p1-2+deb12u3",
                "stale_executable": False,
            }
        ],
    }
    (entry,) = packages.parse(document).listeners
    assert entry.package == Installed("debian:bookworm", "openssh", "1:9.2p1-2+deb12u3")


def test_a_replaced_program_is_stale_and_still_found(fake: Fake) -> None:
    """An upgrade has changed the file; what runs is the old one until somebody restarts it."""
    fake.process(10, "sshd", "/usr/sbin/vdt-sshd (deleted)", inodes=[7])
    fake.listens(1, "00000000:0016", 7)

    (row,) = fake.rows()

    assert (row["executable"], row["source_package"], row["stale_executable"]) == (
        "/usr/sbin/vdt-sshd", "openssh", True,
    )  # fmt: skip


def test_usr_is_merged_and_a_rebuild_has_the_version_of_its_source(fake: Fake) -> None:
    """Listed: /bin/bash, running: /usr/bin/bash; 5.2.15-2+b8 is built of 5.2.15-2."""
    fake.process(10, "bash", "/usr/bin/vdt-bash", inodes=[7])
    fake.listens(1, "0100007F:1F90", 7, transport="udp", state="07")

    (row,) = fake.rows()

    assert (row["transport"], row["address"], row["port"]) == ("udp", "127.0.0.1", 8080)
    assert (row["package"], row["version"]) == ("bash", "5.2.15-2")


@pytest.mark.parametrize(
    ("executable", "package"),
    [("/usr/sbin/vdt-sshd", "better-ssh"), ("/usr/sbin/vdt-sshd.real", "openssh-server")],
)
def test_a_diverted_file_belongs_to_who_owned_its_name(
    fake: Fake, executable: str, package: str
) -> None:
    """One package has moved the file of another away and put its own there."""
    fake.lists("better-ssh", "/usr/sbin/vdt-sshd")
    fake.file(
        "var/lib/dpkg/diversions", "/usr/sbin/vdt-sshd\n/usr/sbin/vdt-sshd.real\nbetter-ssh\n"
    )
    fake.process(10, "sshd", executable, inodes=[7])
    fake.listens(1, "00000000:0016", 7)

    assert [row["package"] for row in fake.rows()] == [package]


def test_of_many_processes_the_one_that_started_them_is_named(fake: Fake) -> None:
    """Workers share the socket; systemd keeps a hand on what it has handed on."""
    fake.process(12, "worker", "/opt/vdt-worker", parent=20, inodes=[7])
    fake.process(20, "master", "/opt/vdt-master", inodes=[7])
    (fake.proc / "1/fd/9").symlink_to("socket:[7]")
    fake.listens(1, "00000000:0050", 7)

    (row,) = fake.rows()

    assert (row["process"], row["executable"], row["package"]) == ("master", "/opt/vdt-master", "")


def test_a_socket_of_the_kernel_has_no_program(fake: Fake) -> None:
    """NFS and WireGuard listen without a process; a connected or closing socket does not."""
    fake.listens(1, "00000000:0801", 7)
    fake.listens(1, "00000000:0802", 8, state="01")

    assert [(row["port"], row["process"], row["executable"]) for row in fake.rows()] == [
        (2049, "", "")
    ]


def test_a_container_is_judged_by_its_own_packages(fake: Fake, tmp_path: Path) -> None:
    """And listens where the host can reach it: on its addresses, not on everything out here."""
    alpine = tmp_path / "alpine"
    fake.file("etc/os-release", "ID=alpine\nVERSION_ID=3.20.3\n", alpine)
    fake.file("lib/apk/db/installed", APK, alpine)
    fake.process(30, "redis-server", "/usr/bin/vdt-redis", root=alpine, net="net:[2]", inodes=[8])
    fake.listens(30, "00000000:18EB", 8)
    fake.listens(30, "0100007F:1000", 9)  # the container's own loopback
    fake.process(
        40, "docker-proxy", "/usr/bin/vdt-docker-proxy", inodes=[7],
        command=["docker-proxy", "-proto", "tcp", "-host-ip", ANYWHERE, "-host-port", "6380",
                 "-container-ip", "172.17.0.2", "-container-port", "6379"],
    )  # fmt: skip
    fake.listens(1, "00000000:18EC", 7)

    inside, proxied = fake.rows()

    assert (inside["address"], inside["port"]) == ("172.17.0.2", 6379)
    assert (proxied["address"], proxied["port"]) == (ANYWHERE, 6380)
    for row in (inside, proxied):
        assert (row["source_package"], row["version"]) == ("redis", "7.0.15-r1")
        assert (row["distribution"], row["release"]) == ("alpine", "3.20")


def test_an_interpreter_is_not_what_it_runs(fake: Fake) -> None:
    """Python's vulnerabilities are not those of the program written in it."""
    fake.file("usr/bin/vdt-server", "")
    fake.lists("bash", "/usr/bin/vdt-server", "/usr/bin/python3.99")
    fake.process(
        10, "server", "/usr/bin/python3.99", inodes=[7],
        command=["/usr/bin/python3.99", "-I", "/usr/bin/vdt-server", "--port", "80"],
    )  # fmt: skip
    fake.process(
        11, "python", "/usr/bin/python3.99", inodes=[8], command=["python3", "-m", "http.server"]
    )
    fake.listens(1, "00000000:0050", 7)
    fake.listens(1, "00000000:0051", 8)

    script, module = fake.rows()
    document, _ = inventory.take(fake.proc, 1000)

    assert (script["executable"], script["package"]) == ("/usr/bin/vdt-server", "bash")
    assert (module["executable"], module["package"]) == ("/usr/bin/python3.99", "")
    assert module["interpreter"] == "/usr/bin/python3.99"
    assert [entry.own_build for entry in packages.parse(document).listeners] == [False, False]


def test_systemd_listens_for_a_service(fake: Fake) -> None:
    """Ubuntu's ssh: process 1 holds the socket until the first peer comes."""
    (fake.proc / "1/fd/9").symlink_to("socket:[7]")
    fake.listens(1, "00000000:0016", 7)
    fake.file("usr/sbin/vdt-sshd", "")
    unit = "usr/lib/systemd/system/ssh"
    fake.file(f"{unit}.socket", "[Socket]\nListenStream=0.0.0.0:22\n")
    fake.file(f"{unit}.service", "[Service]\nExecStart=-/usr/sbin/vdt-sshd -D $OPTIONS\n")

    (row,) = fake.rows()

    assert (row["process"], row["package"]) == ("vdt-sshd", "openssh-server")


def test_a_containers_links_stay_inside_it(tmp_path: Path) -> None:
    """Who controls a container must not make root read the host's files for it."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").symlink_to("../../../etc/shadow")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")

    assert listening.within(tmp_path, "/etc/os-release") == tmp_path / "etc/shadow"
    for path in ("/etc/os-release", "/loop", "/pipe"):
        with pytest.raises(OSError, match=r"."):
            listening.read_within(tmp_path, path, 10)


def test_the_file_is_complete_or_not_there(tmp_path: Path) -> None:
    """The agent may read at any moment; others on the host never."""
    file = tmp_path / "run/listeners.json"
    inventory.write(file, "old")
    inventory.write(file, "new")

    assert file.read_text() == "new"
    assert file.stat().st_mode & 0o777 == 0o640
    assert list(file.parent.iterdir()) == [file]


LINES = st.lists(st.sampled_from([HEAD, DPKG, "   0: 00000000:0016 00000000:0000 0A x x x 0 0 7"]))


@given(st.one_of(st.text(), LINES.map("\n".join)))
def test_any_socket_table_is_sockets_or_bad_output(text: str) -> None:
    """The kernel's format has grown before."""
    try:
        found = list(listening.parse_sockets("tcp", text))
    except BadOutput:
        return
    assert all(0 <= one.port < 2**16 for one in found)


FIELDS = st.lists(
    st.sampled_from(
        [
            "Package: a",
            "Version: 1",
            "Source: b (2)",
            "Source: (",
            "Status: x installed",
            " more",
            "",
            ":",
            "P:a",
            "V:1",
            "F:d",
            "R:f",
            "o:c",
        ]
    )
)


@given(st.one_of(st.text(), FIELDS.map("\n".join)))
def test_any_database_is_packages(text: str) -> None:
    """A container's database is a stranger's file: every package has a name and a version."""
    found = [
        *package_files.parse_dpkg(text).values(),
        *(p for p, _ in package_files.parse_apk(text)),
    ]
    assert all(one.name and one.version for one in found)


def test_rpm_names_the_source() -> None:
    """httpd-core is built of httpd; an epoch counts in every comparison."""
    line = "httpd-core\thttpd-2.4.57-11.el9_4.1.src.rpm\t1\t2.4.57-11.el9_4.1"

    assert package_files.parse_rpm(line) == package_files.Package(
        "httpd-core", "httpd", "1:2.4.57-11.el9_4.1"
    )
    assert package_files.parse_rpm("file /usr/sbin/httpd is not owned by any package") is None


def test_what_was_started_below_another_root_is_of_the_packages_there(
    fake: Fake, tmp_path: Path
) -> None:
    """chroot(8): the kernel names its program from our root on, its packages are in there."""
    alpine = tmp_path / "alpine"
    fake.file("etc/os-release", "ID=alpine\nVERSION_ID=3.20.3\n", alpine)
    fake.file("lib/apk/db/installed", APK, alpine)
    fake.process(30, "redis-server", f"{alpine}/usr/bin/vdt-redis", root=alpine, inodes=[8])
    fake.listens(1, "00000000:18EB", 8)

    (row,) = fake.rows()

    assert (row["executable"], row["source_package"], row["version"], row["release"]) == (
        "/usr/bin/vdt-redis", "redis", "7.0.15-r1", "3.20",
    )  # fmt: skip
