"""Who watches whom, from the inventory alone: a host that is down keeps its place.

Facts are never asked, so neither --limit nor a host that cannot be reached takes a target away.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_MODES = {
    "exposed": ("agents_exposed", "windows"),
    "pushed": ("agents_pushed",),
    "written": ("agents_remote_write",),
}
# Variables of a host that become labels of its series.
_LABELS = {"site": "vedette_site", "env": "vedette_env"}


def address(host: str, hostvars: Mapping[str, Any]) -> str:
    """Return where others reach a host: vedette_address, if ssh goes another way than they do."""
    own = hostvars[host]
    found = str(own.get("vedette_address") or own.get("ansible_host") or host)
    return f"[{found}]" if ":" in found else found


def chosen(name: str, candidates: Iterable[str]) -> str:
    """Return the candidate whose hash with `name` is highest ("rendezvous hashing"), or "".

    A candidate more takes its share from all others, one less gives its share to all: nobody
    moves between two that stay.
    """
    return max(candidates, key=lambda one: (_md5(f"{name} {one}"), one), default="")


def shard(target: str, shards: int) -> int:
    """Return the shard that Prometheus' `hashmod` finds for `__address__`."""
    return int.from_bytes(_md5(target)[8:], "big") % shards


def fleet(
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Any],
    *,
    prometheus: Sequence[str],
    pushgateways: Sequence[str],
    sharded: bool,
    agent_port: int,
    pushgateway_port: int,
) -> list[dict[str, Any]]:
    """Return the agents, by name: {name, mode, target, labels, gateway, receiver, seen_by}.

    gateway: the Pushgateway of a pushed host. receiver: the Prometheus that a written host
    sends to, "" where it sends to a cluster. seen_by: the hosts whose Prometheus should have its
    series; of what goes to a cluster, none has.
    Raises ValueError, in words, for a host that is in two groups.
    """
    agents = []
    for name, mode in sorted(_modes(groups).items()):
        own = hostvars[name]
        target = f"{address(name, hostvars)}:{agent_port}"
        gateway = chosen(name, pushgateways) if mode == "pushed" else ""
        is_ours = mode == "written" and not own.get("vedette_remote_write_url")
        receiver = chosen(name, prometheus) if is_ours else ""
        if mode == "written":
            seen_by = [receiver] if receiver else []
        else:
            scraped = f"{address(gateway, hostvars)}:{pushgateway_port}" if gateway else target
            seen_by = watchers(scraped, prometheus, sharded=sharded)
        labels = {
            label: str(own[variable]) for label, variable in _LABELS.items() if own.get(variable)
        }
        agents.append(
            {
                "name": name,
                "mode": mode,
                "target": target,
                "labels": {"instance": name, **labels},
                "gateway": gateway,
                "receiver": receiver,
                "seen_by": seen_by,
            }
        )
    return agents


def watchers(target: str, prometheus: Sequence[str], *, sharded: bool) -> list[str]:
    """Return the hosts whose Prometheus scrapes this target: all of them, or its shard's."""
    if not sharded or not prometheus:
        return sorted(prometheus)
    return [sorted(prometheus)[shard(target, len(prometheus))]]


def _modes(groups: Mapping[str, Sequence[str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for mode, names in _MODES.items():
        for host in {host for name in names for host in groups.get(name, ())}:
            # Windows is a system, not a mode: exposed, unless another group says more.
            if found.get(host) == "exposed" and host not in groups.get("agents_exposed", ()):
                del found[host]
            if host in found:
                raise ValueError(
                    f"{host} is {found[host]} and {mode}: one of the groups of agents, please"
                )
            found[host] = mode
    return found


def _md5(text: str) -> bytes:
    return hashlib.md5(text.encode(), usedforsecurity=False).digest()


class FilterModule:
    """What ansible looks for."""

    def filters(self) -> dict[str, Any]:
        """Return the filters, by the names that templates use."""
        return {
            "vedette_address": address,
            "vedette_chosen": chosen,
            "vedette_fleet": fleet,
            "vedette_shard": shard,
            "vedette_watchers": watchers,
        }
