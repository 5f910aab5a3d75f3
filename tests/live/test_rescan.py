"""Scans after the first: what they notice, and what they do not ask again."""

import json
import re
import socket
import time

import pytest

from tests.live.netns import V4, V6, directory, end, two_hosts, wait_for
from tests.live.running import FIGURES, Agent
from tests.live.services import listen, start_sshd, start_vsftpd, wait_until_open
from tests.live.stories import beside

pytestmark = pytest.mark.live

FLAGS = (
    *("--scan.interval-seconds", "10", "--scan.tcp-ports", "1-8000"),
    *("--fingerprint.active", "no", "--sniff.enabled", "no"),
)


def ports_asked(lines: list[str]) -> set[int]:
    """Return the ports of version detections."""
    return {int(n) for line in lines for n in re.findall(r" -p (\S+)", line)[0].split(",")}


@beside
def test_a_repeated_scan_asks_only_what_is_new_or_changed() -> None:
    """Version detection is what makes a scan slow. Changes are counted, by their kind."""
    with two_hosts("story-rescan") as (host, _), directory("story-rescan") as where:
        start_sshd(host, where)
        first = start_vsftpd(host, where, 2021)
        closing = listen(host, [{"port": 3000, "say": b"SSH-2.0-dropbear_2022.83\r\n".hex()}])
        wait_until_open(host, {22, 2021, 3000})
        agent = Agent(host, where / "state", *FLAGS)
        before = agent.wait_for_success("scan", 40)
        assert before.port(V4, 2021)[:2] == ("ftp", "vsftpd")
        assert before.port(V4, 3000)[:2] == ("ssh", "Dropbear sshd")
        asked = agent.version_scans()
        assert ports_asked(asked) >= {22, 2021, 3000}
        first_scan = agent.metrics().value("vedette_job_last_duration_seconds", job_name="scan")

        last = agent.successes("scan")
        second = agent.wait_for_success("scan", 30, after=last)

        FIGURES["first scan of 3 services on 2 addresses"] = f"{first_scan:.1f} s"
        again = second.value("vedette_job_last_duration_seconds", job_name="scan")
        FIGURES["repeated scan of the same"] = f"{again:.1f} s"
        assert agent.version_scans() == asked
        assert second.all("vedette_open_port_info") == before.all("vedette_open_port_info")
        assert second.value("vedette_port_changes_total") == 0

        end(closing)
        end(first)
        start_sshd(host, where, 2021)
        listen(host, [{"port": 4000, "say": b"220 ProFTPD 1.3.5 Server ready.\r\n".hex()}])
        wait_until_open(host, {2021, 4000})
        closed = time.time()

        def all_noticed() -> bool:
            now = agent.metrics()
            return now.value("vedette_port_changes_total", change="closed") > 0 and (
                agent.successes("scan") > closed
            )

        wait_for("a scan with the changes", all_noticed, 40)
        after = agent.metrics()
        # sshd listens on IPv6 as well, where vsftpd did not: one more that is new.
        assert after.all("vedette_port_changes_total") == {
            ("closed",): 1, ("opened",): 2, ("service_changed",): 1,
        }  # fmt: skip
        assert not after.labels("vedette_open_port_info", port="3000")
        assert after.port(V4, 2021)[:2] == ("ssh", "OpenSSH")
        assert after.port(V6, 2021)[:2] == ("ssh", "OpenSSH")
        assert after.port(V4, 4000)[:2] == ("ftp", "ProFTPD")
        # One more for the knowledge that came second-hand: 22 was not asked again.
        assert ports_asked(agent.version_scans()[len(asked) :]) == {2021, 4000}

        changes = {(c["key"], c["what"]) for c in agent.inventory()["changes"]}
        assert changes >= {
            (f"{V4} tcp/3000", "disappeared"),
            (f"{V4} tcp/4000", "appeared"),
            (f"{V4} tcp/2021", "changed"),
        }
        (changed,) = agent.events("port changed")
        assert (changed["key"], changed["product_before"]) == (f"{V4} tcp/2021", "vsftpd")
        agent.stop()


@beside
def test_a_silent_port_costs_its_pass_once() -> None:
    """It accepts and never speaks: 26 s at nmap's light intensity, 157 s at its default.

    All the rest is shown meanwhile, with the sweep's guess for what is not known yet.
    """
    with two_hosts("story-silent") as (host, _), directory("story-silent") as where:
        start_sshd(host, where)
        listen(host, [{"port": 7777, "address": V4}])
        wait_until_open(host, {22, 7777})
        flags = ("--scan.deep-probe-seconds", "4", "--scan.splay-seconds", "0")
        agent = Agent(host, where / "state", *FLAGS, *flags)

        wait_for(
            "the ports, before they are identified",
            lambda: len(agent.metrics().labels("vedette_open_port_info", address=V4)) == 2,
            25,
        )
        assert agent.version_scans() == []  # the first one still runs
        done = agent.wait_for_success("scan", 80)
        assert done.port(V4, 22)[1] == "OpenSSH"
        name, product, version = done.port(V4, 7777)
        assert (product, version) == ("", "")
        assert done.value("vedette_port_risk_score", address=V4, port="7777") > 0
        (silent,) = (p for p in agent.inventory()["ports"] if p["port"] == 7777)
        assert not silent["probed"]
        deep = [line for line in agent.version_scans() if "--version-intensity" in line]
        assert len(deep) == 1
        assert ports_asked(deep) == {7777}

        asked = agent.version_scans()
        again = agent.wait_for_success("scan", 30, after=agent.successes("scan"))

        assert agent.version_scans() == asked
        assert again.port(V4, 7777)[0] == name
        assert agent.metrics().failures() == {}
        took = {e["duration_seconds"] for e in agent.events("nmap") if "-sV" in e["argv"]}
        FIGURES["a scan's version detection beside a silent port"] = f"{max(took):.0f} s"
        assert json.loads(agent.get("/inventory.json").body)["jobs"]
        agent.stop()


@beside
def test_udp_ports_are_swept_and_named_if_wanted() -> None:
    """A closed one says so by ICMP; one that never answers looks filtered, but for its socket."""
    with two_hosts("story-udp") as (host, _), directory("story-udp") as where:
        with host.entered():
            silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with silent:
            silent.bind((V4, 161))
            host.start([
                "dnsmasq", "--keep-in-foreground", "--user=root", "--no-resolv", "--no-hosts",
                "--pid-file=", "--conf-file=/dev/null", "--bind-interfaces",
                f"--listen-address={V4}",
            ])  # fmt: skip
            wait_for("dnsmasq", lambda: ("udp", V4, 53) in host.listening(), 10)
            udp = ("--scan.udp", "yes", "--scan.udp-ports", "53,161,500")
            flags = ("--scan.deep-probe-seconds", "4", "--scan.splay-seconds", "0")
            agent = Agent(host, where / "state", *FLAGS, *udp, *flags)
            done = agent.wait_for_success("scan", 80)
            opened = done.labels("vedette_open_port_info", address=V4, transport="udp")
            agent.stop()

    told = {row["port"]: (row["service_name"], row["product"]) for row in opened}
    assert told == {"53": ("domain", "dnsmasq"), "161": ("snmp", "")}
