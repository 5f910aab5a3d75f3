"""What the output of a script, or a banner, proves: the rules that hold, and those that do not.

What is read here was made by nmap's scripts out of strangers' words; a script that found nothing
prints nothing, and nothing proves nothing.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from vedette.evidence import Certificate, Evidence, Proof, Script, proved, refuted
from vedette.job import clean
from vedette.scanned import Service

# Percent: as for all that a banner tells; and where it leaves a question.
BY_BANNER, _PERHAPS = 80, 30

_WEAK_TLS = {  # protocol: severity (RFC 6176, 7568, 8996)
    "SSLv2": 7.4, "SSLv3": 7.4, "TLSv1.0": 4.8, "TLSv1.1": 4.8,
}  # fmt: skip
# Who listens reads along (no encryption, no authentication, export grade); or may in time.
_OPEN_CIPHER = re.compile(r"_NULL_|_anon_|EXPORT|_DES_|_DES40_|_RC2_", re.IGNORECASE)
_WEAK_CIPHER = re.compile(r"_RC4_|_3DES_|_IDEA_", re.IGNORECASE)
_OPEN_SEVERITY, _WEAK_SEVERITY = 7.4, 5.3
_WRITABLE_SEVERITY = 8.1
_WANTS_AUTHENTICATION = re.compile(
    r"authentication required|NOAUTH|requires? authentication|not authorized|unauthorized"
    r"|need to login|auth failed",
    re.IGNORECASE,
)
_ERROR = re.compile(r"^\s*ERROR\b", re.MULTILINE)

ADMIN_UI = "RULE-EXPOSED-ADMIN-UI"
_ADMIN_UIS = (
    "phpMyAdmin", "phpPgAdmin", "pgAdmin", "Adminer", "Webmin", "Usermin", "Virtualmin", "Cockpit",
    "Proxmox", "Portainer", "Kubernetes Dashboard", "Rancher", "Grafana", "Prometheus",
    "Alertmanager", "Kibana", "OpenSearch Dashboards", "Jenkins", "RabbitMQ Management",
    "MinIO Console", "Traefik", "Consul by HashiCorp", "Netdata", "Zabbix", "Nagios", "Icinga",
    "cPanel", "WHM Login", "Plesk", "DirectAdmin", "ISPConfig", "Tomcat Web Application Manager",
    "WebLogic", "WebSphere", "Solr Admin", "HAProxy Statistics", "Mongo Express",
    "Redis Commander", "Airflow", "Synology DiskStation", "OpenWrt", "pfSense", "OPNsense",
    "RouterOS", "Integrated Lights-Out", "iDRAC", "iLO",
)  # fmt: skip
_ADMIN_UI = re.compile(
    r"\b(?:" + "|".join(re.escape(name) for name in _ADMIN_UIS) + r")\b", re.IGNORECASE
)
# What nmap calls them; MiniServ is Webmin's server.
_ADMIN_PRODUCT = re.compile(rf"{_ADMIN_UI.pattern}|\bMiniServ\b", re.IGNORECASE)
_WEB = frozenset({"http", "https", "http-proxy", "http-alt", "https-alt"})


def of_script(script: Script, transport: str, service_name: str) -> Evidence:
    """Return what a script's output proves about the port that it ran on."""
    if script.id == "ssl-cert":
        return _of_certificate(script, service_name)
    reader = _READERS.get(script.id)
    return Evidence(tuple(reader(script, transport)) if reader else ())


def of_banner(service: Service) -> Evidence:
    """Return what a service's answer to version detection proves."""
    return Evidence(tuple(_of_banner(service)) if service.probed else ())


# ---- certificates ----

_NAME_LIMIT = 160  # characters of a subject or an issuer: whoever made them chose how many
_NAMES = ("commonName", "organizationName", "organizationalUnitName", "localityName",
          "stateOrProvinceName", "countryName")  # fmt: skip


def _of_certificate(script: Script, service_name: str) -> Evidence:
    subject, issuer = _name(script, "subject"), _name(script, "issuer")
    if not script.first("validity/notAfter"):  # an old or a cut report: text alone
        return Evidence()
    bits = script.first("pubkey/bits")
    certificate = Certificate(
        subject,
        issuer,
        _utc(script.first("validity/notBefore")),
        _utc(script.first("validity/notAfter")),
        script.first("pubkey/type"),
        int(bits) if bits.isascii() and bits.isdigit() and len(bits) < 6 else 0,  # noqa: PLR2004
        script.first("sig_algo"),
        self_signed=bool(subject) and _all(script, "subject") == _all(script, "issuer"),
    )
    encrypts = (
        (refuted("RULE-CLEARTEXT-FTP", "it offers AUTH TLS"),) if service_name == "ftp" else ()
    )
    return Evidence(encrypts, certificate)


def _all(script: Script, part: str) -> list[tuple[str, str]]:
    return sorted(
        (at.partition("/")[2], text) for at, text in script.values if at.startswith(f"{part}/")
    )


def _name(script: Script, part: str) -> str:
    found = _all(script, part)
    known = dict(reversed(found))
    ordered = [known[name] for name in _NAMES if name in known]
    return clean(", ".join(ordered or [text for _, text in found]), _NAME_LIMIT)


def _utc(text: str) -> float | None:
    """Read a certificate's time. It is in UTC; whether nmap says so depends on its release."""
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


# ---- TLS ----


def tls(protocols: Mapping[str, tuple[str, ...]], *, complete: bool) -> Iterator[Proof]:
    """Yield what the protocols and ciphers prove that a server speaks.

    protocols: {"TLSv1.0": names of ciphers}. complete: what is not named is not spoken.
    """
    old = [name for name in _WEAK_TLS if name in protocols]
    if old:
        severity = max(_WEAK_TLS[name] for name in old)
        yield proved("RULE-TLS-OLD-PROTOCOL", f"it speaks {', '.join(old)}", severity)
    elif complete:
        yield refuted("RULE-TLS-OLD-PROTOCOL", "it speaks TLS 1.2 or newer only")
    ciphers = sorted({cipher for names in protocols.values() for cipher in names})
    for pattern, severity in ((_OPEN_CIPHER, _OPEN_SEVERITY), (_WEAK_CIPHER, _WEAK_SEVERITY)):
        weak = [cipher for cipher in ciphers if pattern.search(cipher)]
        if weak:
            more = f" and {len(weak) - 2} more" if len(weak) > 2 else ""  # noqa: PLR2004
            words = f"it takes {', '.join(weak[:2])}{more}"
            yield proved("RULE-TLS-WEAK-CIPHER", words, severity)
            return
    if complete:
        yield refuted("RULE-TLS-WEAK-CIPHER", "it takes no weak cipher")


def _ssl_enum_ciphers(script: Script, _: str) -> Iterator[Proof]:
    protocols: dict[str, list[str]] = {}
    for at, text in script.values:
        protocol, _, rest = at.partition("/")
        if rest == "ciphers//name":
            protocols.setdefault(protocol, []).append(text)
    if protocols:
        yield from tls({name: tuple(found) for name, found in protocols.items()}, complete=True)


def _sslv2(script: Script, _: str) -> Iterator[Proof]:
    if "SSLv2 supported" in script.output:
        yield proved("RULE-TLS-OLD-PROTOCOL", "it speaks SSLv2", _WEAK_TLS["SSLv2"])


def _ssl_poodle(script: Script, _: str) -> Iterator[Proof]:
    if re.search(r"State: (LIKELY )?VULNERABLE", script.output):
        yield proved("RULE-TLS-OLD-PROTOCOL", "it speaks SSLv3", _WEAK_TLS["SSLv3"])


# ---- who may enter without a name ----


def _ftp_anon(script: Script, _: str) -> Iterator[Proof]:
    if "Anonymous FTP login allowed" not in script.output:
        return
    writable = "[NSE: writeable]" in script.output
    words = "ftp-anon logged in" + (" and found a directory that all may write" if writable else "")
    yield proved("RULE-FTP-ANONYMOUS", words, _WRITABLE_SEVERITY if writable else None)


def _answers(
    rule: str, shows: Callable[[Script], bool]
) -> Callable[[Script, str], Iterator[Proof]]:
    """Return the reader of a script that asks without a password."""

    def read(script: Script, _: str) -> Iterator[Proof]:
        if _WANTS_AUTHENTICATION.search(script.output):
            yield refuted(rule, f"{script.id}: it wants authentication")
        elif not _ERROR.search(script.output) and shows(script):
            yield proved(rule, f"{script.id} was answered without a password")

    return read


def _mongodb_info(script: Script) -> bool:
    return bool(script.first("Server status/uptime")) or bool(
        re.search(r"^\s*(uptime|connections|localTime)\b", script.output, re.MULTILINE)
    )


def _memcached_info(script: Script, transport: str) -> Iterator[Proof]:
    said = script.first("Authentication")
    if said == "no":
        yield proved("RULE-MEMCACHED-NOAUTH", "memcached-info: Authentication: no")
    elif said or _WANTS_AUTHENTICATION.search(script.output):
        yield refuted("RULE-MEMCACHED-NOAUTH", "memcached-info: it wants authentication")
    port = script.first("UDP Port")
    if transport == "udp" and script.values:
        yield proved("RULE-MEMCACHED-UDP", "memcached-info was answered by UDP")
    elif port.strip("0"):
        yield proved("RULE-MEMCACHED-UDP", f"memcached-info: it listens on UDP port {port}")
    elif port:
        yield refuted("RULE-MEMCACHED-UDP", "memcached-info: UDP is off")


def _vnc_info(script: Script, _: str) -> Iterator[Proof]:
    names = script.all("Security types//name")
    types = script.all("Security types//type")
    if "1" in types or "None" in names or re.search(r"\bNone \(1\)", script.output):
        yield proved("RULE-VNC-NOAUTH", "vnc-info: security type None")
    elif types or names or "Security types" in script.output:
        yield refuted("RULE-VNC-NOAUTH", "vnc-info: it wants authentication")


def _x11_access(script: Script, _: str) -> Iterator[Proof]:
    if "access is granted" in script.output:
        yield proved("RULE-X11-OPEN", "x11-access: X server access is granted")


# ---- SMB ----


def _smb_protocols(script: Script, _: str) -> Iterator[Proof]:
    dialects = script.all("dialects/") or tuple(script.output.splitlines())
    if any("NT LM 0.12" in dialect or "SMBv1" in dialect for dialect in dialects):
        yield proved("RULE-SMBV1", "smb-protocols: NT LM 0.12 (SMBv1)")
    elif any(re.search(r"\b[23][.:]\d", dialect) for dialect in dialects):
        yield refuted("RULE-SMBV1", "smb-protocols: SMB 2 and newer only")


def _smb2_security_mode(script: Script, _: str) -> Iterator[Proof]:
    said = " ".join(text for _, text in script.values) or script.output
    if re.search(r"not required|signing (is )?disabled", said):
        yield proved("RULE-SMB-SIGNING-OFF", "smb2-security-mode: signing is not required")
    elif "enabled and required" in said:
        yield refuted("RULE-SMB-SIGNING-OFF", "smb2-security-mode: signing is required")


def _smb_security_mode(script: Script, _: str) -> Iterator[Proof]:
    said = script.first("message_signing") or script.output
    if re.search(r"disabled|supported", said):
        yield proved("RULE-SMB-SIGNING-OFF", "smb-security-mode: signing is not required")
    elif "required" in said:
        yield refuted("RULE-SMB-SIGNING-OFF", "smb-security-mode: signing is required")


def _smb_enum_shares(script: Script, _: str) -> Iterator[Proof]:
    for at, text in script.values:
        if at.endswith("/Anonymous access") and re.search("READ|WRITE", text):
            share = at.rpartition("/")[0].rpartition("\\")[2]
            words = f"smb-enum-shares: {share} without a name: {text}"
            yield proved("RULE-SMB-NULL-SESSION", words)
            return


# ---- SNMP, and what answers small questions with large packets ----


def _snmp_brute(script: Script, _: str) -> Iterator[Proof]:
    found = re.search(r"\b(public|private)\b.*Valid credentials", script.output)
    if found:
        words = f"snmp-brute: the community {found[1]} is valid"
        yield proved("RULE-SNMP-DEFAULT-COMMUNITY", words)


def _snmp_public(script: Script, _: str) -> Iterator[Proof]:
    # They ask as "public", unless they were told otherwise.
    if script.output and not _ERROR.search(script.output):
        words = f"{script.id} was answered, which asks as the community public"
        yield proved("RULE-SNMP-DEFAULT-COMMUNITY", words)


def _amplifies(
    rule: str, pattern: str = "", *, udp: bool = False
) -> Callable[..., Iterator[Proof]]:
    def read(script: Script, transport: str) -> Iterator[Proof]:
        if udp and transport != "udp":
            return
        said = script.output if not _ERROR.search(script.output) else ""
        if said and re.search(pattern, said):
            yield proved(rule, f"{script.id} was answered")

    return read


_READERS: Mapping[str, Callable[[Script, str], Iterator[Proof]]] = {
    "ssl-enum-ciphers": _ssl_enum_ciphers,
    "sslv2": _sslv2,
    "ssl-poodle": _ssl_poodle,
    "ftp-anon": _ftp_anon,
    "redis-info": _answers("RULE-REDIS-NOAUTH", lambda s: "Version" in s.output),
    "mongodb-databases": _answers("RULE-MONGODB-NOAUTH", lambda s: "totalSize" in s.output),
    "mongodb-info": _answers("RULE-MONGODB-NOAUTH", _mongodb_info),
    "docker-version": _answers("RULE-DOCKER-API-NOAUTH", lambda s: "ersion" in s.output),
    "memcached-info": _memcached_info,
    "vnc-info": _vnc_info,
    "x11-access": _x11_access,
    "smb-protocols": _smb_protocols,
    "smb2-security-mode": _smb2_security_mode,
    "smb-security-mode": _smb_security_mode,
    "smb-enum-shares": _smb_enum_shares,
    "snmp-brute": _snmp_brute,
    "snmp-sysdescr": _snmp_public,
    "snmp-interfaces": _snmp_public,
    "snmp-netstat": _snmp_public,
    "snmp-processes": _snmp_public,
    "ntp-monlist": _amplifies("RULE-NTP-MONLIST"),
    "dns-recursion": _amplifies("RULE-OPEN-RESOLVER", "appears to be enabled"),
    "upnp-info": _amplifies("RULE-SSDP", udp=True),
    "ldap-rootdse": _amplifies("RULE-CLDAP", udp=True),
    "http-title": lambda script, _: _title(script.first("title") or script.output),
}
SCRIPTS = frozenset(_READERS) | {"ssl-cert"}


def _title(text: str) -> Iterator[Proof]:
    if _ADMIN_UI.search(text):
        yield proved(ADMIN_UI, f"its page is titled {text[:60]!r}", None, BY_BANNER)


# ---- banners ----

# Products that tell their version only to those whom they ask for no password.
_TELLS_ALL = {
    "redis": ("RULE-REDIS-NOAUTH", re.compile("Redis key-value store")),
    "memcached": ("RULE-MEMCACHED-NOAUTH", re.compile("Memcached")),
    "mongodb": ("RULE-MONGODB-NOAUTH", re.compile("MongoDB")),
    "zookeeper": ("RULE-ZOOKEEPER-NOAUTH", re.compile("Zookeeper", re.IGNORECASE)),
    "docker": ("RULE-DOCKER-API-NOAUTH", re.compile("Docker remote API")),
    "http": ("RULE-ELASTIC-NOAUTH", re.compile("Elasticsearch REST API")),
    "https": ("RULE-ELASTIC-NOAUTH", re.compile("Elasticsearch REST API")),
}
_PLAIN_VERSION = re.compile(r"\d[\w.-]*")


def _of_banner(service: Service) -> Iterator[Proof]:
    rule, product = _TELLS_ALL.get(service.name, ("", None))
    if product is not None and product.match(service.product):
        if _PLAIN_VERSION.fullmatch(service.version):
            words = f"{service.name} told its version without a password"
            yield proved(rule, words, None, BY_BANNER)
        elif re.search("need to login|not authorized|auth", service.extra_info):
            yield refuted(rule, f"it wants authentication ({service.extra_info[:60]})")
    if service.name.lower() == "x11" and service.extra_info in {"open", "access denied"}:
        words = f"the display answered: {service.extra_info}"
        told = proved if service.extra_info == "open" else refuted
        yield replace(told("RULE-X11-OPEN", words), sure=BY_BANNER)
    if service.name == "snmp":
        if service.product == "SNMPv1 server" and service.extra_info.startswith("public"):
            words = "it answered the community public"
            yield proved("RULE-SNMP-DEFAULT-COMMUNITY", words, None, BY_BANNER)
            yield proved("RULE-SNMP-V1V2C", words, None, BY_BANNER)
        elif service.product:
            words = "it answered version 3; whether it answers older ones is not known"
            yield proved("RULE-SNMP-V1V2C", words, None, _PERHAPS)
    if service.name in _WEB and (found := _ADMIN_PRODUCT.search(service.product)):
        yield proved(ADMIN_UI, f"it is {found[0]}", None, BY_BANNER)
