"""Debian's Pushgateway, Prometheus, Alertmanager and VictoriaMetrics, and what arrived there."""

import json
import signal
import subprocess
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.live.netns import Namespace, end, wait_for
from tests.live.running import Metrics, request

Labels = tuple[tuple[str, str], ...]
# Nothing but stats, once: what is exposed stays the same while it is compared.
STILL = [
    *(x for job in ("scan", "fingerprint", "sniff") for x in (f"--{job}.enabled", "false")),
    *("--stats.interval-seconds", "3600"),
]


@dataclass
class Receiver:
    """A server in a namespace; `start` again after `stop` or `kill`."""

    host: Namespace
    port: int
    argv: list[str]
    log: Path
    ready: str = "/-/ready"
    secure: bool = False
    child: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"http{'s' if self.secure else ''}://127.0.0.1:{self.port}"

    def start(self) -> "Receiver":
        """Start it; return it once it takes requests."""
        with self.log.open("ab") as log:
            self.child = self.host.start(self.argv, log=log)
        wait_for(f"an answer on {self.port}", self._answers, 20)
        return self

    def _answers(self) -> bool:
        assert self.child is not None
        assert self.child.poll() is None, self.log.read_text()
        try:
            if self.secure:
                self.host.connect("127.0.0.1", self.port).close()
                return True
            return request(self.host, self.ready, port=self.port).status == 200
        except OSError:
            return False

    def stop(self) -> None:
        """End it."""
        assert self.child is not None
        end(self.child)

    def freeze(self, *, frozen: bool) -> None:
        """Have it take connections and answer nothing, or go on."""
        assert self.child is not None
        self.child.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def get(self, path: str, **query: str) -> Any:
        """Return what its API says."""
        answer = request(self.host, f"{path}?{urllib.parse.urlencode(query)}", port=self.port)
        assert answer.status == 200, answer.text
        return json.loads(answer.body)

    def now(self, selector: str) -> dict[Labels, float]:
        """Return {labels: value} of the series that are alive, by its query language."""
        found = self.get("/api/v1/query", query=selector)["data"]["result"]
        return {_labels(one["metric"]): float(one["value"][1]) for one in found}

    def samples(self, selector: str) -> dict[Labels, list[tuple[int, float]]]:
        """Return {labels: [(ms, value)]} of the last ten minutes, as they are stored."""
        found = self.get("/api/v1/query", query=f"{selector}[10m]")["data"]["result"]
        return {
            _labels(one["metric"]): [(round(at * 1000), float(v)) for at, v in one["values"]]
            for one in found
        }


def _labels(metric: Mapping[str, str]) -> Labels:
    return tuple(sorted(metric.items()))


def exposed(metrics: Metrics, **more: str) -> dict[Labels, float]:
    """Return what an agent exposes as a receiver that adds these labels has it."""
    return {
        _labels({**sample.labels, "__name__": sample.name, **more}): sample.value
        for sample in metrics.samples
    }


def pushgateway(
    host: Namespace,
    where: Path,
    port: int,
    web: str = "",
    *,
    address: str = "127.0.0.1",
    saved: str = "",
) -> Receiver:
    """Return a Pushgateway. web: its web configuration, with which it speaks TLS."""
    argv = [
        "prometheus-pushgateway", f"--web.listen-address={address}:{port}",
        f"--persistence.file={saved}",  # Debian's default is a file that all runs would share
    ]  # fmt: skip
    if web:
        config = where / f"web-{port}.yml"
        config.write_text(web)
        argv.append(f"--web.config.file={config}")
    log = where / f"pushgateway-{port}.log"
    return Receiver(host, port, argv, log, secure="tls_server_config" in web)


def prometheus(
    host: Namespace, where: Path, port: int = 9090, text: str = "global: {scrape_interval: 1h}\n"
) -> Receiver:
    """Return a Prometheus that takes Remote-Write. text: its configuration."""
    config = where / "prometheus.yml"
    config.write_text(text)
    argv = [
        "prometheus", "--web.enable-remote-write-receiver", f"--config.file={config}",
        f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={where}/tsdb-{port}",
        "--log.level=warn",
    ]  # fmt: skip
    return Receiver(host, port, argv, where / f"prometheus-{port}.log")


def alertmanager(host: Namespace, where: Path, text: str, port: int = 9093) -> Receiver:
    """Return an Alertmanager. text: its configuration."""
    config = where / "alertmanager.yml"
    config.write_text(text)
    argv = [
        "prometheus-alertmanager", f"--config.file={config}", "--cluster.listen-address=",
        f"--web.listen-address=127.0.0.1:{port}", f"--storage.path={where}/alertmanager",
    ]  # fmt: skip
    return Receiver(host, port, argv, where / "alertmanager.log")


def victoria(host: Namespace, where: Path, port: int = 8428) -> Receiver:
    """Return a VictoriaMetrics."""
    argv = [
        "victoria-metrics", f"-httpListenAddr=127.0.0.1:{port}",
        f"-storageDataPath={where}/victoria", "-search.latencyOffset=0s", "-loggerLevel=ERROR",
    ]  # fmt: skip
    return Receiver(host, port, argv, where / "victoria.log", ready="/health")
