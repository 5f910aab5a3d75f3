"""prometheus/prometheus.yml, with what one installation needs differently."""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

Config = dict[str, Any]


def configured(
    shipped: Mapping[str, Any],
    *,
    directory: str,
    scrape_interval: str,
    labels: Mapping[str, str],
    replica_label: str = "",
    pushgateways: Sequence[str] = (),
    alertmanagers: Sequence[str] = (),
    client: Mapping[str, Any] | None = None,
    shard: int = 0,
    shards: int = 1,
    scrape_configs: Sequence[Mapping[str, Any]] = (),
    remote_write: Sequence[Mapping[str, Any]] = (),
) -> Config:
    """Return the configuration of one Prometheus.

    directory: where it lies; promtool looks at it from elsewhere, so paths become absolute.
    client: how it asks others (scheme, tls_config, basic_auth); none, plain http.
    alertmanagers: none, it tells nobody. shard, shards: it scrapes its share of the targets.
    """
    config: Config = deepcopy(dict(shipped))
    config["rule_files"] = [f"{directory}/{path}" for path in config["rule_files"]]
    config["global"] |= {"scrape_interval": scrape_interval, "evaluation_interval": scrape_interval}
    if labels:
        config["global"]["external_labels"] = dict(labels)
    config["alerting"] = {
        "alertmanagers": [{"static_configs": [{"targets": list(alertmanagers)}], **(client or {})}]
    }
    if replica_label:
        # Both of a pair send the same alert: it must look the same.
        drop = {"regex": replica_label, "action": "labeldrop"}
        config["alerting"]["alert_relabel_configs"] = [drop]
    if not alertmanagers:
        del config["alerting"]

    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    jobs["pushgateway"]["static_configs"] = [{"targets": list(pushgateways)}]
    if not pushgateways:
        del jobs["pushgateway"]
    for job in jobs.values():
        for discovery in job.get("file_sd_configs", ()):
            discovery["files"] = [f"{directory}/{path}" for path in discovery["files"]]
        job.update(client or {})
        if shards > 1:
            job["relabel_configs"] = [*job.get("relabel_configs", ()), *_share(shard, shards)]
    config["scrape_configs"] = [*jobs.values(), *scrape_configs]
    if remote_write:
        config["remote_write"] = list(remote_write)
    return config


def _share(shard: int, shards: int) -> list[Config]:
    return [
        {
            "source_labels": ["__address__"],
            "modulus": shards,
            "target_label": "__tmp_shard",
            "action": "hashmod",
        },
        {"source_labels": ["__tmp_shard"], "regex": str(shard), "action": "keep"},
    ]


def with_thresholds(rules: str, thresholds: Mapping[str, float]) -> str:
    """Return prometheus/rules/thresholds.yml with other numbers, comments and all.

    Raises ValueError, in words, for one that is not in there.
    """
    for name, value in thresholds.items():
        number = re.compile(
            rf"^(\s*- record: vedette:threshold:{re.escape(name)}\n\s*expr: vector\()[^)]*(\))",
            re.MULTILINE,
        )
        if not number.search(rules):
            known = ", ".join(re.findall(r"record: vedette:threshold:(\w+)", rules))
            raise ValueError(f"prometheus_thresholds: there is no {name}; there are {known}")
        rules = number.sub(rf"\g<1>{float(value):g}\g<2>", rules)
    return rules


def thresholds_in(file: Mapping[str, Any], thresholds: Mapping[str, float]) -> dict[str, Any]:
    """Return a file of rules as it is, or thresholds.yml with other numbers."""
    if not str(file["path"]).endswith("/thresholds.yml"):
        return dict(file)
    return {**file, "content": with_thresholds(file["content"], thresholds)}


class FilterModule:
    """What ansible looks for."""

    def filters(self) -> dict[str, Any]:
        """Return the filters, by the names that templates use."""
        return {
            "vedette_prometheus_config": configured,
            "vedette_thresholds": thresholds_in,
        }
