"""Run nmap; read its report (https://nmap.org/book/nmap-dtd.html). No decisions here.

nmap is started by us, as the leader of its own process group, and killed with it; python-nmap only
parses the report, because its runner joins arguments to one string and keeps no deadline.
"""

import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from threading import Event
from typing import Any
from xml.etree import ElementTree  # noqa: ICN001 - two letters say less than its name

import nmap

from vedette import log
from vedette.edges import nmap_scripts, own_traffic
from vedette.errors import BadOutput, NotPermitted, NotReady, TimedOut, ToolMissing
from vedette.evidence import Script
from vedette.job import clean
from vedette.scanned import Address, Service

Target = IPv4Address | IPv6Address | IPv4Network | IPv6Network
Progress = Callable[[float], None]

_REPORT_LIMIT = 64 << 20  # bytes: a /16 with many open ports stays far below
_STDERR_LIMIT = 4096
_TEXT_LIMIT = 160  # characters of a product, a version, a CPE
_CPES_KEPT = 8
_POLL_SECONDS = 0.25
_PERCENT = re.compile(rb'<taskprogress [^>]*percent="([0-9.]+)"')
# XML 1.0 knows no way to write these characters; nmap writes them all the same when a banner has
# them, and one such banner would make every report unreadable.
_FORBIDDEN = re.compile(
    rb"&#(?:x0*(?:[0-8bcefBCEF]|1[0-9a-fA-F])|0*(?:[0-8]|1[124-9]|2[0-9]|3[01]));"
)
# Of a service that answers, but that nmap does not know, it prints what came back. It knows HTTP
# by the Server header, which half of all small services do not send.
_ANSWERED_HTTP = re.compile(r'%r\(GetRequest,[0-9A-F]+,"HTTP/1\\\.')
# What nmap heard inside of TLS, by IANA's name for both together
_INSIDE_TLS = {
    "http": "https", "imap": "imaps", "pop3": "pop3s", "smtp": "smtps", "ftp": "ftps",
    "ldap": "ldaps", "telnet": "telnets", "irc": "ircs", "nntp": "nntps",
}  # fmt: skip
_RAW_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")


@dataclass(frozen=True, slots=True)
class PortState:
    """One port of a report. state: nmap's word, "open", "closed", "open|filtered".

    scripts: what ran on it; those that nmap ran on the host as a whole are Host.scripts.
    """

    transport: str
    number: int
    state: str
    service: Service
    scripts: tuple[Script, ...] = ()


@dataclass(frozen=True, slots=True)
class OsMatch:
    """One guess of `nmap -O`. accuracy: nmap's match score, 0 to 100."""

    name: str
    family: str
    device: str
    accuracy: int


@dataclass(frozen=True, slots=True)
class Host:
    """One host of a report."""

    address: Address
    up: bool
    ports: tuple[PortState, ...]
    os_matches: tuple[OsMatch, ...]
    # Whether nmap found the open and the closed port that a fingerprint needs.
    os_reliable: bool
    scripts: tuple[Script, ...] = ()


def program() -> str | None:
    """Return the path of nmap, or None if it is not installed."""
    return shutil.which("nmap", path=os.environ.get("PATH", "") + ":/usr/bin:/usr/local/bin")


@cache
def _with_us() -> tuple[str, ...]:
    """Return what ends nmap when the agent is killed in a way that it cannot answer (util-linux).

    In the sandbox of systemd's unit it may not do its work; there the unit's end is nmap's as well.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return ()
    words = (setpriv, "--pdeathsig", "KILL")
    tried = subprocess.run([*words, "true"], capture_output=True, check=False)  # noqa: S603 - fixed
    return words if tried.returncode == 0 else ()


def run(
    options: Sequence[str],
    targets: Iterable[Target],
    *,
    raw: bool,
    timeout_seconds: float,
    stop: Event,
    progress: Progress = lambda _: None,
) -> bytes:
    """Run `nmap OPTIONS TARGETS` and return its XML report. One audit line goes to the log.

    Targets are addresses and networks, not strings: nothing anybody wrote can become an option.
    progress: told the ratio (0 to 1) of the task at hand. raw: whether raw sockets may be used.
    Raises ToolMissing, TimedOut past `timeout_seconds`, NotReady once `stop` is set, NotPermitted,
    or BadOutput if nmap gave up.
    """
    path = program()
    if path is None:
        raise ToolMissing("nmap is not installed (Debian: apt-get install nmap)")
    asked = [str(target) for target in targets]
    command = [
        *_with_us(),
        path,
        *options,
        *(["--privileged"] if raw else ["--unprivileged"]),
        *("-oX", "-", "--stats-every", "1s"),
        *(["-6"] if asked and ":" in asked[0] else []),
        *asked,
    ]
    started = time.monotonic()
    outcome = "failed"
    try:
        with own_traffic.asking():
            report = _communicate(command, started + timeout_seconds, stop, progress)
        outcome = "ok"
    except TimedOut as exc:
        outcome = exc.reason
        raise TimedOut(f"nmap ran longer than {timeout_seconds:.0f} s") from exc
    finally:
        log.event(
            "info", "nmap", argv=" ".join(command), targets=len(asked), outcome=outcome,
            uid=os.geteuid() if hasattr(os, "geteuid") else "",
            duration_seconds=round(time.monotonic() - started, 2),
        )  # fmt: skip
    return report


def _communicate(command: list[str], deadline: float, stop: Event, progress: Progress) -> bytes:
    try:
        child = subprocess.Popen(  # noqa: S603 - a fixed program, typed arguments, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as exc:
        raise ToolMissing(f"{command[0]} is gone") from exc
    except PermissionError as exc:
        raise NotPermitted(f"{command[0]} may not be started: {exc.strerror}") from exc
    try:
        report, complaint = _drain(child, deadline, stop, progress)
        status = child.wait(timeout=max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as exc:
        raise TimedOut("nmap closed its output but did not end") from exc
    finally:
        _kill(child)
    if status != 0:
        text = " ".join(complaint.decode(errors="replace").split())[:300]
        if "requires root" in text or "Operation not permitted" in text:
            raise NotPermitted(f"nmap may not do this: {text}")
        raise BadOutput(f"nmap ended with status {status}: {text}")
    return report


def _drain(
    child: subprocess.Popen[bytes], deadline: float, stop: Event, progress: Progress
) -> tuple[bytes, bytes]:
    """Read both pipes (one alone deadlocks once the other is full) until nmap closes them."""
    assert child.stdout is not None  # noqa: S101 - both are pipes, as asked for above
    assert child.stderr is not None  # noqa: S101
    report, complaint = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ, report)
        selector.register(child.stderr, selectors.EVENT_READ, complaint)
        while selector.get_map():
            for key, _ in selector.select(_POLL_SECONDS):
                piece = os.read(key.fd, 1 << 16)
                if not piece:
                    selector.unregister(key.fileobj)
                key.data.extend(piece)
                if seen := _PERCENT.findall(piece):
                    progress(min(1.0, float(seen[-1]) / 100))
            if stop.is_set():
                raise NotReady("the run was told to stop")
            if time.monotonic() > deadline:
                raise TimedOut
            if len(report) > _REPORT_LIMIT:
                raise BadOutput(f"nmap's report is larger than {_REPORT_LIMIT >> 20} MiB")
            del complaint[:-_STDERR_LIMIT]
    return bytes(report), bytes(complaint)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End nmap and whatever it started, and take their exit status; close our ends of the pipes."""
    for pipe in (child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()
    # Not poll(): a leader that has ended but was not waited for still names its group, and what it
    # started may still run.
    if child.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def read(report: bytes) -> tuple[Host, ...]:
    """Return the hosts of an nmap XML report. Raises BadOutput if it is damaged or cut off."""
    text = _RAW_CONTROL.sub(b" ", _FORBIDDEN.sub(b" ", report)).decode("utf-8", errors="replace")
    reader = nmap.PortScanner.__new__(nmap.PortScanner)  # its constructor would run `nmap -V`
    try:
        seen = reader.analyse_nmap_xml_scan(text)["scan"]
        extras, scripts = _second_pass(text)
        return tuple(
            _host(
                ip_address(address), facts, extras.get(address, {}), scripts.get(address, _NOTHING)
            )
            for address, facts in seen.items()
        )
    except (
        nmap.PortScannerError, AttributeError, IndexError, KeyError, TypeError, ValueError,
        ElementTree.ParseError,
    ) as exc:  # fmt: skip
        # Only its type: python-nmap puts the whole report into the message.
        raise BadOutput(f"nmap's report cannot be read: {type(exc).__name__}") from exc


def _host(
    address: Address,
    facts: dict[str, Any],
    extras: dict[tuple[str, int], Any],
    scripts: nmap_scripts.Scripts,
) -> Host:
    ports = [
        PortState(
            transport,
            number,
            port["state"],
            _service(port, extras.get((transport, number))),
            scripts.get((transport, number), ()),
        )
        for transport in ("tcp", "udp")
        for number, port in sorted(facts.get(transport, {}).items())
    ]
    matches = [
        OsMatch(
            clean(match["name"], _TEXT_LIMIT),
            match["osclass"][0]["osfamily"] if match["osclass"] else "",
            match["osclass"][0]["type"] if match["osclass"] else "",
            int(match["accuracy"]),
        )
        for match in facts.get("osmatch", [])
    ]
    states = {used["state"] for used in facts.get("portused", []) if used["proto"] == "tcp"}
    return Host(
        address,
        facts["status"]["state"] == "up",
        tuple(ports),
        tuple(matches),
        os_reliable={"open", "closed"} <= states,
        scripts=scripts.get(("", 0), ()),
    )


def _service(port: dict[str, Any], extra: Any) -> Service:
    tunnel, method, cpes, fingerprint = extra or ("", "table", (), "")
    name = port["name"] or "unknown"
    probed = method == "probed"
    if not probed and _ANSWERED_HTTP.search(fingerprint):
        name, probed = "http", True
    if tunnel == "ssl":
        name = _INSIDE_TLS.get(name, name)
    # What a service says of itself is written by strangers: from here on it is one short line.
    return Service(
        clean(name),
        clean(port["product"], _TEXT_LIMIT),
        clean(port["version"], _TEXT_LIMIT),
        clean(port["extrainfo"], _TEXT_LIMIT),
        clean(tunnel),
        probed=probed,
        cpes=tuple(clean(cpe, _TEXT_LIMIT) for cpe in cpes[:_CPES_KEPT]),
    )


Extra = tuple[str, str, tuple[str, ...], str]  # tunnel, method, all CPEs, fingerprint


_NOTHING: nmap_scripts.Scripts = {}


def _second_pass(
    text: str,
) -> tuple[dict[str, dict[tuple[str, int], Extra]], dict[str, nmap_scripts.Scripts]]:
    """Read what python-nmap drops, by address: {(transport, port): Extra}, and scripts."""
    tree = ElementTree.fromstring(text)  # noqa: S314 - nmap's own; expat bounds entity expansion
    found: dict[str, dict[tuple[str, int], Extra]] = {}
    scripts: dict[str, nmap_scripts.Scripts] = {}
    for host in tree.iterfind("host"):
        ports = {}
        for port in host.iterfind("ports/port"):
            service = port.find("service")
            if service is not None:
                ports[port.get("protocol", ""), int(port.get("portid", ""))] = (
                    service.get("tunnel", ""),
                    service.get("method", ""),
                    tuple(cpe.text or "" for cpe in service.iterfind("cpe")),
                    service.get("servicefp", ""),
                )
        printed = nmap_scripts.of_host(host)
        for address in host.iterfind("address"):
            found.setdefault(address.get("addr", ""), {}).update(ports)
            scripts.setdefault(address.get("addr", ""), {}).update(printed)
    return found, scripts
