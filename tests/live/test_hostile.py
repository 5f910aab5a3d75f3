"""Services that send poison instead of banners, asked by real nmap."""

from collections.abc import Mapping

import pytest

from tests.live.netns import V4, directory, two_hosts
from tests.live.running import Agent, Metrics
from tests.live.services import listen, start_sshd
from tests.live.stories import beside
from tests.live.test_exposition import promtool

pytestmark = pytest.mark.live

MARKUP = b'<script>alert(1)</script>"><img src=x onerror=alert(1)>'
ESCAPES = b"\x1b[2J\x1b]0;owned\x07\x1b[31m"
RIGHT_TO_LEFT = "\u202egnp.exe".encode()
BROKEN = b"\xff\xfe\xc3\x28\xed\xa0\x80"
LABELS = b'quote" back\\slash {x="y"} 1\r\nvedette_build_info{version="evil"} 1'


def http(server: bytes) -> Mapping[str, str]:
    """Return what makes a web server of this Server header."""
    answer = b"HTTP/1.1 200 OK\r\nServer: " + server + b"\r\nContent-Length: 2\r\n\r\nok"
    return {"answer": answer.hex()}


def says(banner: bytes) -> Mapping[str, str]:
    """Return what greets with this."""
    return {"say": banner.hex()}


# Most of it stands where nmap's own patterns take any text for a product or a version.
POISON: dict[int, Mapping[str, str]] = {
    2001: says(b"SSH-2.0-OpenSSH_9.2 Ubuntu-" + MARKUP + b"\r\n"),
    2002: says(b"SSH-2.0-OpenSSH_9.2 Ubuntu-" + ESCAPES + b"\r\n"),
    2003: says(b"SSH-2.0-" + b"A" * 100_000 + b"\r\n"),
    2004: says(b"220 x GlobalSCAPE Secure FTP Server (v. " + MARKUP.replace(b")", b"]") + b")\r\n"),
    2005: says(b"220 AXIS Q1 Network Fixed Dome Camera " + ESCAPES + BROKEN + b" ready.\r\n"),
    2006: says(b"220 AXIS Q1 Network Fixed Dome Camera " + RIGHT_TO_LEFT + b" ready.\r\n"),
    2007: says(b"220-\r\n220-" + MARKUP + ESCAPES + b" ESMTP Exim 4\r\n"),
    2008: http(b"Sphere V" + MARKUP),
    2009: http(b"Sphere V" + ESCAPES + b"\x00\x01\x02"),
    2010: http(b"Sphere V" + BROKEN + RIGHT_TO_LEFT),
    2011: http(b"Sphere V" + b"9" * 100_000),
    2012: http(b"Sphere V1&#0;&#x1b;]]></port><port portid='1'/>"),
    2013: http(b"Sphere V" + LABELS.replace(b"\r\n", b"\\n")),
    2014: http(b"Apache/2.4.1 (" + MARKUP + b")"),
    2015: says(b"\x00" * 1000 + BROKEN * 1000 + LABELS + b"\r\n" * 100),
}


def check_labels(metrics: Metrics) -> None:
    """All values of labels are printable and at most 64 characters long."""
    for sample in metrics.samples:
        for value in sample.labels.values():
            assert len(value) <= 64, sample
            assert value.isprintable(), sample


@beside
def test_poisoned_banners_are_shown_inert() -> None:
    """On the page, in the labels, in the log, in JSON: printable, short, and never markup."""
    with two_hosts("story-hostile") as (host, _), directory("story-hostile") as where:
        listen(host, [{"port": port, "address": V4, **what} for port, what in POISON.items()])
        start_sshd(host, where)
        agent = Agent(
            host, where / "state", "--scan.deep-probe-seconds", "3", "--log-level", "debug",
            "--scan.tcp-ports", "1-3000", "--fingerprint.active", "no", "--sniff.enabled", "no",
            log_format="text",
        )  # fmt: skip
        metrics = agent.wait_for_success("scan", 100)

        assert metrics.failures() == {}
        found = {int(x["port"]) for x in metrics.labels("vedette_open_port_info", address=V4)}
        assert found == {22, *POISON}
        products = {p["port"]: p["product"] for p in agent.inventory()["ports"]}
        assert products[22] == "OpenSSH"
        # The poison did arrive in labels, or there would be nothing to prove here.
        versions = {p["port"]: p["version"] for p in agent.inventory()["ports"]}
        arrived = {port for port, version in versions.items() if version and port in POISON}
        assert len(arrived) >= 9, versions
        assert "<script>alert(1)" in versions[2008]

        check_labels(metrics)
        assert [x["version"] for x in metrics.labels("vedette_build_info")] == ["0.1.0"]
        assert promtool(agent.get("/metrics").text) == ""
        check_page(agent.get("/").text)
        check_log(agent.log.read_bytes())
        agent.stop()


def check_page(text: str) -> None:
    """The page has no elements but its own, and no invisible characters."""
    assert "&lt;script&gt;alert(1)" in text
    for poison in ("<script", "<img", "\x1b", "\x00", "\u202e", "onerror=alert(1)>"):
        assert poison not in text
    assert all(c.isprintable() or c in "\n\u202f" for c in text)


def check_log(raw: bytes) -> None:
    """Each line is one of ours, and moves no cursor."""
    lines = raw.decode("utf-8").split("\n")
    assert lines.pop() == ""
    assert len(lines) > len(POISON)
    for line in lines:
        assert line.isprintable(), repr(line)
        assert line.startswith("20"), line
        assert line.split()[1] in ("debug", "info", "warning", "error")
