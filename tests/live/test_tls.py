"""TLS, client certificates and passwords, by the agent's real server over loopback.

Beside it, where it can: Debian's node_exporter with the very same web configuration file.
"""

import os
import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import bcrypt
import pytest

from tests.live.certificates import Authority, Client, Pair
from tests.live.netns import Namespace, directory, end, lone_host, wait_for
from tests.live.running import FIGURES, VEDETTE, environment, vedette
from tests.support import exposition_of
from vedette.errors import ConfigError
from vedette.publish.guard import Guard, load
from vedette.publish.server import PLAIN, Answer, Server

if TYPE_CHECKING:
    import subprocess

pytestmark = pytest.mark.live

GOOD, WRONG, UNKNOWN = "alice:secret", "alice:wrong", "mallory:secret"
HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(10)).decode()
USERS = f"basic_auth_users: {{alice: '{HASH}'}}\n"
PAIR = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"
MUTUAL = f"{PAIR}  client_ca_file: ca.crt\n  client_auth_type: RequireAndVerifyClientCert\n"
SANS = f"{MUTUAL}  client_allowed_sans: [prometheus.example, 'spiffe://fleet/scraper']\n"
# Nothing but stats, which needs nobody else.
QUIET = [x for job in ("scan", "fingerprint", "sniff") for x in (f"--{job}.enabled", "false")]
# In which a scrape is not lost yet; what is aimed at, 0.1 s, is measured and printed.
HANGING_SECONDS = 2.0
NODE_EXPORTER = "/usr/bin/prometheus-node-exporter"


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Namespace, Path]]:
    """A host with loopback alone, and a directory with certificates."""
    with lone_host("tls") as host, directory("tls") as where:
        authority = Authority(where, "ca")
        authority.sign("server")
        authority.sign("client", "DNS:prometheus.example")
        authority.sign("uri", "URI:spiffe://fleet/scraper,email:a@example,IP:192.0.2.7")
        authority.sign("unlisted", "DNS:stranger.example")
        authority.sign("expired", "DNS:prometheus.example", days=-1)
        Authority(where, "wrong-ca").sign("foreign", "DNS:prometheus.example")
        yield host, where


@pytest.fixture(autouse=True)
def inside(place: tuple[Namespace, Path]) -> Iterator[None]:
    """Have each test, and the threads that it starts, on that host."""
    with place[0].entered():
        yield


def pair(where: Path, name: str) -> Pair:
    """Return one of the fixture's pairs."""
    return Pair(where / f"{name}.crt", where / f"{name}.key")


class Running:
    """`vedette run` with a web configuration file."""

    def __init__(self, host: Namespace, file: Path, port: int) -> None:
        self.port, self.file = port, file
        self.log = file.with_name(f"{file.stem}-{port}.log")
        command = [
            VEDETTE, "run", "--publish.expose.port", str(port), *QUIET,
            "--publish.expose.web-config-file", str(file), "--stats.interval-seconds", "1",
        ]  # fmt: skip
        with self.log.open("wb") as log:
            state = file.with_name(f"state-{port}")
            self.process = host.start(command, log=log, env=environment(state))
        self.client = Client(port)

    def wait(self) -> None:
        """Wait until it takes connections."""
        wait_for("a connection", self._listens, 20)

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return _listens(self.client)

    def said(self, what: str) -> int:
        """Return how often the log has this."""
        return self.log.read_text().count(what)

    def memory(self) -> int:
        """Return what is resident, in KiB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmRSS")))

    def threads(self) -> int:
        """Return how many it has."""
        return len(os.listdir(f"/proc/{self.process.pid}/task"))  # noqa: PTH208 - names suffice


def _listens(client: Client) -> bool:
    try:
        replace(client, tls=False).connect().close()
    except OSError:
        return False
    return True


@contextmanager
def running(host: Namespace, where: Path, text: str, port: int = 8000) -> Iterator[Running]:
    """Have the agent run with a file that says this."""
    file = where / f"web-{port}.yml"
    file.write_text(text)
    agent = Running(host, file, port)
    try:
        agent.wait()
        yield agent
        assert agent.process.poll() is None, agent.log.read_text()
    finally:
        end(agent.process)


def quantiles(seconds: list[float]) -> str:
    """Return p50 and p99 in milliseconds."""
    found = sorted(seconds)
    return " / ".join(f"{found[int(len(found) * q)] * 1000:.1f}" for q in (0.5, 0.99))


def scrape(client: Client, times: int, expected: int = 200) -> list[float]:
    """Scrape over new connections; return how long each took."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        assert client.status() == expected
        taken.append(time.perf_counter() - started)
    return taken


def test_certificates_decide_who_comes_in(place: tuple[Namespace, Path]) -> None:
    """Of the right authority, not expired, with a name on the list: everybody else is refused."""
    host, where = place
    with running(host, where, SANS) as agent:

        def status(name: str | None, path: str = "/metrics") -> int:
            shown = None if name is None else pair(where, name)
            return replace(agent.client, pair=shown).status(path)

        names = (None, "client", "uri", "unlisted", "expired", "foreign")
        assert {name: status(name) for name in names} == {
            None: 0, "client": 200, "uri": 200, "unlisted": 0, "expired": 0, "foreign": 0,
        }  # fmt: skip
        paths = ("/", "/inventory.json", "/-/healthy", "/-/ready", "/nothing")
        assert [status("unlisted", path) for path in paths] == [0] * 5
        assert [status("client", path) for path in paths] == [200, 200, 200, 200, 404]
        assert replace(agent.client, tls=False).status() == 0
        said = agent.log.read_text()

    assert "clients refused" in said
    assert "Traceback" not in said


def test_old_versions_are_refused(place: tuple[Namespace, Path]) -> None:
    """TLS 1.2 is the least, whatever the client can do."""
    host, where = place
    with running(host, where, PAIR) as agent:
        versions = [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
        assert [replace(agent.client, most=v).status() for v in versions] == [0, 200, 200]
        with agent.client.connect() as connection:
            assert isinstance(connection, ssl.SSLSocket)
            assert connection.version() == "TLSv1.3"


def test_everything_is_as_protected_as_the_metrics(place: tuple[Namespace, Path]) -> None:
    """The page and the inventory say more than /metrics; who listens learns nothing without."""
    host, where = place
    paths = ("/", "/metrics", "/inventory.json", "/-/healthy", "/-/ready", "/nothing")
    headers = "http_server_config: {headers: {X-Frame-Options: sameorigin}}\n"
    with running(host, where, PAIR + USERS + headers) as agent:
        assert {agent.client.status(path) for path in paths} == {401}
        assert {replace(agent.client, login=WRONG).status(path) for path in paths} == {401}
        good = replace(agent.client, login=GOOD)
        assert [good.status(path) for path in paths] == [200, 200, 200, 200, 200, 404]
        assert good.ask()[1]["X-Frame-Options"] == "sameorigin"
        FIGURES["resident with TLS and passwords, stats alone"] = f"{agent.memory() / 1024:.1f} MiB"


def test_what_changes_on_disk_counts_at_once(place: tuple[Namespace, Path]) -> None:
    """Certificate, authority, users: for new connections, without a restart, with mistakes."""
    host, _ = place
    with directory("rotated") as turn:
        old = Authority(turn, "ca")
        new = Authority(turn, "next")
        server, other = old.sign("server"), new.sign("other")
        scraper, later = old.sign("scraper"), new.sign("later")
        with running(host, turn, MUTUAL + USERS, 8001) as agent:
            client = replace(agent.client, pair=scraper, login=GOOD)
            assert client.status() == 200
            first = client.sees()

            # The certificate without its key: what was good stays.
            server.certificate.write_bytes(other.certificate.read_bytes())
            wait_for("the mistake", lambda: client.status() and agent.said("do not belong"), 5)
            assert client.sees() == first
            assert client.status() == 200
            time.sleep(1.1)
            assert client.status() == 200
            assert agent.said("do not belong") == 1
            wait_for("the metric", lambda: "successful 0" in _metrics(client), 5)

            # Its key as well: the next connection has the new one; one from before is closed.
            with client.connect() as kept:
                assert client.ask(over=kept)[0] == 200
                server.key.write_bytes(other.key.read_bytes())
                time.sleep(1.1)
                assert client.sees() != first
                assert client.status() == 200
                assert client.ask(over=kept)[0] == 0
            wait_for("the metric", lambda: "successful 1" in _metrics(client), 5)

            # Another authority: who had come in no longer does.
            Path(turn, "ca.crt").write_bytes(new.certificate.read_bytes())
            time.sleep(1.1)
            assert client.status() == 0
            client = replace(client, pair=later)
            assert client.status() == 200

            # Another user; then a file that would let everybody in.
            agent.file.write_text((MUTUAL + USERS).replace("alice", "bob"))
            time.sleep(1.1)
            assert client.status() == 401
            client = replace(client, login="bob:secret")
            assert client.status() == 200
            for broken in ("", PAIR + USERS, MUTUAL, "tls_server_config: ["):
                agent.file.write_text(broken)
                time.sleep(1.1)
                assert replace(client, login="").status() == 401
                assert replace(client, pair=None).status() == 0
                assert client.status() == 200


def _metrics(client: Client) -> str:
    with client.connect() as connection:
        lines = [f"{name}: {value}" for name, value in client.headers().items()]
        request = "\r\n".join(["GET /metrics HTTP/1.0", *lines, "", ""])
        connection.sendall(request.encode())
        pieces = []
        while piece := connection.recv(1 << 16):
            pieces.append(piece)
    text = b"".join(pieces).decode()
    return "\n".join(x for x in text.splitlines() if x.startswith("vedette_config_last_reload"))


def test_idle_and_slow_peers_delay_nobody(place: tuple[Namespace, Path]) -> None:
    """One silent TCP connection would hang prometheus_client's own server for ever."""
    host, where = place
    with running(host, where, PAIR + USERS) as agent, ExitStack() as opened:
        client = replace(agent.client, login=GOOD)
        scrape(client, 5)
        taken = {"nobody else": scrape(client, 200)}
        silent = replace(agent.client, tls=False)
        opened.enter_context(silent.connect())
        taken["1 idle"] = scrape(client, 200)
        for _ in range(199):
            opened.enter_context(silent.connect())
        taken["200 idle"] = scrape(client, 200)
        slow = [opened.enter_context(agent.client.connect()) for _ in range(50)]
        over = threading.Event()

        def drip() -> None:
            for byte in "GET /metrics HTTP/1.1\r\nX-Slow: 1":
                for connection in slow:
                    with suppress(OSError):  # closed at the deadline
                        connection.sendall(byte.encode())
                if over.wait(0.5):
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            taken["and 50 slow headers"] = scrape(client, 200)
        finally:
            over.set()
            dripping.join()
        assert agent.threads() <= 16
    for what, seconds in taken.items():
        FIGURES[f"TLS scrape with {what}, p50 / p99 ms (aim: p99 below 100)"] = quantiles(seconds)
    assert max(map(max, taken.values())) < HANGING_SECONDS


def test_a_thousand_wrong_passwords_delay_nobody(place: tuple[Namespace, Path]) -> None:
    """Most are sent away without a look; bcrypt never has the loop."""
    host, where = place
    with running(host, where, PAIR + USERS) as agent:
        client = replace(agent.client, login=GOOD)
        scrape(client, 5)
        alone = scrape(client, 100)
        statuses: list[int] = []

        def guess(number: int) -> None:
            """Guess ten times from one of a hundred addresses."""
            source = replace(agent.client, source=f"127.0.1.{number + 1}")
            with source.connect() as connection:
                for turn in range(10):
                    login = f"{'alice' if turn % 2 else f'user{turn}'}:guess{number}-{turn}"
                    statuses.append(replace(source, login=login).ask(over=connection)[0])

        # More than may wait for bcrypt at a time: who is sent away has guessed, too.
        with ThreadPoolExecutor(16) as guessing:
            under_way = [guessing.submit(guess, number) for number in range(100)]
            beside = scrape(client, 100)
            for one in under_way:
                one.result()
        assert set(statuses) == {401, 429}
        assert len(statuses) == 1000
        assert agent.threads() <= 16
        late = replace(client, source="127.0.2.1", login="alice:late")
        status, headers = late.ask()
        assert status in (401, 429)
        assert status == 401 or int(headers["Retry-After"]) >= 1
    FIGURES["scrape beside 1,000 wrong passwords, p50 / p99 ms"] = (
        f"{quantiles(beside)} (before: {quantiles(alone)}; {statuses.count(401)} were looked at)"
    )
    assert max(beside) < HANGING_SECONDS


def test_who_guesses_learns_no_names(place: tuple[Namespace, Path]) -> None:
    """An unknown user takes as long as a wrong password."""
    host, where = place
    taken: dict[str, list[float]] = {WRONG: [], UNKNOWN: []}
    with running(host, where, USERS) as agent:
        plain = replace(agent.client, tls=False)
        assert replace(plain, login=GOOD).status() == 200
        for number in range(40):
            login = (WRONG, UNKNOWN)[number % 2]
            asking = replace(plain, login=f"{login}{number}", source=f"127.0.1.{number + 1}")
            taken[login] += scrape(asking, 1, expected=401)
    wrong, unknown = (sorted(taken[login])[5] for login in (WRONG, UNKNOWN))
    FIGURES["unknown user : wrong password"] = (
        f"{unknown * 1000:.1f} : {wrong * 1000:.1f} ms, ratio {unknown / wrong:.2f}"
    )
    assert 0.5 < unknown / wrong < 2


@contextmanager
def many_files(number: int) -> Iterator[int]:
    """Allow ourselves so many open files, or what the machine allows; say how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = number if hard == resource.RLIM_INFINITY else min(number, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    try:
        yield max(soft, allowed) - 500
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_ten_thousand_connections(place: tuple[Namespace, Path]) -> None:
    """Beyond 512, they are closed at once; the agent lives, and answers when they are gone."""
    host, where = place
    with running(host, where, PAIR + USERS) as agent, many_files(10_500) as allowed:
        client = replace(agent.client, login=GOOD)
        scrape(client, 5)
        before = agent.memory()
        wanted = min(10_000, allowed)
        held: list[socket.socket] = []
        most = before
        try:
            for number in range(wanted):
                connection = socket.socket()
                connection.settimeout(5)
                connection.connect(("127.0.0.1", agent.port))
                held.append(connection)
                if number % 1000 == 999:
                    most = max(most, agent.memory())
            most = max(most, agent.memory())
            assert agent.process.poll() is None
        finally:
            for connection in held:
                connection.close()
        started = time.monotonic()
        wait_for("an answer", lambda: client.status() == 200, 15)
        waited = time.monotonic() - started
    FIGURES[f"{len(held):,} connections to the TLS port"] = (
        f"{most / 1024:.1f} MiB resident at most, {before / 1024:.1f} before;"
        f" the next scrape after {waited:.2f} s"
    )
    assert len(held) == wanted
    assert most - before < 64 << 10


def test_what_is_wrong_is_said_at_the_start(place: tuple[Namespace, Path]) -> None:
    """With 78, after which systemd does not start it again; the two checks say it as well."""
    host, where = place
    file = where / "bad.yml"
    file.write_text(PAIR.replace("cert_file", "cert_fle"))
    flags = ("--publish.expose.web-config-file", str(file))
    says = f"{file}: tls_server_config.cert_fle: unknown key; did you mean cert_file?"
    for command, code in (("run", 78), ("selfcheck", 1)):
        done = vedette(host, where / "state", command, *flags)
        assert done.returncode == code
        assert says in done.stdout + done.stderr
    for name, words in (("server", "is good for 1 day"), ("expired", "expired 1 day ago")):
        file.write_text(PAIR.replace("server.", f"{name}."))
        assert words in vedette(host, where / "state", "check-config", *flags).stderr


# What Debian's 1.5.0 knows as well: newer keys (client_allowed_sans, rate_limit) are not among it.
SAME: dict[str, str] = {
    "nothing": "",
    "TLS": PAIR,
    "TLS 1.3 alone": f"{PAIR}  min_version: TLS13\n",
    "TLS 1.2 alone, one suite, one curve": (
        f"{PAIR}  max_version: TLS12\n  curve_preferences: [CurveP256]\n"
        "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]\n"
    ),
    "passwords alone": USERS,
    "TLS and passwords": PAIR + USERS,
    "client certificates": MUTUAL,
    "client certificates if given": MUTUAL.replace(
        "RequireAndVerifyClientCert", "VerifyClientCertIfGiven"
    ),
    "certificates and passwords": MUTUAL + USERS,
    "asked for, not looked at": f"{PAIR}  client_auth_type: RequestClientCert\n",
}
BOTH_REFUSE: dict[str, str] = {
    "an unknown key": f"{PAIR}  cert: 1\n  key_fle: x\n",
    "no key": "tls_server_config: {cert_file: server.crt}\n",
    "no such file": PAIR.replace("server.crt", "nowhere.crt"),
    "a pair that is none": PAIR.replace("server.key", "client.key"),
    "no hash": "basic_auth_users: {alice: secret}\n",
    "no such version": f"{PAIR}  min_version: TLS14\n",
    "no such suite": f"{PAIR}  cipher_suites: [TLS_MADE_UP]\n",
    "no such curve": f"{PAIR}  curve_preferences: [CurveP1]\n",
    "authorities that nobody asks": f"{PAIR}  client_ca_file: ca.crt\n",
    "no such policy": f"{PAIR}  client_auth_type: Sometimes\n",
    "no YAML": "tls_server_config: [\n",
}
# It serves with these; they protect less than they seem to, or nothing.
WE_REFUSE: dict[str, str] = {
    "any certificate at all": f"{PAIR}  client_auth_type: RequireAnyClientCert\n",
    "TLS 1.0": f"{PAIR}  min_version: TLS10\n",
    "authorities of the whole world": f"{PAIR}  client_auth_type: RequireAndVerifyClientCert\n",
}


def _clients(where: Path, port: int) -> dict[str, Client]:
    base = Client(port)
    shown = {
        name: replace(base, pair=pair(where, name)) for name in ("client", "expired", "foreign")
    }
    return {
        "plain": replace(base, tls=False),
        "plain, password": replace(base, tls=False, login=GOOD),
        "TLS": base,
        "TLS 1.2": replace(base, most=ssl.TLSVersion.TLSv1_2),
        "TLS, password": replace(base, login=GOOD),
        "TLS, wrong password": replace(base, login=WRONG),
        "TLS, unknown user": replace(base, login=UNKNOWN),
        **shown,
        "client, password": replace(shown["client"], login=GOOD),
        "client, wrong password": replace(shown["client"], login=WRONG),
        "foreign, password": replace(shown["foreign"], login=GOOD),
    }


def _start_node_exporter(host: Namespace, file: Path, port: int) -> "subprocess.Popen[bytes]":
    return host.start(
        [
            NODE_EXPORTER, f"--web.listen-address=127.0.0.1:{port}", f"--web.config.file={file}",
            "--collector.disable-defaults",
        ]
    )  # fmt: skip


@contextmanager
def serving(file: Path, port: int) -> Iterator[None]:
    """Have our server answer here; the whole agent would take ten times as long to start."""
    guard = Guard(file)
    guard.start()
    server = Server(exposition_of({}), {"/": lambda: Answer(200, PLAIN, b"")}, 512, guard)
    server.bind("127.0.0.1", port)
    server.start()
    try:
        yield
    finally:
        server.stop()


@pytest.mark.skipif(not Path(NODE_EXPORTER).exists(), reason="there is no node_exporter here")
def test_node_exporter_takes_and_refuses_the_same_clients(place: tuple[Namespace, Path]) -> None:
    """So that the file which a host has for it can be used here."""
    host, where = place
    differ, tried = {}, 0
    with ExitStack() as opened:
        ports = {}
        for number, (what, text) in enumerate(SAME.items()):
            file = where / f"web-{8100 + number}.yml"
            file.write_text(text)
            opened.enter_context(serving(file, 8100 + number))
            opened.callback(end, _start_node_exporter(host, file, 9100 + number))
            ports[what] = number
        for what, number in ports.items():
            wait_for("node_exporter", _listener(9100 + number), 10)
            found, expected = (
                {
                    who: _outcome(client)
                    for who, client in _clients(where, port).items()
                    # A handshake with a server that knows none ends when somebody loses patience.
                    if not client.tls or "tls_server_config" in SAME[what]
                }
                for port in (8100 + number, 9100 + number)
            )
            tried += len(found)
            if found != expected:
                differ[what] = (found, expected)
    FIGURES["clients of the same web configurations that node_exporter and we treat alike"] = (
        f"{tried}, with {len(SAME)} files; {len(BOTH_REFUSE)} files that both refuse"
    )
    assert differ == {}


def _listener(port: int) -> Callable[[], bool]:
    return lambda: _listens(Client(port))


def _outcome(client: Client) -> int:
    status = client.status()
    # Whoever speaks plain HTTP to a TLS port gets a 400 from Go, and the end from us.
    return 0 if status == 400 else status


@pytest.mark.skipif(not Path(NODE_EXPORTER).exists(), reason="there is no node_exporter here")
def test_node_exporter_refuses_the_same_files(place: tuple[Namespace, Path]) -> None:
    """And takes three that we do not, because they protect nothing: the README says which."""
    host, where = place
    found = {}
    with ExitStack() as opened:
        children = {}
        for number, (what, text) in enumerate({**BOTH_REFUSE, **WE_REFUSE}.items()):
            file = where / f"file-{number}.yml"
            file.write_text(text)
            children[what] = (file, 9200 + number, _start_node_exporter(host, file, 9200 + number))
            opened.callback(end, children[what][2])
        for what, (file, port, child) in children.items():
            wait_for("node_exporter", _decided(child, port), 10)
            ours = True
            try:
                load(file)
            except ConfigError:
                ours = False
            found[what] = (ours, child.poll() is None)

    assert found == {
        **dict.fromkeys(BOTH_REFUSE, (False, False)),
        **dict.fromkeys(WE_REFUSE, (False, True)),
    }


def _decided(child: "subprocess.Popen[bytes]", port: int) -> Callable[[], bool]:
    """Whether it has given up, or serves."""
    return lambda: child.poll() is not None or _status_or_none(port)


def _status_or_none(port: int) -> bool:
    # It listens for a moment before it reads the file: only an answer tells.
    return Client(port).ask()[0] != 0 or Client(port, tls=False).ask()[0] != 0
