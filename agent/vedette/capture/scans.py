"""Who tries many ports or hosts, and who begins connections that nobody goes on with.

What is answered does not count: a busy client, a monitor and a download from a hundred servers are
answered; a scan meets closed and silent ports.
"""

from collections.abc import Callable, Sequence
from ipaddress import ip_address

from vedette.capture.bounded import Bounded
from vedette.capture.events import Events
from vedette.capture.syns import Row
from vedette.thresholds import Thresholds

_SOURCES_KEPT = 2048
_SLOW_SOURCES_KEPT = 1024
_PAIRS_KEPT = 512  # of one source; more are as bad
_TARGETS_KEPT = 256
_FAST_SECONDS, _SLOW_SECONDS = 60.0, 3600.0
_GOES_ON_RATIO = 0.1  # of begun connections; below it nobody goes on with them
_ANSWERED_RATIO = 0.5
_ACCEPTED_RATIO = 0.5

Pair = tuple[bytes, str, int]


class _Tries:
    """What one source has tried since: unanswered pairs, and how many were answered."""

    __slots__ = ("answered", "pairs", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.pairs: set[Pair] = set()
        self.answered = 0

    def add(self, pair: Pair, at: float, seconds: float) -> None:
        if at - self.since > seconds or at < self.since:
            self.since, self.pairs, self.answered = at, set(), 0
        if len(self.pairs) < _PAIRS_KEPT:
            self.pairs.add(pair)

    def answer(self, pair: Pair) -> None:
        if pair in self.pairs:
            self.pairs.discard(pair)
            self.answered += 1

    def mostly_answered(self) -> bool:
        return self.answered > len(self.pairs) * _ANSWERED_RATIO / (1 - _ANSWERED_RATIO)


class _Target:
    """Connections begun to one port in this window that were looked at, and that spoke."""

    __slots__ = ("begun", "first", "last", "sources", "spoke")

    def __init__(self, at: float) -> None:
        self.begun = self.spoke = 0
        self.first = self.last = at
        self.sources: set[bytes] = set()


class Scans:
    """Tries by source over a minute and over an hour; floods by target over a window."""

    def __init__(
        self, thresholds: Thresholds, events: Events, own: Callable[[], frozenset[bytes]]
    ) -> None:
        self._thresholds, self._events, self._own = thresholds, events, own
        self._fast: Bounded[bytes, _Tries] = Bounded(_SOURCES_KEPT)
        self._slow: Bounded[bytes, _Tries] = Bounded(_SLOW_SOURCES_KEPT)
        self._targets: Bounded[tuple[bytes, int], _Target] = Bounded(_TARGETS_KEPT)

    def begun(
        self, source: bytes, destination: bytes, transport: str, port: int, at: float
    ) -> None:
        """A SYN, or the first datagram of a flow."""
        if transport == "tcp":
            target = self._targets.use((destination, port), lambda: _Target(at))
            target.begun += 1
            target.last = max(at, target.last)
            if len(target.sources) < _PAIRS_KEPT:
                target.sources.add(source)
        if source in self._own():
            return
        pair = destination, transport, port
        fast = self._fast.use(source, lambda: _Tries(at))
        fast.add(pair, at, _FAST_SECONDS)
        slow = self._slow.use(source, lambda: _Tries(at))
        slow.add(pair, at, _SLOW_SECONDS)
        self._judge(source, fast, slow, at)

    def answered(self, client: bytes, server: bytes, transport: str, port: int) -> None:
        """A SYN+ACK, or a datagram back."""
        for table in (self._fast, self._slow):
            tries = table.get(client)
            if tries is not None:
                tries.answer((server, transport, port))

    def spoke(self, destination: bytes, port: int) -> None:
        """A connection to this port carries something."""
        target = self._targets.get((destination, port))
        if target is not None:
            target.spoke += 1

    def _judge(self, source: bytes, fast: _Tries, slow: _Tries, at: float) -> None:
        limits = self._thresholds
        fewest = min(limits.port_scan_ports, limits.sweep_hosts, limits.slow_scan_ports)
        if max(len(fast.pairs), len(slow.pairs)) < fewest:
            return
        # A scan goes on long after it was told: to go through all its tries for each is in vain.
        if not self._events.due("port_scan", str(ip_address(source)), at):
            return
        if not fast.mostly_answered():
            hosts = {host for host, _, _ in fast.pairs}
            if len(fast.pairs) >= limits.port_scan_ports or len(hosts) >= limits.sweep_hosts:
                self._tell(source, fast, at, "horizontal" if len(hosts) > 10 else "vertical")  # noqa: PLR2004 - more hosts than that are a network
                return
        if (
            len(slow.pairs) >= limits.slow_scan_ports
            and not slow.mostly_answered()
            and at - slow.since > _FAST_SECONDS
        ):
            self._tell(source, slow, at, "slow")

    def _tell(self, source: bytes, tries: _Tries, at: float, shape: str) -> None:
        self._events.tell(
            "port_scan", str(ip_address(source)), at,
            shape=shape, ports=len({(kind, port) for _, kind, port in tries.pairs}),
            hosts=len({host for host, _, _ in tries.pairs}), unanswered=len(tries.pairs),
            answered=tries.answered, seconds=round(at - tries.since, 3),
        )  # fmt: skip

    def window(self, syns: Sequence[Row], at: float, begun: int, accepted: int | None) -> None:
        """Judge a window by all its packets: (source, SYNs, destinations, (destination, port)).

        begun: SYNs of others to this host, looked at or not. accepted: connections that it has
        accepted meanwhile, None if that is not known.
        """
        limits = self._thresholds
        for source, sent, hosts, pairs in syns:
            tries = self._fast.get(source)
            if source in self._own() or (tries is not None and tries.mostly_answered()):
                continue
            if pairs >= limits.port_scan_ports or hosts >= limits.sweep_hosts:
                self._events.tell(
                    "port_scan", str(ip_address(source)), at,
                    shape="horizontal" if hosts > 10 else "vertical",  # noqa: PLR2004 - as above
                    ports=pairs, hosts=hosts, syns=sent,
                )  # fmt: skip
        own = self._own()
        looked_at = sum(target.begun for (to, _), target in self._targets.items() if to in own)
        for (destination, port), target in self._targets.items():
            number = target.begun
            if destination in own:
                # What is said in protocols that are not looked into is accepted all the same.
                if accepted is not None and accepted >= begun * _ACCEPTED_RATIO:
                    continue
                number = max(number, number * begun // looked_at)
            rate = number / max(1.0, target.last - target.first)
            if rate >= limits.syn_flood_per_second and target.spoke < target.begun * _GOES_ON_RATIO:
                self._events.tell(
                    "syn_flood", f"{ip_address(destination)} tcp/{port}", at,
                    per_second=round(rate), begun=number, went_on=target.spoke,
                    sources=len(target.sources),
                )  # fmt: skip
        self._targets.clear()
