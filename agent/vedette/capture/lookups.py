"""What is looked up in DNS: how many names, and names that look like somebody's tunnel."""

from ipaddress import ip_address

from vedette.capture import classify
from vedette.capture.bounded import Bounded
from vedette.capture.classify import dns
from vedette.capture.events import Events
from vedette.thresholds import Thresholds

_DOMAINS_KEPT = 1024
_NAMES_KEPT = 16_384  # of a window; more are as many
_SECONDS = 60.0
_LONG_NAME = 40  # characters before the domain that somebody owns


class Lookups:
    """Long names by who asks and below which domain, over a minute; all names of a window."""

    def __init__(self, thresholds: Thresholds, events: Events) -> None:
        self._most, self._events = thresholds.dns_tunnel_names, events
        self._known = frozenset(domain.lower().strip(".") for domain in thresholds.dns_domains)
        self._long: Bounded[tuple[bytes, str], tuple[float, set[int]]] = Bounded(_DOMAINS_KEPT)
        self._names: set[int] = set()

    def asked(self, source: bytes, message: dns.Message, at: float) -> None:
        """Hear a question."""
        for name, _ in message.questions:
            lower = name.lower()
            if len(self._names) < _NAMES_KEPT:
                self._names.add(hash(lower))
            labels = lower.split(".")
            # The domain that somebody owns, roughly: three labels below co.uk and the like.
            owned = 3 if len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3 else 2  # noqa: PLR2004 - labels and letters
            domain = ".".join(labels[-owned:])
            # IPv6 addresses, looked up backwards or in a blocklist, have a digit in each label: who
            # has something to smuggle has no room for that.
            below = ".".join(label for label in labels[:-owned] if len(label) > 1)
            if len(below) >= _LONG_NAME and domain not in self._known:
                self._add(source, domain, below, at)

    def _add(self, source: bytes, domain: str, below: str, at: float) -> None:
        key = source, domain
        since, seen = self._long.use(key, lambda: (at, set()))
        if at - since > _SECONDS or at < since:
            since, seen = at, set()
            self._long.put(key, (since, seen))
        if len(seen) < 4 * self._most:
            seen.add(hash(below))
        if len(seen) >= self._most:
            self._events.tell(
                "dns_tunnelling", str(ip_address(source)), at,
                domain=classify.printable(domain), names=len(seen), length=len(below),
                seconds=round(at - since, 3),
            )  # fmt: skip

    def take(self) -> int:
        """Return how many different names were asked for since the last call."""
        number = len(self._names)
        self._names = set()
        return number
