"""ansible/ on Debian machines: from nothing to a fleet that is watched, and away again.

The tests go through the life of one fleet, in order: each leaves it whole for the next.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

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
        "interval_seconds": 10, "splay_seconds": 0, "tcp_ports": "1-9999",
        "expected_ports": [22, 8000],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def packages(fleet: Fleet) -> Iterator[str]:
    with proxy(fleet) as address:
        yield address


@pytest.fixture(scope="module")
def controller(fleet: Fleet) -> Controller:
    made = Controller(fleet.directory / "controller")
    (made.inventory / "group_vars/agents.yml").write_text(
        yaml.safe_dump({"vedette_agent_config": dict(SETTINGS)})
    )
    return made


@pytest.fixture(scope="module")
def machines(fleet: Fleet, controller: Controller, packages: str) -> dict[str, Machine]:
    """The hosts of the example inventory, as they come from their distribution."""
    bare = root.base(root.BARE, "trixie")
    made = {}
    for name, base in {"web1": None, "web2": bare}.items():
        made[name] = fleet.machine(base)
        controller.adopt(name, made[name])
        use(made[name], packages)
    return made


ONLY = "--limit=web1,web2"


def fine(played: Played) -> Played:
    """Expect that a playbook went well everywhere."""
    assert played.code == 0, played.output
    assert played.all("failed") == played.all("unreachable") == 0
    return played


@pytest.fixture(scope="module")
def rolled_out(controller: Controller, machines: dict[str, Machine]) -> Played:
    """The first site.yml of these hosts."""
    controller.release("1.0.0")
    fine(controller.play("upgrade.yml", ONLY, "--check", "--diff"))
    assert not any(machine.path("/opt/vedette").exists() for machine in machines.values())
    return fine(controller.play("upgrade.yml", ONLY))


def test_from_nothing_to_a_fleet(
    rolled_out: Played, machines: dict[str, Machine], figures: dict[str, str]
) -> None:
    figures["site.yml, the first time"] = f"{rolled_out.seconds:.0f} s"

    assert {
        name: version_of(machine.address) for name, machine in machines.items()
    } == dict.fromkeys(machines, "1.0.0")
    assert machines["web1"].exec("stat", "-c", "%a %U %G", "/etc/vedette/config.yaml").strip() == (
        "640 root vedette"
    )


@pytest.mark.usefixtures("rolled_out")
def test_a_second_run_changes_nothing(controller: Controller, figures: dict[str, str]) -> None:
    again = fine(controller.play("upgrade.yml", ONLY))
    figures["site.yml, converged, for each host"] = f"{again.seconds / len(again.hosts):.1f} s"
    checked = fine(controller.play("upgrade.yml", ONLY, "--check", "--diff"))

    assert (again.all("changed"), checked.all("changed")) == (0, 0), again.output + checked.output


@pytest.mark.usefixtures("rolled_out")
def test_a_good_release_comes_with_a_short_silence(
    controller: Controller, machines: dict[str, Machine], figures: dict[str, str]
) -> None:
    """Shorter than the time between two scrapes: at most one of them misses."""
    controller.release("1.1.0")
    with Watch(machines["web1"].address) as watch:
        fine(controller.play("upgrade.yml", ONLY))
    figures["an upgrade, nobody answers for"] = f"{watch.silent_seconds():.1f} s"

    assert watch.silent_seconds() < 30
    assert {version_of(machine.address) for machine in machines.values()} == {"1.1.0"}
    assert releases(machines["web1"]) == ["1.0.0", "1.1.0"]


@pytest.mark.usefixtures("rolled_out")
@pytest.mark.parametrize(
    ("version", "broken"),
    [("1.2.0", DOES_NOT_START), ("1.3.0", STARTS_AND_HANGS), ("1.4.0", SERVES_AN_OLD_VERSION)],
    ids=["does not start", "starts and hangs", "serves an old version"],
)
def test_a_broken_release_goes_no_further_than_the_canary(
    version: str, broken: dict[str, str],
    controller: Controller, machines: dict[str, Machine],
    figures: dict[str, str], request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    before = version_of(machines["web1"].address)
    untouched = state(machines["web2"])
    kept = releases(machines["web1"])
    controller.release(version, broken=broken)
    with Watch(machines["web1"].address) as watch:
        played = controller.play("upgrade.yml", ONLY)
    figures[f"a release that {request.node.callspec.id}: the old one is away for"] = (
        f"{watch.away_seconds(before):.1f} s"
    )

    assert played.code != 0
    assert f"{version} does not work here" in played.output
    assert version_of(machines["web1"].address) == before
    assert watch.away_seconds(before) <= 30
    assert releases(machines["web1"]) == kept
    assert state(machines["web2"]) == untouched


@pytest.mark.usefixtures("rolled_out")
def test_a_later_good_release_needs_no_hand(
    controller: Controller, machines: dict[str, Machine]
) -> None:
    controller.release("1.5.0")
    fine(controller.play("upgrade.yml", ONLY))

    assert {version_of(machine.address) for machine in machines.values()} == {"1.5.0"}
    assert releases(machines["web1"]) == ["1.1.0", "1.5.0"]


@pytest.mark.usefixtures("rolled_out")
def test_a_rollback_by_hand_goes_to_the_release_before(
    controller: Controller, machines: dict[str, Machine]
) -> None:
    fine(controller.play("rollback.yml", ONLY))

    assert {version_of(machine.address) for machine in machines.values()} == {"1.1.0"}
    assert fine(controller.play("upgrade.yml", ONLY)).all("changed") > 0
    assert {version_of(machine.address) for machine in machines.values()} == {"1.5.0"}


@pytest.mark.usefixtures("rolled_out")
def test_a_corrupted_wheel_is_refused(controller: Controller, machines: dict[str, Machine]) -> None:
    """One byte of one wheel is enough, and the old release never stops."""
    controller.release("1.6.0")
    for bundle in (controller.wheelhouse / "1.6.0").glob("*.tar"):
        corrupt(bundle)
    before = state(machines["web1"])
    played = controller.play("upgrade.yml", ONLY)

    assert played.code != 0
    assert "DO NOT MATCH THE HASHES" in played.output
    assert state(machines["web1"]) == before
    assert version_of(machines["web1"].address) == "1.5.0"


@pytest.mark.usefixtures("rolled_out")
def test_a_reboot_brings_everything_back(machines: dict[str, Machine]) -> None:
    machines["web1"].reboot()

    wait_until("the agent", lambda: version_of(machines["web1"].address) == "1.5.0", 60)


@pytest.mark.usefixtures("rolled_out")
def test_an_uninstallation_leaves_nothing(
    controller: Controller, machines: dict[str, Machine]
) -> None:
    refused = controller.play("uninstall.yml")
    assert refused.code != 0
    assert "with --limit" in refused.output

    fine(controller.play("uninstall.yml", "--limit=web1"))
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
