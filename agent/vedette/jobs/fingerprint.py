"""Which operating system runs there: on the scanned hosts by nmap, on this one by its own word."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily, Metric

from vedette.edges import host, nmap
from vedette.job import TIMEOUT_TEXT, Context, Fact, Facts, Job, JobOptions
from vedette.option import setting
from vedette.scanned import Address, Scan
from vedette.sniffed import Sniff

UNDETERMINED = "undetermined"
# nmap's osfamily (nmap-os-db) -> ours. Network devices are told by their device type.
_FAMILIES = {
    "Linux": "Linux", "Windows": "Windows", "Mac OS X": "macOS", "macOS": "macOS", "iOS": "macOS",
    "FreeBSD": "BSD", "OpenBSD": "BSD", "NetBSD": "BSD", "DragonFly BSD": "BSD",
}  # fmt: skip
_NETWORK_DEVICES = frozenset(
    {"router", "switch", "firewall", "broadband router", "WAP", "bridge", "hub", "load balancer"}
)
# A fingerprint needs one open and one closed port; nmap compares a few of each.
_OPEN_PORTS, _CLOSED_PORTS = 4, 3
_PASSIVE_SHOWN = 32
# How often the family is right, roughly, by how well the signature fits (capture/passive_os.py).
_CONFIDENCE = {"exact": 0.8, "generic": 0.6, "fuzzy": 0.4}


@dataclass(frozen=True, kw_only=True)
class Options(JobOptions):
    """Operating systems."""

    interval_seconds: int = setting(3600, "Time between starts.", ge=60)
    timeout_seconds: float = setting(600.0, TIMEOUT_TEXT, gt=0)
    host_seconds: int = setting(30, "nmap gives up on a host after this long.", gt=0)
    active: bool = setting(
        default=True,
        text="Whether nmap -O is used; this host's own word (os-release) is always heard.",
    )


@dataclass(frozen=True, slots=True)
class Guess:
    """One opinion on one host. source: active (nmap), passive (SYNs) or local. accuracy: 0 to 1.

    family: Linux, Windows, macOS, BSD, network device, other, or undetermined, where nmap found no
    pair of an open and a closed port, or no match at all.
    """

    address: Address
    family: str
    name: str
    source: str
    accuracy: float


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """All opinions, sorted by address and source. active: whether nmap could be asked."""

    guesses: tuple[Guess, ...]
    active: bool


def observe(options: Options, context: Context[Fingerprint]) -> Iterator[Fingerprint]:
    """Ask this host itself, then nmap about every host that the last scan found up."""
    scan = context.latest.get(Scan)
    found = scan.addresses if scan else tuple(a.address for a in host.addresses())
    addresses = tuple(address for address in found if not address.is_loopback)
    own = {entry.address for entry in host.addresses()}
    family, name = host.operating_system()
    guesses = [Guess(a, family, name, "local", 1.0) for a in addresses if a in own]
    guesses += passive(context.latest.get(Sniff), addresses, own)
    active = options.active and host.raw_sockets()
    if not active:
        yield _fingerprint(guesses, active=False)
        return
    if context.previous is None:
        yield _fingerprint(guesses, active=False)
    for number, address in enumerate(addresses):
        context.progress(number / len(addresses), str(address))
        ports = scan.open_ports(address) if scan else ()
        report = nmap.run(
            os_options(ports, options.host_seconds),
            [address],
            raw=True,
            timeout_seconds=options.host_seconds + 10,
            stop=context.stop,
        )
        guesses.append(parse(report, address))
    yield _fingerprint(guesses, active=True)


def passive(
    sniff: Sniff | None, scanned: Iterable[Address], own: Collection[Address]
) -> list[Guess]:
    """Return what SYNs have told of neighbours and scanned hosts, of those heard last.

    Not of everybody who connects: strangers are without number, and each would be a series.
    """
    if sniff is None:
        return []
    near = {*map(str, scanned), *sniff.neighbours} - {*map(str, own)}
    heard = [(a, guess) for a, guess in sniff.systems.items() if a in near][-_PASSIVE_SHOWN:]
    return [
        Guess(ip_address(a), family, family, "passive", _CONFIDENCE.get(confidence, 0.0))
        for a, (family, confidence) in heard
    ]


def os_options(open_ports: tuple[int, ...], host_seconds: int) -> tuple[str, ...]:
    """Return nmap's options for a fingerprint by known open ports, and closed ones beside them."""
    if open_ports:
        taken = set(open_ports)
        closed = [port for port in range(1, 1 << 16) if port not in taken][:_CLOSED_PORTS]
        ports: tuple[str, ...] = ("-p", ",".join(map(str, [*open_ports[:_OPEN_PORTS], *closed])))
    else:
        ports = ("-F",)
    return (
        "-n", "-Pn", "-sS", "-O", "--max-os-tries", "1",
        "--host-timeout", f"{host_seconds}s", *ports,
    )  # fmt: skip


def parse(report: bytes, address: Address) -> Guess:
    """Return nmap's best guess on the one host asked. Raises BadOutput if the report is damaged."""
    for seen in nmap.read(report):
        if seen.address == address and seen.os_reliable and seen.os_matches:
            best = max(seen.os_matches, key=lambda match: match.accuracy)
            return Guess(address, family_of(best), best.name, "active", best.accuracy / 100)
    return Guess(address, UNDETERMINED, "", "active", 0.0)


def family_of(match: nmap.OsMatch) -> str:
    """Return one of our few families for nmap's many."""
    if match.device in _NETWORK_DEVICES:
        return "network device"
    return _FAMILIES.get(match.family, "other")


def _fingerprint(guesses: list[Guess], *, active: bool) -> Fingerprint:
    order = sorted(guesses, key=lambda g: (g.address.version, g.address, g.source))
    return Fingerprint(tuple(order), active)


def families(fingerprint: Fingerprint) -> Iterable[Metric]:
    """The metrics of one fingerprint."""
    info = InfoMetricFamily(
        "vedette_os",
        "Operating system at the last fingerprint; always 1. family undetermined: nmap found no"
        " open and closed port to compare, or no match.",
        labels=["address", "family", "os_name", "source"],
    )
    accuracy = GaugeMetricFamily(
        "vedette_os_accuracy_ratio",
        "Match score of nmap's guess at the last fingerprint, or of the passive one where nmap made"
        " none, 0 to 1; not a probability.",
        labels=["address"],
    )
    asked = {guess.address for guess in fingerprint.guesses if guess.source == "active"}
    for guess in fingerprint.guesses:
        info.add_metric([str(guess.address), guess.family, guess.name, guess.source], {})
        best = guess.source == "active" or (
            guess.source == "passive" and guess.address not in asked
        )
        if best and guess.family != UNDETERMINED:
            accuracy.add_metric([str(guess.address)], guess.accuracy)
    yield info
    yield accuracy


def facts(fingerprint: Fingerprint) -> Iterable[Facts]:
    """Which operating system each host has. "undetermined" is no knowledge to remember."""
    known = tuple(
        Fact(
            f"{g.address} {g.source}",
            {"family": g.family, "os_name": g.name},
            {"accuracy": g.accuracy},
        )
        for g in fingerprint.guesses
        if g.family != UNDETERMINED
    )
    yield Facts("os", known, complete=False)


JOB = Job(
    name="fingerprint", options=Options, observe=observe, families=families, facts=facts,
    after=("scan",),
)  # fmt: skip
