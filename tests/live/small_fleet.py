"""Three real hosts on a Prometheus with our configuration and rules, but in a hurry.

web1 is scraped and has services, web2 pushes, web3 writes by Remote-Write; a fourth fell silent,
and a fifth is only expected. For the boards: what they show, and pictures of it.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import yaml

from tests.live import services
from tests.live.netns import PEER_V4, V4, Namespace, directory, two_hosts
from tests.live.receivers import STILL, Receiver, pushgateway
from tests.live.running import Agent

PROMETHEUS = Path(__file__).parents[2] / "prometheus"

# Often, and no wait: what is to be seen is that there is something, soon.
_HURRY = [
    *("--stats.interval-seconds", "1", "--sniff.interval-seconds", "1"),
    *("--scan.interval-seconds", "10", "--scan.splay-seconds", "0"),
    *("--scan.deep-probe-seconds", "0"),
]
_OFTEN = [
    *("--publish.{0}.enabled", "true"),
    *("--publish.{0}.interval-seconds", "2", "--publish.{0}.timeout-seconds", "2"),
]
# A few bytes now and then for a service: connected, asked, and closed.
_TRAFFIC = """
import socket, sys, time
while True:
    for port in (6379, 21, 22):
        with socket.create_connection((sys.argv[1], port), 2) as line:
            line.sendall(b"PING\\r\\n")
            line.recv(100)
    time.sleep(0.2)
"""


@contextmanager
def small_fleet(name: str) -> Iterator[Receiver]:
    """Have them, and yield the Prometheus: it fills while you wait. name: of the namespaces."""
    with (
        two_hosts(name) as (one, two),
        directory(name) as where,
        ExitStack() as running,
    ):
        for host, own in ((one, where / "one"), (two, where / "two")):
            own.mkdir()
            services.start_sshd(host, own)
        services.start_vsftpd(one, where)
        services.start_redis(one, where)
        services.wait_until_open(one, {21, 22, 6379})

        gateway = pushgateway(two, where, 9091, address="0.0.0.0")  # noqa: S104 - in a namespace
        running.callback(gateway.start().stop)
        _push_once(two, "silent")
        prometheus = _prometheus(one, where)
        running.callback(prometheus.start().stop)

        (where / "web.yml").write_text("{}\n")  # with one, the agent counts whom it turns away
        exposed = (
            *("--scan.expected-ports", "[22, 4242]"),
            *("--publish.expose.web-config-file", str(where / "web.yml")),
        )
        pushed = (
            *(word.format("push") for word in _OFTEN),
            *("--publish.push.url", gateway.url, "--publish.push.instance", "web2"),
        )
        labels = "{instance: web3, job: vedette, site: south}"
        written = (
            *(word.format("remote-write") for word in _OFTEN),
            *("--publish.remote-write.url", f"http://{V4}:{prometheus.port}/api/v1/write"),
            *("--publish.remote-write.external-labels", labels),
        )
        for host, state, port, flags in (
            (one, "web1", 8000, (*_HURRY, *exposed)),
            (two, "web2", 8000, (*_HURRY, *pushed)),
            (two, "web3", 8001, (*STILL[:-2], "--stats.interval-seconds", "1", *written)),
        ):
            running.callback(Agent(host, where / state, *flags, port=port).stop)
        two.start([sys.executable, "-c", _TRAFFIC, V4])
        yield prometheus


def _push_once(host: Namespace, instance: str) -> None:
    """Be an agent that pushed, and then no more."""
    connection = HTTPConnection("127.0.0.1", 9091, timeout=10)
    connection.sock = host.connect("127.0.0.1", 9091)
    body = (
        "# TYPE vedette_build_info gauge\n"
        'vedette_build_info{version="0.0.1",python_version="3.11"} 1\n'
    )
    connection.request("PUT", f"/metrics/job/vedette/instance/{instance}", body)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    connection.close()


def _prometheus(host: Namespace, where: Path) -> Receiver:
    """Return one with our own configuration, copied, its intervals shortened."""
    ours = where / "prometheus"
    shutil.copytree(PROMETHEUS, ours)
    config = yaml.safe_load((ours / "prometheus.yml").read_text())
    config["global"].update(scrape_interval="1s", evaluation_interval="1s")
    del config["alerting"]
    for scrape in config["scrape_configs"]:
        for target in scrape.get("static_configs", ()):
            target["targets"] = [f"{PEER_V4}:9091"]
    (ours / "prometheus.yml").write_text(yaml.safe_dump(config))
    for file in (ours / "targets").iterdir():
        file.unlink()
    target = {"targets": ["127.0.0.1:8000"], "labels": {"instance": "web1", "site": "north"}}
    (ours / "targets/north.json").write_text(json.dumps([target]))

    rules = ours / "rules"
    for file in rules.glob("*.yml"):
        text = re.sub(r"(?m)^ +interval: .*\n", "", file.read_text())
        # Who has not pushed for ten seconds is silent.
        file.write_text(text.replace("expr: vector(150)", "expr: vector(10)"))
    expected = {
        "record": "vedette_expected_host",
        "expr": "vector(1)",
        "labels": {"instance": "ghost", "job": "vedette", "mode": "exposed"},
    }
    group = {"name": "vedette.expected", "rules": [expected]}
    (rules / "expected.yml").write_text(yaml.safe_dump({"groups": [group]}))
    argv = [
        "prometheus", "--web.enable-remote-write-receiver", f"--config.file={ours}/prometheus.yml",
        "--web.listen-address=:9090", f"--storage.tsdb.path={where}/tsdb", "--log.level=warn",
    ]  # fmt: skip
    return Receiver(host, 9090, argv, where / "prometheus.log")
