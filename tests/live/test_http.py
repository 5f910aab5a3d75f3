"""The server, as a browser, a scraper and a stranger with bad manners meet it."""

import http.client
import json
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.live.netns import V4, Namespace, wait_for
from tests.live.running import FIGURES, Agent, receive_all, vedette

pytestmark = pytest.mark.live


def test_the_page_shows_the_ports_without_any_script(agent: Agent) -> None:
    """It is read on phones, in text browsers, and where scripts are forbidden."""
    answer = agent.get("/")

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    for word in ("22/tcp", "6379/tcp", "11211/tcp", "OpenSSH", "nginx", V4, "Debian"):
        assert word in answer.text
    assert "<script" not in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_the_inventory_is_json_with_every_port(agent: Agent) -> None:
    """Programs need not read the page."""
    answer = agent.get("/inventory.json")
    ports = json.loads(answer.body)["ports"]

    assert answer.headers["Content-Type"] == "application/json"
    listed = agent.metrics().labels("vedette_open_port_info")
    assert {(p["address"], str(p["port"])) for p in ports} == {
        (x["address"], x["port"]) for x in listed
    }
    programs = {p["port"]: p["process"] for p in ports}
    assert programs[22] == "sshd"
    assert programs[11211] == "memcached"


def test_ready_says_what_is_missing_until_all_is_there(agent: Agent) -> None:
    """Healthy from the first moment, ready only with the first snapshots."""
    early = agent.at_first["/-/ready"]
    agent.wait_for_success("fingerprint", 30)

    assert agent.at_first["/-/healthy"].status == 200
    assert early.status == 503
    assert "scan: no snapshot yet" in early.text
    assert agent.get("/-/ready").status == 200


@pytest.mark.parametrize("path", ["/x", "/metrics/", "/../etc/passwd", "//", "/%2e%2e/", "*"])
def test_unknown_paths_are_not_found(agent: Agent, path: str) -> None:
    """There are no files behind it."""
    assert agent.get(path).status == 404


@pytest.mark.parametrize("path", ["/", "/metrics", "/inventory.json", "/-/ready"])
def test_other_methods_are_refused(agent: Agent, path: str) -> None:
    """Nothing a request says can start work."""
    for method in ("POST", "PUT", "DELETE"):
        answer = agent.get(path, method=method)

        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD"


def test_head_is_get_without_the_body(agent: Agent) -> None:
    """Load balancers ask so."""
    answer = agent.get("/-/healthy", method="HEAD")

    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) == len(agent.get("/-/healthy").body)


def test_connections_are_kept(agent: Agent) -> None:
    """Prometheus asks on the same connection every time."""
    connection = http.client.HTTPConnection("127.0.0.1", 8000)
    connection.sock = kept = agent.host.connect("127.0.0.1", 8000)
    for _ in range(3):
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert answer.status == 200
        assert b"vedette_build_info" in answer.read()
        assert connection.sock is kept
    connection.close()


def test_200_idle_connections_delay_no_scrape(agent: Agent) -> None:
    """Nor do they cost a thread each."""
    took = []
    with ExitStack() as idle:
        for _ in range(200):
            idle.enter_context(agent.host.connect("127.0.0.1", 8000))
        for _ in range(50):
            started = time.monotonic()
            assert agent.get("/metrics").status == 200
            took.append(time.monotonic() - started)
        threads = agent.status("Threads")

    FIGURES["slowest of 50 scrapes beside 200 idle connections"] = f"{max(took) * 1000:.1f} ms"
    FIGURES["threads"] = str(threads)
    assert max(took) < 2
    assert threads <= 16


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /metrics HTTP/1.1\r\nX: " + b"a" * (20 << 10) + b"\r\n\r\n",
        b"GET /" + b"a" * (20 << 10) + b" HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + b"a" * 5000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500) + b"\r\n\r\n",
        b"\x00\r\n\r\n",
    ],
    ids=["long header", "long path", "a body", "TLS", "NUL"],
)
def test_bad_requests_are_ended_without_harm(agent: Agent, request_bytes: bytes) -> None:
    """The connection ends, soon and without the metrics; the next one is served."""
    with agent.host.connect("127.0.0.1", 8000, 15) as connection:
        connection.sendall(request_bytes)
        answer = receive_all(connection)

    assert b"vedette_build_info" not in answer
    assert not answer.startswith(b"HTTP/1.1 200")
    assert agent.get("/-/healthy").status == 200


def test_a_taken_port_is_one_line_and_exit_code_69(
    field: tuple[Namespace, Namespace, Path], agent: Agent, tmp_path: Path
) -> None:
    """The second agent on a host goes; the first one does not notice."""
    done = vedette(field[0], tmp_path / "state", "run")

    assert done.returncode == 69
    (line,) = done.stderr.splitlines()
    assert "127.0.0.1:8000" in line
    assert "in use" in line
    assert "--publish.expose.port" in line
    assert agent.get("/-/healthy").status == 200


def test_after_all_that_the_agent_has_no_open_ends(agent: Agent) -> None:
    """Connections are closed on both sides, not only on ours."""

    def connections() -> int:
        return sum("socket:" in str(x.readlink()) for x in handles.iterdir())

    handles = Path(f"/proc/{agent.process.pid}/fd")
    wait_for("few sockets", lambda: connections() < 12, 15)
    assert [e for e in agent.events() if e["message"] == "bug in a page"] == []
