"""The configuration: one YAML file, VEDETTE_… variables over it, flags over those.

The sections are the jobs' own `Options`, put together to one pydantic-settings model. Anything
unknown or ill-typed is refused with the key, the value, what is allowed, and the nearest known key.
"""

import difflib
import json
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)
from pydantic_settings.sources import InitSettingsSource

from vedette import jobs, log
from vedette.errors import ConfigError
from vedette.job import Job, JobOptions
from vedette.publish.options import Options as PublishOptions

DEFAULT_FILE = Path("/etc/vedette/config.yaml")
PREFIX = "VEDETTE_"
# Variables of the program that are no settings.
_NOT_SETTINGS = frozenset({"VEDETTE_CONFIG"})


def _state_directory() -> Path:
    """systemd's, else the system's for root, else the user's (XDG Base Directory Specification)."""
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if os.name == "posix" and os.geteuid() == 0:
        return Path("/var/lib/vedette")
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "vedette"


class Settings(BaseSettings):
    """All settings. `model()` adds one section for each job; use `options_of` to read them."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    state_directory: Path = Field(
        default_factory=_state_directory,
        description="Where the history is kept. Default: $STATE_DIRECTORY, /var/lib/vedette for"
        " root, ~/.local/state/vedette for others.",
    )
    log_level: log.Level = Field(default="info", description="The least level that is logged.")
    log_format: log.Format = Field(default="text", description="Log lines as text or as JSON.")
    publish: PublishOptions = Field(default_factory=PublishOptions, description="Publishing.")

    def options_of(self, name: str) -> JobOptions:
        """Return the section of one job."""
        section: JobOptions = getattr(self, name)
        return section

    def enabled_jobs(self) -> dict[str, tuple[Job[Any, Any], JobOptions]]:
        """Return {name: (job, its options)} of the jobs that are switched on."""
        return {
            name: (job, self.options_of(name))
            for name, job in jobs.found().items()
            if self.options_of(name).enabled
        }

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags first, then variables, then the file: the first that has a value wins.

        `load` hands flags and file over as the two keyword arguments of the constructor.
        """
        del dotenv_settings, file_secret_settings
        given: dict[str, Any] = getattr(init_settings, "init_kwargs", {})
        return (
            InitSettingsSource(settings_cls, init_kwargs=given.get("flags", {})),
            env_settings,
            InitSettingsSource(settings_cls, init_kwargs=given.get("file", {})),
        )


@cache
def model() -> type[Settings]:
    """Return the one model, with a section for each job that was found."""
    sections: dict[str, Any] = {
        name: (job.options, Field(default_factory=job.options, description=_first_line(job.options)))
        for name, job in jobs.found().items()
    }
    return create_model("Configuration", __base__=Settings, **sections)


def load(file: Path | None, flags: Mapping[str, str] | None = None) -> Settings:
    """Return the settings from `file` (None: the default one, if it exists), variables and flags.

    flags: {"scan.interval_seconds": "600"}; values are read as YAML. Raises ConfigError.
    """
    contents = _read(file or DEFAULT_FILE, must_exist=file is not None)
    given: dict[str, Any] = {}
    for key, text in (flags or {}).items():
        _put(given, key.split("."), _value(key, text))
    unknown = list(_unknown_variables())
    try:
        settings = model()(flags=given, file=contents)  # type: ignore[call-arg]  # read by the sources
    except ValidationError as exc:
        raise ConfigError(unknown + [_problem(dict(error)) for error in exc.errors()]) from exc
    except SettingsError as exc:
        raise ConfigError([*unknown, *(_not_json() or [str(exc)])]) from exc
    if unknown:
        raise ConfigError(unknown)
    return settings


def leaves(section: type[BaseModel] | None = None, path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every setting there is: its path ("scan.interval_seconds") and its field."""
    for name, info in (section or model()).model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from leaves(inner, f"{path}{name}.")
        else:
            yield f"{path}{name}", info


def allowed(info: FieldInfo) -> str:
    """Say what a setting may be: "whole number, at least 60"."""
    bounds = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    limits = [
        f"{word} {getattr(constraint, name)}"
        for constraint in info.metadata
        for name, word in bounds.items()
        if hasattr(constraint, name)
    ]
    return ", ".join([_type_name(info.annotation), *limits])


_TYPE_NAMES = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
}


def _type_name(annotation: Any) -> str:
    if name := _TYPE_NAMES.get(annotation):
        return name
    if hasattr(annotation, "__metadata__"):  # Annotated: the validators are no part of the name
        return _type_name(annotation.__origin__)
    inner = [part for part in get_args(annotation) if part is not ...]
    if getattr(annotation, "__origin__", None) is tuple:
        return f"list of {_type_name(inner[0])}"
    if inner and all(isinstance(part, str) for part in inner):
        return " or ".join(inner)
    names = dict.fromkeys(_type_name(part) for part in inner if part is not type(None))
    return " or ".join(names) or {
        "IPv4Network": "IPv4 network",
        "IPv6Network": "IPv6 network",
        "IPv4Address": "IPv4 address",
        "IPv6Address": "IPv6 address",
    }.get(getattr(annotation, "__name__", ""), getattr(annotation, "__name__", str(annotation)))


def _read(file: Path, *, must_exist: bool) -> dict[str, Any]:
    try:
        contents = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        if must_exist:
            raise ConfigError([f"{file}: there is no such file"]) from exc
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise ConfigError([f"{file}: cannot be read: {' '.join(str(exc).split())}"]) from exc
    if contents is None:
        return {}
    if not isinstance(contents, dict) or not all(isinstance(key, str) for key in contents):
        raise ConfigError([f"{file}: it must hold sections ({', '.join(model().model_fields)})"])
    return contents


def _value(key: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ConfigError([f"{key}: {text!r} cannot be read as YAML"]) from exc


def _put(into: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        into = into.setdefault(name, {})
    into[path[-1]] = value


def _unknown_variables() -> Iterator[str]:
    """pydantic-settings passes over a variable whose first part it does not know: we do not."""
    known = list(model().model_fields)
    for variable in sorted(os.environ):
        if variable.upper().startswith(PREFIX) and variable not in _NOT_SETTINGS:
            section = variable[len(PREFIX) :].split("__")[0].lower()
            if section not in known:
                names = [f"{PREFIX}{name.upper()}" for name in known]
                yield f"{variable}: unknown variable{_nearest(variable.split('__')[0], names)}"


def _not_json() -> list[str]:
    """Name the variables that stand for lists, but are no JSON: pydantic-settings does not."""
    lists = {
        f"{PREFIX}{path.upper().replace('.', '__')}": allowed(info)
        for path, info in leaves()
        if "list" in allowed(info)
    }
    problems = []
    for variable, what in lists.items():
        if (text := os.environ.get(variable)) is not None:
            try:
                json.loads(text)
            except ValueError:
                problems.append(f"{variable}: {_shown(text)} is not allowed: write a {what} as JSON")
    return problems


def _problem(error: dict[str, Any]) -> str:
    """Return one sentence on one error of pydantic: key, value, what is allowed."""
    path = [str(part) for part in error["loc"] if not isinstance(part, int)]
    section, names = _section(path[:-1])
    key, value = ".".join(path), _shown(error["input"])
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key (its value is {value}){_nearest(path[-1], names)}"
    info = section.model_fields.get(path[-1]) if section and path else None
    what = error["msg"].removeprefix("Value error, ")
    if info is None or error["type"] == "value_error":
        return f"{key or 'configuration'}: {what}" if error["type"] == "value_error" else (
            f"{key}: {value} is not allowed: {what}"
        )
    return f"{key}: {value} is not allowed: {what} (allowed: {allowed(info)})"


def _section(path: list[str]) -> tuple[type[BaseModel] | None, list[str]]:
    section: Any = model()
    for name in path:
        info = section.model_fields.get(name)
        section = info.annotation if info else None
        if not (isinstance(section, type) and issubclass(section, BaseModel)):
            return None, []
    return section, list(section.model_fields)


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(known)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"  # noqa: PLR2004 - a terminal's width


def _first_line(options: type[BaseModel]) -> str:
    return (options.__doc__ or "").strip().splitlines()[0]
