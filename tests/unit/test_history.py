"""history.py: snapshots' facts in, changes out; and the file survives everything."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vedette.history import Change, History
from vedette.job import Fact, Facts, Known


def ports(**versions: str) -> Facts:
    """The facts of a scan: {port: version}."""
    return Facts("port", tuple(Fact(n, {"version": v}) for n, v in versions.items()))


def heard(name: str) -> Facts:
    return Facts("port", (Fact(name, {"version": "1"}),), complete=False)


def change(at: float, key: str, what: Any, before: str | None, after: str | None) -> Change:
    return Change(
        at, "port", key, what,
        None if before is None else {"version": before},
        None if after is None else {"version": after},
    )  # fmt: skip


def present(history: History, kind: str = "port") -> dict[str, Any]:
    return {key: k.value for key, k in history.known(kind).items() if k.present}


def test_a_thing_appears_changes_disappears_and_comes_back() -> None:
    """Each is one change, told once; first and last seen tell the rest."""
    history = History(None)

    assert history.remember([ports(a="1", b="1")], 10) == [
        change(10, "a", "appeared", None, "1"),
        change(10, "b", "appeared", None, "1"),
    ]
    assert history.remember([ports(a="2", b="1")], 20) == [change(20, "a", "changed", "1", "2")]
    assert history.remember([ports(a="2")], 30) == [change(30, "b", "disappeared", "1", None)]
    assert history.remember([ports(a="2", b="3")], 40) == [change(40, "b", "appeared", None, "3")]
    assert history.known("port") == {
        "a": Known({"version": "2"}, {}, 10, 40, present=True),
        "b": Known({"version": "3"}, {}, 10, 40, present=True),
    }
    assert history.changes(2) == [
        change(40, "b", "appeared", None, "3"),
        change(30, "b", "disappeared", "1", None),
    ]


def test_a_detail_is_kept_and_is_no_news() -> None:
    """When a port was probed changes at each scan; nobody wants a line about it."""
    history = History(None)
    history.remember([Facts("port", (Fact("a", {"v": 1}, {"probed_at": 1}),))], 10)
    told = history.remember([Facts("port", (Fact("a", {"v": 1}, {"probed_at": 2}),))], 20)

    assert told == []
    assert history.known("port") == {"a": Known({"v": 1}, {"probed_at": 2}, 10, 20, present=True)}


def test_silence_about_an_incomplete_kind_is_no_news() -> None:
    """A neighbour that has not spoken is not gone."""
    history = History(None)
    history.remember([heard("a")], 10)

    assert history.remember([heard("b")], 20) == [change(20, "b", "appeared", None, "1")]
    assert present(history) == {"a": {"version": "1"}, "b": {"version": "1"}}


def test_two_kinds_of_one_snapshot_are_kept_together_or_not_at_all() -> None:
    """Half a snapshot would tell changes that never were."""
    history = History(None)
    unwritable = Facts("os", (Fact("a", {"name": object()}),))

    with pytest.raises(TypeError):
        history.remember([ports(a="1"), unwritable], 10)
    assert history.known("port") == {}

    history.remember([ports(a="1"), Facts("os", (Fact("a", {"name": "x"}),))], 20)
    assert (present(history), present(history, "os")) == (
        {"a": {"version": "1"}},
        {"a": {"name": "x"}},
    )


def test_the_same_facts_are_not_written_again_within_minutes() -> None:
    """Every five seconds a write: a worn-out disk, for a last_seen that nobody reads so exactly."""
    history = History(None)
    for at in (10.0, 15.0, 309.0):
        history.remember([ports(a="1")], at)
    assert history.known("port")["a"].last_seen == 10

    history.remember([ports(a="1")], 310)
    assert history.known("port")["a"].last_seen == 310


def test_a_clock_that_was_set_back_writes_again() -> None:
    """Else nothing would be written until the old time is reached once more."""
    history = History(None)
    for at in (1000.0, 10.0):
        history.remember([ports(a="1")], at)

    assert history.known("port")["a"].last_seen == 10


def test_it_is_all_there_after_a_restart(tmp_path: Path) -> None:
    """Else each restart of the agent would be a scan from nothing."""
    history = History(tmp_path / "new" / "history.sqlite")
    history.remember([ports(a="1")], 10)
    before = history.known("port"), history.changes()
    history.close()

    again = History(tmp_path / "new" / "history.sqlite")
    assert (again.known("port"), again.changes()) == before
    assert again.remember([ports(a="2")], 20) == [change(20, "a", "changed", "1", "2")]
    again.close()


def written(path: Path, facts: int = 300) -> bytes:
    """A file of a few pages, closed, and its bytes."""
    history = History(path)
    history.remember([ports(**{f"p{n}": "x" * 50 for n in range(facts)})], 10)
    history.close()
    return path.read_bytes()


def set_version(path: Path, number: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {number}")
    connection.close()


def other_tables(path: Path) -> bytes:
    """Another program's file, with a table of the same name."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE fact(id INTEGER)")
    connection.close()
    return path.read_bytes()


@pytest.mark.parametrize(
    "damage", ["random", "header", "truncated", "middle", "one byte", "other tables", "newer"]
)
def test_a_damaged_file_is_set_aside_and_a_new_one_begins(tmp_path: Path, damage: str) -> None:
    """The agent must start; and what can be saved from the old file is left to its owner."""
    path = tmp_path / "history.sqlite"
    whole = written(path)
    noise = random.Random(1).randbytes(len(whole))  # noqa: S311 - repeatable
    damaged = {
        "random": noise,
        "header": b"SQLite format 4\0" + whole[16:],
        "truncated": whole[: len(whole) // 2 - 100],
        "middle": whole[:4096] + noise[4096:],
        "one byte": whole.replace(b'{"version"', b'\x00"version"', 1),
        "other tables": other_tables(tmp_path / "other.sqlite"),
        "newer": whole,
    }[damage]
    path.write_bytes(damaged)
    if damage == "newer":
        set_version(path, 2)
        damaged = path.read_bytes()

    history = History(path)
    assert history.known("port") == {}
    assert history.remember([ports(a="1")], 10) == [change(10, "a", "appeared", None, "1")]
    history.close()
    assert (tmp_path / "history.sqlite.damaged-1").read_bytes() == damaged


def test_a_second_damage_does_not_overwrite_the_first(tmp_path: Path) -> None:
    """Whoever looks for the cause needs both."""
    path = tmp_path / "history.sqlite"
    for content in (b"first" * 1000, b"second" * 1000):
        path.write_bytes(content)
        History(path).close()

    assert {p.name: p.read_bytes()[:6] for p in tmp_path.glob("*.damaged-*")} == {
        "history.sqlite.damaged-1": b"firstf",
        "history.sqlite.damaged-2": b"second",
    }


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 60_000), st.binary(min_size=1, max_size=200))
@example(47, b"\x05")  # an unknown format of the schema
@example(3718, b"\x80")  # no UTF-8 in the schema, and then in SQLite's own message
def test_any_damage_can_be_opened_or_is_set_aside(
    tmp_path_factory: pytest.TempPathFactory, at: int, noise: bytes
) -> None:
    """No byte on a disk may keep the agent from starting."""
    path = tmp_path_factory.mktemp("damaged") / "history.sqlite"
    whole = bytearray(written(path, facts=100))
    at %= len(whole)
    whole[at : at + len(noise)] = noise
    path.write_bytes(whole)

    with suppress(OSError):  # the header asks for a newer SQLite: it is kept in memory then
        history = History(path)
        with suppress(sqlite3.Error):  # found later: the runner counts it, and the agent goes on
            history.remember([ports(a="1")], 20)
        history.close()


def test_a_directory_that_cannot_be_had_is_an_os_error(tmp_path: Path) -> None:
    """The caller then keeps the history in memory, and says so."""
    (tmp_path / "file").write_text("")

    with pytest.raises(OSError, match="file"):
        History(tmp_path / "file" / "history.sqlite")
    with pytest.raises(OSError, match="unable to open"):
        History(tmp_path)


def test_it_stays_bounded() -> None:
    """A neighbour who invents an address a second, for years, costs no other kind a thing."""
    history = History(None)
    history.remember([ports(ssh="9")], 0.0)
    for batch in range(1, 3):
        facts = tuple(Fact(f"{batch}-{n}", {"n": n}) for n in range(25_100))
        history.remember([Facts("neighbour", facts, complete=False)], batch)
    known = history.known("neighbour")

    assert len(known) == 20_000
    assert "2-25099" in known  # those seen last stay
    assert len(history.changes(10**6)) == 10_001
    assert history.known("port").keys() == {"ssh"}


def test_what_is_there_is_never_forgotten() -> None:
    """A scan of networks has more ports than that: those left out would be new at each scan."""
    history = History(None)
    many = Facts("port", tuple(Fact(str(n), {}) for n in range(20_100)))
    history.remember([ports(gone="1")], 0.0)

    assert len(history.remember([many], 1.0)) == 20_101
    assert history.remember([replace(many, facts=many.facts[1:])], 1000.0)[0].key == "0"
    assert len(history.known("port")) == 20_099


WRITER = """
import sys, time
from contextlib import suppress
from pathlib import Path
from vedette.history import History
from vedette.job import Fact, Facts
history = History(Path(sys.argv[1]))
first = max((known.value["n"] for known in history.known("a").values()), default=0)
print("ready", flush=True)
n = first
while True:
    n += 1
    history.remember([
        Facts(kind, tuple(Fact(f"k{i}", {"n": n}) for i in range(20))) for kind in "ab"
    ], float(n))
"""


def test_kill_9_at_any_moment_leaves_the_last_whole_snapshot(tmp_path: Path) -> None:
    """Power cuts and the kernel's out-of-memory killer do not knock."""
    path, last = tmp_path / "history.sqlite", 0
    dice = random.Random(7)  # noqa: S311 - repeatable
    environment = {**os.environ, "PYTHONPATH": "agent"}
    for _ in range(8):
        writer = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, env=environment
        )
        with writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(dice.uniform(0.0, 0.05))
            writer.send_signal(signal.SIGKILL)
        history = History(path)
        seen = {kind: {k.value["n"] for k in history.known(kind).values()} for kind in "ab"}
        history.close()

        assert seen["a"] == seen["b"]
        assert len(seen["a"]) <= 1
        assert max(seen["a"], default=0) >= last
        last = max(seen["a"], default=0)
    assert last > 0
    assert list(tmp_path.glob("*.damaged-*")) == []


snapshots = st.lists(
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from("123"), max_size=4), max_size=8
)


@given(snapshots, st.integers(1, 400))
def test_what_is_present_is_what_the_last_snapshot_said(
    several: list[dict[str, str]], step: int
) -> None:
    """And the changes are the way there: replayed from nothing, they come to the same."""
    history = History(None)
    for number, versions in enumerate(several):
        history.remember([ports(**versions)], float(number * step))

    replayed: dict[str, Any] = {}
    for told in reversed(history.changes(1000)):
        if told.after is None:
            assert replayed.pop(told.key) == told.before
        else:
            assert replayed.get(told.key) == told.before
            replayed[told.key] = told.after
    assert present(history) == replayed
    assert present(history) == {k: {"version": v} for k, v in (several or [{}])[-1].items()}
