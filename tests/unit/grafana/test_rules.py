"""grafana/alerting: a Prometheus alert in, one of Grafana out."""

from typing import Any

import pytest

from grafana.alerting import links, rules

DOWN: dict[str, Any] = {
    "alert": "VedetteHostDown",
    "expr": 'up{job="vedette"} == 0',
    "for": "5m",
    "keep_firing_for": "10m",
    "labels": {"severity": "critical", "site": "{{ $labels.site }}"},
    "annotations": {
        "summary": "A host is down.",
        "description": "{{ $labels.site }}: {{ $value | humanize }} of {{ $values }}.",
    },
}
RISK = {"alert": "VedetteHostRisk", "expr": "vedette_host_risk_score > 7"}
TWICE = [
    {**RISK, "labels": {"severity": "critical"}},
    {**RISK, "labels": {"severity": "warning"}},
]


def file_of(*alerts: dict[str, Any], **group: str) -> dict[str, Any]:
    """Return a rule file with these alerts, behind a record."""
    record = {"record": "a:b:c", "expr": "vector(1)"}
    return {"groups": [{"name": "one", "rules": [record, *alerts], **group}]}


def test_an_alert_keeps_its_meaning() -> None:
    """What it asks, how long it waits, who is told, and in which words."""
    (group,) = rules.grafana_file([file_of(DOWN, interval="30s")], {}, [])["groups"]
    (rule,) = group["rules"]

    assert (group["name"], group["interval"], group["folder"]) == ("one", "30s", "Vedette")
    assert (rule["uid"], rule["title"]) == ("vedette-host-down", "VedetteHostDown")
    assert (rule["for"], rule["keepFiringFor"]) == ("5m", "10m")
    assert (rule["noDataState"], rule["execErrState"]) == ("OK", "Error")
    assert rule["data"][0]["model"]["expr"] == 'up{job="vedette"} == 0'
    assert rule["labels"] == {"severity": "critical", "site": "{{ $$labels.site }}"}
    assert rule["annotations"] == {
        "summary": "A host is down.",
        "description": "{{ $labels.site }}: {{ $values.A.Value | humanize }} of {{ $values }}.",
    }


def test_whatever_returns_a_sample_fires() -> None:
    """`up == 0` returns 0: a threshold above 0 would never fire."""
    (group,) = rules.grafana_file([file_of(DOWN)], {}, [])["groups"]
    (rule,) = group["rules"]
    query, condition = rule["data"]

    assert rule["condition"] == condition["refId"] == "C"
    assert condition["model"]["type"] == "math"
    assert condition["model"]["expression"] == f"is_null(${query['refId']}) == 0"


def test_alerts_of_one_name_differ_by_severity() -> None:
    """In a folder of Grafana no two rules may be called the same."""
    (group,) = rules.grafana_file([file_of(*TWICE)], {}, [])["groups"]

    assert [(rule["uid"], rule["title"]) for rule in group["rules"]] == [
        ("vedette-host-risk-critical", "VedetteHostRisk (critical)"),
        ("vedette-host-risk-warning", "VedetteHostRisk (warning)"),
    ]


def test_a_rule_that_has_gone_is_deleted() -> None:
    """Grafana keeps what is no longer in its files until it is told otherwise."""
    found = rules.grafana_file([file_of(DOWN)], {}, ["vedette-old", "vedette-host-down"])

    assert found["deleteRules"] == [{"orgId": 1, "uid": "vedette-old"}]


def test_where_alertmanager_notifies_grafana_has_no_rule() -> None:
    found = rules.alertmanager_file(["vedette-old", "vedette-host-down"])

    assert "groups" not in found
    assert {one["uid"] for one in found["deleteRules"]} == {"vedette-old", "vedette-host-down"}


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("VedetteHostDown", "vedette-host-down"),
        ("VedetteHostRisk (critical)", "vedette-host-risk-critical"),
        ("Watchdog", "vedette-watchdog"),
        ("VedetteLoad15High", "vedette-load15-high"),
        (f"Vedette{'Long' * 12}", "vedette-long-long-long-long-lon-fa96dd80"),
    ],
)
def test_uids_are_for_ever(title: str, expected: str) -> None:
    """Silences, links and history hang on them; Grafana takes 40 characters."""
    assert rules.uid(title) == expected
    assert len(expected) <= 40


@pytest.mark.parametrize(
    "text",
    [
        "{{ with query `up` }}{{ . | first | value }}{{ end }}",
        "see {{ $externalURL }}",
        "of {{ $externalLabels.site }}",
    ],
)
def test_what_only_prometheus_can_fill_in_is_refused(text: str) -> None:
    """Else the alert would come with an error in the place of its text."""
    with pytest.raises(ValueError, match="Grafana has no"):
        rules.grafana_file([file_of({**DOWN, "annotations": {"summary": text}})], {}, [])


def panel(number: int, *expressions: str) -> dict[str, Any]:
    return {"id": number, "type": "stat", "targets": [{"expr": text} for text in expressions]}


def test_an_alert_is_linked_to_the_panel_that_shows_it() -> None:
    """Most of its metrics, least beside them; panels of collapsed rows count as well."""
    host = {
        "uid": "host",
        "templating": {"list": [{"name": "instance"}]},
        "panels": [
            panel(1, 'rate(other{instance=~"$instance"}[$__rate_interval])'),
            {"id": 2, "type": "row", "panels": [panel(3, "vedette_host_risk_score", "other")]},
            panel(4, 'max(vedette_host_risk_score{instance=~"${instance:regex}"})'),
        ],
    }
    unseen = {"alert": "VedetteUnseen", "expr": "vedette_unseen > scalar(vedette:threshold:x)"}

    assert links.panels([RISK, unseen], [host], []) == {"VedetteHostRisk": ("host", 4)}
    (group,) = rules.grafana_file([file_of(DOWN)], {"VedetteHostDown": ("host", 4)}, [])["groups"]
    assert (group["rules"][0]["dashboardUid"], group["rules"][0]["panelId"]) == ("host", 4)


def test_a_link_sees_through_what_is_recorded() -> None:
    """An alert on raw metrics finds the panel that shows them as a recorded series."""
    record = {"record": "fleet:risk:max", "expr": "max(vedette_host_risk_score) unless age"}
    recorded = {"groups": [{"name": "one", "rules": [record]}]}
    fleet = {
        "uid": "fleet",
        "templating": {"list": []},
        "panels": [panel(1, "other"), panel(2, "fleet:risk:max")],
    }

    assert links.panels([RISK], [fleet], [recorded]) == {"VedetteHostRisk": ("fleet", 2)}
