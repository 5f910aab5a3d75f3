"""How a publisher does: what it counts, what the log says of it, and the metrics of all of them."""

import time
from collections.abc import Callable, Iterable
from threading import Lock

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from vedette import log
from vedette.publish.remote import REASONS, Outcome


class Tally:
    """Of one publisher, with the reasons for which it can fail. Thread-safe.

    sends: whether it goes out, so that samples may wait, and be lost.
    """

    def __init__(
        self,
        publisher: str,
        now: Callable[[], float] = time.time,
        reasons: Iterable[str] = REASONS,
        *,
        sends: bool = True,
    ) -> None:
        self.publisher, self.sends = publisher, sends
        self.attempts = 0
        self.failures = dict.fromkeys(reasons, 0)
        self.last_success: float | None = None
        self.buffered = 0
        self.dropped = 0
        self._failing = ""
        self._now = now
        self._lock = Lock()

    def note(self, reason: str) -> bool:
        """An attempt is over; reason: "" if it went well. Returns whether that is news."""
        with self._lock:
            self.attempts += 1
            if reason:
                self.failures[reason] += 1
            else:
                self.last_success = self._now()
            changed, self._failing = reason != self._failing, reason
        return changed

    def count(self, outcome: Outcome) -> None:
        """An exchange is over; news are logged. One that was called off is none."""
        if outcome.reason == "stopped":
            return
        changed = self.note(outcome.reason)
        if changed and outcome.reason:
            log.event("warning", "publishing fails", publisher=self.publisher,
                      reason=outcome.reason, words=outcome.words)  # fmt: skip
        elif changed:
            log.event("info", "publishing works again", publisher=self.publisher)

    def drop(self, samples: int) -> None:
        """So many samples will never arrive."""
        with self._lock:
            self.dropped += samples


def families(tallies: Iterable[Tally]) -> Iterable[Metric]:
    """The metrics of all publishers that are switched on."""
    all_of_them = tuple(tallies)
    if not all_of_them:
        return
    attempts = CounterMetricFamily(
        "vedette_publish_attempts",
        "Exchanges of a publisher with its server; of expose: scrapes that were asked for.",
        labels=["publisher"],
    )
    failures = CounterMetricFamily(
        "vedette_publish_failures",
        "Attempts that did not bring what they should, by reason; bug: a fault in the agent.",
        labels=["publisher", "reason"],
    )
    last = GaugeMetricFamily(
        "vedette_publish_last_success_timestamp_seconds",
        "When a server last accepted, or a scrape got something; no series: not since the start.",
        labels=["publisher"],
    )
    buffered = GaugeMetricFamily(
        "vedette_publish_buffered_samples", "Samples taken that the server has not accepted yet.",
        labels=["publisher"],
    )  # fmt: skip
    dropped = CounterMetricFamily(
        "vedette_publish_dropped_samples",
        "Samples that will never arrive: refused by the server, over a ceiling, or too old.",
        labels=["publisher"],
    )
    for tally in all_of_them:
        name = [tally.publisher]
        attempts.add_metric(name, tally.attempts)
        for reason, count in tally.failures.items():
            failures.add_metric([*name, reason], count)
        if tally.last_success is not None:
            last.add_metric(name, tally.last_success)
        if tally.sends:
            buffered.add_metric(name, tally.buffered)
            dropped.add_metric(name, tally.dropped)
    yield from (attempts, failures, last, buffered, dropped)
