"""option.py: options as dataclass fields, and what is said of them."""

from dataclasses import dataclass, fields
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Literal

import pytest

from vedette.option import allowed, leaves, setting, types_of


@dataclass(frozen=True, kw_only=True)
class Inner:
    deep: int = setting(1, "A deep one.")


@dataclass(frozen=True, kw_only=True)
class Section:
    flag: bool = setting(default=True, text="A switch.")
    whole: int = setting(5, "A number.", ge=1, le=9)
    real: float = setting(0.5, "Another.", gt=0)
    upper: float = setting(0.5, "Another.", lt=1)
    text: str = setting("", "Words.")
    path: Path = setting(Path("/x"), "Where.")
    either: Literal["text", "json"] = setting("text", "One of two.")
    address: IPv4Address | IPv6Address = setting(IPv4Address(0), "Who.")
    networks: tuple[IPv4Network | IPv6Network, ...] = setting((), "Which.")
    ports: tuple[str, ...] | None = setting(None, "Or nothing.")
    inner: Inner = setting(default_factory=Inner, text="A section of its own.")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("flag", "true or false"),
        ("whole", "whole number, at least 1, at most 9"),
        ("real", "number, above 0"),
        ("upper", "number, below 1"),
        ("text", "text"),
        ("path", "path"),
        ("either", "text or json"),
        ("address", "IPv4 address or IPv6 address"),
        ("networks", "list of IPv4 network or IPv6 network"),
        ("ports", "list of text"),
    ],
)
def test_what_is_allowed_in_words(name: str, words: str) -> None:
    """They stand in refusals, in --help and in the reference: for people, not for Python."""
    entry = next(entry for entry in fields(Section) if entry.name == name)

    assert allowed(types_of(Section)[name], entry) == words


def test_leaves_are_all_options_with_their_paths() -> None:
    """Sections are walked into; a path is what a flag and a variable are made of."""
    paths = [path for path, _, _ in leaves(Section, "section.")]

    assert paths == [
        *(f"section.{entry.name}" for entry in fields(Section) if entry.name != "inner"),
        "section.inner.deep",
    ]


def test_defaults_are_those_of_the_dataclass() -> None:
    """An options object can be made without any configuration at all."""
    section = Section()

    assert (section.whole, section.inner, section.ports) == (5, Inner(), None)
