"""What /metrics says of a host, compared with what its kernel and its services say."""

import json
import os
import re
from pathlib import Path

import psutil
import pytest

from tests.live.netns import V4, V6, Namespace, output
from tests.live.running import Agent, Metrics
from tests.live.services import EXPORTER, ODD

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def metrics(agent: Agent) -> Metrics:
    """One scrape after the first whole scan."""
    return agent.metrics()


def version_of(*argv: str) -> str:
    """Return the first thing like a version that a program prints, whatever its exit code."""
    line = output(["sh", "-c", f"{' '.join(argv)} 2>&1 </dev/null; true"])
    found = re.search(r"\d+\.\d+[\w.]*", line)
    assert found, line
    return found[0]


def package_version(package: str) -> str:
    """Return what Debian calls the installed version, without the epoch."""
    return output(["dpkg-query", "-W", "-f", "${Version}", package]).split(":")[-1]


def expected_ports(host: Namespace) -> set[tuple[str, str]]:
    """Return {(address, port)} of what `ss` shows; a wildcard stands for the real address."""
    real = {"0.0.0.0": V4, "::": V6}  # noqa: S104 - as ss prints it
    return {
        (real.get(address, address), str(port))
        for transport, address, port in host.listening()
        if transport == "tcp"
    }


def test_every_real_address_is_there_with_its_mac_and_no_other(
    field: tuple[Namespace, Namespace, Path], metrics: Metrics
) -> None:
    """Neither loopback nor link-local: those say nothing about how this host is reached."""
    (link,) = json.loads(field[0].ip("-j", "link", "show", "eth0"))
    same = {"interface": "eth0", "mac": link["address"]}

    assert metrics.labels("vedette_address_info") == [
        {"address": V4, "family": "ipv4", **same},
        {"address": V6, "family": "ipv6", **same},
    ]
    assert metrics.value("vedette_addresses") == 2


def test_every_listening_port_is_found_and_nothing_else(
    field: tuple[Namespace, Namespace, Path], metrics: Metrics
) -> None:
    """All 65,535 ports are swept, 9100 to 9107 too, which nmap passes over when left to itself."""
    found = {(x["address"], x["port"]) for x in metrics.labels("vedette_open_port_info")}

    assert found == expected_ports(field[0])
    assert (V4, str(EXPORTER)) in found
    assert ("127.0.0.1", "8000") in found  # the agent itself


def test_services_and_versions_are_those_of_the_programs(metrics: Metrics) -> None:
    """The programs are asked themselves: this machine may have other versions than the next."""
    nginx = ("nginx", version_of("nginx", "-v"))
    redis = ("redis", "Redis key-value store", version_of("redis-server", "--version"))

    assert metrics.port(V4, 80) == ("http", *nginx)
    assert metrics.port(V6, 80) == ("http", *nginx)
    assert metrics.port(V4, 443) == ("https", *nginx)
    assert metrics.port(V4, ODD) == ("http", *nginx)
    assert metrics.port(V4, EXPORTER) == ("http", *nginx)
    assert metrics.port(V4, 6379) == redis
    assert metrics.port("127.0.0.1", 6379) == redis
    memcached = version_of("memcached", "-V")
    assert metrics.port("127.0.0.1", 11211) == ("memcached", "Memcached", memcached)
    vsftpd = package_version("vsftpd").split("-")[0]  # it prints its own to standard input
    assert metrics.port(V4, 21) == ("ftp", "vsftpd", vsftpd)


def test_the_package_version_of_sshd_is_known(metrics: Metrics) -> None:
    """Its banner tells the Debian revision, which is what a security notice speaks of."""
    upstream, revision = package_version("openssh-server").split("-", 1)

    name, product, version = metrics.port(V4, 22)
    assert (name, product) == ("ssh", "OpenSSH")
    # The portable release is the banner's own: Debian 13's package 10.0p1 says 10.0p2.
    assert version.partition("p")[0] == upstream.partition("p")[0]
    assert version.endswith(f" Debian {revision}")


def test_what_listens_on_loopback_alone_is_shown_there_alone(metrics: Metrics) -> None:
    """An exposed memcached and a private one are two different things."""
    assert [x["address"] for x in metrics.labels("vedette_open_port_info", port="11211")] == [
        "127.0.0.1"
    ]


def test_counts_agree_with_the_list(metrics: Metrics) -> None:
    """`vedette_open_ports` is what alerts look at; of loopback, if it has something of its own."""
    listed = [x["address"] for x in metrics.labels("vedette_open_port_info")]
    addresses = ("127.0.0.1", V4, "::1", V6)

    assert metrics.all("vedette_open_ports", transport="tcp") == {
        (address,): listed.count(address)
        for address in addresses
        if address in (V4, V6) or address in listed
    }
    assert listed.count(V4) >= 18


def test_every_port_has_a_risk_score_between_0_and_10(metrics: Metrics) -> None:
    """A port without one would look safe."""
    risks = metrics.labels("vedette_port_risk_score")
    ports = metrics.labels("vedette_open_port_info")

    assert [(x["address"], x["port"]) for x in risks] == [(x["address"], x["port"]) for x in ports]
    scores = metrics.all("vedette_port_risk_score").values()
    assert all(0 <= score <= 10 for score in scores)
    ftp, ssh = (metrics.value("vedette_port_risk_score", address=V4, port=p) for p in ("21", "22"))
    assert ftp > ssh  # passwords in clear text
    host = metrics.value("vedette_host_risk_score", address=V4)
    assert host >= max(metrics.all("vedette_port_risk_score", address=V4).values())


def test_the_operating_system_is_its_own_word(agent: Agent) -> None:
    """On its own host nmap finds no exact match; /etc/os-release knows."""
    (line,) = re.findall(
        r'^PRETTY_NAME="?(.*?)"?$', Path("/etc/os-release").read_text(), re.MULTILINE
    )
    metrics = agent.wait_for_success("fingerprint", 30)

    local = metrics.labels("vedette_os_info", source="local")

    assert {(x["address"], x["family"], x["os_name"]) for x in local} == {
        (V4, "Linux", line), (V6, "Linux", line),
    }  # fmt: skip
    (active,) = metrics.labels("vedette_os_info", source="active", address=V4)
    assert active["family"] in ("Linux", "undetermined")


def test_the_machine_is_as_its_kernel_says(agent: Agent) -> None:
    """Within what may change from one moment to the next."""
    metrics = agent.metrics()
    memory, root = psutil.virtual_memory(), os.statvfs("/")

    assert metrics.value("vedette_memory_size_bytes") == memory.total
    available = metrics.value("vedette_memory_available_bytes")
    assert available == pytest.approx(memory.available, rel=0.1)
    assert 0 < metrics.value("vedette_cpu_usage_ratio") <= 1
    assert metrics.value("vedette_load1") == pytest.approx(os.getloadavg()[0], abs=1)
    size = metrics.all("vedette_filesystem_size_bytes", mountpoint="/")
    assert list(size.values()) == [root.f_blocks * root.f_frsize]
    (free,) = metrics.all("vedette_filesystem_available_bytes", mountpoint="/").values()
    assert free == pytest.approx(root.f_bavail * root.f_frsize, rel=0.02)


def test_interface_counters_are_the_kernels(
    field: tuple[Namespace, Namespace, Path], agent: Agent
) -> None:
    """They are read every five seconds; loopback is not shown."""
    before = kernel_bytes(field[0])
    agent.wait_for_success("stats", 15, after=agent.successes("stats"))
    metrics = agent.metrics()
    after = kernel_bytes(field[0])

    received = metrics.all("vedette_interface_receive_bytes_total")
    sent = metrics.all("vedette_interface_transmit_bytes_total")

    assert list(received) == list(sent) == [("eth0",)]
    assert before[0] <= received[("eth0",)] <= after[0]
    assert before[1] <= sent[("eth0",)] <= after[1]


def kernel_bytes(host: Namespace) -> tuple[int, int]:
    """Return eth0's received and sent bytes."""
    (link,) = json.loads(host.ip("-j", "-s", "link", "show", "eth0"))
    return link["stats64"]["rx"]["bytes"], link["stats64"]["tx"]["bytes"]


def test_nothing_failed_on_the_way(agent: Agent) -> None:
    """On an ordinary host the log is calm, and the agent can do all but ask a list nobody made."""
    metrics = agent.metrics()

    assert metrics.failures() == {}, agent.events("job failed")
    assert metrics.all("vedette_capability") == {
        ("capture",): 1, ("history",): 1, ("nmap",): 1, ("packages",): 0, ("raw_sockets",): 1,
    }  # fmt: skip
    assert [e for e in agent.events() if e["level"] not in ("info", "debug")] == []


def test_the_first_scan_changes_nothing(agent: Agent) -> None:
    """A new host must not raise twenty alarms."""
    assert set(agent.metrics().all("vedette_port_changes_total").values()) == {0}
