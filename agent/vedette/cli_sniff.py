"""`vedette sniff`: what a capture file holds, by the code that watches the live traffic."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

EX_FAILED = 1
_STANDARD_INPUT = "-"
_COLUMNS = ("WHAT", "NAME", "FLOWS", "PACKETS", "BYTES", "HOW")


def add_to(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument(
        "--read", metavar="FILE", required=True,
        help="a capture: pcap or pcapng, gzipped or not; - reads standard input",
    )  # fmt: skip
    parser.set_defaults(command=run)


def run(given: argparse.Namespace, settings: Any) -> int:
    """Read one capture file and print what is in it."""
    try:
        if given.read == _STANDARD_INPUT:
            document = _read(sys.stdin.buffer, settings)
        else:
            with Path(given.read).open("rb") as stream:
                document = _read(stream, settings)
    except OSError as exc:
        print(f"vedette: {given.read}: {exc.strerror}", file=sys.stderr)
        return EX_FAILED
    if given.format == "json":
        print(json.dumps(document, indent=2))
    else:
        _print(document)
    return EX_FAILED if document["undecodable_reasons"].get("file: no capture file") else 0


def _read(stream: BinaryIO, settings: Any) -> dict[str, Any]:
    from vedette.capture import offline  # noqa: PLC0415 - the other commands need none of it

    options = settings.jobs["sniff"]
    return offline.read(stream, options.peers, options.events)


def _print(document: Mapping[str, Any]) -> None:
    from vedette import terminal  # noqa: PLC0415

    rows = [
        ("protocol", name, "", str(count["packets"]), str(count["bytes"]), "")
        for name, count in document["protocols"].items()
    ]
    rows += [
        (
            "application", name, str(c["flows"]), str(c["packets"]), str(c["bytes"]),
            ", ".join(f"{n} by {how}" for how, n in c["by"].items() if n),
        )
        for name, c in document["application_protocols"].items()
    ]  # fmt: skip
    rows += [
        ("peer", peer["address"], "", str(peer["packets"]), str(peer["bytes"]), "")
        for peer in document["peers"]
    ]
    rows += [
        ("undecodable", reason, "", str(number), "", "")
        for reason, number in document["undecodable_reasons"].items()
    ]
    title = f"{document['packets']} packets, {document['bytes']} bytes"
    terminal.print_table(title, _COLUMNS, rows)
