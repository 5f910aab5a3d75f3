"""scripts.py: which scripts are run where, and how long what they found out is believed."""

import json
from ipaddress import IPv4Address

import pytest

from tests.support import sample
from vedette import scripts
from vedette.edges import nmap
from vedette.evidence import Certificate, Evidence, proved, refuted
from vedette.job import Known
from vedette.scanned import Service
from vedette.scripts import Asked, wanted

HERE = IPv4Address("192.0.2.10")


@pytest.mark.parametrize(
    ("service", "transport", "number", "process", "expected"),
    [
        (Service("redis", probed=True), "tcp", 7000, "", ("redis-info",)),
        (Service("unknown"), "tcp", 7000, "redis-server", ("redis-info",)),
        (Service("ssh", probed=True), "tcp", 22, "sshd", ()),
        (Service("https", tunnel="ssl", probed=True), "tcp", 8443, "",
         ("http-title", "ssl-cert", "sslv2", "tls-hellos")),
        (Service("imap", tunnel="ssl", probed=True), "tcp", 993, "",
         ("ssl-cert", "sslv2", "tls-hellos")),
        (Service("http", probed=True), "tcp", 9200, "", ("http-title", "elasticsearch-root")),
        (Service(), "tcp", 2181, "java", ("zookeeper-root",)),
        (Service("smtp", probed=True), "tcp", 25, "", ("ssl-cert",)),
        (Service("smtp", probed=True), "tcp", 2525, "", ()),  # it would not know how to ask there
        (Service("ftp", probed=True), "tcp", 21, "", ("ftp-anon", "ssl-cert")),
        (Service("memcached", probed=True), "udp", 11211, "", ("memcached-info",)),
        (Service("ldap", probed=True), "tcp", 3890, "", ()),
        (Service("ldap", probed=True), "udp", 389, "", ("ldap-rootdse",)),
    ],
)  # fmt: skip
def test_a_service_gets_the_scripts_that_are_for_it(
    service: Service, transport: str, number: int, process: str, expected: tuple[str, ...]
) -> None:
    """On whatever port it listens; where nothing has answered, by its program."""
    assert wanted(service, transport, number, process) == expected


def test_what_a_page_is_called_is_asked_where_that_matters() -> None:
    """An nmap less on hosts without a public address: the rule holds on no other."""
    web = Service("http", "nginx", "1.22.1", probed=True)

    assert wanted(web, "tcp", 80, "nginx") == ("http-title",)
    assert wanted(web, "tcp", 80, "nginx", public=False) == ()


def test_none_guesses_passwords_or_attacks() -> None:
    """By name; that nmap calls each of them safe, a live test asks nmap."""
    words = ("brute", "vuln", "dos", "exploit", "enum-users", "monlist", "enum-ciphers")

    assert not [name for name in scripts.ALL for word in words if word in name]


def test_nmap_is_told_to_run_safe_ones_only() -> None:
    """Whatever a script of that name may be on this machine."""
    options = scripts.script_options("tcp", [443, 80], ("http-title", "ssl-cert"), raw=False)

    assert options[options.index("--script") + 1] == "+http-title and safe,+ssl-cert and safe"
    assert options[options.index("-p") + 1] == "80,443"
    assert not {"-sC", "-A", "--script-args"} & set(options)


def test_what_was_found_out_survives_a_restart() -> None:
    """As plain JSON in the history, beside what version detection remembers."""
    evidence = Evidence(
        (proved("RULE-REDIS-NOAUTH", "x", 9.8, 95), refuted("RULE-VNC-NOAUTH", "y")),
        Certificate("a", "b", None, 1.5, "rsa", 2048, "sha256", self_signed=True),
    )
    asked = Asked(("redis-info",), evidence, 1000.0, "7:redis")
    detail = {"asked": json.loads(json.dumps(asked.as_detail()))}

    assert Asked.of(Known({}, detail, 0, 0, present=True)) == asked


@pytest.mark.parametrize("detail", [{}, {"asked": {}}, {"asked": {"evidence": {"proofs": 1}}}])
def test_what_another_version_wrote_is_asked_again(detail: dict[str, object]) -> None:
    """It must not stop the scan."""
    assert Asked.of(Known({}, detail, 0, 0, present=True)) is None


def test_it_is_believed_for_a_day_while_the_same_program_listens() -> None:
    """A certificate is renewed without a new process."""
    asked = Asked(("ssl-cert",), Evidence(), 1000.0, "7:nginx")

    assert asked.still_good(("ssl-cert",), "7:nginx", 1000.0 + 60, 86_400)
    assert not asked.still_good(("ssl-cert",), "7:nginx", 1000.0 + 86_400, 86_400)
    assert not asked.still_good(("ssl-cert",), "8:nginx", 1000.0 + 60, 86_400)
    assert not asked.still_good(("ssl-cert", "sslv2"), "7:nginx", 1000.0 + 60, 86_400)


def test_a_report_is_read_port_by_port() -> None:
    """What redis without a password, one with, memcached, TLS and FTP answered."""
    (host,) = nmap.read(sample("nmap_scripts.xml"))
    found = {
        key[2]: {(proof.rule, proof.holds) for proof in evidence.proofs}
        for key, evidence in scripts.of_host(host).items()
    }

    assert found == {
        17001: {("RULE-REDIS-NOAUTH", True)},
        17002: {("RULE-REDIS-NOAUTH", False)},
        17003: {("RULE-MEMCACHED-NOAUTH", True), ("RULE-MEMCACHED-UDP", False)},
        17004: set(),
        17005: {("RULE-FTP-ANONYMOUS", True)},
    }


@pytest.mark.parametrize(
    ("ports", "about"),
    [
        ([(445, "microsoft-ds"), (18445, "unknown")], 445),
        ([(18445, "netbios-ssn"), (80, "http")], 18445),
        ([(18445, "unknown")], 18445),  # asked alone, and not what it is
        ([(80, "http"), (18445, "unknown")], None),
    ],
)
def test_what_ran_on_the_host_is_about_its_smb_port(
    ports: list[tuple[int, str]], about: int | None
) -> None:
    """Nmap prints its SMB scripts' words beside the ports, and knows 445 by its number."""
    report = sample("nmap_scripts.xml").decode()
    start, end = report.index("<ports>"), report.index("</ports>")
    named = "".join(
        f'<port protocol="tcp" portid="{number}"><state state="open"/>'
        f'<service name="{name}" method="table" conf="3"/></port>'
        for number, name in ports
    )
    (host,) = nmap.read(f"{report[:start]}<ports>{named}{report[end:]}".encode())

    assert [script.id for script in host.scripts] == ["smb-protocols"]
    assert [number for _, _, number in scripts.of_host(host)] == ([about] if about else [])
