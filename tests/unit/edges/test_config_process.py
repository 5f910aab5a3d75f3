"""edges/config_process.py: the child that reads the configuration, when nobody waits for it."""

import subprocess
import sys

import pytest

from vedette.edges.config_process import ConfigProcess


@pytest.mark.parametrize("order", ["", '{"file": null, "flags": {}}'])
def test_a_child_whose_parent_is_gone_ends_without_a_word(order: str) -> None:
    """An agent that is stopped as it starts must not leave a traceback in the journal."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "vedette.config"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        child.stdin.write(order)
        child.stdin.close()
        complaint = child.stderr.read()

    assert (child.returncode, complaint) == (0, "")


def test_it_answers_whoever_waits() -> None:
    assert ConfigProcess().read(None, {"log_level": "loud"}) == [
        (
            "log_level: 'loud' is not allowed: Input should be 'debug', 'info', 'warning' or"
            " 'error' (allowed: debug or info or warning or error)"
        )
    ]
