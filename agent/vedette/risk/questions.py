"""Questions for which nmap has no safe script: whether a service answers without a password.

Each is one harmless request, as its own clients make it: nothing is written, no name is tried.
"""

import re
import struct
from dataclasses import dataclass

from vedette.evidence import Evidence, proved, refuted
from vedette.scanned import Service

_WEB = frozenset({"http", "https"})


@dataclass(frozen=True, slots=True)
class Question:
    """A request, and the answers that prove a rule (yes) or disprove it (no).

    services: nmap's names of those that it is for; product: those whose banner says so; ports:
    where a web server, or what has not answered, may be one.
    """

    id: str
    rule: str
    request: bytes
    yes: re.Pattern[bytes]
    no: re.Pattern[bytes]
    words: str
    services: frozenset[str]
    ports: frozenset[int]
    product: re.Pattern[str]

    def is_for(self, service: Service, number: int) -> bool:
        """Whether it makes sense to ask this service."""
        if service.probed:
            unsure = service.name in _WEB or service.name == "unknown"
            told = bool(self.product.search(service.product))
            return service.name in self.services or told or (unsure and number in self.ports)
        return service.name in self.services or number in self.ports

    @property
    def enough(self) -> re.Pattern[bytes]:
        """What need not be read any further."""
        return re.compile(self.yes.pattern + b"|" + self.no.pattern, re.DOTALL)

    def proves(self, data: bytes, *, wants_certificate: bool = False) -> Evidence:
        """Return what an answer proves."""
        if self.yes.search(data):
            return Evidence((proved(self.rule, self.words),))
        if wants_certificate or self.no.search(data):
            return Evidence((refuted(self.rule, "it wants authentication"),))
        return Evidence()


# A TLS alert; or the words of Go's server and of nginx.
_WANTS_TLS = re.compile(rb"\A\x15\x03|HTTP request to an HTTPS server|sent to HTTPS port")


def wants_tls(data: bytes) -> bool:
    """Whether a service that was asked in plain text speaks TLS.

    Version detection does not find that out where a certificate of the client is wanted.
    """
    return bool(_WANTS_TLS.search(data))


def _http(method: str, path: str, body: str = "") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "User-Agent: vedette", "Accept: */*"]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "Connection: close", "", body]).encode()


_REFUSED = rb"\AHTTP/1\.[01] 40[13]"


def _web(
    name: str, rule: str, request: bytes, yes: bytes, words: str, *,
    services: tuple[str, ...], ports: tuple[int, ...], product: str, no: bytes = _REFUSED,
) -> Question:  # fmt: skip
    return Question(
        name, rule, request, re.compile(rb"\AHTTP/1\.[01] 200.*?" + yes, re.DOTALL),
        re.compile(no, re.DOTALL), words, frozenset(services), frozenset(ports),
        re.compile(product, re.IGNORECASE),
    )  # fmt: skip


def _zookeeper() -> bytes:
    """Connect, list the root, end the session."""
    connect = struct.pack(">iqiqi16sB", 0, 0, 4000, 0, 16, bytes(16), 0)
    children = struct.pack(">iii1sB", 1, 8, 1, b"/", 0)
    end = struct.pack(">ii", 2, -11)
    return b"".join(struct.pack(">i", len(part)) + part for part in (connect, children, end))


def _mongodb() -> bytes:
    """OP_MSG {listDatabases: 1, nameOnly: true, $db: "admin"}, which MongoDB knows since 3.6."""
    elements = (
        b"\x10listDatabases\0" + struct.pack("<i", 1)
        + b"\x08nameOnly\0\x01"
        + b"\x02$db\0" + struct.pack("<i", 6) + b"admin\0"
    )  # fmt: skip
    document = struct.pack("<i", len(elements) + 5) + elements + b"\0"
    body = struct.pack("<I", 0) + b"\0" + document
    return struct.pack("<iiii", 16 + len(body), 1, 0, 2013) + body


_ONE_KEY = '{"key":"AA==","range_end":"AA==","limit":1,"keys_only":true}'

QUESTIONS = (
    _web(
        "elasticsearch-root", "RULE-ELASTIC-NOAUTH", _http("GET", "/"), rb'"cluster_name"',
        "GET / was answered without a password",
        services=("elasticsearch", "wap-wsp"), ports=(9200,), product="elasticsearch|opensearch",
    ),
    _web(
        "etcd-range", "RULE-ETCD-NOAUTH",
        _http("POST", "/v3/kv/range", _ONE_KEY),
        rb'"cluster_id"', "a range of keys was listed without authentication",
        services=("etcd-client",), ports=(2379,), product="etcd",
        no=rb"\AHTTP/1\.[01] 4\d\d.*?(user name is empty|auth|ermission)|" + _REFUSED,
    ),
    _web(
        "docker-version", "RULE-DOCKER-API-NOAUTH", _http("GET", "/version"), rb'"ApiVersion"',
        "GET /version was answered without a certificate",
        services=("docker",), ports=(2375, 2376), product="docker",
    ),
    _web(
        "kubelet-pods", "RULE-KUBELET-ANONYMOUS", _http("GET", "/pods"), rb'"PodList"',
        "GET /pods was answered without authentication",
        services=("kubelet",), ports=(10250, 10255), product="kubelet",
    ),
    Question(
        "zookeeper-root", "RULE-ZOOKEEPER-NOAUTH", _zookeeper(),
        # The session's reply, then that to request 1: no error; or -102, -115, -124 for want of
        # authentication (KeeperException.Code).
        re.compile(rb"\A\0\0\0[\x24\x25].{36,37}\0\0..\0\0\0\x01.{8}\0\0\0\0", re.DOTALL),
        re.compile(rb"\A\0\0\0[\x24\x25].{36,37}\0\0..\0\0\0\x01.{8}\xff\xff\xff[\x9a\x8d\x84]",
                   re.DOTALL),
        "its root was listed without authentication",
        frozenset({"zookeeper"}), frozenset({2181}), re.compile("zookeeper", re.IGNORECASE),
    ),
    Question(
        "mongodb-list", "RULE-MONGODB-NOAUTH", _mongodb(),
        re.compile(rb"\x04databases\0.*\x01ok\0\0\0\0\0\0\0\xf0\x3f", re.DOTALL),
        re.compile(rb"requires authentication|not authorized|Unauthorized"),
        "its databases were listed without a password",
        frozenset({"mongodb", "mongod"}), frozenset({27017}), re.compile("mongodb", re.IGNORECASE),
    ),
)  # fmt: skip
BY_ID = {question.id: question for question in QUESTIONS}
