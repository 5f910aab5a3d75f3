"""`vedette knowledge build`, `update` and `show`."""

import argparse
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vedette.errors import KnowledgeError

_SHOWN_PROBLEMS = 20


KINDS = ("debian", "epss", "kev", "nvd", "osv", "overrides")


def add_to(parser: Any, common: Any) -> None:
    """Declare the commands."""
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    sources = argparse.ArgumentParser(add_help=False)
    sources.add_argument(
        "--records", type=Path, action="append", default=[], metavar="DIR",
        help="directory of record files; again for more, later ones add to earlier ones",
    )  # fmt: skip
    sources.add_argument(
        "--feed", type=_feed, action="append", default=[], metavar="KIND=FILE|DIR|URL",
        help=f"one of upstream's feeds ({', '.join(KINDS)}); again for more; what it says goes over"
        " what the record files say",
    )  # fmt: skip
    sources.add_argument(
        "--cache", type=Path, metavar="DIR",
        help="where to keep what is fetched (default: vedette in $XDG_CACHE_HOME or ~/.cache)",
    )  # fmt: skip
    sources.add_argument(
        "--nvd-key-file", type=Path, metavar="FILE", help="a file that holds NVD's API key"
    )
    make = commands.add_parser(
        "build", help="Make a knowledge base from record files and feeds.",
        parents=[sources, common],
    )  # fmt: skip
    make.add_argument("--output", type=Path, required=True, metavar="FILE")
    make.set_defaults(command=_build)
    update = commands.add_parser(
        "update", help="Put a finished base, or one made of feeds, in the place of the one in use.",
        parents=[sources, common],
    )  # fmt: skip
    update.add_argument(
        "source", nargs="?", metavar="FILE|URL", help="a finished base, plain, .gz or .xz"
    )
    update.add_argument("--sha256", default="", metavar="HEX", help="what the base must have")
    update.add_argument(
        "--force", action="store_true", help="also if it is older than the one in use"
    )
    update.set_defaults(command=_update)
    show = commands.add_parser(
        "show", help="Say what is in the knowledge base in use, or in FILE.", parents=[common]
    )
    show.add_argument("file", nargs="?", type=Path, metavar="FILE")
    show.add_argument("--format", choices=("table", "json"), default="table")
    show.set_defaults(command=_show)


def _feed(text: str) -> tuple[str, str]:
    kind, equals, source = text.partition("=")
    if kind not in KINDS or not equals or not source:
        raise argparse.ArgumentTypeError(f"{text!r} is not KIND=FILE, KIND one of {KINDS}")
    return kind, source


def _build(given: argparse.Namespace, _: Any) -> int:
    if not given.records and not given.feed:
        raise KnowledgeError("nothing to build from: give --records, --feed, or both")
    _write(given, given.output)
    return 0


def _update(given: argparse.Namespace, settings: Any) -> int:
    from vedette.knowledge import update  # noqa: PLC0415 - the agent needs none of it

    target = settings.jobs["scan"].knowledge_file
    sha256 = given.sha256 or settings.jobs["scan"].knowledge_sha256
    made = bool(given.records or given.feed)
    if made == bool(given.source):
        raise KnowledgeError("give a finished base, or --feed and --records to make one of")
    if made:
        with tempfile.TemporaryDirectory() as directory:
            built = Path(directory) / target.name
            _write(given, built)
            digest = update.install(built, target, sha256=sha256, force=given.force)
    else:
        if _is_url(given.source) and not sha256:
            raise KnowledgeError(
                "a base from the network needs --sha256, which `build` has printed"
            )
        path, fetcher = Path(given.source), _fetcher(given)
        if _is_url(given.source):
            path = _fetched(fetcher, given.source)
        try:
            digest = update.install(path, target, sha256=sha256, force=given.force)
        except KnowledgeError:
            if _is_url(given.source):
                fetcher.forget(given.source)
            raise
    print(f"vedette: {target} is in use from the next scan on, SHA-256 {digest}", file=sys.stderr)
    return 0


def _write(given: argparse.Namespace, output: Path) -> None:
    """Build a base, and say what it is made of and what is not in it."""
    from vedette.knowledge import build  # noqa: PLC0415 - as above

    found = _gather(given)
    # https://reproducible-builds.org/specs/source-date-epoch/
    date = os.environ.get("SOURCE_DATE_EPOCH", "")
    digest = build.write(found, output, float(date) if date.isdecimal() else time.time())
    for problem in found.skipped[:_SHOWN_PROBLEMS]:
        print(f"vedette: skipped {_printable(problem)}", file=sys.stderr)
    if len(found.skipped) > _SHOWN_PROBLEMS:
        more = len(found.skipped) - _SHOWN_PROBLEMS
        print(f"vedette: and {more} more records", file=sys.stderr)
    for name, (date, count) in sorted(found.sources.items()):
        print(f"vedette: {name} {date or 'without a date'}: {count} records", file=sys.stderr)
    print(f"vedette: wrote {output}: {len(found.cves)} CVEs, SHA-256 {digest}", file=sys.stderr)


def _gather(given: argparse.Namespace) -> Any:
    from vedette import terminal  # noqa: PLC0415
    from vedette.knowledge import feeds, records  # noqa: PLC0415

    base = records.read(given.records) if given.records else records.Records()
    if not given.feed:
        return base
    if not base.products:
        base.products = records.bundled_products().products
    fetcher = _fetcher(given)
    found = [
        (kind, source, _fetched(fetcher, source) if _is_url(source) else Path(source))
        for kind, source in given.feed
    ]
    try:
        with terminal.progress("reading feeds") as progress:
            return feeds.read([(kind, path) for kind, _, path in found], base, progress)
    except KnowledgeError as exc:
        for _, source, path in found:
            if _is_url(source) and path.name in str(exc):
                fetcher.forget(source)
        raise


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _fetcher(given: argparse.Namespace) -> Any:
    from vedette.edges import download  # noqa: PLC0415

    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    key = ""
    if given.nvd_key_file is not None:
        try:
            key = given.nvd_key_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as exc:
            raise KnowledgeError(f"{given.nvd_key_file} cannot be read: {exc}") from exc
    return download.Fetcher(given.cache or Path(home).expanduser() / "vedette", key)


def _fetched(fetcher: Any, url: str) -> Path:
    from vedette import terminal  # noqa: PLC0415

    with terminal.progress(f"fetching {url}") as progress:
        path: Path = fetcher.fetch(url, progress)
    return path


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:300])


def _show(given: argparse.Namespace, settings: Any) -> int:
    from vedette import terminal  # noqa: PLC0415 - it takes its time
    from vedette.risk.knowledge import Knowledge, open_newest  # noqa: PLC0415

    if given.file is not None:
        base = Knowledge(given.file)
    else:
        base, problems = open_newest(
            [settings.jobs["scan"].knowledge_file], settings.jobs["scan"].knowledge_sha256
        )
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
