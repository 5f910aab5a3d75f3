"""What boards and rules ask Prometheus for is there: every metric, every label, and the reverse.

Without data: from the contract, and from what the rules make of it.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import promql_parser
import pytest

from tests.unit.coming import COMING
from tests.unit.contract import CONTRACT
from tests.unit.grafana.boards import (
    UIDS,
    board,
    exposed,
    filled,
    known_metrics,
    panels,
    parsed,
    rules,
    targets,
)
from tests.unit.grafana.labels import Known, Unknown, labels_of

# Exposed, but on no board and in no rule.
UNUSED: dict[str, str] = {
    "vedette_capture_shed_frames_total": "says, on one host, why an event may be missing"
}

boards = pytest.mark.parametrize("uid", UIDS)


@cache
def known() -> Known:
    return known_metrics(exposed())


def expressions(uid: str) -> Iterator[tuple[str, str]]:
    """Yield (where, PromQL) of all panels, variables and annotations of a board."""
    of = board(uid)
    for panel, target in targets(of):
        yield panel["title"], target["expr"]
    for variable in of["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
            assert found, variable["query"]
            yield f"variable {variable['name']}", f"count by ({found[2]}) ({found[1]})"
    for annotation in of["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


@cache
def everything() -> list[tuple[str, str]]:
    """Return (where, PromQL) of all boards and rules."""
    return [
        *((f"{uid}: {where}", expr) for uid in UIDS for where, expr in expressions(uid)),
        *((rule.get("record") or rule["alert"], rule["expr"]) for rule in rules()),
    ]


def faults(known: Known) -> list[str]:
    """What asks for a metric or a label that is not there."""
    found = []
    for where, expr in everything():
        try:
            labels_of(parsed(expr), known)
        except Unknown as exc:
            found.append(f"{where}: {exc}")
    return found


def names() -> set[str]:
    """Return all metrics that anything asks for."""
    found: set[str] = set()

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.add(str(node.name))
        return True

    for _, expr in everything():
        promql_parser.walk(parsed(expr), visit)
    return found


def test_every_metric_and_label_that_is_asked_for_is_there() -> None:
    """Of panels, variables, annotations, recorded series and alerts."""
    assert faults(known()) == []


def test_every_recorded_series_can_be_recorded() -> None:
    """None is made of something that nobody exposes."""
    recorded = {rule["record"] for rule in rules() if "record" in rule}

    assert recorded <= known().keys()


def test_every_metric_is_used_or_listed() -> None:
    """A metric that nobody looks at costs every host a series for nothing."""
    assert exposed().keys() - names() == UNUSED.keys()


def test_a_metric_is_exposed_or_to_come() -> None:
    """Once it is exposed it leaves the list of those to come."""
    assert CONTRACT.keys() & COMING.keys() == set()


@pytest.mark.parametrize("name", sorted(exposed().keys() - UNUSED.keys()))
def test_a_renamed_metric_is_noticed(name: str) -> None:
    """Each of them: by a board, a rule or an alert that asks for the old name."""
    renamed = {f"{name}_renamed" if one == name else one: of for one, of in exposed().items()}

    assert any(name in fault for fault in faults(known_metrics(renamed)))


@pytest.mark.parametrize(
    ("expr", "fault"),
    [
        ('vedette_open_ports{adress="x"}', "no label adress"),
        ("sum by (adress) (vedette_open_ports)", "no label adress"),
        ("sum without (adress) (vedette_open_ports)", "no label adress"),
        ("vedette_load1 * on (address) vedette_host_risk_score", "no label address"),
        ("vedette_load1 * on (job) group_left (address) vedette_load5", "no label address"),
        ("sum by (job) (vedette_load1) and on (instance) vedette_load5", "no label instance"),
        ('label_replace(vedette_load1, "a", "$1", "adress", ".*")', "no label adress"),
        ("rate(vedette_load[5m])", "no metric vedette_load"),
    ],
)
def test_a_wrong_label_is_noticed(expr: str, fault: str) -> None:
    """In matchers, aggregations and joins."""
    with pytest.raises(Unknown, match=fault):
        labels_of(promql_parser.parse(expr), known())


@boards
def test_legends_and_columns_name_labels_that_the_query_brings(uid: str) -> None:
    """A legend {{adress}} or a column that no query has would stay empty."""
    for panel in panels(board(uid)):
        brought: set[str] = set()
        for target in panel["targets"]:
            labels = labels_of(parsed(target["expr"]), known())
            brought |= labels
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels, panel["title"]
        if panel["type"] == "table":
            several = len(panel["targets"]) > 1
            values = {f"Value #{t['refId']}" for t in panel["targets"]} if several else {"Value"}
            columns = panel["transformations"][-2]["options"]["include"]["names"]
            assert set(columns) <= brought | values, panel["title"]


@boards
def test_several_queries_of_a_table_meet_in_one_row(uid: str) -> None:
    """Grafana merges rows by the labels they share: those of each query must be of the first's."""
    for panel in panels(board(uid)):
        if panel["type"] == "table":
            first, *others = (labels_of(parsed(t["expr"]), known()) for t in panel["targets"])
            for other in others:
                assert other <= first, panel["title"]


@boards
def test_links_name_fields_that_the_panel_has(uid: str) -> None:
    """${__field.labels.instance} needs a query that brings the instance."""
    for panel in panels(board(uid)):
        for link in panel["fieldConfig"]["defaults"].get("links", ()):
            for label in re.findall(r"\$\{__field\.labels\.(\w+)\}", link["url"]):
                assert label in labels_of(parsed(panel["targets"][0]["expr"]), known())


def test_no_variable_is_left_unfilled() -> None:
    """What the tests fill in is all there is: $job, $site, $instance, and Grafana's own two."""
    for where, expr in everything():
        if where.startswith("vedette-"):
            assert "$" not in filled(expr), where
