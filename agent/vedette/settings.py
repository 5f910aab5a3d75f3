"""The settings of the agent, and how they are had: from a child that reads the configuration.

Reading it takes pydantic-settings (10 MiB, a quarter of a second), which the agent needs for a
moment only: so `config.py` runs in a process of its own, and hands over what it has checked.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Any

from vedette import jobs, log
from vedette.edges.config_process import ConfigProcess
from vedette.errors import ConfigError
from vedette.job import Job, JobOptions
from vedette.option import allowed, leaves, setting, types_of
from vedette.publish.options import Options as Publish

DEFAULT_FILE = Path("/etc/vedette/config.yaml")


def _state_directory() -> Path:
    """systemd's, else the system's for root, else the user's (XDG Base Directory Specification)."""
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if os.name == "posix" and os.geteuid() == 0:
        return Path("/var/lib/vedette")
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "vedette"


@dataclass(frozen=True, kw_only=True)
class General:
    """What is not part of a section."""

    state_directory: Path = setting(
        default_factory=_state_directory,
        text="Where the history is kept. Default: $STATE_DIRECTORY, else /var/lib/vedette for root,"
        " ~/.local/state/vedette for others.",
    )
    log_level: log.Level = setting("info", "The least level that is logged.")
    log_format: log.Format = setting("text", "Log lines as text or as JSON.")
    publish: Publish = setting(default_factory=Publish, text="How what was seen leaves the host.")


@dataclass(frozen=True, kw_only=True)
class Settings(General):
    """All settings. jobs: {name: its section}."""

    jobs: Mapping[str, JobOptions]

    @property
    def listeners_file(self) -> Path:
        """What `vedette inventory` writes, as the scan job is told."""
        scan: Any = self.jobs["scan"]
        return Path(scan.listeners_file)

    def enabled_jobs(self) -> dict[str, tuple[Job[Any, Any], JobOptions]]:
        """Return {name: (job, its options)} of the jobs that are switched on."""
        return {
            name: (job, self.jobs[name])
            for name, job in jobs.found().items()
            if self.jobs[name].enabled
        }


def all_leaves() -> Iterator[tuple[str, Any, Field[Any]]]:
    """Yield every setting there is: its path ("scan.interval_seconds"), its type, its field."""
    yield from leaves(General)
    for name, job in jobs.found().items():
        yield from leaves(job.options, f"{name}.")


def sections() -> dict[str, Any]:
    """Return {name: type} of all that may stand at the top of the file."""
    general = {entry.name: types_of(General)[entry.name] for entry in fields(General)}
    return general | {name: job.options for name, job in jobs.found().items()}


def reference() -> str:
    """Return a Markdown table of every setting: path, what it may be, default, text."""
    lines = ["| setting | may be | default | what it is |", "|---|---|---|---|"]
    for path, kind, entry in all_leaves():
        default = "" if entry.default is MISSING else _as_yaml(entry.default)
        text = entry.metadata["text"]
        lines.append(f"| `{path}` | {allowed(kind, entry)} | {default} | {text} |")
    return "\n".join(lines) + "\n"


def _as_yaml(value: object) -> str:
    if value is None:
        return "unset"
    if value == "":
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def load(
    file: Path | None = None,
    flags: Mapping[str, str] | None = None,
    child: ConfigProcess | None = None,
) -> Settings:
    """Return the settings from the file, VEDETTE_… variables and flags. Raises ConfigError.

    file None: the default one, if it exists. flags: {"scan.interval_seconds": "600"}, in YAML.
    child: one that was started earlier, to save the time.
    """
    result = (child or ConfigProcess()).read(file, flags or {})
    if isinstance(result, list):
        raise ConfigError(result)
    settings: Settings = result
    return settings
