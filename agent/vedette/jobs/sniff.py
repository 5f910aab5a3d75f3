"""What the network carries: protocols, this host's services, its peers and neighbours.

A child process captures without a pause; each run of this job takes over its newest windows.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeVar

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)

from vedette import log
from vedette.edges import host, own_traffic
from vedette.edges.capture_process import CaptureProcess, Summary
from vedette.errors import NotPermitted
from vedette.interfaces import Selection
from vedette.job import TIMEOUT_TEXT, Context, Fact, Facts, Job, JobOptions
from vedette.option import setting
from vedette.scanned import Address, Scan
from vedette.sniffed import IDLE_SECONDS, Count, Sniff, happened, idle_places, learn, new_neighbours
from vedette.thresholds import Thresholds

K = TypeVar("K")

CAPTURE = CaptureProcess()

# How much longer than its window the child may take to tell about it: its start-up, on a busy host.
_GRACE_SECONDS = 15
_NEIGHBOURS_KEPT = 1024
_NEIGHBOURS_SHOWN = 32
_INTERFACES_KEPT = 1024  # ppp and veth come and go for years, each with a name of its own


@dataclass(frozen=True, kw_only=True)
class Options(JobOptions, Selection):
    """Traffic by protocol, service and peer; neighbours."""

    interval_seconds: int = setting(10, "Length of a window. Capture itself never pauses.", ge=1)
    timeout_seconds: float = setting(60.0, TIMEOUT_TEXT, gt=0)
    include_loopback: bool = setting(default=True, text="Whether loopback counts.")
    interfaces: tuple[str, ...] = setting((), "Interfaces to capture on. Empty: all that count.")
    ring_bytes: int = setting(
        4 << 20,
        "Memory between the kernel and the capture (Linux): 22,000 packets in 4 MiB. Bursts longer"
        " than that while the processor is busy elsewhere are lost, and counted.",
        ge=1 << 18,
        le=1 << 28,
    )
    snap_bytes: int = setting(
        126,
        "Bytes of each frame that are kept to read its headers; sizes count in full.",
        ge=94,
        le=2048,
    )
    cpu_ratio: float = setting(
        1.0,
        "Share of one core that the capture may use; packets beyond it are lost, and counted.",
        gt=0,
        le=1,
    )
    looks_per_second: int = setting(
        500,
        "Frames that are looked into, a second (Linux): what is spoken, who is there, events. 0:"
        " none.",
        ge=0,
        le=10_000,
    )
    peers: int = setting(10, "How many peers get a series of their own.", ge=0, le=100)
    names: int = setting(
        0,
        "How many names that clients ask for (TLS' SNI, HTTP's host) the inventory lists, of the"
        " last window. No label has any. 0: none.",
        ge=0,
        le=100,
    )
    events: Thresholds = field(default_factory=Thresholds)


_NOTHING = Sniff(seconds=0, protocols={}, services={}, dropped={}, peers={}, neighbours={})


def observe(options: Options, context: Context[Sniff]) -> Iterator[Sniff]:
    """Take over the windows that the capture process has finished since the last run."""
    if not host.raw_sockets():
        raise NotPermitted("capturing needs CAP_NET_RAW (run as root, or by the unit of systemd/)")
    found = host.addresses()
    scan = context.latest.get(Scan)
    # An interface that is gone may come back: the capture need not be told again.
    carried = {name for name, _ in context.previous.protocols} if context.previous else set()
    known = list(options.interfaces) or options.chosen({a.interface for a in found} | carried)
    CAPTURE.ensure(
        options.interval_seconds,
        options.peers,
        *("--ring-bytes", str(options.ring_bytes), "--snap-bytes", str(options.snap_bytes)),
        *("--cpu-ratio", str(options.cpu_ratio), "--looks", str(options.looks_per_second)),
        *("--names", str(options.names)),
        *("--events", json.dumps(asdict(options.events))),
    )
    own = {a.address for a in found}
    macs = sorted({a.mac for a in found if a.mac})
    CAPTURE.tell(known, sorted(own, key=str), macs, _open_ports(scan, own))
    summaries = CAPTURE.fetch(options.interval_seconds + _GRACE_SECONDS, context.stop)
    services = service_names(scan, own)
    before = context.previous or _NOTHING
    # The windows, and until they were fetched.
    asked = own_traffic.within(sum(s["seconds"] for s in summaries) + options.interval_seconds)
    sniff = before
    for summary in summaries:
        sniff = learn(add(sniff, summary, services), summary, context.now(), asked=asked)
    yield _with_history(sniff, before, services, context)


def _with_history(
    sniff: Sniff,
    before: Sniff,
    services: Mapping[tuple[str, int], str],
    context: Context[Sniff],
) -> Sniff:
    """Return it with what only the history tells: who is new, and which port nobody uses."""
    now = context.now()
    if any(card not in before.neighbours.values() for card in sniff.neighbours.values()):
        sniff = happened(sniff, new_neighbours(sniff.neighbours, context.known("neighbour"), now))
    used = context.known("service")
    # Most hosts are not watched for so long, and have no need to read all their ports each time.
    long_enough = any(now - fact.first_seen >= IDLE_SECONDS for fact in used.values())
    ports = context.known("port") if long_enough else {}
    idle = idle_places(services, sniff.used, ports, used, now)
    told = sum(sniff.event_counts.values()) - sum(before.event_counts.values())
    for event in sniff.events[-told:] if told else ():
        log.event(
            "warning", "network event", event=event.kind, subject=event.subject, **event.evidence
        )
    return replace(sniff, idle=idle)


def _open_ports(scan: Scan | None, own: Collection[Address]) -> dict[str, list[int]]:
    ports = {(p.transport, p.number) for p in scan.ports if p.address in own} if scan else set()
    return {
        transport: sorted(number for kind, number in ports if kind == transport)
        for transport in ("tcp", "udp")
    }


def service_names(scan: Scan | None, own: Collection[Address]) -> dict[tuple[str, int], str]:
    """Return {(transport, port): what answers there} of this host alone."""
    ports = scan.ports if scan else ()
    return {(p.transport, p.number): p.service.name for p in ports if p.address in own}


def add(sniff: Sniff, summary: Summary, services: Mapping[tuple[str, int], str]) -> Sniff:
    """Return the counts with one more window in them."""
    heard_on, counted = {row[0] for row in summary["protocols"]}, dict(sniff.services)
    # The last heard stand last: only of those that are silent for longest the counters end.
    protocols = dict(sorted(sniff.protocols.items(), key=lambda item: item[0][0] in heard_on))
    for interface, protocol, packets, size in summary["protocols"]:
        _count(protocols, (interface, protocol), packets, size)
    kept = set(list(dict.fromkeys(interface for interface, _ in protocols))[-_INTERFACES_KEPT:])
    for transport, port, direction, packets, size in summary["services"]:
        name = services.get((transport, port), "unknown")
        _count(counted, (transport, port, direction, name), packets, size)
    dropped = {
        interface: sniff.dropped.get(interface, 0) + summary["dropped"].get(interface, 0)
        for interface in sorted({*sniff.dropped, *summary["dropped"]})
        if interface in kept or interface in summary["dropped"]
    }
    heard = {address: (mac, vendor) for address, mac, vendor, *_ in summary.get("heard", ())}
    heard |= {address: (mac, vendor) for address, mac, vendor in summary["neighbours"]}
    silent = {a: known for a, known in sniff.neighbours.items() if a not in heard}
    neighbours = {**silent, **heard}  # the last heard stand last
    return replace(
        sniff,
        seconds=summary["seconds"],
        protocols={k: v for k, v in protocols.items() if k[0] in kept},
        # Of ports that are no longer open the counters end, as their other series do.
        services={k: v for k, v in counted.items() if services.get((k[0], k[1])) == k[3]},
        dropped=dropped,
        shed=sniff.shed + summary.get("shed", 0),
        names=summary.get("names", 0),
        asked=tuple(tuple(row) for row in summary.get("asked", ())),
        peers=dict(summary["peers"]),
        neighbours=dict(list(neighbours.items())[-_NEIGHBOURS_KEPT:]),
        spoken={place: what for place, what in sniff.spoken.items() if place in services},
        used={place: at for place, at in sniff.used.items() if place in services},
    )


def _count(counts: dict[K, Count], key: K, packets: int, size: int) -> None:
    before = counts.get(key, (0, 0))
    counts[key] = before[0] + packets, before[1] + size


def families(sniff: Sniff) -> Iterable[Metric]:
    """The metrics of all windows so far."""
    yield from _pair(
        "vedette_captured",
        "captured on an interface, by IP protocol (IANA's names)",
        ["interface", "protocol"],
        dict(sorted(sniff.protocols.items())),
    )
    yield _by(
        "interface",
        CounterMetricFamily,
        "vedette_capture_dropped_packets",
        "Packets that the kernel dropped because capture was too slow.",
        sniff.dropped,
    )
    yield CounterMetricFamily(
        "vedette_capture_shed_frames",
        "Frames that tell something and were not looked into, beyond sniff.looks_per_second; they"
        " count as packets all the same.",
        value=sniff.shed,
    )
    yield from _pair(
        "vedette_service",
        "captured to (in) and from (out) this host's open ports",
        ["transport", "port", "app_protocol", "direction"],
        {
            (transport, str(port), name, direction): count
            for (transport, port, direction, name), count in sorted(sniff.services.items())
        },
    )
    yield GaugeMetricFamily(
        "vedette_idle_ports",
        "Open ports of this host that nobody but this agent has used for 30 days.",
        value=len(sniff.idle),
    )
    yield _by(
        "peer",
        GaugeMetricFamily,
        "vedette_peer_bytes",
        "Bytes exchanged with the busiest peers in the last window; the rest is peer=other.",
        sniff.peers,
    )
    yield GaugeMetricFamily(
        "vedette_neighbours",
        "Different addresses of the local network that were heard (ARP, NDP, DHCP, mDNS) since the"
        " agent's start.",
        value=len(sniff.neighbours),
    )
    neighbours = InfoMetricFamily(
        "vedette_neighbour",
        f"Neighbour, of the {_NEIGHBOURS_SHOWN} heard last; always 1. The inventory has all.",
        labels=["address", "mac", "vendor"],
    )
    for address, (mac, vendor) in list(sniff.neighbours.items())[-_NEIGHBOURS_SHOWN:]:
        neighbours.add_metric([address, mac, vendor], {})
    yield neighbours
    yield _by(
        "app_protocol",
        CounterMetricFamily,
        "vedette_application_bytes",
        "Bytes by what was spoken, told by content, else by port: all of this host's open ports;"
        " of other flows only the packets that were looked into, so a part.",
        dict(sorted(sniff.applications.items())),
    )
    yield _by(
        "event",
        CounterMetricFamily,
        "vedette_network_events",
        "Events on the network since the agent's start; the log and the history have the evidence.",
        sniff.event_counts,
    )


def _by(
    label: str,
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily],
    name: str,
    text: str,
    values: Mapping[str, int],
) -> Metric:
    """Return a family of one label: {its value: how much}."""
    family = kind(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _pair(
    name: str, text: str, labels: list[str], counts: Mapping[tuple[str, ...], Count]
) -> Iterator[Metric]:
    for index, what in enumerate(("packets", "bytes")):
        family = CounterMetricFamily(
            f"{name}_{what}", f"{what.capitalize()} {text}.", labels=labels
        )
        for key, count in counts.items():
            family.add_metric(list(key), count[index])
        yield family


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def facts(sniff: Sniff) -> Iterable[Facts]:
    """Who was heard. Silence is no news: neighbours stay known."""
    yield Facts(
        "neighbour",
        tuple(
            Fact(address, {"mac": mac}, {"vendor": vendor})
            for address, (mac, vendor) in sniff.neighbours.items()
        ),
        complete=False,
    )
    yield Facts(
        "service",
        tuple(
            # To the hour: the very same facts are written seldom.
            Fact(
                f"{transport}/{port}",
                {"speaks": sniff.spoken.get((transport, port), ("unknown", ""))[0]},
                {"last": at - at % 3600},
            )
            for (transport, port), at in sorted(sniff.used.items())
        ),
        complete=False,
    )
    yield Facts(
        "event",
        tuple(
            Fact(f"{e.kind} {e.subject}", {"at": _utc(e.at), **e.evidence}) for e in sniff.events
        ),
        complete=False,
    )


JOB = Job(name="sniff", options=Options, observe=observe, families=families, facts=facts)
