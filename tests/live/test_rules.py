"""prometheus/, as Debian's promtool and amtool read it."""

import subprocess
from pathlib import Path

import pytest

from tests.live.netns import output
from tests.live.stories import beside

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2] / "prometheus"
ALERTMANAGER = str(ROOT / "alertmanager/alertmanager.yml")


@pytest.mark.parametrize("file", ["prometheus.yml", "single-host.yml"])
def test_the_configurations_are_valid(file: str) -> None:
    """With the rules and the targets that they name."""
    said = output(["promtool", "check", "config", str(ROOT / file)])

    assert "SUCCESS" in said


def test_alertmanagers_configuration_is_valid() -> None:
    output(["amtool", "check-config", ALERTMANAGER])


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("alertname=VedetteHostDown", "severity=critical", "instance=web1"), "pager"),
        (("alertname=VedetteUnexpectedPortOpen", "severity=warning", "instance=web1"), "team"),
        (("alertname=VedetteVersionSkew", "severity=info"), "digest"),
        (("alertname=Watchdog", "severity=info"), "heartbeat"),
        (("alertname=SomebodyElses", "severity=none"), "team"),
    ],
)
def test_an_alert_goes_to_its_receiver(labels: tuple[str, ...], receiver: str) -> None:
    """One for each severity, Watchdog on its own, and what nobody thought of to the team."""
    argv = ("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}")

    output([*argv, f"--verify.receivers={receiver}", *labels])


def _run(file: Path) -> str:
    done = subprocess.run(  # noqa: S603 - fixed programs
        ["promtool", "test", "rules", str(file)],  # noqa: S607 - where the system has it
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stdout + done.stderr


@beside
def test_alerts_fire_and_stay_quiet_as_their_tests_say() -> None:
    """Eight seconds of processor time: one file after the other, beside the other tests."""
    files = sorted((ROOT / "tests").glob("*.yml"))

    assert files
    assert [said for file in files if (said := _run(file))] == []
