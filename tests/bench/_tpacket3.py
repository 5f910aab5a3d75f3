"""The design that was not taken (DECISIONS 45): TPACKET_V3 blocks, walked packet by packet.

`python -m tests.bench._tpacket3 INTERFACE SECONDS BYTES` prints the packets that it counted, by
addresses, protocol and ports as the ring does, and those that the kernel dropped.
"""

import mmap
import select
import socket
import struct
import sys
import time

_SOL_PACKET, _RX_RING, _STATISTICS, _VERSION, _V3 = 263, 5, 6, 10, 2
_BLOCK, _RETIRE_MS, _ALL = 1 << 18, 60, 3
_RECORD = struct.Struct("=IIIIIIHH")  # next, seconds, nanoseconds, captured, size, status, mac, net


def main() -> None:
    """Count for some seconds."""
    name, seconds, size = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.setsockopt(_SOL_PACKET, _VERSION, _V3)
    blocks = size // _BLOCK
    request = struct.pack("IIIIIII", _BLOCK, blocks, 256, blocks * _BLOCK // 256, _RETIRE_MS, 0, 0)
    opened.setsockopt(_SOL_PACKET, _RX_RING, request)
    ring = mmap.mmap(opened.fileno(), blocks * _BLOCK)
    opened.bind((name, _ALL))
    print("ready", flush=True)
    seen, at, counts = 0, 0, dict[tuple[int, bytes, bytes], int]()
    end = time.monotonic() + seconds
    poller = select.poll()
    poller.register(opened, select.POLLIN)
    while time.monotonic() < end:
        status, packets, first = struct.unpack_from("=III", ring, at + 8)
        if not status & 1:
            poller.poll(_RETIRE_MS)
            continue
        here = at + first
        for _ in range(packets):
            following, _, _, _, length, _, _, network = _RECORD.unpack_from(ring, here)
            ip = here + network
            if ring[ip] >> 4 == 4:
                key = ring[ip + 9], ring[ip + 12 : ip + 20], ring[ip + 20 : ip + 24]
            else:
                key = ring[ip + 6], ring[ip + 8 : ip + 40], ring[ip + 40 : ip + 44]
            counts[key] = counts.get(key, 0) + length
            here += following
        seen += packets
        if len(counts) > 1 << 16:
            counts.clear()
        struct.pack_into("=I", ring, at + 8, 0)
        at = (at + _BLOCK) % (blocks * _BLOCK)
    _, lost, _ = struct.unpack("III", opened.getsockopt(_SOL_PACKET, _STATISTICS, 12))
    print(seen, lost, flush=True)


if __name__ == "__main__":
    main()
