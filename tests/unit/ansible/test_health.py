"""roles/vedette_agent/library/vedette_health.py: how patient it is."""

import importlib.util
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest

from tests.unit.ansible.plugins import ROLES


@pytest.fixture
def health(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, on a clock that only its own pauses move."""
    file = ROLES / "vedette_agent/library/vedette_health.py"
    spec = importlib.util.spec_from_file_location("vedette_health", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    clock = SimpleNamespace(now=0.0)

    def sleep(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    return module


def _given_up_after(health: ModuleType, says: Callable[[float], Exception]) -> float:
    def look() -> None:
        raise says(health.time.monotonic())

    with pytest.raises(health.Ill):
        health._patiently(look, 15)  # noqa: SLF001 - what is tested
    return float(health.time.monotonic())


def test_what_may_get_better_has_all_the_time_that_is_given(health: ModuleType) -> None:
    """A start takes as long as the host is slow."""
    assert _given_up_after(health, lambda _: health.Ill("starting")) == pytest.approx(15, abs=0.5)


def test_what_will_not_get_better_is_given_up_soon(health: ModuleType) -> None:
    """It ended as soon as it was started, or answers in another version: the canary waits less."""
    assert _given_up_after(health, lambda _: health.Hopeless("ended")) == pytest.approx(3, abs=0.5)


def test_the_process_before_does_not_shorten_the_time(health: ModuleType) -> None:
    """It still answers while it ends; then the new one may take its time."""

    def says(now: float) -> Exception:
        failed: Exception = (health.Hopeless if now < 2 else health.Ill)("before, then starting")
        return failed

    assert _given_up_after(health, says) == pytest.approx(15, abs=0.5)
