"""edges/host.py: the texts of the kernel and of os-release(5) in, values out."""

import socket
import subprocess
import sys
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.edges import host, listening, package_files

DEBIAN = """\
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
# a comment = no variable
VERSION_ID='12'
ID=debian

HOME_URL="https://www.debian.org/?a=b"
"""


def test_os_release_is_read_as_a_shell_would() -> None:
    """Quotes go, comments and blank lines are none, and a value may hold an equals sign."""
    assert package_files.parse_os_release(DEBIAN) == {
        "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)",
        "NAME": "Debian GNU/Linux",
        "VERSION_ID": "12",
        "ID": "debian",
        "HOME_URL": "https://www.debian.org/?a=b",
    }


@given(st.text())
def test_any_os_release_is_variables(text: str) -> None:
    """Images are built by scripts that write anything."""
    found = package_files.parse_os_release(text)

    assert all(isinstance(key, str) and isinstance(value, str) for key, value in found.items())


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z][A-Z_]*", fullmatch=True),
        st.text(
            st.characters(exclude_characters="\"'", exclude_categories=["Cc", "Zl", "Zp", "Cs"])
        ),
    )
)
def test_what_was_quoted_comes_back(values: dict[str, str]) -> None:
    """Names with blanks and signs are the rule."""
    text = "".join(f'{key}="{value}"\n' for key, value in values.items())

    assert package_files.parse_os_release(text) == values


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("0100007F:0016", "127.0.0.1", 22),
        ("00000000:1F90", "0.0.0.0", 8080),  # noqa: S104 - nothing is bound
        ("0A0200C0:0035", "192.0.2.10", 53),
        ("00000000000000000000000001000000:0016", "::1", 22),
        ("00000000000000000000000000000000:FFFF", "::", 65_535),
        ("B80D0120000000000000000010000000:0001", "2001:db8::10", 1),
    ],
)
def test_the_kernels_notation_of_a_socket(text: str, address: str, port: int) -> None:
    """32-bit words in host order: the only trap of /proc/net/tcp, and everybody falls into it."""
    assert listening.endpoint(text) == (ip_address(address), port)


def test_this_very_host_can_be_read() -> None:
    """Each reading once, on whatever runs the tests."""
    addresses = host.addresses()
    family, name = host.operating_system()

    assert any(entry.address.is_loopback for entry in addresses)
    assert all(entry.mac == entry.mac.lower() for entry in addresses)
    assert family
    assert name
    assert host.identity()
    assert host.hostname()


def test_a_socket_of_our_own_is_known_as_ours() -> None:
    """The agent never probes its own port: it would count its own requests."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        (found,) = [entry for entry in host.listeners() if entry.port == port]

    assert (str(found.address), found.transport, found.own) == ("127.0.0.1", "tcp", True)
    assert found.process
    assert len(found.identity) == 16


def test_a_socket_that_a_child_has_as_well_is_ours() -> None:
    """Between fork and exec each child has the agent's own; its port was then taken for unknown."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", "input()"]
        child = subprocess.Popen(  # noqa: S603 - this Python
            command, stdin=subprocess.PIPE, pass_fds=[server.fileno()]
        )
        port = server.getsockname()[1]
        found = [entry.own for entry in host.listeners() if entry.port == port]
        child.communicate(b"\n")

    assert found == [True]


def test_file_systems_have_sizes() -> None:
    """The root is always there; each device comes once."""
    found = host.counters().filesystems

    assert "/" in [entry.mountpoint for entry in found]
    assert len({entry.device for entry in found}) == len(found)
    assert all(0 <= entry.available <= entry.size for entry in found)
