"""grafana/provisioning: what Grafana gets, as it documents that; no Grafana is run."""

import json
import re
from collections.abc import Mapping
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.alerting import files, rules
from grafana.provision import LAYOUT, main, rendered
from tests.unit.grafana.schema import (
    AlertingFile,
    AlertRule,
    DatasourcesFile,
    ProvidersFile,
    Query,
    seconds,
)

PROMETHEUS = yaml.safe_load(Path("prometheus/prometheus.yml").read_text())
ENGINES = ("grafana", "alertmanager")
CONTACTS: list[dict[str, Any]] = [
    {"name": "ops", "type": "email", "settings": {"addresses": "ops@example.org"}},
    {
        "name": "chat", "type": "slack", "severities": ["critical", "warning"],
        "settings": {"url": "https://hooks.example.org/services/T/B/X"},
    },
    {
        "name": "bridge", "type": "webhook", "severities": ["critical"],
        "settings": {"url": "https://pager.example.org/", "authorization_scheme": "Bearer",
                     "authorization_credentials": "it's \"$ecret\": {{ x }}"},
    },
    {
        "name": "am", "type": "prometheus-alertmanager",
        "settings": {"url": "http://127.0.0.1:9093", "basicAuthUser": "x"},
    },
    {
        "name": "heart", "type": "webhook", "heartbeat": True,
        "settings": {"url": "https://heartbeat.example.org/x"},
    },
]  # fmt: skip
SECURE = {
    "grafana_prometheus_url": "https://prometheus.example.org",
    "grafana_prometheus_username": "grafana",
    "grafana_prometheus_password_file": "/etc/grafana/secrets/prometheus",
    "grafana_prometheus_ca_file": "/etc/grafana/ca.pem",
}
WITH_ALERTMANAGER = {"grafana_alertmanager_url": "http://127.0.0.1:9093"}
CASES = [
    {"grafana_alerting": engine, **server, **more, **told}
    for engine, server, more, told in product(
        ENGINES,
        ({}, SECURE),
        ({}, WITH_ALERTMANAGER),
        ({}, {"grafana_contact_points": CONTACTS}, {"grafana_contact_points": CONTACTS[:1]}),
    )
]


@cache  # some 2,500 lines, always the same
def shown(engine: str) -> AlertingFile:
    """Return the rules that Grafana has where this engine notifies."""
    found = rendered({"grafana_alerting": engine})["alerting/vedette-rules.yml"]
    return AlertingFile.model_validate(yaml.safe_load(found))


def notifications(variables: Mapping[str, Any]) -> AlertingFile:
    """Return whom Grafana tells."""
    found = rendered(variables)["alerting/vedette-notifications.yml"]
    return AlertingFile.model_validate(yaml.safe_load(found))


@pytest.mark.parametrize("variables", CASES)
def test_every_file_is_as_grafana_documents_it(variables: dict[str, Any]) -> None:
    """But for the rules, which have a test of their own below."""
    found = rendered(variables)
    for name, schema in (
        ("datasources/vedette.yml", DatasourcesFile),
        ("dashboards/vedette.yml", ProvidersFile),
        ("alerting/vedette-notifications.yml", AlertingFile),
    ):
        schema.model_validate(yaml.safe_load(found[name]))

    assert set(found) == set(LAYOUT)


@pytest.mark.parametrize("engine", ENGINES)
def test_exactly_one_engine_notifies(engine: str) -> None:
    """Grafana by its rules, or Prometheus by the block `alerting`, left out then."""
    config = dict(PROMETHEUS)
    if engine == "grafana":
        del config["alerting"]
    told = {**WITH_ALERTMANAGER, "grafana_contact_points": CONTACTS}
    datasources = rendered({"grafana_alerting": engine, **told})["datasources/vedette.yml"]
    notifying = {
        *(["alertmanager"] if config.get("alerting", {}).get("alertmanagers") else []),
        *(["grafana"] if shown(engine).groups else []),
    }

    assert notifying == {engine}
    assert bool(notifications({"grafana_alerting": engine, **told}).contactPoints) == (
        engine == "grafana"
    )
    assert "handleGrafanaManagedAlerts: false" in datasources


def test_the_switch_deletes_what_the_other_engine_had() -> None:
    """Both files come to the same place, and the one undoes the other."""
    present = {rule.uid for group in shown("grafana").groups for rule in group.rules}

    assert present
    assert present <= {one.uid for one in shown("alertmanager").deleteRules}


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="grafana or alertmanager"):
        rendered({"grafana_alerting": "both"})


def test_the_uids_of_the_data_sources_are_for_ever() -> None:
    """Boards and alerts hang on them, and Grafana never changes the one that it knows."""
    found = rendered(WITH_ALERTMANAGER)["datasources/vedette.yml"]
    uids = [source["uid"] for source in yaml.safe_load(found)["datasources"]]

    assert uids == ["vedette-prometheus", "vedette-alertmanager"]
    assert uids[0] == rules.PROMETHEUS_UID


def test_grafana_knows_how_often_prometheus_scrapes() -> None:
    """It makes $__rate_interval of that: with another number, rates have holes."""
    found = yaml.safe_load(rendered({})["datasources/vedette.yml"])

    assert (
        found["datasources"][0]["jsonData"]["timeInterval"]
        == PROMETHEUS["global"]["scrape_interval"]
    )


def test_settings_arrive_as_they_are() -> None:
    """Secrets with quotes, dollars and braces as well."""
    found = notifications({"grafana_contact_points": CONTACTS})
    settings = {point.name: point.receivers[0].settings for point in found.contactPoints}

    assert settings == {f"vedette-{one['name']}": one["settings"] for one in CONTACTS}


def test_the_command_writes_what_the_role_would(tmp_path: Path) -> None:
    (tmp_path / "points.yml").write_text(json.dumps({"grafana_contact_points": CONTACTS}))
    main([str(tmp_path), f"@{tmp_path}/points.yml", "grafana_scrape_interval=15s"])

    told = {"grafana_contact_points": CONTACTS, "grafana_scrape_interval": "15s"}
    for name, text in rendered(told).items():
        assert (tmp_path / name).read_text() == text
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o640


BAD: list[tuple[str, Any]] = [
    ("uid", "x" * 41),
    ("condition", "B"),
    ("for", "5 minutes"),
    ("noDataState", "Ok"),
    ("execErrState", "NoData"),
    ("labels", {"site": "{{ $labels.site }}"}),
    ("annotations", {"summary": "${HOME}"}),
    ("annotations", {"summary": "{{ $value }}"}),
    ("annotations", {"summary": "{{ $values.B.Value }}"}),
    ("dashboardUID", "x"),
]


@pytest.mark.parametrize(("key", "value"), BAD)
def test_what_grafana_would_not_take_is_found(key: str, value: Any) -> None:
    """Else the tests above would say nothing."""
    good = shown("grafana").groups[0].rules[0].model_dump(by_alias=True, exclude_none=True)

    AlertRule.model_validate(good)
    with pytest.raises(ValueError, match="1 validation error"):
        AlertRule.model_validate({**good, key: value})


def test_a_query_to_nobody_is_found() -> None:
    good = shown("grafana").groups[0].rules[0].data[0].model_dump(by_alias=True)

    with pytest.raises(ValueError, match="datasourceUid"):
        Query.model_validate({**good, "datasourceUid": "prometheus"})
    with pytest.raises(ValueError, match="1 validation error"):
        Query.model_validate({**good, "refId": "Z"})


def told(point: str, policies: Any, **labels: str) -> bool:
    """Whether the policies tell this contact point of an alert with these labels."""
    (policy,) = policies
    receivers = []
    for route in policy.routes:
        fits = all(
            re.fullmatch(value, labels.get(name, "")) for name, _, value in route.object_matchers
        )
        if fits:
            receivers += [] if route.mute_time_intervals else [route.receiver]
            if not route.continue_:
                return f"vedette-{point}" in receivers
    return f"vedette-{point}" in (receivers or [policy.receiver])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"alertname": "VedetteHostDown", "severity": "critical"}, {"ops", "chat", "bridge", "am"}),
        ({"alertname": "VedetteCpuBusy", "severity": "warning"}, {"ops", "chat", "am"}),
        ({"alertname": "VedettePortOpened", "severity": "info"}, {"ops", "am"}),
        ({"alertname": "Watchdog", "severity": "info"}, {"heart"}),
        ({"alertname": "Other"}, {"ops"}),
    ],
)
def test_each_is_told_what_concerns_it(labels: dict[str, str], expected: set[str]) -> None:
    found = notifications({"grafana_contact_points": CONTACTS})
    names = {point["name"] for point in CONTACTS}

    assert {one for one in names if told(one, found.policies, **labels)} == expected


def test_the_watchdog_wakes_nobody() -> None:
    """It always fires: without a heartbeat it goes nowhere."""
    found = notifications({"grafana_contact_points": CONTACTS[:1]})

    assert not told("ops", found.policies, alertname="Watchdog", severity="info")
    ((always,),) = (time.time_intervals for time in found.muteTimes)
    assert [(one.start_time, one.end_time) for one in always.times] == [("00:00", "24:00")]


def test_policies_can_be_left_to_the_organisation() -> None:
    """There is one tree of them, and it may be somebody else's."""
    found = notifications(
        {"grafana_contact_points": CONTACTS, "grafana_notification_policies": False}
    )

    assert not found.policies
    assert len(found.contactPoints) == len(CONTACTS)


def test_what_is_committed_is_what_would_be_made() -> None:
    """./dev boards makes it, of prometheus/rules and the boards."""
    for name, text in files.made().items():
        assert (files.FILES / name).read_text() == text, f"{name}: ./dev boards"
    assert files.UIDS.read_text().split() == files.shipped()


def test_every_alert_is_there_once() -> None:
    found = shown("grafana")
    wanted = rules.alerts(files.rule_files())
    made = [rule for group in found.groups for rule in group.rules]

    assert len(made) == len(wanted) == len({rule.uid for rule in made})
    for alert, rule in zip(wanted, made, strict=True):
        assert rule.title.split(" ")[0] == alert["alert"]
        assert rule.data[0].model["expr"] == alert["expr"].strip()
        assert seconds(rule.for_) == seconds(alert.get("for", "0s"))
        assert rule.labels["severity"] == alert["labels"]["severity"]
        assert {"summary", "description", "runbook_url"} <= set(rule.annotations)


# The functions of Prometheus' templates that Grafana has as well, and Go's own.
# https://grafana.com/docs/grafana/latest/alerting/alerting-rules/templates/reference/
_KNOWN = {
    *("humanize", "humanize1024", "humanizeDuration", "humanizePercentage", "humanizeTimestamp"),
    *("title", "toUpper", "toLower", "match", "reReplaceAll", "printf"),
    *("if", "else", "end", "eq", "ne", "gt", "lt", "and", "or", "not"),
}


def test_texts_use_what_grafana_has() -> None:
    found = shown("grafana")
    for group in found.groups:
        for rule in group.rules:
            for text in (*rule.annotations.values(), *rule.labels.values()):
                for action in re.findall(r"\{\{(.*?)\}\}", text, re.DOTALL):
                    bare = re.sub(r'"[^"]*"|\$+[\w.]+', "", action)

                    assert set(re.findall(r"[A-Za-z]\w*", bare)) <= _KNOWN, text
