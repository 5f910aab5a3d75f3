"""What the fleet tests stand on: root, and the programs that make machines."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fleet import machine
from tests.fleet.machine import Fleet

_PROGRAMS = ("ip", "mmdebstrap", "mount", "nsenter", "systemd-nspawn")
# {what: how much}: measured on the way, printed after the tests, asserted nowhere.
FIGURES: dict[str, str] = {}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand over what was measured, where this is one of several processes."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["figures"] = FIGURES


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a process has measured. One that was killed has told nothing."""
    FIGURES.update(getattr(node, "workeroutput", {}).get("figures", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured."""
    if FIGURES:
        terminalreporter.section("measured by the fleet tests")
        for what, figure in FIGURES.items():
            terminalreporter.line(f"{what}: {figure}")


@pytest.fixture(scope="session")
def figures() -> dict[str, str]:
    return FIGURES


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """A bridge for machines. Fails, in words, where there can be none."""
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
    if os.geteuid() != 0:
        pytest.fail("the fleet tests need root, to boot machines (./dev fleet asks sudo)")
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.fail(f"the fleet tests need {', '.join(missing)}: ./dev fleet installs that")
    with machine.fleet() as made:
        yield made
