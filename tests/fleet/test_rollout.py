"""ansible/ on Debian machines: from nothing to a fleet that is watched, and away again.

The tests go through the life of one fleet, in order: each leaves it whole for the next.
"""

import hashlib
import json
import shlex
import tarfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from tests.fleet import root
from tests.fleet.controller import PROJECT, Controller, Played
from tests.fleet.looking import (
    AGENTS,
    Sink,
    all_seen,
    asked,
    corrupt,
    inventory,
    known,
    knows_packages,
    listed,
    pushed_to,
    refusals,
    releases,
    running,
    running_units,
    seen,
    state,
    versions,
)  # fmt: skip
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
# The releases of this fleet's life, in order.
RELEASES: Mapping[str, Mapping[str, str]] = {
    "1.0.0": {}, "1.1.0": {}, "1.2.0": DOES_NOT_START, "1.3.0": STARTS_AND_HANGS,
    "1.4.0": SERVES_AN_OLD_VERSION, "1.5.0": {}, "1.6.0": {},
}  # fmt: skip

# What a user would write into the example's group_vars: small, for quick scans. Each start scans;
# scripts and fingerprints, which nothing here is about, would take a third of two cores.
SETTINGS: Mapping[str, Any] = {
    "scan": {
        "interval_seconds": 300, "splay_seconds": 0, "tcp_ports": "1-9999", "script_seconds": 0,
        "expected_ports": [22, 8000],
    },
    "fingerprint": {"active": False},
}  # fmt: skip
SCRAPE_SECONDS = 10
QUICKLY = {"interval_seconds": 5, "timeout_seconds": 4}
FEEDS = PROJECT / "tests/samples/feeds"
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
    made.prepare(RELEASES)
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
        settings = {
            "vedette_alerting": "alertmanager",
            "vedette_agent_settle_seconds": 2,
            "vedette_scrape_interval": f"{SCRAPE_SECONDS}s",
            "vedette_knowledge_feeds": [f"nvd={FEEDS}/nvd", f"osv={FEEDS}/osv/debian"],
        }
        yaml.safe_dump(settings, file)
    (made.inventory / "host_vars/web2").mkdir(parents=True)
    (made.inventory / "host_vars/web2/settings.yml").write_text(
        yaml.safe_dump({"vedette_agent_host_config": {"scan": {"interval_seconds": 10}}})
    )
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
def machines(
    fleet: Fleet, controller: Controller, packages: str, figures: dict[str, str]
) -> dict[str, Machine]:
    """The hosts of the example inventory, as they come from their distribution."""
    wanted: dict[str, tuple[tuple[str, ...], str]] = {
        "monitor1": (root.MACHINE, ""), "web1": (root.MACHINE, ""),
        "web2": (root.BAREST, "trixie"), "vault1": (root.MACHINE, root.UBUNTU),
        "edge1": (root.BARE, "trixie"),
    }  # fmt: skip
    with ThreadPoolExecutor() as builders:
        roots = {name: builders.submit(root.base, *what) for name, what in wanted.items()}
    if isinstance(why := roots["vault1"].exception(), root.Unreachable):
        figures["Ubuntu was left out, its archive does not answer"] = str(why)
        roots["vault1"] = roots["web1"]
    booted = fleet.boot(one.result() for one in roots.values())
    made = dict(zip(roots, booted, strict=True))
    for name, machine in made.items():
        controller.adopt(name, machine)
        use(machine, packages)
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


def from_the_readme(playbook: str) -> list[list[str]]:
    """Return what the README says to type, word by word, without the inventory."""
    text = (PROJECT / "README.md").read_text()
    section = text.partition("\n## Roll out to a fleet\n")[2].partition("\n## ")[0]
    start = f"ansible-playbook -i inventory/mine {playbook}"
    lines = [line.removeprefix(start) for line in section.splitlines() if line.startswith(start)]
    return [shlex.split(line, comments=True) for line in lines]


def archived(program: Path, archive: Path) -> dict[str, str]:
    """Put a Pushgateway into an archive as its project makes them; return who installs it so."""
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(program, f"{archive.name.removesuffix('.tar.gz')}/pushgateway")
    return {
        "pushgateway_install_method": "archive",
        "pushgateway_archive": str(archive),
        "pushgateway_archive_checksum": hashlib.sha256(archive.read_bytes()).hexdigest(),
    }


@pytest.fixture(scope="module")
def rolled_out(
    controller: Controller, machines: dict[str, Machine], untouched: dict[str, str]
) -> Played:
    """The first site.yml of these hosts, after a check that changed nothing; as the README says."""
    checking, doing = from_the_readme("site.yml")
    controller.release("1.0.0")
    fine(controller.play("knowledge.yml", "--tags=knowledge_build"))
    fine(controller.play("site.yml", *checking))
    assert inventory(machines["web1"]) == untouched
    return fine(controller.play("site.yml", *doing, "--diff", "-vvv"))


def test_from_nothing_to_a_fleet(
    rolled_out: Played, machines: dict[str, Machine], figures: dict[str, str]
) -> None:
    """Every host is in Prometheus with the ports that it really has."""
    figures["site.yml, the first time, five hosts"] = f"{rolled_out.seconds:.0f} s"
    wait_until("all hosts", lambda: seen(machines) == set(AGENTS), 90)
    for name in AGENTS:
        wait_until(f"the ports of {name}", partial(all_seen, machines, name), 90)
        wait_until(f"the packages of {name}", partial(knows_packages, machines[name]), 90)
        assert 22 in listed(machines[name])

    assert machines["web1"].exec("stat", "-c", "%a %U %G", "/etc/vedette/config.yaml").strip() == (
        "640 root vedette"
    )
    assert machines["web1"].exec("sh", "-lc", "vedette --version").strip() == "vedette 1.0.0"


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


@pytest.fixture(scope="module")
def intruder(rolled_out: Played, machines: dict[str, Machine]) -> float:
    """A service on web2, which scans every ten seconds, that nobody expects; and since when."""
    assert rolled_out.code == 0
    machines["web2"].exec("systemd-run", "--unit=odd", "python3", "-m", "http.server", "4444")
    return time.monotonic()


@pytest.mark.usefixtures("intruder")
def test_a_second_run_changes_nothing(
    controller: Controller, machines: dict[str, Machine], figures: dict[str, str]
) -> None:
    """Nor does a check. What happens on a host meanwhile is another affair: the next test's."""
    again = fine(controller.play("site.yml"))
    figures["site.yml, converged, for each host"] = f"{again.seconds / len(machines):.1f} s"
    checked = fine(controller.play("site.yml", "--check", "--diff"))

    assert (again.all("changed"), checked.all("changed")) == (0, 0), again.output + checked.output


def test_a_new_service_is_an_unexpected_port_and_its_alert_arrives(
    intruder: float,
    controller: Controller,
    machines: dict[str, Machine],
    figures: dict[str, str],
) -> None:
    """That web2 scans so often is taken away again, by the next run."""

    def told() -> list[float]:
        return [
            when
            for when, alert in Sink.alerts
            if alert["status"] == "firing"
            and alert["labels"]["alertname"] == "VedetteUnexpectedPortOpen"
            and alert["labels"]["instance"] == "web2"
        ]

    arrived = wait_until("the alert", told, 180)[0]
    figures["a port opens, its alert arrives"] = f"{arrived - intruder:.0f} s"
    machines["web2"].exec("systemctl", "stop", "odd")
    (controller.inventory / "host_vars/web2/settings.yml").unlink()


@pytest.mark.usefixtures("rolled_out")
def test_new_knowledge_reaches_every_host_and_a_wrong_one_none(
    controller: Controller, machines: dict[str, Machine]
) -> None:
    """Built of the feeds that the inventory names, pinned, once; what is not that is not used."""
    assert {known(machines[name]) for name in AGENTS} == {("nvd", "osv-debian")}
    everyone = controller.inventory / "group_vars/all.yml"
    kev = f"kev={FEEDS}/kev/known_exploited_vulnerabilities.json"
    text = everyone.read_text()
    everyone.write_text(text.replace(f"- nvd={FEEDS}", f"- {kev}\n- nvd={FEEDS}"))
    link = state(machines["web2"])[1]
    fine(controller.play("knowledge.yml"))
    wait_until(
        "the new base",
        lambda: {known(machines[name]) for name in AGENTS} == {("kev", "nvd", "osv-debian")},
        90,
    )
    canary = "--limit=localhost,web1"
    again = fine(controller.play("knowledge.yml", canary))
    checked = fine(controller.play("knowledge.yml", canary, "--check", "--diff"))
    (controller.directory / "knowledge" / f"{'0' * 64}.sqlite").write_bytes(b"no base")
    latest = controller.directory / "knowledge/latest"
    before, pinned = state(machines["web1"]), latest.read_text()
    latest.write_text("0" * 64)
    refused = controller.play("upgrade.yml", "--limit=web1", vedette_agent_keeps_release=True)
    latest.write_text(pinned)

    assert (again.all("changed"), checked.all("changed")) == (0, 0), again.output + checked.output
    assert state(machines["web2"])[1] == link
    assert refused.code != 0
    assert f"not {'0' * 64}: it is not used" in " ".join(refused.output.split())
    assert state(machines["web1"]) == before
    assert known(machines["web1"]) == ("kev", "nvd", "osv-debian")


@pytest.mark.usefixtures("rolled_out")
def test_a_good_release_comes_with_a_short_silence(
    controller: Controller, machines: dict[str, Machine], figures: dict[str, str]
) -> None:
    """Shorter than the time between two scrapes: at most one of them misses."""
    controller.release("1.1.0")
    with Watch(machines["web1"].address) as watch:
        fine(controller.play("upgrade.yml", vedette_batches=[1, "100%"]))
    figures["an upgrade, nobody answers for"] = f"{watch.silent_seconds():.1f} s"

    assert watch.silent_seconds() < SCRAPE_SECONDS
    assert versions(machines) == {"1.1.0"}
    assert releases(machines["web1"]) == ["1.0.0", "1.1.0"]


@pytest.mark.usefixtures("rolled_out")
@pytest.mark.parametrize(
    "version", [version for version, broken in RELEASES.items() if broken],
    ids=["does not start", "starts and hangs", "serves an old version"],
)  # fmt: skip
def test_a_broken_release_goes_no_further_than_the_canary(
    version: str, controller: Controller, machines: dict[str, Machine], figures: dict[str, str]
) -> None:
    canary, *others = (machines[name] for name in AGENTS)
    before, kept = version_of(canary.address), releases(canary)
    left_alone = [state(machine) for machine in others]
    controller.release(version)
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
def test_a_host_that_cannot_be_reached_holds_nobody_up(
    controller: Controller, machines: dict[str, Machine]
) -> None:
    """It fails, the others take the next good release, and Prometheus keeps looking for it.

    So after broken releases nobody has to lend a hand.
    """
    targets = machines["monitor1"].exec("sh", "-c", "cat /etc/*/targets/*.json")
    controller.release("1.5.0")
    wrong = controller.inventory / "host_vars/web2/wrong.yml"
    wrong.write_text("ansible_port: 2\n")  # nobody listens there
    played = controller.play("site.yml")
    wrong.unlink()

    assert played.code != 0
    assert {name: running(machines[name]) for name in AGENTS} == {
        "web1": "1.5.0", "web2": "1.1.0", "vault1": "1.5.0", "edge1": "1.5.0",
    }  # fmt: skip
    assert machines["monitor1"].exec("sh", "-c", "cat /etc/*/targets/*.json") == targets
    assert releases(machines["web1"]) == ["1.1.0", "1.5.0"]
    fine(controller.play("site.yml", "--limit=web2"))
    assert versions(machines) == {"1.5.0"}
    assert machines["monitor1"].exec("sh", "-c", "cat /etc/*/targets/*.json") == targets


@pytest.mark.usefixtures("rolled_out")
def test_a_corrupted_wheel_is_refused(controller: Controller, machines: dict[str, Machine]) -> None:
    """One byte of one wheel is enough, and the old release never stops."""
    for bundle in controller.release("1.6.0").glob("*.tar"):
        corrupt(bundle)
    before = state(machines["web1"])
    played = controller.play("upgrade.yml")

    assert played.code != 0
    assert "DO NOT MATCH THE HASHES" in played.output
    assert state(machines["web1"]) == before
    assert releases(machines["web1"]) == ["1.1.0", "1.5.0"]
    assert versions(machines) == {"1.5.0"}


@pytest.mark.usefixtures("rolled_out")
def test_a_rollback_by_hand_goes_to_the_release_before(
    controller: Controller, machines: dict[str, Machine]
) -> None:
    fine(controller.play("rollback.yml"))

    assert versions(machines) == {"1.1.0"}


@pytest.mark.usefixtures("rolled_out")
def test_one_switch_brings_tls_and_passwords(
    controller: Controller, machines: dict[str, Machine]
) -> None:
    """To all parts at once, with an authority made on the controller; nothing answers without.

    A second Pushgateway comes with them, from an archive on the controller, and takes over the
    hosts that a hash gives to it.
    """
    program = machines["monitor1"].path("/usr/bin/prometheus-pushgateway")
    (controller.inventory / "host_vars/edge1.yml").write_text(
        yaml.safe_dump(archived(program, controller.directory / "pushgateway-1.linux.tar.gz"))
    )
    with (controller.inventory / "group_vars/all.yml").open("a") as file:
        file.write("vedette_tls: true\nvedette_agent_keeps_release: true\n")
    with (controller.inventory / "hosts.yml").open("a") as file:
        file.write("pushgateway: { hosts: { monitor1: , edge1: } }\n")
    assert pushed_to(machines) == {"monitor1": ["vault1"]}
    fine(controller.play("site.yml"))
    since = time.time()

    wait_until("all hosts", lambda: seen(machines, since) == set(AGENTS), 90)
    assert version_of(machines["web1"].address) == ""
    assert refusals(machines) == [401, 401, 401, 401]
    assert "/opt/vedette-pushgateway/pushgateway-1.linux/pushgateway" in machines["edge1"].exec(
        "systemctl", "show", "prometheus-pushgateway", "--property=ExecStart"
    )
    assert pushed_to(machines) == {"monitor1": [], "edge1": ["vault1"]}


@pytest.mark.usefixtures("rolled_out")
def test_a_reboot_brings_everything_back(machines: dict[str, Machine]) -> None:
    """Of an agent's host, and of the monitoring server: each host's figures come in anew."""
    with ThreadPoolExecutor(2) as both:
        list(both.map(Machine.reboot, [machines["web1"], machines["monitor1"]]))
    since = time.time()

    wait_until("all hosts", lambda: seen(machines, since) == set(AGENTS), 120)
    assert running_units(machines["monitor1"]) == [
        "prometheus", "prometheus-alertmanager", "prometheus-pushgateway",
    ]  # fmt: skip


@pytest.mark.usefixtures("rolled_out")
def test_hosts_that_are_decommissioned_are_forgotten(
    controller: Controller, machines: dict[str, Machine]
) -> None:
    """Target, group at the Pushgateway, series."""
    hosts = controller.inventory / "hosts.yml"
    text = hosts.read_text()
    for name in ("web2", "vault1"):
        (line,) = [line for line in text.splitlines() if line.strip().startswith(f"{name}: {{")]
        text = text.replace(f"{line}\n", "")
        text = text.replace("decommissioned:\n  hosts:\n", f"decommissioned:\n  hosts:\n{line}\n")
    hosts.write_text(text)
    fine(controller.play("decommission.yml", vedette_alerting="grafana"))

    assert "web2" not in machines["monitor1"].exec("sh", "-c", "cat /etc/*/targets/*.json")
    assert pushed_to(machines) == {"monitor1": [], "edge1": []}
    assert not machines["vault1"].path("/opt/vedette").exists()
    wait_until("the end of their series", lambda: seen(machines) == {"edge1", "web1"}, 90)


@pytest.mark.usefixtures("rolled_out")
def test_where_grafana_notifies_nobody_else_does(machines: dict[str, Machine]) -> None:
    """As is the default, and as the run before had it: rules for Grafana, none to tell for others.

    There is no Grafana here: whether it takes them is said by their format alone.
    """
    server = machines["monitor1"]
    told = json.loads(asked(server, 9090, "/api/v1/alertmanagers"))["data"]
    rules = yaml.safe_load(
        server.path("/etc/grafana/provisioning/alerting/vedette-rules.yml").read_text()
    )
    boards = list(server.path("/var/lib/grafana/dashboards/vedette").glob("*.json"))

    assert (told["activeAlertmanagers"], told["droppedAlertmanagers"]) == ([], [])
    assert sum(len(group["rules"]) for group in rules["groups"]) >= 10
    assert len(boards) == len(list((PROJECT / "grafana/dashboards").glob("*.json")))


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
