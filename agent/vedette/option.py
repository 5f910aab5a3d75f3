"""How an option is declared: a field of a frozen dataclass, with its text and its bounds.

The options of a job are plain dataclasses, so that the agent itself need not hold pydantic in
memory (10 MiB); `config.py` makes pydantic models of them, in a process of its own.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def setting(
    default: Any = MISSING,
    text: str = "",
    *,
    default_factory: Any = MISSING,
    parse: Callable[[str], Any] | None = None,
    **bounds: float,
) -> Any:
    """Declare one option. text: what it is, for the reference and for --help.

    parse: makes the value (each item, in a list) from a string; raises ValueError, in words.
    bounds: gt, ge, lt, le.
    """
    metadata = {"text": text, "parse": parse, **bounds}
    if default_factory is not MISSING:
        return field(default_factory=default_factory, metadata=metadata)
    return field(default=default, metadata=metadata)


@cache
def types_of(section: type) -> Mapping[str, Any]:
    """Return {option: its type} of a section."""
    return get_type_hints(section)


def leaves(section: type, path: str = "") -> Iterator[tuple[str, Any, Field[Any]]]:
    """Yield every option of a section and the sections in it: its path, its type, its field."""
    for entry in fields(section):
        kind = types_of(section)[entry.name]
        if isinstance(kind, type) and is_dataclass(kind):
            yield from leaves(kind, f"{path}{entry.name}.")
        else:
            yield f"{path}{entry.name}", kind, entry


def allowed(kind: Any, entry: Field[Any]) -> str:
    """Say what an option may be: "whole number, at least 60"."""
    limits = [f"{BOUNDS[b]} {entry.metadata[b]}" for b in BOUNDS if b in entry.metadata]
    return ", ".join([_type_name(kind), *limits])


_TYPE_NAMES = {
    "bool": "true or false",
    "int": "whole number",
    "float": "number",
    "str": "text",
    "Path": "path",
    "IPv4Address": "IPv4 address",
    "IPv6Address": "IPv6 address",
    "IPv4Network": "IPv4 network",
    "IPv6Network": "IPv6 network",
}


def _type_name(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return f"list of {_type_name(get_args(kind)[0])}"
    if get_origin(kind) is Mapping:
        return "mapping of names to texts"
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_type_name(part) for part in get_args(kind) if part is not NoneType)
    name: str = kind.__name__
    return _TYPE_NAMES.get(name, name)
