"""Frames of many interfaces by scapy's sockets: works wherever scapy does (Linux, macOS, Windows).

Only scapy's sockets are used, not its dissection: that takes 90 microseconds a packet.
"""

import logging
import select
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

from scapy.config import conf

from vedette.capture.decode import ETHERNET_LINK, LOOPBACK_LINK
from vedette.capture.packet_socket import SOL_PACKET, dropped

# Before anything that opens sockets is imported. Reading all routes takes minutes on a router, and
# nothing here sends; promiscuous mode shows nothing more on a switched network, and logs.
conf.route_autoload = False
conf.route6_autoload = False
conf.sniff_promisc = False
# The receive buffer of each socket in bytes; scapy's default of 64 KiB loses bursts.
conf.bufsize = 4 << 20

# It warns of each socket that it has no class to dissect frames with: none is wanted.
logging.getLogger("scapy.runtime").setLevel(logging.ERROR)

from scapy.arch import get_if_list  # noqa: E402 - after the settings above
from scapy.error import Scapy_Exception  # noqa: E402

_PACKET_IGNORE_OUTGOING = 23
_SO_RCVBUFFORCE = 33
_BATCH = 256  # frames read from one socket before the others have their turn


class Sockets:
    """One listening socket for each interface; they come and go with the interfaces."""

    def __init__(self, wanted: Callable[[str], bool]) -> None:
        self._wanted = wanted
        self._open: dict[str, tuple[Any, int]] = {}  # name -> socket, link type
        self._lost: dict[str, int] = {}

    def follow(self) -> None:
        """Open what has appeared, close what is gone. Raises PermissionError if it may not."""
        names = {name for name in get_if_list() if self._wanted(name) and _is_up(name)}
        for name in self._open.keys() - names:
            self._close(name)
        for name in sorted(names - self._open.keys()):
            try:
                self._open[name] = (_listen(name), _link_type(name))
            except PermissionError:
                raise
            except (OSError, Scapy_Exception):
                # It went down between the two lines, or cannot be listened on: try next window.
                self._lost.setdefault(name, 0)

    def frames(self, until: float) -> Iterator[tuple[str, int, bytes, int]]:
        """Yield (interface, link type, frame, size on the wire) until that monotonic time."""
        while (left := until - monotonic()) > 0:
            by_socket = {opened: (name, kind) for name, (opened, kind) in self._open.items()}
            if not by_socket:
                select.select([], [], [], left)
                return
            for ready in select.select(list(by_socket), [], [], min(left, 1.0))[0]:
                name, kind = by_socket[ready]
                try:
                    for _ in range(_BATCH):
                        _, frame, _ = ready.recv_raw()
                        if frame is None:
                            break
                        yield name, kind, frame, len(frame)
                except BlockingIOError:
                    continue
                except OSError:  # the interface is gone
                    self._close(name)
                    break

    def dropped(self) -> dict[str, int]:
        """Return {interface: packets the kernel dropped since the last call}, where it tells."""
        for name, (opened, _) in self._open.items():
            self._lost[name] = self._lost.get(name, 0) + _statistics(opened)
        lost, self._lost = self._lost, {}
        return lost

    def close(self) -> None:
        """Close all sockets."""
        for name in list(self._open):
            self._close(name)

    def _close(self, name: str) -> None:
        opened, _ = self._open.pop(name)
        self._lost[name] = self._lost.get(name, 0) + _statistics(opened)
        opened.close()


def _listen(name: str) -> Any:
    opened = conf.L2listen(iface=name, promisc=False)
    inner = getattr(opened, "ins", None)
    if isinstance(inner, socket.socket):
        inner.setblocking(False)  # noqa: FBT003 - the socket's own signature
        with suppress(OSError):  # beyond net.core.rmem_max only root may go
            inner.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, conf.bufsize)
        if _is_loopback(name):
            # What leaves on loopback arrives there too: without this each packet counts twice.
            inner.setsockopt(SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    return opened


def _statistics(opened: Any) -> int:
    """Return how many packets the kernel has dropped, 0 where it does not tell."""
    inner = getattr(opened, "ins", None)
    if not isinstance(inner, socket.socket) or not hasattr(socket, "AF_PACKET"):
        return 0
    try:
        return dropped(inner)
    except OSError:  # closed already
        return 0


def _link_type(name: str) -> int:
    """Return ARPHRD_… of an interface; elsewhere than on Linux it is taken for Ethernet."""
    try:
        return int(Path("/sys/class/net", name, "type").read_text(encoding="ascii"))
    except OSError:
        return ETHERNET_LINK


def _is_up(name: str) -> bool:
    try:
        flags = int(Path("/sys/class/net", name, "flags").read_text(encoding="ascii"), 16)
    except OSError:
        return not Path("/sys/class/net").exists()
    return bool(flags & 1)


def _is_loopback(name: str) -> bool:
    return _link_type(name) == LOOPBACK_LINK


def vendors() -> Callable[[str], str]:
    """Return a function from a MAC to its maker's short name ("" if unknown), by the IEEE."""
    registry = conf.manufdb
    known: Collection[str] = registry.keys() if hasattr(registry, "keys") else ()

    def vendor(mac: str) -> str:
        if not known:
            return ""
        name = registry._get_manuf(mac)  # noqa: SLF001 - the registry's look-up has no other name
        return "" if name == mac else str(name)

    return vendor


__all__ = ["Sockets", "vendors"]
