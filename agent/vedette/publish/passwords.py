"""Basic authentication: bcrypt in a thread of its own, known logins at once, guesses slowly.

A login that was good is known again by a keyed hash, so a scrape costs no bcrypt. Everything else
waits for one thread, costs the same whether the user exists or not, and takes a token, of its
address and of all, which only a good login gives back.
"""

import asyncio
import base64
import binascii
import hashlib
import math
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

# Of failed logins. An address: ten at once, then one in six seconds. All: fifty, then two a second,
# which is a seventh of a processor at bcrypt's usual cost of 10.
_ADDRESS_BURST, _ADDRESS_SECONDS = 10, 6.0
_ALL_BURST, _ALL_SECONDS = 50, 0.5
_MOST_WAITING, _MOST_WAITING_OF_ADDRESS = 8, 2
_MOST_KNOWN, _MOST_ADDRESSES = 64, 1024
_BCRYPT_LIMIT = 72  # bytes of a password that bcrypt looks at; its package refuses longer ones
_LOGIN_LIMIT = 1024  # characters of the header


class Login(NamedTuple):
    """What a client says of itself."""

    user: str
    password: bytes


class Bucket:
    """Holds `burst` tokens at most, and gets one each `seconds`."""

    __slots__ = ("_at", "_burst", "_seconds", "_tokens")

    def __init__(self, seconds: float, burst: int, now: float) -> None:
        self._seconds, self._burst = seconds, burst
        self._tokens, self._at = float(burst), now

    def wait(self, now: float) -> float:
        """Return in how many seconds there is a token; 0: there is one."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) / self._seconds)
        self._at = now
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) * self._seconds

    def take(self) -> None:
        """Take a token: `wait` has just said that there is one."""
        self._tokens -= 1

    def put_back(self) -> None:
        """Return a token."""
        self._tokens = min(self._burst, self._tokens + 1)


class TooMany(Exception):
    """A login cannot be checked now. seconds: when to come again."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = max(1, math.ceil(seconds))


def parse(authorization: str) -> Login | None:
    """Return the login in a header (RFC 7617), None if it holds none."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic" or len(encoded) > _LOGIN_LIMIT:
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return Login(user.decode(), password) if colon else None
    except (binascii.Error, ValueError):
        return None


class Passwords:
    """Checks logins. To be used in one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._known: dict[bytes, str] = {}  # {keyed hash: the address that it came from}
        self._under_way: dict[bytes, asyncio.Future[bool]] = {}
        self._waiting: dict[str, int] = {}
        self._of_address: dict[str, Bucket] = {}
        self._of_all = Bucket(_ALL_SECONDS, _ALL_BURST, clock())
        self._thread: ThreadPoolExecutor | None = None

    def recall(self, login: Login, users: Mapping[str, str]) -> bool:
        """Return whether this very login was good before, with the hash that the user has now."""
        return login.user in users and self._digest(login, users[login.user]) in self._known

    async def check(self, login: Login, address: str, users: Mapping[str, str]) -> bool:
        """Return whether a login is good. Raises TooMany."""
        hashed = users.get(login.user)
        digest = self._digest(login, hashed or "")
        if (under_way := self._under_way.get(digest)) is not None:  # a page and its inventory
            return await asyncio.shield(under_way) and hashed is not None
        origin = _origin(address)
        bucket = self._admit(origin)
        self._waiting[origin] = self._waiting.get(origin, 0) + 1
        work = asyncio.get_running_loop().run_in_executor(
            self._executor(), _matches, login.password, hashed or _nobody(users)
        )
        self._under_way[digest] = work
        try:
            good = await asyncio.shield(work) and hashed is not None
        finally:
            del self._under_way[digest]
            self._waiting[origin] -= 1
            if not self._waiting[origin]:
                del self._waiting[origin]
        if good:
            bucket.put_back()
            self._of_all.put_back()
            _bound(self._known, _MOST_KNOWN)
            self._known[digest] = origin
        return good

    def stop(self) -> None:
        """End the thread, once it is done with its present password."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _admit(self, origin: str) -> Bucket:
        """Take the tokens for one check. Raises TooMany."""
        now = self._clock()
        if origin not in self._of_address:
            _bound(self._of_address, _MOST_ADDRESSES)
            self._of_address[origin] = Bucket(_ADDRESS_SECONDS, _ADDRESS_BURST, now)
        bucket = self._of_address[origin]
        # Whoever logged in before need not stand in line with strangers who guess.
        wait_for_all = 0.0 if origin in self._known.values() else self._of_all.wait(now)
        if wait := max(bucket.wait(now), wait_for_all):
            raise TooMany(wait)
        if (
            self._waiting.get(origin, 0) >= _MOST_WAITING_OF_ADDRESS
            or sum(self._waiting.values()) >= _MOST_WAITING
        ):
            raise TooMany(1)
        bucket.take()
        self._of_all.take()
        return bucket

    def _digest(self, login: Login, hashed: str) -> bytes:
        # Each part hashed by itself, so that no two logins are one text.
        parts = (login.user.encode(), hashed.encode(), login.password)
        text = b"".join(hashlib.sha256(part).digest() for part in parts)
        return hashlib.blake2b(text, key=self._secret, digest_size=32).digest()

    def _executor(self) -> ThreadPoolExecutor:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="passwords")
        return self._thread


def _matches(password: bytes, hashed: str) -> bool:
    import bcrypt  # noqa: PLC0415 - 0.5 MiB that an agent without users does not need

    # Longer ones are cut by whoever made the hash, htpasswd and Go's bcrypt included.
    return bcrypt.checkpw(password[:_BCRYPT_LIMIT], hashed.encode())


def _nobody(users: Mapping[str, str]) -> str:
    """Return a hash that no password has, as costly as the costliest of the users'."""
    cost = max((hashed[4:6] for hashed in users.values()), default="10")
    return f"$2b${cost}${'.' * 53}"


def _origin(address: str) -> str:
    """Return whom to blame: an IPv6 host has a whole /64 to come from."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return found.exploded[:19]
    return str(found)


def _bound(entries: dict[str, Bucket] | dict[bytes, str], most: int) -> None:
    """Make room for one more: the oldest goes."""
    while len(entries) >= most:
        del entries[next(iter(entries))]  # type: ignore[arg-type]  # its own key
