"""What the agent costs, side by side with node_exporter: start-up, memory, idle CPU, scrapes.

`./dev bench agent`, as root, on a host with 20 open ports. node_exporter is Debian's package
prometheus-node-exporter; without it, the agent is measured alone. The agent has its defaults, but
for the deep pass: nmap asks node_exporter for minutes, and nothing happens meanwhile.
"""

import argparse
import math
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.bench import _agent, _lab
from tests.bench._agent import Agent

_EXPORTER_PORT = 9100
_PORTS = 20  # of the host, the agent's own not counted
_SCRAPES = 200
_SCRAPE_PAUSE = 0.04  # seconds: 200 scrapes last as long as a first scan
_IDLE_PEERS = 200


@dataclass(slots=True)
class Cost:
    """What one program costs. Seconds, MiB; scrapes: {circumstances: their seconds}."""

    starts: list[float] = field(default_factory=list)
    memory: float = float("nan")
    peak: float = float("nan")
    capture_memory: float = float("nan")
    idle: float = float("nan")
    capture_idle: float = float("nan")
    body: int = 0
    scrapes: dict[str, list[float]] = field(default_factory=dict)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="./dev bench agent", description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="start-ups (5)")
    parser.add_argument("--idle-seconds", type=float, default=30, metavar="S", help="default: 30")
    given = parser.parse_args()
    _lab.enter("tests.bench.agent")
    _lab.start_services()
    _lab.start_banners(range(2500, 2500 + _PORTS - len(_lab.EXPECTED)))

    costs = {"vedette": Cost()}
    program = shutil.which("prometheus-node-exporter")
    if program is None:
        print("prometheus-node-exporter is not installed: measured without it")
    else:
        costs["node_exporter"] = Cost()
    for _ in range(given.repeat):
        for name, cost in costs.items():
            with _agent_runs() if name == "vedette" else _exporter_runs(program or "") as (_, took):
                cost.starts.append(took)
    _measure(costs, program, given.idle_seconds)
    _show(costs)


@contextmanager
def _agent_runs() -> Iterator[tuple[Agent, float]]:
    with Agent(("--scan.splay-seconds", "0", "--scan.deep-probe-seconds", "0")) as agent:
        _lab.wait_for(agent.answers, "the agent does not answer", poll_seconds=0.005)
        yield agent, time.monotonic() - agent.started


@contextmanager
def _exporter_runs(program: str) -> Iterator[tuple[int, float]]:
    start = time.monotonic()
    child = subprocess.Popen(  # noqa: S603 - found on PATH
        [program, f"--web.listen-address=127.0.0.1:{_EXPORTER_PORT}"], stderr=subprocess.DEVNULL
    )
    try:
        _lab.wait_for(lambda: _answers(_EXPORTER_PORT), "no node_exporter", poll_seconds=0.005)
        yield child.pid, time.monotonic() - start
    finally:
        child.terminate()
        child.wait()


def _answers(port: int) -> bool:
    try:
        _lab.fetch(port)
    except OSError:
        return False
    return True


@contextmanager
def _maybe_exporter(program: str | None) -> Iterator[int | None]:
    if program is None:
        yield None
        return
    with _exporter_runs(program) as (pid, _):
        yield pid


def _measure(costs: dict[str, Cost], program: str | None, idle_seconds: float) -> None:
    """Measure both at once, so that they meet the same circumstances."""
    ports = {"vedette": _agent.PORT, "node_exporter": _EXPORTER_PORT}
    ports = {name: ports[name] for name in costs}
    with _maybe_exporter(program) as exporter, _agent_runs() as (agent, _):
        main_process = agent.child.pid
        pids = {"vedette": main_process} | ({"node_exporter": exporter} if exporter else {})

        def scraped(circumstances: str, pause: float = 0.0) -> None:
            for name, seconds in _scrape(ports, pause).items():
                costs[name].scrapes[circumstances] = seconds

        scraped("first scan and capture under way", _SCRAPE_PAUSE)
        for job in ("scan", "fingerprint"):
            agent.wait_for_run(job, 0.0, 600)
        scraped("idle")
        with _idle_peers(ports.values()):
            scraped(f"{_IDLE_PEERS} idle connections")

        capture = next(
            pid for pid, line in _lab.children(main_process).items() if "vedette.capture" in line
        )
        watched = {**pids, "capture": capture}
        before = {name: _lab.cpu_seconds(pid) for name, pid in watched.items()}
        time.sleep(idle_seconds)
        used = {
            name: (_lab.cpu_seconds(pid) - before[name]) / idle_seconds
            for name, pid in watched.items()
        }
        for name, cost in costs.items():
            cost.idle = used[name]
            cost.memory = _lab.memory_mib(pids[name])
            cost.peak = _lab.memory_mib(pids[name], "VmHWM")
            cost.body = len(_lab.fetch(ports[name])[0])
        costs["vedette"].capture_memory = _lab.memory_mib(capture)
        costs["vedette"].capture_idle = used["capture"]


def _scrape(ports: dict[str, int], pause: float) -> dict[str, list[float]]:
    """Scrape them in turn; return {name: seconds of each scrape}."""
    taken: dict[str, list[float]] = {name: [] for name in ports}
    for _ in range(_SCRAPES):
        for name, port in ports.items():
            taken[name].append(_lab.fetch(port, compressed=True)[1])
        time.sleep(pause)
    return taken


@contextmanager
def _idle_peers(ports: Iterable[int]) -> Iterator[None]:
    """Hold connections that say nothing."""
    opened: list[socket.socket] = []
    try:
        for port in ports:
            opened += [socket.create_connection(("127.0.0.1", port)) for _ in range(_IDLE_PEERS)]
        yield
    finally:
        for peer in opened:
            peer.close()


def _percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _show(costs: dict[str, Cost]) -> None:
    rows: list[tuple[str, ...]] = []

    def row(text: str, of: Callable[[Cost], float], form: str, goal: float | None = None) -> None:
        values = [of(cost) for cost in costs.values()]
        verdict = "" if goal is None else f"< {goal:g}: {'met' if values[0] < goal else 'MISSED'}"
        shown = ("" if math.isnan(value) else format(value, form) for value in values)
        ratio = values[0] / values[1] if len(values) > 1 and values[1] else math.nan
        rows.append((text, *shown, "" if math.isnan(ratio) else f"{ratio:.2f}", verdict))

    row("start to first /metrics, ms", lambda c: statistics.median(c.starts) * 1e3, ".0f", 1000)
    row("resident memory, MiB", lambda c: c.memory, ".1f", 45)
    row("  its peak", lambda c: c.peak, ".1f")
    row("  of the capture child", lambda c: c.capture_memory, ".1f")
    row("idle CPU, % of a core", lambda c: c.idle * 100, ".2f", 0.2)
    row("  of the capture child", lambda c: c.capture_idle * 100, ".2f")
    for circumstances in costs["vedette"].scrapes:
        loaded = "scan" in circumstances

        def at(percent: int, key: str = circumstances) -> Callable[[Cost], float]:
            return lambda c: _percentile(c.scrapes[key], percent) * 1e3

        row(f"scrape p50, ms: {circumstances}", at(50), ".2f")
        row("scrape p99, ms", at(99), ".2f", 10 if loaded else None)
    row("size of /metrics, KiB", lambda c: c.body / 1024, ".1f")
    _lab.print_table(
        f"A host with {_PORTS} open ports ({_SCRAPES} scrapes each, {_lab.load()})",
        ("", *costs, "ratio", "goal"),
        rows,
    )
    print("Start-ups: the median. Scrapes: a new connection each, gzip, the two in turn.")


if __name__ == "__main__":
    main()
