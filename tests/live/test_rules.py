"""prometheus/, as Debian's promtool and amtool read it."""

from pathlib import Path

import pytest

from tests.live.netns import output

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


@pytest.mark.parametrize("file", sorted(ROOT.glob("tests/*.yml")), ids=lambda file: file.stem)
def test_alerts_fire_and_stay_quiet_as_their_tests_say(file: Path) -> None:
    said = output(["promtool", "test", "rules", str(file)])

    assert "SUCCESS" in said
