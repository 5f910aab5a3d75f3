"""vedette/files/knowledge.py: which base is the newest, on the controller."""

import hashlib
import runpy
from pathlib import Path
from typing import Any

import pytest

from tests.unit.ansible.plugins import ROLES
from vedette.knowledge import build
from vedette.knowledge.records import Records


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return runpy.run_path(str(ROLES / "vedette/files/knowledge.py"))


def base(directory: Path, built_at: float, date: str) -> Path:
    """Return a base, as knowledge.yml has it built."""
    file = directory / "unfinished"
    records = Records()
    records.sources["kev"] = (date, 0)
    build.write(records, file, built_at)
    return file


def names(directory: Path) -> set[str]:
    return {path.stem for path in directory.glob("*.sqlite")}


def test_a_base_is_named_by_its_hash_and_latest_names_it(
    made: dict[str, Any], tmp_path: Path
) -> None:
    """What hosts are told to expect is what lies there."""
    digest = hashlib.sha256(base(tmp_path, 1, "2026-01-01").read_bytes()).hexdigest()

    assert made["publish"](tmp_path / "unfinished") is True
    assert (tmp_path / "latest").read_text() == f"{digest}\n"
    assert names(tmp_path) == {digest}
    assert not (tmp_path / "unfinished").exists()


def test_one_that_says_the_same_later_is_not_new(made: dict[str, Any], tmp_path: Path) -> None:
    """Or every agent would restart, each day, for nothing."""
    made["publish"](base(tmp_path, 1, "2026-01-01"))
    before = (tmp_path / "latest").read_text()

    assert made["publish"](base(tmp_path, 2, "2026-01-01")) is False
    assert (tmp_path / "latest").read_text() == before
    assert names(tmp_path) == {before.strip()}


def test_the_last_two_are_kept(made: dict[str, Any], tmp_path: Path) -> None:
    """A rollout that is under way still finds its own."""
    seen = []
    for day in (1, 2, 3):
        assert made["publish"](base(tmp_path, day, f"2026-01-0{day}")) is True
        seen.append((tmp_path / "latest").read_text().strip())

    assert names(tmp_path) == set(seen[1:])


def test_one_that_was_damaged_is_made_anew(made: dict[str, Any], tmp_path: Path) -> None:
    """What its name promises is read again each time."""
    made["publish"](base(tmp_path, 1, "2026-01-01"))
    (known,) = tmp_path.glob("*.sqlite")
    known.write_bytes(known.read_bytes() + b"x")

    assert made["publish"](base(tmp_path, 2, "2026-01-01")) is True
    assert (tmp_path / "latest").read_text().strip() != known.stem
