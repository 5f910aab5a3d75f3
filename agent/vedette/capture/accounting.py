"""Counting a batch of the ring's packets by array operations: what summary.Window.add does for one.

Plain headers are read as columns of words; what is anything else (tags, options of IPv6, nonsense)
goes to the decoder packet by packet. Both count the same: a property test compares them.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.capture import decode, protocols, ring
from vedette.capture.heavy import COUNTERS
from vedette.capture.summary import Window

Words = NDArray[np.uint32]
Rows = NDArray[np.intp]
Flags = NDArray[np.bool_]

# Beyond all protocol numbers: what else a packet is counted as; what the decoder reads; services.
_FRAGMENT, _ARP, _UNREAD, _KINDS = 256, 257, 258, 259
_NAMES = {_FRAGMENT: "fragment", _ARP: "arp"}
_TCP, _UDP = 6, 17
# A sum of these weights tells packets and bytes at once, in less than a double's 53 bits: a batch
# has some thousand packets, of 512 KiB at most.
_PACKET = float(1 << 32)
# As little-endian words have them: AF_PACKET and the EtherType; the offset of a fragment; ARP for
# Ethernet and IPv4; the flags of TCP.
_IPV4, _IPV6, _ARP_TYPE = 0x0008_0011, 0xDD86_0011, 0x0608_0011
_OFFSET = 0xFF1F_0000
_ARP_KIND, _ARP_SIZES = 0x0008_0100, 0x0406
_SYN, _SYN_ACK = 0x0200, 0x1200
# Words of a slot: the network header's first; both addresses, and behind them the ports, if it is
# a plain one; a sender's addresses in ARP. From TCP's ports it is so far to its flags.
_NETWORK = ring.NETWORK // 4
_ADDRESSES_V4, _PORTS_V4 = _NETWORK + 3, _NETWORK + 5
_ADDRESSES_V6, _PORTS_V6 = _NETWORK + 2, _NETWORK + 10
_SENDER = _NETWORK + 2
_TO_FLAGS = 3
_PORTS_BYTES, _ARP_BYTES = 4, 28
_LINK_BYTES = dict.fromkeys(decode.ETHERNET, 14) | dict.fromkeys(decode.RAW_IP, 0)
_EXTENSIONS = np.zeros(256, np.bool_)
_EXTENSIONS[list(decode.EXTENSIONS)] = True
_SYNS_LOOKED_AT = 512  # of a batch
_PEERS_AT_ONCE = 1 << 14  # packets whose peers are summed up together
_ODD = np.array([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F], np.uint64)
# Where the services of a protocol begin: those of what has none are at 0.
_TRANSPORTS = np.zeros(_KINDS, np.intp)
_TRANSPORTS[[_TCP, _UDP]] = 1 << 16, 2 << 16


@dataclass(slots=True)
class _Columns:
    """What was read of each packet of a batch; ports: the source port first, in the lower half."""

    protocol: Words
    ports: Words
    flags: Words
    leaves: Flags
    arrives: Flags


class Counter:
    """Counts batches into windows. `begin` a window before the first batch."""

    def __init__(self) -> None:
        self._window = Window((), {})
        # By transport, and port in the network's order: which of the services it is, 0 if none.
        self._services = np.zeros(3 << 16, np.int32)
        self._told: list[tuple[str, int]] = []
        self._own4: list[int] = []
        self._own6: list[tuple[int, ...]] = []
        self._peers = _Busiest()

    def begin(self, window: Window) -> None:
        """Count into this window from now on."""
        self._window = window
        self._services[:] = 0
        self._told = [("", 0)]
        for row, transport in enumerate(("tcp", "udp"), 1):
            for port in window.ports.get(transport, ()):
                self._services[row << 16 | _swapped(port)] = len(self._told)
                self._told.append((transport, port))
        self._own4 = [int.from_bytes(a, "little") for a in window.own if len(a) == 4]  # noqa: PLR2004
        self._own6 = [_words(a) for a in window.own if len(a) == 16]  # noqa: PLR2004

    def add(self, batch: ring.Batch, names: dict[int, str]) -> None:
        """Count the packets of a batch. names: {interface's index: its name}."""
        interfaces = batch.rows[:, ring.INTERFACE]
        first = interfaces[0]
        if (interfaces == first).all():
            self._add_of_one(batch, names.get(int(first), "unknown"))
            return
        for index in np.unique(interfaces):
            rows = batch.rows[interfaces == index]
            self._add_of_one(ring.Batch(rows), names.get(int(index), "unknown"))

    def _add_of_one(self, batch: ring.Batch, name: str) -> None:
        """Count packets of one interface: their link headers have the same length."""
        rows = batch.rows
        link = int(rows[0, ring.HARDWARE]) & 0xFFFF
        if (length := _LINK_BYTES.get(link)) is None:
            unread: Iterable[int] = range(len(rows))
        else:
            level = rows[:, ring.OFFSETS] == (ring.NETWORK << 16 | ring.NETWORK - length)
            columns = self._read_v4(rows, level, length)
            # The others are few, mostly: what is read of them is copied first.
            others = np.flatnonzero(level & (columns.protocol == _UNREAD))
            if len(others):
                self._read_v6(rows, others, length, columns)
                self._read_arp(rows, others, length, columns)
            self._count(rows, columns, name)
            unread = np.flatnonzero(columns.protocol == _UNREAD).tolist()
        for row in unread:
            packet = decode.packet(batch.frame(row), link)
            self._window.add(name, packet, int(rows[row, ring.LENGTH]))

    def _read_v4(self, rows: Words, level: Flags, length: int) -> _Columns:
        plain = level & (rows[:, ring.PROTOCOL] == _IPV4)
        plain &= rows[:, _NETWORK] & 0xFF == 0x45  # noqa: PLR2004 - version 4, five words
        plain &= rows[:, ring.CAPTURED] >= length + (_PORTS_V4 - _NETWORK) * 4 + _PORTS_BYTES
        protocol = np.where(plain, (rows[:, _NETWORK + 2] >> 8) & 0xFF, np.uint32(_UNREAD))
        protocol[plain & (rows[:, _NETWORK + 1] & _OFFSET != 0)] = _FRAGMENT
        source, destination = rows[:, _ADDRESSES_V4], rows[:, _ADDRESSES_V4 + 1]
        leaves = _is_one(source, self._own4) & plain
        arrives = _is_one(destination, self._own4) & plain
        chosen = np.flatnonzero(leaves ^ arrives)
        if len(chosen):
            peers = np.where(leaves, destination, source)[chosen]
            self._peers.add(peers, rows[chosen, ring.LENGTH])
        ports, flags = rows[:, _PORTS_V4], rows[:, _PORTS_V4 + _TO_FLAGS]
        return _Columns(protocol, ports, flags, leaves, arrives)

    def _read_v6(self, rows: Words, others: Rows, length: int, columns: _Columns) -> None:
        plain = rows[others, ring.PROTOCOL] == _IPV6
        plain &= rows[others, _NETWORK] & 0xF0 == 0x60  # noqa: PLR2004 - version 6
        there = length + (_PORTS_V6 - _NETWORK) * 4 + _PORTS_BYTES
        plain &= rows[others, ring.CAPTURED] >= there
        following = (rows[others, _NETWORK + 1] >> 16) & 0xFF
        plain &= ~_EXTENSIONS[following]
        which = others[plain]
        if not len(which):
            return
        source = rows[which, _ADDRESSES_V6 : _ADDRESSES_V6 + 4]
        destination = rows[which, _ADDRESSES_V6 + 4 : _PORTS_V6]
        leaves, arrives = _is_one6(source, self._own6), _is_one6(destination, self._own6)
        columns.protocol[which] = following[plain]
        columns.ports = columns.ports.copy()
        columns.flags = columns.flags.copy()
        columns.ports[which] = rows[which, _PORTS_V6]
        columns.flags[which] = rows[which, _PORTS_V6 + _TO_FLAGS]
        columns.leaves[which], columns.arrives[which] = leaves, arrives
        chosen = np.flatnonzero(leaves ^ arrives)
        if len(chosen):
            peers = np.where(leaves[:, None], destination, source)[chosen]
            self._add_peers_v6(peers, rows[which[chosen], ring.LENGTH])

    def _add_peers_v6(self, peers: Words, sizes: Words) -> None:
        # 32 bits of a product stand for an address: who shares them shares a counter.
        keys = (peers * _ODD).sum(axis=1, dtype=np.uint64).astype(np.uint32)
        order = keys.argsort()
        starts, sums = _sums(keys[order], sizes[order])
        total = int(sums.sum())
        kept, sums = _pruned(np.arange(len(sums)), sums)
        addresses = peers[order[starts[kept]]].tobytes()
        names = (addresses[at : at + 16] for at in range(0, len(addresses), 16))
        self._window.peers.merge(zip(names, sums.tolist(), strict=True), total)

    def _read_arp(self, rows: Words, others: Rows, length: int, columns: _Columns) -> None:
        if not length:  # a link without addresses: it cannot be ARP, whatever it says
            return
        plain = rows[others, ring.PROTOCOL] == _ARP_TYPE
        plain &= rows[others, _NETWORK] == _ARP_KIND
        plain &= rows[others, _NETWORK + 1] & 0xFFFF == _ARP_SIZES
        plain &= rows[others, ring.CAPTURED] >= length + _ARP_BYTES
        which = others[plain]
        columns.protocol[which] = _ARP
        senders = rows[which, _SENDER : _SENDER + 3].tobytes()
        for at in range(0, len(senders), 12):
            self._window.add_neighbour(senders[at + 6 : at + 10], senders[at : at + 6])

    def _count(self, rows: Words, columns: _Columns, name: str) -> None:
        """Count by protocol, by service and by sender of SYNs."""
        ports, window, known = columns.ports, self._window, len(self._told)
        kinds = columns.protocol.astype(np.intp)
        if known > 1:
            first = _TRANSPORTS[kinds]
            service = self._services[first + (ports & 0xFFFF)] * columns.leaves
            service[service != 0] += known
            inward = self._services[first + (ports >> 16)] * columns.arrives
            np.copyto(service, inward, where=inward != 0)
            np.copyto(kinds, service + _KINDS, where=service != 0)
        for kind, (packets, size) in _counted(kinds, rows[:, ring.LENGTH] + _PACKET):
            if kind > _KINDS:
                direction, which = divmod(kind - _KINDS, known)
                transport, port = self._told[which]
                window.count_service(transport, port, ("in", "out")[direction], packets, size)
                window.count_protocol(name, transport, packets, size)
            elif kind != _UNREAD:
                protocol = _NAMES.get(kind) or protocols.name(kind)
                window.count_protocol(name, protocol, packets, size)
        begins = columns.arrives & (columns.flags & _SYN_ACK == _SYN)
        syns = np.flatnonzero(begins & (columns.protocol == _TCP))
        step = max(1, -(-len(syns) // _SYNS_LOOKED_AT))
        looked = syns[::step]
        six = (rows[looked, ring.PROTOCOL] == _IPV6).tolist()
        # An IPv4 header's addresses begin and end within what are addresses of an IPv6 header.
        text = rows[looked, _ADDRESSES_V6:_PORTS_V6].tobytes()
        for at, port in enumerate((ports[looked] >> 16).tolist()):
            start, size = (32 * at, 16) if six[at] else (32 * at + 4, 4)
            middle, behind = start + size, start + 2 * size
            window.count_syn(text[start:middle], text[middle:behind], _swapped(port), step)

    def end(self) -> None:
        """Bring into the window what still waits to be summed up."""
        keys, sums, total = self._peers.end()
        names = (key.to_bytes(4, "little") for key in keys)
        self._window.peers.merge(zip(names, sums, strict=True), total)


class _Busiest:
    """heavy.Heavy by arrays, of IPv4 addresses as words: bytes of the busiest."""

    def __init__(self) -> None:
        self._keys, self._sums = np.empty(0, np.uint32), np.empty(0, np.int64)
        self._total = 0
        self._pending: list[NDArray[np.uint64]] = []
        self._waiting = 0

    def add(self, keys: Words, sizes: Words) -> None:
        """Count packets."""
        both = np.empty((len(keys), 2), np.uint32)
        both[:, 0], both[:, 1] = sizes, keys  # little endian
        # One word of each key and size: a sort of these takes an eighth of an argsort.
        self._pending.append(both.view(np.uint64)[:, 0])
        self._waiting += len(keys)
        if self._waiting >= _PEERS_AT_ONCE:
            self._sum_up()

    def _sum_up(self) -> None:
        pairs = np.concatenate(self._pending)
        pairs.sort()
        self._pending, self._waiting = [], 0
        keys = (pairs >> np.uint64(32)).astype(np.uint32)
        starts, sums = _sums(keys, pairs.astype(np.uint32))
        self._total += int(sums.sum())
        keys, sums = _pruned(keys[starts], sums)
        if len(self._keys):
            keys = np.concatenate((self._keys, keys))
            order = keys.argsort()
            keys = keys[order]
            starts, sums = _sums(keys, np.concatenate((self._sums, sums))[order])
            keys, sums = _pruned(keys[starts], sums)
        self._keys, self._sums = keys, sums

    def end(self) -> tuple[list[int], list[int], int]:
        """Return the keys, their bytes, and those of all; begin again."""
        if self._pending:
            self._sum_up()
        told = self._keys.tolist(), self._sums.tolist(), self._total
        self._keys, self._sums, self._total = self._keys[:0], self._sums[:0], 0
        return told


def _sums(ordered: Words, sizes: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return where each of the ordered keys begins, and the sum of its sizes."""
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    return starts, np.add.reduceat(sizes.astype(np.int64), starts)


def _pruned(keys: NDArray[Any], sums: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return those above what COUNTERS keys have, less that: as heavy.Heavy prunes."""
    if len(sums) <= COUNTERS:
        return keys, sums
    last = len(sums) - COUNTERS - 1
    cut = int(np.partition(sums, last)[last])
    above = sums > cut
    return keys[above], sums[above] - cut


def _counted(
    keys: NDArray[np.integer], weights: NDArray[np.floating]
) -> list[tuple[int, tuple[int, int]]]:
    """Return (key, (packets, bytes)) of the keys that there are."""
    sums = np.bincount(keys, weights)
    there = np.flatnonzero(sums)
    return [
        (key, (int(total) >> 32, int(total) & 0xFFFF_FFFF))
        for key, total in zip(there.tolist(), sums[there].tolist(), strict=True)
    ]


def _words(address: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(address[at : at + 4], "little") for at in range(0, 16, 4))


def _swapped(port: int) -> int:
    return (port & 0xFF) << 8 | port >> 8


def _is_one(values: Words, known: Collection[int]) -> Flags:
    found = np.zeros(len(values), np.bool_)
    for one in known:
        found |= values == one
    return found


def _is_one6(values: Words, known: Collection[tuple[int, ...]]) -> Flags:
    found = np.zeros(len(values), np.bool_)
    for one in known:
        found |= (values == np.array(one, np.uint32)).all(axis=1)
    return found
