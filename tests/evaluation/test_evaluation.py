"""Labelled services: what must be confirmed is, and next to nothing else.

hosts/ says what answered, what it was installed from, which CVEs it has and has not, and who says
so. records/ holds what the base knows of these: affected versions from the CVE records (NVD, CC0 or
public domain) and first fixed versions from advisories and changelogs. All goes the way that
`vedette assess` goes.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree  # noqa: ICN001 - two letters say less than its name

import pytest
import yaml

from vedette import cli

HERE = Path(__file__).parent
HOSTS = sorted(path.stem for path in (HERE / "hosts").glob("*.yaml"))
ADDRESS = "127.0.0.1"
FIRST_PORT = 20_000


@dataclass(frozen=True)
class Counts:
    """How many labels there are, and in words, which were not met."""

    confirmed: int
    refuted: int
    missed: tuple[str, ...]
    invented: tuple[str, ...]


def services(host: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    document = yaml.safe_load((HERE / "hosts" / f"{host}.yaml").read_text())
    yield from enumerate(document["services"], FIRST_PORT)


def report(host: str) -> bytes:
    """Return what `nmap -sV -oX` prints of these services."""
    root = ElementTree.Element("nmaprun", scanner="nmap", version="7.93", args="nmap", start="1")
    machine = ElementTree.SubElement(root, "host")
    ElementTree.SubElement(machine, "status", state="up")
    ElementTree.SubElement(machine, "address", addr=ADDRESS, addrtype="ipv4")
    ports = ElementTree.SubElement(machine, "ports")
    for number, one in services(host):
        port = ElementTree.SubElement(ports, "port", protocol="tcp", portid=str(number))
        ElementTree.SubElement(port, "state", state="open")
        said = dict(one.get("banner") or one.get("guessed") or {})
        cpe = said.pop("cpe", "")
        method = "probed" if "banner" in one else "table"
        service = ElementTree.SubElement(
            port, "service", {"name": "x", "method": method, "conf": "10"} | said
        )
        if cpe:
            ElementTree.SubElement(service, "cpe").text = cpe
    runstats = ElementTree.SubElement(root, "runstats")
    ElementTree.SubElement(runstats, "finished", time="1")
    ElementTree.SubElement(runstats, "hosts", up="1", down="0", total="1")
    return ElementTree.tostring(root)


def listeners(host: str) -> dict[str, Any] | None:
    """Return what `vedette inventory` writes, None for a host asked from elsewhere."""
    document = yaml.safe_load((HERE / "hosts" / f"{host}.yaml").read_text())
    if "release" not in document:
        return None
    rows = [
        {
            "address": "0.0.0.0",  # noqa: S104 - written, not bound
            "port": number,
            "transport": "tcp",
            "process": "x",
            "executable": one.get("own_build", "/usr/sbin/x"),
            "source_package": one.get("package", {}).get("name"),
            "version": one.get("package", {}).get("version"),
            "stale_executable": False,
        }
        for number, one in services(host)
    ]
    kept = {name: document[name] for name in ("distribution", "release")}
    return {"generated": 1_795_370_000, **kept, "listeners": rows}


def confirmed(
    host: str, base: Path | None, directory: Path, capsys: pytest.CaptureFixture[str]
) -> dict[int, set[str]]:
    """Return what `vedette assess` confirms at each port."""
    (directory / "report.xml").write_bytes(report(host))
    words = ["assess", "--nmap-xml", str(directory / "report.xml"), "--format", "json"]
    inventory = listeners(host)
    if inventory is not None:
        (directory / "listeners.json").write_text(json.dumps(inventory))
        words += ["--listeners", str(directory / "listeners.json")]
    if base is not None:
        words += ["--knowledge", str(base)]
    capsys.readouterr()
    assert cli.main(words) == 0
    found: dict[int, set[str]] = {}
    for one in json.loads(capsys.readouterr().out)["findings"]:
        if one["status"] == "confirmed":
            found.setdefault(one["port"], set()).add(one["finding"])
    return found


def compare(host: str, found: Mapping[int, set[str]]) -> Counts:
    """Hold the findings against the labels."""
    must, never = 0, 0
    missed: list[str] = []
    invented: list[str] = []
    for number, one in services(host):
        here = found.get(number, set())
        words = one.get("package") or one.get("banner") or one.get("guessed")
        must += len(one.get("confirmed", ()))
        never += len(one.get("refuted", ()))
        missed += [f"{host}: {words}: {cve}" for cve in one.get("confirmed", ()) if cve not in here]
        invented += [f"{host}: {words}: {cve}" for cve in one.get("refuted", ()) if cve in here]
    return Counts(must, never, tuple(missed), tuple(invented))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("base") / "base.sqlite"
    words = ["knowledge", "build", "--records", str(HERE / "records"), "--output", str(made)]
    assert cli.main(words) == 0
    return made


@pytest.mark.parametrize("host", HOSTS)
def test_what_must_be_confirmed_is_and_nothing_else(
    host: str, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a base that knows of all of them what the sources say."""
    counts = compare(host, confirmed(host, base, tmp_path, capsys))

    assert counts.confirmed + counts.refuted > 0
    assert counts.missed == ()
    assert counts.invented == ()


@pytest.mark.parametrize("host", ["bookworm", "bookworm-banners", "upstream"])
def test_the_bundled_base_is_enough_for_debian_12_and_upstream(
    host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """But for one: no changelog names CVE-2024-6387, and DSA-5724-1 is not in the package."""
    counts = compare(host, confirmed(host, None, tmp_path, capsys))

    assert [one for one in counts.missed if "CVE-2024-6387" not in one] == []
    assert counts.invented == ()
