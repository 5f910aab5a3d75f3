"""Machines that were rolled out to: what Prometheus sees of them, and what lies on them."""

import json
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

from tests.fleet.machine import Machine

AGENTS = ("web1", "web2", "vault1", "edge1")
# What differs from boot to boot, or belongs to others.
PASSING = (
    *("/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/var/log", "/var/cache"),  # noqa: S108
    *("/var/lib/systemd", "/home", "/root"),
)
# Asks a service, with TLS and password where Prometheus on the same machine has them.
_ASK = """
import pathlib, ssl, sys, urllib.request
place, path = sys.argv[1:]
tls = pathlib.Path("/etc/vedette-prometheus/tls")
request = urllib.request.Request(f"http{'s' if tls.exists() else ''}://{place}{path}")
context = None
if tls.exists():
    import base64
    context = ssl.create_default_context(cafile=tls / "ca.crt")
    password = (tls / "prometheus.password").read_text().strip()
    pair = base64.b64encode(f"prometheus:{password}".encode()).decode()
    request.add_header("Authorization", f"Basic {pair}")
try:
    print(urllib.request.urlopen(request, timeout=5, context=context).read().decode())
except OSError:
    pass
"""
_ANYBODY = ssl._create_unverified_context()  # noqa: S323, SLF001 - who knocks, and may not enter


class Sink(BaseHTTPRequestHandler):
    """A webhook: keeps the alerts that it is sent, each with when that was."""

    alerts: ClassVar[list[tuple[float, dict[str, Any]]]] = []

    def do_POST(self) -> None:
        """Take a notification of Alertmanager."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        now = time.monotonic()
        self.alerts.extend((now, alert) for alert in json.loads(body)["alerts"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def corrupt(bundle: Path) -> None:
    """Change a byte in the middle of a tar: in its largest wheels."""
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 1
    bundle.write_bytes(data)


def releases(machine: Machine) -> list[str]:
    return sorted(path.name for path in machine.path("/opt/vedette/releases").iterdir())


def state(machine: Machine) -> tuple[str, str]:
    """Return what changes when a release is switched: the process and the link."""
    return (
        machine.exec("systemctl", "show", "vedette", "--property=MainPID,NRestarts"),
        machine.exec("stat", "-c", "%N %i %y", "/opt/vedette/current"),
    )


def running(machine: Machine) -> str:
    """Return the version that runs, by its own word."""
    found = re.search(
        r'^vedette_build_info\{[^}\n]*version="([^"]*)"', metrics(machine), re.MULTILINE
    )
    return found[1] if found else ""


def versions(machines: dict[str, Machine]) -> set[str]:
    """Return the versions that run."""
    return {running(machines[name]) for name in AGENTS}


def metrics(machine: Machine) -> str:
    """Return what its agent shows on the machine itself: vault1's is behind its firewall."""
    program = (
        "from urllib.request import urlopen as u;"
        "print(u('http://127.0.0.1:8000/metrics').read().decode())"
    )
    return machine.try_exec("python3", "-c", program)[1]


def known(machine: Machine) -> tuple[str, ...]:
    """Return the sources of what its agent knows of vulnerabilities."""
    name = "vedette_knowledge_build_timestamp_seconds"
    return tuple(
        sorted(re.findall(rf'^{name}\{{source="([^"]*)"\}}', metrics(machine), re.MULTILINE))
    )


def knows_packages(machine: Machine) -> bool:
    """Whether its agent reads the list that vedette-inventory.timer has made."""
    return 'vedette_capability{capability="packages"} 1' in metrics(machine)


def listed(machine: Machine) -> set[int]:
    """Return the TCP ports in the list that vedette-inventory.timer has made."""
    found = json.loads(machine.path("/run/vedette/listeners.json").read_text())
    return {one["port"] for one in found["listeners"] if one["transport"] == "tcp"}


def asked(machine: Machine, port: int, path: str, host: str = "localhost") -> str:
    """Return what a service says, asked from this machine as its Prometheus asks; or ""."""
    return machine.try_exec("python3", "-c", _ASK, f"{host}:{port}", path)[1]


def pushed_to(machines: dict[str, Machine]) -> dict[str, list[str]]:
    """Return whose groups each Pushgateway holds."""
    answers = {
        name: asked(machines["monitor1"], 9091, "/metrics", machines[name].address)
        for name in ("monitor1", "edge1")
    }
    instances = re.compile(r'^push_time_seconds\{instance="([^"]+)"', re.MULTILINE)
    return {name: instances.findall(text) for name, text in answers.items() if text}


def ask(machines: dict[str, Machine], query: str) -> list[dict[str, str]]:
    """Return the labels of what Prometheus answers."""
    words = urllib.parse.urlencode({"query": query})
    answer = asked(machines["monitor1"], 9090, f"/api/v1/query?{words}")
    return [one["metric"] for one in json.loads(answer)["data"]["result"]] if answer else []


def seen(machines: dict[str, Machine], since: float = 0) -> set[str]:
    """Return the hosts that Prometheus has figures of, as they are now: it, and they, say so."""
    scraped = {one["instance"] for one in ask(machines, f"timestamp(vedette_build_info) > {since}")}
    pushed = {one["instance"] for one in ask(machines, f"push_time_seconds > {since}")}
    held = {one["instance"] for one in ask(machines, "push_time_seconds")}
    return scraped - held | scraped & pushed


def refusals(machines: dict[str, Machine]) -> list[int]:
    """Return what an agent and the monitoring services answer to somebody without a password."""
    doors = [("web1", 8000), ("monitor1", 9090), ("monitor1", 9091), ("monitor1", 9093)]
    found = []
    for name, port in doors:
        try:
            urllib.request.urlopen(
                f"https://{machines[name].address}:{port}/metrics", timeout=5, context=_ANYBODY
            ).close()
        except urllib.error.HTTPError as exc:
            found.append(exc.code)
    return found


def running_units(machine: Machine) -> list[str]:
    """Return which of the monitoring services run."""
    lines = machine.exec(
        "systemctl", "list-units", "--plain", "--no-legend", "--state=running", "prometheus*"
    ).splitlines()
    return sorted(line.split(".service")[0] for line in lines)


def all_seen(machines: dict[str, Machine], name: str) -> bool:
    """Whether Prometheus has just the ports of this host that are open on the bridge."""
    return ports(machines, name) == listening(machines[name])


def ports(machines: dict[str, Machine], name: str) -> set[int]:
    """Return the open TCP ports that Prometheus has of a host's address on the bridge."""
    found = ask(machines, f'vedette_open_port_info{{instance="{name}", transport="tcp"}}')
    address = machines[name].address
    return {int(labels["port"]) for labels in found if labels["address"] == address}


def listening(machine: Machine) -> set[int]:
    """Return the TCP ports that it has for others."""
    lines = machine.exec("ss", "-Hltn").splitlines()
    places = [line.split()[3].rpartition(":") for line in lines]
    return {int(port) for address, _, port in places if not address.startswith(("127.", "[::1"))}


def inventory(machine: Machine) -> dict[str, str]:
    """Return what there is: {path: its kind, mode and owner}, accounts, units."""
    pruned = " -o ".join(f"-path {path}" for path in PASSING)
    text = machine.exec(
        "sh", "-c",
        f"find / -xdev \\( {pruned} -o -name __pycache__ \\) -prune -o -printf '%p|%y %m %u %g\\n'",
    )  # fmt: skip
    found = dict(line.split("|", 1) for line in text.splitlines())
    for name in ("/etc/passwd", "/etc/group", "/etc/shadow"):
        found[f"{name}: text"] = machine.path(name).read_text()
    units = machine.exec("systemctl", "list-unit-files", "--no-legend", "--no-pager")
    return {**found, "units": units}
