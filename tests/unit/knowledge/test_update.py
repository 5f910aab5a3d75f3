"""`vedette knowledge build` and `update`: a finished base takes its place, or the old one stays."""

import gzip
import hashlib
import lzma
import os
import resource
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import Server, answering, receive, serving, status
from tests.support import SAMPLES, sample
from tests.unit.bases import APACHE
from vedette import cli
from vedette.errors import KnowledgeError
from vedette.knowledge import build, update
from vedette.knowledge.records import Records
from vedette.risk.knowledge import Knowledge

NEW, NEWER = 4_000_000_000.0, 4_000_000_001.0  # newer than the one in the package
KEV = SAMPLES / "feeds/kev/known_exploited_vulnerabilities.json"


def made(path: Path, built_at: float = NEW) -> str:
    """Build a small base; return its SHA-256."""
    records = Records()
    records.add_product({"product": "apache", "cpe": ["apache:http_server"]})
    records.add_cve(APACHE)
    return build.write(records, path, built_at)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_a_base_takes_its_place(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """Packed or not; the hash is that of the base itself."""
    digest = made(tmp_path / "plain")
    (tmp_path / "given").write_bytes(pack((tmp_path / "plain").read_bytes()))
    target = tmp_path / "not yet there" / "base"

    assert update.install(tmp_path / "given", target, sha256=digest.upper()) == digest

    assert Knowledge(target).built_at == NEW
    assert target.stat().st_mode & 0o777 == 0o644
    assert list(target.parent.iterdir()) == [target]


def test_what_is_refused_leaves_the_old_base(tmp_path: Path) -> None:
    """A wrong hash, no base, another schema, a damaged one, an older one."""
    target = tmp_path / "base"
    made(target, NEWER)
    before = target.read_bytes()
    digest = made(tmp_path / "old", NEW)
    (tmp_path / "text").write_text("no base")
    made(tmp_path / "schema", NEWER + 1)
    with sqlite3.connect(tmp_path / "schema") as db:
        db.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    made(tmp_path / "damaged", NEWER + 1)
    content = bytearray((tmp_path / "damaged").read_bytes())
    content[-4096:] = b"\xff" * 4096
    (tmp_path / "damaged").write_bytes(content)

    for name, sha256, why in (
        ("old", "0" * 64, "it is not used"),
        ("old", digest, "later"),
        ("text", "", "no knowledge base"),
        ("schema", "", "schema 99"),
        ("damaged", "", "damaged"),
        (".", "", "directory"),
        ("missing", "", "No such file"),
    ):
        with pytest.raises(KnowledgeError, match=why):
            update.install(tmp_path / name, target, sha256=sha256)
        assert target.read_bytes() == before
    assert not list(tmp_path.glob(".*"))

    update.install(tmp_path / "old", target, force=True)
    assert Knowledge(target).built_at == NEW


def test_a_damaged_base_in_use_is_replaced(tmp_path: Path) -> None:
    """It was not in use anyway."""
    (tmp_path / "base").write_text("damaged")
    made(tmp_path / "new")

    update.install(tmp_path / "new", tmp_path / "base")

    assert Knowledge(tmp_path / "base").built_at == NEW


Vedette = Callable[..., tuple[int, str]]


@pytest.fixture
def vedette(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Vedette:
    """`vedette knowledge …`, in this process."""
    monkeypatch.setenv("PYTHONPATH", "agent")
    monkeypatch.setenv("VEDETTE_SCAN__KNOWLEDGE_FILE", str(tmp_path / "base"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*words: object) -> tuple[int, str]:
        try:
            code = cli.main(("knowledge", *map(str, words)))
        except SystemExit as exc:
            code = int(exc.code or 0)
        return code, capsys.readouterr().err

    return run


def test_update_takes_a_base_from_a_server(vedette: Vedette, tmp_path: Path) -> None:
    """The hash travels another way: with the playbook."""
    digest = made(tmp_path / "new")
    packed = lzma.compress((tmp_path / "new").read_bytes())

    def talk(line: socket.socket, _: Server) -> None:
        receive(line)
        line.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)

    with serving(talk) as server:
        without = vedette("update", f"{server.url}/base.xz")
        wrong = vedette("update", f"{server.url}/base.xz", "--sha256", "0" * 64)
        assert not (tmp_path / "base").exists()
        right = vedette("update", f"{server.url}/base.xz", "--sha256", digest)

    assert without[0] == 1
    assert "needs --sha256" in without[1]
    assert wrong[0] == 1
    assert "it is not used" in wrong[1]
    assert right == (
        0, f"vedette: {tmp_path / 'base'} is in use from the next scan on, SHA-256 {digest}\n",
    )  # fmt: skip


def test_update_builds_from_feeds_as_well(vedette: Vedette, tmp_path: Path) -> None:
    """On a host that looks after itself."""
    feeds = SAMPLES / "feeds"

    code, said = vedette("update", "--feed", f"nvd={feeds / 'nvd'}", "--feed", f"kev={KEV}")

    assert code == 0
    assert "vedette: kev 2025-08-25: 10 records\n" in said
    base = Knowledge(tmp_path / "base")
    assert base.counts()["cve"] == 58
    assert hashlib.sha256((tmp_path / "base").read_bytes()).hexdigest() in said


def test_build_fetches_and_forgets_what_it_cannot_read(vedette: Vedette, tmp_path: Path) -> None:
    """Once whole, once cut off where the server did not notice."""
    whole = sample("feeds/kev/known_exploited_vulnerabilities.json").decode()
    output = tmp_path / "made"
    with serving(answering(status(200, whole[:900], 'ETag: "a"'), status(200, whole))) as server:
        feed = f"kev={server.url}/kev.json"
        broken = vedette("build", "--feed", feed, "--output", output)
        assert not output.exists()
        whole_ = vedette("build", "--feed", feed, "--output", output)

    assert broken[0] == 1
    assert "kev.json is damaged" in broken[1]
    assert whole_[0] == 0
    assert "if-none-match" not in server.requests[1].headers


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["build", "--output", "x"], 1, "nothing to build from"),
        (["build", "--feed", "cve=x", "--output", "x"], 64, "'cve=x' is not KIND=FILE"),
        (["build", "--feed", "nvd", "--output", "x"], 64, "'nvd' is not KIND=FILE"),
        (["build", "--feed", f"kev={KEV}", "--nvd-key-file", "/none", "--output", "x"], 1, "/none"),
        (["update"], 1, "give a finished base"),
        (["update", "x", "--feed", f"kev={KEV}"], 1, "give a finished base"),
    ],
)
def test_what_makes_no_sense_is_said(
    vedette: Vedette, words: list[str], code: int, said: str
) -> None:
    """And nothing is written."""
    got = vedette(*words)

    assert got[0] == code
    assert said in got[1]
    assert not Path("x").exists()


@pytest.mark.parametrize("command", ["build", "update"])
def test_a_full_disk_leaves_the_old_base(tmp_path: Path, command: str) -> None:
    """As a file that may grow no further: the kernel refuses both at the same place."""
    target = tmp_path / "base"
    made(target)
    before = target.read_bytes()
    feed = f"nvd={SAMPLES / 'feeds/nvd'}"
    output = ["--output", str(target)] if command == "build" else []

    done = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-m", "vedette", "knowledge", command, "--feed", feed, *output],
        env={
            **os.environ,
            "PYTHONPATH": "agent",
            "VEDETTE_SCAN__KNOWLEDGE_FILE": str(target),
            "PYTHONDONTWRITEBYTECODE": "1",  # of which it would keep as much as it may write
        },
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "base cannot be written: " in done.stderr
    assert "Traceback" not in done.stderr
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["base"]
