"""The kinds of panel that the boards are made of, each dressed the same way.

A query is PromQL. `{…}` in it becomes the board's variables: `metric{instances}` reads
`metric{job=~"$job", site=~"$site", instance=~"$instance"}`, `{hosts}` the same without the
instance, for what is recorded of a whole fleet. `{fresh}` leaves out what a host pushed that has
fallen silent since: a Pushgateway shows it for ever.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as look
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import prometheus as promql

DATASOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")

Panel = timeseries.Panel | stat.Panel | table.Panel | bargauge.Panel
P = TypeVar("P", timeseries.Panel, stat.Panel, table.Panel, bargauge.Panel)
Steps = Sequence[tuple[float | None, str]]

# What the colours mean, everywhere: CVSS's levels; one is too many; a share that fills up.
RISK: Steps = ((None, "green"), (4, "yellow"), (7, "orange"), (9, "red"))
ANY: Steps = ((None, "green"), (1, "red"))
SOME: Steps = ((None, "green"), (1, "yellow"))
FULL: Steps = ((None, "green"), (0.8, "yellow"), (0.9, "red"))
MISSING: Steps = ((None, "red"), (1, "green"))
PLAIN: Steps = ((None, "blue"),)

SEVERITY_COLOURS = {
    "critical": "red",
    "high": "orange",
    "medium": "yellow",
    "low": "green",
    "warning": "orange",
    "info": "blue",
}


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and how its series are called in a legend."""

    expr: str
    legend: str = "__auto"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: a label, or `Value` (`Value #B` where there are several queries)."""

    field: str
    title: str
    unit: str = ""
    steps: Steps = ()
    decimals: int | None = None
    words: Mapping[str, tuple[str, str]] | None = None  # {value: (text, colour)}
    link: tuple[str, str] | None = None  # (what it does, URL)
    width: int | None = None


def expanded(expr: str) -> str:
    """PromQL with the board's variables in the place of {instances}, {hosts} and {fresh}."""
    stale = "instance:vedette_push_age_seconds:stale{instances}"
    expr = expr.replace("{fresh}", f" unless on (instance) {stale}")
    hosts = 'job=~"$job", site=~"$site"'
    every = f'{hosts}, instance=~"$instance"'
    for name, matchers in (("instances", every), ("hosts", hosts)):
        expr = expr.replace(f"{{{name}}}", f"{{{matchers}}}").replace(
            f"{{{name}, ", f"{{{matchers}, "
        )
    return " ".join(expr.split())


def time_series(
    title: str,
    description: str,
    unit: str,
    queries: Sequence[Query],
    *,
    width: int = 12,
    height: int = 8,
    steps: Steps = (),
    stacked: bool = False,
    coloured: bool = False,
    every: str = "",
    highest: float | None = None,
) -> timeseries.Panel:
    """Lines over time. stacked: areas that add up. coloured: by severity. every: the least step."""
    panel = (
        _dressed(timeseries.Panel(), title, description, unit=unit, width=width, height=height)
        .fill_opacity(30 if stacked else 8)
        .line_width(1)
        .show_points(look.VisibilityMode.NEVER)
        .axis_soft_min(0)
        .tooltip(
            common.VizTooltipOptions()
            .mode(look.TooltipDisplayMode.MULTI)
            .sort(look.SortOrder.DESCENDING)
        )
        .legend(
            common.VizLegendOptions()
            .show_legend(show_legend=True)
            .display_mode(look.LegendDisplayMode.LIST)
            .placement(look.LegendPlacement.BOTTOM)
        )
        .targets([_target(query, number) for number, query in enumerate(queries)])
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(look.StackingMode.NORMAL).group("A"))
    if steps:
        panel.thresholds(_thresholds(steps)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(look.GraphThresholdsStyleMode.DASHED)
        )
    else:
        panel.thresholds(_thresholds(((None, "green"),)))
    if coloured:
        for name, colour in SEVERITY_COLOURS.items():
            fixed = {"mode": "fixed", "fixedColor": colour}
            panel.override_by_name(name, [model.DynamicConfigValue("color", fixed)])
    if every:
        panel.interval(every)
    if highest is not None:
        panel.max(highest)
    return panel


def single(
    title: str,
    description: str,
    unit: str,
    expr: str,
    *,
    steps: Steps = PLAIN,
    width: int = 3,
    height: int = 4,
    legend: str = "",
    words: Mapping[str, tuple[str, str]] | None = None,
    link: tuple[str, str] | None = None,
) -> stat.Panel:
    """One number, now."""
    panel = (
        _dressed(stat.Panel(), title, description, unit=unit, width=width, height=height)
        .graph_mode(look.BigValueGraphMode.NONE)
        .color_mode(look.BigValueColorMode.VALUE)
        .text_mode(look.BigValueTextMode.NAME if legend else look.BigValueTextMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(steps))
        .targets([_target(Query(expr, legend or "__auto"), 0, instant=True)])
    )
    if words:
        panel.mappings([_mapping(words)])
    if link:
        panel.data_links([_link(*link)])
    return panel


def bars(
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    steps: Steps = PLAIN,
    width: int = 8,
    height: int = 8,
    link: tuple[str, str] | None = None,
    highest: float | None = None,
) -> bargauge.Panel:
    """One bar for each series, now, the longest first."""
    panel = (
        _dressed(bargauge.Panel(), title, description, unit=unit, width=width, height=height)
        .orientation(look.VizOrientation.HORIZONTAL)
        .display_mode(look.BarGaugeDisplayMode.BASIC)
        .value_mode(look.BarGaugeValueMode.TEXT)
        .show_unfilled(show_unfilled=True)
        .min(0)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(steps))
        .targets([_target(query, 0, instant=True)])
    )
    if link:
        panel.data_links([_link(*link)])
    if highest is not None:
        panel.max(highest)
    return panel


def rows(
    title: str,
    description: str,
    queries: Sequence[str],
    columns: Sequence[Column],
    *,
    sort: tuple[str, bool] | None = None,
    width: int = 12,
    height: int = 9,
) -> table.Panel:
    """A table: the series of all queries, those with the same labels in one row.

    Only `columns` are shown, in their order. sort: (title of a column, whether descending).
    """
    panel = (
        _dressed(table.Panel(), title, description, unit="none", width=width, height=height)
        .show_header(show_header=True)
        .cell_height(look.TableCellHeight.SM)
        .filterable(filterable=True)
        .thresholds(_thresholds(((None, "text"),)))
        .targets(
            [
                _target(Query(expr), number, instant=True).format(promql.PromQueryFormat.TABLE)
                for number, expr in enumerate(queries)
            ]
        )
    )
    if len(queries) > 1:
        panel.with_transformation(model.DataTransformerConfig("merge", options={}))
    names = [column.field for column in columns]
    panel.with_transformation(
        model.DataTransformerConfig("filterFieldsByName", options={"include": {"names": names}})
    ).with_transformation(
        model.DataTransformerConfig(
            "organize",
            options={
                "excludeByName": {},
                "indexByName": {name: number for number, name in enumerate(names)},
                "renameByName": {column.field: column.title for column in columns},
            },
        )
    )
    for column in columns:
        if properties := list(_properties(column)):
            panel.override_by_name(column.title, properties)
    if sort:
        panel.sort_by([common.TableSortByFieldState().display_name(sort[0]).desc(sort[1])])
    return panel


def _dressed(panel: P, title: str, description: str, *, unit: str, width: int, height: int) -> P:
    """What every panel has. Its id follows from its title: links to it outlive its neighbours."""
    panel.title(title).description(description).unit(unit).datasource(DATASOURCE)
    panel.id(zlib.crc32(title.encode()) % 1_000_000).span(width).height(height)
    return panel


def _target(query: Query, number: int, *, instant: bool = False) -> prometheus.Dataquery:
    target = (
        prometheus.Dataquery()
        .ref_id(chr(ord("A") + number))
        .datasource(DATASOURCE)
        .expr(expanded(query.expr))
        .legend_format(query.legend)
        .editor_mode(promql.QueryEditorMode.CODE)
    )
    return target.instant() if instant else target.range()


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps([model.Threshold(value=value, color=colour) for value, colour in steps])
    )


def _mapping(words: Mapping[str, tuple[str, str]]) -> model.ValueMap:
    return model.ValueMap(
        options={
            value: model.ValueMappingResult(text=text, color=colour, index=index)
            for index, (value, (text, colour)) in enumerate(words.items())
        }
    )


def _link(title: str, url: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink(title).url(url)


def _properties(column: Column) -> Sequence[model.DynamicConfigValue]:
    values: list[tuple[str, object]] = []
    if column.unit:
        values.append(("unit", column.unit))
    if column.decimals is not None:
        values.append(("decimals", column.decimals))
    if column.words:
        values.append(("mappings", [_mapping(column.words)]))
    if column.steps:
        steps = [{"value": value, "color": colour} for value, colour in column.steps]
        values.append(("thresholds", {"mode": "absolute", "steps": steps}))
    if column.steps or column.words:
        values.append(("custom.cellOptions", {"type": "color-text"}))
    if column.link:
        title, url = column.link
        values.append(("links", [{"title": title, "url": url}]))
    if column.width:
        values.append(("custom.width", column.width))
    return [model.DynamicConfigValue(name, value) for name, value in values]
