"""Frames as the kernel lays them into the slots of a ring (linux/if_packet.h, TPACKET_V2)."""

import struct
from collections.abc import Sequence

import numpy as np

from vedette.capture.ring import Batch

SLOT = 192
ETHERNET_TYPE = 1


def batch(frames: Sequence[bytes], link: int = ETHERNET_TYPE, interface: int = 3) -> Batch:
    """The frames, each with all that the kernel says of it; cut to what a slot has room for."""
    slots = b"".join(_slot(frame, link, interface) for frame in frames)
    return Batch(np.frombuffer(bytearray(slots), np.uint32).reshape(len(frames), SLOT // 4))


def _slot(frame: bytes, link: int, interface: int) -> bytes:
    if link == ETHERNET_TYPE:
        header = 14
        protocol = int.from_bytes(frame[12:14].ljust(2, b"\0"), "big")
        protocol = protocol if protocol >= 0x600 else 4  # ETH_P_802_2
    else:
        header, version = 0, frame[0] >> 4 if frame else 0
        protocol = {4: 0x0800, 6: 0x86DD}.get(version, 0)
    start = 80 - header
    kept = frame[: SLOT - start]
    facts = struct.pack("=IIIHHIIHHI", 1, len(frame), len(kept), start, 80, 0, 0, 0, 0, 0)
    address = struct.pack("=H2siHBB8s", 17, protocol.to_bytes(2, "big"), interface, link, 0, 6, b"")
    return (facts + address).ljust(start, b"\0") + kept.ljust(SLOT - start, b"\0")
