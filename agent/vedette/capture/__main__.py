"""`python -m vedette.capture`: see the package's docstring.

Standard input takes one JSON object a line, {"own": [addresses], "macs": [addresses of cards],
"ports": {"tcp": [numbers]}, "interfaces": [names]}: where to capture, and what the next window
counts by. Nothing is captured before the first.
"""

import argparse
import gc
import json
import os
import socket
import sys
import traceback
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from threading import Event, Lock, Thread
from time import monotonic, process_time, sleep, time
from typing import Any

from vedette import memory
from vedette.capture import decode, summary

_NOT_PERMITTED = 77  # EX_NOPERM
_FOLLOW_SECONDS = 1.0  # interfaces that come and go are noticed within
_ROUTE_COLUMNS = 10
_SLICE_SECONDS = 0.05  # of processor time, that a budget may be over at a time


class _Told:
    """What the agent has told last: this host's addresses and open ports, where to capture."""

    def __init__(self) -> None:
        self.own: frozenset[bytes] = frozenset()
        self.macs: frozenset[bytes] = frozenset()
        self.ports: dict[str, list[int]] = {}
        self.interfaces: frozenset[str] = frozenset()
        self.gateways: frozenset[bytes] = frozenset()
        self.begun = Event()

    def listen(self) -> None:
        for line in sys.stdin:
            told: dict[str, Any] = json.loads(line)
            self.own = frozenset(ip_address(text).packed for text in told["own"])
            self.macs = frozenset(bytes.fromhex(text.replace(":", "")) for text in told["macs"])
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
    parser.add_argument("--looks", type=int, default=0, help="frames looked into, a second")
    parser.add_argument("--names", type=int, default=0, help="told of those that are asked for")
    parser.add_argument("--events", type=json.loads, default={}, help="thresholds, as JSON")
    arguments = parser.parse_args()

    memory.share_one_arena()
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
    from vedette.capture.accepted import Accepted  # noqa: PLC0415
    from vedette.capture.accounting import Counter  # noqa: PLC0415
    from vedette.capture.makers import Makers  # noqa: PLC0415
    from vedette.capture.ring import Ring  # noqa: PLC0415
    from vedette.capture.telling import Telling  # noqa: PLC0415

    makers, look = Makers(), Lock()
    dissection = _dissection(arguments, told, makers.of)

    def look_at(name: str, link_type: int, frame: bytes, size: int, at: float) -> None:
        with look:
            dissection.frame(name, link_type, frame, size, at)

    gc.freeze()  # what is there now stays: no packet waits for a look at it
    memory.give_back()  # 3 MiB that importing numpy took
    memory.let_go_of_libraries()
    telling = None
    if arguments.looks:
        telling = Telling(lambda name: name in told.interfaces, look_at, arguments.looks)
        Thread(target=_or_die, args=(telling.listen,), daemon=True).start()
    ring = Ring(lambda name: name in told.interfaces, arguments.ring_bytes, arguments.snap_bytes)
    counter, accepted = Counter(), Accepted()
    while True:
        start = followed = monotonic()
        used = process_time()
        window = summary.Window(told.own, dict(told.ports))
        told.gateways = _gateways()
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
        line = window.as_json(monotonic() - start, arguments.peers, {"all": ring.dropped()})
        with look:
            _learn(line, window, dissection, accepted.take())
        makers.learn([*window.macs(), *(mac for _, mac, *_ in line["heard"])])
        line |= {kind: makers.complete(kind, line[kind]) for kind in ("neighbours", "heard")}
        line["shed"] = telling.shed() if telling else 0
        print(json.dumps(line, separators=(",", ":")), flush=True)


def _learn(
    line: dict[str, Any], window: summary.Window, dissection: Any, accepted: int | None
) -> None:
    """Add to a window's summary what its frames have told, and end it."""
    from vedette.capture.dissection import by_port  # noqa: PLC0415

    line |= dissection.window(window.syns(), window.begun, accepted)
    line["spoken"] += by_port(line["services"], line["spoken"], time())


def _dissection(arguments: argparse.Namespace, told: _Told, vendor_of: Callable[[str], str]) -> Any:
    from vedette.capture.dissection import Dissection  # noqa: PLC0415
    from vedette.thresholds import Thresholds  # noqa: PLC0415

    events = arguments.events
    lists = {key: tuple(value) for key, value in events.items() if isinstance(value, list)}
    return Dissection(
        Thresholds(**(events | lists)),
        lambda: told.own,
        lambda: told.ports,
        vendor_of=vendor_of,
        gateways=lambda: told.gateways,
        macs=lambda: told.macs,
        names=arguments.names,
    )


def _gateways() -> frozenset[bytes]:
    """Return the default gateways, packed (proc(5), /proc/net/route; net/ipv6/route.c)."""
    nowhere, nowhere_6 = "0" * 8, "0" * 32
    return frozenset(
        {
            *(
                int(row[2], 16).to_bytes(4, sys.byteorder)
                for row in _rows("/proc/net/route")
                if row[1] == nowhere and row[2] != nowhere
            ),
            *(
                bytes.fromhex(row[4])
                for row in _rows("/proc/net/ipv6_route")
                if row[:2] == [nowhere_6, "00"] and row[4] != nowhere_6
            ),
        }
    )


def _rows(path: str) -> list[list[str]]:
    """Return the table's rows with all their columns; none where there is no such table."""
    try:
        lines = Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    return [row for line in lines if len(row := line.split()) >= _ROUTE_COLUMNS]


def _or_die(work: Callable[[], None]) -> None:
    """Do this; if it fails, end the whole process: the agent says why, and starts another."""
    try:
        work()
    except Exception:  # noqa: BLE001 - whatever it is, it may not go unseen
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def _by_scapy(arguments: argparse.Namespace, told: _Told) -> None:
    from vedette.capture import scapy_backend  # noqa: PLC0415
    from vedette.capture.accepted import Accepted  # noqa: PLC0415
    from vedette.capture.worth import Budget, begins_connection, kind  # noqa: PLC0415

    sockets = scapy_backend.Sockets(lambda name: name in told.interfaces)
    vendor_of, accepted = scapy_backend.vendors(), Accepted()
    dissection = _dissection(arguments, told, vendor_of)
    while True:
        start = monotonic()
        sockets.follow()
        window = summary.Window(told.own, dict(told.ports))
        told.gateways = _gateways()
        budget = Budget(arguments.looks)
        for name, link_type, frame, size in sockets.frames(start + arguments.window_seconds):
            packet = decode.packet(frame, link_type)
            window.add(name, packet, size)
            if packet.destination in told.own and begins_connection(packet, frame):
                window.count_syn(packet.source, packet.destination, packet.destination_port, 1)
            what = kind(packet, frame, link_type) if arguments.looks else 0
            if what and budget.allows(monotonic(), what):
                dissection.packet(name, packet, link_type, frame, size, time())
        line = window.as_json(monotonic() - start, arguments.peers, sockets.dropped(), vendor_of)
        _learn(line, window, dissection, accepted.take())
        line["shed"] = budget.shed
        print(json.dumps(line, separators=(",", ":")), flush=True)


if __name__ == "__main__":
    sys.exit(main())
