"""Whether the agent can do its work here: one row for each thing it needs."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from vedette.edges import host, nmap, packages
from vedette.errors import ConfigError
from vedette.settings import Settings

# Before the first release: a clock that stands there was never set.
_EARLIEST = 1_790_000_000
_LEAST_SPACE = 64 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Check:
    """One result, in words."""

    what: str
    ok: bool
    says: str


def checks(settings: Settings) -> list[Check]:
    """Look at everything once. Takes well under a second."""
    path, raw = nmap.program(), host.raw_sockets()
    return [
        Check(
            "nmap",
            path is not None,
            f"found: {path}"
            if path
            else "not installed; no ports are scanned (Debian: apt-get install nmap)",
        ),
        Check(
            "raw sockets",
            raw,
            "permitted"
            if raw
            else "not permitted; no SYN scans, fingerprints, capture"
            " (run as root, or grant CAP_NET_RAW)",
        ),
        _packages(settings.listeners_file),
        _state_directory(settings.state_directory),
        _clock(),
        *_web_config(settings.publish.expose.web_config_file),
    ]


def _packages(file: Path) -> Check:
    # One that is missing is no fault: banners are believed instead. One that nobody renews is.
    why = packages.why_not(file, time.time(), host.booted_at())
    if why and not file.exists():
        says = (
            f"no {file}: versions are told by banners (vedette inventory, as root, tells exactly)"
        )
        return Check("packages", ok=True, says=says)
    return Check("packages", ok=not why, says=why or f"{file} is fresh")


def _state_directory(directory: Path) -> Check:
    probe = directory / ".selfcheck"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
        free = shutil.disk_usage(directory).free
    except OSError as exc:
        return Check("state directory", ok=False, says=f"{directory}: {exc.strerror}")
    if free < _LEAST_SPACE:
        return Check("state directory", ok=False, says=f"{directory}: {free >> 20} MiB left")
    return Check("state directory", ok=True, says=f"{directory} is writable")


def _web_config(file: Path | None) -> list[Check]:
    if file is None:
        return []
    from vedette.publish import guard  # noqa: PLC0415 - only where there is such a file

    what = "web configuration"
    try:
        rules = guard.load(file)
    except ConfigError as exc:
        return [Check(what, ok=False, says="; ".join(exc.problems))]
    now = time.time()
    return [
        Check(what, rules.expires_at is None or rules.expires_at > now, guard.words(rules, now))
    ]


def _clock() -> Check:
    now = time.time()
    sane = now > _EARLIEST
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    return Check("clock", sane, text if sane else f"{text} is in the past")
