"""ansible/ on Debian machines: from nothing to a fleet that is watched, and away again.

The tests go through the life of one fleet, in order: each leaves it whole for the next.
"""

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
import yaml

from tests.fleet import root
from tests.fleet.controller import Controller, Played
from tests.fleet.machine import Fleet, Machine, wait_until
from tests.fleet.proxy import proxy, use
from tests.fleet.watching import Watch, version_of

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(600, func_only=True)]

# Appended to a file of a release, and it is broken.
DOES_NOT_START = {"agent/vedette/agent.py": '\nraise RuntimeError("broken")\n'}
STARTS_AND_HANGS = {
    "agent/vedette/agent.py": """

def _hang(self, stop, say):
    import signal
    self.notify.ready()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pause()
    signal.pause()


Agent.run = _hang
"""
}
SERVES_AN_OLD_VERSION = {"agent/vedette/__init__.py": '\n__version__ = "0.9.0"\n'}

# What a user would write into the example's group_vars: small, for quick scans.
SETTINGS: Mapping[str, Any] = {
    "scan": {
        "interval_seconds": 15, "splay_seconds": 0, "tcp_ports": "1-9999",
        "expected_ports": [22, 8000],
    },
}  # fmt: skip
QUICKLY = {"interval_seconds": 5, "timeout_seconds": 4}
AGENTS = ("web1", "web2", "vault1", "edge1")
CANARY_SECRET = "c4n4ry-s3cr3t"  # noqa: S105 - it is there to be looked for
# Nothing comes in but SSH.
FIREWALL = """
flush ruleset
table inet filter {
  chain input {
    type filter hook input priority 0; policy drop;
    iif lo accept
    ct state established,related accept
    tcp dport 22 accept
  }
}
"""
# What differs from boot to boot, or belongs to others.
PASSING = (
    *("/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/var/log", "/var/cache"),  # noqa: S108
    *("/var/lib/systemd", "/home", "/root"),
)


class Sink(BaseHTTPRequestHandler):
    """A webhook: keeps the alerts that it is sent."""

    alerts: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        """Take a notification of Alertmanager."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.alerts.extend(json.loads(body)["alerts"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def packages(fleet: Fleet) -> Iterator[str]:
    with proxy(fleet) as address:
        yield address


@pytest.fixture(scope="module")
def sink(fleet: Fleet) -> Iterator[str]:
    """Where alerts arrive, on the bridge."""
    server = ThreadingHTTPServer((f"{fleet.network}.1", 0), Sink)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{fleet.network}.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def controller(fleet: Fleet, sink: str) -> Controller:
    """The example inventory, with what a user would write into it."""
    made = Controller(fleet.directory / "controller")
    variables = made.inventory / "group_vars"
    (variables / "agents.yml").write_text(
        yaml.safe_dump(
            {
                "vedette_agent_config": dict(SETTINGS),
                "vedette_agent_secrets": {"mail_password": f"{CANARY_SECRET}-1"},
            }
        )
    )
    (variables / "agents_pushed.yml").write_text(
        yaml.safe_dump({"vedette_agent_host_config": {"publish": {"push": QUICKLY}}})
    )
    (variables / "agents_remote_write.yml").write_text(
        yaml.safe_dump({"vedette_agent_host_config": {"publish": {"remote_write": QUICKLY}}})
    )
    with (variables / "all.yml").open("a") as file:
        yaml.safe_dump({"vedette_alerting": "alertmanager"}, file)
    (variables / "monitoring.yml").write_text(
        yaml.safe_dump(
            {
                "grafana_install_method": "none",  # no package of it can be had here
                "alertmanager_secrets": {"mail_password": f"{CANARY_SECRET}-2"},
                "prometheus_secrets": {"remote_password": f"{CANARY_SECRET}-3"},
                "alertmanager_receivers": {"team": {"webhook_configs": [{"url": sink}]}},
                "alertmanager_routes": [
                    {
                        "receiver": "team", "group_wait": "1s",
                        "matchers": ["alertname = VedetteUnexpectedPortOpen"],
                    }
                ],
            }
        )
    )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def machines(fleet: Fleet, controller: Controller, packages: str) -> dict[str, Machine]:
    """The hosts of the example inventory, as they come from their distribution."""
    bare = root.base(root.BARE, "trixie")
    made = {}
    for name in ("monitor1", *AGENTS):
        made[name] = fleet.machine(bare if name in ("web2", "edge1") else None)
        controller.adopt(name, made[name])
        use(made[name], packages)
    made["vault1"].write("/etc/nftables.conf", FIREWALL)
    made["vault1"].exec("systemctl", "enable", "--now", "nftables")
    return made


@pytest.fixture(scope="module")
def untouched(machines: dict[str, Machine]) -> dict[str, str]:
    """What web1 is before anything is done to it."""
    return inventory(machines["web1"])


def fine(played: Played) -> Played:
    """Expect that a playbook went well everywhere."""
    assert played.code == 0, played.output[-20000:]
    assert played.all("failed") == played.all("unreachable") == 0
    return played


@pytest.fixture(scope="module")
def rolled_out(
    controller: Controller, machines: dict[str, Machine], untouched: dict[str, str]
) -> Played:
    """The first site.yml of these hosts, after a check that changed nothing."""
    controller.release("1.0.0")
    fine(controller.play("site.yml", "--check", "--diff"))
    assert inventory(machines["web1"]) == untouched
    return fine(controller.play("site.yml", "--diff", "-vvv"))


def test_from_nothing_to_a_fleet(
    rolled_out: Played, machines: dict[str, Machine], figures: dict[str, str]
) -> None:
    """Every host is in Prometheus with the ports that it really has."""
    figures["site.yml, the first time, five hosts"] = f"{rolled_out.seconds:.0f} s"
    wait_until("all hosts", lambda: sorted(seen(machines)) == sorted(AGENTS), 90)
    for name in AGENTS:
        has = listening(machines[name])
        wait_until(f"the ports of {name}: {has}", partial(same, machines, name, has), 90)

    assert machines["web1"].exec("stat", "-c", "%a %U %G", "/etc/vedette/config.yaml").strip() == (
        "640 root vedette"
    )


def test_no_secret_is_shown_or_readable(rolled_out: Played, machines: dict[str, Machine]) -> None:
    """Not with -vvv --diff, and not by others on the hosts."""
    assert CANARY_SECRET not in rolled_out.output
    for name, number in {"web1": 1, "edge1": 1, "monitor1": 2}.items():
        _, found = machines[name].try_exec(  # grep says 1 where there is none
            *("find", "/etc", "/opt", "/var", "/usr/local", "-xdev", "-type", "f"),
            *("-exec", "grep", "-lsF", CANARY_SECRET, "{}", "+"),
        )
        assert len(found.split()) == number, found
        modes = machines[name].exec("stat", "-c", "%a", *found.split()).split()
        assert all(mode.endswith("0") for mode in modes), f"{found} {modes}"


@pytest.mark.usefixtures("rolled_out")
def test_a_second_run_changes_nothing(controller: Controller, figures: dict[str, str]) -> None:
    again = fine(controller.play("site.yml"))
    figures["site.yml, converged, for each host"] = f"{again.seconds / len(again.hosts):.1f} s"
    checked = fine(controller.play("site.yml", "--check", "--diff"))

    assert (again.all("changed"), checked.all("changed")) == (0, 0), again.output + checked.output


@pytest.mark.usefixtures("rolled_out")
def test_a_new_service_is_an_unexpected_port_and_its_alert_arrives(
    machines: dict[str, Machine], figures: dict[str, str]
) -> None:
    started = time.monotonic()
    machines["web2"].exec("systemd-run", "--unit=odd", "python3", "-m", "http.server", "4444")

    def told() -> bool:
        labels = [alert["labels"] for alert in Sink.alerts if alert["status"] == "firing"]
        return any(
            one["alertname"] == "VedetteUnexpectedPortOpen" and one["instance"] == "web2"
            for one in labels
        )

    wait_until("the alert", told, 180)
    figures["a port opens, its alert arrives"] = f"{time.monotonic() - started:.0f} s"
    machines["web2"].exec("systemctl", "stop", "odd")


@pytest.mark.usefixtures("rolled_out")
def test_a_good_release_comes_with_a_short_silence(
    controller: Controller, machines: dict[str, Machine], figures: dict[str, str]
) -> None:
    """Shorter than the time between two scrapes: at most one of them misses."""
    controller.release("1.1.0")
    with Watch(machines["web1"].address) as watch:
        fine(controller.play("upgrade.yml"))
    figures["an upgrade, nobody answers for"] = f"{watch.silent_seconds():.1f} s"

    assert watch.silent_seconds() < 30
    assert versions(machines) == {"1.1.0"}
    assert releases(machines["web1"]) == ["1.0.0", "1.1.0"]


@pytest.mark.usefixtures("rolled_out")
@pytest.mark.parametrize(
    ("version", "broken"),
    [("1.2.0", DOES_NOT_START), ("1.3.0", STARTS_AND_HANGS), ("1.4.0", SERVES_AN_OLD_VERSION)],
    ids=["does not start", "starts and hangs", "serves an old version"],
)
def test_a_broken_release_goes_no_further_than_the_canary(
    version: str, broken: dict[str, str],
    controller: Controller, machines: dict[str, Machine], figures: dict[str, str],
) -> None:  # fmt: skip
    canary, *others = (machines[name] for name in AGENTS)
    before, kept = version_of(canary.address), releases(canary)
    left_alone = [state(machine) for machine in others]
    controller.release(version, broken=broken)
    with Watch(canary.address) as watch:
        played = controller.play("upgrade.yml")
    figures[f"release {version}, broken: the one before is away for"] = (
        f"{watch.away_seconds(before):.1f} s"
    )

    assert played.code != 0
    assert f"{version} does not work here" in played.output
    assert version_of(canary.address) == before
    assert watch.away_seconds(before) <= 30
    assert releases(canary) == kept
    assert [state(machine) for machine in others] == left_alone


@pytest.mark.usefixtures("rolled_out")
def test_a_later_good_release_needs_no_hand(
    controller: Controller, machines: dict[str, Machine]
) -> None:
    controller.release("1.5.0")
    fine(controller.play("upgrade.yml"))

    assert versions(machines) == {"1.5.0"}
    assert releases(machines["web1"]) == ["1.1.0", "1.5.0"]


@pytest.mark.usefixtures("rolled_out")
def test_a_rollback_by_hand_goes_to_the_release_before(
    controller: Controller, machines: dict[str, Machine]
) -> None:
    fine(controller.play("rollback.yml"))

    assert versions(machines) == {"1.1.0"}
    assert fine(controller.play("upgrade.yml")).all("changed") > 0
    assert versions(machines) == {"1.5.0"}


@pytest.mark.usefixtures("rolled_out")
def test_a_corrupted_wheel_is_refused(controller: Controller, machines: dict[str, Machine]) -> None:
    """One byte of one wheel is enough, and the old release never stops."""
    controller.release("1.6.0")
    for bundle in (controller.wheelhouse / "1.6.0").glob("*.tar"):
        corrupt(bundle)
    before = state(machines["web1"])
    played = controller.play("upgrade.yml")

    assert played.code != 0
    assert "DO NOT MATCH THE HASHES" in played.output
    assert state(machines["web1"]) == before
    assert version_of(machines["web1"].address) == "1.5.0"


@pytest.mark.usefixtures("rolled_out")
def test_a_host_that_cannot_be_reached_holds_nobody_up(
    controller: Controller, machines: dict[str, Machine]
) -> None:
    """It fails, the others converge, and Prometheus keeps looking for it."""
    targets = machines["monitor1"].exec("sh", "-c", "cat /etc/*/targets/*.json")
    before = version_of(machines["web2"].address)
    controller.release("1.7.0")
    wrong = controller.inventory / "host_vars/web2.yml"
    wrong.parent.mkdir()
    wrong.write_text("ansible_port: 2\n")  # nobody listens there
    played = controller.play("site.yml")
    wrong.unlink()

    assert played.code != 0
    assert {name: version_of(machines[name].address) for name in ("web1", "web2")} == {
        "web1": "1.7.0", "web2": before,
    }  # fmt: skip
    assert machines["monitor1"].exec("sh", "-c", "cat /etc/*/targets/*.json") == targets
    fine(controller.play("site.yml", "--limit=web2"))
    assert version_of(machines["web2"].address) == "1.7.0"
    assert machines["monitor1"].exec("sh", "-c", "cat /etc/*/targets/*.json") == targets


@pytest.mark.usefixtures("rolled_out")
def test_a_reboot_brings_everything_back(machines: dict[str, Machine]) -> None:
    """Of an agent's host, and of the monitoring server."""
    for name in ("web1", "monitor1"):
        machines[name].reboot()
    wait_until("the agent", lambda: version_of(machines["web1"].address), 60)
    wait_until("all hosts", lambda: sorted(seen(machines)) == sorted(AGENTS), 120)


@pytest.mark.usefixtures("rolled_out")
def test_hosts_that_are_decommissioned_are_forgotten(
    controller: Controller, machines: dict[str, Machine]
) -> None:
    """Target, group at the Pushgateway, series; and it can be said twice."""
    hosts = controller.inventory / "hosts.yml"
    text = hosts.read_text()
    for name in ("web2", "vault1"):
        (line,) = [line for line in text.splitlines() if line.strip().startswith(f"{name}: {{")]
        text = text.replace(f"{line}\n", "")
        text = text.replace("decommissioned:\n  hosts:\n", f"decommissioned:\n  hosts:\n{line}\n")
    hosts.write_text(text)
    fine(controller.play("decommission.yml"))

    assert "web2" not in machines["monitor1"].exec("sh", "-c", "cat /etc/*/targets/*.json")
    assert "vault1" not in machines["monitor1"].exec(
        "python3", "-c", "from urllib.request import urlopen as u;"
        "print(u('http://127.0.0.1:9091/metrics').read().decode())",
    )  # fmt: skip
    assert not machines["vault1"].path("/opt/vedette").exists()
    wait_until("the end of their series", lambda: sorted(seen(machines)) == ["edge1", "web1"], 90)
    assert fine(controller.play("decommission.yml")).all("changed") == 0


@pytest.mark.usefixtures("rolled_out")
def test_an_uninstallation_leaves_nothing(
    controller: Controller, machines: dict[str, Machine], untouched: dict[str, str]
) -> None:
    """Files, users, groups and units are what they were before."""
    refused = controller.play("uninstall.yml")
    assert refused.code != 0
    assert "with --limit" in refused.output

    fine(controller.play("uninstall.yml", "--limit=web1"))
    assert inventory(machines["web1"]) == untouched
    assert fine(controller.play("uninstall.yml", "--limit=web1")).all("changed") == 0


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


def versions(machines: dict[str, Machine]) -> set[str]:
    """Return the versions that run, by their own word; vault1's is behind its firewall."""
    own = {version_of(machines[name].address) for name in ("web1", "web2")}
    links = {machines[name].exec("readlink", "/opt/vedette/current") for name in AGENTS}
    return own | {link.strip().rpartition("/")[2] for link in links}


def ask(machines: dict[str, Machine], query: str) -> list[dict[str, str]]:
    """Return the labels of what Prometheus answers."""
    words = urllib.parse.urlencode({"query": query})
    url = f"http://{machines['monitor1'].address}:9090/api/v1/query?{words}"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return [one["metric"] for one in json.load(answer)["data"]["result"]]
    except OSError:
        return []


def seen(machines: dict[str, Machine]) -> set[str]:
    """Return the hosts that Prometheus has figures of, as they are now."""
    return {labels["instance"] for labels in ask(machines, "vedette_build_info")}


def same(machines: dict[str, Machine], name: str, has: set[int]) -> bool:
    return ports(machines, name) == has


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
