"""What the monitoring roles put on hosts, rendered by ansible-core itself. No host is asked."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.ansible.plugins import ROLES
from tests.unit.ansible.rendered import Controller

AGENTS = [f"host{number:02}" for number in range(30)]
SERVERS = ["m1", "m2", "m3"]
# Nobody answers there (RFC 5737): nothing depends on whether a host is up.
INVENTORY = {
    "monitoring": {"hosts": {"m1": {"ansible_host": "192.0.2.1"}}},
    "agents_exposed": {
        "hosts": {"web2": {"ansible_host": "192.0.2.12"}, "web1": {"ansible_host": "192.0.2.11"}},
        "vars": {"vedette_site": "north"},
    },
    "agents_pushed": {"hosts": {"till": {"ansible_host": "192.0.2.13"}}},
    "agents_remote_write": {"hosts": {"van": {"ansible_host": "192.0.2.14"}}},
    "windows": {"hosts": {"pc": {"ansible_host": "192.0.2.15"}}},
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Controller:
    """One monitoring host, and an agent of each kind."""
    return Controller(tmp_path_factory.mktemp("small"), INVENTORY)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Controller:
    """Three Prometheus that share the targets, two gateways."""
    inventory = {
        "prometheus": {"hosts": dict.fromkeys(SERVERS)},
        "pushgateway": {"hosts": dict.fromkeys(["g1", "g2"])},
        "agents_exposed": {"hosts": dict.fromkeys(AGENTS[:10])},
        "agents_pushed": {"hosts": dict.fromkeys(AGENTS[10:20])},
        "agents_remote_write": {"hosts": dict.fromkeys(AGENTS[20:])},
    }
    return Controller(tmp_path_factory.mktemp("large"), inventory)


def _file(controller: Controller, role: str, host: str, name: str, **more: Any) -> str:
    path = ROLES / role / "templates" / name
    lookup = "lookup('ansible.builtin.template', path)"
    text: str = controller.render(role, host, f"{{{{ {lookup} }}}}", path=str(path), **more)
    return text


def test_each_exposed_host_is_a_target_sorted_and_on_a_line_of_its_own(small: Controller) -> None:
    """Also the ones that are down or not asked today: nothing but the inventory counts."""
    text = _file(small, "prometheus", "m1", "targets.json.j2", item="agents_exposed")

    assert json.loads(text) == [
        {"targets": ["192.0.2.11:8000"], "labels": {"instance": "web1", "site": "north"}},
        {"targets": ["192.0.2.12:8000"], "labels": {"instance": "web2", "site": "north"}},
    ]
    assert len(text.splitlines()) == 4


def test_each_group_of_hosts_has_a_file_of_its_own(small: Controller) -> None:
    """Windows too, and each host is in one of them."""
    text = _file(small, "prometheus", "m1", "targets.json.j2", item="windows")

    assert [target["labels"] for target in json.loads(text)] == [{"instance": "pc"}]


def test_a_group_without_hosts_is_an_empty_list(large: Controller) -> None:
    """A file that vanishes may leave its targets behind, down."""
    assert json.loads(_file(large, "prometheus", "m1", "targets.json.j2", item="windows")) == []


def _expected(controller: Controller, host: str, **more: Any) -> dict[str, str]:
    """Return {host that is expected: the way it comes}."""
    rules = yaml.safe_load(_file(controller, "prometheus", host, "expected.yml.j2", **more))
    return {
        rule["labels"]["instance"]: rule["labels"]["mode"] for rule in rules["groups"][0]["rules"]
    }


def test_every_agent_is_expected_whichever_way_it_comes(small: Controller) -> None:
    """One that was never seen is missed as well."""
    assert _expected(small, "m1") == {
        "pc": "exposed", "till": "pushed", "van": "written", "web1": "exposed", "web2": "exposed",
    }  # fmt: skip


def test_shards_expect_all_hosts_together_and_none_twice(large: Controller) -> None:
    """What one has, no other may miss."""
    shares = [_expected(large, host, vedette_prometheus_sharded=True) for host in SERVERS]

    assert sorted(name for share in shares for name in share) == AGENTS


def test_shards_know_which_of_them_they_are(large: Controller) -> None:
    """And say so to whom they write."""
    made = [
        large.render("prometheus", host, "{{ prometheus_config }}", vedette_prometheus_sharded=True)
        for host in SERVERS
    ]

    assert [one["global"]["external_labels"] for one in made] == [
        {"shard": "0"}, {"shard": "1"}, {"shard": "2"},
    ]  # fmt: skip
    assert [one["scrape_configs"][0]["relabel_configs"][-1]["regex"] for one in made] == list("012")
    assert all(
        one["scrape_configs"][1]["static_configs"] == [{"targets": ["g1:9091", "g2:9091"]}]
        for one in made
    )


def test_an_agent_pushes_where_it_is_expected(large: Controller) -> None:
    """Both follow from one hash of its name."""
    urls = {large.render("vedette", host, "{{ vedette_pushgateway_url }}") for host in AGENTS}

    assert urls == {"http://g1:9091", "http://g2:9091"}


def test_an_agent_writes_to_a_prometheus_or_to_the_cluster(large: Controller) -> None:
    """One of several by a hash of its name; or one address for all."""
    cluster = "https://mimir.example/api/v1/push"
    text = "{{ vedette_receiver_url }}"

    assert large.render("vedette", "host20", text) in {
        f"http://{server}:9090/api/v1/write" for server in SERVERS
    }
    assert large.render("vedette", "host20", text, vedette_remote_write_url=cluster) == cluster


@pytest.mark.parametrize("engine", ["grafana", "alertmanager"])
def test_one_engine_notifies_and_the_other_cannot(small: Controller, engine: str) -> None:
    """Two would page everybody twice."""
    config = small.render("prometheus", "m1", "{{ prometheus_config }}", vedette_alerting=engine)
    grafana = small.render("grafana", "m1", "{{ grafana_provisioned }}", vedette_alerting=engine)
    (rules,) = [file for file in grafana if file["path"].endswith("/alerting/vedette-rules.yml")]
    provisioned = yaml.safe_load(rules["content"])

    assert ("alerting" in config) == (engine == "alertmanager")
    assert bool(provisioned.get("groups")) == (engine == "grafana")


@pytest.mark.parametrize("tls", [False, True])
def test_grafana_asks_as_prometheus_wants_it(small: Controller, tls: bool) -> None:  # noqa: FBT001
    """With a password over TLS, or neither; and it reckons with the interval of the scrapes."""
    file = "grafana_shipped ~ '/provisioning/datasources.yml.j2'"
    path = f"{{{{ lookup('ansible.builtin.template', {file}) }}}}"
    settings: dict[str, Any] = {"vedette_tls": tls, "vedette_scrape_interval": "15s"}
    config = small.render("prometheus", "m1", "{{ prometheus_config }}", **settings)
    settings["vedette_alerting"] = "alertmanager"
    both = yaml.safe_load(small.render("grafana", "m1", path, **settings))["datasources"]
    source = both[0]

    assert [one["url"].rpartition(":")[2] for one in both] == ["9090", "9093"]
    assert both[0].get("secureJsonData") == both[1].get("secureJsonData")
    assert source["url"] == f"http{'s' if tls else ''}://127.0.0.1:9090"
    assert source.get("basicAuthUser") == ("grafana" if tls else None)
    assert source["jsonData"].get("tlsAuthWithCACert", False) is tls
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"] == "15s"
    assert config["scrape_configs"][0].get("scheme") == ("https" if tls else None)


def test_alertmanager_tells_whom_it_is_told_to_and_no_placeholder(small: Controller) -> None:
    """prometheus/alertmanager/alertmanager.yml names receivers at example.org."""
    config = small.render(
        "alertmanager", "m1", "{{ alertmanager_config }}",
        alertmanager_receivers={"team": {"email_configs": [{"to": "team@site.test"}]}},
    )  # fmt: skip

    assert "example" not in json.dumps(config)
    receivers = {receiver.pop("name"): receiver for receiver in config["receivers"]}
    assert receivers.pop("team") == {"email_configs": [{"to": "team@site.test"}]}
    assert receivers
    assert not any(receivers.values())


def test_agents_are_told_which_base_of_vulnerabilities_and_its_hash(
    small: Controller, tmp_path: Path
) -> None:
    """The newest that the controller has made, unless the inventory says otherwise; or none."""
    text = "{{ vedette_agent_settings.scan | default({}) }}"
    without = small.render("vedette_agent", "web1", text, vedette_knowledge_directory=str(tmp_path))
    (tmp_path / "latest").write_text("abc\n", encoding="utf-8")
    pinned = small.render("vedette_agent", "web1", text, vedette_knowledge_directory=str(tmp_path))
    own = small.render(
        "vedette_agent", "web1", text, vedette_knowledge_directory=str(tmp_path),
        vedette_agent_config={"scan": {"knowledge_sha256": "def", "tcp_ports": "1-10"}},
    )  # fmt: skip

    assert without == {}
    assert pinned == {
        "knowledge_file": "/opt/vedette/knowledge/abc.sqlite", "knowledge_sha256": "abc",
    }  # fmt: skip
    assert own == {**pinned, "knowledge_sha256": "def", "tcp_ports": "1-10"}


def test_what_is_brought_to_a_monitoring_host_is_whole(small: Controller) -> None:
    """As the module vedette_files takes it; the configuration, through which all is read, last."""
    targets = small.render("prometheus", "m1", "{{ prometheus_target_files }}")
    rules = small.render(
        "prometheus", "m1",
        "{{ prometheus_rule_files + [prometheus_expected_file, prometheus_configuration_file] }}",
        prometheus_thresholds={"disk_available_ratio": 0.25},
    )  # fmt: skip
    thresholds = next(file for file in rules if file["path"].endswith("/thresholds.yml"))

    assert [json.loads(file["content"])[0]["labels"]["instance"] for file in targets] == [
        "web1", "pc",
    ]  # fmt: skip
    assert [file["path"] for file in rules][-2:] == [
        "/etc/vedette-prometheus/rules/expected.yml", "/etc/vedette-prometheus/prometheus.yml",
    ]  # fmt: skip
    assert all(yaml.safe_load(file["content"]) for file in rules)
    assert "vector(0.25)" in thresholds["content"]


@pytest.mark.parametrize("engine", ["grafana", "alertmanager"])
def test_what_grafana_is_provisioned_with_is_whole(small: Controller, engine: str) -> None:
    """Also the rules, whose braces are Grafana's and not Jinja's."""
    text = "{{ grafana_provisioned }}"
    files = small.render("grafana", "m1", text, vedette_alerting=engine)
    rules = next(file["content"] for file in files if file["path"].endswith("-rules.yml"))

    assert [yaml.safe_load(file["content"])["apiVersion"] for file in files] == [1] * 4
    assert ("{{ $labels." in rules) == (engine == "grafana")
