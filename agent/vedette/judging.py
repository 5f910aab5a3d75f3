"""All that is known on this host, brought to bear on one port after the other."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vedette import log
from vedette.edges import host, packages
from vedette.errors import BadOutput, NotReady
from vedette.risk import identity, score
from vedette.risk.knowledge import Knowledge, open_newest
from vedette.scanned import Address, Service

Key = tuple[Address, str, int]  # address, transport, port


@dataclass(frozen=True, slots=True)
class Judge:
    """What to judge ports with.

    inventory: the packages behind the ports of the addresses in `own`, None if nobody knows them.
    release: what that host runs (debian:bookworm), "" if unknown.
    """

    knowledge: Knowledge
    inventory: packages.Inventory | None
    own: Collection[Address]
    release: str
    now: float

    def risks(self, services: Mapping[Key, Service]) -> dict[Key, dict[str, Any]]:
        """Return the risk of each of these open ports (score.calculate_risk_score)."""
        hosts: dict[Address, list[Service]] = {}
        for key, service in services.items():
            hosts.setdefault(key[0], []).append(service)
        releases = {address: self._release(address, found) for address, found in hosts.items()}
        return {
            key: self._risk(key, service, releases[key[0]]) for key, service in services.items()
        }

    def _release(self, address: Address, services: Iterable[Service]) -> str:
        if address in self.own and self.release:
            return self.release
        return identity.release_of(service for service in services if service.probed)

    def _risk(self, key: Key, service: Service, release: str) -> dict[str, Any]:
        address, transport, number = key
        entry = None
        if self.inventory and address in self.own:
            entry = self.inventory.behind(address, transport, number)
        exposure = score.exposure_of(address)
        if entry and entry.address is None and exposure == "loopback":
            # It was asked on loopback, but listens everywhere.
            public = any(address.is_global for address in self.own)
            exposure = "public" if public else "private"
        return score.calculate_risk_score(
            number,
            service.name,
            exposure=exposure,
            transport=transport,
            probed=service.probed,
            address=str(address),
            banner=service,
            package=entry.package if entry else None,
            own_build=entry.own_build if entry else False,
            host_release=release,
            knowledge=self.knowledge,
            now=self.now,
        )


def of_this_host(
    knowledge_file: Path, listeners_file: Path, own: Collection[Address], now: float
) -> Judge:
    """Return what to judge this host's ports with, as far as it is there."""
    knowledge, problems = open_newest([knowledge_file])
    for problem in problems:
        log.event("error", "this knowledge base is not used", error=str(problem))
    inventory = None
    try:
        inventory = packages.read(listeners_file)
    except NotReady:
        pass  # vedette_capability tells; most hosts begin like this
    except BadOutput as exc:
        log.event("error", "the list of listeners is not used", error=str(exc))
    release = (inventory.release if inventory else "") or host.release()
    return Judge(knowledge, inventory, own, release, now)
