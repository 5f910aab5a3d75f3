"""jobs/stats.py: two readings of the machine in, speeds and metrics out."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support import context, series_of
from tests.unit.snapshots import STATS
from vedette.edges.host import InterfaceCounters
from vedette.job import Fact, Facts
from vedette.jobs import stats
from vedette.jobs.stats import Stats

ETH0 = STATS.counters.interfaces["eth0"]


def reading(seconds: float = 0.0, **changes: Any) -> Any:
    """The counters of the sample, so many seconds later, changed like this."""
    return replace(STATS.counters, monotonic=1000.0 + seconds, **changes)


def eth0(received: int, sent: int) -> dict[str, InterfaceCounters]:
    return {
        "eth0": replace(
            ETH0,
            receive_bytes=ETH0.receive_bytes + received,
            transmit_bytes=ETH0.transmit_bytes + sent,
        )
    }


def test_speeds_are_bytes_over_the_time_that_really_passed() -> None:
    """A run can be late: its interval is not what has passed."""
    later = reading(4.0, interfaces=eth0(1000, 8000))

    assert stats.speeds_of(STATS.counters, later) == {"eth0": (250.0, 2000.0)}


@pytest.mark.parametrize(
    ("before", "now"),
    [
        pytest.param(None, reading(), id="the first reading"),
        pytest.param(reading(), reading(0.0, interfaces=eth0(9, 9)), id="no time has passed"),
        pytest.param(reading(), reading(5, interfaces=eth0(-1, 9)), id="receive counter reset"),
        pytest.param(reading(), reading(5, interfaces=eth0(9, -1)), id="transmit counter reset"),
        pytest.param(reading(interfaces={}), reading(5), id="a new interface"),
    ],
)
def test_there_is_no_speed_where_none_can_be_known(before: Any, now: Any) -> None:
    """An interface that came back counts from zero: terabytes per second, or below zero."""
    assert stats.speeds_of(before, now) == {}


@pytest.mark.parametrize(
    ("busy", "total", "ratio"),
    [(5.0, 10.0, 0.5), (0.0, 10.0, 0.0), (11.0, 10.0, 1.0), (-1.0, 10.0, 0.0), (0.0, 0.0, None)],
)
def test_processor_usage_is_a_ratio(busy: float, total: float, ratio: float | None) -> None:
    """The kernel's counters go back a little at times: never below 0, never above 1."""
    now = reading(5, cpu_busy=25.0 + busy, cpu_total=100.0 + total)

    assert stats.cpu_usage_of(STATS.counters, now) == ratio


def test_the_first_look_has_no_ratio() -> None:
    """Since boot is not since a moment ago."""
    assert stats.cpu_usage_of(None, STATS.counters) is None


def test_a_look_at_the_machine_as_metrics() -> None:
    """Every family of the job, by hand-checked numbers."""
    assert series_of(stats.families(STATS)) == [
        ('vedette_address_info{address="192.0.2.10",family="ipv4",interface="eth0",'
         'mac="02:00:00:00:00:01"} 1.0'),
        ('vedette_address_info{address="2001:db8::10",family="ipv6",interface="eth0",'
         'mac="02:00:00:00:00:01"} 1.0'),
        "vedette_addresses 2.0",
        'vedette_interface_receive_bytes_total{interface="eth0"} 1e+06',
        'vedette_interface_receive_bytes_per_second{interface="eth0"} 1500.0',
        'vedette_interface_transmit_bytes_total{interface="eth0"} 2e+06',
        'vedette_interface_transmit_bytes_per_second{interface="eth0"} 2500.5',
        'vedette_interface_errors_total{direction="receive",interface="eth0"} 1.0',
        'vedette_interface_errors_total{direction="transmit",interface="eth0"} 2.0',
        'vedette_interface_dropped_packets_total{direction="receive",interface="eth0"} 3.0',
        'vedette_interface_dropped_packets_total{direction="transmit",interface="eth0"} 4.0',
        "vedette_cpu_usage_ratio 0.25",
        "vedette_load1 0.5",
        "vedette_load5 0.25",
        "vedette_load15 0.125",
        "vedette_memory_size_bytes 8.589934592e+09",
        "vedette_memory_available_bytes 3.221225472e+09",
        "vedette_swap_used_bytes 1.048576e+06",
        'vedette_filesystem_size_bytes{device="/dev/vda1",mountpoint="/"} 4.294967296e+10',
        'vedette_filesystem_available_bytes{device="/dev/vda1",mountpoint="/"} 1.073741824e+10',
    ]  # fmt: skip


def test_without_a_reading_there_is_no_series() -> None:
    """No reading is not zero: an idle processor would be a lie."""
    text = "".join(series_of(stats.families(replace(STATS, cpu_usage=None, speeds={}))))

    assert "cpu_usage" not in text
    assert "per_second" not in text


def test_an_address_on_two_interfaces_is_one_address() -> None:
    """The count is of addresses; which interface has them stands in the info series."""
    twice = (*STATS.addresses, replace(STATS.addresses[0], interface="eth1"))

    assert "vedette_addresses 2.0" in series_of(stats.families(replace(STATS, addresses=twice)))


def test_facts_are_the_addresses_with_their_macs() -> None:
    """A new address, or a card that was changed, is news."""
    mac = {"mac": "02:00:00:00:00:01"}

    assert list(stats.facts(STATS)) == [
        Facts("address", (Fact("eth0 192.0.2.10", mac), Fact("eth0 2001:db8::10", mac)))
    ]


def test_this_very_machine_can_be_read() -> None:
    """The whole job once, on whatever runs the tests: loopback is there, and time passes."""
    options = stats.Options(include_loopback=True)

    (first,) = stats.observe(options, context())
    (second,) = stats.observe(options, context(first))

    assert any(a.address.is_loopback for a in second.addresses)
    assert isinstance(second, Stats)
    assert second.speeds.keys() == second.counters.interfaces.keys()
    assert 0 < second.counters.memory_available <= second.counters.memory_size
