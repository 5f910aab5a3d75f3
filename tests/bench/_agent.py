"""The real agent as a child of a benchmark: started, read, ended."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from threading import Thread
from typing import Any, Self

from tests.bench import _lab

PORT = 8000
_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the agent's log. at: when it arrived, by the monotonic clock."""

    at: float
    values: dict[str, Any]


@dataclass(slots=True)
class Agent:
    """`vedette run` with an empty history of its own."""

    options: Sequence[str] = ()
    lines: list[Line] = field(default_factory=list)
    started: float = 0.0
    child: "subprocess.Popen[str]" = field(init=False)

    def __enter__(self) -> Self:
        state = mkdtemp(dir=_lab.DIRECTORY)
        command = [str(Path(sys.executable).with_name("vedette")), "run"]
        command += ["--config", os.devnull, "--state-directory", state, "--log-format", "json"]
        self.started = time.monotonic()
        self.child = subprocess.Popen(  # noqa: S603 - ours
            [*command, *self.options], stderr=subprocess.PIPE, text=True
        )
        Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            sys.exit(f"the agent did not end within {_STOP_SECONDS:.0f} s of SIGTERM")

    def _read(self) -> None:
        assert self.child.stderr is not None
        for text in self.child.stderr:
            try:
                self.lines.append(Line(time.monotonic(), json.loads(text)))
            except ValueError:  # a traceback, or a word from before the log began
                sys.stderr.write(text)

    def metrics(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Return {(name, labels): value}. Raises OSError while nobody answers."""
        return parse(_lab.fetch(PORT)[0].decode())

    def answers(self) -> bool:
        """Whether /metrics does; ends the benchmark if the agent is gone."""
        if self.child.poll() is not None:
            sys.exit(f"the agent ended by itself with status {self.child.returncode}")
        try:
            _lab.fetch(PORT)
        except OSError:
            return False
        return True

    def job(self, metric: str, name: str) -> float | None:
        """Return one of the vedette_job_… metrics of a job, None if it has no series."""
        return self.metrics().get((f"vedette_job_{metric}", (("job_name", name),)))

    def wait_for_run(self, name: str, after: float, seconds: float) -> float:
        """Wait for a run of this job that succeeds later than `after`; return when it did."""
        found = [0.0]

        def done() -> bool:
            if self.child.poll() is not None:
                sys.exit(f"the agent ended by itself with status {self.child.returncode}")
            found[0] = self.job("last_success_timestamp_seconds", name) or 0.0
            return found[0] > after

        _lab.wait_for(done, f"no run of {name} in {seconds:.0f} s", seconds, poll_seconds=0.2)
        return found[0]


def parse(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Read Prometheus' text format as far as the agent writes it: {(name, labels): value}."""
    samples = {}
    for line in text.splitlines():
        if (match := _SAMPLE.fullmatch(line)) and not line.startswith("#"):
            name, labels, value = match.groups()
            pairs = tuple(sorted((key, value) for key, value in _LABEL.findall(labels or "")))
            samples[name, pairs] = float(value)
    return samples
