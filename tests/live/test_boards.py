"""Each panel and each alert asks a real Prometheus, which real agents fill, and gets an answer."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.alerting.links import measured, panels_of, records
from grafana.alerting.rules import alerts
from grafana.promql import names, selectors, substituted
from tests.boards_may_be_empty import CALM, MAY_BE_EMPTY, MONTH, NO_CERTIFICATE, QUIET
from tests.live.netns import wait_for
from tests.live.receivers import Receiver
from tests.live.running import FIGURES
from tests.live.small_fleet import small_fleet
from tests.live.stories import beside
from tests.unit.coming import COMING

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
BOARDS = [json.loads(file.read_text()) for file in (ROOT / "grafana/dashboards").glob("*.json")]
RULES = [yaml.safe_load(file.read_text()) for file in (ROOT / "prometheus/rules").glob("*.yml")]
ALERTS = alerts(RULES)
RECORDS = records(RULES)
# What Grafana would put in, short as our intervals are.
BUILT_IN = {"__rate_interval": "15s", "__interval": "2s", "__range": "1m", "__range_s": "60"}
# What an alert compares with needs more of a past than we have.
NEEDS_TIME = {
    "instance_service:vedette_service_bytes:rate30m_avg1w": "a day of half-hours",
    "instance_service:vedette_service_bytes:rate30m_stddev1w": "a day of half-hours",
}


@dataclass(frozen=True, slots=True)
class Question:
    """One query. what: who asks it. spans: over a time, as a graph does."""

    what: tuple[str, str]
    query: str
    spans: bool = False

    def has_answer(self, prometheus: Receiver) -> bool:
        """Whether it gets a number. Fails if it is refused."""
        if self.spans:
            now = time.time()
            span = {"start": str(now - 60), "end": str(now), "step": "2"}
            found = prometheus.get("/api/v1/query_range", query=self.query, **span)
        else:
            found = prometheus.get("/api/v1/query", query=self.query)
        series = found["data"]["result"]
        values = [point for one in series for point in one.get("values", [one.get("value")])]
        return any(not isnan(float(value)) for _, value in values)


def questions_of_panels() -> Iterator[Question]:
    """Yield the queries of all boards, for one host where they want one, else for all."""
    for board in BOARDS:
        own = {
            variable["name"]: variable["allValue"] if variable["includeAll"] else "web1"
            for variable in board["templating"]["list"]
            if variable["type"] == "query"
        }
        for panel in panels_of(board):
            for target in panel["targets"]:
                query = substituted(target["expr"], {**BUILT_IN, **own})
                yield Question((board["uid"], panel["title"]), query, not target.get("instant"))


def questions_of_alerts() -> Iterator[Question]:
    """Yield what each alert looks at: of itself it should return nothing when all is well."""
    for alert in ALERTS:
        for selector in selectors(alert["expr"]):
            bare = re.sub(r" offset .*", "", selector.prettify())
            query = f"count(last_over_time({bare}[10m]))"
            yield Question((alert["alert"], str(selector.name)), query)


def may_be_empty(question: Question) -> bool:
    """Whether there is a reason, written down, that it gets no answer."""
    asker, asked = question.what
    metrics = measured(names(question.query), RECORDS)
    return (
        # The other reasons, like a host without an allow-list, are none here.
        MAY_BE_EMPTY.get(asker, {}).get(asked) in {CALM, MONTH, NO_CERTIFICATE, QUIET}
        or asked in NEEDS_TIME
        or bool(metrics & set(COMING))
        # Nobody speaks TLS in the small fleet.
        or "vedette_certificate_expiry_timestamp_seconds" in metrics
        # Nothing that is found here must be mended by a day.
        or "vedette_finding_due_timestamp_seconds" in metrics
        # Without knowledge of vulnerabilities, nothing that is found is worse than medium.
        or ("vedette_findings" in metrics and "severity=" in question.query)
    )


@beside
def test_every_panel_and_every_alert_finds_what_it_asks_for() -> None:
    """Exposed, pushed and written hosts; but for what may be empty, with the reason."""
    questions = [*questions_of_panels(), *questions_of_alerts()]
    waiting = [question for question in questions if not may_be_empty(question)]

    def all_answered() -> bool:
        waiting[:] = [question for question in waiting if not question.has_answer(prometheus)]
        return not waiting

    with small_fleet("story-boards") as prometheus:
        try:
            wait_for("answers", all_answered, 60)
        except AssertionError as exc:
            lines = "\n".join(f"{q.what}: {q.query}" for q in waiting)
            raise AssertionError(f"without an answer:\n{lines}") from exc
        answered = {q.what for q in questions if not may_be_empty(q)}
        # The others may be empty, but not wrong.
        answered |= {q.what for q in questions if may_be_empty(q) and q.has_answer(prometheus)}
        for alert in ALERTS:
            prometheus.get("/api/v1/query", query=alert["expr"])
        variables = {
            (board["uid"], variable["name"]): values_of(prometheus, variable["query"])
            for board in BOARDS
            for variable in board["templating"]["list"]
            if variable["type"] == "query"
        }
        groups = prometheus.get("/api/v1/rules")["data"]["groups"]
        log = prometheus.log.read_text()

    panels = {q.what for q in questions_of_panels()}
    FIGURES["panels with data, of all"] = f"{len(panels & answered)} of {len(panels)}"
    assert len(panels) > 100
    assert {p for p in panels - answered if p[1] not in MAY_BE_EMPTY[p[0]]} == set()
    assert all(variables.values()), variables
    assert [rule for group in groups for rule in group["rules"] if rule["health"] != "ok"] == []
    # On a busy machine a tick that comes late makes Prometheus evaluate one moment twice.
    assert [line for line in log.splitlines() if "but same timestamp" not in line] == []


def values_of(prometheus: Receiver, query: dict[str, Any] | str) -> set[str]:
    """Return what a variable of a board can be: label_values(selector, label)."""
    text = query if isinstance(query, str) else query["query"]
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", text)
    assert found, text
    selector = substituted(found[1], {"job": ".+", "site": ".*"})
    series = prometheus.get("/api/v1/series", **{"match[]": selector})["data"]
    return {one[found[2]] for one in series if found[2] in one}
