"""The machine: addresses, processors, memory, file systems, interfaces and their speeds."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)

from vedette.edges import host
from vedette.interfaces import Selection
from vedette.job import TIMEOUT_TEXT, Context, Fact, Facts, Job, JobOptions
from vedette.option import setting


@dataclass(frozen=True, kw_only=True)
class Options(JobOptions, Selection):
    """Addresses, processors, memory, file systems, interface speeds."""

    interval_seconds: int = setting(5, "Time between starts.", ge=1)
    timeout_seconds: float = setting(10.0, TIMEOUT_TEXT, gt=0)
    include_link_local: bool = setting(
        default=False, text="Whether link-local addresses (169.254/16, fe80::/10) count."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """One look at the machine.

    cpu_usage: ratio since the look before, None at the first. speeds: {interface: (receive,
    transmit)} in bytes per second since the look before, empty at the first.
    """

    addresses: tuple[host.InterfaceAddress, ...]
    counters: host.Counters
    cpu_usage: float | None
    speeds: dict[str, tuple[float, float]]


def observe(options: Options, context: Context[Stats]) -> Iterator[Stats]:
    """Read the counters, and compare them with those of the look before."""
    counters = host.counters()
    shown = options.chosen(counters.interfaces)
    counters = replace(counters, interfaces={name: counters.interfaces[name] for name in shown})
    before = context.previous.counters if context.previous else None
    yield Stats(
        addresses=options.addresses(host.addresses(), link_local=options.include_link_local),
        counters=counters,
        cpu_usage=cpu_usage_of(before, counters),
        speeds=speeds_of(before, counters),
    )


def cpu_usage_of(before: host.Counters | None, now: host.Counters) -> float | None:
    """Return the ratio of busy time between two readings, None if it cannot be known."""
    if before is None or now.cpu_total <= before.cpu_total:
        return None
    ratio = (now.cpu_busy - before.cpu_busy) / (now.cpu_total - before.cpu_total)
    return min(1.0, max(0.0, ratio))


def speeds_of(before: host.Counters | None, now: host.Counters) -> dict[str, tuple[float, float]]:
    """Return {interface: (receive, transmit)} in bytes per second, where it can be known."""
    if before is None or now.monotonic <= before.monotonic:
        return {}
    seconds = now.monotonic - before.monotonic
    speeds = {}
    for name, counter in now.interfaces.items():
        if (old := before.interfaces.get(name)) is None:
            continue
        received = counter.receive_bytes - old.receive_bytes
        transmitted = counter.transmit_bytes - old.transmit_bytes
        # An interface that went away and came back counts from zero: no reading, not a negative.
        if received >= 0 and transmitted >= 0:
            speeds[name] = received / seconds, transmitted / seconds
    return speeds


def families(stats: Stats) -> Iterable[Metric]:
    """The metrics of one look."""
    yield from _address_families(stats)
    yield from _interface_families(stats)
    now = stats.counters
    if stats.cpu_usage is not None:
        yield _gauge(
            "vedette_cpu_usage_ratio",
            "Share of all processors' time that was not idle, between the last two looks.",
            stats.cpu_usage,
        )
    for minutes, load in zip((1, 5, 15), now.load, strict=True):
        yield _gauge(f"vedette_load{minutes}", f"Load average over {minutes} min.", load)
    yield _gauge("vedette_memory_size_bytes", "Memory of the machine.", now.memory_size)
    yield _gauge(
        "vedette_memory_available_bytes",
        "Memory that programs can have without swapping.",
        now.memory_available,
    )
    yield _gauge("vedette_swap_used_bytes", "Swap space in use.", now.swap_used)
    labels = ["mountpoint", "device"]
    size = GaugeMetricFamily(
        "vedette_filesystem_size_bytes", "Size of a file system on a device.", labels=labels
    )
    available = GaugeMetricFamily(
        "vedette_filesystem_available_bytes",
        "Space of a file system that ordinary users can still have.",
        labels=labels,
    )
    for filesystem in now.filesystems:
        size.add_metric([filesystem.mountpoint, filesystem.device], filesystem.size)
        available.add_metric([filesystem.mountpoint, filesystem.device], filesystem.available)
    yield size
    yield available


def _address_families(stats: Stats) -> Iterable[Metric]:
    info = InfoMetricFamily(
        "vedette_address",
        "Address of this host on a real interface; always 1.",
        labels=["interface", "address", "mac", "family"],
    )
    for a in stats.addresses:
        info.add_metric([a.interface, str(a.address), a.mac, f"ipv{a.address.version}"], {})
    yield info
    yield _gauge(
        "vedette_addresses",
        "Number of different addresses of this host on real interfaces.",
        len({a.address for a in stats.addresses}),
    )


def _interface_families(stats: Stats) -> Iterable[Metric]:
    text = {"receive": "received", "transmit": "sent"}
    for way, verb in text.items():
        total = CounterMetricFamily(
            f"vedette_interface_{way}_bytes",
            f"Bytes {verb}, by the kernel's account, since the interface came up.",
            labels=["interface"],
        )
        speed = GaugeMetricFamily(
            f"vedette_interface_{way}_bytes_per_second",
            f"Bytes {verb} per second between the last two looks.",
            labels=["interface"],
        )
        for name, counter in stats.counters.interfaces.items():
            total.add_metric([name], getattr(counter, f"{way}_bytes"))
            if name in stats.speeds:
                speed.add_metric([name], stats.speeds[name][way == "transmit"])
        yield total
        yield speed
    for what, help_text in (
        ("errors", "Errors of an interface, by the kernel's account."),
        ("dropped", "Packets that an interface or its queue dropped, by the kernel's account."),
    ):
        name = "errors" if what == "errors" else "dropped_packets"
        family = CounterMetricFamily(
            f"vedette_interface_{name}", help_text, labels=["interface", "direction"]
        )
        for interface, counter in stats.counters.interfaces.items():
            for way in text:
                family.add_metric([interface, way], getattr(counter, f"{way}_{what}"))
        yield family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def facts(stats: Stats) -> Iterable[Facts]:
    """Which addresses this host has."""
    yield Facts(
        "address",
        tuple(Fact(f"{a.interface} {a.address}", {"mac": a.mac}) for a in stats.addresses),
    )


JOB = Job(name="stats", options=Options, observe=observe, families=families, facts=facts)
