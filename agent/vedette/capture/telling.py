"""The frames that tell something, whole, from sockets of their own: the kernel picks them out.

Which: SYNs, the beginnings of what protocols say first, ARP, neighbour discovery, and the UDP ports
of DNS, DHCP and the like. At most so many a second are taken; the kernel drops the rest, and counts
it. Each kind (worth.py) has a queue of its own, and they are served in turns.
"""

import select
import socket
import struct
import time
from collections.abc import Callable, Sequence

from vedette.capture import filters, worth
from vedette.capture.decode import LOOPBACK_LINK
from vedette.capture.filters import Instruction
from vedette.capture.packet_socket import SOL_PACKET, PacketSocket, attach, dropped, listen
from vedette.capture.worth import BEGINS, DATAGRAM, KINDS, NOTHING, SAID, WHO

_LONGEST = 2048  # bytes of a frame: a ClientHello with all its extensions, mostly
_BUFFER = 1 << 18  # of each kind
_WAIT_SECONDS = 0.5
# linux/if_packet.h: what the kernel says beside a frame; a group of sockets, in which a program
# says by its result whose a frame is; with a number of the kernel's choice (since Linux 4.12).
_AUXDATA, _FANOUT, _FANOUT_DATA = 8, 18, 22
_BY_PROGRAM, _UNIQUE = 6, 0x2000
_ALONGSIDE = struct.Struct("=IIIHHHH")
_VLAN_VALID, _VLAN_NUMBER = 1 << 4, 0x0FFF

# linux/bpf_common.h; loads may count from the network header, whatever link header there is.
_WORD, _HALF, _BYTE = 0x20, 0x28, 0x30
_WORD_X, _HALF_X, _BYTE_X = 0x40, 0x48, 0x50
_TO_X, _ADD_X, _AND, _LEFT, _RIGHT, _SET = 0x07, 0x0C, 0x54, 0x64, 0x74, 0x00
_EQUAL, _SOME_BITS, _ABOVE_OR_EQUAL, _RETURN = 0x15, 0x45, 0x35, 0x06
_NETWORK, _ANCILLARY = 0xFFF00000, 0xFFFFF000
_PROTOCOL, _HARDWARE = 0, 28  # SKF_AD_PROTOCOL, SKF_AD_HATYPE

Step = tuple[int, int, str, str] | str  # code, operand, label if true, if false; or a label


def program(indices: Sequence[int]) -> list[Instruction]:
    """Return what tells the kind of a frame, for these interfaces: 0 if it tells nothing."""
    steps: list[Step] = [
        (_HALF, _ANCILLARY + _PROTOCOL, "", ""),
        (_EQUAL, 0x0806, "who", ""), (_EQUAL, 0x86DD, "v6", ""), (_EQUAL, 0x0800, "", "leave"),
        (_HALF, _NETWORK + 6, "", ""), (_SOME_BITS, 0x1FFF, "leave", ""),
        (_BYTE, _NETWORK, "", ""), (_AND, 15, "", ""), (_LEFT, 2, "", ""), (_TO_X, 0, "", ""),
        (_BYTE, _NETWORK + 9, "", ""), (_EQUAL, 6, "tcp", ""), (_EQUAL, 17, "udp", ""),
        (_EQUAL, 1, "", "leave"),
        (_BYTE_X, _NETWORK, "", ""), (_EQUAL, worth.UNREACHABLE, "who", "leave"),
        "v6",
        (_SET, 40, "", ""), (_TO_X, 0, "", ""), (_BYTE, _NETWORK + 6, "", ""),
        (_EQUAL, 6, "tcp", ""), (_EQUAL, 17, "udp", ""), (_EQUAL, 58, "", "leave"),
        (_BYTE, _NETWORK + 40, "", ""),
        *((_EQUAL, kind, "who", "") for kind in worth.ICMP6_TYPES[:-1]),
        (_EQUAL, worth.ICMP6_TYPES[-1], "who", "leave"),
        "udp",
        (_HALF_X, _NETWORK, "", ""), *((_EQUAL, port, "who", "") for port in worth.DHCP_PORTS),
        (_HALF_X, _NETWORK + 2, "", ""), *((_EQUAL, port, "who", "") for port in worth.DHCP_PORTS),
        *((_EQUAL, port, "datagram", "") for port in worth.UDP_PORTS),
        (_HALF_X, _NETWORK, "", ""), *((_EQUAL, port, "datagram", "") for port in worth.UDP_PORTS),
        (_EQUAL, worth.QUIC, "quic", ""),
        (_HALF_X, _NETWORK + 2, "", ""), (_EQUAL, worth.QUIC, "quic", "leave"),
        "quic",
        (_BYTE_X, _NETWORK + 8, "", ""), (_ABOVE_OR_EQUAL, worth.LONG_HEADER, "datagram", "leave"),
        "tcp",
        # A host that begins connections with itself, as our own scans do, tells nothing by that.
        (_WORD, _ANCILLARY + _HARDWARE, "", ""), (_EQUAL, LOOPBACK_LINK, "said", ""),
        (_BYTE_X, _NETWORK + 13, "", ""), (_SOME_BITS, worth.SYN, "begins", ""),
        "said",
        (_BYTE_X, _NETWORK + 13, "", ""),
        (_SOME_BITS, worth.PUSH, "", "words"),
        (_HALF_X, _NETWORK + 2, "", ""), (_EQUAL, worth.TO_PORT, "speaks", ""),
        (_HALF_X, _NETWORK, "", ""), (_EQUAL, worth.FROM_PORT, "speaks", ""),
        "words",
        (_BYTE_X, _NETWORK + 12, "", ""), (_AND, 0xF0, "", ""), (_RIGHT, 2, "", ""),
        (_ADD_X, 0, "", ""), (_TO_X, 0, "", ""),
        (_WORD_X, _NETWORK, "", ""),
        *((_EQUAL, int.from_bytes(word, "big"), "speaks", "") for word in worth.FIRST_WORDS),
        (_RIGHT, 16, "", ""), *((_EQUAL, half, "speaks", "") for half in worth.FIRST_HALVES),
        (_WORD_X, _NETWORK + 4, "", ""),
        *((_EQUAL, int.from_bytes(word, "big"), "speaks", "") for word in worth.SECOND_WORDS),
        (_RIGHT, 16, "", ""), (_EQUAL, worth.BIND, "speaks", ""),
        (_RIGHT, 8, "", ""), (_EQUAL, worth.GREETING_VERSION, "", "fourth"),
        (_WORD_X, _NETWORK, "", ""), (_AND, 0x00FFFFFF, "", ""), (_EQUAL, 0, "speaks", ""),
        "fourth",
        (_WORD_X, _NETWORK + 12, "", ""),
        *((_EQUAL, int.from_bytes(word, "big"), "speaks", "") for word in worth.FOURTH_WORDS),
        "leave", (_RETURN, NOTHING, "", ""), "who", (_RETURN, WHO, "", ""),
        "datagram", (_RETURN, DATAGRAM, "", ""), "begins", (_RETURN, BEGINS, "", ""),
        "speaks", (_RETURN, SAID, "", ""),
    ]  # fmt: skip
    return [*filters.on_interfaces(indices)[:-1], *_assembled(steps)]


def _assembled(steps: list[Step]) -> list[Instruction]:
    """Turn labels into distances; they reach 255 instructions far."""
    places: dict[str, int] = {}
    codes: list[tuple[int, int, str, str]] = []
    for step in steps:
        if isinstance(step, str):
            places[step] = len(codes)
        else:
            codes.append(step)
    return [
        (
            code,
            places[true] - at - 1 if true else 0,
            places[false] - at - 1 if false else 0,
            operand,
        )
        for at, (code, operand, true, false) in enumerate(codes)
    ]


class Telling:
    """Sockets on all interfaces. look: takes (interface, ARPHRD, frame, size, Unix seconds).

    wanted: says by name which interfaces count. per_second: how many frames are looked at.
    """

    def __init__(
        self,
        wanted: Callable[[str], bool],
        look: Callable[[str, int, bytes, int, float], None],
        per_second: int,
    ) -> None:
        self._look, self._per_second = look, per_second
        self._packets = PacketSocket(wanted, program, (SOL_PACKET, _FANOUT_DATA))
        # The first gets what tells nothing, and keeps none of it.
        first = self._packets.socket
        sockets = [first, *(_socket() for _ in KINDS[1:])]
        for opened in sockets:
            attach(opened, filters.packed([(_RETURN, 0, 0, 0)]))
            listen(opened)
        first.setsockopt(SOL_PACKET, _FANOUT, (_BY_PROGRAM | _UNIQUE) << 16)
        group = first.getsockopt(SOL_PACKET, _FANOUT) & 0xFFFF
        for opened in sockets[1:]:
            opened.setsockopt(SOL_PACKET, _FANOUT, _BY_PROGRAM << 16 | group)
        self._packets.follow()
        self._queues = {opened.fileno(): opened for opened in sockets[1:]}
        self._poller = select.poll()
        for opened in self._queues.values():
            attach(opened, filters.packed([(_RETURN, 0, 0, _LONGEST)]))
            self._poller.register(opened, select.POLLIN)

    def listen(self) -> None:
        """Look at frames for ever, so many a second."""
        while True:
            end, left = time.monotonic() + 1, self._per_second
            while left > 0 and (wait := end - time.monotonic()) > 0:
                # One of each kind that there is: what a flood does not leave to others waits.
                for number, _ in self._poller.poll(wait * 1000):
                    left -= self._one(self._queues[number])
            time.sleep(max(0.0, end - time.monotonic()))
            self._packets.follow()

    def _one(self, opened: socket.socket) -> bool:
        try:
            frame, beside, _, address = opened.recvmsg(_LONGEST, socket.CMSG_SPACE(_ALONGSIDE.size))
        except BlockingIOError:
            return False
        except OSError:  # an interface went down: the others are still there
            time.sleep(_WAIT_SECONDS)
            return False
        name, size = address[0], len(frame)
        for _, _, data in beside:  # there is one at most
            status, size, _, _, _, tag, _ = _ALONGSIDE.unpack(data)
            if status & _VLAN_VALID:  # another network, whose tag the kernel has taken off
                name = f"{name}.{tag & _VLAN_NUMBER}"
        self._look(name, address[3], frame, size, time.time())
        return True

    def shed(self) -> int:
        """Return how many frames were not looked at since the last call, beyond the budget."""
        return sum(dropped(opened) for opened in self._queues.values())


def _socket() -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.setblocking(False)  # noqa: FBT003 - the socket's own signature
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    opened.setsockopt(SOL_PACKET, _AUXDATA, 1)
    return opened
