"""Which panel of which board shows what an alert is about."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from grafana.alerting.rules import Panels, Rule
from grafana.promql import BUILT_IN, names, substituted

Board = Mapping[str, Any]
RuleFile = Mapping[str, Any]

_THRESHOLDS = "vedette:threshold:"
_AGE = "instance:vedette_push_age_seconds:stale"


def panels_of(board: Board) -> Iterator[Mapping[str, Any]]:
    """Yield the panels of a board, those of collapsed rows as well, without the rows."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", ())
        else:
            yield panel


def variables(board: Board) -> dict[str, str]:
    """Return a value for each variable of a board: all of them, whatever there is."""
    own = {variable["name"]: ".*" for variable in board["templating"]["list"]}
    return {**BUILT_IN, **own}


def panels(alerts: Iterable[Rule], boards: Iterable[Board], files: Iterable[RuleFile]) -> Panels:
    """Return the panel that comes closest to an alert's metrics, if one has any of them.

    Of equals the first counts, in the order of the boards and on the board. files: the rules, for
    an alert and a panel may look at the same metrics by series that are recorded differently.
    """
    recorded = records(files)
    shown = [
        (measured(names_of_panel(board, panel), recorded), (board["uid"], panel["id"]))
        for board in boards
        for panel in panels_of(board)
    ]
    found = {}
    for alert in alerts:
        wanted = measured(names(alert["expr"]), recorded)
        best = max(shown, key=lambda one: _closeness(wanted, one[0]), default=None)
        if best and wanted & best[0]:
            found[alert["alert"]] = best[1]
    return found


def records(files: Iterable[RuleFile]) -> dict[str, set[str]]:
    """Return {recorded series: the names that it is made of}."""
    found: dict[str, set[str]] = {}
    for file in files:
        for group in file["groups"]:
            for rule in group["rules"]:
                if "record" in rule:
                    found.setdefault(rule["record"], set()).update(names(rule["expr"]))
    return found


def measured(asked: set[str], recorded: Mapping[str, set[str]]) -> set[str]:
    """Return the metrics behind these names, without thresholds, and without the test for age.

    Unless there is nothing else: nearly everything that is recorded is tested for its age.
    """
    found: set[str] = set()
    waiting = {name for name in asked if not name.startswith(_THRESHOLDS)}
    waiting -= {_AGE} if len(waiting) > 1 else set()
    while waiting:
        name = waiting.pop()
        behind = recorded.get(name)
        if behind is None:
            found.add(name)
        else:
            gate = {_AGE} if len(behind) > 1 else set()
            waiting |= {x for x in behind if not x.startswith(_THRESHOLDS)} - gate - {name}
    return found


def _closeness(one: set[str], other: set[str]) -> float:
    """Return the share of what both have in what either has."""
    return len(one & other) / len(one | other) if one | other else 0.0


def names_of_panel(board: Board, panel: Mapping[str, Any]) -> set[str]:
    """Return the metrics that a panel shows."""
    values = variables(board)
    return {
        name
        for target in panel.get("targets", ())
        for name in names(substituted(target["expr"], values))
    }
