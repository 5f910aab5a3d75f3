"""Counting a batch of the ring's packets by array operations: what summary.Window.add does for one.

Plain headers are read as columns of words; what is anything else (tags, options of IPv6, ARP, ...)
goes to the decoder packet by packet. Both count the same: a property test compares them.
"""

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.capture import decode, protocols, ring
from vedette.capture.heavy import COUNTERS
from vedette.capture.summary import Window

Words = NDArray[np.uint32]
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]

_FRAGMENT = 256  # beyond all protocol numbers
_KINDS = 512
_IPV4, _IPV6 = 0x0008, 0xDD86  # EtherTypes in the network's order, as a little-endian word has them
_TCP, _UDP = 6, 17
# Words of the network header, from its first byte on.
_V4 = ring.NETWORK // 4
_LINKS = decode.ETHERNET | decode.RAW_IP
_EXTENSIONS = np.zeros(256, np.bool_)
_EXTENSIONS[list(decode.EXTENSIONS)] = True
_V4_NEEDS, _V6_NEEDS = 20, 40  # bytes of the network header, and four of ports
_SYN, _SYN_ACK = 0x02, 0x12
_SYNS_LOOKED_AT = 512  # of a batch
_PEERS_AT_ONCE = 1 << 14  # packets whose peers are summed up together


class Counter:
    """Counts batches into windows. `begin` a window before the first batch."""

    def __init__(self) -> None:
        self._window = Window((), {})
        self._ports = np.zeros((2, 65_536), np.bool_)
        self._own4: list[int] = []
        self._own6: list[tuple[int, ...]] = []
        self._pending: list[NDArray[np.uint64]] = []
        self._waiting = 0

    def begin(self, window: Window) -> None:
        """Count into this window from now on."""
        self._window = window
        self._ports[:] = False
        for row, transport in enumerate(("tcp", "udp")):
            self._ports[row, list(window.ports.get(transport, ()))] = True
        self._own4 = [int.from_bytes(a, "little") for a in window.own if len(a) == 4]  # noqa: PLR2004
        self._own6 = [_words(a) for a in window.own if len(a) == 16]  # noqa: PLR2004

    def add(self, batch: ring.Batch, names: dict[int, str]) -> None:
        """Count the packets of a batch. names: {interface's index: its name}."""
        rows = batch.rows
        sizes = rows[:, ring.LENGTH].astype(np.int64)
        interfaces = rows[:, ring.INTERFACE].astype(np.int64)
        kinds = rows[:, ring.PROTOCOL] >> 16
        offsets = rows[:, ring.OFFSETS]
        # Bytes of the network header and after it.
        there = rows[:, ring.CAPTURED].astype(np.int64) - ((offsets >> 16) - (offsets & 0xFFFF))
        level = (offsets >> 16) == ring.NETWORK
        first = rows[:, _V4]
        v4 = level & (kinds == _IPV4) & ((first & 0xFF) == 0x45) & (there >= _V4_NEEDS + 4)  # noqa: PLR2004 - version 4, five words
        v6 = level & (kinds == _IPV6) & ((first & 0xF0) == 0x60) & (there >= _V6_NEEDS + 4)  # noqa: PLR2004 - version 6
        if v6.any():
            v6 &= ~_EXTENSIONS[(rows[:, _V4 + 1] >> 16) & 0xFF]
        known = _known_links(rows)
        v4, v6 = v4 & known, v6 & known
        odd = np.flatnonzero(~(v4 | v6))
        self._add_v4(rows, v4, sizes, interfaces, names)
        if v6.any():
            self._add_v6(rows, v6, sizes, interfaces, names)
        for row in odd.tolist():
            name = names.get(int(interfaces[row]), "unknown")
            link = int(rows[row, ring.HARDWARE]) & 0xFFFF
            self._window.add(name, decode.packet(batch.frame(row), link), int(sizes[row]))

    def _add_v4(
        self, rows: Words, chosen: Flags, sizes: Numbers, interfaces: Numbers, names: dict[int, str]
    ) -> None:
        if not chosen.all():
            where = np.flatnonzero(chosen)
            rows, sizes, interfaces = rows[where], sizes[where], interfaces[where]
        if not len(rows):
            return
        third = rows[:, _V4 + 2]
        protocol = ((third >> 8) & 0xFF).astype(np.int64)
        whole = (rows[:, _V4 + 1] >> 16) & 0xFF1F == 0  # the offset of the fragment, byte by byte
        protocol[~whole] = _FRAGMENT
        self._add_protocols(protocol, sizes, interfaces, names)
        source, destination = rows[:, _V4 + 3], rows[:, _V4 + 4]
        leaves, arrives = _is_one(source, self._own4), _is_one(destination, self._own4)
        ports = rows[:, _V4 + 5]
        self._add_services(protocol, ports, sizes, leaves=leaves, arrives=arrives)
        others = leaves ^ arrives
        if others.any():
            peers = np.where(leaves, destination, source)[others]
            self._add_peers(peers.astype(np.uint64), sizes[others], None)
        flags = (rows[:, _V4 + 8] >> 8) & _SYN_ACK
        self._add_syns(
            np.flatnonzero((protocol == _TCP) & arrives & (flags == _SYN)),
            source, destination, ports,
        )  # fmt: skip

    def _add_v6(
        self, rows: Words, chosen: Flags, sizes: Numbers, interfaces: Numbers, names: dict[int, str]
    ) -> None:
        where = np.flatnonzero(chosen)
        rows, sizes, interfaces = rows[where], sizes[where], interfaces[where]
        protocol = ((rows[:, _V4 + 1] >> 16) & 0xFF).astype(np.int64)
        self._add_protocols(protocol, sizes, interfaces, names)
        source, destination = rows[:, _V4 + 2 : _V4 + 6], rows[:, _V4 + 6 : _V4 + 10]
        leaves, arrives = _is_one6(source, self._own6), _is_one6(destination, self._own6)
        ports = rows[:, _V4 + 10]
        self._add_services(protocol, ports, sizes, leaves=leaves, arrives=arrives)
        others = np.flatnonzero(leaves ^ arrives)
        if len(others):
            peers = np.where(leaves[:, None], destination, source)[others]
            # 32 bits of a product stand for an address: who shares them shares a counter.
            mixed = (peers * _ODD).sum(axis=1, dtype=np.uint64) & np.uint64(0xFFFFFFFF)
            self._add_peers(mixed, sizes[others], peers)
        flags = (rows[:, _V4 + 13] >> 8) & _SYN_ACK
        self._add_syns(
            np.flatnonzero((protocol == _TCP) & arrives & (flags == _SYN)),
            source, destination, ports,
        )  # fmt: skip

    def _add_protocols(
        self, protocol: Numbers, sizes: Numbers, interfaces: Numbers, names: dict[int, str]
    ) -> None:
        for index in _different(interfaces):
            here = slice(None) if index is None else interfaces == index
            number = int(interfaces[0]) if index is None else index
            packets = np.bincount(protocol[here], minlength=_KINDS)
            total = np.bincount(protocol[here], sizes[here], minlength=_KINDS)
            name = names.get(number, "unknown")
            for kind in np.flatnonzero(packets).tolist():
                what = "fragment" if kind == _FRAGMENT else protocols.name(kind)
                self._window.count_protocol(name, what, int(packets[kind]), int(total[kind]))

    def _add_services(
        self, protocol: Numbers, ports: Words, sizes: Numbers, *, leaves: Flags, arrives: Flags
    ) -> None:
        for row, (number, transport) in enumerate(((_TCP, "tcp"), (_UDP, "udp"))):
            table = self._ports[row]
            if not table.any():
                continue
            mine = protocol == number
            # In the network's order: the source port first.
            inward = mine & arrives & table[_port(ports >> 16)]
            outward = mine & leaves & ~inward & table[_port(ports)]
            for direction, chosen, half in (("in", inward, ports >> 16), ("out", outward, ports)):
                where = np.flatnonzero(chosen)
                if not len(where):
                    continue
                numbers = _port(half[where])
                packets = np.bincount(numbers)
                total = np.bincount(numbers, sizes[where])
                for port in np.flatnonzero(packets).tolist():
                    self._window.count_service(
                        transport, port, direction, int(packets[port]), int(total[port])
                    )

    def _add_peers(self, keys: NDArray[np.uint64], sizes: Numbers, addresses: Words | None) -> None:
        """Keep them for the next sum. addresses: what the keys stand for, None if IPv4's words."""
        # One sort of keys and sizes in one word each takes an eighth of an argsort.
        pairs = (keys << np.uint64(32)) | sizes.astype(np.uint64)
        if addresses is not None:
            self._merge_peers(pairs, lambda key: addresses[int(np.argmax(keys == key))].tobytes())
            return
        self._pending.append(pairs)
        self._waiting += len(pairs)
        if self._waiting >= _PEERS_AT_ONCE:
            self.end()

    def end(self) -> None:
        """Bring into the window what still waits to be summed up."""
        if self._pending:
            pairs = np.concatenate(self._pending)
            self._pending, self._waiting = [], 0
            self._merge_peers(pairs, lambda key: int(key).to_bytes(4, "little"))

    def _merge_peers(
        self, pairs: NDArray[np.uint64], address_of: Callable[[np.uint64], bytes]
    ) -> None:
        pairs.sort()
        ordered = pairs >> np.uint64(32)
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        sums = np.add.reduceat((pairs & np.uint64(0xFFFFFFFF)).astype(np.int64), starts)
        total = int(sums.sum())
        different = ordered[starts]
        if len(sums) > COUNTERS:
            last = len(sums) - COUNTERS - 1
            cut = int(np.partition(sums, last)[last])
            above = sums > cut
            different, sums = different[above], sums[above] - cut
        names = map(address_of, different)
        self._window.peers.merge(zip(names, sums.tolist(), strict=True), total)

    def _add_syns(
        self, rows: NDArray[np.intp], source: Words, destination: Words, ports: Words
    ) -> None:
        if not len(rows):
            return
        step = -(-len(rows) // _SYNS_LOOKED_AT)
        for row in rows[::step].tolist():
            port = int(_port(ports[row : row + 1] >> 16)[0])
            self._window.count_syn(source[row].tobytes(), destination[row].tobytes(), port, step)


_ODD = np.array([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F], np.uint64)


def _words(address: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(address[at : at + 4], "little") for at in range(0, 16, 4))


def _port(words: NDArray[Any]) -> Numbers:
    """Return the ports in the lower halves of words that are in the network's order."""
    return (((words & 0xFF) << 8) | ((words >> 8) & 0xFF)).astype(np.int64)


def _known_links(rows: Words) -> Flags:
    links = rows[:, ring.HARDWARE] & 0xFFFF
    if (links == links[0]).all():
        return np.full(len(links), int(links[0]) in _LINKS)
    return np.isin(links, list(_LINKS))


def _different(values: Numbers) -> list[int | None]:
    """Return the different values, [None] if there is but one."""
    if (values == values[0]).all():
        return [None]
    return [int(value) for value in np.unique(values)]


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
