"""edges/packages.py: the list of listeners as the agent reads it, every few seconds."""

import json
from pathlib import Path

from vedette.edges import packages


def write(path: Path, generated: float) -> None:
    """As `vedette inventory` does it: another file takes the place."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"generated": generated, "listeners": []}))
    new.replace(path)


def test_a_list_is_read_once_and_a_new_one_is_seen(tmp_path: Path) -> None:
    """The agent asks after each run of a job; the timer writes every five minutes."""
    path = tmp_path / "listeners.json"
    write(path, 1000.0)
    first, again = packages.read(path), packages.read(path)
    write(path, 2000.0)

    assert again is first
    assert packages.read(path).generated == 2000.0


def test_a_list_that_is_gone_is_not_remembered(tmp_path: Path) -> None:
    """Who removes it wants it to be gone."""
    path = tmp_path / "listeners.json"
    write(path, 1000.0)
    packages.read(path)
    path.unlink()

    assert "cannot be read" in packages.why_not(path, 1000.0, 0.0)
