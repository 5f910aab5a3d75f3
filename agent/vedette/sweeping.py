"""Finding out which ports are open: one fast nmap for each kind of target.

This host's own addresses are asked at full speed, its loopback only where a socket listens, listed
networks gently.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Event

from vedette.edges import nmap
from vedette.probing import Key, Listeners
from vedette.scanned import Address, Service
from vedette.targets import Network

# This host has no network to be gentle to; and it is up, whatever a firewall says.
_UNHURRIED = ("-Pn", "-T4")
_AT_ONCE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to sweep.

    ports: {"tcp", and "udp" if that is wanted: numbers like 1-1024,8080}, of this host; networks
    are asked for network_tcp_ports instead, "" for nmap's 1,000 most common. raw: whether nmap may
    use raw sockets.
    """

    own: tuple[Address, ...]
    networks: tuple[Network, ...]
    ports: Mapping[str, str]
    network_tcp_ports: str
    packets_per_second: int
    raw: bool
    timeout_seconds: float


@dataclass(slots=True)
class Swept:
    """What a sweep has found.

    targets: how many addresses were asked. up: those that are. services: the open ports, each with
    the service that its number suggests.
    """

    targets: int = 0
    up: set[Address] = field(default_factory=set)
    services: dict[Key, Service] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Ask:
    """One nmap or two. ports: as in Order."""

    targets: Sequence[nmap.Target]
    ports: Mapping[str, str]
    pace: tuple[str, ...]


def sweep(
    order: Order, listeners: Listeners, stop: Event, progress: Callable[[str], nmap.Progress]
) -> Swept:
    """Find the open ports of this host, and of the networks listed.

    progress: {transport: who is told how far its sweep is}. Raises the JobErrors of nmap.run.
    """
    swept = Swept()
    asks = [ask for version in (4, 6) for ask in _asks(order, listeners, version)]
    swept.up.update(order.own)
    swept.targets = len(order.own) + sum(network.num_addresses for network in order.networks)
    # IPv4 and IPv6 at once: each is one nmap, which waits for the kernel half of its time.
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="sweep") as pool:
        for hosts in pool.map(lambda ask: _hosts(order, ask, stop, progress), asks):
            _take(swept, hosts, listeners)
    if "udp" in order.ports and not order.raw:
        _take_sockets(swept, order, listeners)
    drop_echoes(swept.services, order.own, listeners, raw=order.raw)
    return swept


def _asks(order: Order, listeners: Listeners, version: int) -> Iterable[_Ask]:
    own = [address for address in order.own if address.version == version]
    loopback = [address for address in own if address.is_loopback]
    yield _Ask([a for a in own if not a.is_loopback], order.ports, _UNHURRIED)
    # Nothing can answer on loopback but a socket of this host: only these are asked.
    sockets = {
        transport: ",".join(map(str, numbers))
        for transport, within in order.ports.items()
        if (numbers := listeners.numbers(transport, loopback, within))
    }
    yield _Ask(loopback, sockets, _UNHURRIED)
    gentle = ("-T3", "--max-rate", str(order.packets_per_second))
    others = [network for network in order.networks if network.version == version]
    yield _Ask(others, {**order.ports, "tcp": order.network_tcp_ports}, gentle)


def _hosts(
    order: Order, ask: _Ask, stop: Event, progress: Callable[[str], nmap.Progress]
) -> list[nmap.Host]:
    hosts: list[nmap.Host] = []
    # UDP is swept through raw sockets only.
    kinds = {"tcp": "-sS", "udp": "-sU"} if order.raw else {"tcp": "-sT"}
    for transport, kind in kinds.items():
        if not ask.targets or transport not in ask.ports:
            continue
        ports = ask.ports[transport]
        report = nmap.run(
            ("-n", *ask.pace, kind, *(("-p", ports) if ports else ())),
            ask.targets,
            raw=order.raw,
            timeout_seconds=order.timeout_seconds,
            stop=stop,
            progress=progress(transport),
        )
        hosts += nmap.read(report)
    return hosts


def _take(swept: Swept, hosts: Iterable[nmap.Host], listeners: Listeners) -> None:
    for seen in hosts:
        if not seen.up:
            continue
        swept.up.add(seen.address)
        for port in seen.ports:
            key = (seen.address, port.transport, port.number)
            # A UDP service that does not answer nonsense looks filtered; the socket proves it.
            if port.state == "open" or (port.state == "open|filtered" and listeners.serving(key)):
                swept.services[key] = replace(port.service, probed=False)


def _take_sockets(swept: Swept, order: Order, listeners: Listeners) -> None:
    """Without raw sockets nmap knows no UDP: of this host, the sockets tell."""
    for address in order.own:
        for number in listeners.numbers("udp", [address], order.ports["udp"]):
            swept.services[address, "udp", number] = Service()


def drop_echoes(
    services: dict[Key, Service], own: Sequence[Address], listeners: Listeners, *, raw: bool
) -> None:
    """Drop what is no port of its own.

    On loopback: what listens on all addresses, and was seen on another one. Without raw sockets: a
    connect scan of oneself sometimes meets itself (TCP simultaneous open on a port from the
    ephemeral range), where nothing listens.
    """
    elsewhere = {(k[1], k[2]) for k in services if k[0] in own and not k[0].is_loopback}
    for key in list(services):
        address, transport, number = key
        if address not in own:
            continue
        if address.is_loopback and (transport, number) in elsewhere:
            if listeners.behind_wildcard(key) or not listeners.serving(key):
                del services[key]
        elif not raw and transport == "tcp" and not listeners.serving(key):
            del services[key]
