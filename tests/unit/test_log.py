"""log.py: one event in, one line out, whatever stands in its values."""

import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.snapshots import HOSTILE
from vedette import log

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}"


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under systemd (systemd.exec(5), JOURNAL_STREAM)."""
    monkeypatch.setenv("JOURNAL_STREAM", "8:1234")


@dataclass
class Written:
    handler: log.CountingHandler
    stream: io.StringIO

    @property
    def text(self) -> str:
        return self.stream.getvalue()


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    """Leave the program's logger as it was."""
    root = logging.getLogger("vedette")
    before = root.handlers, root.propagate, root.level
    yield
    root.handlers, root.propagate = before[0], before[1]
    root.setLevel(before[2])


def started(level: log.Level = "info", style: log.Format = "text") -> Written:
    handler = log.start(level, style)
    stream = io.StringIO()
    handler.setStream(stream)
    return Written(handler, stream)


def test_lines_go_where_standard_error_goes_by_then() -> None:
    """A progress bar takes it over while it is shown, or each line would stand behind the bar."""
    log.start()
    with redirect_stderr(io.StringIO()) as taken:
        log.event("info", "nmap")

    assert taken.getvalue().endswith(" info    nmap\n")


def test_a_line_has_time_level_message_and_values() -> None:
    """Words with blanks are quoted, so that a line can be taken apart again."""
    written = started()
    log.event("info", "nmap", argv="nmap -n", targets=3, outcome="ok", empty="", eq="a=b")

    assert re.fullmatch(
        TIME + r' info    nmap argv="nmap -n" targets=3 outcome=ok empty="" eq="a=b"\n',
        written.text,
    )


def test_json_lines_hold_the_same() -> None:
    """For those who collect logs by program."""
    written = started(style="json")
    log.event("warning", "job failed", job_name="scan", duration=1.5)
    line = json.loads(written.text)

    assert re.fullmatch(TIME, line.pop("time"))
    assert line == {
        "level": "warning",
        "message": "job failed",
        "job_name": "scan",
        "duration": 1.5,
    }


@pytest.mark.usefixtures("journal")
def test_the_journal_gets_priorities_instead_of_times() -> None:
    """It keeps the time itself, and shows errors in red (sd-daemon(3))."""
    written = started("debug")
    for level in ("debug", "info", "warning", "error"):
        log.event(level, "hello", a=1)

    assert written.text == "<7>hello a=1\n<6>hello a=1\n<4>hello a=1\n<3>hello a=1\n"


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize("value", [*HOSTILE, [HOSTILE[3]], ValueError(HOSTILE[4])])
def test_no_value_starts_a_line_or_moves_the_cursor(style: log.Format, value: object) -> None:
    """Else a banner could forge a log line, or hide one."""
    written = started(style=style)
    log.event("info", "seen", banner=value)

    assert written.text.endswith("\n")
    assert written.text[:-1].isprintable()


@pytest.mark.parametrize("style", ["text", "json"])
@given(
    value=st.text()
    | st.lists(st.text(), max_size=2)
    | st.dictionaries(st.text(), st.text(), max_size=2)
)
def test_any_value_is_one_printable_line(style: log.Format, value: Any) -> None:
    """Not one event may become two lines."""
    written = started(style=style)
    log.event("info", "seen", banner=value)

    assert written.text[:-1].isprintable()
    assert written.text.endswith("\n")


def fail(text: str) -> None:
    try:
        int(f"x{text}")
    except ValueError as exc:
        exc.args = (text,)
        log.event("error", "bug in a job", trace=True, job_name="scan")


@pytest.mark.parametrize(
    "text", [t for t in HOSTILE if t] + ["x\n2026-11-22T00:00:00+0000 info forged"]
)
def test_a_traceback_cannot_forge_lines_either(text: str) -> None:
    """An exception's words can be a peer's: each of its lines is indented, and printable."""
    written = started()
    fail(text)
    first, *others = written.text.splitlines()

    assert re.fullmatch(TIME + " error   bug in a job job_name=scan", first)
    assert others[0] == "  Traceback (most recent call last):"
    assert all(line.startswith("  ") and line.isprintable() for line in others)


def test_a_traceback_in_json_is_one_value() -> None:
    """A line that is no JSON stops a collector."""
    written = started(style="json")
    fail("oh\nno")
    line = json.loads(written.text)

    assert line["message"] == "bug in a job"
    assert line["trace"].startswith("Traceback (most recent call last):")
    assert line["trace"].endswith("ValueError: oh\nno")


@pytest.mark.usefixtures("journal")
def test_a_traceback_in_the_journal_has_its_priority_on_each_line() -> None:
    """Else its second line would be of another priority."""
    written = started()
    fail("oh\nno")

    assert all(line.startswith("<3>") for line in written.text.splitlines())


@pytest.mark.usefixtures("journal")
def test_nor_does_one_in_the_journal() -> None:
    """Where a line that starts with `<0>` would wake somebody up."""
    written = started()
    log.event("info", "seen", banner="x\n<0>emergency")

    assert written.text == '<6>seen banner="x <0>emergency"\n'


def test_lines_are_counted_by_level() -> None:
    """`vedette_log_messages_total`: an alert on errors needs no log collector."""
    written = started("warning")
    for _ in range(3):
        log.event("error", "x")
    log.event("warning", "x")
    log.event("info", "not logged, so not counted")

    assert written.handler.counts == {"info": 0, "warning": 1, "error": 3}
