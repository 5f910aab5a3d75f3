"""What the network carries, as the job `sniff` knows it and others may ask."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vedette.job import Known
from vedette.thresholds import EVENTS

Count = tuple[int, int]  # packets, bytes
Place = tuple[str, int]  # transport, port

_EVENTS_KEPT = 100
_SYSTEMS_KEPT = 1024
# So long after the first neighbour ever was heard, all are learned and none is news.
_LEARNING_SECONDS = 3600.0
_NEWS_AT_ONCE = 16
IDLE_SECONDS = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class NetworkEvent:
    """One of thresholds.EVENTS. subject: whom it is about. evidence: plain JSON. at: Unix time."""

    kind: str
    subject: str
    evidence: Mapping[str, Any]
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sniff:
    """Counts since the agent's start, and the last window's peers.

    protocols: {(interface, protocol): count}. services: {(transport, port, direction, what
    answers there): count}. dropped: {interface: packets}. peers: {address: bytes in the last
    window}, the rest under "other". neighbours: {address: (mac, vendor)}, of those that were heard.
    applications: {protocol: bytes}. spoken: {place: (protocol, content|port)}. used: {place: Unix
    time of the last packet}. idle: open places that nobody used for 30 days. event_counts, events:
    since the start, and the newest. systems: {address: (family, how sure)}. shed: frames that were
    not looked into. Of the last window: names: how many were asked for by DNS; asked: (protocol,
    sni|host|alpn, which, how often).
    """

    seconds: float
    protocols: Mapping[tuple[str, str], Count]
    services: Mapping[tuple[str, int, str, str], Count]
    dropped: Mapping[str, int]
    peers: Mapping[str, int]
    neighbours: Mapping[str, tuple[str, str]]
    applications: Mapping[str, int] = field(default_factory=dict)
    spoken: Mapping[Place, tuple[str, str]] = field(default_factory=dict)
    used: Mapping[Place, float] = field(default_factory=dict)
    idle: frozenset[Place] = frozenset()
    event_counts: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(EVENTS, 0))
    events: tuple[NetworkEvent, ...] = ()
    systems: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    shed: int = 0
    names: int = 0
    asked: tuple[tuple[str, str, str, int], ...] = ()


def learn(sniff: Sniff, summary: Mapping[str, Any], now: float, *, asked: bool = False) -> Sniff:
    """Return it with what a window's dissection has told: who speaks what, and what happened.

    asked: this agent itself has asked ports meanwhile, so traffic does not say that they are used,
    and not what others speak there.
    """
    spoken = dict(sniff.spoken)
    for transport, port, protocol, how, _ in summary.get("spoken", ()):
        # What is usual at a port is no news, once it was heard what is spoken there; neither is
        # what our own scans try there, in all protocols.
        before = spoken.get((transport, port), ("", ""))[1]
        if before != "content" or (how == "content" and not asked):
            spoken[transport, port] = protocol, how
    applications, used = dict(sniff.applications), dict(sniff.used)
    for transport, port, _, packets, size in summary["services"]:
        name = spoken.get((transport, port), ("unknown", ""))[0]
        applications[name] = applications.get(name, 0) + size
        if packets and not asked:
            used[transport, port] = now
    for name, _, _, size in summary.get("application", ()):
        applications[name] = applications.get(name, 0) + size
    systems = dict(sniff.systems)
    for address, family, confidence in summary.get("systems", ()):
        systems.pop(address, None)
        systems[address] = family, confidence  # the last heard stand last
    told = [NetworkEvent(*row) for row in summary.get("events", ())]
    return happened(
        replace(
            sniff,
            applications=applications,
            spoken=spoken,
            used=used,
            systems=dict(list(systems.items())[-_SYSTEMS_KEPT:]),
        ),
        told,
    )


def happened(sniff: Sniff, events: Iterable[NetworkEvent]) -> Sniff:
    """Return it with these events counted and kept."""
    events = tuple(events)
    counts = dict(sniff.event_counts)
    for event in events:
        counts[event.kind] = counts.get(event.kind, 0) + 1
    return replace(sniff, event_counts=counts, events=(*sniff.events, *events)[-_EVENTS_KEPT:])


def new_neighbours(
    heard: Mapping[str, tuple[str, str]], known: Mapping[str, Known], now: float
) -> list[NetworkEvent]:
    """Return an event for each card that was never heard before, once the network is learned."""
    if not known or now - min(fact.first_seen for fact in known.values()) < _LEARNING_SECONDS:
        return []
    cards = {fact.value.get("mac") for fact in known.values()}
    news: dict[str, NetworkEvent] = {}
    for address, (mac, vendor) in heard.items():
        if mac in cards or mac in news or len(news) >= _NEWS_AT_ONCE:
            continue
        # The second bit of the first byte: a MAC that was made up, as telephones do.
        made_up = mac[1:2] in ("2", "6", "a", "e")
        evidence = {"address": address, "vendor": vendor, "random_mac": str(made_up).lower()}
        news[mac] = NetworkEvent("new_neighbour", mac, evidence, now)
    return list(news.values())


def idle_places(
    places: Iterable[Place],
    used: Mapping[Place, float],
    ports: Mapping[str, Known],
    services: Mapping[str, Known],
    now: float,
) -> frozenset[Place]:
    """Return the open places that are known, and watched, for 30 days without a packet.

    ports, services: what the history knows of the kinds "port" and "service".
    """
    watched = min((fact.first_seen for fact in services.values()), default=now)
    if now - watched < IDLE_SECONDS:
        return frozenset()
    opened: dict[str, float] = {}
    for key, fact in ports.items():  # "192.0.2.10 tcp/22"
        place = key.rpartition(" ")[2]
        opened[place] = min(fact.first_seen, opened.get(place, now))
    idle = set()
    for transport, port in places:
        key = f"{transport}/{port}"
        last = used.get((transport, port), 0.0)
        if key in services:
            last = max(last, float(services[key].detail.get("last", 0.0)))
        if now - max(last, opened.get(key, now)) >= IDLE_SECONDS:
            idle.add((transport, port))
    return frozenset(idle)
