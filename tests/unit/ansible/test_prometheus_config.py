"""roles/prometheus: prometheus.yml as shipped, with what one installation needs differently."""

from typing import Any

import pytest
import yaml

from tests.unit.ansible.plugins import PROJECT, filters

configured = filters("prometheus", "prometheus_config").configured
with_thresholds = filters("prometheus", "prometheus_config").with_thresholds

SHIPPED = yaml.safe_load((PROJECT / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
THRESHOLDS = (PROJECT / "prometheus/rules/thresholds.yml").read_text(encoding="utf-8")


def _configured(**settings: Any) -> dict[str, Any]:
    plain = {"directory": "/etc/vedette-prometheus", "scrape_interval": "30s", "labels": {}}
    made: dict[str, Any] = configured(SHIPPED, **(plain | settings))
    return made


def test_with_no_wish_it_is_what_is_shipped() -> None:
    """But for the paths, and for servers that nobody has named: limits and labels stay."""
    made = _configured(alertmanagers=["127.0.0.1:9093"], pushgateways=["127.0.0.1:9091"])

    made["rule_files"] = ["rules/*.yml"]
    made["scrape_configs"][0]["file_sd_configs"] = [{"files": ["targets/*.json"]}]
    assert made == SHIPPED


def test_nobody_notifies_where_grafana_does() -> None:
    """Two engines would page everybody twice."""
    assert "alerting" not in _configured(alertmanagers=[])


def test_every_server_is_asked_over_tls_if_one_is() -> None:
    """One switch, for agents, gateways and Alertmanager alike."""
    client = {"scheme": "https", "basic_auth": {"username": "prometheus"}}

    made = _configured(pushgateways=["m:9091"], alertmanagers=["m:9093"], client=client)

    asked = [*made["scrape_configs"], *made["alerting"]["alertmanagers"]]
    assert len(asked) == 3
    assert all(client.items() <= one.items() for one in asked)


def test_a_pair_sends_equal_alerts() -> None:
    """Alertmanager merges what has the same labels, and `replica` would be another."""
    made = _configured(alertmanagers=["m:9093"], labels={"replica": "m1"}, replica_label="replica")

    assert made["global"]["external_labels"] == {"replica": "m1"}
    assert made["alerting"]["alert_relabel_configs"] == [
        {"regex": "replica", "action": "labeldrop"}
    ]


def test_other_thresholds_change_their_numbers_and_nothing_else() -> None:
    """A single number, whatever stands around it; comments stay."""
    changed = with_thresholds(THRESHOLDS, {"risk_score_warning": 5, "publish_failures_ratio": 0.25})

    different = [
        (old.strip(), new.strip())
        for old, new in zip(THRESHOLDS.splitlines(), changed.splitlines(), strict=True)
        if old != new
    ]
    assert different == [
        ("expr: vector(0.5)", "expr: vector(0.25)"),
        ("expr: vector(7)", "expr: vector(5)"),
    ]


def test_a_threshold_that_is_none_is_refused() -> None:
    """Else a slip of the pen would leave an alert as it was, and nobody would know."""
    with pytest.raises(ValueError, match=r"there is no risk_score; there are .*risk_score_warning"):
        with_thresholds(THRESHOLDS, {"risk_score": 5})


def test_a_shard_keeps_its_share_of_what_is_discovered() -> None:
    """tests/live asks promtool whether the shares are those that we reckon with."""
    made = _configured(shard=1, shards=3, pushgateways=["m:9091"])

    assert [job["relabel_configs"] for job in made["scrape_configs"]] == 2 * [
        [
            {
                "source_labels": ["__address__"],
                "modulus": 3,
                "target_label": "__tmp_shard",
                "action": "hashmod",
            },
            {"source_labels": ["__tmp_shard"], "regex": "1", "action": "keep"},
        ]
    ]
