"""The module vedette_files: many files at once, as ansible runs it, on a directory of the test."""

import grp
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.ansible.plugins import ROLES, filters

ME = {"owner": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}


def brought(**arguments: Any) -> dict[str, Any]:
    """Return what the module answers."""
    program = (
        "import json, runpy, sys\n"
        "from ansible.module_utils.testing import patch_module_args\n"
        "with patch_module_args(json.load(sys.stdin)):\n"
        "    runpy.run_path(sys.argv[1], run_name='__main__')\n"
    )
    done = subprocess.run(  # noqa: S603 - the module
        [sys.executable, "-c", program, str(ROLES / "vedette/library/vedette_files.py")],
        input=json.dumps({**ME, **arguments}), capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.stdout, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture
def wanted(tmp_path: Path) -> dict[str, Any]:
    return {
        "directories": [{"path": f"{tmp_path}/rules", "mode": "0750"}],
        "files": [
            {"path": f"{tmp_path}/rules/a", "content": "a\n", "mode": "0640"},
            {"path": f"{tmp_path}/rules/b", "content": "b\n", "validate": "grep -q b %s"},
        ],
        "pruned": [f"{tmp_path}/rules/*"],
    }


def test_what_is_missing_is_made_and_what_is_there_is_left(
    wanted: dict[str, Any], tmp_path: Path
) -> None:
    """A second time nothing is changed, not even a time."""
    first = brought(**wanted)
    before = (tmp_path / "rules/a").stat()
    second = brought(**wanted)
    after = (tmp_path / "rules/a").stat()

    assert first["changed"] is True
    assert first["paths"] == [f"{tmp_path}/rules{name}" for name in ("", "/a", "/b")]
    assert oct((tmp_path / "rules").stat().st_mode)[-3:] == "750"
    assert oct(before.st_mode)[-3:] == "640"
    assert (tmp_path / "rules/b").read_text() == "b\n"
    assert second["changed"] is False
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_check_tells_what_it_would_do_and_does_nothing(
    wanted: dict[str, Any], tmp_path: Path
) -> None:
    """Also where a directory, a group or the validator is not there yet."""
    wanted["files"][1] |= {"validate": "/nowhere/promtool %s", "group": "nobody-has-this-group"}
    answer = brought(**wanted, _ansible_check_mode=True)

    assert answer["changed"] is True
    assert [part["after"] for part in answer["diff"]] == ["directory", "a\n", "b\n"]
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_longer_brought_is_left_as_an_empty_list(tmp_path: Path) -> None:
    """Where a file that vanishes would be taken for one that did not change; once."""
    (tmp_path / "targets").mkdir()
    old = tmp_path / "targets/old.json"
    old.write_text("[1]\n")
    old.chmod(0o600)
    kept = {"path": f"{tmp_path}/targets/new.json", "content": "[2]\n"}
    wanted = {"files": [kept], "emptied": [f"{tmp_path}/targets/*.json"]}
    first, second = brought(**wanted), brought(**wanted)

    assert old.read_text() == "[]\n"
    assert oct(old.stat().st_mode)[-3:] == "600"
    assert (tmp_path / "targets/new.json").read_text() == "[2]\n"
    assert (first["changed"], second["changed"]) == (True, False)
    assert first["paths"] == [kept["path"], str(old)]


def test_what_is_refused_replaces_nothing(wanted: dict[str, Any], tmp_path: Path) -> None:
    """And what is left out is not removed by a run that fails."""
    brought(**wanted)
    wanted["files"] = [{**wanted["files"][1], "content": "c\n"}]
    answer = brought(**wanted)

    assert answer["failed"] is True
    assert "/rules/b is refused by grep -q b" in answer["msg"]
    assert (tmp_path / "rules/b").read_text() == "b\n"
    assert (tmp_path / "rules/a").exists()


def test_what_is_no_longer_brought_is_removed(wanted: dict[str, Any], tmp_path: Path) -> None:
    """Files and links; a directory is somebody's."""
    brought(**wanted)
    (tmp_path / "rules/old").symlink_to("/etc/passwd")
    (tmp_path / "rules/theirs").mkdir()
    del wanted["files"][0]
    answer = brought(**wanted)

    assert answer["paths"] == [f"{tmp_path}/rules/{name}" for name in ("a", "old")]
    assert sorted(path.name for path in (tmp_path / "rules").iterdir()) == ["b", "theirs"]


def test_what_was_replaced_is_kept_where_that_is_wanted(
    wanted: dict[str, Any], tmp_path: Path
) -> None:
    """So that somebody can put it back."""
    brought(**wanted)
    wanted["files"][0]["content"] = "new\n"
    answer = brought(**wanted, backup=True)
    (kept,) = answer["backups"]

    assert kept["dest"] == f"{tmp_path}/rules/a"
    assert Path(kept["backup_file"]).read_text() == "a\n"


def test_another_mode_is_a_change(wanted: dict[str, Any], tmp_path: Path) -> None:
    """What somebody has opened to all is closed again."""
    brought(**wanted)
    (tmp_path / "rules/a").chmod(0o644)
    answer = brought(**wanted)

    assert answer["paths"] == [f"{tmp_path}/rules/a"]
    assert oct((tmp_path / "rules/a").stat().st_mode)[-3:] == "640"


def test_filters_make_what_the_module_takes(tmp_path: Path) -> None:
    """Files of the repository, and secrets by name."""
    (tmp_path / "a.yml").write_text("é\n", encoding="utf-8")
    made = filters("vedette", "files")

    assert made.shipped(f"{tmp_path}/a.yml", "/etc/x", mode="0640") == {
        "path": "/etc/x/a.yml", "content": "é\n", "mode": "0640",
    }  # fmt: skip
    assert made.kept({"b": f"{tmp_path}/a.yml"}, "/etc/x") == [
        {"path": "/etc/x/b", "content": "é\n"}
    ]
    assert made.kept({"b": f"{tmp_path}/none"}, "/etc/x", missing_ok=True) == []
    assert made.secrets({"mail": 12}, "/etc/x") == [{"path": "/etc/x/mail", "content": "12"}]
