"""A disk that is really full while a base is made: the old one stays, and nothing beside it."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from tests.live.running import VEDETTE

pytestmark = pytest.mark.live

RECORDS = Path(__file__).parents[1] / "evaluation"
# Its own mount namespace: the disk is gone with the last process, however that ends.
SCRIPT = """
set -e
mount -t tmpfs -o size=192k tmpfs "$1"
"$2" knowledge build --records "$3/records" --output "$1/base" 2>/dev/null
sha256sum <"$1/base"
"$2" knowledge build --records "$3/sweep" --output "$1/base" 2>&1 && exit 9
VEDETTE_SCAN__KNOWLEDGE_FILE="$1/base" "$2" knowledge update "$4" 2>&1 && exit 9
ls -A "$1"
sha256sum <"$1/base"
"""


def test_a_full_disk_leaves_the_old_base_and_nothing_else(tmp_path: Path) -> None:
    """Both the builder and who puts a finished base in place say so in one line."""
    disk, larger = tmp_path / "disk", tmp_path / "larger"
    disk.mkdir()
    build = ["knowledge", "build", "--records", str(RECORDS / "sweep"), "--output", str(larger)]
    subprocess.run([VEDETTE, *build], check=True, capture_output=True)  # noqa: S603 - ourselves

    done = subprocess.run(  # noqa: S603 - as above
        ["unshare", "-m", "sh", "-c", SCRIPT, "sh", disk, VEDETTE, RECORDS, larger],  # noqa: S607
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    before, *said, left, after = done.stdout.splitlines()

    assert len(before) > hashlib.sha256().digest_size
    assert len(said) == 2
    assert all("base cannot be written: " in line for line in said)
    assert (left, after) == ("base", before)
