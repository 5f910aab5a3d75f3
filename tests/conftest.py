"""How `./dev test` spreads the tests over several processes at a time: by files."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]  # it has no types

# One host with many services, scanned once, is what all these look at.
SHARE_THE_FIELD = {
    f"tests/live/test_{what}.py"
    for what in ("exposition", "footprint", "golden", "http", "traffic", "truth")
}


# An example takes as long as the other processes let it.
settings.register_profile("beside others", deadline=None)
settings.load_profile("beside others")


class ByHost(LoadFileScheduling):  # type: ignore[misc]  # as above
    """Whole files, and together those that share a host."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "the field" if file in SHARE_THE_FIELD else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByHost:
    """Have it so instead of what `--dist` says."""
    return ByHost(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what waits, then with what takes long: the units fill the gaps."""
    root = Path(__file__).parent.parent
    for item in items:
        file = item.path.relative_to(root).as_posix()
        if "started" in getattr(item, "fixturenames", ()) and file not in SHARE_THE_FIELD:
            raise pytest.UsageError(f"{file} belongs to SHARE_THE_FIELD in tests/conftest.py")
    items.sort(
        key=lambda item: (
            item.get_closest_marker("live") is None,
            item.path.parent.name != "evaluation",
        )
    )
