"""`python -m vedette.capture`: see the package's docstring.

Standard input takes one JSON object a line, {"own": [addresses], "ports": {"tcp": [numbers]},
"interfaces": [names]}: where to capture, and what the next window counts by. Nothing is captured
before the first.
"""

import argparse
import json
import os
import socket
import sys
from ipaddress import ip_address
from threading import Event, Thread
from time import monotonic, process_time, sleep
from typing import Any

from vedette.capture import decode, summary

_NOT_PERMITTED = 77  # EX_NOPERM
_FOLLOW_SECONDS = 1.0  # interfaces that come and go are noticed within
_SLICE_SECONDS = 0.05  # of processor time, that a budget may be over at a time


class _Told:
    """What the agent has told last: this host's addresses and open ports, where to capture."""

    def __init__(self) -> None:
        self.own: frozenset[bytes] = frozenset()
        self.ports: dict[str, list[int]] = {}
        self.interfaces: frozenset[str] = frozenset()
        self.begun = Event()

    def listen(self) -> None:
        for line in sys.stdin:
            told: dict[str, Any] = json.loads(line)
            self.own = frozenset(ip_address(text).packed for text in told["own"])
            self.ports = told["ports"]
            self.interfaces = frozenset(told["interfaces"])
            self.begun.set()
        # The agent is gone, however it went: nobody reads us any more.
        os._exit(0)


def main() -> int:
    """Count packets, window after window. Exit code 77: sockets may not be opened."""
    parser = argparse.ArgumentParser(prog="vedette.capture")
    parser.add_argument("--window-seconds", type=float, required=True)
    parser.add_argument("--peers", type=int, required=True)
    parser.add_argument("--backend", choices=["ring", "scapy"], default="ring")
    parser.add_argument("--ring-bytes", type=int, default=4 << 20)
    parser.add_argument("--snap-bytes", type=int, default=126)
    parser.add_argument("--cpu-ratio", type=float, default=1.0)
    arguments = parser.parse_args()

    told = _Told()
    Thread(target=told.listen, daemon=True).start()
    told.begun.wait()
    try:
        if arguments.backend == "ring" and hasattr(socket, "AF_PACKET"):
            _by_ring(arguments, told)
        else:
            _by_scapy(arguments, told)
    except PermissionError as exc:
        print(f"packet sockets may not be opened: {exc.strerror}", file=sys.stderr)
        return _NOT_PERMITTED
    return 0


def _by_ring(arguments: argparse.Namespace, told: _Told) -> None:
    # Imported late: it takes a while, and the agent's first line may come meanwhile.
    from vedette.capture.accounting import Counter  # noqa: PLC0415
    from vedette.capture.makers import Makers  # noqa: PLC0415
    from vedette.capture.ring import Ring  # noqa: PLC0415

    ring = Ring(lambda name: name in told.interfaces, arguments.ring_bytes, arguments.snap_bytes)
    counter, makers = Counter(), Makers()
    while True:
        start = followed = monotonic()
        used = process_time()
        window = summary.Window(told.own, dict(told.ports))
        counter.begin(window)
        while (left := start + arguments.window_seconds - monotonic()) > 0:
            if (batch := ring.batch(min(left, _FOLLOW_SECONDS))) is not None:
                counter.add(batch, ring.names)
                ring.release(batch)
            if monotonic() - followed > _FOLLOW_SECONDS:
                followed = monotonic()
                ring.follow()
            # What is over the budget waits, and then finds no slot: the kernel counts it.
            over = (process_time() - used) / arguments.cpu_ratio - (monotonic() - start)
            if over > _SLICE_SECONDS:
                sleep(min(over, left))
        counter.end()
        makers.learn(window.macs())
        line = window.as_json(
            monotonic() - start, arguments.peers, {"all": ring.dropped()}, makers.of
        )
        print(json.dumps(line, separators=(",", ":")), flush=True)


def _by_scapy(arguments: argparse.Namespace, told: _Told) -> None:
    from vedette.capture import scapy_backend  # noqa: PLC0415

    sockets = scapy_backend.Sockets(lambda name: name in told.interfaces)
    vendor_of = scapy_backend.vendors()
    while True:
        start = monotonic()
        sockets.follow()
        window = summary.Window(told.own, dict(told.ports))
        for name, link_type, frame, size in sockets.frames(start + arguments.window_seconds):
            window.add(name, decode.packet(frame, link_type), size)
        line = window.as_json(monotonic() - start, arguments.peers, sockets.dropped(), vendor_of)
        print(json.dumps(line, separators=(",", ":")), flush=True)


if __name__ == "__main__":
    sys.exit(main())
