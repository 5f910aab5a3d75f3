"""Until when a release of a distribution, or a branch of a product, is mended by anybody.

What the table (data/support.json) does not name is unknown, and no finding.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from vedette.evidence import Proof, proved
from vedette.risk import versions
from vedette.risk.identity import Identity, upstream
from vedette.risk.knowledge import Knowledge
from vedette.scanned import Installed, Service

TABLE = Path(__file__).parent / "data" / "support.json"

RULE = "RULE-UNSUPPORTED"
_BY_PACKAGE, _BY_BANNER, _PERHAPS = 97, 80, 50
_PHP = re.compile(r"\bPHP/(\d[\d.]*)")


@cache
def table() -> Mapping[str, Any]:
    """Return the table as it stands in the file."""
    value: Mapping[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))
    return value


def ended(
    knowledge: Knowledge,
    banner: Service,
    package: Installed | None,
    identities: Iterable[Identity],
    now: float,
    *,
    host_release: str,
    own_build: bool,
) -> Iterator[Proof]:
    """Yield the proofs that what runs behind a port is no longer mended. now: Unix seconds.

    identities: what it was taken for. host_release, own_build: as for match.assess.
    """
    today = datetime.fromtimestamp(now, UTC).date().isoformat()
    found = [one for one in identities if not one.secondary]
    known = package or next((one.package for one in found if one.package), None)
    if known is not None:  # its distribution mends it, as long as it does
        yield from _of_release(known, today)
        return
    for one in found:
        if one.build or not one.version:
            continue
        end = _end_of(one.product, one.version)
        if end and end < today and (own_build or not _shipped(knowledge, one, host_release)):
            words = f"{one.product} {one.version} has had no support since {end}"
            if not (own_build or host_release) and (where := _mending(knowledge, one, today)):
                yield proved(RULE, f"{words}, unless it is of {where}", None, _PERHAPS)
            else:
                yield proved(RULE, words, None, _BY_BANNER)
            return
    if (php := _PHP.search(banner.extra_info)) and banner.probed:
        end = _end_of("php", php[1])
        if end and end < today:
            words = f"PHP {php[1]} is named beside the service, and has had no support since {end}"
            yield proved(RULE, words, None, _PERHAPS)


def _of_release(package: Installed, today: str) -> Iterator[Proof]:
    days = _release(package.release)
    if not days or days[0] >= today:
        return
    words = f"{package.release}, which {package.name} is from, has had no support since {days[0]}"
    if days[-1] < today:
        yield proved(RULE, words, None, _BY_PACKAGE)
    elif "esm" not in package.version:
        yield proved(RULE, f"{words}, unless it is extended to {days[-1]}", None, _PERHAPS)


def _release(name: str) -> list[str]:
    """Return the days of a release: rocky:9.4 is of rocky:9, alpine:3.20.3 of alpine:3.20."""
    releases: Mapping[str, list[str]] = table()["releases"]
    family, _, version = name.partition(":")
    parts = version.split(".")
    names = [f"{family}:{'.'.join(parts[:count])}" for count in range(len(parts), 0, -1)]
    return next((releases[one] for one in names if one in releases), [])


def _end_of(product: str, version: str) -> str:
    """Return the last day of the branch that a version is of, "" if it is unknown."""
    branches: Mapping[str, str] = table()["products"].get(product, {})
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    parts = numbers[0].split(".") if numbers else []
    names = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next((branches[name] for name in names if name in branches), "")


def _mending(knowledge: Knowledge, one: Identity, today: str) -> str:
    """Return a release that has this version and is still mended, "" if none is known."""
    here = versions.key(one.version)
    return next(
        (
            known.release
            for known in knowledge.packages_of("", one.product) if not one.windows
            if known.shipped and versions.key(upstream(known.shipped)) == here
            if (days := _release(known.release)) and days[0] >= today
        ),
        "",
    )  # fmt: skip


def _shipped(knowledge: Knowledge, one: Identity, release: str) -> bool:
    """Whether it is, or may be, the build of the host's own distribution, which mends it."""
    if not release or one.windows:
        return False
    known = knowledge.packages_of(release, one.product)
    here = versions.key(one.version)
    shipped = [package.shipped for package in known if package.shipped]
    return not shipped or any(versions.key(upstream(version)) == here for version in shipped)
