"""publish/web_config.py: a file that somebody may be writing at this moment."""

import re

from tests.unit.publish.test_web_config import EVERYTHING, TOOLKIT, check
from tests.unit.test_bounded_yaml import BOMBS

WORDS = sorted({*re.findall(rb"[\w-]+", EVERYTHING.encode()), b"&a ", b"*a", b"<<: ", b"!!str "})


def seeds() -> list[bytes]:
    """Return the toolkit's example, and every key there is."""
    return [TOOLKIT.encode(), EVERYTHING.encode(), *(bomb.encode() for bomb in BOMBS)]


def take(contents: bytes) -> None:
    """Hold that it is a WebConfig without holes, or sentences."""
    check(contents)
