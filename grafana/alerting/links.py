"""Which panel of which board shows what an alert is about."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from grafana.alerting.rules import Panels, Rule
from grafana.promql import BUILT_IN, names, substituted

Board = Mapping[str, Any]


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


def panels(alerts: Iterable[Rule], boards: Iterable[Board]) -> Panels:
    """Return the panel that has most of an alert's metrics and least beside them, if one has any.

    Of equals the first counts, in the order given and on the board.
    """
    asked = [
        (names_of_panel(board, panel), (board["uid"], panel["id"]))
        for board in boards
        for panel in panels_of(board)
    ]
    found = {}
    for alert in alerts:
        wanted = {name for name in names(alert["expr"]) if "threshold" not in name} - {"up"}
        shared, _, where = max(
            ((len(wanted & shown), -len(shown), where) for shown, where in asked),
            key=lambda one: one[:2],
            default=(0, 0, None),
        )
        if shared and where:
            found[alert["alert"]] = where
    return found


def names_of_panel(board: Board, panel: Mapping[str, Any]) -> set[str]:
    """Return the metrics that a panel shows."""
    values = variables(board)
    return {
        name
        for target in panel.get("targets", ())
        for name in names(substituted(target["expr"], values))
    }
