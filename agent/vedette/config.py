"""Reads the configuration: one YAML file, VEDETTE_… variables over it, flags over those.

Run as a child, `python -m vedette.config` (settings.py says why). The sections are the jobs' own
options, put together to one pydantic-settings model. Anything unknown or ill-typed is refused with
the key, the value, what is allowed, and the nearest known key.
"""

import difflib
import json
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pydantic
import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)
from pydantic_settings.sources import InitSettingsSource

from vedette import bounded_yaml
from vedette.errors import ConfigError
from vedette.option import BOUNDS, allowed, types_of
from vedette.settings import DEFAULT_FILE, General, Settings, all_leaves, sections

PREFIX = "VEDETTE_"
# What PyYAML raises, in fact: its constructors let through what Python says to a bad date, an odd
# number, or a thousand brackets.
_YAML_ERRORS = (
    yaml.YAMLError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError,
    ValueError,
)  # fmt: skip
# Variables of the program that are no settings.
_NOT_SETTINGS = frozenset({"VEDETTE_CONFIG"})


class _Sourced(BaseSettings):
    model_config = SettingsConfigDict(
        extra="forbid",
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

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

        `read` hands flags and file over as the two keyword arguments of the constructor.
        """
        del dotenv_settings, file_secret_settings
        given: dict[str, Any] = getattr(init_settings, "init_kwargs", {})
        return (
            InitSettingsSource(settings_cls, init_kwargs=given.get("flags", {})),
            env_settings,
            InitSettingsSource(settings_cls, init_kwargs=given.get("file", {})),
        )


@cache
def _model() -> type[_Sourced]:
    general = _fields(General)
    jobs = {
        name: (_section_model(options), pydantic.Field(default_factory=_section_model(options)))
        for name, options in sections().items()
        if name not in general
    }
    every: dict[str, Any] = general | jobs
    return pydantic.create_model("Configuration", __base__=_Sourced, **every)


_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@cache
def _section_model(section: type) -> type[BaseModel]:
    model: type[BaseModel] = pydantic.create_model(
        section.__name__, __config__=_STRICT, **_fields(section)
    )
    return model


def _fields(section: type) -> dict[str, Any]:
    return {entry.name: _field(types_of(section)[entry.name], entry) for entry in fields(section)}


def _field(kind: Any, entry: Field[Any]) -> tuple[Any, Any]:
    if isinstance(kind, type) and is_dataclass(kind):
        model = _section_model(kind)
        return model, pydantic.Field(default_factory=model)
    bounds = {name: entry.metadata[name] for name in BOUNDS if name in entry.metadata}
    if entry.default_factory is not MISSING:
        info = pydantic.Field(default_factory=entry.default_factory, **bounds)
    else:
        info = pydantic.Field(default=entry.default, **bounds)
    parse = entry.metadata["parse"]
    if parse is None:
        return kind, info
    # The default may be written out, as check-config does, also where it is "" for unset.
    return _parsed(kind, lambda text: text if text == entry.default else parse(text)), info


def _parsed(kind: Any, parse: Callable[[str], Any]) -> Any:
    """Return the type whose strings (those in a list, for a list) go through `parse`."""
    if kind is str:  # YAML takes a port alone for a number
        return Annotated[str, BeforeValidator(_digits), AfterValidator(parse)]
    item = BeforeValidator(lambda value: parse(str(value)))
    if get_origin(kind) is tuple:
        return tuple[Annotated[get_args(kind)[0], item], ...]  # type: ignore[misc]  # made here
    parts = [_parsed(p, parse) if get_origin(p) is tuple else p for p in get_args(kind)]
    return parts[0] | parts[1] if len(parts) > 1 else Annotated[kind, item]


def _digits(value: Any) -> Any:
    return str(value) if type(value) is int else value


def read(file: Path | None, flags: Mapping[str, str]) -> Settings:
    """Return the settings. flags: {"scan.interval_seconds": "600"}, in YAML. Raises ConfigError."""
    contents = _read(file or DEFAULT_FILE, must_exist=file is not None)
    given: dict[str, Any] = {}
    for key, text in flags.items():
        _put(given, key.split("."), _value(key, text))
    unknown = list(_unknown_variables())
    try:
        checked = _model()(flags=given, file=contents)  # type: ignore[call-arg]  # for the sources
    except ValidationError as exc:
        raise ConfigError(unknown + [_problem(dict(error)) for error in exc.errors()]) from exc
    except SettingsError as exc:
        raise ConfigError([*unknown, *(_not_json() or [str(exc)])]) from exc
    if unknown:
        raise ConfigError(unknown)
    return _settings(checked)


def _settings(checked: BaseModel) -> Settings:
    problems, built = [], {}
    for name, section in sections().items():
        value = getattr(checked, name)
        try:
            built[name] = _build(section, value) if isinstance(value, BaseModel) else value
        except ValueError as exc:  # options that do not go together: the section's own check
            problems.append(f"{name}: {exc}")
    if problems:
        raise ConfigError(problems)
    general = {entry.name: built.pop(entry.name) for entry in fields(General)}
    return Settings(**general, jobs=built)


def _build(section: type, values: BaseModel) -> Any:
    return section(
        **{
            name: _build(types_of(section)[name], value) if isinstance(value, BaseModel) else value
            for name, value in values
        }
    )


def _read(file: Path, *, must_exist: bool) -> dict[str, Any]:
    try:
        contents = _yaml(file.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        if must_exist:
            raise ConfigError([f"{file}: there is no such file"]) from exc
        return {}
    except (OSError, *_YAML_ERRORS) as exc:
        raise ConfigError([f"{file}: cannot be read: {' '.join(str(exc).split())}"]) from exc
    if contents is None:
        return {}
    if not isinstance(contents, dict) or not all(isinstance(key, str) for key in contents):
        raise ConfigError([f"{file}: it must hold sections ({', '.join(sections())})"])
    return contents


def _yaml(text: str) -> Any:
    return yaml.load(text, bounded_yaml.Loader)  # noqa: S506 - a subclass of the safe loader


def _value(key: str, text: str) -> Any:
    try:
        value = _yaml(text)
    except _YAML_ERRORS as exc:
        raise ConfigError([f"{key}: {text!r} cannot be read as YAML"]) from exc
    return text if text == "::" else value  # an address, to YAML a mapping


def _put(into: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        into = into.setdefault(name, {})
    into[path[-1]] = value


def _unknown_variables() -> Iterator[str]:
    """pydantic-settings passes over a variable whose first part it does not know: we do not."""
    known = list(sections())
    for variable in sorted(os.environ):
        if variable.upper().startswith(PREFIX) and variable not in _NOT_SETTINGS:
            section = variable[len(PREFIX) :].split("__")[0].lower()
            if section not in known:
                names = [f"{PREFIX}{name.upper()}" for name in known]
                yield f"{variable}: unknown variable{_nearest(variable.split('__')[0], names)}"


def _not_json() -> list[str]:
    """Name the variables that must be JSON and are not: pydantic-settings does not."""
    problems = []
    for path, kind, entry in all_leaves():
        variable = f"{PREFIX}{path.upper().replace('.', '__')}"
        text = os.environ.get(variable)
        if text is not None and _is_json(what := allowed(kind, entry)):
            try:
                json.loads(text)
            except ValueError:
                problems.append(
                    f"{variable}: {_shown(text)} is not allowed: write a {what} as JSON"
                )
    return problems


def _is_json(what: str) -> bool:
    return "list" in what or "mapping" in what


def _problem(error: dict[str, Any]) -> str:
    """Return one sentence on one error of pydantic: key, value, what is allowed."""
    path = [str(part) for part in error["loc"] if not isinstance(part, int)]
    section = _section(path[:-1])
    key, value = ".".join(path), _shown(error["input"])
    what = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key (its value is {value}){_nearest(path[-1], list(section))}"
    if error["type"] == "value_error":
        return f"{key}: {what}"
    may_be = {p: allowed(kind, entry) for p, kind, entry in all_leaves()}
    # A union's loc ends with the name of the member that did not fit.
    while path and ".".join(path) not in may_be:
        path.pop()
    hint = f" (allowed: {may_be['.'.join(path)]})" if path else ""
    if error["type"] == "string_type":  # a name of digits, or one that YAML takes for a truth
        hint += "; write it in quotes"
    return f"{'.'.join(path) or key}: {value} is not allowed: {what}{hint}"


def _section(path: list[str]) -> Mapping[str, Any]:
    """Return {name: type} of what may stand there."""
    known: Mapping[str, Any] = sections()
    for name in path:
        kind = known.get(name)
        known = types_of(kind) if isinstance(kind, type) and is_dataclass(kind) else {}
    return known


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(known)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"  # noqa: PLR2004 - a terminal's width


def main() -> int:
    """Read the order from standard input; write the settings, or the list of problems, pickled."""
    text = sys.stdin.read()
    if not text:  # who wanted to ask was ended before it could
        return 0
    order = json.loads(text)
    result: Settings | list[str]
    try:
        result = read(None if order["file"] is None else Path(order["file"]), order["flags"])
    except ConfigError as exc:
        result = exc.problems
    try:
        sys.stdout.buffer.write(pickle.dumps(result))
        sys.stdout.flush()
    except BrokenPipeError:  # or since then
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
