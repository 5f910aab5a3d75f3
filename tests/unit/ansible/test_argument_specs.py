"""The roles' variables: what can be set is declared, and what is declared has its default."""

from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = Path(__file__).parents[3] / "ansible" / "roles"


def _read(role: str, path: str) -> dict[str, Any]:
    """Return a YAML file of a role; {} where it has none."""
    file = ROLES / role / path
    return (yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file.exists() else {}


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir() if path.is_dir()))
def test_what_is_declared_and_what_has_a_default_are_the_same(role: str) -> None:
    """An undeclared variable is not checked, and an unset one fails in the middle of a role."""
    options = _read(role, "meta/argument_specs.yml")["argument_specs"]["main"].get("options", {})
    declared = {name: option.get("default") for name, option in options.items()}
    required = {name for name, option in options.items() if option.get("required")}

    assert _read(role, "defaults/main.yml") == {
        name: default for name, default in declared.items() if name not in required
    }
    assert all(option.get("description") for option in options.values())
