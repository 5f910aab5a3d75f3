"""The golden file of the unit tests, by the judgement of Prometheus' own linter."""

import subprocess
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "unit" / "golden" / "metrics.txt"


@pytest.mark.live
def test_promtool_has_nothing_to_say() -> None:
    """It knows the naming practices better than our own test does; silence is its praise."""
    done = subprocess.run(
        ["promtool", "check", "metrics"],  # noqa: S607 - from PATH, as ./dev has installed it
        input=GOLDEN.read_bytes(),
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
