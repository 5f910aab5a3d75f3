"""A packet socket on all interfaces, whose filter follows those that are wanted (packet(7))."""

import ctypes
import os
import socket
import struct
from collections.abc import Callable, Sequence

from vedette.capture import filters
from vedette.capture.filters import Instruction

# linux/if_packet.h, asm/socket.h
SOL_PACKET = 263
_STATISTICS = 6
_FILTER = (socket.SOL_SOCKET, 26)  # SO_ATTACH_FILTER
_ALL = 3  # ETH_P_ALL


class PacketSocket:
    """wanted: says by name which interfaces count. program: makes the filter of their indices.

    Nothing comes in before `listen`. socket: for what else is asked of it. option: where else than
    in the socket's own filter the program goes. Raises PermissionError if it may not be opened.
    """

    def __init__(
        self,
        wanted: Callable[[str], bool],
        program: Callable[[Sequence[int]], list[Instruction]],
        option: tuple[int, int] = _FILTER,
    ) -> None:
        self._wanted, self._program, self._option = wanted, program, option
        self._filter = b""
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)

    def follow(self) -> dict[int, str]:
        """Take what has appeared, forget what is gone; return {index: name} of what is there."""
        names = {index: name for index, name in socket.if_nameindex() if self._wanted(name)}
        code = filters.packed(self._program(sorted(names)))
        if code != self._filter:
            attach(self.socket, code, self._option)
            self._filter = code
        return names

    def listen(self) -> None:
        """Bind to all interfaces; the filter has to stand by then."""
        listen(self.socket)

    def dropped(self) -> int:
        """Return how many packets found no room since the last call."""
        return dropped(self.socket)


def attach(opened: socket.socket, code: bytes, option: tuple[int, int] = _FILTER) -> None:
    """Give a packed program to the kernel."""
    buffer = ctypes.create_string_buffer(code, len(code))
    opened.setsockopt(*option, struct.pack("HP", len(code) // 8, ctypes.addressof(buffer)))


def listen(opened: socket.socket) -> None:
    """Bind to all interfaces, those still to come as well; `socket.bind` takes only one."""
    library = ctypes.CDLL(None, use_errno=True)
    address = struct.pack("=H2siHBB8s", socket.AF_PACKET, struct.pack("!H", _ALL), 0, 0, 0, 0, b"")
    if library.bind(opened.fileno(), address, len(address)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def dropped(opened: socket.socket) -> int:
    """Return how many packets the kernel has dropped of a packet socket's; reading it resets it."""
    _, lost = struct.unpack("II", opened.getsockopt(SOL_PACKET, _STATISTICS, 8))
    return int(lost)
