"""capture/ring.py on a real ring of the kernel's: when it is read, and when it rests."""

import socket
from collections.abc import Iterator

import pytest

from tests.live import netns
from vedette.capture.ring import Batch, Ring

pytestmark = pytest.mark.live

SIZE = 1 << 20


@pytest.fixture
def opened() -> Iterator[tuple[Ring, socket.socket]]:
    """A ring on loopback, and a socket that sends to itself."""
    with netns.two_hosts("ring") as (host, _):
        with host.entered():
            reader = Ring(lambda name: name == "lo", SIZE, 126)
            own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        own.bind(("127.0.0.1", 0))
        own.connect(own.getsockname())
        with own:
            yield reader, own
        reader.close()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The rests that the ring took."""
    taken: list[float] = []
    monkeypatch.setattr("vedette.capture.ring.time.sleep", taken.append)
    return taken


def send(own: socket.socket, number: int) -> None:
    for _ in range(number):
        own.send(b"x")
        own.recv(1)


def taken(reader: Ring) -> int:
    """Read a batch, and give it back."""
    batch = reader.batch(1)
    assert isinstance(batch, Batch)
    reader.release(batch)
    return len(batch.rows)


def test_it_reads_on_at_the_end_of_the_ring(
    opened: tuple[Ring, socket.socket], pauses: list[float]
) -> None:
    """What goes on at its beginning may be all of the ring: a rest there would lose packets."""
    reader, own = opened
    slots = reader.slots
    for left in range(slots - 10, 0, -1000):
        send(own, min(left, 1000))
        assert taken(reader) == min(left, 1000)
    pauses.clear()

    send(own, 30)

    assert (taken(reader), pauses) == (10, [])
    assert (taken(reader), len(pauses)) == (20, 2)  # a rest in two parts
    assert reader.dropped() == 0


@pytest.mark.parametrize(("meanwhile", "rests"), [(10, 2), (2000, 1)])
def test_a_burst_ends_the_rest(
    opened: tuple[Ring, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: int,
    rests: int,
) -> None:
    """A rest as long as little traffic allows would let the beginning of a burst overflow."""
    reader, own = opened
    rested: list[float] = []

    def sleep(seconds: float) -> None:
        rested.append(seconds)
        send(own, meanwhile if len(rested) == 1 else 0)

    monkeypatch.setattr("vedette.capture.ring.time.sleep", sleep)
    send(own, 1)
    assert (taken(reader), rested) == (1, [])  # it has rested for long
    send(own, 1)

    assert taken(reader) == 1 + meanwhile
    assert len(rested) == rests
    assert reader.dropped() == 0


def test_woken_for_nothing_there_is_no_batch(
    opened: tuple[Ring, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poll may return although no slot is ready: an empty batch ended the process."""

    class Restless:
        def poll(self, _: float) -> list[tuple[int, int]]:
            return [(0, 1)]

    reader, own = opened
    monkeypatch.setattr(reader, "_poller", Restless())

    assert reader.batch(0.01) is None
    send(own, 1)
    assert taken(reader) == 1
