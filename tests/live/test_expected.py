"""The ports that a host should have open, TCP and UDP, and those that it has."""

from pathlib import Path

import pytest

from tests.live.netns import V4, V6, directory, two_hosts
from tests.live.running import Metrics, vedette
from tests.live.services import start_sshd, start_vsftpd, wait_until_open

pytestmark = pytest.mark.live


def test_udp_is_found_and_what_should_not_be_open_or_should_be_is_counted() -> None:
    """A memcached answers on both transports; nobody asked for it on TCP, nor for the vsftpd."""
    with two_hosts("expected") as (host, _), directory("expected") as where:
        start_sshd(host, where)
        start_vsftpd(host, where)
        host.start(["memcached", "-l", V4, "-p", "11211", "-U", "11211", "-u", "nobody"])
        wait_until_open(host, {21, 22, 11211})
        assert ("udp", V4, 11211) in host.listening()
        done = vedette(
            host, Path(where, "state"), "once", "--job", "scan",
            "--scan.tcp-ports", "1-100,11211", "--scan.udp", "true", "--scan.udp-ports", "53,11211",
            "--scan.expected-ports", "[tcp/22, udp/11211, tcp/443]",
            "--scan.deep-probe-seconds", "3", seconds=100,
        )  # fmt: skip
    metrics = Metrics(done.stdout)

    assert done.returncode == 0, done.stderr
    found = metrics.labels("vedette_open_port_info", address=V4)
    # memcached on TCP; on UDP by the name of its port, unless it tells in time.
    assert {(x["transport"], x["port"], x["service_name"][:8]) for x in found} == {
        ("tcp", "21", "ftp"), ("tcp", "22", "ssh"), ("tcp", "11211", "memcache"),
        ("udp", "11211", "memcache"),
    }  # fmt: skip
    assert metrics.all("vedette_open_ports", address=V4) == {("tcp",): 3, ("udp",): 1}
    assert metrics.all("vedette_unexpected_open_ports") == {(V4,): 2, (V6,): 0}
    assert metrics.all("vedette_missing_expected_ports") == {(V4,): 1, (V6,): 1}
