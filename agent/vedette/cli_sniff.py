"""`vedette sniff`: what the network carries now, or what a capture file holds, by the same code."""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO

EX_FAILED = 1
_STANDARD_INPUT = "-"
_COLUMNS_LIVE = ("WHAT", "NAME", "WHERE", "PACKETS", "BYTES, OR WHAT WAS SEEN")
_WINDOW_SECONDS = 2
_SHOWN = 12  # of each kind
_COLUMNS = ("WHAT", "NAME", "FLOWS", "PACKETS", "BYTES", "HOW, OR WHAT WAS SEEN")


def add_to(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument(
        "--read",
        metavar="FILE",
        help="a capture: pcap or pcapng, gzipped or not; - reads standard input",
    )
    parser.add_argument(
        "--windows", type=int, default=0, metavar="N", help="stop after so many (live; 0: never)"
    )  # fmt: skip
    parser.set_defaults(command=run)


def run(given: argparse.Namespace, settings: Any) -> int:
    """Read one capture file and print what is in it; without one, watch the network."""
    if given.read is None:
        return _watch(given, settings)
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


def _watch(given: argparse.Namespace, settings: Any) -> int:
    """Show each window as it ends: a table, drawn anew on a terminal, or a line of JSON."""
    from vedette import log, terminal  # noqa: PLC0415
    from vedette.history import History  # noqa: PLC0415
    from vedette.job import Context  # noqa: PLC0415
    from vedette.jobs import sniff as job  # noqa: PLC0415
    from vedette.publish.inventory import traffic  # noqa: PLC0415
    from vedette.store import Store  # noqa: PLC0415

    log.start("error", settings.log_format)
    options = settings.jobs["sniff"]
    options = replace(options, interval_seconds=_WINDOW_SECONDS, names=max(options.names, _SHOWN))
    previous, stop, number = None, Event(), 0
    try:
        with ExitStack() as stack:
            show = None if given.format == "json" else stack.enter_context(terminal.redrawn())
            while not given.windows or number < given.windows:
                context: Context[Any] = Context(
                    previous=previous, latest=Store(), known=History(None).known, stop=stop,
                    progress=lambda *_: None, now=time.time,
                )  # fmt: skip
                (previous,) = job.observe(options, context)
                number += 1
                document = traffic(previous) or {}
                if show is None:
                    print(json.dumps(document), flush=True)
                else:
                    show(f"{number * _WINDOW_SECONDS} s", _COLUMNS_LIVE, _live_rows(document))
    except KeyboardInterrupt:
        return 0
    finally:
        job.CAPTURE.stop()
    return 0


def _live_rows(document: Mapping[str, Any]) -> list[Sequence[str]]:
    """Return the rows of what is going on, the newest events first."""
    rows: list[Sequence[str]] = [
        (
            "event",
            e["event"],
            e["subject"],
            "",
            _seen(e["evidence"]),
        )
        for e in document["events"][:_SHOWN]
    ]
    rows += [
        ("protocol", p["protocol"], p["interface"], str(p["packets"]), str(p["bytes"]))
        for p in document["protocols"][:_SHOWN]
    ]
    rows += [
        ("application", a["app_protocol"], "", "", str(a["bytes"]))
        for a in document["applications"][:_SHOWN]
    ]
    rows += [
        (
            "service",
            s["app_protocol"],
            f"{s['transport']}/{s['port']} {s['direction']}",
            str(s["packets"]),
            str(s["bytes"]),
        )
        for s in document["services"][:_SHOWN]
    ]
    rows += [
        ("asked for", a["which"], f"{a['app_protocol']} {a['what']}", "", f"{a['times']} times")
        for a in document["asked_for"][:_SHOWN]
    ]
    rows += [("peer", p["peer"], "", "", str(p["bytes"])) for p in document["peers"]]
    rows += [
        ("neighbour", n["address"], n["mac"], "", n["vendor"])
        for n in document["neighbours"][:_SHOWN]
    ]
    return rows


def _joined(between: str, *texts: str) -> str:
    return between.join(filter(None, texts))


def _seen(evidence: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in evidence.items())


def _read(stream: BinaryIO, settings: Any) -> dict[str, Any]:
    from vedette.capture import makers, offline  # noqa: PLC0415 - the other commands need none of it

    options = settings.jobs["sniff"]
    return offline.read(stream, options.peers, options.events, makers.look_up)


def _print(document: Mapping[str, Any]) -> None:
    from vedette import terminal  # noqa: PLC0415

    rows = [
        ("event", e["event"], "", "", "", f"{e['subject']} {_seen(e['evidence'])}")
        for e in document["events"][:_SHOWN]
    ]
    rows += [
        ("protocol", name, "", str(count["packets"]), str(count["bytes"]), "")
        for name, count in document["protocols"].items()
    ]
    rows += [
        (
            "application", name, str(c["flows"]), str(c["packets"]), str(c["bytes"]),
            _joined(
                "; ", ", ".join(f"{n} by {how}" for how, n in c["by"].items() if n),
                ", ".join(c["alpn"]), ", ".join(c["names"]),
            ),
        )
        for name, c in document["application_protocols"].items()
    ]  # fmt: skip
    rows += [
        ("peer", peer["address"], "", str(peer["packets"]), str(peer["bytes"]), "")
        for peer in document["peers"]
    ]
    rows += [
        (
            "neighbour",
            n["address"],
            "",
            "",
            "",
            _joined(" ", n["mac"], n["vendor"], n["name"]),
        )
        for n in document["neighbours"][:_SHOWN]
    ]
    rows += [
        ("system", s["address"], "", "", "", f"{s['family']}, {s['confidence']}")
        for s in document["systems"][:_SHOWN]
    ]
    rows += [
        ("undecodable", reason, "", str(number), "", "")
        for reason, number in document["undecodable_reasons"].items()
    ]
    title = f"{document['packets']} packets, {document['bytes']} bytes"
    terminal.print_table(title, _COLUMNS, rows)
