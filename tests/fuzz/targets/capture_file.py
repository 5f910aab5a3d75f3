"""capture/offline.py: a capture file as somebody sends it, through all that reads it."""

import io

from tests.captures import make
from vedette.capture import classify, offline
from vedette.thresholds import Thresholds

WORDS = [
    b"\n\r\r\n",
    b"\xd4\xc3\xb2\xa1",
    b"\x1f\x8b",
    b"\x08\x00",
    b"\x86\xdd",
    b"\x63\x82\x53\x63",
]


def seeds() -> list[bytes]:
    """Return captures of every format and link type."""
    return [capture.data[:4096] for capture in make.captures()]


def take(data: bytes) -> None:
    """Hold that every packet is counted once, under names of the fixed list."""
    document = offline.read(io.BytesIO(data), 5, Thresholds())
    parts = document["protocols"].values()
    assert sum(part["packets"] for part in parts) == document["packets"]
    assert set(document["application_protocols"]) <= classify.NAMES | {"no_payload"}
