"""The jobs. A job is found by its file name: adding one is adding a file here."""

import pkgutil
from functools import cache
from importlib import import_module
from typing import Any

from vedette.job import Job


@cache
def found() -> dict[str, Job[Any, Any]]:
    """Return {name: job} of all files in this folder, sorted by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: import_module(f"{__name__}.{name}").JOB for name in names}
