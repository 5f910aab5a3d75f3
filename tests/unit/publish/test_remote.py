"""publish/remote.py, pace.py, options.py: one exchange with any server, and when to try again."""

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.servers import (
    Server,
    Talk,
    answering,
    dripping,
    leaving_early,
    receive,
    resetting,
    serving,
    silent,
    status,
)
from vedette.publish.options import Outgoing, Push, address
from vedette.publish.pace import Pace
from vedette.publish.remote import REASONS, Outcome, Remote, find, retry_after
from vedette.timer import share

OK, NOW = Outcome(""), 1_790_000_000.0


def options(url: str, **more: Any) -> Outgoing:
    return Outgoing(enabled=True, url=url, **{"timeout_seconds": 5, **more})


def exchange(talk: Talk, body: bytes = b"x", **more: Any) -> Outcome:
    with serving(talk) as server:
        return Remote(options(server.url, **more)).exchange("PUT", "/there", body, stop=Event())


def test_what_is_sent_is_what_arrives() -> None:
    with serving(answering(status(204))) as server:
        remote = Remote(options(f"{server.url}/prefix/?tenant=a"), lambda: NOW)
        target = f"{remote.path}/write{remote.query}"
        outcome = remote.exchange("POST", target, b"\0" * 300_000, {"X-One": "1"}, stop=Event())

    (request,) = server.requests
    assert outcome == OK
    assert (request.method, request.target) == ("POST", "/prefix/write?tenant=a")
    assert request.body == b"\0" * 300_000
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert request.headers["x-one"] == "1"
    assert "authorization" not in request.headers


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (200, ""), (202, ""), (204, ""), (301, "bad_answer"), (307, "bad_answer"),
        (400, "rejected"), (401, "auth"), (403, "auth"), (404, "rejected"), (407, "auth"),
        (408, "timeout"), (413, "rejected"), (429, "throttled"), (500, "server_error"),
        (503, "server_error"), (599, "server_error"), (600, "bad_answer"),
    ],
)  # fmt: skip
def test_each_status_has_its_reason(code: int, reason: str) -> None:
    assert exchange(answering(status(code, "because"))).reason == reason


def test_a_refusal_says_why_in_one_short_line() -> None:
    outcome = exchange(answering(status(400, "line one\nline\x1b[31m two" + "x" * 5000)))

    assert outcome.words.startswith("400 line one line [31m two")
    assert len(outcome.words) <= 200
    assert outcome.words.isprintable()


def closing(line: socket.socket, server: Server) -> None:
    server.requests.append(receive(line))


def refusing_early(line: socket.socket, server: Server) -> None:
    """Answer before the body is read, as who has a limit for it does."""
    line.recv(100)
    line.sendall(status(413, "too much").encode())
    line.shutdown(socket.SHUT_WR)
    with suppress(OSError):
        while line.recv(1 << 16) and not server.stop.is_set():
            pass


@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        (silent, "timeout"),
        (dripping("HTTP/1.1 200 OK\r\nX: "), "timeout"),
        (dripping("HTTP"), "timeout"),
        (resetting, "reset"),
        (closing, "reset"),
        (refusing_early, "rejected"),
        (leaving_early, "rejected"),
        (answering("SSH-2.0-OpenSSH\r\n"), "bad_answer"),
        (answering("HTTP/1.1 abc\r\n\r\n"), "bad_answer"),
        (answering("HTTP/1.1 200 OK\r\n" + "X: y\r\n" * 200 + "\r\n"), "bad_answer"),
        (answering("HTTP/1.1 200 OK\r\nX: " + "y" * 100_000), "bad_answer"),
        (answering("HTTP/1.1 100 Continue\r\n\r\n" * 10_000), "bad_answer"),
    ],
)
def test_whatever_a_server_does_it_is_over_in_time(talk: Talk, reason: str) -> None:
    """Time-outs that count from byte to byte would wait for a drip for ever."""
    started = time.monotonic()
    patience = 0.5 if reason == "timeout" else 5
    outcome = exchange(talk, b"x" * 3_000_000, timeout_seconds=patience)

    assert outcome.reason == reason
    assert time.monotonic() - started < 4


def test_a_dripping_body_does_not_take_back_the_status() -> None:
    """The server has accepted it, or said what is wrong: the deadline takes the rest only."""
    head = "HTTP/1.1 {} X\r\nContent-Length: 1000\r\n\r\n"

    assert exchange(dripping(head.format(200), 0.001), timeout_seconds=0.5) == OK
    assert exchange(dripping(head.format(500), 0.001), timeout_seconds=0.5).reason == "server_error"


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    outcome = Remote(options(f"http://127.0.0.1:{port}")).exchange("PUT", "/", stop=Event())

    assert outcome.reason == "refused"


def test_each_address_of_a_name_is_tried() -> None:
    """One that nobody listens on, one that swallows everything, and the one that works."""
    tcp = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    with serving(answering(status(200))) as server, full() as swallowing:
        found = [(*tcp, ("127.0.0.2", 1)), (*tcp, swallowing), (*tcp, ("127.0.0.1", server.port))]
        given = options("http://gateway.example", timeout_seconds=1)
        remote = Remote(given, look_up=lambda *_, **__: found)
        outcome = remote.exchange("PUT", "/", stop=Event())

    assert outcome == OK
    assert server.requests[0].headers["host"] == "gateway.example"


@contextmanager
def full() -> Iterator[tuple[str, int]]:
    """Have an address whose connections are not completed any more, as behind a firewall."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003 - the name says it
            waiting.connect_ex(listening.getsockname())
        yield listening.getsockname()


def test_a_black_hole() -> None:
    with full() as (host, port):
        started = time.monotonic()
        outcome = Remote(options(f"http://{host}:{port}", timeout_seconds=0.5)).exchange(
            "PUT", "/", stop=Event()
        )

    assert outcome.reason == "timeout"
    assert time.monotonic() - started < 4


def test_a_resolver_that_hangs_is_left_behind_once() -> None:
    """Whatever it does: no second thread waits for it, and nothing takes longer than it may."""
    answer, asked = Event(), list[str]()

    def look_up(host: str, *_: object, **__: object) -> list[Any]:
        asked.append(host)
        answer.wait(10)
        return []

    given = options("http://gateway.example", timeout_seconds=0.5)
    remote = Remote(given, look_up=look_up)
    started = time.monotonic()
    outcomes = [remote.exchange("PUT", "/", stop=Event()).reason for _ in range(3)]
    took = time.monotonic() - started
    answer.set()

    assert outcomes == ["dns", "dns", "dns"]
    assert took < 4
    assert asked == ["gateway.example"]


def test_a_name_that_does_not_exist() -> None:
    remote = Remote(options("http://nowhere.invalid"))

    assert remote.exchange("PUT", "/", stop=Event()).reason == "dns"


def test_a_stop_calls_an_exchange_off() -> None:
    """An agent that is told to end does not wait for a server that hangs."""
    stop = Event()
    with serving(silent) as server:
        remote = Remote(options(server.url, timeout_seconds=20))
        Timer(0.1, stop.set).start()
        started = time.monotonic()
        outcome = remote.exchange("PUT", "/", b"x" * 10_000_000, stop=stop)

    assert outcome.reason == "stopped"
    assert time.monotonic() - started < 4


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=300), st.sampled_from([b"", b"HTTP/1.1 ", b"HTTP/1.1 200 X\r\n"]))
def test_any_answer_has_an_outcome(garbage: bytes, start: bytes) -> None:
    def talk(line: socket.socket, _: Server) -> None:
        receive(line)
        line.sendall(start + garbage)

    with serving(talk) as server:
        outcome = Remote(options(server.url)).exchange("PUT", "/", stop=Event())

    assert outcome.reason in {"", *REASONS}
    assert outcome.words.isprintable()


def test_credentials_are_read_anew_each_time(tmp_path: Path) -> None:
    password = tmp_path / "password"
    with serving(answering(status(200))) as server:
        remote = Remote(
            options(server.url, username="host", password_file=password, allow_insecure=True)
        )
        missing = remote.exchange("PUT", "/", stop=Event())
        for text in ("one\n", "two:ö"):
            password.write_text(text)
            remote.exchange("PUT", "/", stop=Event())

    assert missing.reason == "credentials"
    assert [request.headers["authorization"] for request in server.requests] == [
        "Basic aG9zdDpvbmU=",
        "Basic aG9zdDp0d286w7Y=",
    ]


def test_a_secret_is_looked_for_among_systemds_credentials_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "push_password").touch()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    assert find(Path("push_password")) == tmp_path / "push_password"
    assert find(Path("other")) == Path("other")
    assert find(Path("/etc/push_password")) == Path("/etc/push_password")


def test_only_the_proxy_of_the_options_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the environment are for people: a unit has none, a shell of Ansible's does."""
    with serving(answering(status(200))) as server, serving(answering(status(200))) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        Remote(options(server.url)).exchange("PUT", "/a", stop=Event())
        through = Remote(options("http://gateway.invalid:1234/x", proxy_url=proxy.url))
        outcome = through.exchange("PUT", "/b", stop=Event())

    assert outcome == OK
    assert [request.target for request in server.requests] == ["/a"]
    assert [request.target for request in proxy.requests] == ["http://gateway.invalid:1234/b"]
    assert proxy.requests[0].headers["host"] == "gateway.invalid:1234"


def test_tls_goes_through_the_proxy_by_a_tunnel() -> None:
    with serving(answering(status(403))) as proxy:
        remote = Remote(options("https://gateway.invalid", proxy_url=proxy.url))
        outcome = remote.exchange("PUT", "/", stop=Event())

    assert (outcome.reason, outcome.words) == ("auth", "the proxy: 403")
    assert proxy.requests[0].method == "CONNECT"
    assert proxy.requests[0].target == "gateway.invalid:443"


def test_files_that_are_no_certificates(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    remote = Remote(options("https://127.0.0.1:1", ca_file=tmp_path / "ca.pem"))

    assert remote.exchange("PUT", "/", stop=Event()).reason == "credentials"


# ---- the options ----


@pytest.mark.parametrize(
    "text",
    [
        "gateway:9091", "ftp://gateway", "http://", "http://user:secret@gateway", "http://a b",
        "http://gateway/#x", "http://gateway:99999", "http://gateway:0", "http://[::1", "http://ü",
        "http://gateway/\r\nX: y",
    ],
)  # fmt: skip
def test_urls_that_are_refused_are_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r"URL|http://|ASCII") as refused:
        address(text)

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"enabled": True}, "nowhere to send"),
        ({"timeout_seconds": 61.0}, "interval_seconds"),
        ({"username": "a"}, "go together"),
        ({"password_file": Path("p")}, "go together"),
        ({"username": "a", "password_file": Path("p"), "url": "http://g"}, "allow_insecure"),
        ({"username": "a:b", "password_file": Path("p")}, "colon"),
        ({"key_file": Path("k"), "url": "https://g"}, "cert_file"),
        ({"ca_file": Path("c"), "url": "http://g"}, "https"),
        ({"cert_file": Path("c"), "url": "http://g"}, "https"),
        ({"proxy_url": "https://p"}, "proxy"),
        ({"job": ""}, "job"),
        ({"url": "http://g/?a=b"}, "query"),
    ],
)
def test_options_that_do_not_go_together(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"push: .*{words}"):
        Push(**wrong)


def test_options_that_do() -> None:
    secret: dict[str, Any] = {"username": "a", "password_file": Path("p")}

    Push(enabled=True, url="https://g", **secret, cert_file=Path("c"), ca_file=Path("a"))
    Push(enabled=True, url="http://g", **secret, allow_insecure=True)


# ---- the pace ----


def pace(interval: float = 60.0, phase: float = 0.25, luck: float = 1.0) -> Pace:
    return Pace(interval, phase, lambda low, high: low + luck * (high - low))


def test_slots_are_fixed_by_the_clock() -> None:
    """A restart does not move them, so a fleet that restarts at once is as spread as before."""
    assert pace().until_slot(600.0, first=True) == 15.0
    assert pace().until_slot(610.0, first=True) == 5.0
    assert pace().until_slot(614.9, first=True) == pytest.approx(0.1)
    assert pace().until_slot(614.9) == pytest.approx(60.1)  # it was just used
    assert pace().until_slot(615.2) == pytest.approx(59.8)


def test_failures_are_tried_again_later_and_later_then_once_an_interval() -> None:
    one, failed = pace(), Outcome("server_error")

    assert [one.after(failed, 59.0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 59, 59]
    assert one.after(OK, 59.0) == 59.0
    assert one.after(failed, 59.0) == 1.0


def test_a_retry_never_passes_the_slot() -> None:
    one = pace()
    for _ in range(3):
        one.after(Outcome("timeout"), 59.0)

    assert one.after(Outcome("timeout"), 5.0) == 5.0


def test_what_is_final_waits_for_the_slot() -> None:
    assert pace().after(Outcome("auth"), 59.0) == 59.0
    assert pace().after(Outcome("rejected"), 59.0) == 59.0


def test_jitter_is_full() -> None:
    one = pace(luck=0.0)

    assert [one.after(Outcome("dns"), 59.0) for _ in range(3)] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("asked", "wait"), [(0.0, 1.0), (30.0, 30.0), (90.0, 119.0), (1e9, 359.0)])
def test_retry_after_is_honoured_within_bounds(asked: float, wait: float) -> None:
    """Five minutes at most: a server cannot silence a host."""
    assert pace().after(Outcome("throttled", retry_after=asked), 59.0) == wait


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None), ("120", 120.0), (" 7 ", 7.0), ("-1", None), ("soon", None), ("", None),
        ("Mon, 21 Sep 2026 14:14:20 GMT", 60.0), ("Mon, 21 Sep 2020 14:14:20 GMT", 0.0),
        ("9" * 5000, 999_999_999.0), ("²", None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    assert retry_after(text, 1_790_000_000.0) == seconds


@given(st.text())
def test_any_retry_after_is_seconds_or_nothing(text: str) -> None:
    seconds = retry_after(text, NOW)

    assert seconds is None or seconds >= 0.0


def test_a_thousand_hosts_that_start_in_one_second_are_spread() -> None:
    """No second has more than twice the mean of 16.7.

    The identities are as machine-ids are; a hash leaves the noise of chance, so of a thousand such
    fleets seven have a second with more (37 at most).
    """
    interval = 60.0
    identities = [f"{hash_of:032x}" for hash_of in _machine_ids(1000)]
    started = 1_790_000_000.0
    first = Counter(
        int(Pace(interval, share(identity, "push")).until_slot(started, first=True))
        for identity in identities
    )

    assert sum(first.values()) == 1000
    assert max(first.values()) <= 2 * 1000 / interval
    assert len(first) == 60


def _machine_ids(number: int) -> list[int]:
    import random  # noqa: PLC0415

    chance = random.Random("a fleet")  # noqa: S311 - the same fleet each time
    return [chance.getrandbits(128) for _ in range(number)]


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_file_descriptors_are_given_back() -> None:
    before = _open_files()
    for talk in (silent, resetting, answering("garbage"), answering(status(500))):
        exchange(talk, timeout_seconds=0.1)

    assert _open_files() <= before + 1
