"""All that is known on this host, brought to bear on one port after the other."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from vedette import log
from vedette.edges import acceptances, host, package_files, packages
from vedette.errors import BadOutput, NotReady
from vedette.evidence import Evidence
from vedette.risk import identity, match, score, versions
from vedette.risk.knowledge import Knowledge, open_newest
from vedette.scanned import Address, Installed, Service

Key = tuple[Address, str, int]  # address, transport, port

_NO_EVIDENCE = Evidence()


@dataclass(frozen=True, slots=True)
class Judge:
    """What to judge ports with.

    inventory: the packages behind the ports of the addresses in `own`, None if nobody knows them.
    release: what that host runs (debian:bookworm), "" if unknown. root: its file system, if it
    is at hand: what is installed there, and what its changelogs say, is heard as well.
    judged: what has been judged so far; a scan asks again whenever one of its chunks comes in.
    """

    knowledge: Knowledge
    inventory: packages.Inventory | None
    own: Collection[Address]
    release: str
    now: float
    root: Path | None = None
    accepted: tuple[acceptances.Acceptance, ...] = ()
    judged: dict[tuple[Key, Service, str, Evidence], dict[str, Any]] = field(default_factory=dict)

    def risks(
        self, services: Mapping[Key, Service], evidence: Mapping[Key, Evidence] | None = None
    ) -> dict[Key, dict[str, Any]]:
        """Return the risk of each of these open ports (score.calculate_risk_score).

        evidence: what scripts have proved.
        """
        proved = evidence or {}
        hosts: dict[Address, list[Service]] = {}
        for key, service in services.items():
            hosts.setdefault(key[0], []).append(service)
        releases = {address: self._release(address, found) for address, found in hosts.items()}
        try:
            risks = {}
            for key, service in services.items():
                asked = key, service, releases[key[0]], proved.get(key, _NO_EVIDENCE)
                if asked not in self.judged:
                    self.judged[asked] = self._risk(*asked)
                risks[key] = self.judged[asked]
            return risks
        finally:
            match.assess.cache_clear()  # the next scan is far away

    def _release(self, address: Address, services: Iterable[Service]) -> str:
        if address in self.own and self.release:
            return self.release
        return identity.release_of(service for service in services if service.probed)

    def _risk(self, key: Key, service: Service, release: str, evidence: Evidence) -> dict[str, Any]:
        address, transport, number = key
        entry = None
        if self.inventory and address in self.own:
            entry = self.inventory.behind(address, transport, number)
        exposure = score.exposure_of(address)
        if entry and entry.address is None and exposure == "loopback":
            # It was asked on loopback, but listens everywhere.
            public = any(score.exposure_of(address) == "public" for address in self.own)
            exposure = "public" if public else "private"
        return score.calculate_risk_score(
            number,
            service.name,
            exposure=exposure,
            transport=transport,
            probed=service.probed,
            address=str(address),
            banner=service,
            package=self._package(address, service, entry),
            own_build=entry.own_build if entry else False,
            host_release=release,
            knowledge=self.knowledge,
            now=self.now,
            evidence=evidence,
            accepted={
                name: {"reason": one.reason, "expires": one.expires.isoformat()}
                for name, one in acceptances.valid(self.accepted, address, number, self.now).items()
            },
        )

    def _package(
        self, address: Address, service: Service, entry: packages.Entry | None
    ) -> Installed | None:
        """Return the package behind a port, with what its changelog says that it has fixed."""
        package = entry.package if entry else None
        if self.root is None or address not in self.own:
            return package
        if entry is None and service.probed:
            package = self._of_this_version(self.root, service)
        # What was replaced says what the new one has fixed; the old one runs.
        if package is None or package.replaced or package.release != self.release:
            return package
        return replace(
            package, fixed=fixed(self.root, package.release, package.name, package.version)
        )

    def _of_this_version(self, root: Path, service: Service) -> Installed | None:
        """Return the one package installed that is of the banner's product and version, if any."""
        banner = next(identity.identify(self.knowledge, service, None), None)
        family = self.release.partition(":")[0]
        if banner is None or banner.package or banner.secondary or not banner.version:
            return None
        if banner.windows or banner.build not in {"", family}:  # not of this host's making
            return None
        wanted = versions.key(banner.version)
        found = {
            one
            for source, version in installed(root, package_files.changed(root))
            if (upstream := identity.upstream(version)) and versions.usable(upstream)
            if versions.key(upstream) == wanted
            if identity.product_of(
                self.knowledge, one := Installed(self.release, source, version, inferred=True)
            )
            == banner.product
        }
        return found.pop() if len(found) == 1 else None


@lru_cache(maxsize=1)
def installed(root: Path, _: object) -> frozenset[tuple[str, str]]:
    """Return (source, version) of what is installed below a root. _: changes when that does."""
    return frozenset((one.source, one.version) for one in package_files.installed(root))


@lru_cache(maxsize=256)
def fixed(root: Path, release: str, name: str, version: str) -> frozenset[str]:
    """Return the CVEs that a package has fixed by its own changelog's account."""
    try:
        syntax = versions.syntax_of(release)
    except KeyError:  # a distribution that nothing is known of
        return frozenset()
    if syntax != "dpkg":  # the others install none
        return frozenset()
    here = versions.package_key(version, syntax)
    entries = package_files.changelog(root, name)
    told = [cves for entry, cves in entries if versions.package_key(entry, syntax) <= here]
    return frozenset().union(*told)


def of_this_host(
    knowledge_file: Path,
    listeners_file: Path,
    own: Collection[Address],
    now: float,
    accepted_file: Path | None = None,
    *,
    sha256: str = "",
) -> Judge:
    """Return what to judge this host's ports with, as far as it is there.

    sha256: what the base must have, "" for any.
    """
    knowledge, problems = open_newest([knowledge_file], sha256)
    for problem in problems:
        log.event("error", "this knowledge base is not used", error=str(problem))
    inventory = None
    try:
        inventory = packages.read_fresh(listeners_file, now, host.booted_at())
    except NotReady as exc:  # vedette_capability tells as well; most hosts begin like this
        if listeners_file.exists():
            log.event("warning", "the list of listeners is not used", error=str(exc))
    except BadOutput as exc:
        log.event("error", "the list of listeners is not used", error=str(exc))
    release = (inventory.release if inventory else "") or host.release()
    accepted: tuple[acceptances.Acceptance, ...] = ()
    try:
        accepted = acceptances.read(accepted_file) if accepted_file else ()
    except ValueError as exc:  # it was well-formed at the start
        log.event("error", "no finding is accepted", error=str(exc))
    return Judge(knowledge, inventory, own, release, now, Path("/"), accepted)
