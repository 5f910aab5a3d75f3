"""Who may come in: the web configuration in use, and what it makes of connections and requests.

The file, the certificates and the authorities are looked at once a second at most, when somebody
comes; what has changed is used from the next connection and request on. A file that is wrong, or
takes protection away, is refused: what was in use stays.
"""

import ssl
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.metrics_core import CounterMetricFamily, Metric

from vedette import log
from vedette.errors import ConfigError
from vedette.publish import tls
from vedette.publish.passwords import Bucket, Login, Passwords, TooMany, parse
from vedette.publish.web_config import WebConfig, read

_LOOK_SECONDS = 1.0
_SAY_SECONDS = 60.0
# Why clients are refused. The first two get no answer, only the end of the connection.
REASONS = ("handshake", "certificate", "password", "login_rate", "rate")

_File = tuple[int, ...] | None  # what tells a version of a file from another; None: not there


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to a request that is refused."""

    status: int
    text: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Rules:
    """One version of the file, with what it names."""

    config: WebConfig
    context: ssl.SSLContext | None
    expires_at: float | None


def load(file: Path) -> Rules:
    """Return what the file, and those that it names, come to. Raises ConfigError."""
    try:
        return _rules(read(file))
    except ConfigError as exc:
        raise _named(file, exc) from exc


def words(rules: Rules, now: float) -> str:
    """Say what the rules come to."""
    config = rules.config
    said = []
    if config.tls is None:
        said.append("no TLS")
    else:
        said.append(f"TLS, client certificates: {config.tls.client_auth}")
        said.append(
            "when the certificate ends cannot be told"
            if rules.expires_at is None
            else tls.days_left(rules.expires_at, now)
        )
    said.append(f"{len(config.users)} users" if config.users else "no passwords")
    if config.users and config.tls is None:
        said.append("without TLS, everybody on the way can read the passwords")
    return "; ".join(said)


def _rules(config: WebConfig) -> Rules:
    if config.tls is None:
        return Rules(config, None, None)
    return Rules(config, tls.context(config.tls), tls.expires_at(config.tls))


def _named(file: Path, error: ConfigError) -> ConfigError:
    """Return the error with the file's name in each problem."""
    name = f"{file}: "
    return ConfigError([p if p.startswith(name) else name + p for p in error.problems])


class Guard:
    """Keeps the rules of one file. After `start`, everything but the counts is the server's."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.file = file
        self.refused: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self.valid = True  # what the file said when it was last read
        self._clock = clock
        self._rules = Rules(WebConfig(), None, None)
        self._watched: dict[Path, _File] = {}
        self._looked_at = clock()
        self._passwords = Passwords(clock)
        self._requests: Bucket | None = None
        self._said_at: float | None = None

    def start(self) -> None:
        """Read the file. Raises ConfigError."""
        self._use(self._read())
        log.event("info", "web configuration", says=words(self._rules, time.time()))

    def stop(self) -> None:
        """End the thread that checks passwords."""
        self._passwords.stop()

    def families(self) -> Iterable[Metric]:
        """The metric of whom it refused."""
        refused = CounterMetricFamily(
            "vedette_http_refusals",
            "Clients that the web configuration turned away: at the TLS handshake, for their"
            " certificate's names, their password, too many wrong logins, too many requests.",
            labels=["reason"],
        )
        for reason, count in self.refused.items():
            refused.add_metric([reason], count)
        yield refused

    @property
    def rules(self) -> Rules:
        """What is in use."""
        return self._rules

    def _read(self) -> Rules:
        # Versions before contents: what changes in between is seen at the next look.
        before = {path: _version(path) for path in (self.file, *self._watched)}
        try:
            config = read(self.file)
        except ConfigError as exc:
            self._watched = before
            raise _named(self.file, exc) from exc
        named = () if config.tls is None else config.tls.files()
        self._watched = {path: _version(path) for path in named} | {self.file: before[self.file]}
        try:
            return _rules(config)
        except ConfigError as exc:
            raise _named(self.file, exc) from exc

    def _use(self, rules: Rules) -> None:
        limit = rules.config.rate_limit
        if limit != self._rules.config.rate_limit:
            self._requests = (
                None
                if limit is None
                else Bucket(limit.interval_seconds, limit.burst, self._clock())
            )
        self._rules = rules

    def look(self) -> None:
        """Use the files as they are now, if they are right."""
        now = self._clock()
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        if all(_version(path) == version for path, version in self._watched.items()):
            return
        try:
            rules = self._read()
            _refuse_loss(self.file, self._rules.config, rules.config)
        except ConfigError as exc:
            self.valid = False
            log.event(
                "error", "web configuration refused; what was in use stays",
                problems="; ".join(exc.problems),
            )  # fmt: skip
            return
        self.valid = True
        self._use(rules)
        log.event("info", "web configuration read again", file=str(self.file))

    def context(self) -> ssl.SSLContext | None:
        """Return how the next connection is to be encrypted."""
        self.look()
        return self._rules.context

    def turns_away(self, connection: object, address: str) -> bool:
        """Whether a connection is to be closed unanswered when its first, or next, request comes.

        It is when its certificate is not on the list, and when it stems from older rules: what was
        revoked shall not live on in a connection that is kept open.
        """
        self.look()
        context = self._rules.context
        if not isinstance(connection, ssl.SSLSocket):
            return context is not None
        if connection.context is not context:
            return True
        config = self._rules.config.tls
        if config is None or config.allowed_sans is None:
            return False
        names = tls.sans(connection)
        if names & config.allowed_sans:
            return False
        shown = ", ".join(sorted(names)) or "no certificate, or none with names"
        self.refuse("certificate", address, shown)
        return True

    def judge(
        self, address: str, authorization: str | None
    ) -> Refusal | Coroutine[Any, Any, Refusal | None] | None:
        """Return why a request is refused; None: it is not; a coroutine that will tell."""
        if self._requests is not None:
            if wait := self._requests.wait(self._clock()):
                return self._too_many("rate", address, TooMany(wait))
            self._requests.take()
        users = self._rules.config.users
        if not users:
            return None
        login = parse(authorization) if authorization else None
        if login is None:  # a browser asks without one first: that is no guess
            return _unauthorized()
        if self._passwords.recall(login, users):
            return None
        return self._ask(login, address, users)

    async def _ask(self, login: Login, address: str, users: Mapping[str, str]) -> Refusal | None:
        try:
            if await self._passwords.check(login, address, users):
                return None
        except TooMany as exc:
            return self._too_many("login_rate", address, exc)
        self.refuse("password", address, "")  # no name: many a one is the password
        return _unauthorized()

    def _too_many(self, reason: str, address: str, error: TooMany) -> Refusal:
        self.refuse(reason, address, "")
        return Refusal(429, "too many requests\n", {"Retry-After": str(error.seconds)})

    def refuse(self, reason: str, address: str, said: str) -> None:
        """Count a client that was refused; say it now and then, as there may be thousands."""
        self.refused[reason] += 1
        now = self._clock()
        if self._said_at is None or now - self._said_at >= _SAY_SECONDS:
            self._said_at = now
            counts = " ".join(f"{name}={n}" for name, n in self.refused.items() if n)
            log.event(
                "warning", "clients refused",
                last=reason, address=address, said=said, so_far=counts,
            )  # fmt: skip


def _unauthorized() -> Refusal:
    challenge = 'Basic realm="vedette", charset="UTF-8"'
    return Refusal(401, "a user and a password are needed\n", {"WWW-Authenticate": challenge})


def _version(path: Path) -> _File:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _refuse_loss(file: Path, old: WebConfig, new: WebConfig) -> None:
    if lost := _lost(old, new):
        raise ConfigError([f"{file}: it takes away {lost}: that needs a restart"])


def _lost(old: WebConfig, new: WebConfig) -> str:
    """Say what would no longer be protected: a file that is just being written looks like that."""
    required = "RequireAndVerifyClientCert"
    if old.tls is not None:
        if new.tls is None:
            return "TLS"
        if old.tls.client_auth == required and new.tls.client_auth != required:
            return "the clients' certificates"
        if old.tls.allowed_sans is not None and new.tls.allowed_sans is None:
            return "client_allowed_sans"
    return "all passwords" if old.users and not new.users else ""
