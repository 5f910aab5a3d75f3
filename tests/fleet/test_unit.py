"""systemd/vedette.service on a Debian machine, with systemd as process 1 and no other network."""

import json
import os
import re
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.installed import drop_in, install
from tests.fleet.machine import Fleet, Machine, wait_until
from tests.live.running import Metrics

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(180, func_only=True)]

CAP_NET_RAW = 1 << 13
# To be set by who knows that the host has no memory controller to give to a machine.
WITHOUT_CEILINGS = "VEDETTE_FLEET_WITHOUT_CEILINGS"
# Grows to 600 MiB, half as much again as the unit may have.
HOG = "kept = [b'x' * (1 << 20) for _ in range(600)]\nprint('survived')\n"
PROJECT = Path(__file__).parents[2]


def configuration(peer: str, more: str = "") -> str:
    """Everything that needs raw sockets is on: SYN and UDP scans, fingerprints, capture."""
    return f"""
publish: {{expose: {{address: 0.0.0.0}}}}
scan: {{networks: [{peer}/32], tcp_ports: 1-10000, udp: true, udp_ports: "53,123",
  splay_seconds: 0}}
sniff: {{interval_seconds: 1}}
{more}"""


@pytest.fixture(scope="module")
def peer(fleet: Fleet) -> Machine:
    """Another host, with an sshd."""
    return fleet.machine()


@pytest.fixture(scope="module")
def machine(fleet: Fleet, peer: Machine, figures: dict[str, str]) -> Machine:
    """A host with the agent installed, configured and started."""
    booted = fleet.machine()
    figures["a machine, from nothing to running"] = f"{booted.boot_seconds:.1f} s"
    started = time.monotonic()
    install(booted, configuration(peer.address))
    figures["the agent's installation from wheels"] = f"{time.monotonic() - started:.1f} s"
    started = time.monotonic()
    booted.exec("systemctl", "start", "vedette")
    figures["systemctl start to READY"] = f"{time.monotonic() - started:.1f} s"
    return booted


@pytest.fixture(autouse=True)
def well(machine: Machine, peer: Machine) -> Iterator[None]:
    """Each test leaves the unit as it found it: no drop-in, the good configuration, active."""
    yield
    machine.exec("rm", "-rf", "/etc/systemd/system/vedette.service.d")
    good = configuration(peer.address)
    dirty = machine.path("/etc/vedette/config.yaml").read_text() != good
    machine.write("/etc/vedette/config.yaml", good)
    changed = properties(machine, "NeedDaemonReload", "ActiveState")
    if dirty or changed != {"NeedDaemonReload": "no", "ActiveState": "active"}:
        machine.exec("systemctl", "daemon-reload")
        machine.exec("systemctl", "restart", "vedette")


def properties(machine: Machine, *names: str) -> dict[str, str]:
    lines = machine.exec("systemctl", "show", "vedette", f"--property={','.join(names)}")
    return dict(line.partition("=")[::2] for line in lines.splitlines())


def show(machine: Machine, name: str) -> str:
    return properties(machine, name)[name]


def main_pid(machine: Machine) -> int:
    return int(show(machine, "MainPID"))


def pids(machine: Machine) -> set[int]:
    """Return all processes of the unit."""
    group = show(machine, "ControlGroup")
    # Asked inside: these numbers are those of the reader's own process namespace.
    _, text = machine.try_exec(
        "sh",
        "-c",
        f"cat /sys/fs/cgroup/systemd{group}/cgroup.procs || cat /sys/fs/cgroup{group}/cgroup.procs",
    )
    return {int(pid) for pid in text.split() if pid.isdigit()} if group else set()


def status_of(machine: Machine, pid: int) -> dict[str, str]:
    """Return /proc/PID/status."""
    lines = machine.exec("cat", f"/proc/{pid}/status").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def metrics(machine: Machine) -> Metrics:
    """Scrape it from outside, as Prometheus would."""
    with urllib.request.urlopen(f"http://{machine.address}:8000/metrics", timeout=5) as answer:
        return Metrics(answer.read().decode())


def journal(machine: Machine, *words: str) -> list[dict[str, Any]]:
    lines = machine.exec("journalctl", "-u", "vedette", "-o", "json", "--no-pager", *words)
    return [json.loads(line) for line in lines.splitlines()]


def messages(machine: Machine) -> str:
    return "\n".join(str(entry["MESSAGE"]) for entry in journal(machine))


def nmaps(machine: Machine) -> list[str]:
    """Return the audit lines of the process that runs now."""
    own = journal(machine, f"_PID={main_pid(machine)}")
    return [str(e["MESSAGE"]) for e in own if str(e["MESSAGE"]).startswith("nmap argv=")]


def wait_for_jobs(machine: Machine) -> Metrics:
    """Wait until every job has run well; return the metrics."""

    def all_good() -> bool:
        found = metrics(machine)
        name = "vedette_job_last_success_timestamp_seconds"
        return len(found.labels(name)) == 4 and not found.failures()

    wait_until("all jobs", all_good, 90)
    return metrics(machine)


def test_it_is_active_only_when_it_can_be_scraped(machine: Machine) -> None:
    """`systemctl start` returns with READY=1: after configuration, socket and the first look."""
    machine.exec("systemctl", "restart", "vedette")
    found = metrics(machine)

    assert found.value("vedette_memory_size_bytes") > 0
    assert properties(machine, "ActiveState", "Type", "NRestarts") == {
        "Type": "notify", "ActiveState": "active", "NRestarts": "0",
    }  # fmt: skip


def test_no_process_of_it_is_root_and_cap_net_raw_is_all_it_has(machine: Machine) -> None:
    """Agent, capture and nmap alike; nor can they get more."""
    machine.exec("systemctl", "restart", "vedette")
    wait_until("capture and nmap", lambda: len(pids(machine)) >= 3, 20)
    user = machine.exec("id", "-u", "vedette").strip()
    seen = []
    for pid in pids(machine):
        code, text = machine.try_exec("cat", f"/proc/{pid}/status")
        if code == 0:  # it may have ended meanwhile
            fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
            seen.append(fields["Name"])
            assert fields["Uid"].split() == [user] * 4
            assert {int(fields[f"Cap{kind}"], 16) for kind in ("Prm", "Eff", "Bnd", "Amb")} == {
                CAP_NET_RAW
            }
            assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")

    assert "vedette" in seen
    assert len(seen) >= 2


def test_syn_udp_and_os_scans_and_the_capture_work_inside(machine: Machine, peer: Machine) -> None:
    """The sandbox costs nothing that the agent is for."""
    machine.exec("systemctl", "restart", "vedette")
    found = wait_for_jobs(machine)
    audit = "\n".join(nmaps(machine))
    user = machine.exec("id", "-u", "vedette").strip()

    assert found.value("vedette_capability", capability="raw_sockets") == 1
    assert found.value("vedette_capability", capability="capture") == 1
    assert found.failures() == {}
    for option in (" -sS ", " -sU ", " -O "):
        lines = [line for line in nmaps(machine) if option in line]
        assert lines, f"no nmap with {option}: {audit}"
        assert all("outcome=ok" in line and f"uid={user} " in line for line in lines), audit
    ports = {int(x["port"]) for x in found.labels("vedette_open_port_info", address=peer.address)}
    assert ports == {22}
    assert {"22", "8000"} <= {
        x["port"] for x in found.labels("vedette_open_port_info", address=machine.address)
    }
    assert found.labels("vedette_os_info", address=peer.address, family="Linux", source="active")
    assert found.value("vedette_captured_packets_total", interface="host0", protocol="tcp") > 100


def test_the_inventory_runs_by_the_clock_and_the_agent_hears_it(
    machine: Machine, figures: dict[str, str]
) -> None:
    """Root's eyes in a sandbox without network: the file is there, whole, for the agent alone."""
    file = "/run/vedette/listeners.json"
    machine.exec("systemctl", "start", "vedette-inventory.timer")

    def written() -> str | None:
        status, text = machine.try_exec("runuser", "-u", "vedette", "--", "cat", file)
        return text if status == 0 else None

    document = json.loads(wait_until("the list of listeners", written, 60))
    assert document["distribution"] == "debian"
    (own,) = [row for row in document["listeners"] if row["port"] == 8000]
    assert (own["executable"], own["package"]) == ("/opt/vedette/releases/test/bin/vedette", "")
    assert machine.exec("stat", "-c", "%U:%G %a", file).strip() == "root:vedette 640"
    assert machine.try_exec("runuser", "-u", "nobody", "--", "cat", file)[0] != 0
    wait_until(
        "the agent's word for it",
        lambda: metrics(machine).value("vedette_capability", capability="packages") == 1,
        60,
    )
    seconds = machine.exec(
        "systemctl", "show", "vedette-inventory", "--property=CPUUsageNSec", "--value"
    ).strip()
    if seconds.isdigit():
        figures["the inventory, processor time"] = f"{int(seconds) / 1e9:.2f} s"
    machine.exec("systemctl", "restart", "vedette")
    assert written(), "the agent's restart took it away"


def test_the_status_is_a_line_for_people(machine: Machine) -> None:
    """What `systemctl status` shows."""
    wait_for_jobs(machine)
    line = wait_until(
        "the status",
        lambda: re.fullmatch(r"4/4 jobs ok, next scan \d\d:\d\d", show(machine, "StatusText")),
    )

    assert line


def test_the_journal_has_structured_lines_with_priorities(machine: Machine) -> None:
    """Errors can be asked for (`journalctl -p err`), values found."""
    wait_for_jobs(machine)
    own = [e for e in journal(machine) if e.get("SYSLOG_IDENTIFIER") == "vedette"]
    (started, *_) = [e for e in own if str(e["MESSAGE"]).startswith("vedette watches this host")]

    assert started["PRIORITY"] == "6"
    assert "page=http://0.0.0.0:8000/ " in started["MESSAGE"]
    assert not any(str(e["MESSAGE"]).startswith("<") for e in own)


def test_a_reload_with_a_good_file_counts_and_with_a_bad_one_does_not(
    machine: Machine, peer: Machine
) -> None:
    """The same process all the time."""
    before = main_pid(machine)
    good = configuration(peer.address, "stats: {interval_seconds: 2}\n")
    machine.write("/etc/vedette/config.yaml", good)
    machine.exec("systemctl", "reload", "vedette")

    def interval() -> float:
        return metrics(machine).value("vedette_job_interval_seconds", job_name="stats")

    wait_until("the new interval", lambda: interval() == 2, 15)
    assert metrics(machine).value("vedette_config_last_reload_successful") == 1

    machine.write("/etc/vedette/config.yaml", good + "scam: {}\n")
    machine.exec("systemctl", "reload", "vedette")

    def refused() -> bool:
        return metrics(machine).value("vedette_config_last_reload_successful") == 0

    wait_until("the refusal", refused, 15)
    assert interval() == 2
    wait_until("the status", lambda: "refused" in show(machine, "StatusText"), 5)
    (error, *_) = journal(machine, "-p", "err")
    assert "scam: unknown key" in error["MESSAGE"]
    assert properties(machine, "MainPID", "ActiveState") == {
        "MainPID": str(before), "ActiveState": "active",
    }  # fmt: skip


def test_a_frozen_agent_is_restarted_by_the_watchdog(
    machine: Machine, figures: dict[str, str]
) -> None:
    """And its stacks are in the journal: SIGABRT is the watchdog's signal."""
    drop_in(machine, "watchdog", "[Service]\nWatchdogSec=4\nRestartSec=100ms\n")
    machine.exec("systemctl", "restart", "vedette")
    frozen = main_pid(machine)
    time.sleep(8)
    assert main_pid(machine) == frozen  # a healthy agent feeds it in time

    machine.exec("kill", "-STOP", str(frozen))
    started = time.monotonic()
    wait_until("another process", lambda: main_pid(machine) not in (0, frozen), 30)
    wait_until("its answers", lambda: show(machine, "ActiveState") == "active", 20)
    figures["frozen to active again, WatchdogSec=4"] = f"{time.monotonic() - started:.1f} s"

    log = messages(machine)
    assert "Watchdog timeout" in log
    assert "Fatal Python error: Aborted" in log
    assert "in run" in log.split("Fatal Python error: Aborted")[-1]


def test_kill_9_leaves_no_orphan_and_it_comes_back(machine: Machine, peer: Machine) -> None:
    """Neither an nmap nor the capture survives it."""
    slow = configuration(peer.address).replace('"53,123"', "1-300")  # closed ones answer slowly
    machine.write("/etc/vedette/config.yaml", slow)
    drop_in(machine, "soon", "[Service]\nRestartSec=3\n")
    machine.exec("systemctl", "restart", "vedette")

    def busy() -> bool:
        lines = machine.exec("sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '")
        return "-sU" in lines and "vedette.capture" in lines

    wait_until("a UDP scan and the capture", busy, 60)
    killed, family = main_pid(machine), pids(machine)
    machine.exec("kill", "-9", str(killed))
    wait_until(
        "the end of all of them",
        lambda: not any(machine.path(f"/proc/{pid}/exe").is_symlink() for pid in family),
        3,
    )
    wait_until("another process", lambda: main_pid(machine) not in (0, killed), 20)
    wait_until("its answers", lambda: show(machine, "ActiveState") == "active", 20)

    assert len(family) >= 3
    assert properties(machine, "NRestarts")["NRestarts"] != "0"


def test_a_refused_configuration_at_start_is_not_tried_again(machine: Machine) -> None:
    """Exit code 78: nobody gains from a loop."""
    machine.write("/etc/vedette/config.yaml", "scam: {}\n")
    drop_in(machine, "soon", "[Service]\nRestartSec=100ms\n")
    code, _ = machine.try_exec("systemctl", "restart", "vedette")
    time.sleep(2)

    assert code != 0
    assert properties(machine, "ActiveState", "ExecMainStatus", "NRestarts") == {
        "ActiveState": "failed", "ExecMainStatus": "78", "NRestarts": "0",
    }  # fmt: skip
    assert "scam: unknown key" in messages(machine)


def ceiling(machine: Machine) -> tuple[Path, str, str]:
    """Return the unit's group, and its files for the most memory it had and may have.

    Fails where nobody would enforce a ceiling; never passes over that in silence.
    """
    first = Path("/sys/fs/cgroup/memory/system.slice/vedette.service")
    second = Path("/sys/fs/cgroup/system.slice/vedette.service")
    if machine.path(str(first)).exists():
        return first, "memory.max_usage_in_bytes", "memory.limit_in_bytes"
    if machine.path(str(second / "memory.max")).exists():
        return second, "memory.peak", "memory.max"
    if os.environ.get(WITHOUT_CEILINGS):
        pytest.skip(f"{WITHOUT_CEILINGS} is set: that the memory ceiling is enforced is not shown")
    pytest.fail(
        "this host cannot hand the memory controller to a machine (a container with read-only"
        " cgroups?), so nobody would enforce MemoryMax= here. Run this on a host that can, or set"
        f" {WITHOUT_CEILINGS}=1 to leave it out knowingly"
    )


def test_the_memory_ceiling_is_enforced(machine: Machine, figures: dict[str, str]) -> None:
    """By the kernel: what grows in the unit is killed alone, and the agent goes on."""
    assert show(machine, "MemoryMax") == str(400 << 20)
    group, peak, limit = ceiling(machine)

    def value(name: str) -> int:
        return int(machine.path(str(group / name)).read_text())

    assert value(limit) == 400 << 20
    wait_for_jobs(machine)
    before = value(peak)
    figures["memory of agent, capture and nmaps at most, page cache included"] = (
        f"{before / (1 << 20):.0f} MiB of 400"
    )
    agent = main_pid(machine)

    # A stranger stands for an nmap that leaks: in the unit's group, and as ready to be killed as
    # all that the unit starts.
    machine.write("/root/hog.py", HOG)
    enter = f"echo $$ >{group}/cgroup.procs; echo 500 >/proc/$$/oom_score_adj"
    code, said = machine.try_exec("sh", "-ec", f"{enter}; exec python3 /root/hog.py")

    assert (code, said) == (-signal.SIGKILL, "")
    assert before <= value(peak) <= 400 << 20
    assert properties(machine, "MainPID", "ActiveState") == {
        "MainPID": str(agent), "ActiveState": "active",
    }  # fmt: skip
    assert metrics(machine).value("vedette_memory_size_bytes") > 0


def test_an_agent_that_grows_is_killed_and_the_host_is_not_hurt(machine: Machine) -> None:
    """The unit as it is, with one process that only grows in the agent's place.

    Not the agent under a lower ceiling: there the kernel may as well kill the child that reads its
    configuration, whose end the agent survives long enough to leave with an exit code.
    """
    ceiling(machine)
    machine.write("/opt/vedette/hog.py", HOG)
    drop_in(
        machine, "hog",
        "[Service]\nExecStart=\nExecStart=/usr/bin/python3 /opt/vedette/hog.py\nRestart=no\n",
    )  # fmt: skip
    code, _ = machine.try_exec("systemctl", "restart", "vedette")

    assert code != 0
    assert show(machine, "ActiveState") == "failed"
    # systemd learns of the kernel's reason from cgroups of version 2 only.
    assert show(machine, "Result") in ("oom-kill", "signal")
    assert show(machine, "ExecMainStatus") == str(int(signal.SIGKILL))
    assert machine.exec("systemctl", "is-active", "ssh").strip() == "active"


def test_without_raw_sockets_it_scans_by_connecting(machine: Machine, peer: Machine) -> None:
    """The drop-in for hosts where nobody may have them: the rest works."""
    example = PROJECT / "systemd/vedette.service.d/no-raw-sockets.conf.example"
    drop_in(machine, "no-raw-sockets", example.read_text())
    machine.exec("systemctl", "restart", "vedette")

    def scanned() -> bool:
        return bool(metrics(machine).labels("vedette_open_port_info", address=peer.address))

    wait_until("a scan", scanned, 60)
    found = metrics(machine)
    assert found.value("vedette_capability", capability="raw_sockets") == 0
    assert ("sniff", "not_permitted") in found.failures()
    assert any(" -sT " in line and "outcome=ok" in line for line in nmaps(machine))
    fields = status_of(machine, main_pid(machine))
    assert {int(fields[f"Cap{kind}"], 16) for kind in ("Prm", "Eff", "Bnd", "Amb")} == {0}


def test_secrets_come_as_credentials(machine: Machine) -> None:
    """Root's file, a copy that only the agent can read, nothing in its environment."""
    machine.write("/etc/vedette/credentials/push_password", "s3cr3t-canary\n")
    machine.exec("chmod", "-R", "go=", "/etc/vedette/credentials")
    example = PROJECT / "systemd/vedette.service.d/credentials.conf.example"
    drop_in(machine, "credentials", example.read_text())
    machine.exec("systemctl", "restart", "vedette")
    pid = main_pid(machine)
    environment = machine.exec("cat", f"/proc/{pid}/environ").split("\0")
    (directory,) = [x.partition("=")[2] for x in environment if x.startswith("CREDENTIALS_")]
    inside = ("nsenter", "-t", str(pid), "-m", "setpriv", "--reuid=vedette", "--clear-groups")

    assert "canary" in machine.exec(*inside, "cat", f"{directory}/push_password")
    assert machine.try_exec("setpriv", "--reuid=nobody", "--clear-groups", "cat",
                            f"{directory}/push_password")[0] != 0  # fmt: skip
    assert "canary" not in "\n".join(environment)
    assert "canary" not in machine.exec("systemctl", "show", "vedette")


def test_a_stop_is_quick_and_leaves_nothing(machine: Machine, figures: dict[str, str]) -> None:
    """In the middle of a scan as well."""
    machine.exec("systemctl", "restart", "vedette")
    wait_until("children", lambda: len(pids(machine)) >= 3, 20)
    family = pids(machine)
    started = time.monotonic()
    machine.exec("systemctl", "stop", "vedette")
    took = time.monotonic() - started
    figures["systemctl stop during a scan"] = f"{took:.1f} s"

    assert took < 5
    assert not any(machine.path(f"/proc/{pid}/exe").is_symlink() for pid in family)
    assert properties(machine, "ActiveState", "Result") == {
        "ActiveState": "inactive", "Result": "success",
    }  # fmt: skip
