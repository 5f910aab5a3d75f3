"""`vedette assess --nmap-xml`: a report of nmap's in, a document out."""

import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest

from tests.unit.bases import base
from vedette import cli

FLAW = {
    "cve": "CVE-2021-41773",
    "published": "2021-10-05",
    "cvss": {"v3": {"score": 9.8, "vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}},
    "kev": {"added": "2021-11-03", "ransomware": True},
    "affected": [{"p": "apache", "vs": ["2.4.49"], "src": "httpd"},
                 {"p": "apache", "vsi": "2.4.49", "vee": "2.4.51", "src": "nvd"}],
}  # fmt: skip
REPORT = """<nmaprun scanner="nmap" version="7.93" args="nmap" start="1">{}
<runstats><finished time="1"/><hosts up="1" down="0" total="1"/></runstats></nmaprun>"""
HOST = """<host><status state="up"/><address addr="{}" addrtype="{}"/><ports>
<port protocol="tcp" portid="443"><state state="open"/>
<service name="http" product="Apache httpd" version="2.4.49" tunnel="ssl" method="probed" conf="10">
<cpe>cpe:/a:apache:http_server:2.4.49</cpe></service></port>
<port protocol="udp" portid="53"><state state="open"/>
<service name="domain" method="table" conf="3"/></port></ports></host>"""
ACCEPTED = """- finding: CVE-2021-41773
  reason: behind a filter
  expires: {}
"""


def assessed(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *more: str,
    hosts: str = "",
    flaw: dict[str, Any] = FLAW,
) -> dict[str, Any]:
    """Run the command on a report of one host, or of these."""
    base(tmp_path / "base.sqlite", [flaw]).close()
    report = tmp_path / "report.xml"
    report.write_text(REPORT.format(hosts or HOST.format("203.0.113.5", "ipv4")))
    words = ["assess", "--nmap-xml", str(report), "--knowledge", str(tmp_path / "base.sqlite")]
    capsys.readouterr()
    assert cli.main([*words, "--format", "json", *more]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def listeners(path: Path, **facts: Any) -> Path:
    """Write what `vedette inventory` would have written, long ago."""
    row = {"address": "[::]", "port": 443, "transport": "tcp", "process": "x", **facts}
    path.write_text(json.dumps({"generated": 1, "distribution": "debian", "release": "bookworm",
                                "listeners": [row]}))  # fmt: skip
    return path


def test_the_whole_answer_for_one_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example of the documentation, to the letter."""
    (found,) = assessed(tmp_path, capsys)["findings"]

    assert found.items() >= {
        "address": "203.0.113.5", "transport": "tcp", "port": 443, "finding": "CVE-2021-41773",
        "score": 9.8, "severity": "critical", "confidence": 80, "status": "confirmed",
        "known_exploited": True, "due_days": 3, "fixed_in": "2.4.51",
    }.items()  # fmt: skip
    assert found["reasons"] == [(
        "9.8 = severity 9.8 x threat 1.00 (CISA KEV since 2021-11-03, ransomware) x exposure 1.00"
        " (public address 203.0.113.5); confidence 80: apache 2.4.49 exactly, no distribution"
        " package; affected: listed by itself; fixed in 2.4.51"
    )]  # fmt: skip


def test_every_host_of_a_report_is_judged_by_its_own_address(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """IPv6 as well; what is used in the wild is critical wherever others reach it."""
    hosts = {"10.0.0.1": "ipv4", "127.0.0.1": "ipv4", "2606:4700::1111": "ipv6", "fe80::1": "ipv6"}
    document = assessed(tmp_path, capsys, hosts="".join(HOST.format(*one) for one in hosts.items()))

    assert {one["address"]: one["score"] for one in document["findings"]} == {
        "10.0.0.1": 9.0, "127.0.0.1": 3.9, "2606:4700::1111": 9.8, "fe80::1": 9.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "confidence"),
    [
        ({"source_package": "apache2", "version": "2.4.49-1"}, 30),
        ({"package": "apache2", "version": "2.4.49-1"}, 30),
        ({"source_package": "", "version": "", "executable": "/opt/httpd"}, 80),
        ({"source_package": None, "version": None, "executable": "/opt/httpd"}, 80),
        ({}, 80),
    ],
)
def test_a_list_of_listeners_that_somebody_names_may_be_old(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], facts: dict[str, Any], confidence: int
) -> None:
    """It tells of the host as it was when nmap asked; keys of no use here may lack."""
    written = listeners(tmp_path / "listeners.json", **facts)
    document = assessed(tmp_path, capsys, "--listeners", str(written))

    assert [one["confidence"] for one in document["findings"]] == [confidence]


@pytest.mark.parametrize(("day", "count"), [("2999-12-31", 1), ("2001-01-01", 0)])
def test_what_is_accepted_is_shown_as_such_until_its_day(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], day: str, count: int
) -> None:
    """Neither hidden nor counted; then it returns."""
    (tmp_path / "accepted.yaml").write_text(ACCEPTED.format(day))
    document = assessed(tmp_path, capsys, "--accepted", str(tmp_path / "accepted.yaml"))

    assert [one["finding"] for one in document["accepted"]] == ["CVE-2021-41773"] * count
    assert [one["finding"] for one in document["findings"]] == ["CVE-2021-41773"] * (1 - count)
    for one in document["accepted"]:
        assert one["status"] == "accepted"
        assert one["accepted"] == {"reason": "behind a filter", "expires": day}


def test_a_list_of_acceptances_that_cannot_be_read_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who accepts something without a last day means to, and does not."""
    assessed(tmp_path, capsys)
    (tmp_path / "accepted.yaml").write_text("- {finding: CVE-2021-41773, reason: x}")
    words = ["assess", "--nmap-xml", str(tmp_path / "report.xml")]

    assert cli.main([*words, "--accepted", str(tmp_path / "accepted.yaml")]) == cli.EX_CONFIG
    assert "entry 1: expires must be a day" in capsys.readouterr().err


def test_what_a_user_must_be_lured_into_is_not_raised_by_being_exploited(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of who reaches the port, 9.8 x 1.00 x 0.70: the floor of 9 is for what needs nobody."""
    vector = "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:U/C:H/I:H/A:H"
    lured = {**FLAW, "cvss": {"v3": {"score": 9.8, "vector": vector}}}
    (found,) = assessed(tmp_path, capsys, flaw=lured)["findings"]

    assert found["score"] == 6.9


LONG = "A" * 10_000


@pytest.mark.parametrize(
    ("facts", "cpe", "confirmed"),
    [
        ({"version": "2.4.49" + "9" * 10_000}, "", False),
        ({"version": "9999999999.1"}, "", False),
        ({"version": "2.4.49 \x1b[31m\u202e\x9b"}, "", False),
        ({"version": "2." + "0." * 5_000 + "49"}, "", False),
        ({"product": f"Apache httpd {LONG}", "version": "2.4.49"}, "", False),
        ({"version": "2.4.49", "extrainfo": f"{LONG} OpenSSL/1.0.1{'g' * 10_000}"}, "", True),
        ({"version": "2.4.49"}, f"cpe:/a:apache:http_server:{LONG}", True),
        ({"product": "MySQL", "version": f"5.5.5-{'1-' * 5_000}MariaDB-{'0ubuntu' * 2_000}"}, "",
         False),
        ({"product": "OpenSSH", "version": "9.2p1 Debian " * 800 + "2+deb12u3"}, "", False),
    ],
)  # fmt: skip
def test_hostile_banners_are_cut_and_mean_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], facts: dict[str, str], cpe: str,
    confirmed: bool,  # noqa: FBT001
) -> None:  # fmt: skip
    """10 kB, control characters, numbers without an end: what is no version matches none."""
    given = {"name": "http", "method": "probed", "conf": "10", "product": "Apache httpd", **facts}
    service = " ".join(f"{key}={quoteattr(value)}" for key, value in given.items())
    host = HOST.format("203.0.113.5", "ipv4")
    start, end = host.index("<service"), host.index("</service>")
    document = assessed(
        tmp_path, capsys, hosts=f"{host[:start]}<service {service}><cpe>{cpe}</cpe>{host[end:]}"
    )

    sure = [one["finding"] for one in document["findings"] if one["status"] == "confirmed"]
    found = [name for name in sure if name.startswith("CVE")]
    assert found == (["CVE-2021-41773"] if confirmed else [])
    words = [str(value) for part in document.values() for one in part for value in one.values()]
    assert max(map(len, words)) < 500
    assert all(word.isprintable() for word in words)


@pytest.mark.parametrize("name", ["imap", "pop3", "ftp", "telnet"])
def test_what_is_said_inside_of_tls_is_no_clear_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Behind 993 is, for nmap, imap in a tunnel."""
    inside, outside = "203.0.113.5", "203.0.113.6"
    service = HOST.replace('name="http"', f'name="{name}"')
    plain = service.replace('tunnel="ssl" ', "")
    hosts = service.format(inside, "ipv4") + plain.format(outside, "ipv4")
    found = assessed(tmp_path, capsys, hosts=hosts)["findings"]

    clear = {one["address"] for one in found if one["finding"].startswith("RULE-CLEARTEXT")}
    assert clear == {outside}
