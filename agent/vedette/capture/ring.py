"""Every packet of all interfaces, by one ring that the kernel fills and this process reads.

TPACKET_V2 (Documentation/networking/packet_mmap.rst): slots of one size, so that a batch of
packets is one numpy array; nothing is copied before it is counted. CAP_NET_RAW is enough.
"""

import math
import mmap
import select
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vedette.capture import filters
from vedette.capture.packet_socket import SOL_PACKET, PacketSocket

# linux/if_packet.h
_RX_RING, _VERSION = 5, 10
_V2 = 1
_USER = 1  # TP_STATUS_USER: the slot is ours
_HEADERS = 66  # bytes of the kernel's before a frame with an Ethernet header
_PAGE = 4096
_BLOCK_PAGES = 48  # at least, so that a block's last, broken page counts little

# Words of four bytes in a slot: struct tpacket2_hdr, then struct sockaddr_ll at 32.
STATUS, LENGTH, CAPTURED, OFFSETS, PROTOCOL, INTERFACE, HARDWARE = 0, 1, 2, 3, 8, 9, 10
# The network header begins here, where the link header has 16 bytes at most.
NETWORK = 80

_BATCH = 4096  # slots at once: what is made of them stays in the processor's cache
_TOGETHER_SECONDS = 0.02  # at most, so that 50 times a second a batch is counted
_ROOM = 0.33  # of the ring
_NAMES_KEPT = 4096  # interfaces that come and go for years

Words = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Batch:
    """Packets as they lie in the ring: a row of words each, until the next batch is asked for."""

    rows: Words

    def frame(self, row: int) -> bytes:
        """Return what was captured of a packet."""
        words = self.rows[row]
        start = int(words[OFFSETS]) & 0xFFFF
        slot: bytes = words.tobytes()
        return slot[start : start + int(words[CAPTURED])]


class Ring:
    """One socket on all interfaces. wanted: says by name which of them count.

    size: of the ring, in bytes. snap: bytes of each frame that are kept. slots: how many packets it
    has room for. Raises PermissionError if it may not be opened, OSError where the kernel has no
    such ring.
    """

    def __init__(self, wanted: Callable[[str], bool], size: int, snap: int) -> None:
        self.names: dict[int, str] = {}
        slot = -(-(_HEADERS + snap) // 16) * 16
        block = math.lcm(slot, _PAGE)
        block *= -(-_BLOCK_PAGES * _PAGE // block)
        blocks = max(1, size // block)
        self.slots = blocks * block // slot
        self._packets = PacketSocket(wanted, filters.on_interfaces)
        opened = self._packets.socket
        opened.setsockopt(SOL_PACKET, _VERSION, _V2)
        opened.setsockopt(
            SOL_PACKET, _RX_RING, struct.pack("IIII", block, blocks, slot, self.slots)
        )
        self._memory = mmap.mmap(opened.fileno(), blocks * block)
        self._words: Words = np.frombuffer(self._memory, np.uint32).reshape(self.slots, slot // 4)
        self._next = 0
        # Packets a second between the last two pauses, when the last ended, what came since.
        self._rate, self._read, self._since = 1.0, 0.0, 0
        self._poller = select.poll()
        self._poller.register(opened, select.POLLIN)
        self.follow()
        self._packets.listen()

    def follow(self) -> None:
        """Take what has appeared, and forget what is gone."""
        names = self._packets.follow()
        # A name stays known: what is still in the ring may be of an interface that is gone.
        self.names = {**self.names, **names} if len(self.names) < _NAMES_KEPT else names

    def batch(self, seconds: float) -> Batch | None:
        """Return the next packets, None if none came in so many seconds.

        They are read together: what comes after a first one is waited for, as long as the ring has
        room at the rate of before.
        """
        found = self._ready()
        if found == min(_BATCH, self.slots - self._next):  # there may be more: no time to lose
            self._since += found
            return self._batch(found)
        end = time.monotonic() + max(0.0, seconds)
        if not found and not self._poller.poll(max(0.0, seconds) * 1000):
            return None
        now = time.monotonic()
        pause = min(_TOGETHER_SECONDS, self.slots * _ROOM / self._rate) - (now - self._read)
        if (pause := min(pause, end - now)) > 0:
            # A burst may have begun: what came at twice the pace by then is not waited for.
            time.sleep(pause / 4)
            if not self._has_come(int(self.slots * _ROOM / 2)):
                time.sleep(pause * 3 / 4)
        found = self._ready()
        now, before = time.monotonic(), self._read
        self._rate = max(1.0, (self._since + found) / max(1e-6, now - before))
        self._since, self._read = 0, now
        # Woken for nothing, as a poll may be: there is no batch without a packet.
        return self._batch(found) if found else None

    def _batch(self, number: int) -> Batch:
        return Batch(self._words[self._next : self._next + number])

    def release(self, batch: Batch) -> None:
        """Give the slots of a batch back to the kernel."""
        batch.rows[:, STATUS] = 0
        self._next = (self._next + len(batch.rows)) % self.slots

    def _ready(self) -> int:
        """Return how many slots are ours, one after the other."""
        status = self._words[self._next : self._next + _BATCH, STATUS] & _USER
        return int(status.argmin()) if not status.all() else len(status)

    def _has_come(self, packets: int) -> bool:
        """Return whether so many are there, by the last of them."""
        return bool(self._words[(self._next + packets) % self.slots, STATUS] & _USER)

    def dropped(self) -> int:
        """Return how many packets found no slot since the last call."""
        return self._packets.dropped()

    def close(self) -> None:
        """Close the socket; the memory goes with the last array that looks at it."""
        self._packets.socket.close()
