"""The golden file: /metrics of fixed snapshots, byte for byte. It is the contract with dashboards.

REGENERATE_GOLDEN=1 writes it anew; look at the difference before it is committed.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.support import exposition_of, record_of
from tests.unit.contract import CONTRACT
from tests.unit.publish.test_inventory import CAN
from tests.unit.snapshots import FINGERPRINT, SCAN, SNIFF, STATS
from vedette import scan_metrics
from vedette.errors import REASONS
from vedette.jobs import fingerprint, found, sniff, stats
from vedette.publish import about, tally
from vedette.publish.exposition import TEXT, Exposition
from vedette.publish.remote import Outcome
from vedette.publish.server import Server
from vedette.publish.tally import Tally
from vedette.store import Record

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics.txt"


def records() -> dict[str, Record]:
    jobs = {
        "fingerprint": record_of("fingerprint", fingerprint.families(FINGERPRINT), FINGERPRINT),
        "scan": record_of("scan", scan_metrics.families(SCAN), SCAN),
        "sniff": record_of("sniff", sniff.families(SNIFF), SNIFF),
        "stats": record_of("stats", stats.families(STATS), STATS),
    }
    return {
        name: replace(
            record,
            runs=number,
            skipped=1,
            last_success=1_790_000_000.5,
            last_duration=0.25,
            failures={**dict.fromkeys(REASONS, 0), "timed_out": number},
        )
        for number, (name, record) in enumerate(jobs.items(), 1)
    }


def tallies() -> Iterator[Tally]:
    """How all publishers do, where they are switched on."""
    scraped = Server(exposition_of({}), {}, 8).tally
    scraped.note("auth")
    yield scraped
    for name, waiting in (("push", 140), ("remote_write", 2700)):
        one = Tally(name, lambda: 1_790_000_000.5)
        one.count(Outcome(""))
        one.count(Outcome("timeout"))
        one.buffered = waiting
        one.drop(7)
        yield one


def exposed() -> str:
    capabilities = {**CAN, "packages": False}
    levels = {"debug": 0, "info": 5, "warning": 1, "error": 0, "critical": 0}

    def own(seen: Mapping[str, Record], dropped: Mapping[str, int]) -> Iterator[Metric]:
        yield from about.families(seen, dropped, capabilities, levels, 1_790_000_000.0)
        yield from tally.families(tallies())

    exposition = Exposition(records, own, 1000)
    exposition.refresh()
    text = exposition.body(TEXT, compressed=False).decode()
    return re.sub(
        r'(python_version|version)="[^"]+"(?=.*} 1.0\n# HELP vedette_cap)', r'\1="X"', text
    )


def golden() -> str:
    return GOLDEN.read_text(encoding="utf-8")


def families() -> dict[str, tuple[str, set[frozenset[str]]]]:
    """{name as exposed: (type, the label sets of its series)} of the golden file."""
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: (
            family.type,
            {frozenset(sample.labels) for sample in family.samples},
        )
        for family in text_string_to_metric_families(golden())
    }


def test_the_exposition_is_the_golden_file() -> None:
    """Every name, label, help text and value, and their order."""
    if os.environ.get("REGENERATE_GOLDEN"):
        GOLDEN.write_text(exposed(), encoding="utf-8")

    assert exposed() == golden()


def test_the_snapshots_are_of_all_jobs() -> None:
    """A job that is added must stand in the golden file."""
    assert list(found()) == list(records())


def test_what_is_exposed_is_the_contract_and_the_contract_is_exposed() -> None:
    """Nothing else may be used by dashboards and rules, and all of it may."""
    assert families() == {name: (kind, {labels}) for name, (kind, labels) in CONTRACT.items()}


def test_every_family_says_what_it_is() -> None:
    """A HELP text that ends with a full stop, a TYPE, and its series in one block."""
    lines = golden().splitlines()
    helped = [line.split()[2] for line in lines if line.startswith("# HELP ")]
    typed = [line.split()[2] for line in lines if line.startswith("# TYPE ")]
    texts = [line.split(maxsplit=3)[3] for line in lines if line.startswith("# HELP ")]

    assert sorted(helped) == sorted(typed) == sorted(CONTRACT)
    assert [text for text in texts if len(text) < 15 or not text.endswith(".")] == []


@pytest.mark.parametrize("name", CONTRACT)
def test_names_and_labels_follow_the_practices(name: str) -> None:
    """Base units, ratios, `_total` on counters alone, no label that Prometheus adds itself.

    https://prometheus.io/docs/practices/naming/
    """
    kind, labels = CONTRACT[name]

    assert re.fullmatch(r"vedette(_[a-z0-9]+)+", name)
    assert name.endswith("_total") == (kind == "counter")
    assert not re.search(
        r"percent|milli|micro|nano|kilo|mega|giga|bits|mbps|minutes|hours|_(ms|us|kb|mb|gb|pct|age)(_|$)"
        r"|_(count|sum|bucket|created)$|counter|gauge",
        name,
    )
    assert not labels & {
        "job", "instance", "service", "env", "type", "hostname", "host", "region", "le", "quantile",
    }  # fmt: skip
    assert "timestamp" not in name or name.endswith("_timestamp_seconds")


def test_info_metrics_are_1_and_ratios_are_ratios() -> None:
    """Values of fixed snapshots, but what holds for them holds for all: see the jobs' tests."""
    for family in text_string_to_metric_families(golden()):
        values = [sample.value for sample in family.samples]
        if family.name.endswith("_info"):
            assert set(values) == {1.0}
        if family.name.endswith("_ratio"):
            assert all(0 <= value <= 1 for value in values)
        if family.name.endswith("_score"):
            assert all(0 <= value <= 10 for value in values)
