"""edges/capture_process.py: what the capture process prints, which strangers might take over."""

import json

from tests.unit.edges.test_capture_process import CHANGES, SUMMARY, must_be_sound

WORDS = [json.dumps(word).encode() for word in (*SUMMARY, "tcp", "in", "other", "1e999", 1 << 63)]


def seeds() -> list[bytes]:
    """Return a good summary, and such as are almost good."""
    return [json.dumps({**SUMMARY, **change}).encode() for change in ({}, *CHANGES)]


def take(line: bytes) -> None:
    """Hold that it is BadOutput, or a summary that can be counted and printed."""
    must_be_sound(line.decode(errors="replace"))  # as the pipe is read
