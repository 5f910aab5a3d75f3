"""What a killed run leaves behind is removed by whoever comes next."""

import subprocess
import sys

import pytest

from tests.live.netns import output

pytestmark = pytest.mark.live


def test_processes_that_begin_together_remove_it_together() -> None:
    """As those of ./dev test do: none of them fails because another was faster."""
    with subprocess.Popen(["true"]) as dead:  # noqa: S607 - whichever it is
        pass
    names = [f"vdt-{dead.pid}-left{number}" for number in range(4)]
    for name in names:
        output(["ip", "netns", "add", name])
    command = [sys.executable, "-c", "import tests.live.netns as n; n.remove_leftovers()"]

    together = [subprocess.Popen(command) for _ in range(3)]  # noqa: S603 - ourselves

    assert [one.wait(60) for one in together] == [0, 0, 0]
    assert not set(names) & set(output(["ip", "netns", "list"]).split())
