"""A board around its panels: variables, links, the grid, and both flavours of its JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from grafana.boards.panels import DATASOURCE, Panel, expanded

GRID = 24
RUNBOOK = "https://example.org/vedette/RUNBOOK.md"  # as in prometheus/rules/
TITLES = {
    "vedette-fleet": "Vedette / Fleet overview",
    "vedette-host": "Vedette / Host",
    "vedette-vulnerabilities": "Vedette / Vulnerabilities",
    "vedette-network": "Vedette / Network",
    "vedette-agent": "Vedette / Agent",
}

# What a link hands on: the data source, the time range, and the variables that the target has.
_HAND_ON = "${datasource:queryparam}&${__url_time_range}"
TO_HOST = (
    "Look at this host",
    f"/d/vedette-host?var-instance=${{__data.fields.instance}}&var-job=$__all&{_HAND_ON}",
)
TO_HOST_OF_CELL = (
    "Look at this host",
    f"/d/vedette-host?var-instance=${{__value.raw}}&var-job=$__all&{_HAND_ON}",
)
TO_HOST_OF_BAR = (
    "Look at this host",
    f"/d/vedette-host?var-instance=${{__field.labels.instance}}&var-job=$__all&{_HAND_ON}",
)
_CHOSEN = "${job:queryparam}&${site:queryparam}"
TO_VULNERABILITIES = ("Which are they?", f"/d/vedette-vulnerabilities?{_CHOSEN}&{_HAND_ON}")
TO_VULNERABILITIES_HERE = (
    "Which are they?",
    f"/d/vedette-vulnerabilities?{_CHOSEN}&${{instance:queryparam}}&{_HAND_ON}",
)
TO_AGENT = ("Look at the agents", f"/d/vedette-agent?{_CHOSEN}&{_HAND_ON}")


@dataclass(frozen=True, slots=True)
class Section:
    """Panels that belong together. Without a title they stand on top, without a row."""

    title: str
    panels: Sequence[Panel]
    collapsed: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """What a module of this package says of its board."""

    uid: str
    description: str
    sections: Sequence[Section]
    instance: str = "all"  # what its variable starts with: all, one (the first); none: no variable
    since: str = "now-6h"
    annotations: Sequence[tuple[str, str, str]] = ()  # (name, colour, PromQL)


def built(board: Board) -> dict[str, Any]:
    """The dashboard for Grafana's provisioning."""
    made = (
        dashboard.Dashboard(TITLES[board.uid])
        .uid(board.uid)
        .description(board.description)
        .tags(["vedette"])
        .readonly()
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .time(board.since, "now")
        .refresh("1m")
        .variables(_variables(board.instance))
        .links([_other_boards()])
        .annotations([_annotation(*annotation) for annotation in board.annotations])
    )
    _lay_out(made, board.sections)
    return {"id": None, **json.loads(json.dumps(made.build(), cls=JSONEncoder))}


def for_import(provisioned: dict[str, Any]) -> dict[str, Any]:
    """The same for *Dashboards > New > Import*, which asks for the data source once.

    Grafana fills `__inputs` in at the import alone: a provisioned file must not have them.
    """
    panels = [q for p in provisioned["panels"] for q in (p, *p.get("panels", ()))]
    text = json.dumps(provisioned).replace("${datasource}", "${DS_PROMETHEUS}")
    text = text.replace("${datasource:queryparam}&", "")
    board = json.loads(text)
    variables = board["templating"]["list"]
    board["templating"]["list"] = [v for v in variables if v["type"] != "datasource"]
    return {
        "__inputs": [
            {
                "name": "DS_PROMETHEUS",
                "label": "Prometheus",
                "description": "The Prometheus that has vedette's metrics and recorded series.",
                "type": "datasource",
                "pluginId": "prometheus",
                "pluginName": "Prometheus",
            }
        ],
        "__requires": [
            {"type": "grafana", "id": "grafana", "name": "Grafana", "version": "10.0.0"},
            {"type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0"},
            *(
                {"type": "panel", "id": kind, "name": kind, "version": ""}
                for kind in sorted({p["type"] for p in panels} - {"row"})
            ),
        ],
        **board,
    }


def _variables(instance: str) -> list[Any]:
    variables: list[Any] = [
        dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        _variable("job", "label_values(vedette_build_info, job)", ".+"),
        # A fleet need not have sites: .* also matches the series without that label.
        _variable("site", 'label_values(vedette_build_info{job=~"$job"}, site)', ".*"),
    ]
    if instance != "none":
        found = expanded("label_values(vedette_build_info{hosts}, instance)")
        variables.append(_variable("instance", found, ".+", all_at_first=instance == "all"))
    return variables


def _variable(
    name: str, found: str, everything: str, *, all_at_first: bool = True
) -> dashboard.QueryVariable:
    variable = (
        dashboard.QueryVariable(name)
        .label(name.title())
        .datasource(DATASOURCE)
        .query(found)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=all_at_first)
        .all_value(everything)
    )
    if all_at_first:
        variable.current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
    return variable


def _other_boards() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("Vedette")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags(["vedette"])
        .as_dropdown(as_dropdown=True)
        .include_vars(include_vars=True)
        .keep_time(keep_time=True)
        .icon("external link")
        .tooltip("The other boards of vedette")
    )


def _annotation(name: str, colour: str, expr: str) -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(DATASOURCE)
        .enable(enable=True)
        .icon_color(colour)
        .expr(expanded(expr))
    )


def _lay_out(made: dashboard.Dashboard, sections: Sequence[Section]) -> None:
    """Place the panels from left to right, a new line where one does not fit."""
    y = 0
    for section in sections:
        if section.title:
            row = dashboard.Row(section.title).collapsed(collapsed=section.collapsed)
            row.id(max(_ids(section.panels)) + 1_000_000)
            row.grid_pos(model.GridPos(h=1, w=GRID, x=0, y=y))
            y += 1
        bottom = _place(section.panels, y)
        if section.title and section.collapsed:
            for panel in section.panels:
                row.with_panel(panel)
            made.with_row(row)
            continue  # its panels take no room until it is opened
        if section.title:
            made.with_row(row)
        for panel in section.panels:
            made.with_panel(panel)
        y = bottom


def _place(panels: Sequence[Panel], y: int) -> int:
    x = height = 0
    for panel in panels:
        position = panel.build().grid_pos
        if position is None:
            raise ValueError("a panel without a size")
        if x + position.w > GRID:
            x, y, height = 0, y + height, 0
        panel.grid_pos(model.GridPos(h=position.h, w=position.w, x=x, y=y))
        x += position.w
        height = max(height, position.h)
    return y + height


def _ids(panels: Sequence[Panel]) -> list[int]:
    return [panel.build().id_val or 0 for panel in panels]
