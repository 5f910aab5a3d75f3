"""publish/push.py: what is put into a Pushgateway, and that nothing it does can hurt."""

import gzip
import time
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.servers import Talk, answering, dripping, resetting, serving, silent, status
from tests.unit import snapshots
from vedette import jobs
from vedette.publish import tally
from vedette.publish.exposition import TEXT, render, series
from vedette.publish.options import Options as Publish
from vedette.publish.options import Push as Options
from vedette.publish.outgoing import Publishers, instance
from vedette.publish.push import LEAN, LEAN_SERIES, Push, group, select
from vedette.publish.remote import REASONS

MACHINE_ID = "4c4c4544004a4d108052b9c04f4d3433"


def gauge(name: str, number: int = 1) -> Metric:
    family = GaugeMetricFamily(name, "Help.", labels=["port"])
    for port in range(number):
        family.add_metric([str(port)], port)
    return family


def publisher(url: str, families: Iterable[Metric] = (), **more: object) -> Push:
    known = tuple(families)
    options = Options(enabled=True, url=url, **{"timeout_seconds": 5, **more})  # type: ignore[arg-type]  # numbers
    return Push(options, "host", lambda: known, 0.0)


def ordinary() -> tuple[Metric, ...]:
    """Return the metrics of an ordinary host."""
    seen = {name.lower(): value for name, value in vars(snapshots).items() if name.isupper()}
    found = jobs.found()
    return tuple(f for name, job in found.items() for f in job.families(seen[name]))


# ---- what is sent ----


def test_one_complete_snapshot_replaces_the_group() -> None:
    families = (gauge("vedette_build_info"), gauge("vedette_open_port_info", 3))
    with serving(answering(status(200))) as server:
        push = publisher(f"{server.url}/gateway/", families)
        outcome = push.push()

    (request,) = server.requests
    assert outcome.reason == ""
    assert (request.method, request.target) == ("PUT", "/gateway/metrics/job/vedette/instance/host")
    assert request.headers["content-encoding"] == "gzip"
    assert request.headers["content-type"] == TEXT
    assert gzip.decompress(request.body) == render(families, TEXT)
    assert push.tally.buffered == 0


def test_decommissioning_deletes_the_group() -> None:
    with serving(answering(status(202))) as server:
        outcome = publisher(server.url).delete()

    (request,) = server.requests
    assert outcome.reason == ""
    assert (request.method, request.target) == ("DELETE", "/metrics/job/vedette/instance/host")


@pytest.mark.parametrize(
    ("job", "name", "path"),
    [
        ("vedette", "web-1.example", "/metrics/job/vedette/instance/web-1.example"),
        ("a/b", "h", "/metrics/job@base64/YS9i/instance/h"),
        ("j", "", "/metrics/job/j/instance@base64/="),
        ("j", "..", "/metrics/job/j/instance@base64/Li4"),
        ("j", "hé llo", "/metrics/job/j/instance@base64/aMOpIGxsbw"),
    ],
)
def test_what_a_path_cannot_hold_goes_in_base64(job: str, name: str, path: str) -> None:
    assert group(job, name) == path


@given(st.text(), st.text())
def test_a_group_is_always_a_plain_path(job: str, name: str) -> None:
    try:
        path = group(job, name)
    except UnicodeEncodeError:  # a lone surrogate, which no configuration can hold
        return

    parts = path.split("/")
    assert len(parts) == 6
    assert unquote(path) == path
    assert path.isascii()
    assert not {"", ".", "..", "?"} & set(parts[1:])


@pytest.mark.parametrize(
    ("hostname", "expected"),
    [("web-1", "web-1"), ("localhost", MACHINE_ID), ("", MACHINE_ID), ("(none)", MACHINE_ID)],
)
def test_the_instance_is_the_hosts_name_if_it_has_one(hostname: str, expected: str) -> None:
    assert instance(MACHINE_ID, hostname) == expected


# ---- what of it ----


def test_the_metrics_of_the_process_stay_at_home() -> None:
    families = (gauge("process_open_fds"), gauge("python_info"), gauge("vedette_build_info"))

    assert [f.name for f in select(families, "lean")[0]] == ["vedette_build_info"]
    assert [f.name for f in select(families, "full")[0]] == ["vedette_build_info"]


def test_lean_has_what_a_fleets_dashboards_need() -> None:
    """Each name is one that the agent exposes now, or one of the contract's to come."""
    lean, _ = select(ordinary(), "lean")
    names = {sample.name.removesuffix("_total") for family in lean for sample in family.samples}

    assert {
        "vedette_open_port_info", "vedette_port_risk_score", "vedette_host_risk_score",
        "vedette_findings", "vedette_os_info", "vedette_cpu_usage_ratio", "vedette_address_info",
        "vedette_filesystem_available_bytes", "vedette_interface_receive_bytes", "vedette_load1",
        "vedette_memory_available_bytes", "vedette_port_changes", "vedette_unexpected_open_ports",
    } <= names  # fmt: skip
    assert not {"vedette_peer_bytes", "vedette_neighbour_info", "vedette_service_bytes"} & names


def test_full_has_everything() -> None:
    assert select(ordinary(), "full") == (ordinary(), 0)


@given(st.dictionaries(st.sampled_from([*LEAN, "vedette_peer_bytes"]), st.integers(0, 200)))
def test_lean_never_passes_its_ceiling(sizes: dict[str, int]) -> None:
    """The largest families are cut, and all that is left out is counted."""
    families = [gauge(name, number) for name, number in sizes.items()]
    kept, over = select(families, "lean")
    wanted = {name: number for name, number in sizes.items() if name in LEAN}

    assert series(kept) <= LEAN_SERIES
    assert over == sum(wanted.values()) - series(kept)
    assert {f.name: len(f.samples) for f in kept if len(f.samples) < wanted[f.name]}.keys() <= {
        name for name, number in wanted.items() if number >= LEAN_SERIES // len(wanted)
    }


def test_what_is_over_the_ceiling_is_counted() -> None:
    with serving(answering(status(200))) as server:
        push = publisher(server.url, [gauge("vedette_open_port_info", 200)])
        push.push()

    assert push.tally.dropped == 50


# ---- the thread ----


def wait_until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_it_pushes_at_its_slots_and_stops_without_a_word() -> None:
    """An ordinary stop leaves the group: a host that falls silent is to be seen as such."""
    with serving(answering(status(200))) as server:
        push = publisher(
            server.url, [gauge("vedette_build_info")], interval_seconds=1, timeout_seconds=1
        )
        push.start()
        wait_until(lambda: push.tally.attempts >= 2)
        push.stop()
        push.join(1)

    assert {request.method for request in server.requests} == {"PUT"}
    assert push.tally.last_success == pytest.approx(time.time(), abs=2)


@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        (silent, "timeout"),
        (resetting, "reset"),
        (dripping("HTTP/1.1 200 OK\r\nX: "), "timeout"),
        (answering("\0\1garbage\n" * 1000), "bad_answer"),
        (answering(status(500, "full")), "server_error"),
    ],
)
def test_a_bad_gateway_costs_no_memory_and_no_second_connection(talk: Talk, reason: str) -> None:
    families = [gauge("vedette_open_port_info", 140)]
    with serving(talk) as server:
        patience = 0.05 if reason == "timeout" else 5
        push = publisher(server.url, families, timeout_seconds=patience)
        push.tally.count(push.push())
        tracemalloc.start()
        for _ in range(20):
            push.tally.count(push.push())
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert push.tally.failures[reason] == 21
    assert server.connections <= 21
    assert grown < 300_000  # the test's own server remembers the requests
    assert push.tally.buffered == 140


def test_a_gateway_that_hangs_does_not_keep_the_agent_from_stopping() -> None:
    with serving(silent) as server:
        push = publisher(server.url, interval_seconds=30, timeout_seconds=30)
        push._thread.start()  # noqa: SLF001
        push.stop()
        started = time.monotonic()
        push.join(5)

    assert time.monotonic() - started < 4


def test_a_bug_is_counted_and_does_not_end_the_thread() -> None:
    def families() -> tuple[Metric, ...]:
        raise ZeroDivisionError

    push = Push(
        Options(enabled=True, url="http://127.0.0.1:9", interval_seconds=1, timeout_seconds=1),
        "host", families, 0.0,
    )  # fmt: skip
    push.start()
    wait_until(lambda: push.tally.failures["bug"] >= 1)
    push.stop()
    push.join(1)

    assert push.tally.last_success is None


# ---- its metrics ----


def publishers(chosen: Publish) -> Publishers:
    return Publishers(
        chosen, "id", "host", tuple, share=lambda _identity, _name: 0.0, state_directory=Path("/")
    )


def test_who_sends_nothing_has_no_metrics() -> None:
    off = publishers(Publish())

    assert off.tallies() == []
    assert list(tally.families(off.tallies())) == []


def test_each_publisher_says_how_it_does() -> None:
    """All reasons are there from the start, at 0; a success has a time only once there is one."""
    pushing = publishers(Publish(push=Options(enabled=True, url="http://127.0.0.1:9")))
    families = tally.families(pushing.tallies())
    samples: dict[tuple[str, ...], float] = {
        (s.name, *s.labels.values()): s.value
        for family in text_string_to_metric_families(render(families, TEXT).decode())
        for s in family.samples
    }

    expected: dict[tuple[str, ...], float] = {
        ("vedette_publish_attempts_total", "push"): 0,
        **{("vedette_publish_failures_total", "push", reason): 0 for reason in REASONS},
        ("vedette_publish_buffered_samples", "push"): 0,
        ("vedette_publish_dropped_samples_total", "push"): 0,
    }
    assert samples == expected


def test_a_success_has_its_time() -> None:
    with serving(answering(status(500), status(200))) as server:
        push = publisher(server.url)
        for _ in range(2):
            push.tally.count(push.push())
    values = {f.name: f for f in tally.families([push.tally])}

    assert isinstance(values["vedette_publish_attempts"], CounterMetricFamily)
    assert values["vedette_publish_attempts"].samples[0].value == 2
    (last,) = values["vedette_publish_last_success_timestamp_seconds"].samples
    assert last.value == pytest.approx(time.time(), abs=5)


def test_an_attempt_that_was_called_off_is_none() -> None:
    push = publisher("http://127.0.0.1:9")
    push.stop()
    push.tally.count(push.push())

    assert push.tally.attempts == 0
