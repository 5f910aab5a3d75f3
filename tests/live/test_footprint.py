"""What the agent costs the host that it watches, with twenty ports open there."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.live.running import FIGURES, VEDETTE, Agent

pytestmark = pytest.mark.live

IMPORTS = """
import sys
import vedette.cli, vedette.agent, vedette.publish.page
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


def test_the_main_process_stays_within_45_mib(agent: Agent) -> None:
    """After a whole scan, a fingerprint, some windows of capture and a page view."""
    agent.wait_for_success("fingerprint", 30)
    assert agent.get("/").status == 200
    assert agent.get("/inventory.json").status == 200
    assert agent.get("/metrics").status == 200
    resident = agent.status("VmRSS")

    FIGURES["resident memory of the main process"] = f"{resident / 1024:.1f} MiB"
    assert resident <= 45 * 1024


def test_neither_scapy_nor_numpy_nor_pydantic_is_loaded(agent: Agent) -> None:
    """They live in children; scapy's licence does not go with python-nmap's either."""
    done = subprocess.run(  # noqa: S603 - our own Python
        [sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())

    assert loaded & {"scapy", "numpy", "pydantic", "pydantic_settings"} == set()
    assert {"nmap", "tornado", "psutil", "jinja2"} <= loaded
    maps = Path(f"/proc/{agent.process.pid}/maps").read_text()
    assert "numpy" not in maps
    assert "pydantic" not in maps


def test_an_idle_agent_costs_next_to_nothing(agent: Agent) -> None:
    """Less than 2 % of a core in a run of the tests; `./dev bench agent` measures it well."""
    agent.wait_for_success("fingerprint", 30)
    started, before = time.monotonic(), agent.cpu_seconds()
    time.sleep(6)
    ratio = (agent.cpu_seconds() - before) / (time.monotonic() - started)

    FIGURES["idle, with a window of capture each second"] = f"{ratio:.2%} of a core"
    assert ratio < 0.02


def test_its_processes_are_two(agent: Agent) -> None:
    """The agent and its capture; nmap only while it scans, the configuration's child never."""
    agent.wait_for_success("fingerprint", 30)
    lines = agent.family().values()

    assert len(lines) == 2
    assert sum(VEDETTE in line for line in lines) == 1
    assert sum("-m vedette.capture" in line for line in lines) == 1
