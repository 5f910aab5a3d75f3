"""The rules of Grafana's dashboard-linter, by their names there, over all our panels.

https://github.com/grafana/dashboard-linter. That one looks at some kinds of panel only, and not
into rows; these look at all. What is excused stands in EXCUSED, with its reason, and nothing that
needs no excuse may stand there.
"""

from collections.abc import Callable, Iterator
from typing import Any

import promql_parser as promql
import pytest

from tests.unit.grafana.boards import RATE_INTERVAL, UIDS, Json, board, panels, parsed, targets

Faults = Iterator[tuple[str, str]]  # (title of the panel, or "" for the board; what is wrong)

_ALL_HOSTS = "the board of all hosts has no variable for one: a host has a board of its own"
_RECORDED = "recorded of a whole fleet, that it loads fast with 1,000 hosts"
_ALERTS = "an alert about a Pushgateway, or about nothing that could be scraped, has other labels"

# {rule: {uid: {title of the panel, "" for the board, "*" for all its panels: why}}}
EXCUSED: dict[str, dict[str, dict[str, str]]] = {
    "template-instance-rule": {"vedette-fleet": {"": _ALL_HOSTS}},
    "target-job-rule": {
        "vedette-fleet": {"Critical alerts": _ALERTS, "Which alerts fire?": _ALERTS},
    },
    "target-instance-rule": {
        "vedette-fleet": {"*": _ALL_HOSTS},
        "vedette-vulnerabilities": {
            "Which findings are most widespread?": _RECORDED,
            "Which products have them?": _RECORDED,
            "Do they become fewer?": _RECORDED,
        },
    },
}

# Of the linter's list, those that we use.
UNITS = {"none", "short", "percentunit", "bytes", "bps", "Bps", "pps", "rpm", "s"}


def variables(of: Json, kind: str) -> list[Json]:
    return [one for one in of["templating"]["list"] if one["type"] == kind]


def template_datasource(of: Json) -> Faults:
    """One variable for the data source, called as people expect."""
    found = [(v["name"], v["label"], v["query"]) for v in variables(of, "datasource")]
    if found != [("datasource", "Data source", "prometheus")]:
        yield "", f"data source: {found}"


def _template(of: Json, name: str) -> Faults:
    found = [one for one in variables(of, "query") if one["name"] == name]
    if len(found) != 1:
        yield "", f"{len(found)} variables {name}"
    for one in found:
        if one["datasource"]["uid"] != "${datasource}":
            yield "", f"{name} asks {one['datasource']}"
        if (one["label"], one["multi"], one["allValue"]) != (name.title(), True, ".+"):
            yield "", f"{name}: label, multi or allValue"


def template_job(of: Json) -> Faults:
    """A variable for the job, of several values."""
    yield from _template(of, "job")


def template_instance(of: Json) -> Faults:
    """A variable for the instance, of several values."""
    yield from _template(of, "instance")


def template_label_promql(of: Json) -> Faults:
    """Variables are asked for by a function that there is, over PromQL."""
    for one in variables(of, "query"):
        function, _, rest = one["query"].partition("(")
        if function != "label_values":
            yield "", f"{one['name']}: {function}"
        try:
            parsed(rest.rpartition(",")[0])
        except ValueError as exc:
            yield "", f"{one['name']}: {exc}"


def template_on_time_change_reload(of: Json) -> Faults:
    """Variables are asked for anew when the time range changes: hosts come and go."""
    for one in variables(of, "query"):
        if one["refresh"] != 2:
            yield "", one["name"]


def panel_datasource(of: Json) -> Faults:
    """Every panel asks the data source that is chosen on top."""
    for panel in panels(of):
        if panel["datasource"]["uid"] != "${datasource}":
            yield panel["title"], str(panel["datasource"])


def panel_title_description(of: Json) -> Faults:
    """Every panel has both."""
    for panel in panels(of):
        if not (panel.get("title") and panel.get("description")):
            yield panel.get("title", ""), "no title or no description"


def panel_units(of: Json) -> Faults:
    """Every panel has a unit that Grafana knows, and so has every column that has one."""
    for panel in panels(of):
        overrides = panel["fieldConfig"]["overrides"]
        found = {panel["fieldConfig"]["defaults"].get("unit")} | {
            one["value"] for each in overrides for one in each["properties"] if one["id"] == "unit"
        }
        if not found <= UNITS:
            yield panel["title"], str(found - UNITS)


def panel_no_targets(of: Json) -> Faults:
    """Every panel asks something."""
    for panel in panels(of):
        if not panel.get("targets"):
            yield panel["title"], "no targets"


def target_promql(of: Json) -> Faults:
    """Every query is PromQL."""
    for panel, target in targets(of):
        try:
            parsed(target["expr"])
        except ValueError as exc:
            yield panel["title"], str(exc)


def _nodes(of: Json) -> Iterator[tuple[str, list[Any]]]:
    """Yield (title, the nodes from the root to one) for each node of each query."""
    for panel, target in targets(of):
        for path in _paths(parsed(target["expr"]), []):
            yield panel["title"], path


def _paths(node: Any, above: list[Any]) -> Iterator[list[Any]]:
    path = [*above, node]
    yield path
    inner = [getattr(node, name, None) for name in ("expr", "lhs", "rhs", "param")]
    vector = [node.vector_selector] if isinstance(node, promql.MatrixSelector) else []
    for child in (*inner, *vector, *getattr(node, "args", ())):
        if child is not None:
            yield from _paths(child, path)


def target_rate_interval(of: Json) -> Faults:
    """A rate takes $__rate_interval: any other range is too short or too long for somebody."""
    ours = promql.parse_duration(RATE_INTERVAL)
    for title, path in _nodes(of):
        if isinstance(path[-1], promql.MatrixSelector) and isinstance(path[-2], promql.Call):
            function = path[-2].func.name
            if function in {"rate", "irate"} and path[-1].range != ours:
                yield title, path[-2].prettify()


def _matcher(of: Json, name: str) -> Faults:
    for title, path in _nodes(of):
        if isinstance(path[-1], promql.VectorSelector):
            found = {str(matcher) for matcher in path[-1].matchers.matchers}
            if f'{name}=~"{name.upper()}"' not in found:
                yield title, str(path[-1])


def target_job(of: Json) -> Faults:
    """Every selector has job=~"$job"."""
    yield from _matcher(of, "job")


def target_instance(of: Json) -> Faults:
    """Every selector has instance=~"$instance"."""
    yield from _matcher(of, "instance")


def target_counter_agg(of: Json) -> Faults:
    """A counter is shown as its rate or increase: since when it counts, nobody knows."""
    for title, path in _nodes(of):
        if isinstance(path[-1], promql.VectorSelector) and str(path[-1].name).endswith("_total"):
            *_, call, _, selector = [None, None, *path]
            if not isinstance(call, promql.Call) or call.func.name not in {
                "rate",
                "irate",
                "increase",
            }:
                yield title, str(selector)


def uneditable(of: Json) -> Faults:
    """What is provisioned is changed in its source."""
    if of["editable"]:
        yield "", "editable"


def target_logql(of: Json) -> Faults:
    """There is no LogQL to be wrong: every query goes to a Prometheus."""
    for panel, target in targets(of):
        if target["datasource"]["type"] != "prometheus":
            yield panel["title"], str(target["datasource"])


RULES: dict[str, Callable[[Json], Faults]] = {
    "template-datasource-rule": template_datasource,
    "template-job-rule": template_job,
    "template-instance-rule": template_instance,
    "template-label-promql-rule": template_label_promql,
    "template-on-time-change-reload-rule": template_on_time_change_reload,
    "panel-datasource-rule": panel_datasource,
    "panel-title-description-rule": panel_title_description,
    "panel-units-rule": panel_units,
    "panel-no-targets-rule": panel_no_targets,
    "target-promql-rule": target_promql,
    "target-rate-interval-rule": target_rate_interval,
    "target-job-rule": target_job,
    "target-instance-rule": target_instance,
    "target-counter-agg-rule": target_counter_agg,
    "uneditable-dashboard": uneditable,
    "target-logql-rule": target_logql,
    "target-logql-auto-rule": target_logql,  # asks for $__auto in LogQL
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("uid", UIDS)
def test_the_linter_has_nothing_to_say_that_is_not_excused(uid: str, rule: str) -> None:
    """And every excuse is needed."""
    faults = list(RULES[rule](board(uid)))
    excused = EXCUSED.get(rule, {}).get(uid, {})

    assert [fault for fault in faults if not {fault[0], "*"} & excused.keys()] == []
    assert excused.keys() - {title for title, _ in faults} - {"*"} == set()
    assert "*" not in excused or faults


BROKEN: dict[str, Callable[[Json], Any]] = {
    "template-datasource-rule": lambda of: of["templating"]["list"][0].update(name="ds"),
    "template-job-rule": lambda of: of["templating"]["list"][1].update(allValue=".*"),
    "template-instance-rule": lambda of: of["templating"]["list"][3].update(name="node"),
    "template-label-promql-rule": lambda of: of["templating"]["list"][1].update(
        query="label_values(vedette_build_info{, job)"
    ),
    "template-on-time-change-reload-rule": lambda of: of["templating"]["list"][1].update(refresh=1),
    "panel-datasource-rule": lambda of: of["panels"][0]["datasource"].update(uid="x"),
    "panel-title-description-rule": lambda of: of["panels"][0].update(description=""),
    "panel-units-rule": lambda of: of["panels"][0]["fieldConfig"]["defaults"].update(unit="x"),
    "panel-no-targets-rule": lambda of: of["panels"][0].update(targets=[]),
    "target-promql-rule": lambda of: _ask(of, "sum(("),
    "target-rate-interval-rule": lambda of: _ask(of, "rate(vedette_job_runs_total[5m])"),
    "target-job-rule": lambda of: _ask(of, 'vedette_load1{job="$job"}'),
    "target-instance-rule": lambda of: _ask(of, "vedette_load1"),
    "target-counter-agg-rule": lambda of: _ask(of, "sum(vedette_job_runs_total)"),
    "uneditable-dashboard": lambda of: of.update(editable=True),
    "target-logql-rule": lambda of: of["panels"][0]["targets"][0]["datasource"].update(type="loki"),
    "target-logql-auto-rule": lambda of: of["panels"][0]["targets"][0]["datasource"].update(
        type="loki"
    ),
}


def _ask(of: Json, expr: str) -> None:
    of["panels"][0]["targets"][0]["expr"] = expr


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_notices_what_it_is_for(rule: str) -> None:
    """On a board that needs no excuses."""
    of = board("vedette-host")
    assert list(RULES[rule](of)) == []

    BROKEN[rule](of)

    assert list(RULES[rule](of)) != []
