"""What the commands print: tables and progress bars on a terminal, plain text elsewhere."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from vedette.edges import nmap
from vedette.risk.score import NEXT_UPGRADE
from vedette.scanned import Scan
from vedette.selfcheck import Check

_COLOURS = {
    "none": "dim",
    "low": "green",
    "medium": "yellow",
    "high": "red",
    "critical": "bold red",
}


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Print a table; tab-separated lines without a title where standard output is no terminal."""
    console = Console()
    if not console.is_terminal:
        for row in (columns, *rows):
            print("\t".join(str(cell) for cell in row))
        return
    console.print(_table(title, columns, rows))


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> Table:
    table = Table(title=title, title_justify="left", expand=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # Text, not str: markup in a banner stays what it is.
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return table


Redraw = Callable[[str, Sequence[str], Sequence[Sequence[str | Text]]], None]


@contextmanager
def redrawn() -> Iterator[Redraw]:
    """Yield what shows a table in the place of the one before; below it where is no terminal."""
    console = Console()
    if not console.is_terminal:
        yield _print_now
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda title, columns, rows: live.update(_table(title, columns, rows), refresh=True)


def _print_now(title: str, columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    print_table(title, columns, rows)
    sys.stdout.flush()  # whoever reads a pipe waits for it


def print_scan(scan: Scan) -> None:
    """Print the open ports of a scan, the riskiest first, each with the reasons for its risk."""
    rows = [
        (
            Text(f"{port.risk['score']:.1f} {port.risk['level']}", _COLOURS[port.risk["level"]]),
            str(port.address),
            f"{port.number}/{port.transport}",
            port.service.name if port.service.probed else f"{port.service.name}?",
            f"{port.service.product} {port.service.version}".strip(),
            port.process,
            "; ".join(port.risk["reasons"]),
        )
        for port in sorted(scan.ports, key=lambda port: -port.risk["score"])
    ]
    columns = ("RISK", "ADDRESS", "PORT", "SERVICE", "VERSION", "PROGRAM", "WHY")
    print_table(f"{len(rows)} open ports on {len(scan.addresses)} hosts", columns, rows)


def print_findings(document: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Print what `assess` found, the worst first, and how much it has left out."""
    rows = [
        (
            Text(f"{row['score']:.1f} {row['severity']}", _COLOURS[row["severity"]]),
            f"{row['address']} {row['port']}/{row['transport']}",
            row["finding"],
            f"{row['status']} {row['confidence']} %",
            "next upgrade" if row["due_days"] == NEXT_UPGRADE else f"{row['due_days']} days",
            row["fixed_in"],
            "; ".join(row["reasons"]),
        )
        for row in (*document["findings"], *document["accepted"])
    ]
    columns = ("RISK", "WHERE", "FINDING", "STATUS", "DUE", "FIXED IN", "WHY")
    left_out = len(document["suppressed"])
    print_table(
        f"{len(document['findings'])} findings, {len(document['accepted'])} accepted;"
        f" {left_out} left out as fixed or not affected",
        columns,
        rows,
    )


def print_checks(checks: Sequence[Check]) -> None:
    """Print the results of a self-check."""
    rows = [
        (
            Text("ok", "green") if check.ok else Text("MISSING", "red"),
            check.what,
            check.says,
        )
        for check in checks
    ]
    print_table("vedette selfcheck", ("RESULT", "WHAT", "SAYS"), rows)


@contextmanager
def progress(text: str) -> Iterator[nmap.Progress]:
    """Show a bar on standard error while the block runs; nothing where that is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(text, total=1.0)
        yield lambda ratio: bar.update(task, completed=ratio)
