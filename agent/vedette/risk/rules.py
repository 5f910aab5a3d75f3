"""What is risky about a service whatever its version: a table.

severity is on the scale of CVSS base scores; threat (0 to 1) says how likely it is to be used.
Only what can be seen without logging in or running scripts stands here.
"""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One weakness.

    services: nmap's names of those that have it. wider_than_loopback: it is none on loopback.
    public_only: it is one on public addresses alone. automatable: an attack on it needs nobody's
    attention. total: who uses it controls the service.
    """

    id: str
    title: str
    advice: str
    severity: float
    threat: float
    services: frozenset[str]
    wider_than_loopback: bool = False
    public_only: bool = False
    automatable: bool = False
    total: bool = False


RULES = (
    Rule(
        "RULE-CLEARTEXT-TELNET",
        "telnet sends passwords in clear text",
        "replace it with SSH",
        8.1,
        0.6,
        frozenset({"telnet"}),
    ),
    Rule(
        "RULE-RLOGIN",
        "the r-services (rexec, rlogin, rsh) trust addresses and send passwords in clear text",
        "replace them with SSH",
        9.0,
        0.5,
        frozenset({"exec", "login", "shell", "rlogin", "rsh"}),
    ),
    Rule(
        "RULE-CLEARTEXT-FTP",
        "FTP sends passwords and files in clear text",
        "require TLS, or use SFTP",
        5.3,
        0.3,
        frozenset({"ftp"}),
    ),
    Rule(
        "RULE-CLEARTEXT-MAIL",
        "mailboxes are read in clear text unless the client asks for STARTTLS",
        "require TLS",
        4.3,
        0.2,
        frozenset({"pop3", "imap"}),
        wider_than_loopback=True,
    ),
    Rule(
        "RULE-SNMP-V1V2C",
        "SNMP before version 3 sends its community in clear text",
        "use SNMP v3, or restrict who may ask",
        4.3,
        0.2,
        frozenset({"snmp"}),
    ),
    Rule(
        "RULE-TFTP",
        "TFTP hands out files to anybody who asks",
        "stop it, or restrict who may ask",
        5.3,
        0.3,
        frozenset({"tftp"}),
    ),
    Rule(
        "RULE-EXPOSED-REMOTE-DESKTOP",
        "a remote desktop or X display is open to the network",
        "put it behind a VPN or an SSH tunnel",
        6.5,
        0.4,
        frozenset({"vnc", "vnc-http", "X11", "ms-wbt-server", "rdp"}),
        wider_than_loopback=True,
    ),
    Rule(
        "RULE-EXPOSED-CONTROL-API",
        "an interface that controls this host or its containers is open to the network",
        "bind it to loopback, or require client certificates",
        8.1,
        0.6,
        frozenset({"docker", "kubelet", "etcd-client", "epmd", "jdwp", "java-rmi", "ajp13"}),
        wider_than_loopback=True,
        automatable=True,
        total=True,
    ),
    Rule(
        "RULE-EXPOSED-DATASTORE",
        "a database, cache or queue is open to the internet",
        "bind it to loopback or a private address",
        5.3,
        0.3,
        frozenset(
            [
                "redis",
                "memcached",
                "memcache",
                "mongodb",
                "mongod",
                "mysql",
                "mariadb",
                "postgresql",
                "ms-sql-s",
                "oracle",
                "oracle-tns",
                "cassandra",
                "couchdb",
                "elasticsearch",
                "wap-wsp",
                "amqp",
                "amqps",
                "mqtt",
                "rethinkdb",
                "zookeeper",
                "riak",
                "neo4j",
                "influxdb",
                "db2",
                "firebird",
            ]
        ),
        public_only=True,
    ),
    Rule(
        "RULE-EXPOSED-FILE-SHARE",
        "a file share is open to the internet",
        "restrict it to private addresses",
        6.5,
        0.4,
        frozenset(
            [
                "microsoft-ds",
                "netbios-ssn",
                "nfs",
                "nfs_acl",
                "mountd",
                "rpcbind",
                "rsync",
                "afp",
                "iscsi",
            ]
        ),
        public_only=True,
    ),
)


def matching(service_name: str, exposure: str) -> Iterator[Rule]:
    """Yield the rules for a service that can be reached from `exposure` ("loopback" …)."""
    for rule in RULES:
        if service_name not in rule.services:
            continue
        if rule.public_only and exposure != "public":
            continue
        if rule.wider_than_loopback and exposure == "loopback":
            continue
        yield rule
