"""Finding out what answers on open ports, as seldom and as cheaply as that can be done.

Version detection is what makes a scan slow: one silent port costs nmap 26 s even at its light
intensity, and 157 s at its default. So only what is new, changed or old is asked; a light pass
first; what stays unknown gets one deeper pass a day; and everything has a budget.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from threading import Event
from time import monotonic
from typing import Any

from vedette.edges import nmap
from vedette.edges.host import Listener
from vedette.errors import TimedOut
from vedette.job import Known
from vedette.scanned import Address, Service

Key = tuple[Address, str, int]  # address, transport, port

# Several nmaps at once: they wait for answers, not for the processor. A chunk that runs out of its
# budget, or waits for a silent port, costs its own ports only.
_PARALLEL = 4
_CHUNK = 8


@dataclass(frozen=True, slots=True)
class Memory:
    """What an earlier scan found out about a port. Times are Unix seconds, 0 for never.

    identity: the listener's then (edges.host.Listener); "" where there was none to see.
    """

    service: Service
    probed_at: float
    deep_at: float
    identity: str

    def as_detail(self) -> dict[str, Any]:
        """Return it as plain JSON, for history."""
        return asdict(self)

    @classmethod
    def of(cls, known: Known) -> "Memory | None":
        """Return what history has kept, or None if it is of no use."""
        try:
            values = {**known.detail}
            values.pop("asked", None)  # what scripts found out: scripts.Asked
            service = {**values.pop("service")}
            service["cpes"] = tuple(service["cpes"])
            return cls(service=Service(**service), **values)
        except (KeyError, TypeError):  # written by another version of the agent: probe again
            return None


class Listeners:
    """The listening sockets of this host, by the ports they serve."""

    def __init__(self, sockets: Iterable[Listener], own: Collection[Address]) -> None:
        self._own = frozenset(own)
        self._by_port: dict[tuple[str, int], list[Listener]] = {}
        for listener in sockets:
            self._by_port.setdefault((listener.transport, listener.port), []).append(listener)

    def serving(self, key: Key) -> list[Listener]:
        """Return the sockets that answer at this address and port."""
        address, transport, number = key
        if address not in self._own:
            return []
        return [
            listener
            for listener in self._by_port.get((transport, number), [])
            if listener.address == address
            or (
                listener.address.is_unspecified
                # `::` answers IPv4 as well, unless it was told otherwise
                and listener.address.version >= address.version
            )
        ]

    def numbers(self, transport: str, at: Collection[Address], within: str) -> list[int]:
        """Return the ports that have a socket at one of these addresses. within: "1-1024,8080"."""
        if not within:
            return []
        ranges = [part.partition("-") for part in within.split(",")]
        wanted = [range(int(low), int(high or low) + 1) for low, _, high in ranges]
        return sorted(
            number
            for kind, number in self._by_port
            if kind == transport
            and any(number in part for part in wanted)
            and any(self.serving((address, kind, number)) for address in at)
        )

    def identity(self, key: Key) -> str:
        """Return what changes when another program listens, "" where nothing can be seen."""
        return " ".join(sorted({listener.identity for listener in self.serving(key)}))

    def process(self, key: Key) -> str:
        """Return the listening program's name, "" where it may not be known."""
        return next((s.process for s in self.serving(key) if s.process), "")

    def is_own(self, key: Key) -> bool:
        """Whether it is this agent's own port."""
        return any(listener.own for listener in self.serving(key))

    def behind_wildcard(self, key: Key) -> bool:
        """Whether the socket listens on all addresses."""
        return any(listener.address.is_unspecified for listener in self.serving(key))


def is_program(identity: str) -> bool:
    """Whether an identity names programs, not only sockets whose program may not be known."""
    return bool(identity) and "socket" not in identity.split()


def still_good(memory: Memory, *, present: bool, identity: str, age: float, refresh: float) -> bool:
    """Whether what an earlier scan found out still holds. age: seconds since it was probed."""
    if identity != memory.identity:
        return False
    if is_program(identity):
        return True
    return present and age < refresh


def wants_deep_pass(memory: Memory, *, age: float, refresh: float) -> bool:
    """Whether a port that stayed unknown is due for the deep pass. age: since the last one."""
    if memory.service.probed:
        return False
    return memory.deep_at == 0 or (age >= refresh and not is_program(memory.identity))


def representatives(keys: Iterable[Key], listeners: Listeners) -> dict[Key, list[Key]]:
    """Group ports behind which the same program listens: {the one to ask: all of them}.

    The same service on three addresses of this host is asked once.
    """
    groups: dict[object, list[Key]] = {}
    for key in sorted(keys, key=_asked_first):
        identity = listeners.identity(key)
        same: object = (key[1], key[2], identity) if is_program(identity) else key
        groups.setdefault(same, []).append(key)
    return {group[0]: group for group in groups.values()}


def _asked_first(key: Key) -> tuple[bool, int, Address, str, int]:
    address, transport, number = key
    return address.is_loopback, address.version, address, transport, number


def identify(
    keys: Collection[Key],
    *,
    deep: bool,
    raw: bool,
    budget_seconds: float,
    stop: Event,
    progress: Callable[[float], None],
) -> Iterator[tuple[frozenset[Key], dict[Key, Service]]]:
    """Ask nmap what answers on these ports; yield (some of them, {port: service}) as it comes.

    Ports without an answer have no service. Never takes longer than the budget: what was asked but
    not told by then has no service either; what was not even asked is not yielded.
    """
    end = monotonic() + budget_seconds
    chunks = list(_chunks(keys, _CHUNK))
    done = [0.0] * len(chunks)

    def ask(number: int) -> tuple[frozenset[Key], dict[Key, Service]]:
        def told(ratio: float) -> None:
            done[number] = ratio
            progress(sum(done) / len(done))

        address, transport, ports = chunks[number]
        left = end - monotonic()
        if left <= 0:
            return frozenset(), {}
        asked = frozenset((address, transport, port) for port in ports)
        try:
            report = nmap.run(
                version_options(transport, ports, deep=deep, raw=raw),
                [address],
                raw=raw,
                timeout_seconds=left,
                stop=stop,
                progress=told,
            )
        except TimedOut:
            return asked, {}
        told(1.0)
        return asked, {
            key: port.service
            for host in nmap.read(report)
            for port in host.ports
            if (key := (address, transport, port.number)) in asked
            and port.state == "open"
            and port.service.probed
        }

    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="probe") as pool:
        for coming in as_completed([pool.submit(ask, number) for number in range(len(chunks))]):
            yield coming.result()


def version_options(
    transport: str, ports: Collection[int], *, deep: bool, raw: bool
) -> tuple[str, ...]:
    """Return nmap's options for version detection on known open ports of one host.

    --allports: nmap's probe file excludes 9100-9107 (printers print what they receive), where
    Prometheus' exporters live. The deep pass is nmap's own default: what lies above it takes a
    silent port more than five minutes.
    """
    return (
        "-n", "-Pn", "-T4", "-sV", "--allports",
        "--version-intensity=7" if deep else "--version-light",
        "-sU" if transport == "udp" else "-sS" if raw else "-sT",
        "-p", ",".join(map(str, sorted(ports))),
    )  # fmt: skip


def _chunks(keys: Iterable[Key], size: int) -> Iterator[tuple[Address, str, frozenset[int]]]:
    by_host: dict[tuple[Address, str], list[int]] = {}
    for address, transport, number in sorted(keys, key=_asked_first):
        by_host.setdefault((address, transport), []).append(number)
    for (address, transport), numbers in by_host.items():
        for i in range(0, len(numbers), size):
            yield address, transport, frozenset(numbers[i : i + size])


def remembered(
    asked: Mapping[Key, list[Key]],
    found: Mapping[Key, Service],
    guesses: Mapping[Key, Service],
    before: Mapping[Key, Memory],
    listeners: Listeners,
    *,
    deep: bool,
    now: float,
) -> Iterator[tuple[Key, Memory]]:
    """Yield what to remember of each asked port and of those it stands for."""
    for asked_key, group in asked.items():
        for key in group:
            old = before.get(key)
            service = found.get(asked_key)
            if service is None:  # no answer: the guess from the port number, said to be one
                service = old.service if old and deep else guesses[key]
            memory = Memory(service, now, now if deep else 0.0, listeners.identity(key))
            yield key, replace(memory, probed_at=old.probed_at) if deep and old else memory
