"""risk/proofs.py: what nmap's scripts print, and what that proves.

The outputs are those of the scripts' own documentation (their @xmloutput), or were recorded.
"""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import sample
from vedette import scripts
from vedette.edges import nmap
from vedette.evidence import Certificate, Evidence, Script
from vedette.risk import proofs
from vedette.scanned import Service

MANY_SMB = (("dialects/", "NT LM 0.12 (SMBv1) [dangerous, but default]"), ("dialects/", "2.0.2"))
VNC = (("Security types//name", "None"), ("Security types//type", "1"))
VNC_ASKS = (("Security types//name", "VNC Authentication"), ("Security types//type", "2"))
SIGNS = (("3.1.1/", "Message signing enabled and required"),)
SIGNS_NOT = (("3.1.1/", "Message signing enabled but not required"),)
SHARES = ((r"\\192.0.2.1\IPC$/Anonymous access", "READ/WRITE"),)
NO_SHARES = ((r"\\192.0.2.1\IPC$/Anonymous access", "<none>"),)


def ciphers(protocol: str, *names: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"{protocol}/ciphers//name", name) for name in names)


AEAD = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"


@pytest.mark.parametrize(
    ("script", "rule", "holds", "severity"),
    [
        (Script("ftp-anon", "Anonymous FTP login allowed (FTP code 230)"),
         "RULE-FTP-ANONYMOUS", True, None),
        (Script("ftp-anon", "Anonymous FTP login allowed (FTP code 230)\n"
                "drwxrwxrwx 2 0 0 6 May 01 incoming [NSE: writeable]"),
         "RULE-FTP-ANONYMOUS", True, 8.1),
        (Script("redis-info", "Version: 7.0.15\nRole: master"), "RULE-REDIS-NOAUTH", True, None),
        (Script("redis-info", "ERROR: Authentication required"), "RULE-REDIS-NOAUTH", False, None),
        (Script("redis-info", "ERROR: NOAUTH Authentication required."),
         "RULE-REDIS-NOAUTH", False, None),
        (Script("mongodb-databases", "ok = 1\ndatabases\n1\ntotalSize = 167772160"),
         "RULE-MONGODB-NOAUTH", True, None),
        (Script("mongodb-databases", "code = 13\nerrmsg = command listDatabases requires"
                " authentication\nok = 0"), "RULE-MONGODB-NOAUTH", False, None),
        (Script("memcached-info", "Authentication: no", (("Authentication", "no"),)),
         "RULE-MEMCACHED-NOAUTH", True, None),
        (Script("memcached-info", "x", (("Authentication", "no"), ("UDP Port", "11211"))),
         "RULE-MEMCACHED-UDP", True, None),
        (Script("memcached-info", "x", (("Authentication", "no"), ("UDP Port", "0"))),
         "RULE-MEMCACHED-UDP", False, None),
        (Script("docker-version", "Version: 20.10.5\nApiVersion: 1.41"),
         "RULE-DOCKER-API-NOAUTH", True, None),
        (Script("vnc-info", "Protocol version: 3.8", VNC), "RULE-VNC-NOAUTH", True, None),
        (Script("vnc-info", "Protocol version: 3.8", VNC_ASKS), "RULE-VNC-NOAUTH", False, None),
        (Script("vnc-info", "Security types:\n  None (1)"), "RULE-VNC-NOAUTH", True, None),
        (Script("x11-access", "X server access is granted"), "RULE-X11-OPEN", True, None),
        (Script("smb-protocols", "", MANY_SMB), "RULE-SMBV1", True, None),
        (Script("smb-protocols", "", MANY_SMB[1:]), "RULE-SMBV1", False, None),
        (Script("smb-protocols", "dialects:\n2:0:2\n3:1:1"), "RULE-SMBV1", False, None),
        (Script("smb2-security-mode", "", SIGNS), "RULE-SMB-SIGNING-OFF", False, None),
        (Script("smb2-security-mode", "", SIGNS_NOT), "RULE-SMB-SIGNING-OFF", True, None),
        (Script("smb-security-mode", "", (("message_signing", "disabled"),)),
         "RULE-SMB-SIGNING-OFF", True, None),
        (Script("smb-enum-shares", "x", SHARES), "RULE-SMB-NULL-SESSION", True, None),
        (Script("snmp-brute", "public - Valid credentials"),
         "RULE-SNMP-DEFAULT-COMMUNITY", True, None),
        (Script("snmp-sysdescr", "Linux box 6.1"), "RULE-SNMP-DEFAULT-COMMUNITY", True, None),
        (Script("ntp-monlist", "Target is synchronised\nPublic Clients (2)"),
         "RULE-NTP-MONLIST", True, None),
        (Script("dns-recursion", "Recursion appears to be enabled"),
         "RULE-OPEN-RESOLVER", True, None),
        (Script("ssl-enum-ciphers", "", ciphers("TLSv1.0", AEAD) + ciphers("TLSv1.2", AEAD)),
         "RULE-TLS-OLD-PROTOCOL", True, 4.8),
        (Script("ssl-enum-ciphers", "", ciphers("SSLv3", AEAD) + ciphers("TLSv1.1", AEAD)),
         "RULE-TLS-OLD-PROTOCOL", True, 7.4),
        (Script("ssl-enum-ciphers", "", ciphers("TLSv1.2", AEAD)),
         "RULE-TLS-OLD-PROTOCOL", False, None),
        (Script("ssl-enum-ciphers", "", ciphers("TLSv1.2", AEAD)),
         "RULE-TLS-WEAK-CIPHER", False, None),
        (Script("ssl-enum-ciphers", "", ciphers("TLSv1.2", "TLS_RSA_WITH_3DES_EDE_CBC_SHA")),
         "RULE-TLS-WEAK-CIPHER", True, 5.3),
        (Script("ssl-enum-ciphers", "", ciphers("TLSv1.2", "TLS_DH_anon_WITH_AES_128_CBC_SHA",
                                                "TLS_RSA_WITH_RC4_128_SHA")),
         "RULE-TLS-WEAK-CIPHER", True, 7.4),
        (Script("sslv2", "SSLv2 supported"), "RULE-TLS-OLD-PROTOCOL", True, 7.4),
    ],
)  # fmt: skip
def test_what_a_script_proves(
    script: Script, rule: str, *, holds: bool, severity: float | None
) -> None:
    """Each in the words that nmap prints."""
    proof = proofs.of_script(script, "tcp", "").of(rule)

    assert proof is not None
    assert (proof.holds, proof.severity) == (holds, severity)


@pytest.mark.parametrize(
    "script",
    [
        Script("redis-info", "ERROR: Failed to connect to server"),
        Script("docker-version", "ERROR: version unknown"),
        Script("snmp-sysdescr", "ERROR: timeout"),
        Script("smb-enum-shares", "x", NO_SHARES),
        Script("mongodb-info", "MongoDB Build info\nversion = 6.0.1"),
        Script("ldap-rootdse", "LDAP Results"),  # by TCP: no reflector
        Script("somebody-elses", "Anonymous FTP login allowed"),
        Script("ftp-anon"), Script("vnc-info"), Script("smb-protocols"), Script("ntp-monlist"),
    ],
)  # fmt: skip
def test_what_proves_nothing(script: Script) -> None:
    """An error is no answer, and silence neither guilt nor innocence."""
    assert proofs.of_script(script, "tcp", "") == Evidence()


def test_a_certificate_is_read_in_utc() -> None:
    """Of nmap's releases, 7.93 prints no time zone, others print +00:00; both mean UTC."""
    (host,) = nmap.read(sample("nmap_scripts.xml"))
    evidence = scripts.of_host(host)[host.address, "tcp", 17004]

    assert evidence.certificate == Certificate(
        "vedette.example, Example",
        "vedette.example, Example",
        datetime(2026, 11, 28, 13, 16, 59, tzinfo=UTC).timestamp(),
        datetime(2026, 11, 30, 13, 16, 59, tzinfo=UTC).timestamp(),
        "rsa",
        1024,
        "sha1WithRSAEncryption",
        self_signed=True,
    )


def test_a_subject_is_one_short_line() -> None:
    """A certificate may name itself at any length; history, page and JSON have it all."""
    values = tuple((f"subject/{number}", "x" * 200) for number in range(2000))
    made = (*values, ("validity/notAfter", "2027-01-01T00:00:00"))
    evidence = proofs.of_script(Script("ssl-cert", "x", made), "tcp", "https")

    assert evidence.certificate is not None
    assert len(evidence.certificate.subject) == 160


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2027-01-01T00:00:00", 1_798_761_600.0),
        ("2027-01-01T00:00:00+00:00", 1_798_761_600.0),
        ("0001-01-01T00:00:00+14:00", None),
        ("soon", None),
    ],
)
def test_times_that_no_clock_has_are_none(text: str, expected: float | None) -> None:
    """Whoever made the certificate chose them."""
    values = (("subject/commonName", "a"), ("validity/notAfter", text))
    evidence = proofs.of_script(Script("ssl-cert", "x", values), "tcp", "https")

    assert evidence.certificate is not None
    assert evidence.certificate.not_after in {expected, -62135647200.0}


@pytest.mark.parametrize(
    ("service", "rule", "holds"),
    [
        (Service("redis", "Redis key-value store", "7.0.15", probed=True),
         "RULE-REDIS-NOAUTH", True),
        (Service("redis", "Redis key-value store", probed=True), "RULE-REDIS-NOAUTH", None),
        (Service("mongodb", "MongoDB", "", "need to login", probed=True),
         "RULE-MONGODB-NOAUTH", False),
        (Service("mongodb", "MongoDB", "2.5.1 or later", probed=True),
         "RULE-MONGODB-NOAUTH", None),
        (Service("http", "Elasticsearch REST API", "7.17.0", probed=True),
         "RULE-ELASTIC-NOAUTH", True),
        (Service("X11", "X.Org", "", "open", probed=True), "RULE-X11-OPEN", True),
        (Service("X11", "", "", "access denied", probed=True), "RULE-X11-OPEN", False),
        (Service("snmp", "SNMPv1 server", "", "public", probed=True),
         "RULE-SNMP-DEFAULT-COMMUNITY", True),
        (Service("http", "Jenkins", "2.440", probed=True), "RULE-EXPOSED-ADMIN-UI", True),
        (Service("http", "MiniServ", "1.890", probed=True), "RULE-EXPOSED-ADMIN-UI", True),
        (Service("http", "nginx", "1.22.1", probed=True), "RULE-EXPOSED-ADMIN-UI", None),
        (Service("redis", "Redis key-value store", "7.0.15"), "RULE-REDIS-NOAUTH", None),
    ],
)  # fmt: skip
def test_what_a_banner_proves(service: Service, rule: str, *, holds: bool | None) -> None:
    """Who tells a version to those without a password asks for none."""
    proof = proofs.of_banner(service).of(rule)

    assert (proof.holds if proof else None) is holds


WORDS = st.sampled_from(["ERROR", "None (1)", "Version", "NSE: writeable", "NT LM 0.12", "2.0.2"])
TEXTS = st.text(max_size=60) | WORDS
PATHS = st.sampled_from(
    ["subject/commonName", "issuer/", "validity/notAfter", "validity/notBefore", "pubkey/bits",
     "pubkey/type", "sig_algo", "TLSv1.0/ciphers//name", "dialects/", "Authentication", "UDP Port",
     "Security types//type", "message_signing", "title", "x/Anonymous access"]
)  # fmt: skip


@given(
    st.sampled_from(sorted(proofs.SCRIPTS)),
    TEXTS,
    st.lists(st.tuples(PATHS, TEXTS), max_size=6),
    st.sampled_from(["tcp", "udp"]),
)
def test_any_output_is_evidence_that_can_be_kept(
    name: str, output: str, values: list[tuple[str, str]], transport: str
) -> None:
    """Strangers write it; history gives it back as it was."""
    evidence = proofs.of_script(Script(name, output, tuple(values)), transport, "ftp")

    assert Evidence.of_detail(evidence.as_detail()) == evidence
