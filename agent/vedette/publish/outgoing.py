"""The publishers that go out to a server by themselves, as the settings want them."""

import time
from collections.abc import Callable
from pathlib import Path

from prometheus_client.metrics_core import Metric

from vedette.publish import options, sender, tally
from vedette.publish.push import Push

BUFFER = "remote_write"  # in the state directory

# Names that many hosts share.
_NO_NAMES = frozenset({"", "localhost", "localhost.localdomain", "(none)"})


def instance(identity: str, hostname: str) -> str:
    """Return what the host is called where it sends to; the same after each boot."""
    return identity if hostname in _NO_NAMES else hostname


def push(
    chosen: options.Push,
    identity: str,
    hostname: str,
    families: Callable[[], tuple[Metric, ...]] = tuple,
    phase: float = 0.0,
) -> Push:
    """Return the publisher to a Pushgateway."""
    return Push(chosen, chosen.instance or instance(identity, hostname), families, phase)


class Publishers:
    """All that are switched on. share: (identity, name) -> this host's place in the interval."""

    def __init__(
        self,
        chosen: options.Options,
        identity: str,
        hostname: str,
        families: Callable[[], tuple[Metric, ...]],
        *,
        share: Callable[[str, str], float],
        state_directory: Path,
    ) -> None:
        self._all: list[sender.Sender] = []
        if chosen.push.enabled:
            phase = share(identity, "push")
            self._all.append(push(chosen.push, identity, hostname, families, phase))
        if chosen.remote_write.enabled:
            # Only who wants it pays for its library.
            from vedette.publish.remote_write import RemoteWrite  # noqa: PLC0415

            self._all.append(
                RemoteWrite(
                    chosen.remote_write,
                    instance(identity, hostname),
                    state_directory / BUFFER,
                    families,
                    share(identity, "remote_write"),
                )
            )

    def start(self) -> None:
        """Start them; each waits for its slot."""
        for publisher in self._all:
            publisher.start()

    def stop(self) -> None:
        """Tell them to end, without waiting for it."""
        for publisher in self._all:
            publisher.stop()

    def join(self, seconds: float) -> None:
        """Wait until they have ended, but no longer than this in all."""
        end = time.monotonic() + seconds
        for publisher in self._all:
            publisher.join(max(0.0, end - time.monotonic()))

    def tallies(self) -> list[tally.Tally]:
        """Return how each of them does."""
        return [publisher.tally for publisher in self._all]
