"""The agent's scans against plain nmap and against the naive way, side by side in one run.

`./dev bench scan`, as root. All of them look at the same address of the same servers, one after
the other. The agent is `vedette run` with its defaults: it also sweeps loopback (and IPv6, with
--ipv6), sniffs, takes a fingerprint and serves meanwhile. That is in its times, not in the others'.
"""

import argparse
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from tests.bench import _lab
from tests.bench._agent import Agent, Line

_INTERVAL = 10  # seconds: the shortest the agent allows
_PLAIN = ("nmap", "-n", "-Pn", "-sS", "-sV", "-p-")
_NAIVE_PORTS, _NAIVE_THREADS = 1000, 10
# The goals of the first issue, as ratios to plain nmap.
_GOALS = {"agent, first scan": 1.1, "agent, repeated scan": 0.2}
_QUIET = ("--scan.include-loopback", "false")


@dataclass(frozen=True, slots=True)
class Result:
    """One measurement. seconds: until the run was over; settled: until all services were named."""

    seconds: float
    settled: float
    identified: frozenset[int]
    cpu_seconds: float
    processes: int


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="./dev bench scan", description=__doc__.splitlines()[0])
    parser.add_argument("--without-naive", action="store_true", help="leave out the 100 s of it")
    parser.add_argument("--silent", action="store_true", help="add a port that never says a word")
    parser.add_argument("--ipv6", action="store_true", help="give the host an IPv6 address too")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="medians of N (3)")
    given = parser.parse_args()
    _lab.enter("tests.bench.scan")
    _lab.start_services()
    if given.silent:
        _lab.start_silent()
    if given.ipv6:
        _lab.add_ipv6()

    results: dict[str, list[Result]] = {}
    for _ in range(given.repeat):
        results.setdefault("plain nmap", []).append(_plain())
        for name, options in (("", ()), (", without loopback", _QUIET)):
            first, repeated = _agent(options)
            results.setdefault(f"agent, first scan{name}", []).append(first)
            results.setdefault(f"agent, repeated scan{name}", []).append(repeated)
    if not given.without_naive:
        results["naive: 66 nmaps, 10 threads"] = [_naive()]
    _show({name: _median(runs) for name, runs in results.items()}, given)


def _plain() -> Result:
    command = [*_PLAIN, "-oX", "-", _lab.ADDRESS]
    return _measured(lambda: [_nmap(command)])


def _naive() -> Result:
    ranges = [
        f"{low}-{min(low + _NAIVE_PORTS - 1, 65535)}" for low in range(1, 65536, _NAIVE_PORTS)
    ]

    def ask(ports: str) -> bytes:
        return _nmap(["nmap", "-sV", "-p", ports, "-oX", "-", _lab.ADDRESS])

    with ThreadPoolExecutor(_NAIVE_THREADS) as pool:
        return _measured(lambda: pool.map(ask, ranges))


def _nmap(command: list[str]) -> bytes:
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout  # noqa: S603 - fixed


def _measured(work: Callable[[], Iterable[bytes]]) -> Result:
    start, before = time.monotonic(), os.times()
    reports = list(work())
    seconds, after = time.monotonic() - start, os.times()
    identified = {
        int(port.get("portid", ""))
        for report in reports
        for port in ET.fromstring(report).iterfind("host/ports/port")  # noqa: S314 - nmap's own
        if (service := port.find("service")) is not None
        and _named(int(port.get("portid", "")), service.get("product", ""))
    }
    cpu = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    return Result(seconds, seconds, frozenset(identified), cpu, len(reports))


def _named(port: int, product: str) -> bool:
    return port in _lab.EXPECTED and _lab.EXPECTED[port][1] in product


def _agent(options: tuple[str, ...]) -> tuple[Result, Result]:
    """Return the first scan and the next one of an agent whose history was empty."""
    pace = ("--scan.interval-seconds", str(_INTERVAL), "--scan.splay-seconds", "0")
    with Agent((*pace, *options)) as agent:
        _lab.wait_for(agent.answers, "the agent does not answer")
        pid = agent.child.pid
        ended = agent.wait_for_run("scan", 0.0, 900)
        first = _of_agent(agent, 0, _cpu(pid))
        seen, before = first.processes, _cpu(pid)
        agent.wait_for_run("scan", ended, _INTERVAL + 900)
        return first, _of_agent(agent, seen, _cpu(pid) - before)


def _cpu(pid: int) -> float:
    usage = _lab.Usage.of(pid)
    return usage.own + usage.children


def _of_agent(agent: Agent, seen: int, cpu_seconds: float) -> Result:
    """Return the run that has just ended. seen: how many nmaps of earlier runs are in the log."""
    nmaps = [
        line for line in agent.lines if line.values["message"] == "nmap" and not _fingerprints(line)
    ][seen:]
    metrics = agent.metrics()
    seconds = metrics["vedette_job_last_duration_seconds", (("job_name", "scan"),)]
    # History is told at once when all ports have been asked: what is left is the deep pass.
    told = [line.at for line in agent.lines if line.values["message"] == "port appeared"]
    start = nmaps[0].at - nmaps[0].values["duration_seconds"]
    settled = told[0] - start if not seen and told else seconds
    shown = [dict(labels) for name, labels in metrics if name == "vedette_open_port_info"]
    identified = {
        int(port["port"])
        for port in shown
        if port["address"] == _lab.ADDRESS and _named(int(port["port"]), port["product"])
    }
    return Result(seconds, settled, frozenset(identified), cpu_seconds, len(nmaps))


def _fingerprints(line: Line) -> bool:
    return " -O " in line.values["argv"]


def _median(runs: list[Result]) -> Result:
    """Return the medians, and the ports that were identified every time."""
    return Result(
        statistics.median(run.seconds for run in runs),
        statistics.median(run.settled for run in runs),
        frozenset.intersection(*(run.identified for run in runs)),
        statistics.median(run.cpu_seconds for run in runs),
        round(statistics.median(run.processes for run in runs)),
    )


def _show(results: Mapping[str, Result], given: argparse.Namespace) -> None:
    plain = results["plain nmap"].seconds
    extra = [text for text, on in (("IPv6", given.ipv6), ("a silent port", given.silent)) if on]
    _lab.print_table(
        f"Scan of all TCP ports of {len(_lab.EXPECTED)} services"
        + "".join(f", {text}" for text in extra)
        + f" (medians of {given.repeat}, naive once; {_lab.load()})",
        ("", "named after s", "over after s", "ratio", "services named", "CPU s", "nmaps"),
        [
            (
                name,
                f"{result.settled:.2f}",
                f"{result.seconds:.2f}",
                f"{result.seconds / plain:.2f}",
                f"{len(result.identified)} of {len(_lab.EXPECTED)}",
                f"{result.cpu_seconds:.2f}",
                str(result.processes),
            )
            for name, result in results.items()
        ],
    )
    print("The agent's CPU is that of its main process, start-up and other jobs included.")
    for name, goal in _GOALS.items():
        ratio = results[name].seconds / plain
        verdict = "met" if ratio <= goal else "missed"
        print(f"goal: {name} <= {goal} x plain nmap: {ratio:.2f} x, {verdict}")


if __name__ == "__main__":
    main()
