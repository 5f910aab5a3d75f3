"""publish/page: the inventory in, one HTML document out, whatever stands in the inventory."""

from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.publish.test_inventory import CAN, CHANGE, SNAPSHOTS, records
from tests.unit.snapshots import FINGERPRINT, HOSTILE, SNIFF, STATS, hostile_scan
from vedette.edges.host import Filesystem, InterfaceAddress, InterfaceCounters
from vedette.history import Change
from vedette.jobs.fingerprint import Guess
from vedette.publish import page
from vedette.publish.inventory import inventory
from vedette.store import Failure


class Document(HTMLParser):
    """The tags, attributes and text of a page; asserts that it is well-formed."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


KNOWN_TAGS = {
    "html", "head", "meta", "title", "style", "body", "header", "h1", "small", "main", "div",
    "span", "b", "section", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "details",
    "summary", "code", "s", "footer", "a",
}  # fmt: skip
KNOWN_ATTRIBUTES = {
    "lang", "charset", "name", "content", "http-equiv", "class", "style", "data-name", "title",
    "href",
}  # fmt: skip


def everything() -> dict[str, Any]:
    return inventory(records(**SNAPSHOTS), CAN, [CHANGE], 1_790_000_000.0, 50.0)


def hostile(text: str) -> dict[str, Any]:
    """An inventory in which everything that a stranger can write is this text."""
    bad = {text: text}
    counters = replace(
        STATS.counters,
        interfaces={text: InterfaceCounters(1, 1, 1, 1, 1, 1)},
        filesystems=(Filesystem(text, text, 1, 1),),
    )
    snapshots = {
        "scan": hostile_scan(),
        "fingerprint": replace(
            FINGERPRINT, guesses=(Guess(STATS.addresses[0].address, text, text, text, 1.0),)
        ),
        "stats": replace(
            STATS,
            counters=counters,
            addresses=(InterfaceAddress(text, STATS.addresses[0].address, text),),
        ),
        "sniff": replace(
            SNIFF,
            protocols={(text, text): (1, 1)},
            services={(text, 1, text, text): (1, 1)},
            peers={text: 1},
            neighbours={text: (text, text)},
            dropped={text: 1},
        ),
    }
    seen = {
        name: replace(
            record, failure=Failure(1.0, "bug", text), running_since=1.0, progress=(0.5, text)
        )
        for name, record in records(**snapshots).items()
    }
    return inventory(seen, CAN, [Change(1.0, text, text, "changed", bad, bad)], 1000.0, 50.0)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_inert_wherever_it_stands(text: str) -> None:
    """A banner that runs in the operator's browser has taken over the watch."""
    document = Document(page.page(hostile(text), live=True))

    assert document.tags <= KNOWN_TAGS
    assert document.attributes <= KNOWN_ATTRIBUTES


@given(st.text(st.sampled_from("<>\"'&;/=! -scriptonimg{}%`\x00\n"), max_size=40) | st.text())
def test_no_text_becomes_markup(text: str) -> None:
    """Not by any combination of the characters that have a meaning."""
    document = Document(page.page(hostile(text), live=False))

    assert document.tags <= KNOWN_TAGS
    assert document.attributes <= KNOWN_ATTRIBUTES


@pytest.mark.parametrize("text", HOSTILE)
def test_the_page_can_be_sent(text: str) -> None:
    """A lone surrogate cannot be encoded: one banner would make the page an error."""
    assert page.page(hostile(text), live=True).encode("utf-8")


def test_a_page_with_everything_shows_it() -> None:
    """What a person comes for is there, in words."""
    document = Document(page.page(everything(), live=True))
    text = " ".join(" ".join(document.texts).split())

    for fact in (
        "4.9 medium", "OpenSSH 9.2p1 Debian 2+deb12u3", "telnet sends passwords in clear text",
        "unexpected", "192.0.2.10: expected but not open: tcp/80", "sshd", "02:00:00:00:00:01",
        "Debian GNU/Linux 12 (bookworm)", "nmap, 97 %", "198.51.100.7", "Acme",
        "/dev/vda1", "10.0 GiB", "40.0 GiB", "25 %", "1.5 KiB /s", "port appeared", "ssh 9",
    ):  # fmt: skip
        assert fact.replace(" /s", "/s") in text


def test_a_page_with_nothing_says_so() -> None:
    """In the first second of the agent somebody looks already."""
    nothing = inventory(records(scan=None), dict.fromkeys(CAN, False), [], 1000.0, 50.0)
    text = " ".join(Document(page.page(nothing, live=True)).texts)

    for said in (
        "no scan", "The first scan is not finished yet.", "none on a real interface",
        "not known yet", "Nothing captured yet.", "What is missing here", "waiting",
        "nmap is not installed",
    ):  # fmt: skip
        assert said in text


def test_a_host_without_open_ports_is_not_a_host_without_a_scan() -> None:
    """Zero is a measurement."""
    empty = replace(hostile_scan(), ports=())
    text = " ".join(
        Document(page.page(inventory(records(scan=empty), CAN, [], 0, 50.0), live=True)).texts
    )

    assert "No open port was found." in text


@pytest.mark.parametrize(
    ("jobs", "words"),
    [
        ([], "The job scan is switched off."),
        ([("scan", "first run")], "The first scan is not finished yet."),
        ([("scan", "failing"), ("stats", "ok")], "The scan fails: see Jobs."),
    ],
)
def test_why_there_is_no_scan_is_said(jobs: list[tuple[str, str]], words: str) -> None:
    """Where nmap is missing the first scan is never finished: nobody should wait for it."""
    nothing = inventory(records(scan=None), CAN, [], 1000.0, 50.0)
    (job,) = nothing["jobs"]
    nothing["jobs"] = [job | {"job_name": name, "state": state} for name, state in jobs]

    assert words in page.page(nothing, live=True)


def test_a_report_in_a_file_neither_reloads_nor_links_to_the_agent() -> None:
    """It is sent by mail, and opened where no agent is."""
    report, live = page.page(everything(), live=False), page.page(everything(), live=True)

    assert "http-equiv" not in report
    assert "href" not in report
    assert 'http-equiv="refresh"' in live
    assert 'href="/metrics"' in live


def test_the_page_reloads_often_during_the_first_run_only() -> None:
    """Whoever reads why a port is dangerous must not see it close every half minute."""
    first = everything()
    over = first | {"jobs": [job | {"state": "failing"} for job in first["jobs"]]}

    assert 'http-equiv="refresh" content="10"' in page.page(first, live=True)
    assert 'http-equiv="refresh" content="300"' in page.page(over, live=True)


def test_what_was_seen_of_an_event_is_told_by_name() -> None:
    """A row of bare numbers tells nobody anything."""
    event = Change(1.0, "event", "port_scan 192.0.2.9", "appeared", None, {"at": "x", "ports": 100})
    html = page.page(inventory(records(**SNAPSHOTS), CAN, [event], 1000.0, 50.0), live=True)

    assert "event appeared port_scan 192.0.2.9 ports 100 metrics" in " ".join(
        " ".join(Document(html).texts).split()
    )


def test_thousands_of_rows_are_cut_and_said_so() -> None:
    """A scrape waits while the page is made: 5,000 open ports took most of a second."""
    document = everything()
    document["ports"] *= 2000
    document["machine"]["interfaces"] *= 2000
    document["operating_systems"] *= 2000
    for rows in ("protocols", "services", "neighbours"):
        document["traffic"][rows] *= 2000
    html = page.page(document, live=True)
    text = " ".join(" ".join(Document(html).texts).split())

    more = len(document["ports"]) - 200
    assert f"and {page.number(more)} more, all in inventory.json".replace("\u202f", " ") in text
    assert html.count("<tr>") < 600


def test_nothing_is_loaded_from_anywhere() -> None:
    """It works in a cellar without internet, and tells nobody that somebody looks."""
    html = page.page(everything(), live=True)

    assert "://" not in html
    assert "@import" not in html
    assert "url(" not in html
    assert "src=" not in html


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "–"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"),
     (3 << 20, "3.0 MiB"), (5 << 30, "5.0 GiB"), (7 << 40, "7.0 TiB"), (5 << 50, "5120.0 TiB")],
)  # fmt: skip
def test_sizes_in_words(value: float | None, words: str) -> None:
    """No reading is a dash, not zero."""
    assert page.size(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "–"), (0, "–"), (1_790_000_000.5, "2026-09-21 14:13:20 UTC")],
)
def test_times_in_words(value: float | None, words: str) -> None:
    """In UTC, and saying so: the reader may sit elsewhere than the host."""
    assert page.time(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "–"), (0, "0 ms"), (0.0124, "12 ms"), (4.25, "4.2 s"), (10, "10 s"),
     (119, "119 s"), (180, "3 min"), (7200, "2 h"), (86_400, "24 h"), (432_000, "5 d")],
)  # fmt: skip
def test_durations_in_words(value: float | None, words: str) -> None:
    """From milliseconds to days with two digits that matter."""
    assert page.duration(value) == words


def test_what_history_remembers_in_words() -> None:
    """It keeps the names sorted: "nginx https 1.22.1" tore product and version apart."""
    port = {"product": "nginx", "service_name": "https", "version": "1.22.1"}

    assert page.words(port) == "https nginx 1.22.1"
    assert page.words({"family": "Linux", "os_name": ""}) == "Linux"


def test_numbers_in_groups() -> None:
    """With narrow spaces that no line break divides."""
    assert page.number(1_234_567) == "1\u202f234\u202f567"


def test_findings_are_shown_with_their_reasons_and_bounded() -> None:
    """The worst of each kind; who wants all reads the JSON."""
    document = everything()
    risk = document["ports"][0]["risk"]
    one = {
        "finding": "CVE-2021-41773", "level": "critical", "score": 9.8, "known_exploited": True,
        "due_days": 3, "fixed_in": "2.4.51", "confidence": 80, "reasons": ["because"],
    }  # fmt: skip
    document["ports"][0]["risk"] = {
        **risk,
        "findings": [one] * 500,
        "possible": [one | {"finding": "CVE-2099-10001", "due_days": 9999}],
        "accepted": [one | {"accepted": {"reason": "no CGI", "expires": "2027-03-31"}}],
        "suppressed": [{"finding": "CVE-2024-38472", "reason": "platform"}] * 500,
    }

    html = page.page(document, live=True)
    text = " ".join(" ".join(Document(html).texts).split())

    for fact in (
        "500 findings", "CVE-2021-41773 known exploited · due in 3 days · fixed in 2.4.51 · 80 %",
        "and 480 more", "1 possible, not counted",
        "CVE-2099-10001 known exploited · with the next upgrade",
        "1 accepted", "until 2027-03-31: no CGI", "500 left out", "platform: CVE-2024-38472,",
    ):  # fmt: skip
        assert fact in text
    assert html.count("CVE-2021-41773") < 30
    assert html.count("CVE-2024-38472") < 30
