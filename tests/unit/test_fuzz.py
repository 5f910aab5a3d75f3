"""tests/fuzz: that it finds what it is for, shown by parsers with planted mistakes."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz import run

fuzzer = pytest.mark.skipif(
    find_spec("atheris") is None, reason="atheris has no wheel for this Python and machine"
)

PARSER = """
WORDS = [b"boom", b"stop"]
def seeds(): return [b"boo"]
def take(data):
    if data[:4] in WORDS:
        {mistake}
"""


@fuzzer
@pytest.mark.parametrize(
    ("mistake", "sign", "seconds"),
    [
        ("raise KeyError", "KeyError", 10),
        ("assert not data", "AssertionError", 10),
        ("while True: pass", "libFuzzer: timeout", 1),
        ("hoard = b'x' * (1 << 30); import time; time.sleep(9)", "out-of-memory", 10),
    ],
)
def test_a_mistake_is_found_and_its_input_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: str, sign: str, seconds: int
) -> None:
    """A fuzzer that overlooks crashes would be worse than none."""
    (tmp_path / "planted.py").write_text(PARSER.format(mistake=mistake))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    kept = tmp_path / "kept"

    found = run.fuzz("planted", kept, [f"-timeout={seconds}", f"-runs={10**6}", str(kept)], 60)

    assert found.failed
    assert sign in found.said
    assert found.crash is not None
    assert found.crash.read_bytes()[:4] in (b"boom", b"stop")


@fuzzer
def test_a_parser_without_a_mistake_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each input is counted."""
    (tmp_path / "planted.py").write_text(PARSER.format(mistake="pass"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    found = run.fuzz("planted", tmp_path / "kept", ["-runs=5000", str(tmp_path / "kept")], 20)

    assert (found.failed, found.crash) == (False, None)
    assert found.inputs >= 5000


def test_without_atheris_it_says_so() -> None:
    """Nothing fuzzed must not look like nothing found. -S: none of the installed packages."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "tests.fuzz.run"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 69
    assert done.stderr.startswith("vedette: nothing was fuzzed: atheris has no wheel for Python 3.")
