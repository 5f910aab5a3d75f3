"""The page for people: the inventory as one HTML document, without scripts or anything to load."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from vedette import memory
from vedette.risk.score import NEXT_UPGRADE

# The page is for people, and is made where scrapes wait; /inventory.json has all.
_SHOWN_PORTS = 200
_SHOWN_FINDINGS = 20  # of a kind and port
_SHOWN_ROWS = 40  # of any other table


def page(inventory: dict[str, Any], *, live: bool) -> str:
    """Return the HTML. live: it is served and reloads itself; else it is a report in a file."""
    html = _template().render(inventory, live=live)
    # Names on this host (mount points, programs) can be any bytes: Python has surrogates for them.
    return html.encode("utf-8", "replace").decode("utf-8")


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("vedette.publish", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "bytes": size, "time": time, "duration": duration, "number": number, "due": due,
        "words": words,
    }  # fmt: skip
    environment.globals |= {
        "shown_ports": _SHOWN_PORTS, "shown_findings": _SHOWN_FINDINGS, "shown_rows": _SHOWN_ROWS,
    }  # fmt: skip
    template = environment.get_template("page.html.j2")
    memory.give_back()  # 3 MiB that compiling it took
    return template


def due(days: int) -> str:
    """Return a deadline in words."""
    return "with the next upgrade" if days == NEXT_UPGRADE else f"due in {days} days"


def size(value: float | None) -> str:
    """Return bytes in words: "1.5 GiB"; a dash for no reading."""
    if value is None:
        return "–"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024 or unit == "TiB":  # noqa: PLR2004 - a kibibyte
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def time(seconds: float | None) -> str:
    """Return Unix seconds as "2026-11-22 19:04:06 UTC"; a dash for never."""
    if not seconds:
        return "–"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float | None) -> str:
    """Return seconds in words: "12 ms", "4.2 s", "3 min", "2 h", "5 d"; a dash for none."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, name, most in ((1, "s", 120), (60, "min", 7200), (3600, "h", 172_800)):
        if seconds < most:
            return f"{round(seconds / unit, 1 if name == 's' else None):g} {name}"
    return f"{seconds / 86_400:.0f} d"


def words(value: Mapping[str, Any]) -> str:
    """Return what history remembers of a thing in one line: a port's service, product, version."""
    service_first = sorted(value.items(), key=lambda item: item[0] != "service_name")
    return " ".join(str(part) for _, part in service_first if part)


def number(value: float) -> str:
    """Return a count with thin groups of three: "1 234 567"."""
    return f"{value:,.0f}".replace(",", "\u202f")
