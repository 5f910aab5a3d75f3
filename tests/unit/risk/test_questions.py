"""risk/questions.py: what is asked where, and what answers prove.

The answers are those of the services' documentation, cut short.
"""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.risk.questions import BY_ID, QUESTIONS, wants_tls
from vedette.scanned import Service

OK, JSON = b"HTTP/1.1 200 OK\r\n", b"Content-Type: application/json\r\n\r\n"


def session(error: int, *, read_only: bool = True) -> bytes:
    """What a ZooKeeper replies to a session and a first request."""
    connect = struct.pack(">iiqi16s", 0, 4000, 1, 16, bytes(range(16))) + b"\0" * read_only
    reply = struct.pack(">iqi", 1, 77, error) + (struct.pack(">i", 0) if error == 0 else b"")
    return b"".join(struct.pack(">i", len(part)) + part for part in (connect, reply))


def mongodb(*elements: bytes) -> bytes:
    body = b"".join(elements)
    document = struct.pack("<i", len(body) + 5) + body + b"\0"
    return struct.pack("<iiiiIB", 21 + len(document), 9, 1, 2013, 0, 0) + document


ONE, ZERO = b"\x01ok\0" + struct.pack("<d", 1), b"\x01ok\0" + struct.pack("<d", 0)
NOBODY = b"\x02errmsg\0\x2f\0\0\0command listDatabases requires authentication\0"


@pytest.mark.parametrize(
    ("name", "answer", "holds"),
    [
        ("elasticsearch-root", OK + JSON + b'{"name":"a","cluster_name":"b"}', True),
        ("elasticsearch-root", b"HTTP/1.1 401 Unauthorized\r\n\r\n", False),
        ("elasticsearch-root", OK + b"\r\n<html>It works!", None),
        ("etcd-range", OK + JSON + b'{"header":{"cluster_id":"1"},"count":"0"}', True),
        ("etcd-range", b'HTTP/1.1 400 No\r\n\r\n{"error":"etcdserver: user name is empty"}',
         False),
        ("etcd-range", b"HTTP/1.1 404 Not Found\r\n\r\n", None),
        ("docker-version", OK + JSON + b'{"Version":"20.10.5","ApiVersion":"1.41"}', True),
        ("docker-version", b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent HTTP", None),
        ("kubelet-pods", OK + JSON + b'{"kind":"PodList","items":[]}', True),
        ("kubelet-pods", b"HTTP/1.1 401 Unauthorized\r\n\r\nUnauthorized", False),
        ("kubelet-pods", b"HTTP/1.1 403 Forbidden\r\n\r\nForbidden (user=system:anonymous)", False),
        ("zookeeper-root", session(0), True),
        ("zookeeper-root", session(0, read_only=False), True),
        ("zookeeper-root", session(-102), False),
        ("zookeeper-root", session(-124), False),
        ("zookeeper-root", session(-4), None),
        ("mongodb-list", mongodb(b"\x04databases\0\x05\0\0\0\0", ONE), True),
        ("mongodb-list", mongodb(ZERO, NOBODY), False),
        ("mongodb-list", mongodb(ZERO, b"\x02errmsg\0\x02\0\0\0x\0"), None),
    ],
)  # fmt: skip
def test_what_an_answer_proves(name: str, answer: bytes, *, holds: bool | None) -> None:
    """Given without a password, refused, or something else."""
    proof = BY_ID[name].proves(answer).of(BY_ID[name].rule)

    assert (proof.holds if proof else None) is holds


def test_who_wants_a_certificate_of_the_client_is_clean() -> None:
    """The handshake fails before anything is asked."""
    question = BY_ID["docker-version"]
    proof = question.proves(b"", wants_certificate=True).of(question.rule)

    assert proof is not None
    assert not proof.holds


@pytest.mark.parametrize(
    ("service", "number", "expected"),
    [
        (Service("http", "nginx", probed=True), 9200, ["elasticsearch-root"]),
        (Service("http", "nginx", probed=True), 80, []),
        (Service("http", "Elasticsearch REST API", probed=True), 80, ["elasticsearch-root"]),
        (Service("https", "Golang net/http server", probed=True), 10250, ["kubelet-pods"]),
        (Service("ssh", "OpenSSH", probed=True), 2379, []),
        (Service(), 2181, ["zookeeper-root"]),
        (Service("mongodb", "MongoDB", probed=True), 7000, ["mongodb-list"]),
    ],
)
def test_who_is_asked_what(service: Service, number: int, expected: list[str]) -> None:
    """By name and product; by number only what may be such a service."""
    assert [one.id for one in QUESTIONS if one.is_for(service, number)] == expected


def test_requests_are_whole_and_harmless() -> None:
    """One line each, or the length that they say; no name and no password is among them."""
    for question in QUESTIONS:
        assert b"uthorization" not in question.request
        if question.request[:3] in {b"GET", b"POS"}:
            head, _, body = question.request.partition(b"\r\n\r\n")
            assert (f"Content-Length: {len(body)}".encode() in head) == bool(body)
    mongo = BY_ID["mongodb-list"].request
    assert struct.unpack_from("<i", mongo)[0] == len(mongo)


@given(st.binary(max_size=200), st.binary(max_size=60))
def test_any_answer_is_read(start: bytes, end: bytes) -> None:
    """It is a stranger's."""
    for one in QUESTIONS:
        one.proves(start + end)
        one.enough.search(end + start)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x46", True),
        (
            b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
            True,
        ),
        (OK, False),
        (b"", False),
    ],
)
def test_who_wants_tls_says_so(data: bytes, *, expected: bool) -> None:
    """Docker on 2376 and a kubelet on 10250, where nmap learns nothing without a certificate."""
    assert wants_tls(data) is expected
