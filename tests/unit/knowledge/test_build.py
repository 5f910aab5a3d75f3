"""knowledge/: record files in, one base out; what is broken is named, what is old stays in use."""

import json
import lzma
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.unit.bases import APACHE, base
from vedette import cli
from vedette.errors import KnowledgeError
from vedette.knowledge import build, records
from vedette.risk.knowledge import BUNDLED, Knowledge, open_newest

PRODUCT = {"product": "apache", "cpe": ["apache:http_server"], "nmap": "Apache httpd"}


def write(directory: Path, **files: Any) -> Path:
    directory.mkdir(exist_ok=True)
    for name, content in files.items():
        (directory / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return directory


def test_record_files_become_a_base(tmp_path: Path) -> None:
    """The format of the files is the interface: here is one of each."""
    directory = write(
        tmp_path / "records",
        products=[PRODUCT],
        service_cves=[APACHE],
        distro_fixes=[{"distro": "debian", "release": "bookworm", "package": "apache2",
                       "product": "apache", "src": "changelog",
                       "fixed": {"CVE-2021-41773": "2.4.50-1"}}],
        debian_changelog_fixes={"apache2": {"installed": "2.4.62-1~deb12u2"}},
        epss=[{"cve": "CVE-2021-41773", "epss": 0.97}],
        manifest={"data_date": "2026-11-22"},
    )  # fmt: skip

    found = records.read([directory])
    digest = build.write(found, tmp_path / "base", 1_790_000_000.0)
    knowledge = Knowledge(tmp_path / "base")

    assert found.skipped == []
    assert len(digest) == 64
    assert knowledge.counts() == {"product": 1, "cve": 1, "range": 1, "package": 1, "fix": 1}
    assert ("service_cves", "2026-11-22", 1) in knowledge.sources()
    (match,) = knowledge.matches("apache", "2.4.49")
    assert (match.cve.name, match.cve.severity, match.cve.epss) == ("CVE-2021-41773", 9.8, 0.97)
    assert knowledge.product("cpe", "Apache:HTTP_Server") == "apache"
    known = knowledge.package("debian:bookworm", "apache2")
    assert known is not None
    assert (known.product, known.shipped, known.complete) == ("apache", "2.4.62-1~deb12u2", False)


def test_later_directories_add_to_earlier_ones(tmp_path: Path) -> None:
    """What only adds comes last, wherever it lies."""
    one = write(tmp_path / "one", service_cves_patch=[{"cve": "CVE-2021-41773",
                "cvss": {"v3": {"score": 1.0, "vector": ""}}, "published": "2000-01-01",
                "affected": [{"p": "apache", "v": "2.4.48", "src": "other"}]}])  # fmt: skip
    two = write(tmp_path / "two", products=[PRODUCT], service_cves=[APACHE])

    build.write(records.read([one, two]), tmp_path / "base", 0.0)
    knowledge = Knowledge(tmp_path / "base")

    (added,) = knowledge.matches("apache", "2.4.48")
    assert (added.cve.severity, added.cve.published) == (9.8, "2021-10-05")


def test_a_file_in_two_directories_is_counted_once_with_all_it_holds(tmp_path: Path) -> None:
    """Both have their records in the base; only one of them has a date."""
    row = {"distro": "debian", "package": "apache2", "product": "apache", "src": "dsa"}
    one = write(tmp_path / "one", products=[PRODUCT], manifest={"data_date": "2026-11-22"},
                distro_fixes=[row | {"release": "bookworm"}])  # fmt: skip
    two = write(tmp_path / "two", distro_fixes=[row | {"release": release} for release in "ab"])

    assert records.read([one, two]).sources["distro_fixes"] == ("2026-11-22", 3)


@pytest.mark.parametrize(
    "broken",
    [{"cve": "CVE-1", "affected": []}, {"affected": []}, {"cve": None}, "text", [], 7,
     {"cve": "CVE-2024-0001", "affected": [{"v": "1"}]},
     {"cve": "CVE-2024-0001", "affected": [{"p": "apache", "src": "x", "vs": 3}]},
     {"cve": "CVE-2024-0001", "cvss": {"v3": {"score": "high"}}}],
)  # fmt: skip
def test_a_broken_record_is_skipped_and_named(tmp_path: Path, broken: Any) -> None:
    """One bad line in 7,000 does not cost the other 6,999, and is not silent."""
    directory = write(tmp_path / "records", products=[PRODUCT], service_cves=[broken, APACHE])

    found = records.read([directory])
    build.write(found, tmp_path / "base", 0.0)

    assert len(found.skipped) == 1
    assert "record" in found.skipped[0]
    assert [m.cve.name for m in Knowledge(tmp_path / "base").matches("apache", "2.4.49")] == [
        "CVE-2021-41773"
    ]


@pytest.mark.parametrize("content", ["", "[{", '"text"', "[1]", "[" * 100_000])
def test_a_damaged_file_is_named_and_nothing_is_written(tmp_path: Path, content: str) -> None:
    """A download that was cut off: the old base stays."""
    directory = tmp_path / "records"
    directory.mkdir()
    (directory / "service_cves.json").write_text(content, encoding="utf-8")

    with pytest.raises(KnowledgeError, match=r"service_cves\.json"):
        records.read([directory])


def test_a_directory_without_records_is_refused(tmp_path: Path) -> None:
    """A wrong path is no empty knowledge."""
    with pytest.raises(KnowledgeError, match="no record files"):
        records.read([tmp_path])


def test_what_cannot_be_written_leaves_the_old_base(tmp_path: Path) -> None:
    """Written beside it, renamed at the end."""
    base(tmp_path / "base", [APACHE]).close()
    before = (tmp_path / "base").read_bytes()
    (tmp_path / ".base.new").mkdir()  # in its way

    with pytest.raises(KnowledgeError, match="base cannot be written"):
        base(tmp_path / "base")

    assert (tmp_path / "base").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"text", b"SQLite format 3\x00" + b"\xff" * 4096])
def test_what_is_no_base_is_refused(tmp_path: Path, content: bytes) -> None:
    """In words."""
    path = tmp_path / "base"
    path.write_bytes(content)

    with pytest.raises(KnowledgeError, match="is no knowledge base"):
        Knowledge(path)


def test_another_schema_is_refused(tmp_path: Path) -> None:
    """A newer controller's base on an older agent."""
    base(tmp_path / "base").close()
    with sqlite3.connect(tmp_path / "base") as db:
        db.execute("UPDATE meta SET value = '2' WHERE key = 'schema'")

    with pytest.raises(KnowledgeError, match="has schema 2, this vedette reads 1"):
        Knowledge(tmp_path / "base")


def test_a_base_without_the_pinned_hash_is_not_used(tmp_path: Path) -> None:
    """Whoever pins it trusts no other, however new."""
    digest = build.write(records.Records(), tmp_path / "new", 4_000_000_000.0)

    right, none = open_newest([tmp_path / "new"], digest)
    wrong, problems = open_newest([tmp_path / "new"], "0" * 64)

    assert (right.path, none) == (tmp_path / "new", [])
    assert wrong.path == BUNDLED
    assert f"has SHA-256 {digest}, not 000" in str(problems[0])


def test_the_newest_base_that_can_be_read_is_used(tmp_path: Path) -> None:
    """Bundled, shipped, damaged: an agent always has one, and says what it left aside."""
    (tmp_path / "damaged").write_bytes(b"x")
    base(tmp_path / "old").close()  # older than the bundled one
    newer = records.Records()
    build.write(newer, tmp_path / "new", 4_000_000_000.0)

    bundled, problems = open_newest([tmp_path / "damaged", tmp_path / "old", tmp_path / "missing"])
    newest, _ = open_newest([tmp_path / "new", tmp_path / "old"])

    assert (bundled.path, len(problems)) == (BUNDLED, 1)
    assert newest.path == tmp_path / "new"


def test_the_bundled_base_is_small_and_sound() -> None:
    """It goes to every host; it is made of what may be shipped, and tells of what."""
    bundled = Knowledge(BUNDLED)
    bundled.verify()

    assert len(lzma.compress(BUNDLED.read_bytes(), preset=1)) < 2_000_000
    assert bundled.counts()["cve"] > 6_000
    assert {name for name, date, _ in bundled.sources() if date} == {
        "service_cves", "products", "distro_fixes", "debian_changelog_fixes",
    }  # fmt: skip


def test_a_base_is_the_same_to_the_byte_if_its_date_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that anybody can make the bundled one again."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    directory = write(tmp_path / "records", products=[PRODUCT], service_cves=[APACHE])
    made = [tmp_path / "one", tmp_path / "two"]
    for output in made:
        words = ["knowledge", "build", "--records", str(directory), "--output", str(output)]
        assert cli.main(words) == 0

    assert made[0].read_bytes() == made[1].read_bytes()
    assert Knowledge(made[0]).built_at == 1_790_000_000.0
