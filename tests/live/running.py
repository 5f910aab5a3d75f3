"""The agent as a process in one of our namespaces, and what it says: HTTP, log, metrics."""

import gzip
import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.live.netns import Namespace, wait_for

VEDETTE = str(Path(sys.executable).with_name("vedette"))
_number = itertools.count()

# {what: how much}: measured on the way, printed after the tests, asserted nowhere.
FIGURES: dict[str, str] = {}
# Of each agent, from its start to its first answer.
START_SECONDS: list[float] = []


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; the body is unpacked if it was compressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def request(
    host: Namespace,
    path: str,
    *,
    port: int = 8000,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Ask the agent on this host's loopback."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.sock = host.connect("127.0.0.1", port, 10)
    try:
        connection.request(method, path, headers=dict(headers or {}))
        answer = connection.getresponse()
        body = answer.read()
        if answer.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        return Answer(answer.status, dict(answer.headers), body)
    finally:
        connection.close()


class Metrics:
    """One exposition, to be asked."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def all(self, name: str, **labels: str) -> dict[tuple[str, ...], float]:
        """Return {the other labels' values, by name: value} of the series with these labels."""
        return {
            tuple(value for key, value in sorted(s.labels.items()) if key not in labels): s.value
            for s in self.samples
            if s.name == name and labels.items() <= s.labels.items()
        }

    def labels(self, name: str, **labels: str) -> list[dict[str, str]]:
        """Return the labels of these series."""
        return [
            dict(s.labels)
            for s in self.samples
            if s.name == name and labels.items() <= s.labels.items()
        ]

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of these series, 0 if there is none."""
        return sum(self.all(name, **labels).values())

    def failures(self) -> dict[tuple[str, str], float]:
        """Return {(job, reason): number} of what has failed."""
        found = self.labels("vedette_job_failures_total")
        pairs = {(x["job_name"], x["reason"]) for x in found}
        counts = {
            (job, why): self.value("vedette_job_failures_total", job_name=job, reason=why)
            for job, why in pairs
        }
        return {pair: count for pair, count in counts.items() if count}

    def port(self, address: str, number: int) -> tuple[str, str, str]:
        """Return (service name, product, version) of an open port."""
        (found,) = self.labels("vedette_open_port_info", address=address, port=str(number))
        return found["service_name"], found["product"], found["version"]


def environment(state: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return variables for the agent: none of this machine's own settings, and this state."""
    return {
        **dict.fromkeys((name for name in os.environ if name.startswith("VEDETTE_")), ""),
        "VEDETTE_CONFIG": "/dev/null",  # not what this machine may have
        "VEDETTE_STATE_DIRECTORY": str(state),
        **(more or {}),
    }


class Agent:
    """`vedette run FLAGS`, from its start to its end. before: a command that starts it."""

    def __init__(
        self,
        host: Namespace,
        state: Path,
        *flags: str,
        port: int = 8000,
        before: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        log_format: str = "json",
    ) -> None:
        self.host = host
        self.state = state
        self.port = port
        self.log = state.with_name(f"agent-{next(_number)}.log")
        command = [
            *before, VEDETTE, "run", "--log-format", log_format,
            "--publish.expose.port", str(port), *flags,
        ]  # fmt: skip
        started = time.monotonic()
        with self.log.open("wb") as log:
            self.process = host.start(command, log=log, env=environment(state, env))
        try:
            wait_for("the first answer", self._answers, 20)
        except AssertionError as exc:
            raise AssertionError(f"{exc}; the log:\n{self.log.read_text()}") from exc
        START_SECONDS.append(time.monotonic() - started)
        self.at_first = {path: self.get(path) for path in ("/-/ready", "/-/healthy")}

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"ended with {self.process.returncode}"
        try:
            return self.get("/metrics").status == 200
        except OSError:
            return False

    def get(self, path: str, **more: Any) -> Answer:
        """Send one request."""
        return request(self.host, path, port=self.port, **more)

    def metrics(self) -> Metrics:
        """Scrape it."""
        return Metrics(self.get("/metrics").text)

    def inventory(self) -> dict[str, Any]:
        """Return what /inventory.json says."""
        found: dict[str, Any] = json.loads(self.get("/inventory.json").body)
        return found

    def events(self, message: str | None = None) -> list[dict[str, Any]]:
        """Return the log lines so far (with this message)."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines(keepends=False))
        return [line for line in lines if message is None or line["message"] == message]

    def version_scans(self) -> list[str]:
        """Return the command lines of the version detections so far."""
        return [line["argv"] for line in self.events("nmap") if " -sV " in line["argv"]]

    def runs(self, job: str) -> float:
        """Return how many runs of a job were started."""
        return self.metrics().value("vedette_job_runs_total", job_name=job)

    def successes(self, job: str) -> float:
        """Return when a run of a job last went well, Unix seconds, 0 for never."""
        return self.metrics().value("vedette_job_last_success_timestamp_seconds", job_name=job)

    def wait_for_success(self, job: str, seconds: float = 60, after: float = 0) -> Metrics:
        """Wait until a run of a job has gone well (later than `after`); return the metrics."""
        wait_for(f"a good run of {job}", lambda: self.successes(job) > after, seconds)
        return self.metrics()

    def status(self, name: str) -> int:
        """Return a number of /proc/PID/status: VmRSS (KiB), Threads."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))

    def cpu_seconds(self) -> float:
        """Return the processor time that the main process has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def family(self) -> dict[int, str]:
        """Return {pid: command line} of it and what it has started, in its namespace."""
        return self.host.processes(VEDETTE, "vedette.capture", "vedette.config", "nmap")

    def stop(self) -> float:
        """End it with SIGTERM; return the seconds that took."""
        started = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        return time.monotonic() - started


def vedette(
    host: Namespace,
    state: Path,
    *words: str,
    env: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
    seconds: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run one command of the agent to its end."""
    return host.run([*before, VEDETTE, *words], env=environment(state, env), seconds=seconds)


def receive_all(connection: socket.socket) -> bytes:
    """Return what comes until the other side closes; a reset is an end as well."""
    pieces = []
    try:
        while piece := connection.recv(1 << 16):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)
