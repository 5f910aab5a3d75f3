"""Pushing to Debian's Pushgateway: what arrives, who may, and what happens when it fails."""

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import bcrypt
import pytest

from tests.live.certificates import Authority
from tests.live.netns import Namespace, directory, lone_host, wait_for
from tests.live.receivers import STILL, Receiver, exposed, pushgateway
from tests.live.running import FIGURES, Agent, Metrics, request, vedette
from tests.servers import leaving_early, serving
from vedette.publish.options import Push as Options
from vedette.publish.push import LEAN_SERIES, Push
from vedette.publish.remote import Outcome, Remote

pytestmark = pytest.mark.live

EVERY_SECOND = ["--publish.push.enabled", "true", "--publish.push.interval-seconds", "1"]
EVERY_SECOND += ["--publish.push.timeout-seconds", "0.5"]


@pytest.fixture(scope="module")
def lab() -> Iterator[tuple[Namespace, Path]]:
    """A host with loopback alone."""
    with lone_host("push") as host, directory("push") as where:
        yield host, where


@pytest.fixture(scope="module")
def gateway(lab: tuple[Namespace, Path]) -> Iterator[Receiver]:
    receiver = pushgateway(*lab, 9091).start()
    yield receiver
    receiver.stop()


def stored(gateway: Receiver, **labels: str) -> dict[Any, float]:
    """Return the series of the group with these labels, without the gateway's own."""
    metrics = Metrics(request(gateway.host, "/metrics", port=gateway.port).text)
    return {
        series: value
        for series, value in exposed(metrics).items()
        if labels.items() <= dict(series).items()
        and not dict(series)["__name__"].startswith("push")
    }


def test_what_is_pushed_is_what_is_exposed(lab: tuple[Namespace, Path], gateway: Receiver) -> None:
    """But for the metrics of the process; an ordinary stop leaves it, a decommission does not."""
    host, where = lab
    flags = [*EVERY_SECOND, "--publish.push.url", gateway.url, "--publish.push.profile", "full"]
    group = {"job": "vedette", "instance": "web-1/a"}
    name = ["--publish.push.instance", group["instance"]]
    agent = Agent(host, where / "same", *STILL, *flags, *name)
    try:
        agent.wait_for_success("stats")
        wait_for("a push", lambda: stored(gateway, **group), 5)
        expected = {
            series: value
            for series, value in exposed(agent.metrics(), **group).items()
            if not dict(series)["__name__"].startswith(("process_", "python_"))
        }
        wait_for("all of it", lambda: stored(gateway, **group) == expected, 5)
    finally:
        stopped = agent.stop()
    url = ["--publish.push.url", gateway.url]

    assert stopped < 5
    assert stored(gateway, **group) == expected
    done = vedette(host, where / "same", "decommission", *url, *name)
    assert (done.returncode, stored(gateway, **group)) == (0, {})
    assert 'deleted {job="vedette", instance="web-1/a"}' in done.stderr


def test_a_decommission_of_nothing_and_one_that_fails(lab: tuple[Namespace, Path]) -> None:
    host, where = lab
    nothing = vedette(host, where / "d", "decommission")
    nobody = vedette(host, where / "d", "decommission", "--publish.push.url", "http://127.0.0.1:1")

    assert (nothing.returncode, nobody.returncode) == (0, 1)
    assert "no group" in nothing.stderr
    assert "refused: Connection refused" in nobody.stderr


def test_the_lean_profile_is_small(lab: tuple[Namespace, Path], gateway: Receiver) -> None:
    host, where = lab
    flags = [*EVERY_SECOND, "--publish.push.url", gateway.url, "--publish.push.instance", "lean"]
    agent = Agent(host, where / "lean", *STILL, *flags)
    try:
        agent.wait_for_success("stats")
        wait_for("a push", lambda: stored(gateway, instance="lean"), 5)
        names = {dict(series)["__name__"] for series in stored(gateway, instance="lean")}
    finally:
        agent.stop()

    assert "vedette_job_last_success_timestamp_seconds" in names
    assert not {name for name in names if name.startswith("process_")}
    assert len(stored(gateway, instance="lean")) <= LEAN_SERIES


def test_a_gateway_that_goes_and_hangs_delays_nothing(
    lab: tuple[Namespace, Path], gateway: Receiver
) -> None:
    """Stopped in its tracks, gone, and back: jobs run, /metrics answers, each reason is counted."""
    host, where = lab
    flags = [*EVERY_SECOND, "--publish.push.url", gateway.url, "--publish.push.instance", "lasting"]
    agent = Agent(host, where / "lasting", *STILL[:-2], "--stats.interval-seconds", "1", *flags)

    def count(name: str, **labels: str) -> float:
        return agent.metrics().value(f"vedette_publish_{name}", publisher="push", **labels)

    try:
        wait_for("a push", lambda: count("last_success_timestamp_seconds"), 8)
        memory = agent.status("VmRSS")
        gateway.freeze(frozen=True)
        try:
            wait_for("time-outs", lambda: count("failures_total", reason="timeout") >= 3, 10)
            agent.wait_for_success("stats", 5, after=agent.successes("stats"))
        finally:
            gateway.freeze(frozen=False)
        gateway.stop()
        wait_for("refusals", lambda: count("failures_total", reason="refused") >= 2, 8)
        last = count("last_success_timestamp_seconds")
        gateway.start()
        wait_for("a push", lambda: count("last_success_timestamp_seconds") > last, 8)
        FIGURES["memory after a gateway that hung and went"] = (
            f"{(agent.status('VmRSS') - memory) / 1024:+.1f} MiB"
        )
        assert agent.status("VmRSS") - memory < 3 << 10
        reasons = [line["reason"] for line in agent.events("publishing fails")]
        assert {"timeout", "refused"} <= set(reasons)
        assert len(reasons) < 8  # a change is logged, not every attempt
    finally:
        agent.stop()


def test_another_type_is_refused_and_not_repeated(
    lab: tuple[Namespace, Path], gateway: Receiver
) -> None:
    """What a real gateway says to a body that it cannot take."""
    options = Options(enabled=True, url=gateway.url)
    with lab[0].entered():
        outcome = Remote(options).exchange(
            "PUT", "/metrics/job/x", b"vedette_build_info 1 1234567890\n", stop=Event()
        )

    # That of Debian 13 falls over its own log line about it, and answers nothing.
    if "panic serving" in gateway.log.read_text():
        assert outcome.reason == "reset"
    else:
        assert outcome.reason == "rejected"
        assert "timestamp" in outcome.words


# ---- who may: TLS, passwords, client certificates, in any combination ----


@dataclass(frozen=True)
class Keys:
    """Files for the options of a push, and gateways that want them."""

    start: Callable[[str], Receiver]
    host: Namespace
    where: Path

    def push(self, gateway: Receiver, **options: Any) -> Outcome:
        """Push once. Names of files are found among the keys."""
        files = {
            key: self.where / value if key.endswith("_file") else value
            for key, value in options.items()
        }
        given = Options(enabled=True, url=gateway.url, timeout_seconds=5, **files)
        with self.host.entered():
            return Push(given, "host", tuple, 0.0).push()


@pytest.fixture(scope="module")
def keys(lab: tuple[Namespace, Path]) -> Iterator[Keys]:
    host, where = lab
    ours, others = Authority(where, "ours"), Authority(where, "others")
    ours.sign("server", "IP:127.0.0.1")
    ours.sign("elsewhere", "DNS:elsewhere.example")
    ours.sign("expired", "IP:127.0.0.1", days=-1)
    ours.sign("client")
    others.sign("stranger")
    both = (where / "client.crt").read_text() + (where / "client.key").read_text()
    (where / "client.pem").write_text(both)
    (where / "password").write_text("secret\n")
    (where / "wrong").write_text("sesame\n")
    running: list[Receiver] = []

    def start(web: str) -> Receiver:
        running.append(pushgateway(host, where, 9100 + len(running), web).start())
        return running[-1]

    yield Keys(start, host, where)
    for gateway in running:
        gateway.stop()


def web(pair: str, *, clients: bool = False, users: bool = False) -> str:
    """Return a web configuration."""
    text = f"tls_server_config:\n  cert_file: {pair}.crt\n  key_file: {pair}.key\n"
    if clients:
        text += "  client_ca_file: ours.crt\n  client_auth_type: RequireAndVerifyClientCert\n"
    if users:
        text += (
            f"basic_auth_users: {{host: '{bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()}'}}"
        )
    return text


CA = {"ca_file": "ours.crt"}
LOGIN = {"username": "host", "password_file": "password"}
PAIR = {"cert_file": "client.crt", "key_file": "client.key"}


@pytest.mark.parametrize("clients", [False, True])
@pytest.mark.parametrize("users", [False, True])
def test_any_combination_of_credentials(keys: Keys, *, users: bool, clients: bool) -> None:
    """A private authority with or without password, with or without client certificate."""
    gateway = keys.start(web("server", users=users, clients=clients))
    needed = {**CA, **(LOGIN if users else {}), **(PAIR if clients else {})}

    assert keys.push(gateway, **needed) == Outcome("")
    assert keys.push(gateway, **{k: v for k, v in needed.items() if k != "ca_file"}).reason == "tls"
    if users:
        assert keys.push(gateway, **{**needed, "password_file": "wrong"}).reason == "auth"
        without = {key: value for key, value in needed.items() if key not in LOGIN}
        assert keys.push(gateway, **without).reason == "auth"
    if clients:
        one_file = {**needed, "cert_file": "client.pem"}
        del one_file["key_file"]
        assert keys.push(gateway, **one_file) == Outcome("")
        stranger = {"cert_file": "stranger.crt", "key_file": "stranger.key"}
        assert keys.push(gateway, **{**needed, **stranger}).reason in {"tls", "reset"}
        without = {key: value for key, value in needed.items() if key not in PAIR}
        assert keys.push(gateway, **without).reason in {"tls", "reset"}


@pytest.mark.parametrize(
    ("pair", "ca", "words"),
    [
        ("elsewhere", "ours.crt", "IP address mismatch"),
        ("expired", "ours.crt", "expired"),
        ("server", "others.crt", "unable to get local issuer"),
    ],
)
def test_certificates_that_are_not_believed(keys: Keys, pair: str, ca: str, words: str) -> None:
    outcome = keys.push(keys.start(web(pair)), ca_file=ca)

    assert outcome.reason == "tls"
    assert words in outcome.words


def test_plain_http_where_tls_is_spoken_and_the_other_way_round(
    keys: Keys, gateway: Receiver
) -> None:
    secure = keys.start(web("server"))
    with keys.host.entered():
        plain = Options(url=f"http://127.0.0.1:{secure.port}")
        tls = Options(url=f"https://127.0.0.1:{gateway.port}")

        assert Remote(plain).exchange("PUT", "/", stop=Event()).reason == "rejected"
        assert Remote(tls).exchange("PUT", "/", stop=Event()).reason == "tls"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_refusal_is_heard_before_all_is_sent(keys: Keys, version: ssl.TLSVersion) -> None:
    """Sending on fails then; the answer is there none the less."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys.where / "server.crt", keys.where / "server.key")
    context.maximum_version = version
    with keys.host.entered(), serving(leaving_early, context) as server:
        options = Options(enabled=True, url=server.url, ca_file=keys.where / "ours.crt")
        outcome = Remote(options).exchange("PUT", "/", b"x" * 3_000_000, stop=Event())

    assert outcome == Outcome("rejected", "400 too early")


def test_renewed_certificates_are_used_at_once(keys: Keys) -> None:
    """The very publisher goes on with what has been put in its files' place."""
    gateway = keys.start(web("server", clients=True))
    ours, theirs = keys.where / "client", keys.where / "stranger"
    for end in ("crt", "key"):
        (keys.where / f"now.{end}").write_bytes(theirs.with_suffix(f".{end}").read_bytes())
    given = Options(
        enabled=True, url=gateway.url, ca_file=keys.where / "ours.crt",
        cert_file=keys.where / "now.crt", key_file=keys.where / "now.key",
    )  # fmt: skip
    push = Push(given, "host", tuple, 0.0)
    with keys.host.entered():
        before = push.push()
        for end in ("crt", "key"):
            (keys.where / f"now.{end}").write_bytes(ours.with_suffix(f".{end}").read_bytes())
        after = push.push()

    assert before.reason in {"tls", "reset"}
    assert after == Outcome("")
