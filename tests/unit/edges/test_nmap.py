"""edges/nmap.py: a report in, hosts out. Running nmap itself is for the live tests."""

import re
from contextlib import suppress
from ipaddress import IPv4Address

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support import sample
from vedette.edges import nmap
from vedette.edges.nmap import Host, OsMatch, PortState
from vedette.errors import BadOutput
from vedette.evidence import Script
from vedette.job import clean
from vedette.risk import proofs
from vedette.scanned import Service

ADDRESS = IPv4Address("192.0.2.10")
SWEEP, VERSIONS = sample("nmap_sweep.xml"), sample("nmap_versions.xml")
OS, OS_OPEN_ONLY = sample("nmap_os.xml"), sample("nmap_os_open_only.xml")
SCRIPTS = sample("nmap_scripts.xml")
REPORTS = [SWEEP, VERSIONS, OS, OS_OPEN_ONLY, SCRIPTS]
# Each tag and each attribute that the reports have.
PIECES = sorted({p for r in REPORTS for p in re.findall(rb'(?=(<[^>]*>| [\w-]+="[^"]*"))', r)})


def service(report: bytes, number: int) -> Service:
    (host,) = nmap.read(report)
    return next(port.service for port in host.ports if port.number == number)


def with_banner(banner: bytes) -> bytes:
    """The report in which the web server on port 20180 calls its version so (as nmap writes it)."""
    return VERSIONS.replace(b'version="1.22.1" method', b'version="' + banner + b'" method')


def open_port(
    number: int,
    name: str = "",
    product: str = "",
    version: str = "",
    *more: str,
    cpes: tuple[str, ...] = (),
) -> PortState:
    """An open port whose service answered (name … tunnel), or one without an answer."""
    extra_info, tunnel = (*more, "", "")[:2]
    found = Service(name, product, version, extra_info, tunnel, probed=True, cpes=cpes)
    return PortState("tcp", number, "open", found if name else Service())


def test_a_sweep_tells_states_and_no_services() -> None:
    """What is open is known in a fraction of a second; what it is comes later."""
    open_ones = (20121, 20122, 20125, 20130, 20131, 20140, 20143, 20180, 20181)

    assert nmap.read(SWEEP) == (
        Host(
            ADDRESS,
            up=True,
            ports=(
                *(open_port(number) for number in open_ones),
                PortState("tcp", 20199, "closed", Service()),
            ),
            os_matches=(),
            os_reliable=False,
        ),
    )


def test_version_detection_tells_all_that_a_service_said() -> None:
    """Tunnels, every CPE and the method are what python-nmap drops."""
    ssh = ("cpe:/a:openbsd:openssh:9.2p1", "cpe:/o:linux:linux_kernel")
    nginx = ("cpe:/a:igor_sysoev:nginx:1.22.1",)
    (host,) = nmap.read(VERSIONS)

    assert host.ports == (
        open_port(20121, "ftp", "vsftpd", "3.0.3", cpes=("cpe:/a:vsftpd:vsftpd:3.0.3",)),
        open_port(20122, "ssh", "OpenSSH", "9.2p1 Debian 2+deb12u3", "protocol 2.0", cpes=ssh),
        open_port(20125, "smtp", "Exim smtpd", "4.96", cpes=("cpe:/a:exim:exim:4.96",)),
        open_port(20130),
        open_port(20131, "ssh", "", "", "protocol 2.0"),
        open_port(20140),
        open_port(20143, "https", "nginx", "1.22.1", "", "ssl", cpes=nginx),
        open_port(20180, "http", "nginx", "1.22.1", cpes=nginx),
        open_port(
            20181, "http", "Apache httpd", "2.4.57", "(.[31m<script>alert(1)</script>....)",
            cpes=("cpe:/a:apache:http_server:2.4.57",),
        ),
        PortState("tcp", 20199, "closed", Service()),
    )  # fmt: skip


def test_operating_systems_come_with_whether_they_can_be_believed() -> None:
    """Without a closed port nmap guesses all the same, and is as sure of it."""
    expected = (
        OsMatch("Linux 5.0 - 5.2", "Linux", "general purpose", 97),
        OsMatch("Linux 3.1", "Linux", "general purpose", 95),
        OsMatch("Linux 3.2", "Linux", "general purpose", 95),
        OsMatch("AXIS 210A or 211 Network Camera (Linux 2.6.17)", "Linux", "webcam", 94),
    )
    (sure,), (unsure,) = nmap.read(OS), nmap.read(OS_OPEN_ONLY)

    assert (sure.os_matches, sure.os_reliable) == (expected, True)
    assert (unsure.os_matches, unsure.os_reliable) == (expected, False)


def test_a_host_that_is_down_is_told_as_such() -> None:
    """A sweep of a network lists them too; they must not count as up."""
    (host,) = nmap.read(SWEEP.replace(b'<status state="up"', b'<status state="down"'))

    assert not host.up


def test_a_service_inside_of_tls_has_the_name_of_both() -> None:
    """What is no clear text must not be called by the name of what is."""
    report = VERSIONS.replace(
        b'name="http" product="nginx" version="1.22.1" tunnel', b'name="imap" tunnel'
    )

    assert service(report, 20143) == Service(
        "imaps", tunnel="ssl", probed=True, cpes=("cpe:/a:igor_sysoev:nginx:1.22.1",)
    )


@pytest.mark.parametrize(
    ("banner", "expected"),
    [
        (b"&lt;script&gt;alert(1)&lt;/script&gt;", "<script>alert(1)</script>"),
        (b"a&#xa;b&#13;&#9;c", "a b c"),
        (b"&#x1b;[2J&#27;]0;title&#7;", "[2J ]0;title"),
        (b"&#0;&#x0;&#x00000b;&#31;x", "x"),
        (b"raw \x1b\x00\x01 bytes", "raw bytes"),
        (b"broken \xff\xfe UTF-8", "broken \ufffd\ufffd UTF-8"),
        ("\u202eevil\u2066".encode(), "evil"),
        (b"x" * 100_000, "x" * 159 + "…"),
    ],
)
def test_hostile_text_becomes_one_short_printable_line(banner: bytes, expected: str) -> None:
    """A banner is written by a stranger: it may not break the report, the page or the log."""
    assert service(with_banner(banner), 20180).version == expected


def test_a_hundred_cpes_are_eight() -> None:
    """They are kept in history and shown in the inventory: bounded like all else."""
    many = b"".join(b"<cpe>cpe:/a:x:%d</cpe>" % n for n in range(100))
    report = VERSIONS.replace(b"<cpe>cpe:/a:vsftpd:vsftpd:3.0.3</cpe>", many)

    assert service(report, 20121).cpes == tuple(f"cpe:/a:x:{n}" for n in range(8))


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"Starting Nmap\n",
        b"<nmaprun/>",
        VERSIONS[: len(VERSIONS) // 2],
        VERSIONS.replace(b'addr="192.0.2.10"', b'addr="router.example"'),
        VERSIONS.replace(b'portid="20121"', b'portid="ssh"'),
        VERSIONS.replace(b"<status ", b"<stat "),
        OS.replace(b'<osmatch name="Linux 5.0 - 5.2"', b"<osmatch"),
        OS.replace(b'accuracy="97"', b'accuracy="sure"'),
        b"<nmaprun>" + b"<a>" * 100_000,
    ],
)
def test_a_damaged_report_is_bad_output_and_does_not_spill_it(damaged: bytes) -> None:
    """python-nmap puts the whole report into its error: 64 MiB of strangers' words in the log."""
    with pytest.raises(BadOutput, match=r"^nmap's report cannot be read: [A-Za-z]+$"):
        nmap.read(damaged)


def test_an_entity_bomb_is_bad_output() -> None:
    """A few hundred bytes that unfold to gigabytes: expat stops them, and that must reach us."""
    entities = b"".join(
        b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10 if n else b"x" * 100) for n in range(12)
    )
    bomb = SWEEP.replace(b"<!DOCTYPE nmaprun>", b"<!DOCTYPE nmaprun [" + entities + b"]>")

    with pytest.raises(BadOutput):
        nmap.read(bomb.replace(b"<hostnames>", b"<hostnames>&a11;"))


def must_be_clean(scripts: tuple[Script, ...]) -> None:
    """Lines for people, values short and few, and whatever they prove can be told."""
    assert len(scripts) <= 64
    for script in scripts:
        assert len(script.output.splitlines()) <= 40
        assert len(script.values) <= 2000
        for text in (*script.output.splitlines(), *(text for _, text in script.values)):
            assert text == clean(text, 200)
        proofs.of_script(script, "tcp", "ftp")


def must_be_sound(report: bytes) -> None:
    """Whatever it was: BadOutput, or hosts all of whose text is clean and short."""
    with suppress(BadOutput):
        for host in nmap.read(report):
            for port in host.ports:
                seen = port.service
                for text in (seen.product, seen.version, seen.extra_info, *seen.cpes):
                    assert text == clean(text, 160)
                for text in (seen.name, seen.tunnel):
                    assert text == clean(text)
                must_be_clean(port.scripts)
            must_be_clean(host.scripts)
            for match in host.os_matches:
                assert match.name == clean(match.name, 160)


@settings(max_examples=600)
@given(
    st.sampled_from(REPORTS),
    st.sampled_from(PIECES),
    st.sampled_from([b"", b'"', b"<host/>", b' state="up"', b"&#x1b;", b"&#0;", b"\x00", b"\xff"]),
)
def test_any_piece_lost_or_replaced_is_bad_output_or_sound(
    report: bytes, lost: bytes, put: bytes
) -> None:
    """Peers write parts of the report, and disks and pipes lose parts of it."""
    must_be_sound(report.replace(lost, put))


@given(st.sampled_from(REPORTS), st.data())
def test_a_cut_anywhere_is_bad_output(report: bytes, data: st.DataObject) -> None:
    """A killed nmap leaves half a report: half of the ports must not pass for all of them."""
    end = len(report.rstrip()) - 1

    with pytest.raises(BadOutput):
        nmap.read(report[: data.draw(st.integers(0, end))])


@given(st.sampled_from(REPORTS), st.binary(max_size=30), st.data())
@example(SWEEP, b"&#x110000;", None)
def test_any_bytes_put_anywhere_are_bad_output_or_sound(
    report: bytes, put: bytes, data: st.DataObject | None
) -> None:
    """Not one exception may leave but the one that the job knows."""
    at = data.draw(st.integers(0, len(report))) if data else len(report) // 2
    must_be_sound(report[:at] + put + report[at:])


@given(st.text() | st.binary())
def test_any_banner_leaves_the_report_readable(banner: str | bytes) -> None:
    """One hostile service must not hide the other ports (as nmap escapes it: &, <, >, quotes)."""
    raw = banner if isinstance(banner, bytes) else banner.encode("utf-8", "surrogatepass")
    for character in b"&<>\"'":
        raw = raw.replace(bytes([character]), b"?")

    (host,) = nmap.read(with_banner(raw))

    assert len(host.ports) == 10
    must_be_sound(with_banner(raw))


def test_an_http_server_without_a_server_header_is_http() -> None:
    """By that header nmap knows HTTP; else it shows what came back, and that is plain enough.

    Otherwise every small HTTP service would cost a deep pass of minutes, and stay unknown.
    """
    shown = rb'servicefp="SF-Port20180-TCP:V=7.93%r(GetRequest,26,&quot;HTTP/1\.1\x20200\x20OK\r\n'
    unknown = b'<service name="unknown" ' + shown + b'&quot;);" method="table" conf="3"/>'
    report = re.sub(
        rb'(portid="20180".*?)<service .*?(?:</service>|/>)',
        lambda found: found[1] + unknown,
        VERSIONS,
        flags=re.DOTALL,
    )

    assert service(report, 20180) == Service("http", probed=True)


def test_scripts_are_read_with_their_structure() -> None:
    """What python-nmap drops but for the text for people."""
    (host,) = nmap.read(SCRIPTS)
    by_number = {port.number: {one.id: one for one in port.scripts} for port in host.ports}
    redis, certificate = by_number[17001]["redis-info"], by_number[17004]["ssl-cert"]

    assert redis.first("Version") == "7.0.15"
    assert redis.all("Bind addresses/") == ("*", "-::*")
    assert by_number[17002]["redis-info"].output == "ERROR: Authentication required"
    assert certificate.first("validity/notAfter") == "2026-11-30T13:16:59"
    assert certificate.first("subject/commonName") == "vedette.example"
    assert certificate.first("pubkey/bits") == "1024"
    assert [script.id for script in host.scripts] == ["smb-protocols"]


def test_a_script_that_prints_without_end_is_cut() -> None:
    """A directory listing, a list of clients: its length is the peer's choice."""
    many = b'<elem key="a">b</elem>' * 5000 + b"<table>" * 50 + b"<elem>c</elem>" + b"</table>" * 50
    report = SCRIPTS.replace(b'<elem key="Role">', many + b'<elem key="Role">')
    report = report.replace(b'output="Anonymous', b'output="' + b"x&#xa;" * 9999 + b"Anonymous")
    (host,) = nmap.read(report)

    assert max(len(script.values) for port in host.ports for script in port.scripts) == 2000
    must_be_sound(report)
