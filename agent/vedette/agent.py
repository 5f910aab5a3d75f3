"""The agent: all parts put together, started and ended in order."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector

from vedette import log
from vedette.edges import host, nmap, packages
from vedette.errors import ConfigError
from vedette.history import History
from vedette.jobs import sniff
from vedette.notify import Notify
from vedette.publish import about, tally
from vedette.publish.exposition import Exposition
from vedette.publish.inventory import inventory
from vedette.publish.outgoing import Publishers
from vedette.publish.server import HTML, JSON, PLAIN, Answer, Server
from vedette.reload import Reload, merged
from vedette.runner import Runner
from vedette.service import Service
from vedette.settings import Settings
from vedette.store import Record, Store
from vedette.timer import Timer, share

if TYPE_CHECKING:
    from vedette.publish.guard import Guard

HISTORY_FILE = "history.sqlite"
_STOP_SECONDS = 3.0
_PUBLISHERS_SECONDS = 1.0  # beyond those, which the jobs rarely need
# Failures that time does not heal: the host lacks something, and `vedette_capability` says so.
# A job that has them does not keep the agent from being ready.
_LACKING = ("tool_missing", "not_permitted")
_CHANGES_SHOWN = 20


def open_history(directory: Path) -> History:
    """Return the history in this directory, or one in memory if it cannot be written."""
    try:
        return History(directory / HISTORY_FILE)
    except OSError as exc:
        log.event("error", "history is kept in memory only: it will be lost", error=str(exc))
        return History(None)


class Agent:
    """What `vedette run` runs. handler: counts log lines. load: reads the settings again."""

    def __init__(
        self,
        settings: Settings,
        handler: log.CountingHandler,
        load: Callable[[], Settings] | None = None,
    ) -> None:
        self.settings = settings
        self._configured_at = time.time()
        self._handler = handler
        self.store = Store()
        self.history = open_history(settings.state_directory)
        enabled = settings.enabled_jobs()
        self.runner = Runner(enabled, self.store, self.history)
        self._timer = Timer(
            {name: options for name, (_, options) in enabled.items()},
            self.runner.trigger,
            host.identity(),
        )
        self.metrics = Exposition(
            self.store.records, self._own_families, settings.publish.max_series
        )
        self.store.subscribe(lambda over: self.metrics.refresh(own=over))
        web = settings.publish.expose.web_config_file
        self._guard = None if web is None else _guard(web)
        self.server = Server(
            self.metrics,
            {
                "/": self._page,
                "/inventory.json": self._inventory,
                "/-/healthy": lambda: Answer(200, PLAIN, b"vedette is healthy\n"),
                "/-/ready": self._ready,
            },
            settings.publish.expose.max_connections,
            self._guard,
        )
        self._raw_sockets = host.raw_sockets()
        self._publishers = Publishers(
            settings.publish,
            host.identity(),
            host.hostname(),
            self.metrics.families,
            share=share,
            state_directory=settings.state_directory,
        )
        self._service = Service(
            Notify(),
            self.store.records,
            lambda: self._timer.next_run("scan"),
            self.runner.hanging,
            lambda seconds: not settings.publish.expose.enabled or self.server.answers(seconds),
        )
        self.store.subscribe(lambda _: self._service.begin())
        self.reload = Reload(load or (lambda: settings), self._service.reloading)

    def run(self, stop: Event, say: Callable[[str], None]) -> None:
        """Serve and run the jobs until `stop` is set. Raises AddressInUse and ConfigError.

        say: told where the page is, once it is there.
        """
        expose = self.settings.publish.expose
        self.metrics.refresh()
        try:
            if expose.enabled:
                if self._guard is not None:
                    self._guard.start()
                address, port = self.server.bind(str(expose.address), expose.port)
                self.server.start()
                secure = self._guard is not None and self._guard.rules.context is not None
                scheme = "https" if secure else "http"
                say(f"{scheme}://{f'[{address}]' if ':' in address else address}:{port}/")
            self._service.serving()
            self.runner.start()
            self._publishers.start()
            self._timer.run(stop, self._turn)
        finally:
            self._service.stopping()
            self.stop()

    def _turn(self) -> None:
        self.runner.check()
        read = self.reload.turn()
        if read is not None:
            self._take_over(read)
        self._service.turn()

    def _take_over(self, read: Settings | ConfigError) -> None:
        """Go on with a configuration that was read again, or with the old one."""
        refused = isinstance(read, ConfigError)
        if isinstance(read, ConfigError):
            for problem in read.problems:
                log.event("error", "new configuration refused: the old one stays", problem=problem)
        else:
            self._configure(read)
        self._service.reloaded(refused=refused)
        self.metrics.refresh()

    def _configure(self, read: Settings) -> None:
        self.settings, waiting = merged(self.settings, read)
        self._configured_at = time.time()
        log.configure(self._handler, self.settings.log_level, self.settings.log_format)
        enabled = self.settings.enabled_jobs()
        if sniff.JOB.name in self.runner.configure(enabled):
            sniff.CAPTURE.restart()  # its child goes; another one comes when it is wanted again
        self._timer.plan({name: options for name, (_, options) in enabled.items()})
        self.metrics.limit(self.settings.publish.max_series)
        log.event("info", "configuration taken over", jobs=" ".join(enabled))
        if waiting:
            log.event("warning", "settings that need a restart", settings=" ".join(waiting))

    def stop(self) -> None:
        """End everything that was started."""
        self._publishers.stop()
        self.runner.stop(_STOP_SECONDS)
        self._publishers.join(_PUBLISHERS_SECONDS)
        self.stop_children()
        self.server.stop()
        self.history.close()

    def stop_children(self) -> None:
        """End the children that outlive a run."""
        sniff.CAPTURE.stop()

    def _own_families(
        self, records: dict[str, Record], dropped: dict[str, int]
    ) -> Iterator[Metric]:
        counts = self._handler.counts
        yield from about.families(
            records,
            dropped,
            self.capabilities(),
            counts,
            self._configured_at,
            refused=self._service.refused or (self._guard is not None and not self._guard.valid),
        )
        exposing = [self.server.tally] if self.settings.publish.expose.enabled else []
        yield from tally.families([*exposing, *self._publishers.tallies()])
        if self._guard is not None:
            yield from self._guard.families()
        yield from ProcessCollector(registry=None).collect()

    def capabilities(self) -> dict[str, bool]:
        """Return {what: whether the agent can do it here}."""
        records = self.store.records()
        captures = records.get("sniff")
        return {
            "raw_sockets": self._raw_sockets,
            "nmap": nmap.program() is not None,
            "capture": self._raw_sockets and captures is not None and captures.failure is None,
            "history": self.history.kept,
            "packages": not packages.why_not(
                self.settings.listeners_file, time.time(), host.booted_at()
            ),
        }

    def inventory(self) -> dict[str, object]:
        """Return the inventory of this moment."""
        return inventory(
            self.store.records(),
            self.capabilities(),
            self.history.changes(_CHANGES_SHOWN),
            time.time(),
            time.monotonic(),
        )

    def _page(self) -> Answer:
        from vedette.publish.page import page  # noqa: PLC0415 - 3 MiB that most agents never need

        return Answer(200, HTML, page(self.inventory(), live=True).encode())

    def _inventory(self) -> Answer:
        import json  # noqa: PLC0415

        return Answer(200, JSON, json.dumps(self.inventory(), default=str).encode())

    def _ready(self) -> Answer:
        monotonic = time.monotonic()
        reasons = [
            f"{name}: {why}"
            for name, record in self.store.records().items()
            if (why := _not_ready(record, monotonic))
        ]
        if reasons:
            return Answer(503, PLAIN, "".join(f"{line}\n" for line in reasons).encode())
        return Answer(200, PLAIN, b"vedette is ready\n")


def _guard(file: Path) -> "Guard":
    from vedette.publish.guard import Guard  # noqa: PLC0415 - 1.5 MiB that many do not need

    return Guard(file)


def _not_ready(record: Record, monotonic: float) -> str:
    if record.failure is not None and record.failure.reason in _LACKING:
        return ""
    if record.seen_at is None:
        return "no snapshot yet"
    return "its snapshot is stale" if record.stale(monotonic) else ""
