"""How many hosts one Pushgateway, and one Prometheus that takes Remote-Write, can bear.

Simulated agents, each with our own publisher's code and 300 series of its own, send to Debian's
servers on loopback; clients and server share this machine. First as fast as eight of them at a time
can (hosts a minute, time of an exchange), with what all of them have sent before being stored; then
a thousand hosts at their own places in a minute, as a fleet does. Takes up to five minutes.
"""

import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import median, quantiles

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from tests.live.netns import Namespace, directory, lone_host
from tests.live.receivers import Receiver, prometheus, pushgateway
from vedette.publish import prompb
from vedette.publish.exposition import TEXT, render
from vedette.publish.options import Push as PushOptions
from vedette.publish.options import RemoteWrite as RemoteWriteOptions
from vedette.publish.push import Push, packed
from vedette.publish.remote import Outcome
from vedette.publish.remote_write import RemoteWrite, Series
from vedette.timer import share

SERIES = 300
FLEETS = (100, 300, 1000)
PARALLEL = 8
MEASURE_SECONDS = 6.0
MINUTE = 60.0
TIMEOUT_SECONDS = 10.0


def families(moment: float) -> tuple[Metric, ...]:
    """Return 300 series as an agent's: twenty metrics of fifteen series with three labels."""
    found: list[Metric] = []
    for number in range(20):
        kind = CounterMetricFamily if number % 2 else GaugeMetricFamily
        family = kind(
            f"vedette_bench_{number}", "A metric of the benchmark.",
            labels=["address", "transport", "port"],
        )  # fmt: skip
        for port in range(SERIES // 20):
            family.add_metric(["192.0.2.10", "tcp", str(8000 + port)], moment + port)
        found.append(family)
    return tuple(found)


@dataclass
class Result:
    """Exchanges: how long each took, in seconds, and how many failed."""

    seconds: list[float]
    errors: dict[str, int]
    took: float

    def row(self, hosts: int, memory: float) -> str:
        """Return a line of the table."""
        p99 = quantiles(self.seconds, n=100)[98] if len(self.seconds) > 1 else self.seconds[0]
        errors = ", ".join(f"{n} {reason}" for reason, n in self.errors.items()) or "0"
        a_minute = len(self.seconds) / self.took * MINUTE
        times = f"{median(self.seconds) * 1e3:9.1f} {p99 * 1e3:9.1f}"
        counts = f"{hosts:6,} {len(self.seconds):10,} {a_minute:14,.0f}"
        return f"{counts} {times} {memory:10.0f}   {errors}"


HEAD = " hosts  exchanges   hosts/minute    p50 ms    p99 ms  memory MiB  errors"
Send = Callable[[int], Outcome]


def pushers(receiver: Receiver, hosts: int, _: Path) -> Send:
    """Return what has the host of this number push once."""
    options = PushOptions(
        enabled=True, url=receiver.url, timeout_seconds=TIMEOUT_SECONDS, profile="full"
    )
    every = [Push(options, f"host-{n}", lambda: families(time.time()), 0.0) for n in range(hosts)]
    return lambda number: every[number].push()


def writers(receiver: Receiver, hosts: int, where: Path) -> Send:
    """Return what has the host of this number take its samples and write them, by its buffer."""
    options = RemoteWriteOptions(
        enabled=True, url=f"{receiver.url}/api/v1/write", timeout_seconds=TIMEOUT_SECONDS
    )
    every = [
        RemoteWrite(
            options, f"host-{n}", where / f"{hosts}-{n}", lambda: families(time.time()), 0.0
        )
        for n in range(hosts)
    ]

    def send(number: int) -> Outcome:
        every[number].take()
        return every[number].send()

    return send


def crowd(host: Namespace, send: Send, numbers: Iterable[int], seconds: float) -> Result:
    """Have these hosts send, eight at a time, over and over or once: until the time is over."""
    result = Result([], {}, 0.0)
    started = time.monotonic()
    waiting = iter(numbers)  # of C: threads may share it

    def work() -> None:
        with host.entered():
            for number in waiting:
                if time.monotonic() - started > seconds:
                    return
                _once(send, number, result)

    _in_parallel(work, PARALLEL)
    result.took = time.monotonic() - started
    return result


def fleet(host: Namespace, send: Send, hosts: int) -> Result:
    """Have each host send once within a minute, at its own place in it."""
    result = Result([], {}, MINUTE)
    order = sorted((share(f"{n:032x}", "push") * MINUTE, n) for n in range(hosts))
    waiting = iter(order)
    started = time.monotonic()

    def work() -> None:
        with host.entered():
            for at, number in waiting:
                time.sleep(max(0.0, started + at - time.monotonic()))
                _once(send, number, result)

    _in_parallel(work, 4 * PARALLEL)
    return result


def _once(send: Send, number: int, result: Result) -> None:
    begun = time.monotonic()
    outcome = send(number)
    result.seconds.append(time.monotonic() - begun)
    if outcome.reason:
        result.errors[outcome.reason] = result.errors.get(outcome.reason, 0) + 1


def _in_parallel(work: Callable[[], None], number: int) -> None:
    with ThreadPoolExecutor(number) as pool:
        for done in [pool.submit(work) for _ in range(number)]:
            done.result()


def memory(receiver: Receiver) -> float:
    """Return what the server has resident, in MiB."""
    assert receiver.child is not None
    lines = Path(f"/proc/{receiver.child.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def gateway_with(host: Namespace, where: Path, hosts: int) -> tuple[Receiver, Send]:
    """Return a Pushgateway, at its defaults, that holds what these hosts have pushed before.

    They have pushed without the check that makes it slow, and it was saved and loaded.
    """
    saved = f"{where}/saved-{hosts}"
    quick = pushgateway(host, where, 9091, saved=saved)
    quick.argv.append("--push.disable-consistency-check")
    send = pushers(quick.start(), hosts, where)
    crowd(host, send, range(hosts), 30.0)
    quick.stop()
    return pushgateway(host, where, 9091, saved=saved).start(), send


def encoding() -> None:
    """Print the processor time that it takes to make what is sent."""
    known = families(0.0)
    series = Series({"instance": "host", "job": "vedette"})
    ways: dict[str, Callable[[], bytes]] = {
        "push: text, gzip": lambda: packed(known),
        "push: text alone": lambda: render(known, TEXT),
        "remote_write: the same series again": lambda: prompb.request(series.samples(known), 1),
        "remote_write: all series are new": lambda: prompb.request(
            Series({"instance": "host", "job": "vedette"}).samples(known), 1
        ),
    }
    print(f"processor time for {SERIES} series (median of 200)")
    for name, make in ways.items():
        costs = []
        for _ in range(200):
            begun = time.process_time()
            body = make()
            costs.append(time.process_time() - begun)
        print(f"  {name:38} {median(costs) * 1e3:6.2f} ms, {len(body):7,} bytes")


def main() -> int:
    """Run all of it."""
    encoding()
    with lone_host("bench") as host, directory("bench") as where:
        print(f"\none Pushgateway, {PARALLEL} hosts at a time\n{HEAD}")
        for hosts in FLEETS:
            gateway, send = gateway_with(host, where, hosts)
            result = crowd(host, send, cycle(range(hosts)), MEASURE_SECONDS)
            print(result.row(hosts, memory(gateway)), flush=True)
            gateway.stop()
        print(f"\none Prometheus, {PARALLEL} hosts at a time\n{HEAD}")
        for hosts in FLEETS:
            (where / str(hosts)).mkdir()
            receiver = prometheus(host, where / str(hosts)).start()
            send = writers(receiver, hosts, where)
            crowd(host, send, range(hosts), 30.0)
            result = crowd(host, send, cycle(range(hosts)), MEASURE_SECONDS)
            print(result.row(hosts, memory(receiver)), flush=True)
            receiver.stop()
        print(f"\na fleet at an interval of a minute, each host at its own place in it\n{HEAD}")
        gateway, send = gateway_with(host, where, 200)
        print(f"{fleet(host, send, 200).row(200, memory(gateway))}   (Pushgateway)", flush=True)
        gateway.stop()
        receiver = prometheus(host, where)
        send = writers(receiver.start(), 1000, where / "fleet")
        crowd(host, send, range(1000), 30.0)
        print(f"{fleet(host, send, 1000).row(1000, memory(receiver))}   (Prometheus)")
        receiver.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
