"""edges/tls_hello.py, risk/questions.py: what services answer to questions of our own."""

from tests.unit.edges.test_tls_hello import server
from tests.unit.risk.test_questions import OK, mongodb, session
from vedette.edges import tls_hello
from vedette.risk.questions import QUESTIONS

WORDS = [b"HTTP/1.1 ", b"200 OK", b"401", b'"PodList"', b"\x04databases\0", b"\x16\x03\x01"]


def seeds() -> list[bytes]:
    """Return answers that prove something."""
    return [OK, session(0), session(-102), mongodb(b"\x01ok\0"), server(0x0301, 0x002F, bytes(32))]


def take(answer: bytes) -> None:
    """Hold that it proves something or nothing, and is a choice of TLS or none."""
    tls_hello.server_hello(answer)
    for question in QUESTIONS:
        question.enough.search(answer)
        for proof in question.proves(answer).proofs:
            assert proof.rule == question.rule
