"""With less than everything: what can work does, and what is missing is said."""

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.live.netns import V4, V6, Namespace, directory
from tests.live.running import VEDETTE, Agent, vedette

pytestmark = pytest.mark.live

Yard = tuple[Namespace, Namespace, Path]

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs")
POWERLESS = (*NOBODY, "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all")
RAW_ONLY = (
    *NOBODY, "--inh-caps=-all,+net_raw", "--ambient-caps=-all,+net_raw",
    "--bounding-set=-all,+net_raw",
)  # fmt: skip
# Its own mount namespace, in which nmap is nothing that could be started.
WITHOUT_NMAP = (
    "sh", "-c", 'mount --bind /dev/null "$(readlink -f "$(command -v nmap)")" && exec "$@"', "sh",
)  # fmt: skip

QUICK = ("--scan.tcp-ports", "1-1000", "--scan.splay-seconds", "0", "--sniff.interval-seconds", "1")


def reachable(command: Sequence[str]) -> list[str]:
    """Return a command under which others than root may read this tree and its Python.

    Both may lie below /root, which is closed to others. Where that is so, and only for this
    command, an empty directory takes the place of the closed one, and in it lies what is needed.
    """
    needed = (Path(__file__).parents[2], Path(sys.base_prefix))
    steps = ["set -e", "mount -t tmpfs -o mode=755 tmpfs /run"]
    for number, path in enumerate(needed):
        steps += [f"mkdir /run/{number}", f"mount --bind {shlex.quote(str(path))} /run/{number}"]
    closed = {top for path in needed for top in _closed(path)[:1]}
    steps += [f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(str(path))}" for path in closed]
    for number, path in enumerate(needed):
        if _closed(path):
            target = shlex.quote(str(path))
            steps += [f"mkdir -p {target}", f"mount --bind /run/{number} {target}"]
    return ["sh", "-c", "\n".join([*steps, 'exec "$@"']), "sh", *command]


def _closed(path: Path) -> list[Path]:
    """Return the directories on the way that others may not enter."""
    return [parent for parent in reversed(path.parents) if not parent.stat().st_mode & 1]


@pytest.fixture(scope="module")
def agents(yard: Yard) -> Iterator[dict[str, Agent]]:
    """Three agents at once, side by side: powerless, with raw sockets alone, and without nmap."""
    host, _, _ = yard
    with ExitStack() as stack:
        running = {}
        for number, (name, before) in enumerate(
            {
                "powerless": reachable(POWERLESS),
                "raw only": reachable(RAW_ONLY),
                "without nmap": WITHOUT_NMAP,
            }.items()
        ):
            where = stack.enter_context(directory("privileges"))
            state = where / "state"
            state.mkdir()
            os.chown(state, 65534, 65534)
            port = 8010 + number
            running[name] = agent = Agent(host, state, *QUICK, port=port, before=before)
            stack.callback(agent.stop)
        yield running


def test_without_privileges_it_scans_by_connecting(agents: dict[str, Agent]) -> None:
    """The same ports and versions, only seen in another way."""
    agent = agents["powerless"]
    metrics = agent.wait_for_success("scan", 40)

    assert {(x["address"], x["port"]) for x in metrics.labels("vedette_open_port_info")} >= {
        (V4, "21"), (V4, "22"), (V6, "22"),
    }  # fmt: skip
    assert metrics.port(V4, 22)[1] == "OpenSSH"
    lines = [e["argv"] for e in agent.events("nmap")]
    assert all(" -sT " in line and "--unprivileged" in line for line in lines)
    assert {e["uid"] for e in agent.events("nmap")} == {65534}


def test_without_privileges_it_says_what_is_missing(agents: dict[str, Agent]) -> None:
    """On the page and as a metric; a job fails for ever, but the agent is ready."""
    agent = agents["powerless"]
    metrics = agent.wait_for_success("fingerprint", 40)

    assert metrics.all("vedette_capability") == {
        ("capture",): 0, ("history",): 1, ("nmap",): 1, ("packages",): 0, ("raw_sockets",): 0,
    }  # fmt: skip
    assert set(metrics.failures()) == {("sniff", "not_permitted")}
    assert agent.get("/-/ready").status == 200
    page = agent.get("/").text
    assert "What is missing here" in page
    assert "CAP_NET_RAW" in page
    warnings = [e for e in agent.events() if e["level"] == "warning"]
    assert [(e["job_name"], e["reason"]) for e in warnings] == [("sniff", "not_permitted")]
    systems = metrics.labels("vedette_os_info")
    assert {x["source"] for x in systems} == {"local"}


def test_with_raw_sockets_alone_it_does_all_but_name_programs(agents: dict[str, Agent]) -> None:
    """CAP_NET_RAW is all that the unit file grants."""
    agent = agents["raw only"]
    agent.wait_for_success("scan", 40)
    agent.wait_for_success("sniff", 20)
    metrics = agent.wait_for_success("fingerprint", 40)

    assert metrics.failures() == {}, agent.events("job failed")
    assert metrics.all("vedette_capability") == {
        ("capture",): 1, ("history",): 1, ("nmap",): 1, ("packages",): 0, ("raw_sockets",): 1,
    }  # fmt: skip
    lines = [e["argv"] for e in agent.events("nmap")]
    assert all(" -sS " in line and "--privileged" in line for line in lines)
    assert metrics.port(V4, 22)[1] == "OpenSSH"
    assert metrics.value("vedette_captured_packets_total", interface="lo") > 100
    (status,) = (
        line for line in Path(f"/proc/{agent.process.pid}/status").read_text().splitlines()
        if line.startswith("CapEff")
    )  # fmt: skip
    assert int(status.split()[1], 16) == 1 << 13  # capability(7): CAP_NET_RAW


def test_without_nmap_the_rest_works(agents: dict[str, Agent]) -> None:
    """The jobs that need it fail with the reason; the page says how to get it."""
    agent = agents["without nmap"]
    agent.wait_for_success("stats", 20)
    agent.wait_for_success("sniff", 20)
    metrics = agent.metrics()

    assert metrics.all("vedette_capability", capability="nmap") == {(): 0}
    assert metrics.failures()["scan", "tool_missing"] >= 1
    assert {reason for _, reason in metrics.failures()} == {"tool_missing"}
    assert "apt-get install nmap" in agent.get("/").text
    assert metrics.value("vedette_addresses") == 2
    assert metrics.value("vedette_captured_packets_total") > 0
    assert agent.get("/-/ready").status == 200


def test_selfcheck_counts_what_is_missing(yard: Yard, tmp_path: Path) -> None:
    """Exit code 1, with how to get it."""
    done = vedette(yard[0], tmp_path / "state", "selfcheck", before=WITHOUT_NMAP)

    assert done.returncode == 1
    assert "MISSING\tnmap\tnot installed" in done.stdout
    assert "ok\traw sockets" in done.stdout


def test_the_tree_can_be_reached(yard: Yard) -> None:
    """What the agents without privileges above rest on, also in a clone below /root."""
    done = yard[0].run([*reachable(POWERLESS), VEDETTE, "--version"])

    assert (done.returncode, done.stdout, done.stderr) == (0, "vedette 0.1.0\n", "")
