"""Previews of the boards: their own queries, answered by a real Prometheus, drawn by matplotlib.

No Grafana takes part: the pictures show what the queries bring and where the panels lie, roughly
in Grafana's colours, and say so.
"""

import json
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from grafana.promql import substituted

mpl.use("agg")

Json = Mapping[str, Any]
Series = tuple[dict[str, str], list[tuple[float, float]]]  # labels, [(seconds, value)]

_LABEL = "preview, rendered from the dashboard's own queries"
_DPI, _COLUMN, _LINE, _GAP = 100, 70, 34, 8  # in pixels
_BOARD, _PANEL, _TEXT, _FAINT = "#111217", "#1b1d23", "#d0d2d9", "#8e919b"
_COLOURS = {
    "green": "#73bf69", "yellow": "#f2cc0c", "orange": "#ff9830", "red": "#f2495c",
    "blue": "#5794f2", "text": _TEXT,
}  # fmt: skip
_PALETTE = (
    *("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9"),
    *("#37872d", "#8ab8ff", "#e0b400", "#ffa6b0", "#1f60c4", "#96d98d"),
)
_PREFIXES = ("", "k", "M", "G", "T")
_SPANS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"), (0.001, "ms"))


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Where the data is, and which of it: the last `minutes`, of `instance` where one is shown."""

    url: str
    minutes: float
    instance: str

    def asked(self, board: Json, target: Json) -> list[Series]:
        """What it answers to one query of a board, at its end or over the time."""
        end = time.time()
        step = max(self.minutes * 60 / 300, 1)
        values = {
            "__rate_interval": f"{max(4 * step, 60):.0f}s",
            "__range": f"{self.minutes * 60:.0f}s",
            **{
                variable["name"]: variable["allValue"] if variable["includeAll"] else self.instance
                for variable in board["templating"]["list"]
                if variable["type"] == "query"
            },
        }
        asked: dict[str, Any] = {"query": substituted(target["expr"], values)}
        if target.get("instant"):
            path = "query"
            asked["time"] = end
        else:
            path = "query_range"
            asked |= {"start": end - self.minutes * 60, "end": end, "step": step}
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the developer's own
            result = json.load(answer)["data"]["result"]
        return [
            (
                series["metric"],
                [(float(at), float(v)) for at, v in series.get("values", [series.get("value")])],
            )
            for series in result
        ]


def draw(board: Json, prometheus: Prometheus, folder: Path) -> None:
    """Draw a board as it opens, its collapsed rows closed, to <folder>/<uid>.png."""
    panels = board["panels"]
    lines = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in panels)
    width, height = 24 * _COLUMN + _GAP, (lines + 2) * _LINE
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=_BOARD)
    _write(figure, (_GAP / width, 1 - _LINE / height), board["title"], size=14)
    _write(figure, (1 - _GAP / width, 1 - _LINE / height), _LABEL, right=True, colour=_FAINT)
    for panel in panels:
        place = panel["gridPos"]
        left, top = place["x"] * _COLUMN + _GAP, (place["y"] + 1.5) * _LINE
        wide, high = place["w"] * _COLUMN - _GAP, place["h"] * _LINE - _GAP
        if panel["type"] == "row":
            mark = "▸" if panel["collapsed"] else "▾"
            at = (left / width, 1 - (top + high * 0.8) / height)
            _write(figure, at, f"{mark} {panel['title']}", size=11)
            continue
        box = figure.add_axes(
            (left / width, 1 - (top + high) / height, wide / width, high / height),
            facecolor=_PANEL, xticks=[], yticks=[],
        )  # fmt: skip
        box.spines[:].set_color("#2c2f36")
        title = _cut(panel["title"], wide / 8)
        box.text(8 / wide, 1 - 8 / high, title, color=_TEXT, fontsize=10, va="top")
        found = [prometheus.asked(board, target) for target in panel["targets"]]
        _DRAW[panel["type"]](_inner(figure, box), panel, found)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = BytesIO()
    figure.savefig(drawn, facecolor=_BOARD)
    # A palette makes it a third of the size.
    Image.open(drawn).convert("RGB").quantize(256).save(folder / f"{board['uid']}.png")


def _inner(figure: Figure, box: Axes) -> Axes:
    """The part of a panel below its title."""
    place = box.get_position()
    title = 30 / (figure.get_figheight() * _DPI)
    return figure.add_axes(
        (place.x0, place.y0, place.width, place.height - title), facecolor="none"
    )


def _stat(axes: Axes, panel: Json, found: Sequence[Sequence[Series]]) -> None:
    axes.axis("off")
    if not found[0]:
        _nothing(axes)
        return
    labels, points = found[0][0]
    defaults = panel["fieldConfig"]["defaults"]
    text, colour = _shown(points[-1][1], defaults)
    if panel["options"]["textMode"] == "name":
        text = _legend(panel["targets"][0], labels)
    axes.text(0.5, 0.5, text, color=colour, fontsize=24, ha="center", va="center")


def _lines(axes: Axes, panel: Json, found: Sequence[Sequence[Series]]) -> None:
    _, high = _pixels(axes)
    place = axes.get_position()
    box = axes.get_window_extent()
    wide_figure, high_figure = box.width / place.width, box.height / place.height
    axes.set_position((
        place.x0 + 62 / wide_figure, place.y0 + 44 / high_figure,
        place.width - 74 / wide_figure, place.height - 48 / high_figure,
    ))  # fmt: skip
    series = [
        (_legend(target, labels), points)
        for target, answer in zip(panel["targets"], found, strict=True)
        for labels, points in answer
    ]
    defaults = panel["fieldConfig"]["defaults"]
    axes.tick_params(colors=_FAINT, labelsize=8, length=0)
    axes.spines[:].set_visible(False)
    axes.grid(visible=True, color="#2c2f36", linewidth=0.6)
    if not series:
        axes.set(xticks=[], yticks=[])
        _nothing(axes)
        return
    colours = _colours_of(panel, [name for name, _ in series])
    if defaults["custom"].get("stacking", {}).get("mode") == "normal":
        times = sorted({at for _, points in series for at, _ in points})
        heights = [[dict(points).get(at, 0.0) for at in times] for _, points in series]
        axes.stackplot(times, *heights, colors=colours, alpha=0.45, linewidth=0)
        below = [0.0] * len(times)
        for colour, one in zip(colours, heights, strict=True):
            below = [a + b for a, b in zip(below, one, strict=True)]
            axes.plot(times, below, color=colour, linewidth=1)
    else:
        for colour, (_, points) in zip(colours, series, strict=True):
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.2)
    highest = max(axes.get_ylim()[1], *(v for _, points in series for _, v in points), 1e-9)
    axes.set_ylim(0, defaults.get("max", highest * 1.05))
    if "thresholdsStyle" in defaults["custom"]:
        for step in defaults["thresholds"]["steps"][1:]:
            if step["value"] <= axes.get_ylim()[1]:
                axes.axhline(step["value"], color=_COLOURS[step["color"]], lw=0.8, ls="--")
    axes.yaxis.set_major_locator(
        mpl.ticker.MaxNLocator(max(2, int(high / 60)), integer=defaults["unit"] == "none")
    )
    axes.yaxis.set_major_formatter(lambda value, _: _text(value, defaults["unit"]))
    axes.xaxis.set_major_locator(mpl.ticker.MultipleLocator(_minutes(axes)))
    axes.xaxis.set_major_formatter(lambda at, _: time.strftime("%H:%M", time.gmtime(at)))
    _write_legend(axes, colours, [name for name, _ in series])


def _minutes(axes: Axes) -> float:
    """Seconds between two times on an axis: whole minutes, some five times on it."""
    first, last = axes.get_xlim()
    return 60.0 * next((m for m in (1, 2, 5, 10, 15, 30, 60) if 60 * m * 6 >= last - first), 240)


def _write_legend(axes: Axes, colours: Sequence[str], names: Sequence[str]) -> None:
    wide, high = _pixels(axes)
    x = 0.0
    for number, (colour, name) in enumerate(zip(colours, names, strict=True)):
        needed = 28 + 6.4 * len(name)
        if x + needed > wide - 40 and number < len(names):
            _legend_entry(axes, x / wide, high, f"+{len(names) - number}", _FAINT)
            return
        _legend_entry(axes, x / wide, high, f"━ {name}", colour)
        x += needed


def _legend_entry(axes: Axes, x: float, high: float, text: str, colour: str) -> None:
    axes.text(x, -34 / high, text, color=colour, fontsize=8, transform=axes.transAxes)


def _bars(axes: Axes, panel: Json, found: Sequence[Sequence[Series]]) -> None:
    axes.axis("off")
    wide, high = _pixels(axes)
    series = [(labels, points[-1][1]) for labels, points in found[0]]
    series = series[: int(high // 24)]
    if not series:
        _nothing(axes)
        return
    defaults = panel["fieldConfig"]["defaults"]
    names = [_legend(panel["targets"][0], labels) for labels, _ in series]
    longest = min(max(len(name) for name in names) * 7.4 + 20, wide * 0.5)
    left, right = longest / wide, 1 - 90 / wide
    most = defaults.get("max") or max(value for _, value in series) or 1
    each = min(1 / len(series), 34 / high)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    for number, ((_, value), name) in enumerate(zip(series, names, strict=True)):
        y = 1 - (number + 0.5) * each
        text, colour = _shown(value, defaults)
        axes.text(
            left - 8 / wide, y, _cut(name, longest / 7.2), color=_TEXT, fontsize=9,
            ha="right", va="center",
        )  # fmt: skip
        axes.barh(y, right - left, each * 0.6, left, color="#2c2f36")
        share = min(max(value / most, 0), 1)
        axes.barh(y, (right - left) * share, each * 0.6, left, color=colour, alpha=0.8)
        axes.text(right + 8 / wide, y, text, color=colour, fontsize=9, va="center")


def _table(axes: Axes, panel: Json, found: Sequence[Sequence[Series]]) -> None:
    axes.axis("off")
    wide, high = _pixels(axes)
    organize = panel["transformations"][-1]["options"]
    fields = sorted(organize["indexByName"], key=organize["indexByName"].__getitem__)
    titles = [organize["renameByName"][field] for field in fields]
    looks = {
        override["matcher"]["options"]: {p["id"]: p["value"] for p in override["properties"]}
        for override in panel["fieldConfig"]["overrides"]
    }
    lines = _merged(found)
    for order in reversed(panel["options"].get("sortBy", ())):
        field = fields[titles.index(order["displayName"])]
        lines.sort(key=lambda line: _key(line.get(field)), reverse=order.get("desc", False))
    if not lines:
        _nothing(axes)
        return
    axes.set(xlim=(0, wide), ylim=(high, 0))
    cells = [
        [
            _cell(line.get(field), looks.get(title, {}))
            for field, title in zip(fields, titles, strict=True)
        ]
        for line in lines[: int((high - 30) // 24)]
    ]
    lengths = [
        max(len(titles[n]), *(min(len(line[n][0]), 34) for line in cells)) + 2
        for n in range(len(titles))
    ]
    x = 10.0
    for number, title in enumerate(titles):
        room = (wide - 20) * lengths[number] / sum(lengths)
        axes.text(x, 14, _cut(title, room / 7), color="#6e9fff", fontsize=8.5, va="center")
        for row, line in enumerate(cells):
            text, colour = line[number]
            y = 40 + row * 24
            axes.text(x, y, _cut(text, room / 7), color=colour, fontsize=8.5, va="center")
        x += room
    for row in range(len(cells) + 1):
        axes.axhline(27 + row * 24, color="#2c2f36", linewidth=0.6)


def _merged(found: Sequence[Sequence[Series]]) -> list[dict[str, Any]]:
    """The rows of a table: series of all queries, those that share their labels in one row."""
    lines: list[dict[str, Any]] = []
    for number, answer in enumerate(found):
        name = f"Value #{chr(ord('A') + number)}" if len(found) > 1 else "Value"
        for labels, points in answer:
            for line in lines if number else ():
                if name not in line and all(line.get(k) == v for k, v in labels.items()):
                    line[name] = points[-1][1]
                    break
            else:
                lines.append({**labels, name: points[-1][1]})
    return lines


def _key(value: Any) -> tuple[bool, float, str]:
    number = value if isinstance(value, float) else 0.0
    return value is not None, number, "" if isinstance(value, float) else str(value)


def _cell(value: Any, look: Json) -> tuple[str, str]:
    if value is None:
        return "", _TEXT
    steps = look.get("thresholds", {"steps": [{"value": None, "color": "text"}]})
    defaults = {
        "unit": look.get("unit", "none"),
        "decimals": look.get("decimals"),
        "mappings": look.get("mappings", ()),
        "thresholds": steps,
    }
    return _shown(value, defaults)


def _shown(value: Any, defaults: Json) -> tuple[str, str]:
    """A value as text, and its colour."""
    bare = f"{value:g}" if isinstance(value, float) else str(value)
    for mapping in defaults.get("mappings") or ():
        if word := mapping["options"].get(bare):
            return word["text"], _COLOURS[word["color"]]
    if not isinstance(value, float):
        return bare, _TEXT
    colour = "text"
    for step in defaults["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    return _text(value, defaults["unit"], defaults.get("decimals")), _COLOURS[colour]


def _text(value: float, unit: str, decimals: float | None = None) -> str:
    """A value with its unit, as Grafana would put it, roughly."""
    match unit:
        case "percentunit":
            return f"{value * 100:.3g} %"
        case "s":
            if value == 0:
                return "0 s"
            size, name = next((s for s in _SPANS if abs(value) >= s[0]), _SPANS[-1])
            return f"{value / size:.3g} {name}"
        case "none" | "short":
            return f"{value:.{decimals:.0f}f}" if decimals is not None else f"{value:.4g}"
    base, after = (1024, "iB") if unit == "bytes" else (1000, _AFTER[unit])
    number = 0
    while abs(value) >= base and number < len(_PREFIXES) - 1:
        value, number = value / base, number + 1
    if unit == "bytes" and not number:
        after = "B"
    prefix = _PREFIXES[number].upper() if unit == "bytes" else _PREFIXES[number]
    digits = max(3, len(f"{abs(value):.0f}"))
    return f"{value:.{digits}g} {prefix}{after}"


_AFTER = {"bps": "b/s", "Bps": "B/s", "pps": "p/s", "rpm": "/min"}


def _legend(target: Json, labels: Mapping[str, str]) -> str:
    text: str = target["legendFormat"]
    if text == "__auto":
        return ", ".join(value for name, value in labels.items() if name != "__name__")
    return re.sub(r"{{(\w+)}}", lambda label: labels.get(label[1], ""), text)


def _colours_of(panel: Json, names: Sequence[str]) -> list[str]:
    fixed = {
        override["matcher"]["options"]: _COLOURS[one["value"]["fixedColor"]]
        for override in panel["fieldConfig"]["overrides"]
        for one in override["properties"]
        if one["id"] == "color"
    }
    return [fixed.get(name, _PALETTE[n % len(_PALETTE)]) for n, name in enumerate(names)]


def _nothing(axes: Axes) -> None:
    axes.text(
        0.5, 0.5, "No data", color=_FAINT, fontsize=11, ha="center", va="center",
        transform=axes.transAxes,
    )  # fmt: skip


def _pixels(axes: Axes) -> tuple[float, float]:
    box = axes.get_window_extent()
    return box.width, box.height


def _cut(text: str, length: float) -> str:
    return text if len(text) <= length else f"{text[: max(int(length) - 1, 1)]}…"


def _write(
    figure: Figure,
    at: tuple[float, float],
    text: str,
    *,
    size: float = 10,
    right: bool = False,
    colour: str = _TEXT,
) -> None:
    figure.text(*at, text, color=colour, fontsize=size, ha="right" if right else "left")


_DRAW = {"stat": _stat, "timeseries": _lines, "bargauge": _bars, "table": _table}
