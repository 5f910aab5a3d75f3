"""bounded_yaml.py: what PyYAML makes of a text, unless its aliases make too much of it."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vedette import bounded_yaml, config
from vedette.errors import ConfigError
from vedette.publish import web_config


def load(text: str) -> Any:
    return yaml.load(text, bounded_yaml.Loader)  # noqa: S506 - what is under test


def bomb(innermost: str, line: str) -> str:
    """Return a few hundred bytes that come to a billion values. line: with %s for the aliases."""
    lines = [f"a{n}: &a{n} {line % ', '.join([f'*a{n - 1}'] * 9)}" for n in range(1, 10)]
    return "\n".join([f"a0: &a0 {innermost}", *lines, ""])


BOMBS = [bomb("[x]", "[%s]"), bomb("{x: y}", "{<<: [%s]}"), bomb("x" * 100, "{k: [%s]}")]


def test_aliases_and_merges_are_what_they_are_to_pyyaml() -> None:
    """People use them so as not to write a list of networks twice."""
    text = "a: &a [192.0.2.0/24]\nb: *a\nc: &c {x: 1}\nd: {<<: *c, y: 2}\n"

    assert load(text) == yaml.safe_load(text)


@given(st.text(st.sampled_from("ab:{}[]!&*<,-'\" \n\t1.")))
def test_any_text_is_what_it_is_to_pyyaml_or_refused(text: str) -> None:
    """Nothing but the bound is new."""
    with suppress(yaml.YAMLError, ValueError, TypeError):
        loaded = load(text)
        assert repr(loaded) == repr(yaml.safe_load(text))


@pytest.mark.parametrize("text", BOMBS)
@pytest.mark.timeout(10)
def test_what_unfolds_without_end_is_refused_at_once(tmp_path: Path, text: str) -> None:
    """The agent reads a web configuration as soon as it changes, while scrapes wait."""
    (tmp_path / "file").write_text(text)
    expected = "with its aliases written out, it is longer than 1024 KiB"

    with pytest.raises(ConfigError, match=expected):
        web_config.read(tmp_path / "file")
    with pytest.raises(ConfigError, match=expected):
        config.read(tmp_path / "file", {})


@pytest.mark.parametrize("text", ["&a [*a]", "&a {b: *a}", "&a {<<: *a}", "- &a {? *a : b}"])
def test_a_value_within_itself_is_refused(text: str) -> None:
    """It has no end however it is read."""
    with pytest.raises(yaml.YAMLError, match="an alias stands within its own value"):
        load(text)
