"""edges/capture_process.py: a line of the capture process in, a summary out. None is started."""

import json
import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import text_of
from tests.unit.snapshots import HOSTILE
from vedette.capture.decode import Packet
from vedette.capture.summary import Window
from vedette.edges import capture_process
from vedette.errors import BadOutput
from vedette.job import clean
from vedette.jobs import sniff
from vedette.sniffed import Sniff

NOTHING = Sniff(seconds=0, protocols={}, services={}, dropped={}, peers={}, neighbours={})
SUMMARY: dict[str, Any] = {
    "seconds": 10.0,
    "protocols": [["eth0", "tcp", 2, 120]],
    "services": [["tcp", 22, "in", 1, 60]],
    "peers": [["198.51.100.7", 60], ["other", 0]],
    "neighbours": [["192.0.2.1", "02:00:00:00:00:01", "Acme"]],
    "dropped": {"eth0": 0},
}


DISSECTED: dict[str, Any] = {
    "application": [["tls", 1, 2, 300]],
    "spoken": [["tcp", 22, "ssh", "content", 1.5]],
    "events": [["port_scan", "192.0.2.66", {"ports": 100, "macs": ["a", "b"]}, 1.5]],
    "heard": [["192.0.2.1", "02:00:00:00:00:01", "Acme", "arp", ""]],
    "systems": [["192.0.2.1", "Linux", "exact"]],
    "names": 3,
    "asked": [["tls", "alpn", "h2", 2]],
    "shed": 12,
}
NOTHING_DISSECTED: dict[str, Any] = {
    key: 0 if isinstance(value, int) else [] for key, value in DISSECTED.items()
}


def parse(value: object) -> capture_process.Summary:
    return capture_process.parse(json.dumps(value))


def test_what_the_capture_process_writes_can_be_read() -> None:
    """The two sides of the pipe, put together."""
    window = Window([bytes([192, 0, 2, 10])], {"tcp": [22]})
    peer, own = bytes([198, 51, 100, 7]), bytes([192, 0, 2, 10])
    window.add("eth0", Packet("tcp", peer, own, 1, 22), 60)
    window.add("eth0", Packet("arp", sender_mac=b"\2\0\0\0\0\1", sender=peer), 42)
    told = window.as_json(1.5, 3, {"eth0": 1}, lambda _: "Acme")

    assert parse(told) == json.loads(json.dumps(told)) | NOTHING_DISSECTED


def test_a_summary_is_taken_as_it_is() -> None:
    """Nothing is added, nothing lost."""
    assert parse(SUMMARY) == SUMMARY | NOTHING_DISSECTED
    assert parse(SUMMARY | DISSECTED) == SUMMARY | DISSECTED


CHANGES: tuple[dict[str, Any], ...] = (
    {"seconds": "10"}, {"seconds": math.nan}, {"seconds": math.inf}, {"seconds": -1},
    {"protocols": None}, {"protocols": [["eth0", "tcp", 1]]},
    {"protocols": [["eth0", "tcp", -1, 1]]},
    {"protocols": [["eth0", "tcp", 1, 10**400]]},
    {"protocols": [["eth0", "tcp", 1.5, 1]]}, {"protocols": ["eth0"]},
    {"services": [["tcp", "22", "in", 1, 1]]},
    {"services": [["tcp", 22, "in", True, 1]]},
    {"peers": {"a": 1}}, {"peers": [["a", None]]}, {"neighbours": [[1, 2, 3]]},
    {"dropped": []}, {"dropped": {"eth0": "many"}}, {"dropped": {"eth0": -1}},
    {"application": [["tls", 1, 2]]}, {"spoken": [["tcp", 22, "ssh", "content", math.nan]]},
    {"events": [["fun", "x", {}, 1.5]]}, {"events": [["port_scan", "x", [], 1.5]]},
    {"events": [["port_scan", "x", {}, 1e300]]}, {"events": [["port_scan", 1, {}, 1]]},
    {"events": [["port_scan", "x", {"a": {}}, 1]]}, {"events": 1}, {"heard": [["a"]]},
    {"names": -1}, {"asked": [["tls", "alpn", "h2", "2"]]}, {"shed": "12"},
)  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "", "null", "[]", "{}", '"text"', "1", "{", "[" * 100_000, '{"a":' * 100_000,
        *(
            json.dumps({**SUMMARY, **change})
            for change in CHANGES
        ),
        json.dumps({key: value for key, value in SUMMARY.items() if key != "peers"}),
        json.dumps(SUMMARY).replace("10.0", "1e999"),
    ],
)  # fmt: skip
def test_anything_else_is_bad_output(line: str) -> None:
    """That process reads strangers' packets: the day one takes it over, this is the wall."""
    with pytest.raises(BadOutput, match=r"^no summary: "):
        capture_process.parse(line)


@pytest.mark.parametrize("text", HOSTILE)
def test_its_words_are_one_short_printable_line(text: str) -> None:
    """Interface names and makers go to labels, the page and the history."""
    told = {
        **SUMMARY,
        "protocols": [[text, text, 1, 1]],
        "neighbours": [[text, text, text]],
        "peers": [[text, 1]],
        "dropped": {text: 1},
    }
    short = clean(text)

    assert parse(told) == {
        **SUMMARY,
        **NOTHING_DISSECTED,
        "protocols": [[short, short, 1, 1]],
        "neighbours": [[short, short, short]],
        "peers": [[short, 1]],
        "dropped": {short: 1},
    }


def must_be_sound(line: str) -> None:
    """Either BadOutput, or a summary that can be counted and printed."""
    with suppress(BadOutput):
        seen = sniff.add(NOTHING, capture_process.parse(line), {("tcp", 22): "ssh"})
        json.dumps(seen.seconds, allow_nan=False)
        assert text_of(sniff.families(seen))


@given(st.text() | st.binary().map(lambda raw: raw.decode(errors="replace")))
def test_any_text_is_bad_output(line: str) -> None:
    """Noise is no window."""
    with pytest.raises(BadOutput):
        capture_process.parse(line)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)
words, counts = st.text(max_size=8), st.integers()
rows = {
    "protocols": st.tuples(words, words, counts, counts),
    "services": st.tuples(st.just("tcp"), st.just(22), words, counts, counts),
    "peers": st.tuples(words, counts),
    "neighbours": st.tuples(words, words, words),
}


@given(
    st.fixed_dictionaries(
        {
            "seconds": st.floats() | st.integers() | anything,
            **{name: st.lists(row, max_size=4) | anything for name, row in rows.items()},
            "dropped": st.dictionaries(words, counts) | anything,
        }
    )
)
def test_any_json_is_bad_output_or_sound(value: dict[str, Any]) -> None:
    """With the right keys and almost the right values: what a clever attacker would send."""
    must_be_sound(json.dumps(value))
