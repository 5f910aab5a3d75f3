"""publish/guard.py: files in, verdicts out. tests/live/test_tls.py has the certificates."""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Coroutine
from contextlib import ExitStack
from pathlib import Path

import bcrypt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import exposition_of
from tests.unit.publish.test_passwords import Clock, basic
from vedette.errors import ConfigError
from vedette.publish import tls
from vedette.publish.guard import REASONS, Guard, Refusal, load, words
from vedette.publish.server import PLAIN, Answer, Server
from vedette.publish.web_config import Tls

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
OTHER = bcrypt.hashpw(b"other", bcrypt.gensalt(4)).decode()
GOOD = basic(b"alice:secret")
TLS = "tls_server_config: {cert_file: server.crt, key_file: server.key}"


def started(file: Path, text: str) -> tuple[Guard, Clock]:
    """Return a guard of this file."""
    file.write_text(text)
    clock = Clock()
    guard = Guard(file, clock)
    guard.start()
    return guard, clock


def status(guard: Guard, authorization: str | None = GOOD, address: str = "192.0.2.1") -> int:
    """Return what a request gets."""
    verdict = guard.judge(address, authorization)
    if isinstance(verdict, Coroutine):
        refusal: Refusal | None = asyncio.run(_of(verdict))
    else:
        refusal = verdict
    return 200 if refusal is None else refusal.status


async def _of(verdict: Coroutine[None, None, Refusal | None]) -> Refusal | None:
    return await verdict


def test_users(tmp_path: Path) -> None:
    """None without a password, none with a wrong one; and what that is counted as."""
    guard, _ = started(tmp_path / "web.yml", f"basic_auth_users: {{alice: '{HASH}'}}")

    assert status(guard) == 200
    assert status(guard, None) == 401
    assert status(guard, "Basic x") == 401
    assert status(guard, basic(b"alice:wrong")) == 401
    assert guard.refused == {**dict.fromkeys(REASONS, 0), "password": 1}
    guard.stop()


def test_a_challenge_is_a_challenge(tmp_path: Path) -> None:
    """Browsers ask for a password then."""
    guard, _ = started(tmp_path / "web.yml", f"basic_auth_users: {{alice: '{HASH}'}}")
    verdict = guard.judge("192.0.2.1", None)

    assert isinstance(verdict, Refusal)
    assert verdict.headers == {"WWW-Authenticate": 'Basic realm="vedette", charset="UTF-8"'}


def test_too_many_guesses_are_told_when_to_come_again(tmp_path: Path) -> None:
    """With the header of RFC 9110 for it."""
    guard, _ = started(tmp_path / "web.yml", f"basic_auth_users: {{alice: '{HASH}'}}")
    assert [status(guard, basic(b"alice:%d" % n)) for n in range(11)] == [401] * 10 + [429]

    verdict = guard.judge("192.0.2.1", basic(b"alice:11"))
    assert isinstance(verdict, Coroutine)
    refusal = asyncio.run(_of(verdict))
    assert refusal is not None
    assert refusal.headers == {"Retry-After": "6"}
    guard.stop()


def test_requests_are_limited(tmp_path: Path) -> None:
    """All of them, as the toolkit does it, before anything else is looked at."""
    guard, clock = started(tmp_path / "web.yml", "rate_limit: {interval: 2s, burst: 3}")
    assert [status(guard) for _ in range(4)] == [200, 200, 200, 429]

    clock.now += 2
    assert [status(guard) for _ in range(2)] == [200, 429]
    assert guard.refused["rate"] == 2


def test_changed_users_count_from_the_next_look_on(tmp_path: Path) -> None:
    """Once a second at most; whoever is taken out is out, known or not."""
    file = tmp_path / "web.yml"
    guard, clock = started(file, f"basic_auth_users: {{alice: '{HASH}'}}")
    assert status(guard) == 200

    file.write_text(f"basic_auth_users: {{bob: '{OTHER}'}}")
    guard.look()
    assert status(guard) == 200
    clock.now += 1
    guard.look()
    assert status(guard) == 401
    assert status(guard, basic(b"bob:other")) == 200
    guard.stop()


@pytest.mark.parametrize(
    "broken", ["", "basic_auth_users: {}", "[", "users: {}", "basic_auth_users: {alice: secret}"]
)
def test_a_broken_file_changes_nothing(tmp_path: Path, broken: str) -> None:
    """Nor does one that opens the door: half of a file that is being written looks like that."""
    file = tmp_path / "web.yml"
    guard, clock = started(file, f"basic_auth_users: {{alice: '{HASH}'}}")
    file.write_text(broken)
    clock.now += 1
    guard.look()

    assert not guard.valid
    assert status(guard, None) == 401
    assert status(guard) == 200
    guard.stop()


def test_a_file_that_vanishes_and_comes_back(tmp_path: Path) -> None:
    """As when it is replaced by deleting it first; said once."""
    file = tmp_path / "web.yml"
    guard, clock = started(file, f"basic_auth_users: {{alice: '{HASH}'}}")
    file.rename(tmp_path / "away")
    for _ in range(3):
        clock.now += 1
        guard.look()
    assert not guard.valid

    (tmp_path / "away").rename(file)
    clock.now += 1
    guard.look()
    assert guard.valid


def test_a_change_within_the_same_size_and_second_is_seen(tmp_path: Path) -> None:
    """By the inode and the nanoseconds."""
    file = tmp_path / "web.yml"
    guard, clock = started(file, "rate_limit: {interval: 2s, burst: 3}")
    before = file.stat()
    other = tmp_path / "other"
    other.write_text("rate_limit: {interval: 2s, burst: 1}")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(file)
    clock.now += 1
    guard.look()

    assert [status(guard) for _ in range(2)] == [200, 429]


def test_tls_that_cannot_be_had_is_refused(tmp_path: Path) -> None:
    """At the start; the sentence names the file, the key and what is missing."""
    (tmp_path / "web.yml").write_text(TLS)

    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "web.yml")
    key = f"{tmp_path}/web.yml: tls_server_config.cert_file"
    assert caught.value.problems == [f"{key}: {tmp_path}/server.crt: No such file or directory"]


@pytest.mark.parametrize("junk", [b"", b"junk", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_junk_is_no_certificate(tmp_path: Path, junk: bytes) -> None:
    """In words, not as OpenSSL says it."""
    (tmp_path / "web.yml").write_text(TLS)
    for name in ("server.crt", "server.key"):
        (tmp_path / name).write_bytes(junk)

    with pytest.raises(ConfigError, match="certificate or key cannot be used: "):
        load(tmp_path / "web.yml")


def test_paths_that_are_none(tmp_path: Path) -> None:
    """A lone surrogate cannot be the name of a file, and must not end in a traceback."""
    (tmp_path / "web.yml").write_text('tls_server_config: {cert_file: "\\ud800", key_file: b}')

    with pytest.raises(ConfigError, match="is no path"):
        load(tmp_path / "web.yml")


def test_words(tmp_path: Path) -> None:
    """What check-config and selfcheck say."""
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{alice: '{HASH}'}}")

    assert words(load(tmp_path / "web.yml"), 0.0) == (
        "no TLS; 1 users; without TLS, everybody on the way can read the passwords"
    )


def test_the_agent_can_always_ask_itself(tmp_path: Path) -> None:
    """With passwords that it does not know, and every place among the connections taken."""
    guard, _ = started(tmp_path / "web.yml", f"basic_auth_users: {{alice: '{HASH}'}}")
    healthy = {"/-/healthy": lambda: Answer(200, PLAIN, b"")}
    server = Server(exposition_of({}), healthy, 8, guard)
    assert not server.answers(1.0)

    address, port = server.bind("127.0.0.1", 0)
    server.start()
    with ExitStack() as opened:
        for _ in range(20):
            opened.enter_context(socket.create_connection((address, port), 5))
        assert server.answers(5.0)
        assert server.answers(5.0)
    wait = time.monotonic() + 5
    while _stranger(address, port) != b"HTTP/1.1 401" and time.monotonic() < wait:
        time.sleep(0.01)
    assert _stranger(address, port) == b"HTTP/1.1 401"
    assert server.tally.attempts == 0  # nobody has asked for metrics so far
    assert _stranger(address, port, "/metrics") == b"HTTP/1.1 401"
    server.stop()
    assert not server.answers(1.0)
    assert (server.tally.attempts, server.tally.failures["auth"]) == (1, 1)


def _stranger(address: str, port: int, path: str = "/-/healthy") -> bytes:
    with socket.create_connection((address, port), 5) as asking:
        try:
            asking.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            return asking.recv(12)
        except ConnectionError:
            return b""


@given(st.binary(max_size=80))
@example(b"")
@example(b"\x30\x80")
@example(bytes.fromhex("300e300c300a1703313233170331323a"))
def test_any_certificate_ends_some_time_or_cannot_be_told(der: bytes) -> None:
    """It is a file that somebody put there."""
    pem = ssl.DER_cert_to_PEM_cert(der)
    ends = tls.expires_at(Tls(certificate=pem, key=""))

    assert ends is None or isinstance(ends, float)
