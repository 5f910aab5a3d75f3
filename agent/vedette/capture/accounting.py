"""Counting a batch of the ring's packets by array operations: what summary.Window.add does for one.

Plain headers are read as columns of words; what is anything else (tags, options of IPv6, nonsense)
goes to the decoder packet by packet. Both count the same: a property test compares them.
"""

from collections.abc import Collection
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
# As little-endian words have them: AF_PACKET and the EtherType; ARP for Ethernet and IPv4.
_IPV4, _IPV6, _ARP_TYPE = 0x0008_0011, 0xDD86_0011, 0x0608_0011
_ARP_KIND, _ARP_SIZES = 0x0008_0100, 0x0406
# What begins the header of a plain one: its version, and of IPv4 five words; an offset of IPv4 in
# half a word; the flags of TCP.
_PLAIN_V4, _VERSION_V6, _OFFSET = 0x45, 6, 0xFF1F
_SYN, _SYN_ACK = 0x02, 0x12
# Words of a slot: the network header's first; both addresses, and behind them the ports, if it is
# a plain one; a sender's addresses in ARP. From TCP's ports it is so far to its flags, in bytes.
_NETWORK = ring.NETWORK // 4
_ADDRESSES_V4, _PORTS_V4 = _NETWORK + 3, _NETWORK + 5
_ADDRESSES_V6, _PORTS_V6 = _NETWORK + 2, _NETWORK + 10
_SENDER = _NETWORK + 2
_TO_FLAGS = 13
# Bytes of what is read of a network header and of ports.
_READ_V4, _READ_V6, _READ_ARP = 24, 44, 28
_LINK_BYTES = dict.fromkeys(decode.ETHERNET, 14) | dict.fromkeys(decode.RAW_IP, 0)
_EXTENSIONS = np.zeros(256, np.bool_)
_EXTENSIONS[list(decode.EXTENSIONS)] = True
_SYNS_LOOKED_AT = 512  # of a batch
_PEERS_AT_ONCE = 1 << 14  # packets whose peers are summed up together
_ODD = np.array([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F], np.uint64)
# Where the ports of a protocol begin among the services: those of what has none are at 0. What
# goes out has a part of its own.
_TRANSPORTS = np.zeros(_KINDS, np.uint32)
_TRANSPORTS[[_TCP, _UDP]] = 1 << 16, 2 << 16
_OUT = 3 << 16


@dataclass(slots=True)
class _Columns:
    """What was read of each packet of a batch; ports: the source port first, in the lower half."""

    kinds: NDArray[np.uint16]
    ports: Words
    flags: NDArray[np.uint8]
    leaves: Flags
    arrives: Flags


class Counter:
    """Counts batches into windows. `begin` a window before the first batch."""

    def __init__(self) -> None:
        self._window = Window((), {})
        # By direction, transport and port in the network's order: which of the services it is.
        self._services = np.zeros(2 * _OUT, np.int32)
        self._places: list[int] = []
        self._told: list[tuple[str, int, str]] = []
        self._own4: list[int] = []
        self._own6: list[tuple[int, ...]] = []
        self._peers = _Busiest()

    def begin(self, window: Window) -> None:
        """Count into this window from now on."""
        self._window = window
        self._services[self._places] = 0
        self._places, self._told = [], [("", 0, "")]
        for direction, begins in (("in", 0), ("out", _OUT)):
            for row, transport in enumerate(("tcp", "udp"), 1):
                for port in window.ports.get(transport, ()):
                    self._places.append(begins + (row << 16 | _swapped(port)))
                    self._told.append((transport, port, direction))
        self._services[self._places] = range(1, len(self._told))
        self._own4 = [int.from_bytes(a, "little") for a in window.own if len(a) == 4]  # noqa: PLR2004
        self._own6 = [_words(a) for a in window.own if len(a) == 16]  # noqa: PLR2004

    def add(self, batch: ring.Batch, names: dict[int, str]) -> None:
        """Count the packets of a batch. names: {interface's index: its name}."""
        rows = batch.rows
        while len(rows):
            rows = self._add_of_one(rows, names)

    def _add_of_one(self, rows: Words, names: dict[int, str]) -> Words:
        """Count the packets of the first one's interface: their link headers have one length.

        Returns the others.
        """
        interface, link = int(rows[0, ring.INTERFACE]), int(rows[0, ring.HARDWARE]) & 0xFFFF
        name, length = names.get(interface, "unknown"), _LINK_BYTES.get(link)
        if length is None:
            left, which = rows, np.arange(len(rows))
        else:
            columns = self._read_v4(rows, interface, length)
            # The others are few, mostly: what is read of them is copied first.
            which = np.flatnonzero(columns.kinds == _UNREAD)
            left = rows[which]
        here = left[:, ring.INTERFACE] == interface
        rest: Words = left[~here]
        if len(rest):
            left, which = left[here], which[here]
        if length is not None:
            if len(left):
                self._read_v6(left, which, length, columns)
                self._read_arp(left, which, length, columns)
            self._count(rows, columns, name)
            left = left[columns.kinds[which] == _UNREAD]
        odd = ring.Batch(left)
        for row, size in enumerate(left[:, ring.LENGTH].tolist()):
            self._window.add(name, decode.packet(odd.frame(row), link), size)
        return rest

    def _read_v4(self, rows: Words, interface: int, length: int) -> _Columns:
        octets = rows.view(np.uint8)
        # Two words at once: the interface and the protocol.
        plain = rows.view(np.uint64)[:, ring.PROTOCOL // 2] == (interface << 32 | _IPV4)
        plain &= _reach(rows, length, _READ_V4)
        plain &= octets[:, ring.NETWORK] == _PLAIN_V4
        kinds = np.where(plain, octets[:, ring.NETWORK + 9], np.uint16(_UNREAD))
        fragments = plain & (rows.view(np.uint16)[:, ring.NETWORK // 2 + 3] & _OFFSET != 0)
        if fragments.any():
            kinds[fragments] = _FRAGMENT
        source, destination = rows[:, _ADDRESSES_V4].copy(), rows[:, _ADDRESSES_V4 + 1].copy()
        leaves = _is_one(source, self._own4) & plain
        arrives = _is_one(destination, self._own4) & plain
        with_others = leaves ^ arrives
        if with_others.any():
            pairs = np.empty((len(rows), 2), np.uint32)  # little endian: the peer is above
            pairs[:, 0] = rows[:, ring.LENGTH]
            pairs[:, 1] = np.where(leaves, destination, source)
            self._peers.add(pairs.view(np.uint64)[:, 0][with_others])
        ports, flags = rows[:, _PORTS_V4].copy(), octets[:, 4 * _PORTS_V4 + _TO_FLAGS].copy()
        return _Columns(kinds, ports, flags, leaves, arrives)

    def _read_v6(self, left: Words, which: Rows, length: int, columns: _Columns) -> None:
        octets = left.view(np.uint8)
        plain = left[:, ring.PROTOCOL] == _IPV6
        plain &= _reach(left, length, _READ_V6)
        plain &= octets[:, ring.NETWORK] >> 4 == _VERSION_V6
        following = octets[:, ring.NETWORK + 6]
        plain &= ~_EXTENSIONS[following]
        if not plain.any():
            return
        rows, which = left[plain], which[plain]
        source = rows[:, _ADDRESSES_V6 : _ADDRESSES_V6 + 4]
        destination = rows[:, _ADDRESSES_V6 + 4 : _PORTS_V6]
        leaves, arrives = _is_one6(source, self._own6), _is_one6(destination, self._own6)
        columns.kinds[which] = following[plain]
        columns.ports[which] = rows[:, _PORTS_V6]
        columns.flags[which] = rows.view(np.uint8)[:, 4 * _PORTS_V6 + _TO_FLAGS]
        columns.leaves[which], columns.arrives[which] = leaves, arrives
        with_others = leaves ^ arrives
        if with_others.any():
            peers = np.where(leaves[:, None], destination, source)[with_others]
            self._add_peers_v6(peers, rows[with_others, ring.LENGTH])

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

    def _read_arp(self, left: Words, which: Rows, length: int, columns: _Columns) -> None:
        plain = left[:, ring.PROTOCOL] == _ARP_TYPE
        # A link without addresses cannot have it, whatever it says.
        if not length or not plain.any():
            return
        plain &= left[:, _NETWORK] == _ARP_KIND
        plain &= left[:, _NETWORK + 1] & 0xFFFF == _ARP_SIZES
        plain &= _reach(left, length, _READ_ARP)
        columns.kinds[which[plain]] = _ARP
        senders = left[plain, _SENDER : _SENDER + 3].tobytes()
        for at in range(0, len(senders), 12):
            self._window.add_neighbour(senders[at + 6 : at + 10], senders[at : at + 6])

    def _count(self, rows: Words, columns: _Columns, name: str) -> None:
        """Count by protocol, by service and by sender of SYNs."""
        window, keys = self._window, columns.kinds
        if len(self._told) > 1:
            service = self._service_of(columns)
            keys = np.where(service != 0, service + _KINDS, keys)
        for key, (packets, size) in _counted(keys, rows[:, ring.LENGTH] + _PACKET):
            if key > _KINDS:
                transport, port, direction = self._told[key - _KINDS]
                window.count_service(transport, port, direction, packets, size)
                window.count_protocol(name, transport, packets, size)
            elif key != _UNREAD:
                window.count_protocol(name, _NAMES.get(key) or protocols.name(key), packets, size)
        begins = columns.arrives & (columns.flags & _SYN_ACK == _SYN)
        syns = np.flatnonzero(begins & (columns.kinds == _TCP))
        step = max(1, -(-len(syns) // _SYNS_LOOKED_AT))
        looked = syns[::step]
        six = (rows[looked, ring.PROTOCOL] == _IPV6).tolist()
        # An IPv4 header's addresses begin and end within what are addresses of an IPv6 header.
        text = rows[looked, _ADDRESSES_V6:_PORTS_V6].tobytes()
        for at, port in enumerate((columns.ports[looked] >> 16).tolist()):
            start, size = (32 * at, 16) if six[at] else (32 * at + 4, 4)
            middle, behind = start + size, start + 2 * size
            window.count_syn(text[start:middle], text[middle:behind], _swapped(port), step)

    def _service_of(self, columns: _Columns) -> NDArray[np.int32]:
        """Return of each packet which of the services it is of, 0 if of none."""
        ports, leaves, arrives = columns.ports, columns.leaves, columns.arrives
        begins = _TRANSPORTS.take(columns.kinds)
        port = np.where(arrives, ports >> 16, (ports & 0xFFFF) + _OUT)
        service = self._services.take((begins + port) * (leaves | arrives))
        # A packet between two addresses of this host comes in at one port or leaves at the other.
        inner = leaves & arrives
        if inner.any():
            which = np.flatnonzero(inner & (service == 0))
            service[which] = self._services.take(begins[which] + (ports[which] & 0xFFFF) + _OUT)
        return service

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

    def add(self, pairs: NDArray[np.uint64]) -> None:
        """Count packets: a word of each, the key above its size.

        A sort of these takes an eighth of an argsort of the keys.
        """
        self._pending.append(pairs)
        self._waiting += len(pairs)
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


def _reach(rows: Words, length: int, size: int) -> Flags:
    """Return which have so much of the network header, behind a link header of this length."""
    # Two words at once: where the headers begin, above how much was captured.
    least = (ring.NETWORK << 16 | ring.NETWORK - length) << 32 | length + size
    return rows.view(np.uint64)[:, ring.CAPTURED // 2] - least < 1 << 31


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
