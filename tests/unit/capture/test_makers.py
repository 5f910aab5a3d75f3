"""capture/makers.py: who comes new is told with the maker of the card."""

import time

from vedette.capture.makers import Makers

INTEL, NOBODYS = "00:1b:21:00:00:77", "02:00:00:00:00:01"
ROWS = [["192.0.2.7", INTEL, "", "arp", ""], ["192.0.2.8", NOBODYS, "", "arp", "x"]]


def test_a_neighbour_is_held_back_until_the_registry_has_answered() -> None:
    """And then told with what it said, once."""
    makers = Makers()
    assert makers.complete("heard", ROWS) == []
    makers.learn([INTEL, NOBODYS])
    end = time.monotonic() + 60
    while not makers.of(INTEL) and time.monotonic() < end:
        time.sleep(0.1)
        makers.learn([])

    assert makers.complete("heard", []) == [
        ["192.0.2.7", INTEL, "Intel Corporate", "arp", ""], ["192.0.2.8", NOBODYS, "", "arp", "x"],
    ]  # fmt: skip
    assert makers.complete("heard", []) == []
    assert len(makers.complete("heard", ROWS)) == 2


def test_nobody_waits_for_ever() -> None:
    """A registry that does not answer hides no neighbour, and strangers fill no memory."""
    makers = Makers()
    told = [makers.complete("heard", ROWS if not window else []) for window in range(6)]

    assert told == [[], [], [], [], [], ROWS]
    many = ([f"10.{n >> 8}.{n & 255}.1", INTEL, ""] for n in range(5000))
    makers.complete("neighbours", many)
    later = [makers.complete("neighbours", []) for _ in range(5)]

    assert sum(map(len, later)) == 1024
