"""Sharded Prometheus: what the roles reckon with is what Prometheus does."""

import json
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.live.netns import Namespace, directory, lone_host, output, wait_for
from tests.live.receivers import STILL, Receiver, victoria
from tests.live.running import Agent
from tests.unit.ansible.plugins import PROJECT, filters
from tests.unit.ansible.rendered import Controller

pytestmark = pytest.mark.live

configured = filters("prometheus", "prometheus_config").configured
shard = filters("vedette", "fleet").shard

SHIPPED = yaml.safe_load((PROJECT / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
TARGETS = [f"192.0.2.{number}:8000" for number in range(1, 41)]
SHARDS = 3


def test_prometheus_shares_the_targets_as_the_roles_reckon(tmp_path: Path) -> None:
    """The shards have all targets together and none twice, by Prometheus' own hashmod.

    Else each shard would miss for ever hosts that another one has.
    """
    (tmp_path / "targets").mkdir()
    found = [{"targets": [target], "labels": {}} for target in TARGETS]
    (tmp_path / "targets/agents.json").write_text(json.dumps(found), encoding="utf-8")
    asked = []
    for number in range(SHARDS):
        config = configured(
            SHIPPED, directory=str(tmp_path), scrape_interval="30s", labels={},
            shard=number, shards=SHARDS,
        )  # fmt: skip
        file = tmp_path / f"{number}.yml"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        asked.append(
            subprocess.Popen(  # noqa: S603 - the tests' own command
                ["promtool", "check", "service-discovery", "--timeout=3s", file, "vedette"],  # noqa: S607
                stdout=subprocess.PIPE,
            )
        )
    kept = [
        {one["labels"]["__address__"] for one in json.loads(child.communicate(timeout=30)[0])
         if one.get("labels")}
        for child in asked
    ]  # fmt: skip

    assert kept == [
        {target for target in TARGETS if shard(target, SHARDS) == number}
        for number in range(SHARDS)
    ]
    assert sum(map(len, kept)) == len(TARGETS)


# One agent is all of the exposed hosts, at another address each.
EXPOSED = {f"web{number}": f"127.0.0.1{number}" for number in range(1, 7)}
SERVERS = ["m1", "m2"]
# What a user would write into the inventory: shards, and a cluster that they and a host write to.
CLUSTER = "http://127.0.0.1:8428/api/v1/write"
INVENTORY = {
    "prometheus": {"hosts": {name: {"ansible_host": "127.0.0.1"} for name in SERVERS}},
    "agents_exposed": {
        "hosts": {name: {"ansible_host": address} for name, address in EXPOSED.items()}
    },
    "agents_remote_write": {"hosts": {"van": None}, "vars": {"vedette_remote_write_url": CLUSTER}},
}
SETTINGS: dict[str, Any] = {
    "vedette_prometheus_sharded": True,
    "vedette_scrape_interval": "1s",
    "prometheus_remote_write": [{"url": CLUSTER}],
    "vedette_agent_config": {
        "publish": {"remote_write": {"interval_seconds": 1, "timeout_seconds": 1}}
    },
}


def _start(controller: Controller, host: Namespace, where: Path, server: str) -> Receiver:
    """Start a Prometheus with the files that its role brings, each read by promtool before."""
    ours = where / server
    for folder in ("rules", "targets"):
        (ours / folder).mkdir(parents=True)
    files = controller.render(
        "prometheus", server,
        "{{ prometheus_target_files + prometheus_rule_files"
        " + [prometheus_expected_file, prometheus_configuration_file] }}",
        prometheus_directory=str(ours), vedette_daemon_found={"promtool": "promtool"}, **SETTINGS,
    )  # fmt: skip
    for file in files:
        Path(file["path"]).write_text(file["content"], encoding="utf-8")
        if "validate" in file:
            output(shlex.split(file["validate"].replace("%s", file["path"])))
    port = 9090 + SERVERS.index(server)
    argv = [
        "prometheus", f"--config.file={ours}/prometheus.yml", "--log.level=warn",
        f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={ours}/tsdb",
    ]  # fmt: skip
    return Receiver(host, port, argv, where / f"{server}.log").start()


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[dict[str, Receiver], Receiver]]:
    """Two shards and a host that all write to a VictoriaMetrics, as the roles configure them."""
    with lone_host("shards") as host, directory("shards") as where, ExitStack() as running:
        controller = Controller(where, INVENTORY)
        foreign = victoria(host, where).start()
        running.callback(foreign.stop)
        van = where / "van.yml"
        settings = "{{ vedette_agent_settings | to_nice_yaml }}"
        van.write_text(controller.render("vedette_agent", "van", settings, **SETTINGS))
        for state, flags, port in (
            ("exposed", ["--publish.expose.address", "0.0.0.0"], 8000),  # noqa: S104 - in a namespace
            ("van", ["--config", str(van)], 8001),
        ):
            agent = Agent(host, where / state, *STILL, *flags, port=port)
            running.callback(agent.stop)
        shards = {server: _start(controller, host, where, server) for server in SERVERS}
        for prometheus in shards.values():
            running.callback(prometheus.stop)
        yield shards, foreign


def _hosts(receiver: Receiver, query: str) -> set[str]:
    return {dict(labels)["instance"] for labels in receiver.now(query)}


def test_the_cluster_has_every_host_once_and_each_shard_its_share(
    cluster: tuple[dict[str, Receiver], Receiver],
) -> None:
    """By remote_write of Prometheus, and of an agent that nobody scrapes."""
    shards, foreign = cluster
    wait_for("all hosts", lambda: _hosts(foreign, "vedette_build_info") == {*EXPOSED, "van"}, 30)
    scraped = [dict(labels) for labels in foreign.now('up{job="vedette"} == 1')]
    shares = [_hosts(prometheus, "vedette_build_info") for prometheus in shards.values()]

    assert sorted(one["instance"] for one in scraped) == sorted(EXPOSED)
    assert [
        {one["instance"] for one in scraped if one["shard"] == str(number)}
        for number in range(len(SERVERS))
    ] == shares
    assert all(shares)
    assert sorted(name for share in shares for name in share) == sorted(EXPOSED)


def test_a_shard_expects_whom_it_has_and_nobody_else(
    cluster: tuple[dict[str, Receiver], Receiver],
) -> None:
    """Not the host that writes to the cluster: only the cluster can miss it."""
    shards, _ = cluster
    for prometheus in shards.values():
        wait_for("its rules", partial(prometheus.now, "vedette_expected_host"), 15)
        assert _hosts(prometheus, "vedette_expected_host") == _hosts(prometheus, "up")
