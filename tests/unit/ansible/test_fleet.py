"""roles/vedette/filter_plugins/fleet.py: who watches whom, from the inventory alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.unit.ansible.plugins import filters

fleet = filters("vedette", "fleet")
HOSTS = [f"host{number}" for number in range(1000)]


def _agents(
    groups: Mapping[str, Sequence[str]], *, sharded: bool = False, **hostvars: Mapping[str, Any]
) -> list[dict[str, Any]]:
    everybody = {host: hostvars.get(host, {}) for group in groups.values() for host in group}
    agents: list[dict[str, Any]] = fleet.fleet(
        groups, everybody,
        prometheus=groups.get("prometheus", ()), pushgateways=groups.get("pushgateway", ()),
        sharded=sharded, agent_port=8000, pushgateway_port=9091,
    )  # fmt: skip
    return agents


def test_a_host_is_where_the_inventory_says() -> None:
    """Its name, or where ssh finds it, or where others do: in this order, the last word counts."""
    variables = {
        "a": {},
        "b": {"ansible_host": "192.0.2.1"},
        "c": {"ansible_host": "192.0.2.1", "vedette_address": "2001:db8::1"},
    }

    assert [fleet.address(name, variables) for name in "abc"] == [
        "a", "192.0.2.1", "[2001:db8::1]",
    ]  # fmt: skip


def test_an_agent_of_each_mode() -> None:
    """What the templates of the roles read, whole."""
    found = _agents(
        {
            "agents_exposed": ["web"],
            "agents_pushed": ["till"],
            "agents_remote_write": ["van"],
            "windows": ["pc", "till"],
            "prometheus": ["m1"],
            "pushgateway": ["m1"],
        },
        web={"ansible_host": "192.0.2.1", "vedette_site": "north", "vedette_env": ""},
    )

    common = {"gateway": "", "receiver": "", "seen_by": ["m1"]}
    assert found == [
        {"name": "pc", "mode": "exposed", "target": "pc:8000", "labels": {"instance": "pc"}}
        | common,
        {"name": "till", "mode": "pushed", "target": "till:8000", "labels": {"instance": "till"}}
        | common | {"gateway": "m1"},
        {"name": "van", "mode": "written", "target": "van:8000", "labels": {"instance": "van"}}
        | common | {"receiver": "m1"},
        {"name": "web", "mode": "exposed", "target": "192.0.2.1:8000",
         "labels": {"instance": "web", "site": "north"}} | common,
    ]  # fmt: skip


def test_a_host_in_two_groups_is_refused() -> None:
    """It would be expected twice, and missed for ever in one of them."""
    with pytest.raises(ValueError, match="web is exposed and pushed"):
        _agents({"agents_exposed": ["web"], "agents_pushed": ["web"]})


def test_nobody_here_expects_who_writes_to_a_cluster() -> None:
    """Each Prometheus of the fleet would miss it for ever."""
    (agent,) = _agents(
        {"agents_remote_write": ["van"], "prometheus": ["m1"]},
        van={"vedette_remote_write_url": "https://mimir.example/api/v1/push"},
    )

    assert (agent["receiver"], agent["seen_by"]) == ("", [])


def test_a_further_gateway_takes_its_share_and_moves_nobody_else() -> None:
    """Else each change of the gateways would leave groups of most hosts behind at the old ones."""
    three, four = ["g1", "g2", "g3"], ["g1", "g2", "g3", "g4"]
    before = {host: fleet.chosen(host, three) for host in HOSTS}
    after = {host: fleet.chosen(host, four) for host in HOSTS}

    assert {after[host] for host in HOSTS if after[host] != before[host]} == {"g4"}
    assert all(200 <= count <= 300 for count in Counter(after.values()).values())


@pytest.mark.parametrize("shards", [1, 2, 3, 7])
def test_every_target_has_one_shard(shards: int) -> None:
    """The union of the shards is the fleet, and no two have a host in common."""
    prometheus = [f"m{number}" for number in range(shards)]
    seen = [
        agent["seen_by"]
        for agent in _agents({"agents_exposed": HOSTS, "prometheus": prometheus}, sharded=True)
    ]

    assert {len(by) for by in seen} == {1}
    assert {by[0] for by in seen} == set(prometheus)


def test_without_shards_all_watch_all() -> None:
    """Two Prometheus beside each other, in case one is away."""
    agents = _agents({"agents_exposed": ["web"], "prometheus": ["m2", "m1"]})

    assert agents[0]["seen_by"] == ["m1", "m2"]


def test_a_shard_expects_the_pushed_hosts_of_the_gateways_that_it_scrapes() -> None:
    """Else one shard would miss for ever what another one has."""
    groups = {
        "agents_pushed": HOSTS,
        "prometheus": ["m1", "m2"],
        "pushgateway": ["g1", "g2", "g3"],
    }
    shard_of = {
        gateway: fleet.watchers(f"{gateway}:9091", ["m1", "m2"], sharded=True)
        for gateway in groups["pushgateway"]
    }

    assert all(
        agent["seen_by"] == shard_of[agent["gateway"]] for agent in _agents(groups, sharded=True)
    )
