"""publish/remote_write.py, prompb.py, buffer.py: samples in order, whatever happens meanwhile."""

import logging
import math
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from string import ascii_letters, digits
from typing import Any

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from tests.servers import answering, serving, silent, status
from vedette import config
from vedette.errors import ConfigError
from vedette.publish import prompb
from vedette.publish.buffer import Buffer
from vedette.publish.options import RemoteWrite as Options
from vedette.publish.remote import Outcome
from vedette.publish.remote_write import RemoteWrite, Series

NOW_MS = 1_790_000_000_000
FIRST = ascii_letters + "_"  # of a label's name


@dataclass(frozen=True)
class Sample:
    """One sample as a receiver reads it. value: "stale" for the mark."""

    labels: tuple[tuple[str, str], ...]
    value: float | str
    timestamp: int


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Read a message of Protocol Buffers, independently of how it was written."""

    def varint(at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            value |= (message[at] & 0x7F) << shift
            shift += 7
            at += 1
            if not message[at - 1] & 0x80:
                return value, at

    at = 0
    while at < len(message):
        tag, at = varint(at)
        kind = tag & 7
        if kind == 0:
            value, at = varint(at)
            yield tag >> 3, value
        elif kind == 1:
            yield tag >> 3, message[at : at + 8]
            at += 8
        else:
            assert kind == 2
            size, at = varint(at)
            assert at + size <= len(message)
            yield tag >> 3, message[at : at + size]
            at += size


def read(body: bytes) -> list[Sample]:
    """Return the samples of a compressed request."""
    found = []
    for number, series in fields(bytes(cramjam.snappy.decompress_raw(body))):
        assert number == 1
        labels, values = [], []
        for kind, message in fields(series):
            content = dict(fields(message))
            if kind == 1:
                labels.append((content[1].decode(), content[2].decode()))
            else:
                value = (
                    "stale" if content[1] == prompb.STALE else struct.unpack("<d", content[1])[0]
                )
                values.append((value, content[2] - (1 << 64 if content[2] >> 63 else 0)))
        ((value, timestamp),) = values
        found.append(Sample(tuple(labels), value, timestamp))
    return found


def gauge(name: str, **values: float) -> Metric:
    family = GaugeMetricFamily(name, "Help.", labels=["port"])
    for port, value in values.items():
        family.add_metric([port], value)
    return family


def writer(
    url: str, directory: Path, families: Callable[[], tuple[Metric, ...]] = tuple, **more: Any
) -> RemoteWrite:
    options = Options(enabled=True, url=url, **{"timeout_seconds": 5, **more})
    return RemoteWrite(options, "host", directory, families, 0.0)


def wait_until(true: Callable[[], bool], seconds: float = 8.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


# ---- on the wire ----


def test_a_request_as_the_specification_has_it() -> None:
    series = prompb.labels("up", {"b": "2", "empty": ""}, {"a": "1", "b": "outside"})
    body = prompb.request([(series, prompb.number(1.5))], NOW_MS)

    assert bytes(cramjam.snappy.decompress_raw(body)) == bytes.fromhex(
        "0a320a0e0a085f5f6e616d655f5f120275700a060a01611201310a060a0162120132"
        "121009000000000000f83f1080d8c1a28c34"
    )  # fmt: skip  # as the library of Protocol Buffers writes it
    assert read(body) == [Sample((("__name__", "up"), ("a", "1"), ("b", "2")), 1.5, NOW_MS)]


@given(
    st.lists(
        st.tuples(
            st.dictionaries(
                st.builds(
                    str.__add__, st.sampled_from(FIRST), st.text(FIRST + digits, max_size=20)
                ),
                st.text(),
            ),
            st.floats(allow_nan=False),
        ),
        max_size=20,
    ),
    st.integers(-(1 << 63), (1 << 63) - 1),
)
def test_what_is_written_is_what_is_read(
    samples: list[tuple[dict[str, str], float]], timestamp: int
) -> None:
    """Labels come sorted and without empty ones, as the specification demands."""
    written = [(prompb.labels("name", own, {}), prompb.number(value)) for own, value in samples]
    found = read(prompb.request(written, timestamp))

    assert [sample.value for sample in found] == [value for _, value in samples]
    assert {sample.timestamp for sample in found} <= {timestamp}
    for sample, (own, _) in zip(found, samples, strict=True):
        expected = {k: v for k, v in {**own, "__name__": "name"}.items() if v}
        clean = {k: v.encode("utf-8", "replace").decode() for k, v in expected.items()}
        assert dict(sample.labels) == clean
        assert list(sample.labels) == sorted(sample.labels, key=lambda pair: pair[0].encode())


def test_a_nan_is_no_mark() -> None:
    (sample,) = read(prompb.request([(b"", prompb.number(math.nan))], 0))

    assert isinstance(sample.value, float)
    assert math.isnan(sample.value)


# ---- the samples of a moment ----


def values(samples: list[tuple[bytes, bytes]]) -> dict[str, float | str]:
    """Return {port: value}."""
    found = read(prompb.request(samples, 0))
    return {dict(sample.labels)["port"]: sample.value for sample in found}


def test_series_that_vanish_are_marked_once() -> None:
    series = Series({"instance": "host"})

    assert values(series.samples((gauge("g", a=1, b=2),))) == {"a": 1, "b": 2}
    assert values(series.samples((gauge("g", b=3, c=4),))) == {"a": "stale", "b": 3, "c": 4}
    assert values(series.samples((gauge("g", b=3, c=4),))) == {"b": 3, "c": 4}
    assert values(series.samples((gauge("g", a=5),))) == {"a": 5, "b": "stale", "c": "stale"}


def test_every_series_says_where_it_is_from(tmp_path: Path) -> None:
    families = (gauge("g", a=1),)
    with serving(answering(status(204))) as server:
        one = writer(server.url, tmp_path / "b", lambda: families, external_labels={"site": "x"})
        one.take()
        one.send()

    (sample,) = read(server.requests[0].body)
    assert sample.labels == (
        ("__name__", "g"), ("instance", "host"), ("job", "vedette"), ("port", "a"), ("site", "x"),
    )  # fmt: skip
    assert sample.timestamp == pytest.approx(time.time() * 1000, abs=5000)


def test_the_labels_that_were_given_go_before_our_own(tmp_path: Path) -> None:
    given = {"instance": "other", "job": "net"}
    with serving(answering(status(204))) as server:
        one = writer(server.url, tmp_path, lambda: (gauge("g", a=1),), external_labels=given)
        one.take()
        one.send()

    assert given.items() <= dict(read(server.requests[0].body)[0].labels).items()


def test_the_headers_are_those_of_the_specification(tmp_path: Path) -> None:
    with serving(answering(status(204))) as server:
        one = writer(f"{server.url}/api/v1/write?tenant=a", tmp_path, lambda: (gauge("g", a=1),))
        one.take()
        one.send()

    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/api/v1/write?tenant=a")
    for name, value in prompb.HEADERS.items():
        assert request.headers[name.lower()] == value


def test_many_series_go_in_several_requests(tmp_path: Path) -> None:
    many = gauge("g", **{f"p{n}": n for n in range(4500)})
    one = writer("http://127.0.0.1:9", tmp_path, lambda: (many,))
    one.take()

    assert len(one.buffer) == 3
    assert one.tally.buffered == 4500


@pytest.mark.parametrize("labels", [{"1": "a"}, {"__x": "a"}, {"a-b": "c"}, {"site": ""}])
def test_labels_that_are_refused(labels: Mapping[str, str]) -> None:
    with pytest.raises(ValueError, match="remote_write: external_labels"):
        Options(external_labels=labels)


# ---- what becomes of a request ----


@pytest.mark.parametrize(
    ("code", "left", "dropped"),
    [(204, 0, 0), (400, 0, 1), (401, 0, 1), (404, 0, 1), (429, 1, 0), (500, 1, 0), (503, 1, 0)],
)
def test_what_is_refused_is_dropped_and_what_fails_stays(
    tmp_path: Path, code: int, left: int, dropped: int
) -> None:
    with serving(answering(status(code))) as server:
        one = writer(server.url, tmp_path, lambda: (gauge("g", a=1),))
        one.take()
        one.send()

    assert (len(one.buffer), one.tally.buffered, one.tally.dropped) == (left, left, dropped)
    assert len(list(tmp_path.iterdir())) == left


def test_after_an_outage_everything_arrives_in_order(tmp_path: Path) -> None:
    moments = iter(range(1000))
    storm = [status(500), status(429, "", "Retry-After: 0"), status(503)]
    with serving(answering(*storm, status(204))) as server:
        one = writer(server.url, tmp_path, lambda: (gauge("g", a=next(moments)),))
        for _ in range(5):
            one.take()
        while one.buffer:
            one.send()

    accepted = [read(request.body)[0] for request in server.requests[3:]]
    assert [sample.value for sample in accepted] == [0, 1, 2, 3, 4]
    assert [s.timestamp for s in accepted] == sorted(s.timestamp for s in accepted)
    assert [read(request.body)[0].value for request in server.requests[:4]] == [0, 0, 0, 0]
    assert one.tally.attempts == 8
    assert (one.tally.failures["server_error"], one.tally.failures["throttled"]) == (2, 1)


def test_a_stop_marks_every_series_and_sends_what_it_can(tmp_path: Path) -> None:
    with serving(answering(status(204))) as server:
        one = writer(
            server.url,
            tmp_path,
            lambda: (gauge("g", a=1, b=2),),
            interval_seconds=1,
            timeout_seconds=1,
        )
        one.start()
        wait_until(lambda: len(server.requests) >= 2)
        one.stop()
        one.join(2)

    last, before = (read(server.requests[n].body) for n in (-1, -2))
    assert [sample.value for sample in last] == ["stale", "stale"]
    assert [sample.value for sample in before] == [1, 2]
    assert last[0].timestamp > before[0].timestamp
    assert list(tmp_path.iterdir()) == []


def test_a_stop_in_an_outage_leaves_it_to_the_next_agent(tmp_path: Path) -> None:
    families = (gauge("g", a=1),)
    with serving(silent) as server:
        one = writer(server.url, tmp_path, lambda: families, interval_seconds=20, timeout_seconds=9)
        one.take()
        one._thread.start()  # noqa: SLF001 - its first slot may be 20 s away
        one.stop()
        started = time.monotonic()
        one.join(5)
    assert time.monotonic() - started < 4

    with serving(answering(status(204))) as server:
        following = writer(server.url, tmp_path)
        assert following.buffer.samples == 2
        while following.buffer:
            following.send()
    assert [read(request.body)[0].value for request in server.requests] == [1, "stale"]


def test_who_never_sent_has_nothing_to_end(tmp_path: Path) -> None:
    one = writer("http://127.0.0.1:9", tmp_path)
    one.take(last=True)

    assert len(one.buffer) == 0


def test_one_bad_request_does_not_stop_the_others_nor_lose_them_at_once(tmp_path: Path) -> None:
    one = writer("http://127.0.0.1:9", tmp_path, interval_seconds=60)

    assert one._pause(Outcome("")) == 0.0  # noqa: SLF001 - drain without a pause
    assert one._pause(Outcome("rejected")) == 1.0  # noqa: SLF001
    assert one._pause(Outcome("auth")) > 1.0  # noqa: SLF001 - until the next slot
    assert 0.0 <= one._pause(Outcome("server_error")) <= 1.0  # noqa: SLF001


def test_a_receiver_that_hangs_does_not_make_the_samples_late(tmp_path: Path) -> None:
    """No more than its time-out, and none is left out."""
    with serving(silent) as server:
        one = writer(
            server.url,
            tmp_path,
            lambda: (gauge("g", a=1),),
            interval_seconds=1,
            timeout_seconds=0.2,
        )
        one.start()
        wait_until(lambda: one.tally.failures["timeout"] >= 2 and one.tally.buffered >= 3)
        one.stop()
        one.join(2)

    stamps = [read(file.read_bytes())[0].timestamp for file in sorted(tmp_path.iterdir())]
    steps = [later - earlier for earlier, later in pairwise(stamps)]
    assert all(700 <= step <= 1300 for step in steps[:-1])


def test_a_bug_costs_a_moment(tmp_path: Path) -> None:
    def families() -> tuple[Metric, ...]:
        raise ZeroDivisionError

    one = writer("http://127.0.0.1:9", tmp_path, families, interval_seconds=1, timeout_seconds=1)
    one.start()
    wait_until(lambda: one.tally.failures["bug"] >= 2)
    one.stop()
    one.join(2)


# ---- the buffer ----


def drain(buffer: Buffer) -> list[bytes | None]:
    found = []
    while buffer:
        found.append(buffer.first())
        buffer.drop()
    return found


def test_a_directory_that_is_not_there_yet_is_no_complaint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("vedette").propagate = True
    buffer = Buffer(tmp_path / "new" / "b", 100)
    buffer.add(b"one", 1)

    assert drain(buffer) == [b"one"]
    assert caplog.records == []


def test_it_is_first_in_first_out_over_restarts(tmp_path: Path) -> None:
    for start in (0, 10):
        buffer = Buffer(tmp_path / "b", 1 << 20)
        for n in range(start, start + 10):
            assert buffer.add(b"%d" % n, n) == 0
    again = Buffer(tmp_path / "b", 1 << 20)

    assert (len(again), again.samples, again.size) == (20, sum(range(20)), 30)
    assert drain(again) == [b"%d" % n for n in range(20)]
    assert (again.samples, again.size) == (0, 0)
    assert list((tmp_path / "b").iterdir()) == []


def test_when_it_is_full_the_oldest_goes_and_is_counted(tmp_path: Path) -> None:
    buffer = Buffer(tmp_path, 100)
    lost = [buffer.add(bytes([n]) * 30, 7) for n in range(5)]

    assert lost == [0, 0, 0, 7, 7]
    assert (buffer.size, buffer.samples) == (90, 21)
    assert drain(buffer) == [bytes([n]) * 30 for n in (2, 3, 4)]


def test_only_its_own_files_are_touched(tmp_path: Path) -> None:
    for name in ("unfinished", "README", "0000000000000001-5.snappy.bak", "history.sqlite"):
        (tmp_path / name).write_bytes(b"x")
    buffer = Buffer(tmp_path, 100)
    buffer.add(b"one", 1)

    assert drain(buffer) == [b"one"]
    assert {file.name for file in tmp_path.iterdir()} >= {"README", "history.sqlite"}


def test_its_files_are_for_nobody_else(tmp_path: Path) -> None:
    buffer = Buffer(tmp_path / "b", 100)
    buffer.add(b"one", 1)

    (file,) = (tmp_path / "b").iterdir()
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o777 == 0o600


def test_where_the_disk_takes_nothing_memory_does_for_a_while(tmp_path: Path) -> None:
    """The directory is a file: nothing can be written there. The order stays."""
    (tmp_path / "b").write_bytes(b"")
    buffer = Buffer(tmp_path / "b", 64 << 20)
    lost = [buffer.add(bytes([n]) * (300 << 10), 1) for n in range(5)]

    assert lost == [0, 0, 0, 1, 1]
    assert [body[:1] for body in drain(buffer) if body] == [b"\2", b"\3", b"\4"]


def test_a_file_that_vanished_is_counted_and_passed_over(tmp_path: Path) -> None:
    with serving(answering(status(204))) as server:
        one = writer(server.url, tmp_path, lambda: (gauge("g", a=1),))
        one.take()
        one.take()
        min(tmp_path.iterdir()).unlink()
        one.send()
        one.send()

    assert len(server.requests) == 1
    assert (one.tally.dropped, one.tally.buffered) == (1, 0)


@given(st.lists(st.one_of(st.integers(1, 40), st.none(), st.just("restart")), max_size=40))
def test_whatever_is_done_what_is_kept_is_the_newest_in_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int | str | None]
) -> None:
    """A number: add a request of that size. None: one is accepted. "restart": by kill -9."""
    directory = tmp_path_factory.mktemp("buffer")
    buffer, model, lost = Buffer(directory, 100), list[bytes](), 0
    for number, step in enumerate(steps):
        if isinstance(step, int):
            body = bytes([number]) * step
            model.append(body)
            expected = 0
            while sum(map(len, model)) > 100:
                model.pop(0)
                expected += 1
            lost = buffer.add(body, 1)
            assert lost == expected
        elif step is None and model:
            assert buffer.first() == model.pop(0)
            buffer.drop()
        elif step == "restart":
            buffer = Buffer(directory, 100)
        assert (len(buffer), buffer.size) == (len(model), sum(map(len, model)))

    assert drain(buffer) == model


_ADD_FOR_EVER = """
import itertools, pathlib, sys
from vedette.publish.buffer import Buffer
buffer = Buffer(pathlib.Path(sys.argv[1]), 1 << 30)
for n in itertools.count():
    buffer.add(b"%d " % n * 500, 1)
    print(n, flush=True)
"""


def test_kill_minus_nine_loses_nothing_that_was_added(tmp_path: Path) -> None:
    with subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-c", _ADD_FOR_EVER, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as child:
        assert child.stdout is not None
        for _ in range(300):
            child.stdout.readline()
        child.kill()
        last = max(int(line) for line in [b"299", *child.stdout.read().split()])
    bodies = drain(Buffer(tmp_path, 1 << 30))

    assert bodies[: last + 1] == [b"%d " % n * 500 for n in range(last + 1)]
    assert len(bodies) <= last + 2


# ---- the configuration ----


def test_labels_come_from_the_file_or_a_flag(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "publish:\n  remote_write:\n    url: https://prometheus/api/v1/write\n"
        "    external_labels: {site: north, rack: '12'}\n"
    )
    written = config.read(file, {}).publish.remote_write
    flag = {"publish.remote_write.external_labels": "{site: south}"}

    assert written.external_labels == {"site": "north", "rack": "12"}
    assert config.read(None, flag).publish.remote_write.external_labels == {"site": "south"}


def test_what_is_no_mapping_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("publish: {remote_write: {external_labels: {rack: [1]}, url: 'http://a:b@c'}}")
    with pytest.raises(ConfigError) as refused:
        config.read(file, {})
    monkeypatch.setenv("VEDETTE_PUBLISH__REMOTE_WRITE__EXTERNAL_LABELS", "site=north")
    with pytest.raises(ConfigError, match="mapping of names to texts as JSON"):
        config.read(None, {})

    labels, url = sorted(refused.value.problems)
    assert "publish.remote_write.external_labels" in labels
    assert "mapping of names to texts" in labels
    assert url.startswith("publish.remote_write.url: ")
    assert "a:b" not in url
