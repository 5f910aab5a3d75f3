"""The rules of prometheus/, as data."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from grafana.promql import names
from tests.unit.coming import COMING
from tests.unit.grafana.boards import exposed, known_metrics, parsed
from tests.unit.grafana.labels import Known, Unknown, labels_of
from vedette.publish.push import LEAN

PROMETHEUS = Path(__file__).parents[2] / "prometheus"
RUNBOOK = PROMETHEUS / "RUNBOOK.md"
RUNBOOK_URL = "https://example.org/vedette/RUNBOOK.md"


@dataclass(frozen=True)
class Rule:
    """One rule. name: of the record or the alert."""

    file: str
    name: str
    expr: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    wait: str

    @property
    def severity(self) -> str:
        return self.labels["severity"]


def read(text: str, file: str) -> Iterator[tuple[str, Rule]]:
    """Yield (record or alert, rule) of a file's text."""
    for group in yaml.safe_load(text)["groups"]:
        for rule in group["rules"]:
            kind = "alert" if "alert" in rule else "record"
            yield (
                kind,
                Rule(
                    file,
                    rule[kind],
                    rule["expr"],
                    rule.get("labels", {}),
                    rule.get("annotations", {}),
                    rule.get("for", "0s"),
                ),
            )


def _all() -> list[tuple[str, Rule]]:
    files = sorted((PROMETHEUS / "rules").glob("*.yml"))
    return [pair for file in files for pair in read(file.read_text(encoding="utf-8"), file.name)]


RECORDS = [rule for kind, rule in _all() if kind == "record"]
ALERTS = [rule for kind, rule in _all() if kind == "alert"]
THRESHOLDS = [rule for rule in RECORDS if rule.file == "thresholds.yml"]


def problems(contract: Known) -> list[str]:
    """Return in words what rules name that is neither in the contract given nor recorded."""
    known = known_metrics(contract)
    found = []
    for rule in RECORDS + ALERTS:
        try:
            labels = labels_of(parsed(rule.expr), known)
        except Unknown as exc:
            found.append(f"{rule.name}: {exc}")
            continue
        shown = re.findall(r"\$labels\.(\w+)", " ".join(rule.annotations.values()))
        found += [f"{rule.name}: no label {name} to show" for name in shown if name not in labels]
    return found


def tested() -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Return (alert, severity) of what fires, and of what stays quiet, in prometheus/tests/."""
    fires, quiet = set(), set()
    severities = {
        alert.name: {a.severity for a in ALERTS if a.name == alert.name} for alert in ALERTS
    }
    for file in (PROMETHEUS / "tests").glob("*.yml"):
        cases: list[dict[str, Any]] = yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]
        for test in (test for case in cases for test in case.get("alert_rule_test", ())):
            name = test["alertname"]
            seen = {alert["exp_labels"]["severity"] for alert in test.get("exp_alerts") or ()}
            fires |= {(name, severity) for severity in seen}
            quiet |= {(name, severity) for severity in severities[name] - seen}
    return fires, quiet


def sources(expr: str) -> set[str]:
    """Return what a PromQL expression is made of in the end, through all that is recorded."""
    found, ahead = set[str](), set(names(expr))
    while ahead:
        name = ahead.pop()
        recorded = [rule.expr for rule in RECORDS if rule.name == name]
        found |= set() if recorded else {name}
        ahead |= {one for inner in recorded for one in names(inner) if one != name}
    return found


def table() -> str:
    """Return a Markdown table of the alerts."""
    rows = []
    for name in dict.fromkeys(alert.name for alert in ALERTS):
        same = [alert for alert in ALERTS if alert.name == name]
        metrics = {one for alert in same for one in sources(alert.expr)} & exposed().keys()
        pushed = {one.removesuffix("_total") for one in metrics} <= set(LEAN)
        notes = [*(["to come"] if metrics & COMING.keys() else []), *([] if pushed else ["full"])]
        severities = " or ".join(alert.severity for alert in same)
        link = f"[{name}](prometheus/RUNBOOK.md#{name.lower()})"
        summary = same[-1].annotations["summary"]
        rows.append(f"| {link} | {severities} | {summary} | {', '.join(notes)} |")
    return (
        "\n".join(["| alert | severity | what it says | needs |", "|---|---|---|---|", *rows])
        + "\n"
    )
