"""`python -m vedette.capture`: see the package's docstring.

Standard input takes one JSON object a line, {"own": [addresses], "ports": {"tcp": [numbers]}}: what
the next window counts by.
"""

import argparse
import json
import os
import sys
from ipaddress import ip_address
from threading import Thread
from time import monotonic
from typing import Any

from vedette.capture import decode, summary

_NOT_PERMITTED = 77  # EX_NOPERM


class _Told:
    """What the agent has told last: this host's addresses and open ports."""

    def __init__(self) -> None:
        self.own: frozenset[bytes] = frozenset()
        self.ports: dict[str, list[int]] = {}

    def listen(self) -> None:
        for line in sys.stdin:
            told: dict[str, Any] = json.loads(line)
            self.own = frozenset(ip_address(text).packed for text in told["own"])
            self.ports = told["ports"]
        # The agent is gone, however it went: nobody reads us any more.
        os._exit(0)


def main() -> int:
    """Count packets, window after window. Exit code 77: sockets may not be opened."""
    parser = argparse.ArgumentParser(prog="vedette.capture")
    parser.add_argument("--window-seconds", type=float, required=True)
    parser.add_argument("--peers", type=int, required=True)
    parser.add_argument("--interface", action="append", default=[], help="default: what is told")
    parser.add_argument("--skip", default="", help="regular expression of interfaces to leave out")
    arguments = parser.parse_args()

    told = _Told()
    Thread(target=told.listen, daemon=True).start()
    # Imported late: it takes a third of a second, and the agent's first line may come meanwhile.
    from vedette.capture import scapy_backend  # noqa: PLC0415

    chosen = frozenset(arguments.interface)
    sockets = scapy_backend.Sockets(lambda name: name in chosen)
    vendor_of = scapy_backend.vendors()
    while True:
        start = monotonic()
        try:
            sockets.follow()
        except PermissionError as exc:
            print(f"packet sockets may not be opened: {exc.strerror}", file=sys.stderr)
            return _NOT_PERMITTED
        window = summary.Window(told.own, dict(told.ports))
        for name, link_type, frame, size in sockets.frames(start + arguments.window_seconds):
            window.add(name, decode.packet(frame, link_type), size)
        line = window.as_json(monotonic() - start, arguments.peers, sockets.dropped(), vendor_of)
        print(json.dumps(line, separators=(",", ":")), flush=True)


if __name__ == "__main__":
    sys.exit(main())
