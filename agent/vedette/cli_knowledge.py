"""`vedette knowledge build` and `show`."""

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_SHOWN_PROBLEMS = 20


def add_to(parser: Any, common: Any) -> None:
    """Declare the commands."""
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    make = commands.add_parser(
        "build", help="Make a knowledge base from record files.", parents=[common]
    )
    make.add_argument(
        "--records", type=Path, action="append", required=True, metavar="DIR",
        help="directory of record files; again for more, later ones add to earlier ones",
    )  # fmt: skip
    make.add_argument("--output", type=Path, required=True, metavar="FILE")
    make.set_defaults(command=_build)
    show = commands.add_parser(
        "show", help="Say what is in the knowledge base in use, or in FILE.", parents=[common]
    )
    show.add_argument("file", nargs="?", type=Path, metavar="FILE")
    show.add_argument("--format", choices=("table", "json"), default="table")
    show.set_defaults(command=_show)


def _build(given: argparse.Namespace, _: Any) -> int:
    from vedette.knowledge import build, records  # noqa: PLC0415 - the agent needs none of it

    found = records.read(given.records)
    digest = build.write(found, given.output, time.time())
    for problem in found.skipped[:_SHOWN_PROBLEMS]:
        print(f"vedette: skipped {problem}", file=sys.stderr)
    if len(found.skipped) > _SHOWN_PROBLEMS:
        more = len(found.skipped) - _SHOWN_PROBLEMS
        print(f"vedette: and {more} more records", file=sys.stderr)
    print(
        f"vedette: wrote {given.output}: {len(found.cves)} CVEs, SHA-256 {digest}", file=sys.stderr
    )
    return 0


def _show(given: argparse.Namespace, settings: Any) -> int:
    from vedette import terminal  # noqa: PLC0415 - it takes its time
    from vedette.risk.knowledge import Knowledge, open_newest  # noqa: PLC0415

    if given.file is not None:
        base = Knowledge(given.file)
    else:
        base, problems = open_newest([settings.jobs["scan"].knowledge_file])
        for problem in problems:
            print(f"vedette: {problem}", file=sys.stderr)
    built = datetime.fromtimestamp(base.built_at, UTC).isoformat(timespec="seconds")
    sources = [
        {"source": name, "date": date, "records": count} for name, date, count in base.sources()
    ]
    if given.format == "json":
        document = {
            "file": str(base.path), "built": built, "rows": dict(base.counts()), "sources": sources,
        }  # fmt: skip
        print(json.dumps(document, indent=2))
        return 0
    terminal.print_table(
        f"{base.path}, built {built}",
        ("source", "date", "records"),
        [tuple(map(str, source.values())) for source in sources],
    )
    terminal.print_table("rows", ("table", "rows"), [(k, str(n)) for k, n in base.counts().items()])
    return 0
