"""What the agent's own process loads: its memory has a budget, and it parses no packet."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["vedette.agent", "vedette.cli", "vedette.settings"])
def test_the_agent_loads_neither_scapy_nor_numpy_nor_pydantic(module: str) -> None:
    """50 MiB of packet parsers and 10 of validators live in processes of their own."""
    code = (
        f"import sys, {module};"
        "print(sorted({'scapy', 'numpy', 'pydantic', 'pydantic_core'} & set(sys.modules)))"
    )
    done = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": "agent"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "[]\n"
