"""prometheus/rules: what they name, what they say, and that each alert is tested both ways."""

import re

import pytest

from grafana.promql import names
from tests.unit import rules
from tests.unit.coming import COMING
from tests.unit.contract import CONTRACT
from tests.unit.grafana.boards import exposed
from tests.unit.rules import (
    ALERTS,
    RECORDS,
    RUNBOOK,
    RUNBOOK_URL,
    THRESHOLDS,
    problems,
)
from vedette.thresholds import EVENTS


def used() -> list[str]:
    """Return the agent's metrics that rules use."""
    named = {name for rule in RECORDS + ALERTS for name in names(rule.expr)}
    return sorted(named & exposed().keys())


def test_rules_name_only_what_there_is() -> None:
    """Metrics, labels to select, group and show by, and that both sides of an operator match."""
    assert problems(exposed()) == []


@pytest.mark.parametrize("name", used())
def test_a_metric_that_is_renamed_is_noticed(name: str) -> None:
    metrics = exposed()
    metrics[f"{name}_renamed"] = metrics.pop(name)

    assert any(f"no metric {name}" in problem for problem in problems(metrics))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("vedette_job_failures_total", "reason"),
        ("vedette_network_events_total", "event"),
        ("vedette_finding_score", "finding"),
        ("vedette_filesystem_size_bytes", "mountpoint"),
        ("vedette_unexpected_open_ports", "address"),
    ],
)
def test_a_label_that_is_renamed_is_noticed(name: str, label: str) -> None:
    metrics = exposed()
    metrics[name] = (metrics[name] - {label}) | {"renamed"}

    assert any(label in problem for problem in problems(metrics))


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_stays_quiet() -> None:
    """In each of its severities. Watchdog has none in which it is quiet: it never is."""
    fires, quiet = rules.tested()
    alerts = {(alert.name, alert.severity) for alert in ALERTS}

    assert alerts - fires == set()
    assert alerts - quiet == {("Watchdog", "info")}


def test_alerts_say_what_an_operator_needs() -> None:
    for alert in ALERTS:
        said = alert.annotations

        assert re.fullmatch(r"Vedette([A-Z][a-z]+)+|Watchdog", alert.name)
        assert set(alert.labels) == {"severity"}
        assert alert.severity in {"critical", "warning", "info"}
        assert set(said) == {"summary", "description", "runbook_url"}
        assert "{{" not in said["summary"]
        assert said["summary"].endswith(".")
        assert "$value" in said["description"]
        assert said["runbook_url"] == f"{RUNBOOK_URL}#{alert.name.lower()}"


def test_an_alert_has_each_severity_once() -> None:
    """What tells alerts of one name apart, here and in Grafana."""
    names = [(alert.name, alert.severity) for alert in ALERTS]

    assert len(names) == len(set(names))


def test_every_alert_has_its_section_in_the_runbook() -> None:
    """What it means, how to check, how to fix; in the order of the rules, and nothing else."""
    sections = re.split(r"^## ", RUNBOOK.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    names = [section.split("\n")[0] for section in sections]

    assert names == list(dict.fromkeys(alert.name for alert in ALERTS))
    for section in sections:
        assert re.findall(r"^\*\*(\w+)\*\*", section, re.MULTILINE) == ["Means", "Check", "Fix"]


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_of_the_network_has_an_alert_of_its_own(event: str) -> None:
    """The first that an alert's expression selects is what it is about."""
    about = [found[1] for rule in ALERTS if (found := re.search(r'event="(\w+)"', rule.expr))]

    assert about.count(event) == 1


def test_thresholds_are_in_one_place() -> None:
    """Each is used, what is used is there, and alerts compare with no other number but 0 and 1."""
    names = {rule.name for rule in THRESHOLDS}
    text = "\n".join(rule.expr for rule in RECORDS + ALERTS)

    assert set(re.findall(r"vedette:threshold:\w+", text)) == names
    assert all(re.fullmatch(r"vector\([0-9.]+\)", rule.expr) for rule in THRESHOLDS)
    for rule in ALERTS:
        assert set(re.findall(r" [<>=]=? (?:bool )?([0-9.]+)", rule.expr)) <= {"0", "1"}


def test_recorded_series_are_called_by_level_metric_and_operations() -> None:
    """https://prometheus.io/docs/practices/rules/: and they aggregate with `without`."""
    for rule in RECORDS:
        if rule in THRESHOLDS:
            continue
        assert re.fullmatch(r"(instance|job)(_[a-z_]+)?:vedette_[a-z0-9_]+:[a-z0-9_]+", rule.name)
        assert "_total:" not in rule.name
        assert not re.search(r"\bby\b", rule.expr)


# Rules that look at gauges without asking whether the last push is fresh.
UNGATED = {
    "instance:vedette_written_timestamp_seconds:max": "of hosts that do not push",
    "VedetteOsChanged": "what was different within the last hour, and is it no longer then",
    "VedettePortOpened": "increases of a counter; the gauge only says who has an allow-list",
    "VedetteDiskFilling": "and the ratio, which is gated",
}


def test_a_dead_hosts_last_values_never_look_alive() -> None:
    """A Pushgateway shows them for ever: a gauge is believed only while pushes are fresh."""
    kinds = {name: kind for name, (kind, _) in {**CONTRACT, **COMING}.items()}
    for rule in RECORDS + ALERTS:
        gauges = {name for name in names(rule.expr) if kinds.get(name) == "gauge"}
        gated = "instance:vedette_push_age_seconds:stale" in names(rule.expr)

        assert bool(gauges and not gated) == (rule.name in UNGATED)
