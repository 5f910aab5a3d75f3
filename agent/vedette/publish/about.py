"""The agent's metrics on itself."""

import platform
from collections.abc import Iterable, Mapping

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)

from vedette import __version__
from vedette.errors import BUG
from vedette.store import Record


def families(
    records: Mapping[str, Record],
    dropped: Mapping[str, int],
    capabilities: Mapping[str, bool],
    log_counts: Mapping[str, int],
    configured_at: float,
    *,
    refused: bool = False,
) -> Iterable[Metric]:
    """Version, capabilities, log lines, and how the jobs are. dropped: {job: series}.

    configured_at: when the configuration in use was read, Unix seconds. refused: a newer one was
    read, and is invalid.
    """
    build = InfoMetricFamily(
        "vedette_build",
        "Version of the agent; always 1.",
        labels=["version", "python_version"],
    )
    build.add_metric([__version__, platform.python_version()], {})
    yield build
    capability = GaugeMetricFamily(
        "vedette_capability",
        "Whether the agent can do this here: raw_sockets and nmap for whole scans, capture for"
        " traffic, packages (a fresh list by `vedette inventory`) for exact versions, history for"
        " what outlives a restart.",
        labels=["capability"],
    )
    for name, can in sorted(capabilities.items()):
        capability.add_metric([name], can)
    yield capability
    yield GaugeMetricFamily(
        "vedette_config_last_reload_successful",
        "Whether the configuration was valid when it was last read.",
        value=not refused,
    )
    yield GaugeMetricFamily(
        "vedette_config_last_reload_success_timestamp_seconds",
        "When the configuration in use was read.",
        value=configured_at,
    )
    messages = CounterMetricFamily(
        "vedette_log_messages", "Log lines written, by level.",
        labels=["level"],
    )  # fmt: skip
    for level, count in log_counts.items():
        messages.add_metric([level], count)
    yield messages
    yield from _job_families(records, dropped)


def _job_families(records: Mapping[str, Record], dropped: Mapping[str, int]) -> Iterable[Metric]:
    counters = (
        ("vedette_job_runs", "Runs of a job that were started.", lambda r: r.runs),
        (
            "vedette_job_skipped",
            "Runs that were due while the one before was still under way.",
            lambda r: r.skipped,
        ),
        (
            "vedette_series_dropped",
            "Series withheld when a job's metrics were rendered: over the ceiling, or twice.",
            lambda r: dropped.get(r.name, 0),
        ),
    )
    gauges = (
        (
            "vedette_job_interval_seconds",
            "Time between the starts of a job, as configured.",
            lambda r: r.interval_seconds,
        ),
        (
            "vedette_job_last_success_timestamp_seconds",
            "When a run of a job last went well; no series: never since the agent's start.",
            lambda r: r.last_success,
        ),
        (
            "vedette_job_last_duration_seconds",
            "How long the last finished run of a job took.",
            lambda r: r.last_duration,
        ),
    )
    for kind, metrics in ((CounterMetricFamily, counters), (GaugeMetricFamily, gauges)):
        for name, text, value_of in metrics:
            family = kind(name, text, labels=["job_name"])
            for record in records.values():
                if (value := value_of(record)) is not None:
                    family.add_metric([record.name], value)
            yield family
    failures = CounterMetricFamily(
        "vedette_job_failures",
        "Runs of a job that failed, by reason, once there is one; bug, always there: a fault in the"
        " agent itself.",
        labels=["job_name", "reason"],
    )
    for record in records.values():
        for reason, count in record.failures.items():
            if count or reason == BUG:  # six reasons of four jobs would be a twelfth of all series
                failures.add_metric([record.name, reason], count)
    yield failures
