"""What happens on a network, made to happen: each kind of event, and none by ordinary traffic."""

import json
import socket
import sqlite3
import struct
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from tests.live import wire
from tests.live.netns import PEER_V4, V4, Namespace, directory, output, two_hosts, wait_for
from tests.live.running import Agent, receive_all
from tests.live.services import listen, start_nginx, start_sshd, start_vsftpd, wait_until_open
from tests.live.stories import beside
from tests.live.test_faults import CLOCK
from tests.live.test_traffic import ping
from tests.live.wire import Wire
from vedette.thresholds import EVENTS

pytestmark = pytest.mark.live

FLAGS = (
    *("--sniff.interval-seconds", "1", "--stats.enabled", "no", "--fingerprint.enabled", "no"),
    *("--scan.tcp-ports", "1-9000", "--scan.splay-seconds", "0", "--scan.script-seconds", "0"),
)
NOBODY = str(IPv4Address(0))  # who asks whether an address is free
HOUR, DAY = 3600, 86_400
# An Intel card, by the IEEE's registry; the rest is made up.
STRANGER, INTEL = "02:00:00:00:00:66", "00:1b:21:00:00:77"
SECOND = "02:00:00:00:00:69"  # of those who lie
SCANNER, ROGUE, GATEWAY = "02:00:00:00:00:30", "02:00:00:00:00:67", PEER_V4


class Watched:
    """A host with a clock that can be set, its peer, and the agent on it."""

    def __init__(self, host: Namespace, peer: Namespace, where: Path, agent: Agent) -> None:
        self.host, self.peer, self.agent = host, peer, agent
        self._offset = where / "offset"
        self._state = where / "state"
        self._ahead = 0
        self.peer_mac = _mac(peer)
        self.wire = Wire(peer, _mac(host))

    def later(self, seconds: int) -> None:
        """Set the host's clock ahead by so much, once all that was sent is counted."""
        self.two_windows()
        self._ahead += seconds
        self._offset.write_bytes(struct.pack("q", self._ahead))

    def two_windows(self) -> None:
        """Wait until what has happened must have been told."""
        runs = self.agent.runs("sniff")
        wait_for("two windows", lambda: self.agent.runs("sniff") >= runs + 3, 20)

    def told(self) -> dict[str, dict[str, Any]]:
        """Return {"kind subject": evidence} of the events in the log."""
        fixed = {"message", "level", "event", "subject"}
        return {
            f"{line['event']} {line['subject']}": {k: v for k, v in line.items() if k not in fixed}
            for line in self.agent.events("network event")
        }

    def wait_for_event(self, kind: str, subject: str) -> dict[str, Any]:
        """Return the evidence of an event that must come."""
        name = f"{kind} {subject}"
        try:
            return wait_for(name, lambda: self.told().get(name), 10)
        except AssertionError as exc:
            failed = self.agent.events("job failed")
            raise AssertionError(f"{exc}; told: {sorted(self.told())}; failed: {failed}") from exc

    def remembered(self) -> set[str]:
        """Return the events in the history's file."""
        uri = f"file:{self._state / 'history.sqlite'}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as history:
            rows = history.execute("SELECT key FROM fact WHERE kind = 'event'").fetchall()
        return {key for (key,) in rows}

    def traffic(self) -> dict[str, Any]:
        """Return what the inventory says of the network."""
        found: dict[str, Any] = self.agent.inventory()["traffic"]
        return found


def _mac(namespace: Namespace) -> str:
    (link,) = json.loads(namespace.ip("-j", "link", "show", "eth0"))
    return str(link["address"])


@contextmanager
def watched(what: str, *flags: str, second_ssh: int = 2222) -> Iterator[Watched]:
    """Have a host with real services, scanned, whose default gateway is its peer."""
    with two_hosts(what) as (host, peer), directory(what) as where:
        library = where / "clock.so"
        output(["tcc", "-shared", "-nostdlib", "-o", str(library), str(CLOCK)])
        (where / "offset").write_bytes(struct.pack("q", 0))
        host.ip("route", "add", "default", "via", GATEWAY)
        # The kernel answers one closed UDP port a second; a scan of an hour in a moment wants more.
        # In a container /proc/sys may be read-only: this one is of the namespace alone.
        lift = "mount -t proc proc /proc && echo 0 > /proc/sys/net/ipv4/icmp_ratelimit"
        output(host.command(["sh", "-c", lift]))
        start_nginx(host, where)
        start_sshd(host, where)
        start_sshd(host, where, second_ssh)
        start_vsftpd(host, where)
        wait_until_open(host, {21, 22, 80, 443, second_ssh})
        clock = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(where / "offset")}
        agent = Agent(host, where / "state", *FLAGS, *flags, env=clock)
        agent.wait_for_success("scan", 40)
        agent.wait_for_success("sniff", 20)
        there = Watched(host, peer, where, agent)
        try:
            yield there
        finally:
            there.wire.close()
            agent.stop()


@beside
def test_each_kind_of_event_is_told_once_it_happens() -> None:
    """Counted, in the log with what was seen, and in the history: on the running agent."""
    with watched("story-attacks", second_ssh=8443) as there:
        before_the_storm(there)
        told = wrong_from_the_beginning(there)
        assert there.told() == told
        told = {
            **told, **on_the_cable(there), **by_programs(there), **slowly(there),
            **a_stranger_comes(there), **floods(there),
        }  # fmt: skip
        metrics = there.agent.metrics()
        wait_for("the history", lambda: told.keys() <= there.remembered(), 5)
        log = there.agent.log.read_text()

    assert {name.split(" ")[0] for name in told} == set(EVENTS)
    for kind in EVENTS:
        number = metrics.value("vedette_network_events_total", event=kind)
        assert number >= sum(name.startswith(f"{kind} ") for name in told), kind
    assert "secret" not in log
    assert "Traceback" not in log
    assert metrics.failures() == {}, [s for s in log.splitlines() if "job failed" in s]


Told = dict[str, dict[str, Any]]


@beside
def test_ordinary_traffic_is_no_event() -> None:
    """A busy host, and the agent's own scan of it: an alarm that cries daily is switched off."""
    with watched("story-ordinary", "--scan.interval-seconds", "10") as there:
        before_the_storm(there)
        # It is told who is new only when all others are known.
        there.later(2 * HOUR)
        visits(there.peer, V4)
        there.wire.send(
            wire.dhcp(GATEWAY, there.peer_mac, kind, "10.99.0.9")
            for kind in ("offer", "ack", "ack")
        )
        services = listen(there.peer, [{"port": port} for port in range(7001, 7201)])
        for port in range(7001, 7201):  # a client with many servers
            there.host.connect(PEER_V4, port).close()
        services.terminate()
        names(there)
        ping(there.peer, V4, 20)
        ping(there.host, PEER_V4, 20)
        done = there.host.run(["nmap", "-n", "-Pn", "-p1-500", PEER_V4])
        assert "1 host up" in done.stdout
        scans = there.agent.runs("scan")
        wait_for("another scan", lambda: there.agent.runs("scan") > scans + 1, 60)
        there.two_windows()
        metrics = there.agent.metrics()
        told = there.told()

    assert told == {}
    assert metrics.value("vedette_network_events_total") == 0
    # Nor do the agent's scans use up what may be looked into.
    assert metrics.value("vedette_capture_shed_frames_total") < 2000


@beside
def test_a_neighbours_system_is_told_by_its_syns_and_what_it_asks_for_by_its_hellos() -> None:
    """The fingerprint job takes it over at its next run, with how sure it is, and asks nobody."""
    fingerprint = ("--fingerprint.enabled", "yes", "--fingerprint.interval-seconds", "60")
    with watched("story-passive", *fingerprint, "--sniff.names", "5") as there:
        before_the_storm(there)
        visits(there.peer, V4)
        hello = {("tls", "sni", "shop.example"), ("tls", "alpn", "h2")}
        wait_for("what is asked for", lambda: hello <= asked_for(there), 20)
        guessed = {"address": PEER_V4, "source": "passive", "family": "Linux"}
        agent = there.agent
        wait_for("the guess", lambda: agent.metrics().labels("vedette_os_info", **guessed), 75)
        accuracy = agent.metrics().value("vedette_os_accuracy_ratio", address=PEER_V4)
        asked = [line["argv"] for line in agent.events("nmap")]

    assert 0 < accuracy <= 1
    assert not any(PEER_V4 in argv for argv in asked)


def visits(visitor: Namespace, address: str) -> None:
    """Use the services there: pages, downloads over TLS, SSH, FTP as nobody."""
    for _ in range(150):
        with visitor.connect(address, 80) as web:
            web.sendall(b"GET / HTTP/1.0\r\n\r\n")
            receive_all(web)
    for _ in range(10):
        done = visitor.run(["curl", "-sko", "/dev/null", f"https://{address}/big"])
        assert done.returncode == 0, done.stderr
    done = visitor.run(["ssh-keyscan", "-T", "5", address])
    assert "ssh-ed25519" in done.stdout, done.stderr
    log_in_by_ftp(visitor, address, b"anonymous", b"me@example.org")


def asked_for(there: Watched) -> set[tuple[str, str, str]]:
    """Ask a shop of that name; return what the last window's conversations have asked for."""
    shop = ("--resolve", f"shop.example:443:{V4}", "https://shop.example/")
    done = there.peer.run(["curl", "-sko", "/dev/null", *shop])
    assert done.returncode == 0, done.stderr
    rows = there.traffic()["asked_for"]
    return {(row["app_protocol"], row["what"], row["which"]) for row in rows}


def log_in_by_ftp(client: Namespace, address: str, user: bytes, password: bytes) -> None:
    """Say who one is; what comes of it does not matter."""
    with client.connect(address, 21) as ftp:
        ftp.recv(1024)
        for line in (b"USER " + user, b"PASS " + password):
            ftp.sendall(line + b"\r\n")
            ftp.recv(1024)


def names(there: Watched) -> None:
    """Ask for 200 names of a CDN; say by mDNS who one is; probe for an address (RFC 5227)."""
    head = Ether(src=there.peer_mac, dst=wire.EVERYBODY)
    there.wire.send([
        *(
            head / IP(src=PEER_V4, dst=V4) / UDP(sport=5000 + n, dport=53)
            / DNS(rd=1, qd=DNSQR(qname=f"e{n}.dscb.akamaiedge.example"))
            for n in range(200)
        ),
        *(
            head / IP(src=PEER_V4, dst="224.0.0.251") / UDP(sport=5353, dport=5353)
            / DNS(qr=1, an=DNSRR(rrname=f"printer-{n}.local", type="A", rdata=PEER_V4))
            for n in range(20)
        ),
        *(wire.arp(NOBODY, there.peer_mac, PEER_V4) for _ in range(3)),
        *(wire.arp(PEER_V4, there.peer_mac, PEER_V4) for _ in range(3)),
    ])  # fmt: skip


@beside
def test_ports_are_known_by_what_they_say_and_idle_once_nobody_comes() -> None:
    """At ports that say nothing of it; and the agent's own scans are no use of a port."""
    with watched("story-spoken", "--scan.interval-seconds", "20") as there:
        listen(
            there.host,
            [
                {"port": port, "answer": answer.hex(), "say": say.hex()}
                for port, (say, _, answer) in SPOKEN.items()
            ],
        )
        wait_for("the ports", lambda: SPOKEN.keys() <= open_ports(there), 40)
        there.two_windows()  # the capture is told of them at the next
        # What is said while the agent itself asks is no use of a port: it is said again.
        spoken = wait_for("their use", lambda: all_used(there), 30)
        by_port = {row["port"]: (row["app_protocol"], row["known_by"]) for row in spoken}
        there.later(31 * DAY)

        wait_for("an idle port", lambda: {21, 2222} <= idle(there) and visit(there), 40)
        wait_for("one that is used", lambda: 22 not in idle(there) or not visit(there), 40)
        page = there.agent.get("/").text
        number = there.agent.metrics().value("vedette_idle_ports")

    assert number >= 2
    assert {port: by_port.get(port) for port in SPOKEN} == {
        5001: ("ftp", "content"), 5002: ("telnet", "content"), 5003: ("mqtt", "content"),
        5004: ("mysql", "content"), 5005: ("ldap", "content"),
    }  # fmt: skip
    assert "used by nobody for 30 days" in page
    assert "<code>2222/tcp</code>" in page.partition("used by nobody for 30 days")[2]


# {port: (what it says at once, what the client says, what it answers)}
SPOKEN = {
    5001: (b"220 ProFTPD Server ready.\r\n", b"USER anonymous\r\n", b"331 Password required\r\n"),
    5002: (b"\xff\xfd\x18\xff\xfd\x20\xff\xfd\x23", b"\xff\xfb\x18\xff\xfc\x20", b"\xff\xfe\x03"),
    5003: (b"", bytes.fromhex("101000044d5154540402003c000476656474"), bytes.fromhex("20020000")),
    5004: (
        bytes.fromhex("4a0000000a382e302e3336000b0000004a2b3c4d5e6f7a0100ffff080200ffc315")
        + bytes(10) + b"\x11\x223DUfw\x88\x99\x0a\x0b\x0c\0mysql_native_password\0",
        bytes.fromhex("2000000185a63f2000000001210000000000000000000000") + bytes(12),
        bytes.fromhex("0700000200000002000000"),
    ),
    5005: (
        b"", bytes.fromhex("300c020101600702010304008000"),
        bytes.fromhex("300c02010161070a010004000400"),
    ),
}  # fmt: skip


def all_used(there: Watched) -> list[dict[str, Any]]:
    """Talk to each of these ports; return what is said of ports once all of them are used."""
    for port, (say, said, _) in SPOKEN.items():
        with there.peer.connect(V4, port) as connection:
            if say:
                connection.recv(1024)
            connection.sendall(said)
            connection.recv(1024)
    there.two_windows()
    rows: list[dict[str, Any]] = there.traffic()["spoken"]
    used = {row["port"] for row in rows if row["last_traffic"]}
    return rows if used >= SPOKEN.keys() else []


def open_ports(there: Watched) -> set[int]:
    return {int(row["port"]) for row in there.agent.metrics().labels("vedette_open_port_info")}


def idle(there: Watched) -> set[int]:
    return {row["port"] for row in there.traffic()["idle_ports"]}


def visit(there: Watched) -> bool:
    """Use sshd, so that not all is idle."""
    with there.peer.connect(V4, 22) as ssh:
        return bool(ssh.recv(64))


def before_the_storm(there: Watched) -> None:
    """Let everybody speak who belongs here; what they say first is right."""
    mac = there.peer_mac
    there.wire.send([
        wire.arp(GATEWAY, mac, V4), wire.dhcp(GATEWAY, mac, "ack", "10.99.0.9"),
        wire.dhcp6("fe80::1", mac), wire.router("fe80::1", mac, "2001:db8:1::"),
        # A border router of another network, no default one: as many homes have.
        wire.router("fe80::3", "02:00:00:00:00:03", "2001:db8:3::", lifetime=0),
    ])  # fmt: skip
    # Nobody shall be misled but the agent.
    there.host.ip("neigh", "replace", GATEWAY, "lladdr", mac, "nud", "permanent", "dev", "eth0")
    there.two_windows()


def wrong_from_the_beginning(there: Watched) -> Told:
    """SSH where TLS should be. The agent's own scan may have made it speak already."""
    with there.peer.connect(V4, 8443) as ssh:
        ssh.recv(1024)
    told = there.wait_for_event("protocol_mismatch", f"{V4} tcp/8443")

    assert told["speaks"] == "ssh"
    return {f"protocol_mismatch {V4} tcp/8443": told}


def on_the_cable(there: Watched) -> Told:
    """Lie about addresses; hand out what is not one's own; scan a network."""
    there.wire.send([
        wire.arp("10.99.0.66", STRANGER, V4), wire.arp(GATEWAY, STRANGER, "10.99.0.99"),
        wire.dhcp("10.99.0.67", ROGUE, "offer", "10.99.0.68"),
        wire.dhcp6("fe80::67", ROGUE), wire.router("fe80::68", ROGUE, "2001:db8:bad::"),
        *(wire.arp("10.99.0.31", SCANNER, f"10.99.0.{n}") for n in range(100, 155)),
        *(there.wire.syn("10.99.0.30", f"10.99.1.{n}", 22, SCANNER) for n in range(1, 60)),
    ])  # fmt: skip
    wanted = [
        ("arp_spoofing", STRANGER), ("address_conflict", GATEWAY), ("gateway_changed", GATEWAY),
        ("rogue_dhcp", "10.99.0.67"), ("rogue_dhcp", "fe80::67"), ("rogue_router", "fe80::68"),
        ("port_scan", "10.99.0.31"), ("port_scan", "10.99.0.30"),
    ]  # fmt: skip
    told = {f"{kind} {subject}": there.wait_for_event(kind, subject) for kind, subject in wanted}

    assert told["rogue_dhcp fe80::67"]["dns_servers"] == ["fe80::67"]
    assert told["rogue_dhcp 10.99.0.67"]["expected"] == [GATEWAY]
    assert told["rogue_router fe80::68"]["prefixes"] == ["2001:db8:bad::/64"]
    assert told["port_scan 10.99.0.30"]["shape"] == "horizontal"
    assert told["port_scan 10.99.0.31"]["shape"] == "arp sweep"
    return told


def by_programs(there: Watched) -> Told:
    """Scan with nmap, log in by FTP and HTTP, ask for long names."""
    peer = there.peer
    done = peer.run(["nmap", "-n", "-Pn", "-sS", "-p1-400", "--max-rate", "300", V4])
    assert "open" in done.stdout, done.stderr
    log_in_by_ftp(peer, V4, b"alice", b"secret")
    with peer.connect(V4, 80) as http:
        http.sendall(b"GET / HTTP/1.0\r\nAuthorization: Basic c2VjcmV0\r\n\r\n")
        receive_all(http)
    with peer.entered():
        resolver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with resolver:
        for number in range(120):
            labels = (f"{number:06d}{'a1b2c3d4e5' * 5}".encode(), b"t", b"example", b"org", b"")
            name = b"".join(bytes([len(label)]) + label for label in labels)
            resolver.sendto(
                struct.pack("!6H", number, 0x100, 1, 0, 0, 0) + name + b"\0\x10\0\1", (V4, 53)
            )
    wanted = [
        ("port_scan", PEER_V4), ("cleartext_credentials", f"{V4} tcp/21"),
        ("cleartext_credentials", f"{V4} tcp/80"), ("dns_tunnelling", PEER_V4),
    ]  # fmt: skip
    told = {f"{kind} {subject}": there.wait_for_event(kind, subject) for kind, subject in wanted}

    assert told[f"port_scan {PEER_V4}"]["shape"] == "vertical"
    assert told[f"dns_tunnelling {PEER_V4}"]["domain"] == "example.org"
    return told


def floods(there: Watched) -> Told:
    """Begin connections faster than is looked at; lie about addresses meanwhile."""
    there.two_windows()
    syns = [there.wire.syn(f"198.51.100.{n}", V4, 443, SCANNER) for n in range(250)]
    flood = Thread(target=there.wire.flood, args=(syns, 4.0))
    flood.start()
    time.sleep(1.5)
    there.wire.send([
        wire.arp("10.99.0.69", SECOND, V4), wire.arp(GATEWAY, SECOND, "10.99.0.99"),
        wire.dhcp("10.99.0.69", SECOND, "offer", "10.99.0.70"),
    ])  # fmt: skip
    wanted = [
        ("syn_flood", f"{V4} tcp/443"), ("arp_spoofing", SECOND), ("rogue_dhcp", "10.99.0.69"),
    ]  # fmt: skip
    told = {f"{kind} {subject}": there.wait_for_event(kind, subject) for kind, subject in wanted}
    flood.join()
    there.two_windows()

    assert there.agent.metrics().value("vedette_capture_shed_frames_total") > 20_000
    return told


def slowly(there: Watched) -> Told:
    """Try two ports a minute, by TCP and by UDP, at ports whose datagrams nobody looks into."""
    there.peer.ip("addr", "add", "10.99.0.41/24", "dev", "eth0")
    with there.peer.entered():
        probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with probe:
        probe.bind(("10.99.0.41", 50_000))
        for start in (2000, 2035):
            there.wire.send(there.wire.syn("10.99.0.40", V4, start + n, SCANNER) for n in range(35))
            for port in range(start, start + 35):
                probe.sendto(b"probe", (V4, port))
                time.sleep(0.005)  # the kernel refuses 1,000 a second at most, in all namespaces
            there.later(600)
        probe.sendto(b"probe", (V4, 2999))
        there.wire.send([there.wire.syn("10.99.0.40", V4, 2999, SCANNER)])
    subjects = ("10.99.0.40", "10.99.0.41")
    told = {f"port_scan {who}": there.wait_for_event("port_scan", who) for who in subjects}

    assert {evidence["shape"] for evidence in told.values()} == {"slow"}
    return told


def a_stranger_comes(there: Watched) -> Told:
    """Be heard for the first time, hours after everybody else."""
    there.later(HOUR)
    there.wire.send([wire.arp("10.99.0.77", INTEL, "10.99.0.99")])
    told = there.wait_for_event("new_neighbour", INTEL)

    assert (told["address"], told["vendor"], told["random_mac"]) == (
        "10.99.0.77",
        "Intel Corporate",
        "false",
    )
    (shown,) = there.agent.metrics().labels("vedette_neighbour_info", address="10.99.0.77")
    assert shown["vendor"] == "Intel Corporate"
    return {f"new_neighbour {INTEL}": told}
