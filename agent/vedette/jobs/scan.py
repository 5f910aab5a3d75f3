"""Which ports are open, what answers there, and how much that matters.

nmap is used in three steps: a fast sweep of all ports, version detection on the few that need it
(see probing.py), and safe scripts on this host (see scripts.py). The snapshot comes in as many
steps: what is open is shown before it is known what it is.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vedette import __version__, judging, probing, scan_metrics, scripts, sweeping, targets
from vedette.edges import acceptances, host, nmap
from vedette.interfaces import Selection
from vedette.job import SPLAY_TEXT, TIMEOUT_TEXT, Context, Fact, Facts, Job, JobOptions
from vedette.option import setting
from vedette.probing import Key, Listeners, Memory
from vedette.risk.score import exposure_of
from vedette.scanned import CHANGES, Address, Port, Scan, Service, Source, finding_key
from vedette.scripts import Asked

_OWN = Service("http", "vedette", __version__, probed=True)
# Fractions of a run's progress at which its steps begin: sweep, light pass, scripts, deep pass.
_SWEEP, _LIGHT, _SCRIPTS, _DEEP = 0.0, 0.2, 0.5, 0.6


def _port(text: str) -> str:
    transport, number = targets.parse_port(text)
    return f"{transport}/{number}"


def _sha256(text: str) -> str:
    if text and not re.fullmatch("[0-9a-f]{64}", text.lower()):
        raise ValueError(f"{text[:80]!r} is no SHA-256: 64 hexadecimal digits")
    return text.lower()


@dataclass(frozen=True, kw_only=True)
class Options(JobOptions, Selection):
    """Open ports, services, versions and risk."""

    interval_seconds: int = setting(900, "Time between starts.", ge=10)
    timeout_seconds: float = setting(1800.0, TIMEOUT_TEXT, gt=0)
    splay_seconds: float = setting(2.0, SPLAY_TEXT, ge=0)
    include_loopback: bool = setting(
        default=True,
        text="Whether what listens on loopback alone is looked for and shown as well.",
    )
    this_host: bool = setting(default=True, text="Whether this host's addresses are scanned.")
    networks: tuple[targets.Network, ...] = setting(
        (), "Networks to scan as well, in CIDR notation.", parse=targets.parse
    )
    allow_public: bool = setting(
        default=False, text="Whether `networks` may be public: the second switch for that."
    )
    tcp_ports: str = setting(
        "1-65535", "TCP ports to sweep, like 1-1024,8080.", parse=targets.parse_ports
    )
    network_tcp_ports: str = setting(
        "",
        "TCP ports to sweep on `networks`, like 1-1024,8080. Empty: the 1,000 most common.",
        parse=lambda text: targets.parse_ports(text) if text else text,
    )
    udp: bool = setting(default=False, text="Whether UDP ports are scanned as well.")
    udp_ports: str = setting(
        "53,67,69,111,123,137,161,389,500,514,1194,1900,4500,5353,11211,51820",
        "UDP ports to scan if `udp` is on. Keep it short: closed ones answer slowly.",
        parse=targets.parse_ports,
    )
    expected_ports: tuple[str, ...] | None = setting(
        None,
        "Allow-list, like [tcp/22, 443]: what else is open off loopback is unexpected, what is not"
        " open is missing. Unset: nothing is judged.",
        parse=_port,
    )
    packets_per_second: int = setting(1000, "Ceiling for networks other than this host.", gt=0)
    refresh_seconds: int = setting(
        86_400,
        "A port is asked again after this long, unless the program that listens there is known to"
        " be the same; an unknown service gets its deep pass at most this often.",
        ge=0,
    )
    probe_seconds: float = setting(120.0, "Budget of one run's light version detection.", gt=0)
    knowledge_file: Path = setting(
        Path("/var/lib/vedette/knowledge.sqlite"),
        "Base of vulnerabilities. The one in the package is used instead where it is newer, or"
        " where this one is missing or damaged.",
    )
    knowledge_sha256: str = setting(
        "",
        "What `knowledge_file` must have, or it is not used; `vedette knowledge build` prints it."
        " Empty: any.",
        parse=_sha256,
    )
    listeners_file: Path = setting(
        Path("/run/vedette/listeners.json"),
        "What `vedette inventory` writes: the package behind each port. May be missing.",
    )
    accepted_findings_file: Path | None = setting(
        None,
        "YAML list of findings that are accepted for a reason and until a day: shown as such, not"
        " counted. Read at each scan.",
    )
    script_seconds: float = setting(
        60.0,
        "Budget of nmap's safe scripts, which ask services of this host for certificates and for"
        " what they give without a password; 0 switches them off.",
        ge=0,
    )
    deep_probe_seconds: float = setting(
        300.0, "Budget of the deep pass for what stayed unknown; 0 switches it off.", ge=0
    )

    def __post_init__(self) -> None:
        """Refuse what may not be scanned, and an ill-formed list. Raises ValueError."""
        targets.check(self.networks, allow_public=self.allow_public)
        if self.accepted_findings_file is not None:
            acceptances.read(self.accepted_findings_file)


@dataclass(slots=True)
class Run:
    """What one run has learnt so far."""

    options: Options
    context: Context[Scan]
    raw: bool
    own: tuple[Address, ...]
    listeners: Listeners
    judge: judging.Judge
    targets: int = 0
    up: set[Address] = field(default_factory=set)
    guesses: dict[Key, Service] = field(default_factory=dict)
    memories: dict[Key, Memory] = field(default_factory=dict)
    first_seen: dict[Key, float] = field(default_factory=dict)
    asked: dict[Key, Asked] = field(default_factory=dict)

    def progress(self, start: float, end: float, text: str) -> nmap.Progress:
        return lambda ratio: self.context.progress(start + ratio * (end - start), text)


def observe(options: Options, context: Context[Scan]) -> Iterator[Scan]:
    """Sweep, then identify what needs it; yield what is known after each step."""
    found = options.addresses(host.addresses()) if options.this_host else ()
    own = tuple(dict.fromkeys(a.address for a in found))
    judge = judging.of_this_host(
        options.knowledge_file,
        options.listeners_file,
        own,
        context.now(),
        options.accepted_findings_file,
        sha256=options.knowledge_sha256,
    )
    run = Run(options, context, host.raw_sockets(), own, Listeners(host.listeners(), own), judge)
    known = context.known("port")
    swept = sweeping.sweep(
        _order_of(run),
        run.listeners,
        context.stop,
        lambda transport: run.progress(_SWEEP, _LIGHT, f"sweeping {transport} ports"),
    )
    run.targets, run.up, run.guesses = swept.targets, swept.up, swept.services
    recall(run, known)
    # UDP is probed through raw sockets only.
    asked = probing.representatives(
        (k for k in run.guesses if k not in run.memories and (run.raw or k[1] == "tcp")),
        run.listeners,
    )
    # A port that is new is shown at once, under the name that its number suggests.
    news = context.previous is None or any(key not in run.first_seen for key in asked)
    if asked and news:
        yield build(run, known, settled=False)
    for _ in _identify(run, asked, deep=False):
        if news:
            yield build(run, known, settled=False)
    yield build(run, known, settled=True)

    if options.script_seconds:
        for _ in _ask(run):
            yield build(run, known, settled=True)
    unknown = probing.representatives(
        (key for key, memory in run.memories.items() if _wants_deep_pass(run, memory)),
        run.listeners,
    )
    if unknown and options.deep_probe_seconds:
        for _ in _identify(run, unknown, deep=True):
            yield build(run, known, settled=True)


def _order_of(run: Run) -> sweeping.Order:
    options = run.options
    return sweeping.Order(
        own=run.own,
        networks=options.networks,
        ports={"tcp": options.tcp_ports} | ({"udp": options.udp_ports} if options.udp else {}),
        network_tcp_ports=options.network_tcp_ports,
        packets_per_second=options.packets_per_second,
        raw=run.raw,
        timeout_seconds=options.timeout_seconds,
    )


def recall(run: Run, known: Mapping[str, Any]) -> None:
    """Take over from history what still holds."""
    now = run.context.now()
    for key in run.guesses:
        old = known.get(_name(key))
        if old is not None:
            run.first_seen[key] = old.first_seen
        identity = run.listeners.identity(key)
        if run.listeners.is_own(key):
            run.memories[key] = Memory(_OWN, now, 0.0, identity)
        elif old is not None and (memory := Memory.of(old)) is not None:
            good = probing.still_good(
                memory,
                present=old.present,
                identity=identity,
                age=now - memory.probed_at,
                refresh=run.options.refresh_seconds,
            )
            if good:
                run.memories[key] = memory
        asked = Asked.of(old) if old is not None and run.options.script_seconds else None
        if asked is not None and asked.identity == identity:
            run.asked[key] = asked


def _wants_deep_pass(run: Run, memory: Memory) -> bool:
    age = run.context.now() - memory.deep_at
    return probing.wants_deep_pass(memory, age=age, refresh=run.options.refresh_seconds)


def _identify(run: Run, asked: Mapping[Key, list[Key]], *, deep: bool) -> Iterator[None]:
    """Ask what answers, and remember it; come back whenever more is known."""
    options = run.options
    parts = probing.identify(
        asked,
        deep=deep,
        raw=run.raw,
        budget_seconds=options.deep_probe_seconds if deep else options.probe_seconds,
        stop=run.context.stop,
        progress=run.progress(
            *((_DEEP, 1.0, "deep pass") if deep else (_LIGHT, _SCRIPTS, "light pass"))
        ),
    )
    for keys, found in parts:
        groups = {key: asked[key] for key in keys}
        now = run.context.now()
        run.memories.update(
            probing.remembered(
                groups, found, run.guesses, run.memories, run.listeners, deep=deep, now=now
            )
        )
        yield


def _ask(run: Run) -> Iterator[None]:
    """Ask this host's services by scripts, and remember it; come back whenever more is known."""
    now, wanted = run.context.now(), {}
    public = any(exposure_of(address) == "public" for address in run.own)
    for key in run.guesses:
        if key[0] not in run.own or run.listeners.is_own(key) or not (run.raw or key[1] == "tcp"):
            continue
        process = run.listeners.process(key)
        names = scripts.wanted(_service(run, key), *key[1:], process, public=public)
        old = run.asked.get(key)
        identity, refresh = run.listeners.identity(key), run.options.refresh_seconds
        if names and not (old and old.still_good(names, identity, now, refresh)):
            wanted[key] = names
    groups = probing.representatives(wanted, run.listeners)
    for found in scripts.ask(
        {key: wanted[key] for key in groups},
        {key: _service(run, key) for key in groups},
        raw=run.raw,
        budget_seconds=run.options.script_seconds,
        stop=run.context.stop,
        progress=run.progress(_SCRIPTS, _DEEP, "asking by scripts"),
    ):
        for asked, evidence in found.items():
            for key in groups[asked]:
                identity = run.listeners.identity(key)
                run.asked[key] = Asked(wanted[key], evidence, run.context.now(), identity)
        yield


def build(run: Run, known: Mapping[str, Any], *, settled: bool) -> Scan:
    """Put together the snapshot from what the run knows so far."""
    services = {key: _service(run, key) for key in sorted(run.guesses, key=_order)}
    proved = {key: asked.evidence for key, asked in run.asked.items() if key in services}
    risks = run.judge.risks(services, proved)
    ports = tuple(_port_of(run, key, service, risks[key]) for key, service in services.items())
    previous = run.context.previous
    before = previous.changes if previous else dict.fromkeys(CHANGES, 0)
    # An unsettled snapshot counts nothing: the next one of the same run will.
    changes = _count(before, ports, known) if settled else before
    findings, now = run.context.known("finding"), run.context.now()
    return Scan(
        targets=run.targets,
        addresses=tuple(sorted(run.up, key=lambda a: (a.version, a))),
        ports=ports,
        missing=_missing(run),
        changes=changes,
        details={_name(key): _detail(run, key) for key in run.memories},
        settled=settled,
        findings_since={
            key: findings[key].first_seen if key in findings and findings[key].present else now
            for port in ports
            for finding in port.risk["findings"]
            for key in [finding_key(port.key, finding["finding"])]
        },
        sources=tuple(Source(*source) for source in run.judge.knowledge.sources()),
    )


def _detail(run: Run, key: Key) -> dict[str, Any]:
    """What the next scan wants to know of this one."""
    asked = run.asked.get(key)
    detail = run.memories[key].as_detail()
    return detail | {"asked": asked.as_detail()} if asked else detail


def _service(run: Run, key: Key) -> Service:
    memory = run.memories.get(key)
    return memory.service if memory else run.guesses[key]


def _port_of(run: Run, key: Key, service: Service, risk: Mapping[str, Any]) -> Port:
    address, transport, number = key
    allowed = run.options.expected_ports
    asked = run.asked.get(key)
    return Port(
        address=address,
        transport=transport,
        number=number,
        service=service,
        process=run.listeners.process(key),
        first_seen=run.first_seen.get(key, run.context.now()),
        expected=None
        if allowed is None or address.is_loopback
        else f"{transport}/{number}" in allowed or run.listeners.is_own(key),
        risk=risk,
        certificate=asked.evidence.certificate if asked else None,
    )


def _missing(run: Run) -> dict[Address, tuple[str, ...]]:
    """Return {address: expected ports that are not open}. This host is one, whatever address."""
    expected = run.options.expected_ports
    if expected is None:
        return {}
    names = {address: set[str]() for address in run.up if not address.is_loopback}
    for address, transport, number in run.guesses:
        # What listens on loopback alone is not open to anybody: `names` has no loopback.
        for other in run.own if address in run.own else (address,):
            if other in names and address in names:
                names[other].add(f"{transport}/{number}")
    return {a: tuple(name for name in expected if name not in here) for a, here in names.items()}


def _count(
    before: Mapping[str, int], ports: Iterable[Port], known: Mapping[str, Any]
) -> dict[str, int]:
    """Add this run's changes to the totals. The first scan of an address ever changes nothing."""
    met = {name.split(" ")[0] for name in known}
    present = {name: old for name, old in known.items() if old.present}
    now = {port.key: port for port in ports}
    opened = sum(1 for n, p in now.items() if n not in present and str(p.address) in met)
    closed = sum(1 for name in present if name not in now)
    changed = sum(
        1
        for name, port in now.items()
        if port.service.probed
        and (old := present.get(name)) is not None
        and old.value["service_name"] != "unknown"
        and old.detail.get("service", {}).get("probed")
        and old.value != _value(port)
    )
    return dict(zip(CHANGES, (
        before["opened"] + opened, before["closed"] + closed, before["service_changed"] + changed
    ), strict=True))  # fmt: skip


def _value(port: Port) -> dict[str, str]:
    s = port.service
    return {"service_name": s.name, "product": s.product, "version": s.version}


def _name(key: Key) -> str:
    return f"{key[0]} {key[1]}/{key[2]}"


def _order(key: Key) -> tuple[int, Address, str, int]:
    return key[0].version, key[0], key[1], key[2]


def facts(scan: Scan) -> Iterable[Facts]:
    """What is open, and what is wrong with it; a half-finished scan is not worth remembering."""
    if scan.settled:
        yield Facts(
            "port",
            tuple(Fact(p.key, _value(p), scan.details.get(p.key, {})) for p in scan.ports),
        )
        yield Facts(
            "finding",
            tuple(
                Fact(finding_key(p.key, f["finding"]), {"severity": f["level"]})
                for p in scan.ports
                for f in p.risk["findings"]
            ),
        )


JOB = Job(
    name="scan", options=Options, observe=observe, families=scan_metrics.families, facts=facts
)
