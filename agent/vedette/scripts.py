"""Asking services of this host by nmap's scripts: a fixed list, each on the ports that it is for.

None but scripts that nmap itself calls safe, and among these no one that guesses passwords; nmap is
told so once more on its command line. What it has no safe script for is asked by ourselves
(risk/questions.py, edges/tls_hello.py). Like version detection this is done seldom: when another
program listens, or once a day; with a budget, and never on other hosts.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from itertools import product
from threading import Event
from time import monotonic
from typing import Any

from vedette.edges import asking, nmap, tls_hello
from vedette.errors import TimedOut
from vedette.evidence import Evidence, collected
from vedette.job import Known
from vedette.probing import Key
from vedette.risk import proofs, questions
from vedette.scanned import Service

# Of one script on one port; those that ask something sensible are answered in milliseconds.
_SCRIPT_SECONDS = 15
_PARALLEL = 4
_CHUNK = 8

_WEB = frozenset({"http", "https", "http-proxy", "http-alt", "https-alt"})
_SMB = ("smb-protocols", "smb2-security-mode", "smb-security-mode")
# Scripts by nmap's name of the service. They know what to ask; what the answers mean stands in
# risk/proofs.py.
_BY_SERVICE: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(_WEB, ("http-title",)),
    "ftp": ("ftp-anon",),
    "redis": ("redis-info",),
    "mongodb": ("mongodb-databases",),
    "mongod": ("mongodb-databases",),
    "memcached": ("memcached-info",),
    "memcache": ("memcached-info",),
    "vnc": ("vnc-info",),
    "X11": ("x11-access",),
    "microsoft-ds": _SMB,
    "netbios-ssn": _SMB,
    "upnp": ("upnp-info",),
    "ldap": ("ldap-rootdse",),
}
_BY_UDP_ONLY = frozenset({"upnp-info", "ldap-rootdse"})
_BY_TCP_ONLY = frozenset({"http-title", "ftp-anon", "redis-info", "vnc-info", "x11-access", *_SMB})
_HELLOS = "tls-hellos"
_TLS = ("ssl-cert", "sslv2", _HELLOS)
_TLS_SERVICES = frozenset({"https", "ssl", "imaps", "pop3s", "smtps", "ldaps", "ftps", "ircs"})
# Ports on which ssl-cert knows how to ask for TLS: it goes by the number.
_STARTTLS = {
    "ftp": {21}, "smtp": {25, 587}, "submission": {587}, "pop3": {110}, "imap": {143},
    "ldap": {389}, "nntp": {119}, "xmpp-client": {5222}, "xmpp-server": {5269},
    "postgresql": {5432}, "ms-sql-s": {1433}, "ms-wbt-server": {3389},
}  # fmt: skip
# What a program is, where nothing has answered on its port.
_BY_PROCESS = {
    "redis-server": "redis", "valkey-server": "redis", "memcached": "memcached",
    "mongod": "mongodb", "vsftpd": "ftp", "smbd": "microsoft-ds", "Xvnc": "vnc", "Xorg": "X11",
}  # fmt: skip

# What is asked by ourselves, and how long one answer may take: on this host they come at once.
_OURS = {_HELLOS, *questions.BY_ID}
_ANSWER_SECONDS = 3.0

ALL = frozenset({name for names in _BY_SERVICE.values() for name in names} | set(_TLS)) - _OURS


@dataclass(frozen=True, slots=True)
class Asked:
    """What scripts have found out about a port. at: Unix seconds. identity: the listener's."""

    scripts: tuple[str, ...]
    evidence: Evidence
    at: float
    identity: str

    def as_detail(self) -> dict[str, Any]:
        """Return it as plain JSON, for history."""
        return {
            "scripts": list(self.scripts),
            "evidence": self.evidence.as_detail(),
            "at": self.at,
            "identity": self.identity,
        }

    @classmethod
    def of(cls, known: Known) -> "Asked | None":
        """Return what history has kept, or None if it is of no use."""
        try:
            kept = known.detail["asked"]
            evidence = Evidence.of_detail(kept["evidence"])
            return cls(tuple(kept["scripts"]), evidence, float(kept["at"]), str(kept["identity"]))
        except (KeyError, TypeError, ValueError):  # never asked, or by another version of the agent
            return None

    def still_good(
        self, scripts: tuple[str, ...], identity: str, now: float, refresh: float
    ) -> bool:
        """Whether it still holds: of the same program, for `refresh` seconds.

        A certificate is renewed, a password set, without a new program.
        """
        same = (self.scripts, self.identity) == (scripts, identity)
        return same and now - self.at < refresh


def wanted(
    service: Service, transport: str, number: int, process: str, *, public: bool = True
) -> tuple[str, ...]:
    """Return the scripts for a service, and the questions of our own, if there are any.

    process: the listening program. public: whether this host has a public address; what a page is
    called matters nowhere else.
    """
    name = service.name if service.probed else _BY_PROCESS.get(process, service.name)
    unfit = _BY_UDP_ONLY if transport == "tcp" else _BY_TCP_ONLY
    if not public:
        unfit |= {"http-title"}
    scripts = tuple(one for one in _BY_SERVICE.get(name, ()) if one not in unfit)
    if transport == "tcp":
        if service.tunnel == "ssl" or name in _TLS_SERVICES:
            scripts += _TLS
        elif number in _STARTTLS.get(name, ()):
            scripts += _TLS[:1]
        asked = replace(service, name=name)
        scripts += tuple(one.id for one in questions.QUESTIONS if one.is_for(asked, number))
    return scripts


def ask(
    asked: Mapping[Key, tuple[str, ...]],
    services: Mapping[Key, Service],
    *,
    raw: bool,
    budget_seconds: float,
    stop: Event,
    progress: Callable[[float], None],
) -> Iterator[dict[Key, Evidence]]:
    """Run these scripts; yield {port: what is proved} as it comes, also where that is nothing.

    asked: {port: its scripts}. services: what answers there. Never takes longer than the budget:
    what was not asked by then, or what was not answered, is missing.
    """
    end = monotonic() + budget_seconds
    chunks = list(_chunks(asked))
    done = [0.0] * len(chunks)

    def run(number: int) -> dict[Key, Evidence]:
        def told(ratio: float) -> None:
            done[number] = ratio
            progress(sum(done) / len(done))

        names, keys = chunks[number]
        found = {key: Evidence() for key in keys}
        if scripts := [name for name in names if name not in _OURS]:
            left = end - monotonic()
            if left <= 0:
                return {}
            address, transport, _ = keys[0]
            try:
                report = nmap.run(
                    script_options(transport, [key[2] for key in keys], scripts, raw=raw),
                    [address],
                    raw=raw,
                    timeout_seconds=left,
                    stop=stop,
                    progress=told,
                )
            except TimedOut:
                return {}
            for host in nmap.read(report):
                found |= {key: one for key, one in of_host(host).items() if key in found}
        for key, name in product(keys, [name for name in names if name in _OURS]):
            if monotonic() > end or stop.is_set():
                return {}
            tls = services[key].tunnel == "ssl" or services[key].name in _TLS_SERVICES
            found[key] = collected([found[key], _answer(name, key, tls=tls)])
        told(1.0)
        return found

    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="script") as pool:
        for coming in as_completed([pool.submit(run, number) for number in range(len(chunks))]):
            yield coming.result()


def _answer(name: str, key: Key, *, tls: bool) -> Evidence:
    """Ask one question of our own."""
    address, _, number = key
    if name == _HELLOS:
        spoken = tls_hello.spoken(address, number, seconds=_ANSWER_SECONDS)
        return Evidence(tuple(proofs.tls(spoken.protocols, complete=spoken.complete)))
    question = questions.BY_ID[name]

    def answer(*, tls: bool) -> asking.Answer:
        return asking.ask(
            address, number, question.request, question.enough, tls=tls, seconds=_ANSWER_SECONDS
        )

    told = answer(tls=tls)
    hung_up = told.answered and not told.data
    if not tls and (hung_up or questions.wants_tls(told.data)):
        told = answer(tls=True)
    return question.proves(told.data, wants_certificate=told.wants_certificate)


def script_options(
    transport: str, ports: Iterable[int], scripts: Iterable[str], *, raw: bool
) -> tuple[str, ...]:
    """Return nmap's options for these scripts on known open ports of one host.

    +: it runs although nmap does not know the service, which it would look up by the port's number.
    safe: whatever a script of this name may be on this machine, it runs only if it is of that kind.
    -d1: only then does a script say that it was asked for a password.
    """
    numbers = sorted(ports)
    # These look for the port by themselves.
    where = ("--script-args", f"smbport={numbers[0]}") if "smb-protocols" in scripts else ()
    return (
        "-n", "-Pn", "-T4", "-d1",
        "-sU" if transport == "udp" else "-sS" if raw else "-sT",
        "-p", ",".join(map(str, numbers)),
        "--script", ",".join(f"+{name} and safe" for name in scripts),
        "--script-timeout", f"{_SCRIPT_SECONDS}s",
        *where,
    )  # fmt: skip


def _chunks(
    asked: Mapping[Key, tuple[str, ...]],
) -> Iterator[tuple[tuple[str, ...], list[Key]]]:
    """Yield (scripts, ports of one host and transport that want just these)."""
    groups: dict[tuple[Any, ...], list[Key]] = {}
    for key, scripts in asked.items():
        alone = key[2] if "smb-protocols" in scripts else 0
        groups.setdefault((scripts, key[0], key[1], alone), []).append(key)
    for (scripts, *_), keys in groups.items():
        for i in range(0, len(keys), _CHUNK):
            yield scripts, keys[i : i + _CHUNK]


def of_host(host: nmap.Host) -> dict[Key, Evidence]:
    """Return what the scripts in a report prove about each open port of a host."""
    found = {}
    open_ports = [port for port in host.ports if port.state.startswith("open")]
    tcp = [port for port in open_ports if port.transport == "tcp"]
    # What ran on the host as a whole is about its SMB service, which nmap knows by the port's
    # number unless it has looked. On another port it is asked alone (_chunks).
    smb = [port.number for port in tcp if len(tcp) == 1 or _is_smb(port)]
    for port in open_ports:
        about_host = port.transport == "tcp" and port.number in smb[-1:]
        printed = port.scripts + (host.scripts if about_host else ())
        if printed:
            found[host.address, port.transport, port.number] = collected(
                proofs.of_script(script, port.transport, port.service.name) for script in printed
            )
    return found


def _is_smb(port: nmap.PortState) -> bool:
    return port.number in {139, 445} or port.service.name in {"microsoft-ds", "netbios-ssn"}
