"""capture/dissection.py: frames as they come from the network, several in one input."""

import json

from tests.captures import make
from vedette.capture.dissection import Dissection
from vedette.thresholds import EVENTS, Thresholds

OWN = frozenset({bytes([198, 51, 100, 7])})
WORDS = [
    b"\x16\x03\x01",
    b"\x63\x82\x53\x63",
    b"SSH-",
    b"GET / HTTP/1.1\r\n",
    b"\x08\x06\0\1\x08\0\6\4",
]
_APART = b"\xff\0\xff\0"


def seeds() -> list[bytes]:
    """Return a frame of each kind, and all together."""
    frames = [frame for _, frame in make.ethernet()]
    return [*frames, _APART.join(frames)]


def take(data: bytes) -> None:
    """Hold that it raises nothing, and tells plain JSON with events of the fixed list."""
    dissection = Dissection(Thresholds(), lambda: OWN, lambda: {"tcp": [80], "udp": [53]})
    for number, frame in enumerate(data.split(_APART)):
        dissection.frame("eth0", 1 + 771 * (number % 2), frame, len(frame), float(number))
    told = dissection.window([])
    assert json.loads(json.dumps(told)) == told
    assert {event[0] for event in told["events"]} <= set(EVENTS)
