"""The committed boards and rules, as tests look at them."""

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import yaml

from grafana.promql import substituted
from tests.unit.coming import COMING
from tests.unit.contract import CONTRACT
from tests.unit.grafana.labels import NONE, Known, Labels, Unknown, labels_of

ROOT = Path(__file__).parents[3]
UIDS = (
    "vedette-fleet",
    "vedette-host",
    "vedette-vulnerabilities",
    "vedette-network",
    "vedette-agent",
)

# Each of a length of its own, so that it is recognised after parsing.
RATE_INTERVAL, RANGE = "241s", "21601s"

# Every series has these from Prometheus; `site` where somebody has set it.
TARGET: Labels = frozenset({"job", "instance", "site"})

# What others expose: Prometheus of its scrapes and alerts, the Pushgateway of its groups, the
# client library of its process; and what rules rendered from an inventory say.
OTHERS: Known = {
    "up": TARGET,
    "scrape_duration_seconds": TARGET,
    "scrape_samples_scraped": TARGET,
    "ALERTS": TARGET | {"alertname", "alertstate", "severity"},
    "push_time_seconds": TARGET,
    "push_failure_time_seconds": TARGET,
    "pushgateway_http_requests_total": TARGET | {"code", "handler", "method"},
    "process_resident_memory_bytes": TARGET,
    "process_cpu_seconds_total": TARGET,
    "vedette_expected_host": TARGET | {"mode"},
    # of the agent, but only with a web configuration
    "vedette_http_refusals_total": TARGET | {"reason"},
}

Json = dict[str, Any]


def board(uid: str, flavour: str = "dashboards") -> Json:
    """Return a committed board."""
    text = (ROOT / "grafana" / flavour / f"{uid}.json").read_text(encoding="utf-8")
    loaded: Json = json.loads(text)
    return loaded


def panels(of: Json) -> list[Json]:
    """Return all panels, those of collapsed rows too, without the rows."""
    found = [inner for panel in of["panels"] for inner in (panel, *panel.get("panels", ()))]
    return [panel for panel in found if panel["type"] != "row"]


def targets(of: Json) -> Iterator[tuple[Json, Json]]:
    """Yield each query with its panel."""
    for panel in panels(of):
        for target in panel["targets"]:
            yield panel, target


def filled(expr: str) -> str:
    """PromQL with a value for each variable."""
    return substituted(
        expr,
        {
            "__rate_interval": RATE_INTERVAL,
            "__range": RANGE,
            "job": "JOB",
            "site": "SITE",
            "instance": "INSTANCE",
        },
    )


@cache
def parsed(expr: str) -> Any:
    """Return the tree of a query, its variables filled in. Raises ValueError."""
    return promql_parser.parse(filled(expr))


@cache
def rules() -> list[Json]:
    """Return all rules of Prometheus, recorded ones and alerts."""
    return [
        rule
        for file in sorted((ROOT / "prometheus" / "rules").glob("*.yml"))
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]


def exposed() -> dict[str, Labels]:
    """{metric of the contract: its labels}, those to come included."""
    return {name: labels for name, (_, labels) in {**CONTRACT, **COMING}.items()}


def known_metrics(contract: Known) -> dict[str, Labels]:
    """{metric of the contract, or recorded from it: the labels that it can have}.

    What is recorded from something unknown is unknown as well.
    """
    known = {**{name: labels | TARGET for name, labels in contract.items()}, **OTHERS}
    records = [rule for rule in rules() if "record" in rule]
    for rule in records:
        if rule["record"] in rule["expr"]:
            known[rule["record"]] = NONE  # it remembers itself: what else it is made of tells
    before: dict[str, Labels] = {}
    while known != before:
        before = dict(known)
        for rule in records:
            with suppress(Unknown):
                found = labels_of(parsed(rule["expr"]), known) | frozenset(rule.get("labels", ()))
                known[rule["record"]] = known.get(rule["record"], NONE) | found
    return known
