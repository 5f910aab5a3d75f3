"""edges/packages.py: the list of listeners as the agent reads it, every few seconds."""

import json
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from vedette.edges import packages


def write(path: Path, generated: float) -> None:
    """As `vedette inventory` does it: another file takes the place."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"generated": generated, "listeners": []}))
    new.replace(path)


def test_a_list_is_read_once_and_a_new_one_is_seen(tmp_path: Path) -> None:
    """The agent asks after each run of a job; the timer writes every five minutes."""
    path = tmp_path / "listeners.json"
    write(path, 1000.0)
    first, again = packages.read(path), packages.read(path)
    write(path, 2000.0)

    assert again is first
    assert packages.read(path).generated == 2000.0


def test_a_list_that_is_gone_is_not_remembered(tmp_path: Path) -> None:
    """Who removes it wants it to be gone."""
    path = tmp_path / "listeners.json"
    write(path, 1000.0)
    packages.read(path)
    path.unlink()

    assert "cannot be read" in packages.why_not(path, 1000.0, 0.0)


def listener(**facts: Any) -> dict[str, Any]:
    everywhere = "0.0.0.0"  # noqa: S104 - written, not bound
    return {"address": everywhere, "port": 80, "transport": "tcp", "executable": "/x", **facts}


def of(*listeners: dict[str, Any]) -> packages.Inventory:
    return packages.parse({"generated": 1, "listeners": list(listeners)})


@pytest.mark.parametrize(
    ("address", "process"), [("192.0.2.1", "four"), ("::1", "six"), ("127.0.0.1", "loopback")]
)
def test_who_listens_everywhere_is_told_by_the_version_of_ip(address: str, process: str) -> None:
    """0.0.0.0:80 and [::]:80 may be two programs; on this very address, there may be a third."""
    found = of(
        listener(process="four"),
        listener(process="six", address="::"),
        listener(process="loopback", address="127.0.0.1"),
    ).behind(ip_address(address), "tcp", 80)

    assert found is not None
    assert found.process == process


def test_one_that_listens_on_ipv6_alone_answers_on_ipv4() -> None:
    """Linux lets it, unless it asks for IPv6 only."""
    found = of(listener(process="six", address="[::]")).behind(ip_address("10.0.0.1"), "tcp", 80)

    assert found is not None


def test_of_a_package_without_its_release_the_version_is_known_all_the_same() -> None:
    """It is a distribution's build, not somebody's own."""
    (entry,) = of(listener(source_package="nginx", version="1.22.1-9")).listeners

    assert entry.package is not None
    assert (entry.package.release, entry.own_build) == ("", False)


def test_who_only_passes_on_is_not_what_answers() -> None:
    """Docker's flaws are not those of what runs in its containers; nor is that an own build."""
    row = listener(process="docker-proxy", source_package="docker.io", version="20.10.24")
    (entry,) = of(row).listeners

    assert (entry.package, entry.own_build) == (None, False)


@pytest.mark.parametrize(
    ("distribution", "release", "named"),
    [
        ("debian", "bookworm", "debian:bookworm"),
        ("debian", "8", "debian:jessie"),
        ("debian", "12.9", "debian:bookworm"),
        ("ubuntu", "14.04", "ubuntu:trusty"),
        ("ubuntu", "22.04.3", "ubuntu:jammy"),
        ("Ubuntu", "Jammy", "ubuntu:jammy"),
        ("alpine", "3.20", "alpine:3.20"),
        ("rhel", "9", "rhel:9"),
    ],
)
def test_a_release_has_one_name(distribution: str, release: str, named: str) -> None:
    """os-release of Debian 8 and Ubuntu 14.04 has no code name, and fixes are known by it."""
    found = packages.parse(
        {"generated": 1, "distribution": distribution, "release": release, "listeners": []}
    )

    assert found.release == named
