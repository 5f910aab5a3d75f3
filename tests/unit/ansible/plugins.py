"""The roles' filters, loaded from where ansible finds them."""

import importlib.util
from pathlib import Path
from types import ModuleType

PROJECT = Path(__file__).parents[3]
ROLES = PROJECT / "ansible" / "roles"


def filters(role: str, name: str) -> ModuleType:
    """Return the module of a role's filters."""
    file = ROLES / role / "filter_plugins" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
