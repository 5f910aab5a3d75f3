"""publish/passwords.py: logins in, yes or no or "later" out. The clock stands still."""

import asyncio
import base64
import time
from collections.abc import Iterable

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.publish.passwords import Bucket, Login, Passwords, TooMany, _nobody, parse


def hashed(password: bytes, cost: int = 4) -> str:
    """Return a hash, the cheapest there is."""
    return bcrypt.hashpw(password, bcrypt.gensalt(cost)).decode()


USERS = {"alice": hashed(b"secret"), "bob": hashed(b"x" * 72)}
GOOD = Login("alice", b"secret")
SAMPLES = 30


class Clock:
    """Seconds that pass when told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def outcomes(
    passwords: Passwords, logins: Iterable[tuple[Login, str]], *, at_once: bool = False
) -> list[bool | int]:
    """Return whether each login was good, or after how many seconds it may come again."""

    async def one(login: Login, address: str) -> bool | int:
        try:
            return await passwords.check(login, address, USERS)
        except TooMany as exc:
            return exc.seconds

    async def every() -> list[bool | int]:
        if at_once:
            return await asyncio.gather(*(one(*pair) for pair in logins))
        return [await one(*pair) for pair in logins]

    try:
        return asyncio.run(every())
    finally:
        passwords.stop()


def basic(text: bytes) -> str:
    """Return the header for this."""
    return f"Basic {base64.b64encode(text).decode()}"


@pytest.mark.parametrize(
    ("header", "login"),
    [
        (basic(b"alice:secret"), GOOD),
        (basic(b"alice:secret").replace("Basic", "bASIC"), GOOD),
        (basic(b"alice:a:b"), Login("alice", b"a:b")),
        (basic(b":"), Login("", b"")),
        (basic("ü:ä".encode()), Login("ü", "ä".encode())),
        (basic(b"alice"), None),
        (basic(b"\xff:x"), None),
        ("Basic", None),
        ("Basic !!!", None),
        ("Bearer abc", None),
        (basic(b"a:" + b"x" * 2000), None),
    ],
)
def test_headers(header: str, login: Login | None) -> None:
    """RFC 7617, and what is none."""
    assert parse(header) == login


@given(st.text())
def test_any_header_is_a_login_or_none(header: str) -> None:
    """Clients write it."""
    found = parse(header)
    assert found is None or isinstance(found, Login)
    found = parse(f"Basic {header}")
    assert found is None or isinstance(found, Login)


def test_right_and_wrong() -> None:
    """The right password of the right user, nothing else."""
    tried = [GOOD, Login("alice", b"Secret"), Login("mallory", b"secret"), Login("", b"")]

    assert outcomes(Passwords(Clock()), ((login, "a") for login in tried)) == [
        True, False, False, False,
    ]  # fmt: skip


def test_long_passwords_and_zero_bytes() -> None:
    """Only 72 bytes count; htpasswd and Go cut silently, the package would raise."""
    tried = [Login("bob", b"x" * 100), Login("bob", b"x" * 71), Login("alice", b"secret\0")]

    assert outcomes(Passwords(Clock()), ((login, "a") for login in tried)) == [True, False, False]


def test_what_was_good_is_known_at_once_and_only_that() -> None:
    """Until the user goes or gets another hash, whatever has become of the file."""
    passwords = Passwords(Clock())
    assert not passwords.recall(GOOD, USERS)
    assert outcomes(passwords, [(GOOD, "a"), (Login("alice", b"wrong"), "a")]) == [True, False]

    assert passwords.recall(GOOD, USERS)
    assert not passwords.recall(Login("alice", b"wrong"), USERS)
    assert not passwords.recall(Login("bob", b"secret"), USERS)
    assert not passwords.recall(GOOD, {"bob": USERS["bob"]})
    assert not passwords.recall(GOOD, {"alice": hashed(b"secret")})


def test_an_address_guesses_slowly() -> None:
    """Ten at once, then one in six seconds."""
    clock = Clock()
    passwords = Passwords(clock)
    tried = [(Login("alice", str(n).encode()), "192.0.2.1") for n in range(13)]
    assert outcomes(passwords, tried) == [False] * 10 + [6] * 3

    clock.now += 6
    assert outcomes(Passwords(clock), tried[:1]) == [False]


def test_good_logins_cost_no_tokens() -> None:
    """A scraper that restarts all day is not locked out."""
    passwords = Passwords(Clock())

    assert outcomes(passwords, [(GOOD, "192.0.2.1")] * 40) == [True] * 40


def test_all_addresses_together_guess_slowly() -> None:
    """Fifty at once, then two a second; who logged in before goes on."""
    passwords = Passwords(Clock())
    guesses = [(Login("alice", b"guess"), f"192.0.2.{n}") for n in range(60)]
    after = [(Login("bob", b"x" * 72), "198.51.100.1"), (GOOD, "203.0.113.1")]
    tried = [(GOOD, "198.51.100.1"), *guesses, *after]

    assert outcomes(passwords, tried) == [True, *[False] * 50, *[1] * 10, True, 1]


def test_a_network_of_ipv6_is_one_address() -> None:
    """Every host there has 2^64 to choose from."""
    tried = [(Login("alice", b"guess"), f"2001:db8::{n:x}") for n in range(11)]
    other = (Login("alice", b"guess"), "2001:db8:0:1::1")

    assert outcomes(Passwords(Clock()), [*tried, other]) == [False] * 10 + [6, False]


def test_few_wait_at_once() -> None:
    """Two of an address, eight in all: the rest is sent away, and nothing grows."""
    guesses = [(Login("alice", str(n).encode()), "192.0.2.1") for n in range(5)]
    assert outcomes(Passwords(Clock()), guesses, at_once=True) == [False] * 2 + [1] * 3

    many = [(Login("alice", b"guess%d" % n), f"192.0.2.{n}") for n in range(20)]
    assert outcomes(Passwords(Clock()), many, at_once=True) == [False] * 8 + [1] * 12


def test_the_same_login_is_checked_once() -> None:
    """A page and its inventory, before either is known."""
    assert outcomes(Passwords(Clock()), [(GOOD, "a")] * 20, at_once=True) == [True] * 20


def test_an_unknown_user_costs_what_the_costliest_does() -> None:
    """With a hash that bcrypt takes, and that no password has."""
    users = {"a": hashed(b"x"), "b": hashed(b"x", 6)}

    assert _nobody(users)[4:6] == "06"
    assert not bcrypt.checkpw(b"", _nobody(users).encode())


def test_an_unknown_user_takes_as_long_as_a_wrong_password() -> None:
    """By turns, and the fastest of each, in a wide band: other tests run beside it."""
    users = {"alice": hashed(b"secret", 8)}
    wrong, unknown = Login("alice", b"wrong"), Login("mallory", b"wrong")
    taken: dict[Login, list[float]] = {wrong: [], unknown: []}

    async def measure() -> None:
        for number in range(SAMPLES):
            for login in (wrong, unknown):
                passwords = Passwords(Clock())
                started = time.perf_counter()
                assert not await passwords.check(login, str(number), users)
                taken[login].append(time.perf_counter() - started)
                passwords.stop()

    asyncio.run(measure())

    assert 0.5 < min(taken[unknown]) / min(taken[wrong]) < 2


def test_a_bucket() -> None:
    """Full at first; one more each second; never more than it holds."""
    bucket = Bucket(1.0, 2, 0.0)
    bucket.take()
    bucket.take()
    assert bucket.wait(0.25) == 0.75
    assert bucket.wait(1.0) == 0
    assert bucket.wait(100.0) == 0
    bucket.take()
    bucket.take()
    assert bucket.wait(100.0) == 1.0
