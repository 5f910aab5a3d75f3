"""The metrics as bytes: rendered when a job has run, handed out at every scrape.

Each family is rendered by itself, and again only when a sample of it has changed: most of what a
run brings is as it was. Here the promises on labels and numbers of series are kept, whatever a job
hands over: values are printable and short, no series comes twice, and the ceiling holds.
"""

import gzip
import re
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
class _Shown:
    """A family as it was given, as it is shown, and {content type: its bytes}, as asked for."""

    given: Metric
    shown: Metric
    rendered: dict[str, bytes]

    @property
    def series(self) -> int:
        return len(self.shown.samples)

    def holds_for(self, family: Metric, allowed: int) -> bool:
        """Whether a family is the same, and would be shown whole, as this one was."""
        return len(self.given.samples) == self.series <= allowed and self.given == family


@dataclass(slots=True)
class _Part:
    """One job's families, `allowed` series of each at most."""

    families: tuple[Metric, ...]
    allowed: int
    shown: tuple[_Shown, ...]

    @property
    def series(self) -> int:
        return sum(one.series for one in self.shown)


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


class Exposition:
    """All metrics of the agent. `refresh` after a change; `body` for a scrape. Thread-safe.

    records: the store's. own_families: the agent's metrics on itself, from the records and {job's
    name: series dropped so far}. A format is rendered from the moment that somebody asks for it.
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
        self._own = _Part((), 0, ())
        self._asked: set[str] = set()
        self._bodies: dict[tuple[str, bool], bytes] = {}
        self.dropped: dict[str, int] = {}

    def refresh(self, *, own: bool = True) -> None:
        """Take over what has changed since the last call, and render it.

        own: the agent's metrics on itself as well, which change when a run is over.
        """
        with self._lock:
            records = self._records()  # inside: older ones must not come after newer ones
            for name in records:
                self.dropped.setdefault(name, 0)
            if own:
                families = tuple(self._own_families(records, self.dropped))
                allowed = level_of(map(_size, families), self._max_series)
                self._own = self._cut(families, allowed, self._own)
            for gone in set(self._parts) - set(records):
                del self._parts[gone]
            sizes = [_size(family) for record in records.values() for family in record.families]
            allowed = level_of(sizes, self._max_series - self._own.series)
            for name, record in records.items():
                old = self._parts.get(name)
                if old is None or old.families is not record.families or old.allowed != allowed:
                    self._parts[name] = self._cut(record.families, allowed, old)
                    self.dropped[name] += series(record.families) - self._parts[name].series
            self._bodies.clear()

    def limit(self, max_series: int) -> None:
        """Have another ceiling, from the next refresh on."""
        with self._lock:
            self._max_series = max_series

    def _cut(self, families: tuple[Metric, ...], allowed: int, old: _Part | None) -> _Part:
        shown = tuple(_cut(families, allowed, old.shown if old else ()))
        for one in shown:
            for content_type in self._asked - one.rendered.keys():
                one.rendered[content_type] = render([one.shown], content_type)
        return _Part(families, allowed, shown)

    def families(self) -> tuple[Metric, ...]:
        """Return all that is exposed: labels clean, the ceiling kept."""
        with self._lock:
            parts = (self._own, *(self._parts[name] for name in sorted(self._parts)))
            return tuple(one.shown for part in parts for one in part.shown)

    def series(self) -> int:
        """Return how many series are exposed."""
        with self._lock:
            return sum(part.series for part in (self._own, *self._parts.values()))

    def body(self, content_type: str, *, compressed: bool) -> bytes:
        """Return the whole exposition as TEXT or OPENMETRICS."""
        with self._lock:
            self._asked.add(content_type)
            body = self._bodies.get((content_type, compressed))
            if body is None:
                parts = (self._own, *(self._parts[name] for name in sorted(self._parts)))
                body = b"".join(
                    _rendered(one, content_type) for part in parts for one in part.shown
                )
                body += _EOF if content_type == OPENMETRICS else b""
                if compressed:
                    body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
                self._bodies[content_type, compressed] = body
            return body


def _rendered(one: _Shown, content_type: str) -> bytes:
    if content_type not in one.rendered:  # the first to ask for this format
        one.rendered[content_type] = render([one.shown], content_type)
    return one.rendered[content_type]


def negotiate(accept: str) -> str:
    """Return the content type that a scraper's Accept header asks for."""
    _, content_type = text_format.choose_encoder(accept)
    return OPENMETRICS if content_type.startswith("application/openmetrics-text") else TEXT


def takes_gzip(accept_encoding: str) -> bool:
    """Whether a scraper's Accept-Encoding header asks for gzip; q=0 refuses it (RFC 9110)."""
    for part in accept_encoding.lower().split(","):
        coding, _, weight = part.replace(" ", "").partition(";")
        if coding == "gzip":
            return re.fullmatch(r"q=0(\.0*)?", weight) is None
    return False


def _size(family: Metric) -> int:
    return len(family.samples)


def series(families: Iterable[Metric]) -> int:
    """Return how many series there are."""
    return sum(map(_size, families))


def level_of(sizes: Iterable[int], most: int) -> int:
    """Return how many series each family may have for all of them to have `most` in sum.

    Max-min fair: what is small stays whole, what is large is cut to the same size. So one number on
    the host never goes for the sake of thousands on its ports.
    """
    left, rising = most, sorted(sizes)
    for number, size in enumerate(rising):
        share = left // (len(rising) - number)
        if size > share:
            return share
        left -= size
    return most


def _cut(families: Iterable[Metric], allowed: int, before: Iterable[_Shown]) -> Iterator[_Shown]:
    """Yield the families with clean labels, without what does not fit or comes twice.

    allowed: series of each. What has not changed since `before` is taken from there.
    """
    old = {one.given.name: one for one in before}
    for family in families:
        one = old.get(family.name)
        if one is None or not one.holds_for(family, allowed):
            one = _Shown(family, _clean(family, allowed), {})
        if one.series:
            yield one


def _clean(family: Metric, allowed: int) -> Metric:
    shown = Metric(family.name, family.documentation, family.type, family.unit)
    seen: set[tuple[object, ...]] = set()
    for sample in family.samples:
        labels = {name: clean(value) for name, value in sample.labels.items()}
        identity = (sample.name, *sorted(labels.items()))
        if len(seen) < allowed and identity not in seen:
            seen.add(identity)
            shown.samples.append(Sample(sample.name, labels, sample.value))
    return shown


def render(families: Iterable[Metric], content_type: str) -> bytes:
    """Return families as TEXT or, without its last line, OPENMETRICS."""
    collector = _Families(families)
    if content_type == OPENMETRICS:
        body: bytes = openmetrics_format.generate_latest(collector)  # type: ignore[no-untyped-call]  # as it is shipped
        return body.removesuffix(_EOF)
    return text_format.generate_latest(collector)
