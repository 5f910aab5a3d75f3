"""publish/exposition.py: whatever jobs hand over, /metrics stays sound, short and parseable."""

import gzip
import re
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.support import exposition_of, record_of, text_of
from tests.unit.snapshots import FINGERPRINT, HOSTILE, SCAN, SNIFF, STATS
from vedette import scan_metrics
from vedette.job import clean
from vedette.jobs import fingerprint, sniff, stats
from vedette.publish.exposition import (
    OPENMETRICS,
    TEXT,
    Exposition,
    level_of,
    negotiate,
    takes_gzip,
)
from vedette.store import Record


def gauge(name: str, *values: str) -> Metric:
    family = GaugeMetricFamily(name, "A test.", labels=["value"])
    for value in values:
        family.add_metric([value], 1)
    return family


def series(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def text(exposition: Exposition) -> str:
    return exposition.body(TEXT, compressed=False).decode()


ALL = {
    "fingerprint": record_of("fingerprint", fingerprint.families(FINGERPRINT)),
    "scan": record_of("scan", scan_metrics.families(SCAN)),
    "sniff": record_of("sniff", sniff.families(SNIFF)),
    "stats": record_of("stats", stats.families(STATS)),
}


def test_hostile_labels_become_one_printable_line() -> None:
    """Nobody's banner may start a series, end a quote, or recolour an operator's terminal."""
    printed = text_of([gauge("vedette_test", *HOSTILE)])

    assert all(line.isprintable() for line in printed.splitlines())
    assert len(series(printed)) == len({clean(value) for value in HOSTILE})
    (family,) = parse_text(printed)
    assert {sample.labels["value"] for sample in family.samples} == set(map(clean, HOSTILE))


def test_what_is_the_same_after_cleaning_comes_once() -> None:
    """Prometheus refuses a whole scrape for one series that comes twice."""
    assert series(text_of([gauge("vedette_test", "a b", "a\nb", "a\tb", "c")])) == [
        'vedette_test{value="a b"} 1.0',
        'vedette_test{value="c"} 1.0',
    ]


def test_the_largest_families_pay_for_the_ceiling() -> None:
    """Thousands of open ports on a host of many interfaces must not cost its risk and its load."""
    ports = map(str, range(5000))
    scan = record_of("scan", [gauge("vedette_host", "a"), gauge("vedette_port", *ports)])
    stats = record_of(
        "stats", [gauge("vedette_if", *map(str, range(9))), gauge("vedette_load", "")]
    )
    exposition = exposition_of({"scan": scan, "stats": stats}, max_series=10)

    assert series(text(exposition)) == [
        'vedette_host{value="a"} 1.0',
        *(f'vedette_port{{value="{n}"}} 1.0' for n in range(4)),
        *(f'vedette_if{{value="{n}"}} 1.0' for n in range(4)),
        'vedette_load{value=""} 1.0',
    ]
    assert exposition.dropped == {"scan": 4996, "stats": 5}
    assert exposition.series() == 10


@given(st.lists(st.integers(0, 300)), st.integers(0, 500))
def test_the_ceiling_is_shared_out_fairly(sizes: list[int], most: int) -> None:
    """All of it is used, but for the remainder of the division among those that are cut."""
    level = level_of(sizes, most)
    shown = [min(size, level) for size in sizes]

    assert sum(shown) <= most
    cut = sum(size > level for size in sizes)
    assert sum(shown) > most - cut if cut else shown == sizes


def test_the_agents_own_metrics_go_first() -> None:
    """They say that something was withheld: they may not be what is withheld."""
    records = {"job": record_of("job", [gauge("vedette_job", "a", "b", "c")])}

    def own(_records: dict[str, Record], dropped: dict[str, int]) -> Iterable[Metric]:
        yield GaugeMetricFamily("vedette_own", "A test.", value=dropped["job"])

    exposition = Exposition(lambda: records, own, 2)
    exposition.refresh()

    assert series(text(exposition)) == ["vedette_own 0.0", 'vedette_job{value="a"} 1.0']
    exposition.refresh()
    assert series(text(exposition))[0] == "vedette_own 2.0"


def test_series_vanish_with_their_snapshot() -> None:
    """A port that was closed leaves nothing behind."""
    records = {"job": record_of("job", [gauge("vedette_job", "a", "b")])}
    exposition = Exposition(lambda: records, lambda _records, _dropped: (), 100)
    exposition.refresh()
    records["job"] = record_of("job", [gauge("vedette_job", "b")])
    exposition.refresh()

    assert series(text(exposition)) == ['vedette_job{value="b"} 1.0']


class Watched(Metric):
    """A family that tells when somebody asks for its text, to print it."""

    def __init__(self, name: str, printed: list[str]) -> None:
        self._printed = printed
        super().__init__(name, "", "gauge")
        self.add_sample(name, {}, 1)

    @property
    def documentation(self) -> str:
        self._printed.append(self.name)
        return "A test."

    @documentation.setter
    def documentation(self, _: str) -> None:
        """It is always the same."""


def test_only_what_has_changed_is_rendered_again() -> None:
    """Sniff runs every ten seconds: a thousand series of the scan must not be printed with it."""
    printed: list[str] = []
    records = {
        name: record_of(name, [Watched(f"vedette_{name}", printed)]) for name in ("scan", "sniff")
    }
    exposition = Exposition(lambda: records, lambda _records, _dropped: (), 100)
    exposition.refresh()
    text(exposition)
    printed.clear()
    records["sniff"] = record_of("sniff", [Watched("vedette_sniff", printed)])
    printed.clear()
    exposition.refresh()
    text(exposition)

    assert set(printed) == {"vedette_sniff"}


def test_a_family_that_is_as_it_was_is_taken_over() -> None:
    """Most of what runs every five seconds brings the same addresses and file systems again."""
    records = {"job": record_of("job", [gauge("vedette_a", "x"), gauge("vedette_b", "x")])}
    exposition = Exposition(lambda: records, lambda _records, _dropped: (), 100)
    exposition.refresh()
    before = exposition.families()
    records["job"] = record_of("job", [gauge("vedette_a", "x"), gauge("vedette_b", "y")])
    exposition.refresh()
    after = exposition.families()

    assert [old is new for old, new in zip(before, after, strict=True)] == [True, False]


FAMILIES = st.dictionaries(
    st.sampled_from(["vedette_a", "vedette_b", "vedette_c"]),
    st.lists(st.sampled_from(["x", "y", "z", " x"]), max_size=4),
)


@given(st.lists(FAMILIES, min_size=2, max_size=4), st.integers(0, 8))
def test_what_came_before_leaves_no_trace(runs: list[dict[str, list[str]]], ceiling: int) -> None:
    """Whatever is taken over from earlier runs, the text is that of the last one alone."""
    records: dict[str, Record] = {}
    old, new = (
        Exposition(lambda: records, lambda _records, _dropped: (), ceiling) for _ in range(2)
    )
    for run in runs:
        records["job"] = record_of("job", [gauge(name, *run[name]) for name in run])
        old.refresh()
        text(old)
    new.refresh()

    assert text(old) == text(new)


def test_growth_of_one_job_leaves_the_others_as_they_are() -> None:
    """What fits is not touched because somebody else takes more."""
    records = {"a": record_of("a", [gauge("vedette_a", "1")])}
    exposition = Exposition(lambda: records, lambda _records, _dropped: (), 10)
    exposition.refresh()
    before = series(text(exposition))
    records["b"] = record_of("b", [gauge("vedette_b", *map(str, range(50)))])
    exposition.refresh()

    assert series(text(exposition))[:1] == before
    assert exposition.series() == 10


def test_both_formats_tell_the_same() -> None:
    """Prometheus asks for OpenMetrics, people and scripts for text."""
    exposition = exposition_of(ALL)
    openly = exposition.body(OPENMETRICS, compressed=False).decode()

    def told(families: Iterable[Metric]) -> list[tuple[str, str, list[object]]]:
        # An info metric's `_info` belongs to the sample alone in OpenMetrics, which has that type.
        return [(f.name.removesuffix("_info"), f.documentation, list(f.samples)) for f in families]

    assert openly.endswith("\n# EOF\n")
    assert openly.count("# EOF") == 1
    same = parse_open(openly)  # type: ignore[no-untyped-call]  # as it is shipped
    assert told(same) == told(parse_text(text(exposition)))


@pytest.mark.parametrize("kind", [TEXT, OPENMETRICS])
def test_compressed_is_the_same(kind: str) -> None:
    """And repeatable: the same content gives the same bytes."""
    exposition = exposition_of(ALL)
    body = exposition.body(kind, compressed=True)

    assert gzip.decompress(body) == exposition.body(kind, compressed=False)
    assert body == exposition_of(ALL).body(kind, compressed=True)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html,application/xhtml+xml,*/*;q=0.8", TEXT),
        ("text/plain;version=0.0.4", TEXT),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily", TEXT),
        (",;=;q=x,,", TEXT),
    ],
)  # fmt: skip
def test_the_scraper_chooses_the_format(accept: str, kind: str) -> None:
    """Whatever it cannot say, it gets the text that everybody reads."""
    assert negotiate(accept) == kind


@pytest.mark.parametrize(
    ("asked", "takes"),
    [("gzip", True), ("deflate, GZIP;q=0.5", True), ("", False), ("br", False), ("gzip;q=0", False),
     ("gzip; q=0.000", False), ("x-gzip", False)],
)  # fmt: skip
def test_the_scraper_chooses_the_compression(asked: str, takes: bool) -> None:  # noqa: FBT001 - a table
    """Who refuses gzip cannot read it."""
    assert takes_gzip(asked) is takes


@given(st.text())
def test_any_accept_header_gives_one_of_the_two(accept: str) -> None:
    """It is written by whoever connects."""
    assert negotiate(accept) in (TEXT, OPENMETRICS)


labels = st.dictionaries(
    st.sampled_from(["a", "b"]), st.text(max_size=90) | st.sampled_from(HOSTILE), max_size=2
)
many_series = st.lists(st.tuples(labels, st.floats() | st.integers(-5, 5)), max_size=12)


def family_of(name: str, rows: list[tuple[dict[str, str], float]], kind: str) -> Metric:
    family = Metric(name, "A test.", kind)
    for values, number in rows:
        family.add_sample(name + ("_total" if kind == "counter" else ""), values, number)
    return family


@settings(max_examples=150)
@given(
    st.dictionaries(
        st.sampled_from(["alpha", "beta", "gamma"]),
        st.lists(st.tuples(many_series, st.sampled_from(["gauge", "counter"])), max_size=3),
    ),
    st.integers(0, 40),
)
def test_whatever_jobs_hand_over_the_promises_hold(
    jobs: dict[str, list[tuple[list[tuple[dict[str, str], float]], str]]], ceiling: int
) -> None:
    """Bounded, printable, short, no series twice, and readable to Prometheus' own parser."""
    records = {
        job: record_of(
            job, [family_of(f"vedette_{job}_{n}", *given) for n, given in enumerate(families)]
        )
        for job, families in jobs.items()
    }
    exposition = exposition_of(records, max_series=ceiling)
    printed = text(exposition)
    rows = [line.rsplit(" ", 1)[0] for line in series(printed)]
    handed_over = sum(len(f.samples) for r in records.values() for f in r.families)

    assert len(rows) <= ceiling
    assert len(rows) == len(set(rows)) == exposition.series()
    assert sum(exposition.dropped.values()) == handed_over - len(rows)
    assert all(line.isprintable() for line in printed.splitlines())
    for family in parse_text(printed):
        for sample in family.samples:
            assert all(len(value) <= 64 for value in sample.labels.values())


@given(st.text() | st.sampled_from(HOSTILE), st.integers(1, 200))
def test_clean_text_is_one_printable_line_and_stays_so(raw: str, limit: int) -> None:
    """Once is enough: what is clean is not changed again."""
    cleaned = clean(raw, limit)

    assert cleaned.isprintable()
    assert len(cleaned) <= limit
    assert cleaned == clean(cleaned, limit) == cleaned.strip()
    assert not re.search(r"\s\s", cleaned)


def test_100_kilobytes_are_cut_before_they_are_looked_at() -> None:
    """And the reader sees that something was."""
    assert clean("x" * 100_000) == "x" * 63 + "…"


def test_counters_keep_their_ending_in_both_formats() -> None:
    """`_total` belongs to the sample, not to the family, in OpenMetrics."""
    family = CounterMetricFamily("vedette_test", "A test.", value=1)
    exposition = exposition_of({"job": record_of("job", [family])})

    assert "# TYPE vedette_test_total counter" in text(exposition)
    assert b"# TYPE vedette_test counter" in exposition.body(OPENMETRICS, compressed=False)


def test_info_metrics_are_of_that_type_where_there_is_one() -> None:
    """OpenMetrics knows info; the older text format shows it as a gauge whose value is 1."""
    exposition = exposition_of(ALL)

    assert b"# TYPE vedette_open_port info" in exposition.body(OPENMETRICS, compressed=False)
    assert "# TYPE vedette_open_port_info gauge" in text(exposition)


def test_a_job_that_is_switched_off_takes_its_series_with_it() -> None:
    """What is no longer looked at must not look fresh."""
    records = {"a": record_of("a", [gauge("a", "1")]), "b": record_of("b", [gauge("b", "1")])}
    exposition = Exposition(lambda: records, lambda _records, _dropped: [], 100)
    exposition.refresh()
    before = series(text(exposition))
    del records["a"]
    exposition.refresh()

    assert before == ['a{value="1"} 1.0', 'b{value="1"} 1.0']
    assert series(text(exposition)) == ['b{value="1"} 1.0']


def test_another_ceiling_counts_from_the_next_refresh_on() -> None:
    """A reload may bring one."""
    records = {"a": record_of("a", [gauge("a", "1", "2", "3")])}
    exposition = Exposition(lambda: records, lambda _records, _dropped: [], 100)
    exposition.refresh()
    exposition.limit(2)
    exposition.refresh()

    assert (len(series(text(exposition))), exposition.dropped) == (2, {"a": 1})
