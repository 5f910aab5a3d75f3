"""What many tests need: recorded samples, and families as /metrics would print them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

from prometheus_client.metrics_core import Metric

from vedette.job import Context, Known
from vedette.publish.exposition import TEXT, Exposition
from vedette.store import Record, Store

S = TypeVar("S")

SAMPLES = Path(__file__).parent / "samples"


def sample(name: str) -> bytes:
    """Return a file of tests/samples/, whose README says how each was recorded."""
    return (SAMPLES / name).read_bytes()


def record_of(name: str, families: Iterable[Metric], snapshot: object = None) -> Record:
    """Return the record of a job that has brought these families."""
    return Record(
        name=name,
        interval_seconds=60,
        timeout_seconds=30,
        news_at=0.0,
        snapshot=snapshot,
        families=tuple(families),
    )


def exposition_of(records: Mapping[str, Record], max_series: int = 100_000) -> Exposition:
    """Return the exposition of these records, without the agent's own families."""
    exposition = Exposition(lambda: dict(records), lambda _records, _dropped: (), max_series)
    exposition.refresh()
    return exposition


def text_of(families: Iterable[Metric]) -> str:
    """Return families as /metrics would print them."""
    return exposition_of({"job": record_of("job", families)}).body(TEXT, compressed=False).decode()


def series_of(families: Iterable[Metric]) -> list[str]:
    """Return the series alone, without HELP and TYPE, in their order."""
    return [line for line in text_of(families).splitlines() if not line.startswith("#")]


def known(
    value: Mapping[str, Any],
    detail: Mapping[str, Any] | None = None,
    *,
    first_seen: float = 100.0,
    last_seen: float = 200.0,
    present: bool = True,
) -> Known:
    """Return what history would remember."""
    return Known(value, detail or {}, first_seen, last_seen, present)


def context(previous: S | None = None, *, now: float = 1000.0) -> Context[S]:
    """Return what a run may know, where nothing else is known."""
    return Context(
        previous=previous,
        latest=Store(),
        known=lambda _: {},
        stop=Event(),
        progress=lambda _ratio, _text: None,
        now=lambda: now,
    )
