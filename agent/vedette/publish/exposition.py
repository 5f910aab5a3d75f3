"""The metrics as bytes: rendered when a job has run, handed out at every scrape.

Each job's families are rendered by themselves, so a run of one costs nothing for the others. Here
the promises on labels and numbers of series are kept, whatever a job hands over: values are
printable and short, no series comes twice, and the ceiling holds.
"""

import gzip
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from threading import Lock

from prometheus_client import exposition as text_format
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics_format
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from vedette.job import clean
from vedette.store import Record

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_EOF = b"# EOF\n"
# Level 1 makes the body 5 % larger than level 9 in a fifteenth of the time.
_GZIP_LEVEL = 1

Records = Callable[[], dict[str, Record]]


@dataclass(frozen=True, slots=True)
class _Part:
    """One job's families, rendered in both formats, `allowed` series of them at most."""

    families: tuple[Metric, ...]
    allowed: int
    series: int
    text: bytes
    openmetrics: bytes


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


class Exposition:
    """All metrics of the agent. `refresh` after a change; `body` for a scrape. Thread-safe.

    records: the store's. own_families: the agent's metrics on itself, from the records and {job's
    name: series dropped so far}.
    """

    def __init__(
        self,
        records: Records,
        own_families: Callable[[dict[str, Record], dict[str, int]], Iterable[Metric]],
        max_series: int,
    ) -> None:
        self._records = records
        self._own_families = own_families
        self._max_series = max_series
        self._lock = Lock()
        self._parts: dict[str, _Part] = {}
        self._own = _Part((), 0, 0, b"", b"")
        self._bodies: dict[tuple[str, bool], bytes] = {}
        self.dropped: dict[str, int] = {}

    def refresh(self) -> None:
        """Render what has changed since the last call."""
        records = self._records()
        with self._lock:
            for name in records:
                self.dropped.setdefault(name, 0)
            own = tuple(self._own_families(records, self.dropped))
            left = self._max_series - _series(own)
            # The smallest first: what is too much is taken from the largest.
            for name in sorted(records, key=lambda n: (_series(records[n].families), n)):
                families = records[name].families
                old = self._parts.get(name)
                # How many series are its own, not how many are left: another job's growth does not
                # make a part that fits be rendered anew.
                allowed = min(left, _series(families))
                if old is None or old.families is not families or old.allowed != allowed:
                    self._parts[name], lost = _render(families, allowed)
                    self.dropped[name] += lost
                left -= self._parts[name].series
            self._own, _ = _render(
                tuple(self._own_families(records, self.dropped)), self._max_series
            )
            self._bodies.clear()

    def series(self) -> int:
        """Return how many series are exposed."""
        with self._lock:
            return sum(part.series for part in (self._own, *self._parts.values()))

    def body(self, content_type: str, *, compressed: bool) -> bytes:
        """Return the whole exposition as TEXT or OPENMETRICS."""
        with self._lock:
            body = self._bodies.get((content_type, compressed))
            if body is None:
                parts = (self._own, *(self._parts[name] for name in sorted(self._parts)))
                if content_type == OPENMETRICS:
                    body = b"".join(part.openmetrics for part in parts) + _EOF
                else:
                    body = b"".join(part.text for part in parts)
                if compressed:
                    body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
                self._bodies[content_type, compressed] = body
            return body


def negotiate(accept: str) -> str:
    """Return the content type that a scraper's Accept header asks for."""
    _, content_type = text_format.choose_encoder(accept)
    return OPENMETRICS if content_type.startswith("application/openmetrics-text") else TEXT


def _series(families: Iterable[Metric]) -> int:
    return sum(len(family.samples) for family in families)


def _render(families: tuple[Metric, ...], allowed: int) -> tuple[_Part, int]:
    """Return the part, and how many series did not fit or came twice."""
    kept, left = [], allowed
    for family in families:
        shown = Metric(family.name, family.documentation, family.type, family.unit)
        seen = set()
        for sample in family.samples:
            labels = {name: clean(value) for name, value in sample.labels.items()}
            identity = (sample.name, *labels.items())
            if left > 0 and identity not in seen:
                seen.add(identity)
                left -= 1
                shown.samples.append(Sample(sample.name, labels, sample.value))
        if shown.samples:
            kept.append(shown)
    series = _series(kept)
    collector = _Families(kept)
    openmetrics = openmetrics_format.generate_latest(collector)  # type: ignore[no-untyped-call]  # as it is shipped
    part = _Part(
        families,
        allowed,
        series,
        text_format.generate_latest(collector),
        openmetrics.removesuffix(_EOF),
    )
    return part, _series(families) - series
