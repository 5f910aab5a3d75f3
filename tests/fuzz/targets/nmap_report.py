"""edges/nmap.py: what nmap prints, most of it in the words of strangers."""

import re

from tests.unit.edges.test_nmap import PIECES, REPORTS, must_be_sound

WORDS = sorted({*re.findall(rb"[\w-]+=\"|</?[\w-]+", b"".join(PIECES)), b"&#x1b;", b"<!ENTITY "})


def seeds() -> list[bytes]:
    """Return the recorded reports."""
    return REPORTS


def take(report: bytes) -> None:
    """Hold that it is BadOutput, or hosts with clean and short text."""
    must_be_sound(report)
