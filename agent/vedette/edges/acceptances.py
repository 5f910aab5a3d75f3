"""Findings that somebody has accepted, with a reason and until a day: a YAML list.

- finding: CVE-2023-44487        # or a rule: RULE-CLEARTEXT-FTP
  port: 443                      # optional: on this port only
  address: 192.0.2.10            # optional: on this address only
  reason: HTTP/2 is switched off
  expires: 2027-03-31            # the last day
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from vedette.scanned import Address

_LARGEST = 1 << 20  # bytes
_FINDING = re.compile(r"CVE-\d{4}-\d{4,8}|RULE-[A-Z0-9-]+")
_LONGEST_REASON = 500  # characters: it stands on the page
_PORTS = range(1, 65_536)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """One. port, address: None for all."""

    finding: str
    reason: str
    expires: date
    port: int | None = None
    address: Address | None = None


# ruff: noqa: TRY004 - whoever wrote the file wants words, whatever was wrong with it


def read(path: Path) -> tuple[Acceptance, ...]:
    """Read the list. Raises ValueError, in words, for a file that is no such list."""
    import yaml  # noqa: PLC0415 - who accepts nothing need not hold it in memory

    from vedette.bounded_yaml import Loader  # noqa: PLC0415

    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError(f"{path} is larger than {_LARGEST >> 20} MiB")
        rows = yaml.load(content, Loader)  # noqa: S506 - a safe loader
    except OSError as exc:
        raise ValueError(f"{path} cannot be read: {exc.strerror}") from exc
    except (yaml.YAMLError, RecursionError) as exc:
        raise ValueError(f"{path} is no YAML: {exc}") from exc
    if not isinstance(rows, list):
        raise ValueError(f"{path} must be a list of findings")
    return tuple(_acceptance(row, f"{path}, entry {n}") for n, row in enumerate(rows, 1))


def _acceptance(row: Any, where: str) -> Acceptance:
    if not isinstance(row, dict):
        raise ValueError(f"{where}: must have finding, reason and expires")
    unknown = sorted(map(str, row.keys() - {"finding", "reason", "expires", "port", "address"}))
    if unknown:
        raise ValueError(f"{where}: unknown key {unknown[0]!r}")
    finding, reason, expires = row.get("finding"), row.get("reason"), row.get("expires")
    if not isinstance(finding, str) or not _FINDING.fullmatch(finding):
        raise ValueError(f"{where}: finding must be like CVE-2023-44487 or RULE-CLEARTEXT-FTP")
    if not isinstance(reason, str) or not 0 < len(reason.strip()) <= _LONGEST_REASON:
        raise ValueError(f"{where}: reason must say why, in at most {_LONGEST_REASON} characters")
    if not isinstance(expires, date) or isinstance(expires, datetime):
        raise ValueError(f"{where}: expires must be a day, like 2027-03-31")
    port, address = row.get("port"), row.get("address")
    if port is not None and (type(port) is not int or port not in _PORTS):
        raise ValueError(f"{where}: port must be a number from 1 to 65535")
    try:
        host = None if address is None else ip_address(str(address))
    except ValueError as exc:
        raise ValueError(f"{where}: address must be an IP address") from exc
    return Acceptance(finding, " ".join(reason.split()), expires, port, host)


def valid(
    accepted: Iterable[Acceptance], address: Address, port: int, now: float
) -> dict[str, Acceptance]:
    """Return those that hold for this port today (UTC), by finding; the one that lasts longest."""
    today = datetime.fromtimestamp(now, UTC).date()
    holding = [
        one
        for one in accepted
        if one.expires >= today and one.port in {None, port} and one.address in {None, address}
    ]
    return {one.finding: one for one in sorted(holding, key=lambda one: one.expires)}
