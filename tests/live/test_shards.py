"""Sharded Prometheus: what the roles reckon with is what Prometheus does."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.unit.ansible.plugins import PROJECT, filters

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
