"""To Prometheus and what understands its Remote-Write 1.0: each interval's samples, in order.

What was seen at a moment goes into the buffer first and from there to the receiver, one request
after the other: an outage is made up for, as far as the buffer reaches.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Event

from prometheus_client.metrics_core import Metric

from vedette import log
from vedette.publish import prompb
from vedette.publish.buffer import Buffer
from vedette.publish.options import RemoteWrite as Options
from vedette.publish.pace import Pace
from vedette.publish.remote import FINAL, Outcome, Remote
from vedette.publish.sender import Sender

_SAMPLES_PER_REQUEST = 2000  # as Prometheus itself sends them
# After a refusal the next request is tried soon, for one bad request must not stop the others; but
# not at once, for with a wrong URL all of the buffer would be gone before anybody looks.
_AFTER_REFUSAL_SECONDS = 1.0
_LAST_SECONDS = 0.9  # for what is sent when the agent ends

_Key = tuple[str, tuple[tuple[str, str], ...]]


class Series:
    """All series of the last moment, as they are on the wire: the next one needs their values only.

    external: labels that each series gets.
    """

    def __init__(self, external: Mapping[str, str]) -> None:
        self._external = external
        self._known: dict[_Key, bytes] = {}

    def samples(self, families: tuple[Metric, ...]) -> list[tuple[bytes, bytes]]:
        """Return (labels, value) of each series, and the mark of those that are gone."""
        before, self._known = self._known, {}
        found = []
        for family in families:
            for sample in family.samples:
                key = sample.name, tuple(sample.labels.items())
                on_wire = before.pop(key, None)
                if on_wire is None:
                    on_wire = prompb.labels(sample.name, sample.labels, self._external)
                self._known[key] = on_wire
                found.append((on_wire, prompb.number(sample.value)))
        found.extend((gone, prompb.STALE) for gone in before.values())
        return found


class RemoteWrite(Sender):
    """families: all that is known now. phase: this host's place in the interval.

    At the end it marks all series as ended and sends what can be sent in a second.
    """

    def __init__(
        self,
        options: Options,
        instance: str,
        directory: Path,
        families: Callable[[], tuple[Metric, ...]],
        phase: float,
    ) -> None:
        super().__init__("remote_write")
        self._remote = Remote(options)
        self._target = f"{self._remote.path or '/'}{self._remote.query}"
        self._series = Series({"job": "vedette", "instance": instance, **options.external_labels})
        self._families = families
        self._pace = Pace(options.interval_seconds, phase)
        self._directory = directory
        self._most_bytes = options.buffer_bytes
        self._buffer: Buffer | None = None
        self._last_timestamp = 0

    @property
    def buffer(self) -> Buffer:
        """What waits. It is opened when it is first needed: only the running agent may have it."""
        if self._buffer is None:
            self._buffer = Buffer(self._directory, self._most_bytes)
        return self._buffer

    def take(self, *, last: bool = False) -> None:
        """Put the samples of this moment into the buffer. last: all series end with it."""
        samples = self._series.samples(() if last else self._families())
        # Whatever the clock does, a mark must not be older than the sample before it.
        now = int(time.time() * 1000)
        timestamp = max(now, self._last_timestamp + 1) if last else now
        self._last_timestamp = timestamp
        for piece in _pieces(samples):
            self.tally.drop(self.buffer.add(prompb.request(piece, timestamp), len(piece)))
        self.tally.buffered = self.buffer.samples

    def send(self, stop: Event | None = None, seconds: float | None = None) -> Outcome:
        """Send the oldest request; remove it unless it is to be tried again."""
        body = self.buffer.first()
        if body is None:  # its file is gone, and there is nothing to send
            self.tally.drop(self.buffer.drop())
            return Outcome("")
        outcome = self._remote.exchange(
            "POST", self._target, body, prompb.HEADERS, stop=stop or self._stop, seconds=seconds
        )
        if not outcome.reason:
            self.buffer.drop()
        elif outcome.reason in FINAL:
            self.tally.drop(self.buffer.drop())
        self.tally.buffered = self.buffer.samples
        self.tally.count(outcome)
        return outcome

    def _work(self) -> None:
        first = self._pace.until_slot(time.time(), first=True)
        take_at = send_at = time.monotonic() + first
        while not self._stop.wait(max(0.0, self._due(take_at, send_at) - time.monotonic())):
            try:
                if take_at <= time.monotonic():
                    take_at = time.monotonic() + self._pace.until_slot(time.time())
                    self.take()
                else:
                    send_at = time.monotonic() + self._pause(self.send())
            except Exception as exc:  # noqa: BLE001 - a bug costs this moment, not those after it
                log.event("error", "bug in a publisher", trace=True, publisher="remote_write")
                self.tally.count(Outcome("bug", type(exc).__name__))
                send_at = take_at
        self._end()

    def _due(self, take_at: float, send_at: float) -> float:
        return min(take_at, send_at) if self.buffer else take_at

    def _pause(self, outcome: Outcome) -> float:
        """Return the seconds until the next request."""
        wait = self._pace.after(outcome, self._pace.until_slot(time.time()))
        if not outcome.reason:
            return 0.0
        return _AFTER_REFUSAL_SECONDS if outcome.reason == "rejected" else wait

    def _end(self) -> None:
        end, never = time.monotonic() + _LAST_SECONDS, Event()
        self.take(last=True)
        while self.buffer and (left := end - time.monotonic()) > 0:
            if self.send(never, left).reason:
                break  # the next agent sends the rest


def _pieces(samples: list[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    for start in range(0, len(samples), _SAMPLES_PER_REQUEST):
        yield samples[start : start + _SAMPLES_PER_REQUEST]
