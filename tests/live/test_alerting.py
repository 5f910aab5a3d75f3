"""From an open port to somebody's bell: agent, Prometheus, its rules, Alertmanager, a webhook."""

import json
import re
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.live.netns import V4, Namespace, directory, two_hosts, wait_for
from tests.live.receivers import Receiver, alertmanager, prometheus
from tests.live.running import Agent
from tests.live.services import listen
from tests.live.stories import beside
from tests.servers import Server, answering, serving, status

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2] / "prometheus"
FLAGS = (
    *("--scan.interval-seconds", "10", "--scan.tcp-ports", "1-8000", "--scan.splay-seconds", "0"),
    *("--scan.expected-ports", "[]", "--fingerprint.enabled", "no", "--sniff.enabled", "no"),
)


def hurried(where: Path) -> str:
    """Copy the configuration of Prometheus; return it with seconds for minutes, for one host."""
    shutil.copytree(ROOT, where)
    for file in (where / "rules").glob("alerts-*.yml"):
        file.write_text(re.sub(r"(?m)^( +for): \w+$", r"\1: 2s", file.read_text()))
    target = {"targets": ["127.0.0.1:8000"], "labels": {"instance": "web1"}}
    (where / "targets/example.json").write_text(json.dumps([target]))
    return re.sub(r"_interval: 30s", "_interval: 1s", (ROOT / "prometheus.yml").read_text())


def to_webhooks(url: str) -> str:
    """Return Alertmanager's configuration with seconds for minutes and one webhook for all."""
    text = (ROOT / "alertmanager/alertmanager.yml").read_text()
    config = yaml.safe_load(re.sub(r"(group_wait|group_interval): \w+", r"\1: 1s", text))
    del config["global"]  # its mail server
    names = [receiver["name"] for receiver in config["receivers"]]
    config["receivers"] = [
        {"name": name, "webhook_configs": [{"url": f"{url}/{name}"}]} for name in names
    ]
    return yaml.safe_dump(config)


def heard(sink: Server) -> set[tuple[str, str, str, str]]:
    """Return {(receiver, alert, instance, firing or resolved)} of what the webhook was told."""
    return {
        (
            request.target.removeprefix("/"),
            alert["labels"]["alertname"],
            alert["labels"].get("instance", ""),
            alert["status"],
        )
        for request in list(sink.requests)
        for alert in json.loads(request.body)["alerts"]
    }


def add(host: Namespace, manager: Receiver, name: str, **labels: str) -> None:
    """Give Alertmanager an alert as Prometheus would."""
    words = [f"{label}={value}" for label, value in labels.items()]
    argv = ["amtool", "alert", "add", f"--alertmanager.url={manager.url}", name, *words]
    done = host.run(argv)
    assert done.returncode == 0, done.stderr


def silenced(manager: Receiver, **labels: str) -> bool:
    """Return whether an alert with these labels is inhibited by another one."""
    found: list[dict[str, Any]] = manager.get("/api/v2/alerts")
    (alert,) = (alert for alert in found if labels.items() <= alert["labels"].items())
    return bool(alert["status"]["inhibitedBy"])


@beside
def test_an_unexpected_port_reaches_a_webhook_and_a_dead_host_silences_the_rest() -> None:
    """With the very files of prometheus/, but for seconds instead of minutes."""
    with ExitStack() as stack:
        host, _ = stack.enter_context(two_hosts("story-alerting"))
        where = stack.enter_context(directory("story-alerting"))
        with host.entered():
            answer = status(200, "", "Connection: close")
            sink = stack.enter_context(serving(answering(answer)))
        manager = alertmanager(host, where, to_webhooks(sink.url)).start()
        agent = Agent(host, where / "state", *FLAGS)
        text = hurried(where / "prometheus")
        server = prometheus(host, where / "prometheus", text=text)
        # It knows no Alertmanager in its first seconds, and repeats itself after a minute only.
        server.argv.append("--rules.alert.resend-delay=1s")
        server.start()
        agent.wait_for_success("scan", 40)
        assert agent.metrics().value("vedette_unexpected_open_ports", address=V4) == 0

        listen(host, [{"port": 7000, "say": b"220 ProFTPD 1.3.5 Server ready.\r\n".hex()}])
        news = ("team", "VedetteUnexpectedPortOpen", "web1", "firing")
        wait_for("the webhook to hear of the port", lambda: news in heard(sink), 60)
        heartbeat = ("heartbeat", "Watchdog", "", "firing")
        wait_for("the webhook to hear that all is well", lambda: heartbeat in heard(sink), 20)

        agent.stop()
        sink.requests.clear()  # on a busy machine a scrape may have failed before
        down = ("pager", "VedetteHostDown", "web1", "firing")
        wait_for("the webhook to hear of the silence", lambda: down in heard(sink), 30)
        risk, full = "VedetteHostRisk", "VedetteDiskFilling"
        add(host, manager, risk, severity="warning", instance="web1")
        add(host, manager, risk, severity="warning", instance="db1")
        add(host, manager, full, severity="critical", instance="db1", mountpoint="/var")
        add(host, manager, full, severity="warning", instance="db1", mountpoint="/var")
        add(host, manager, full, severity="warning", instance="db1", mountpoint="/home")

        others = ("team", risk, "db1", "firing")
        wait_for("the webhook to hear of the other host", lambda: others in heard(sink), 20)
        dead = {"alertname": risk, "instance": "web1"}
        wait_for("the dead host's silence", lambda: silenced(manager, **dead), 10)
        assert ("team", risk, "web1", "firing") not in heard(sink)
        assert not silenced(manager, alertname=risk, instance="db1")
        assert silenced(manager, alertname=full, severity="warning", mountpoint="/var")
        assert not silenced(manager, alertname=full, severity="warning", mountpoint="/home")
        assert not silenced(manager, alertname=full, severity="critical")
