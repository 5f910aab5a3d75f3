"""Which vulnerabilities a service has, how sure that is, and which it only seems to have.

The distribution's word decides where the package is known to the revision; upstream's ranges decide
otherwise, and say "possible" where a distribution may have mended it under the same version.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from vedette.risk import identity, versions
from vedette.risk.identity import Identity
from vedette.risk.knowledge import Cve, Fix, Knowledge, Match, Package
from vedette.scanned import Installed, Service

# Confidence in percent, after Greenbone's quality of detection and Vuls.
TRACKER, CHANGELOG, EXACT, COMPONENT, UNKNOWN_BUILD = 97, 95, 80, 50, 30
_INFERRED = 85  # at most, where the package was found by its version only


@dataclass(frozen=True, slots=True)
class Affected:
    """A vulnerability that the service has, or may have. confidence: 0 to 100. why: words.

    instead: why fixed_in is later than the version that mends this one alone, in words. begin: of
    its range (knowledge.Match).
    """

    cve: Cve
    confidence: int
    why: str
    fixed_in: str
    instead: str = ""
    begin: bytes | None = None


SUPPRESSIONS = ("fixed_by_distribution", "not_affected", "fixed_upstream", "platform", "disputed")


@dataclass(frozen=True, slots=True)
class Suppressed:
    """One that it seems to have by its version, but has not. reason: one of SUPPRESSIONS."""

    cve: Cve
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """All that is known against one service. identities: what it was taken for."""

    affected: tuple[Affected, ...] = ()
    suppressed: tuple[Suppressed, ...] = ()
    identities: tuple[Identity, ...] = ()


@lru_cache(maxsize=64)  # a host has the same service on many ports and addresses
def assess(
    knowledge: Knowledge,
    banner: Service,
    package: Installed | None = None,
    *,
    host_release: str = "",
    own_build: bool = False,
) -> Verdict:
    """Judge one service. banner: what it answered; of one that did not, its package alone counts.

    host_release: what the host runs, as far as its other services or itself say (debian:bookworm).
    own_build: the listening program belongs to no package.
    """
    identities = tuple(
        identity.identify(knowledge, banner if banner.probed else Service(), package, host_release)
    )
    affected: dict[str, Affected] = {}
    suppressed: dict[str, Suppressed] = {}
    for one in identities:
        for found in _judge(knowledge, one, host_release, own_build=own_build):
            if isinstance(found, Suppressed):
                suppressed[found.cve.name] = found
            elif (
                found.cve.name not in affected
                or affected[found.cve.name].confidence < found.confidence
            ):
                affected[found.cve.name] = found
    _mark_incomplete(knowledge, affected, identities)
    return Verdict(
        tuple(affected.values()),
        tuple(one for name, one in suppressed.items() if name not in affected),
        identities,
    )


def _mark_incomplete(
    knowledge: Knowledge, affected: dict[str, Affected], identities: Sequence[Identity]
) -> None:
    """Name of each used CVE the version in which no follow-up of it is used any more.

    Apache httpd 2.4.50 mended CVE-2021-41773, not completely: CVE-2021-42013, until 2.4.51. A
    follow-up is no older than what it follows; CVE-2024-38475 is there since 2.4.0.
    """
    used = [one for one in affected.values() if one.cve.kev and one.fixed_in and one.begin]
    for one in used if len(used) > 1 else ():
        fixed_in, met = one.fixed_in, []
        younger = [other for other in used if (other.begin or b"") >= (one.begin or b"")]
        while follow := _still_there(knowledge, younger, identities, fixed_in):
            met.append(follow.cve.name)
            fixed_in = follow.fixed_in
        if met:
            words = f"{one.fixed_in} still has {', '.join(met)}, known to be exploited as well"
            affected[one.cve.name] = replace(one, fixed_in=fixed_in, instead=words)


def _still_there(
    knowledge: Knowledge, used: Sequence[Affected], identities: Sequence[Identity], version: str
) -> Affected | None:
    """Return what has to be mended next in the version that mends something, None if nothing."""
    here = versions.key(version)
    later = [other for other in used if versions.key(other.fixed_in) > here]
    has = {
        match.cve.name
        for identity_ in identities if later and identity_.package is None
        for match in knowledge.matches(identity_.product, version) if match.certain
    }  # fmt: skip
    follow = [other for other in later if other.cve.name in has]
    return min(follow, key=lambda other: versions.key(other.fixed_in)) if follow else None


def _judge(
    knowledge: Knowledge, one: Identity, host_release: str, *, own_build: bool
) -> Iterator[Affected | Suppressed]:
    candidates = _candidates(knowledge, one)
    packages = _packages(knowledge, one) if one.package else ()
    if one.package and (packages or one.package.fixed):
        yield from _by_distribution(knowledge, one, one.package, packages, candidates)
        return
    sure = _upstream_confidence(knowledge, one, host_release, own_build=own_build)
    for cve, matches in candidates.items():
        reason = _excused(knowledge, one, cve, matches)
        if reason:
            yield Suppressed(cve, reason)
        else:
            yield _by_upstream(knowledge, one, cve, matches, sure)


def _candidates(knowledge: Knowledge, one: Identity) -> Mapping[Cve, list[Match]]:
    """Return the CVEs in whose ranges the version lies."""
    found: dict[Cve, list[Match]] = {}
    if one.version and versions.usable(one.version):
        for match in knowledge.matches(one.product, one.version):
            found.setdefault(match.cve, []).append(match)
    if one.product == "mssql":
        return _on_service_track(knowledge, one.version, found)
    return _on_track(knowledge, one.version, found) if one.product == "jenkins" else found


def _on_service_track(
    knowledge: Knowledge, version: str, found: Mapping[Cve, list[Match]]
) -> dict[Cve, list[Match]]:
    """Doubt what has been mended in a build of this release that is not newer than this one.

    SQL Server's security updates come twice, on the first release and on the cumulative updates.
    """
    here, told = versions.key(version), knowledge.upper_bounds("mssql") if found else {}
    return {
        cve: [replace(match, certain=False) for match in matches]
        if any(
            versions.branch(bound) == versions.branch(version) and versions.key(bound) <= here
            for bound in told.get(cve.name, ())
        )
        else matches
        for cve, matches in found.items()
    }


def _on_track(
    knowledge: Knowledge, version: str, found: Mapping[Cve, list[Match]]
) -> dict[Cve, list[Match]]:
    """Keep what is said of this track of Jenkins: weekly (2.442) or long-term releases (2.426.3).

    Both are mended under numbers of their own. Where only the other track's is told, this one may
    have been mended before.
    """
    here, kept = versions.key(version), {}
    told = knowledge.upper_bounds("jenkins") if found else {}
    for cve, matches in found.items():
        own = [one for one in matches if not one.upper or _track(one.upper) == _track(version)]
        bounds = [one for one in told.get(cve.name, ()) if _track(one) == _track(version)]
        if own or any(versions.key(bound) > here for bound in bounds):
            kept[cve] = own or matches
        elif not bounds:
            kept[cve] = [replace(match, certain=False) for match in matches]
    return kept


def _track(version: str) -> int:
    return versions.canonical(version).count(".")  # 2.276.0 is the weekly 2.276


# ---- the distribution knows ----


def mended_by(knowledge: Knowledge, package: Installed) -> tuple[Cve, ...]:
    """Return the CVEs that this very version of a package was the first to mend."""
    return tuple(
        {
            fix.cve: None
            for known in _packages(knowledge, Identity("", "", package))
            for fix in knowledge.mended_by(known, _with_epoch(package, known))
        }
    )


def _packages(knowledge: Knowledge, one: Identity) -> Sequence[Package]:
    """Return what the base knows of this package: in its release, and in those that extend it."""
    package = one.package
    assert package is not None  # noqa: S101 - the caller's condition
    releases = identity.releases(package.release)
    if one.from_banner:  # whose product is known, but not what the package is called
        return [known for where in releases for known in knowledge.packages_of(where, one.product)]
    found = [knowledge.package(where, package.name) for where in releases]
    return [known for known in found if known is not None]


def _by_distribution(
    knowledge: Knowledge,
    one: Identity,
    package: Installed,
    packages: Sequence[Package],
    candidates: Mapping[Cve, list[Match]],
) -> Iterator[Affected | Suppressed]:
    names = frozenset(cve.name for cve in candidates).union(
        *(
            knowledge.lacking(known, _key(package, known), esm="esm" in package.version)
            for known in packages
        )
    )
    said: dict[Cve, list[Fix]] = {}
    for known in packages:
        for fix in knowledge.fixes(known, _key(package, known), names):
            said.setdefault(fix.cve, []).append(_from_where(fix, known, package))
    complete = any(known.complete for known in packages)
    for cve in {**candidates, **said}:
        matches, fixes = candidates.get(cve, []), said.get(cve, [])
        found = _excused_by_distribution(package, cve, fixes, complete=complete)
        if not found and not fixes:
            found = _excused(knowledge, one, cve, matches)
        if not found:
            yield _by_fixes(knowledge, one, cve, fixes, matches)
        elif matches:  # else nothing but the distribution ever spoke of it
            yield Suppressed(cve, found)


def _from_where(fix: Fix, known: Package, package: Installed) -> Fix:
    """A fix of extended maintenance is in what was installed from there: its version tells.

    `known` may also have a fix that is older than this maintenance, with an ordinary version. And
    7.0.15-1~deb12u1 sorts before 7.0.15-1, but is that one built again, with all its fixes.
    """
    if fix.version and fix.version == _REBUILT.sub("", _with_epoch(package, known)):
        return replace(fix, installed_has_it=True)
    if fix.installed_has_it and ":esm-" in known.release and _is_of_pro(fix, package):
        return replace(fix, installed_has_it=False)
    return fix


def _is_of_pro(fix: Fix, package: Installed) -> bool:
    """Whether a fix is of extended maintenance, and what is installed is not."""
    return "esm" in fix.version and "esm" not in package.version


def _excused_by_distribution(
    package: Installed, cve: Cve, fixes: Sequence[Fix], *, complete: bool
) -> str:
    if any(fix.installed_has_it for fix in fixes) or cve.name in package.fixed:
        return "fixed_by_distribution"
    if any(fix.state == "not_affected" for fix in fixes) or (complete and not fixes):
        return "not_affected"
    return ""


def _by_fixes(
    knowledge: Knowledge,
    one: Identity,
    cve: Cve,
    fixes: Sequence[Fix],
    matches: Sequence[Match],
) -> Affected:
    package = one.package
    assert package is not None  # noqa: S101 - as in _packages
    where = f"{package.name} {package.version} of {package.release}"
    # The tracker's word before the changelog's.
    ordered = sorted(fixes, key=lambda fix: (fix.state != "fixed", fix.source == "changelog"))
    for fix in ordered:
        sure = CHANGELOG if fix.source == "changelog" or one.from_banner else TRACKER
        if fix.state == "fixed":
            pro = _is_of_pro(fix, package)
            from_where = " of extended maintenance (Ubuntu Pro)" if pro else ""
            why = f"{where} lacks the fix{from_where}"
            return _affected(cve, sure, why, fix.version, package)
        if fix.state == "open":
            return _affected(cve, sure, f"{where}: no fix yet ({fix.word})", "", package)
    why = f"{where}: {_undecided(fixes, matches)}"
    return Affected(cve, UNKNOWN_BUILD, why, _fixed_in(knowledge, one, cve, matches))


def _undecided(fixes: Sequence[Fix], matches: Sequence[Match]) -> str:
    if fixes:
        return f"the distribution has not decided ({fixes[0].word})"
    bounds = matches[0].bounds if matches else ""
    return (
        f"its upstream version is in the range ({bounds}), but the distribution may have mended it:"
        " the knowledge of its fixes is not complete"
    )


def _affected(cve: Cve, confidence: int, why: str, fixed_in: str, package: Installed) -> Affected:
    if "client_side" in cve.flags:
        return Affected(cve, UNKNOWN_BUILD, f"{why}; in its client, not in the server", fixed_in)
    if package.inferred:
        return Affected(cve, min(confidence, _INFERRED), f"{why} (by its version)", fixed_in)
    return Affected(cve, confidence, why, fixed_in)


_REBUILT = re.compile(r"~(deb\d+u|bpo\d+\+)\d+$")


def _with_epoch(package: Installed, known: Package) -> str:
    version = package.version
    return f"{known.epoch}:{version}" if known.epoch and ":" not in version else version


def _key(package: Installed, known: Package) -> bytes:
    # Banners leave the epoch out.
    return versions.package_key(_with_epoch(package, known), versions.syntax_of(known.release))


# ---- upstream's ranges decide ----


def _upstream_confidence(
    knowledge: Knowledge, one: Identity, host_release: str, *, own_build: bool
) -> tuple[int, str]:
    """Say how sure a range makes, for a program that may or may not be a distribution's build."""
    version = f"{one.product} {one.version}"
    if one.package is not None:
        label = f"{one.package.name} {one.package.version} of {one.package.release or 'unknown'}"
        return UNKNOWN_BUILD, f"{label}: nothing is known of this distribution's fixes"
    if one.secondary:
        sure = UNKNOWN_BUILD if one.build else COMPONENT
        return sure, f"{version} is named beside the service"
    if one.build:
        return UNKNOWN_BUILD, f"{version}, built by {one.build}, revision unknown"
    if not own_build and _ships(knowledge, one, host_release):
        return UNKNOWN_BUILD, f"{version} is what {host_release} ships, revision unknown"
    return EXACT, f"{version} exactly, no distribution package"


def _ships(knowledge: Knowledge, one: Identity, release: str) -> bool:
    """Whether this is the version of the host's own distribution."""
    here = versions.key(one.version) if one.version else b""
    return bool(release) and any(
        known.shipped and versions.key(identity.upstream(known.shipped)) == here
        for known in knowledge.packages_of(release, one.product)
    )


# One product in the records, but programs with flaws and version numbers of their own.
_SEVERAL_PROGRAMS = {
    "powerdns": "the authoritative server and the recursor",
    "quagga_frr": "Quagga and FRR",
}
# Programs for Unix, which others have ported to Windows, with version numbers of their own.
_PORTED = frozenset({"openssh", "redis"})


def _by_upstream(
    knowledge: Knowledge,
    one: Identity,
    cve: Cve,
    matches: list[Match],
    sure: tuple[int, str],
) -> Affected:
    confidence, why = sure
    # The strongest statement counts.
    best = max(matches, key=lambda match: (match.certain, not _foreign(match, windows=one.windows)))
    fixed_in = _fixed_in(knowledge, one, cve, matches)
    if not best.certain:
        confidence, why = min(confidence, UNKNOWN_BUILD), f"{why}; its range is vague"
    elif one.product in _SEVERAL_PROGRAMS:
        confidence = min(confidence, UNKNOWN_BUILD)
        why = f"{why}; records do not tell apart {_SEVERAL_PROGRAMS[one.product]}"
    elif one.windows and one.product in _PORTED and not best.platforms:
        confidence = min(confidence, UNKNOWN_BUILD)
        why = f"{why}; a port to Windows, of which the range says nothing"
    elif _foreign(best, windows=one.windows):
        confidence = min(confidence, UNKNOWN_BUILD)
        why = f"{why}; only on {', '.join(best.platforms[:2])}"
    elif "client_side" in cve.flags:
        confidence, why = min(confidence, UNKNOWN_BUILD), f"{why}; in its client, not in the server"
    begin = min((match.begin for match in matches if match.begin), default=None)
    return Affected(cve, confidence, f"{why}; affected: {best.bounds}", fixed_in, begin=begin)


def _fixed_in(knowledge: Knowledge, one: Identity, cve: Cve, matches: Sequence[Match]) -> str:
    """Return where to upgrade to: within the branch, if that is enough, else the least step."""
    good = knowledge.good(one.product, cve.name)
    told = {version for version in good if versions.key(version) > versions.key(one.version)}
    told = told or {match.fixed_in for match in matches if match.fixed_in}
    if len(told) > 1:
        ordered = sorted(told, key=versions.key)
        here = versions.branch(one.version)
        within = [version for version in ordered if versions.branch(version) == here]
        return within[-1] if within else ordered[0]
    return next(iter(told), "")


# ---- what excuses a service, whoever decides ----


def _excused(knowledge: Knowledge, one: Identity, cve: Cve, matches: Sequence[Match]) -> str:
    """Return why the ranges do not hold for this service, "" if they do."""
    if "disputed" in cve.flags and not cve.kev:
        return "disputed"
    if matches and one.version and _mended_branch(knowledge, one, cve):
        return "fixed_upstream"
    if matches and all(_impossible(match, windows=one.windows) for match in matches):
        return "platform"
    return ""


def _mended_branch(knowledge: Knowledge, one: Identity, cve: Cve) -> bool:
    good = knowledge.good(one.product, cve.name)
    here = versions.key(one.version) if good else b""
    return any(
        versions.branch(version) == versions.branch(one.version) and here >= versions.key(version)
        for version in good
    )


_WINDOWS = ("o:microsoft:", "tsw:windows")


def _impossible(match: Match, *, windows: bool) -> bool:
    """Whether all platforms that a range needs are of the other kind."""
    if not match.platforms:  # nearly always
        return False
    systems = [platform for platform in match.platforms if platform.startswith(("o:", "tsw:"))]
    if len(systems) < len(match.platforms) or not systems:
        return False
    on_windows = [platform.startswith(_WINDOWS) for platform in systems]
    return not any(on_windows) if windows else all(on_windows)


def _foreign(match: Match, *, windows: bool) -> bool:
    """Whether a range needs a platform of which nobody knows whether it is there."""
    if not match.platforms:
        return False
    # Those that need Debian or Ubuntu are flaws of its packaging: of the package it is known.
    fitting = ("o:linux:",) if not windows else _WINDOWS
    return not any(platform.startswith(fitting) for platform in match.platforms)
