"""Every product, each version that a record names and those beside it, against a naive reading.

sweep/ holds four records or so of each product, whole, as the sources have them. What stands here
reads them anew, without keys, SQLite or anything else of the program's, and knows none of its
exceptions: these are listed, each with its reason.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree  # noqa: ICN001 - as in test_evaluation.py

import pytest

from vedette import cli

HERE = Path(__file__).parent / "sweep"
RECORDS = json.loads((HERE / "service_cves.json").read_text())
PRODUCTS = {row["product"]: row for row in json.loads((HERE / "products.json").read_text())}
RESTRICTING = {"windows", "debian", "ubuntu", "pivotal_cloud_foundry"}
PRE_RELEASES = ("dev", "snapshot", "alpha", "beta", "ea", "milestone", "pre", "cr", "rc")

# {product: why a range is less sure of it than it looks}
LESS_SURE = {
    "mysql": "Oracle names each branch's last version; the range has no beginning",
    "powerdns": "two servers with one record",
    "quagga_frr": "two projects with one record",
    "jenkins": "weekly and long-term releases have bounds of their own",
    "openssh": "a flaw of the client",
    "nginx": "the project's list of fixed versions beats the range",
    "mssql": "cumulative updates and the first release are mended apart",
    "ntp": "4.2.8p15 may be beyond a bound of 4.2.8, or not",
    "bind": "the supported preview is an edition of its own",
}


def order(version: str) -> list[tuple[int, int, str]]:
    """Return what sorts: words that lead to a release, the end, other words, numbers."""
    text = re.sub(r"^(release|version|v)[ ._-]?(?=\d)", "", version.lower())
    found: list[tuple[int, int, str]] = []
    parts = [*re.findall(r"\d+|[a-z]+", text), ""]
    for at, part in enumerate(parts):
        if part.isdigit():
            found.append((3, int(part), ""))
            continue
        while found and found[-1] == (3, 0, ""):  # 1.0 is 1.0.0
            found.pop()
        named = {"m": "milestone", "preview": "pre"}.get(part, part)
        if named in PRE_RELEASES and (part != "m" or parts[at + 1].isdigit()):
            found.append((0, PRE_RELEASES.index(named), ""))
        else:
            found.append((2, 0, part) if part else (1, 0, ""))
    return found


def bounds(part: Mapping[str, Any]) -> Iterator[str]:
    """Yield every version that a range names."""
    update = part.get("upd", "").strip("-*")
    named = [part[key] for key in ("v", "vsi", "vse", "vei", "vee") if key in part]
    yield from (one + update for one in [*named, *part.get("vs", ())[:3]] if one[:1].isdigit())


def begin(version: str) -> list[tuple[int, int, str]]:
    """Return where a range begins: 9.0.0 has its milestones, though they came before it."""
    if re.fullmatch(r"\d+(\.\d+)*\.0|\d+", version):
        return [*order(version)[:-1], (0, PRE_RELEASES.index("alpha"), "")]
    return order(version)


def holds(part: Mapping[str, Any], version: str) -> bool:
    """Whether a version lies in a range, by the words of the data's README."""
    update, here = part.get("upd", "").strip("-*"), order(version)
    if "v" in part:
        return part["v"] != "-" and here == order(part["v"] + update)
    if "vs" in part:
        return any(here == order(one) for one in part["vs"])
    upper = part.get("vei") or part.get("vee")
    if upper and "vei" in part and "upd" not in part and not re.search(r"\dp\d+$", upper):
        portable = order(re.sub(r"(?<=\d)p\d+$", "", version))  # 7.7 covers 7.7p1
    else:
        portable = here
    return (
        ("vsi" not in part or begin(part["vsi"]) <= here)
        and ("vse" not in part or order(part["vse"]) < here)
        and ("vei" not in part or portable <= order(part["vei"] + update))
        and ("vee" not in part or here < order(part["vee"] + update))
    )


def expected(product: str, version: str) -> dict[str, str]:
    """{CVE: confirmed, possible, or "platform" where a range needs one}."""
    found = {}
    for record in RECORDS:
        parts = [p for p in record["affected"] if p["p"] == product and holds(p, version)]
        if any(part.get("req") or part.get("tsw") in RESTRICTING for part in parts):
            found[record["cve"]] = "platform"
        elif parts:
            mended = ended(record, product, version)
            closed = any(
                {"v", "vs", "vei", "vee"} & part.keys()
                and not (mended and not {"v", "vs", "vsi", "vse"} & part.keys())
                for part in parts
            )
            found[record["cve"]] = "confirmed" if closed else "possible"
    return found


def ended(record: Mapping[str, Any], product: str, version: str) -> bool:
    """Whether a range without a beginning ends in a version's branch, and before it.

    "Before 6.2.17, before 6.3.4": 6.2.17 has the fix.
    """
    numbers = re.findall(r"\d+", version)[:2]
    return any(
        re.findall(r"\d+", bound)[:2] == numbers and not holds(part, version)
        for part in record["affected"]
        if part["p"] == product and not {"v", "vs", "vsi", "vse"} & part.keys()
        if (bound := part.get("vei") or part.get("vee"))
    )


def beside(version: str) -> Iterator[str]:
    """Yield a version and its neighbours."""
    yield version
    number = list(re.finditer(r"\d+", version))[-1]
    if len(number[0]) < 8:
        for step in {max(0, int(number[0]) - 1), int(number[0]) + 1}:
            yield f"{version[: number.start()]}{step}{version[number.end() :]}"


def services() -> list[tuple[str, str, str, str]]:
    """Return (product, version, nmap's name or "", CPE or ""): each way to name it in its turn."""
    found = []
    for product, row in PRODUCTS.items():
        parts = [p for r in RECORDS for p in r["affected"] if p["p"] == product]
        versions = sorted({v for p in parts for one in bounds(p) for v in beside(one)})
        names = [(row["nmap"], ""), *(("", cpe) for cpe in (*row["cpe"], *row["nmap_cpe"]))]
        # No banner says 0, which is older than everything, an M0, or a commit of Go's.
        usable = [
            v for v in versions if re.search("[1-9]", v) and not re.search(r"(?i)m0|\d{10}", v)
        ]
        for number, version in enumerate(usable):
            found.append((product, version, *names[number % len(names)]))
    return found


def report(asked: list[tuple[str, str, str, str]]) -> bytes:
    root = ElementTree.Element("nmaprun", scanner="nmap", version="7.93", args="nmap", start="1")
    host = ElementTree.SubElement(root, "host")
    ElementTree.SubElement(host, "status", state="up")
    ElementTree.SubElement(host, "address", addr="203.0.113.5", addrtype="ipv4")
    ports = ElementTree.SubElement(host, "ports")
    for number, (_, version, name, cpe) in enumerate(asked, 1):
        port = ElementTree.SubElement(ports, "port", protocol="tcp", portid=str(number))
        ElementTree.SubElement(port, "state", state="open")
        facts = {"name": "x", "method": "probed", "conf": "10", "version": version}
        if name:
            facts["product"] = name
        service = ElementTree.SubElement(port, "service", facts)
        if cpe:
            vendor, _, product = cpe.replace("/", r"\/").partition(":")
            ElementTree.SubElement(service, "cpe").text = f"cpe:/a:{vendor}:{product}:{version}"
    stats = ElementTree.SubElement(root, "runstats")
    ElementTree.SubElement(stats, "finished", time="1")
    ElementTree.SubElement(stats, "hosts", up="1", down="0", total="1")
    return ElementTree.tostring(root)


def test_all_versions_are_judged_as_a_naive_reading_of_the_records_would(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And where they are not, it is for one of the reasons listed, and never surer."""
    asked, base = services(), str(tmp_path / "base.sqlite")
    assert cli.main(["knowledge", "build", "--records", str(HERE), "--output", base]) == 0
    (tmp_path / "report.xml").write_bytes(report(asked))
    words = ["assess", "--nmap-xml", str(tmp_path / "report.xml"), "--knowledge", base]
    capsys.readouterr()
    assert cli.main([*words, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    found: dict[int, dict[str, str]] = {}
    for one in document["findings"]:
        if one["finding"].startswith("CVE"):
            found.setdefault(one["port"], {})[one["finding"]] = one["status"]

    agreed, unexplained = 0, []
    for number, (product, version, *_) in enumerate(asked, 1):
        here, naive = found.get(number, {}), expected(product, version)
        for cve in here.keys() | naive.keys():
            said, should = here.get(cve, "none"), naive.get(cve, "none")
            if said == should:
                agreed += 1
            elif should != "platform" and not (said != "confirmed" and product in LESS_SURE):
                unexplained.append(f"{product} {version}: {cve} is {said}, naively {should}")

    assert agreed > 2000
    assert unexplained == []
