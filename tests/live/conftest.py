"""What the live tests stand on: root, real programs, hosts of their own, a running agent."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import netns, services
from tests.live.netns import Namespace
from tests.live.running import FIGURES, START_SECONDS, VEDETTE, Agent
from tests.live.stories import Running

_PROGRAMS = (
    *(
        "dnsmasq",
        "ip",
        "memcached",
        "mount",
        "nginx",
        "nmap",
        "openssl",
        "promtool",
        "redis-server",
    ),
    *("setpriv", "ss", "ssh-keygen", "sshd", "tcc", "unshare", "vsftpd"),
    *("amtool", "prometheus", "prometheus-alertmanager", "prometheus-pushgateway"),
    "victoria-metrics",
)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand over what was measured, if this is one of several processes."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["measured"] = (FIGURES, START_SECONDS)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take it over from a process that has ended."""
    figures, start_seconds = getattr(node, "workeroutput", {}).get("measured", ({}, []))
    FIGURES.update(figures)
    START_SECONDS.extend(start_seconds)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured on the way."""
    if START_SECONDS:
        FIGURES["start to first /metrics"] = (
            f"{min(START_SECONDS):.2f} s, the fastest of {len(START_SECONDS)}"
        )
    if FIGURES:
        terminalreporter.section("measured by the live tests")
        for what, figure in FIGURES.items():
            terminalreporter.line(f"{what}: {figure}")


@pytest.fixture(scope="session", autouse=True)
def able() -> Iterator[None]:
    """Fail, in words, where these tests cannot run; clean up after those that were killed."""
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
    if os.geteuid() != 0:
        pytest.fail("the live tests need root, for network namespaces (./dev test asks sudo)")
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing or not Path(VEDETTE).exists():
        pytest.fail(
            f"the live tests need {', '.join(missing or [VEDETTE])}: ./dev test installs that"
        )
    netns.remove_leftovers()
    yield
    netns.remove_leftovers()


@pytest.fixture(scope="module", autouse=True)
def stories(request: pytest.FixtureRequest) -> Iterator[Running]:
    """What takes its time in a module starts with it, if it is wanted."""
    items = [
        item
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module
    ]
    running = Running(request.module.__name__, {item.originalname for item in items})
    yield running
    running.end()


@pytest.fixture(scope="session")
def field() -> Iterator[tuple[Namespace, Namespace, Path]]:
    """A host with twenty ports of real services, its peer, and the host's directory."""
    with netns.two_hosts("field") as (host, peer), netns.directory("field") as where:
        services.start_all(host, where)
        yield host, peer, where


@pytest.fixture(scope="session")
def started(field: tuple[Namespace, Namespace, Path]) -> Iterator[Agent]:
    """The agent on that host, its defaults but for a shorter window of capture."""
    host, _, where = field
    running = Agent(host, where / "state", "--sniff.interval-seconds", "1")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def agent(started: Agent) -> Agent:
    """The same, when its first scan is over."""
    started.wait_for_success("scan", 60)
    return started


@pytest.fixture(scope="session")
def yard() -> Iterator[tuple[Namespace, Namespace, Path]]:
    """A small host, scanned in seconds: sshd on 22, vsftpd on 21. Agents come and go there."""
    with netns.two_hosts("yard") as (host, peer), netns.directory("yard") as where:
        services.start_sshd(host, where)
        services.start_vsftpd(host, where)
        services.wait_until_open(host, {21, 22})
        yield host, peer, where
