"""Counting a batch of the ring's packets by array operations: what summary.Window.add does for one.

Plain headers are read as columns of words; what is anything else (tags, options of IPv6, ARP, ...)
goes to the decoder packet by packet. Both count the same: a property test compares them.
"""

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from vedette.capture import decode, protocols, ring
from vedette.capture.heavy import COUNTERS
from vedette.capture.summary import Window

Words = NDArray[np.uint32]
Numbers = NDArray[np.intp]
Flags = NDArray[np.bool_]

# Beyond all protocol numbers: what is a fragment, and what another part counts.
_FRAGMENT, _ELSEWHERE, _KINDS = 256, 257, 258
_TCP, _UDP = 6, 17
# A sum of these weights tells packets and bytes at once, in less than a double's 53 bits: a batch
# has some thousand packets, of 512 KiB at most.
_PACKET = float(1 << 32)
# As little-endian words have them: AF_PACKET and the EtherType; the offset of a fragment.
_IPV4, _IPV6 = 0x0008_0011, 0xDD86_0011
_OFFSET = 0xFF1F_0000
_SYN, _SYN_ACK = 0x0200, 0x1200
# Words of a slot: the network header's first; both addresses, and behind them the ports, if it is
# a plain one.
_NETWORK = ring.NETWORK // 4
_ADDRESSES_V4, _PORTS_V4 = _NETWORK + 3, _NETWORK + 5
_ADDRESSES_V6, _PORTS_V6 = _NETWORK + 2, _NETWORK + 10
_PORTS_BYTES = 4
_LINK_BYTES = dict.fromkeys(decode.ETHERNET, 14) | dict.fromkeys(decode.RAW_IP, 0)
_EXTENSIONS = np.zeros(256, np.bool_)
_EXTENSIONS[list(decode.EXTENSIONS)] = True
_SYNS_LOOKED_AT = 512  # of a batch
_PEERS_AT_ONCE = 1 << 14  # packets whose peers are summed up together


class Counter:
    """Counts batches into windows. `begin` a window before the first batch."""

    def __init__(self) -> None:
        self._window = Window((), {})
        # By transport, and port in the network's order: which of the services it is, 0 if none.
        self._services = np.zeros(3 << 16, np.int32)
        self._told: list[tuple[str, int]] = []
        self._own4: list[int] = []
        self._own6: list[tuple[int, ...]] = []
        self._pending: list[NDArray[np.uint64]] = []
        self._waiting = 0

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
            odd = np.ones(len(rows), np.bool_)
        else:
            level = rows[:, ring.OFFSETS] == (ring.NETWORK << 16 | ring.NETWORK - length)
            kinds, first = rows[:, ring.PROTOCOL], rows[:, _NETWORK]
            there = rows[:, ring.CAPTURED]
            v4 = level & (kinds == _IPV4) & (first & 0xFF == 0x45)  # noqa: PLR2004 - version 4, five words
            v4 &= there >= length + (_PORTS_V4 - _NETWORK) * 4 + _PORTS_BYTES
            v6 = level & (kinds == _IPV6) & (first & 0xF0 == 0x60)  # noqa: PLR2004 - version 6
            if v6.any():
                v6 &= there >= length + (_PORTS_V6 - _NETWORK) * 4 + _PORTS_BYTES
                v6 &= ~_EXTENSIONS[(rows[:, _NETWORK + 1] >> 16) & 0xFF]
                self._add_v6(rows, v6, name)
            self._add_v4(rows, v4, name)
            odd = ~(v4 | v6)
        for row in np.flatnonzero(odd).tolist():
            packet = decode.packet(batch.frame(row), link)
            self._window.add(name, packet, int(rows[row, ring.LENGTH]))

    def _add_v4(self, rows: Words, chosen: Flags, name: str) -> None:
        rows, chosen = _narrowed(rows, chosen)
        if not len(rows):
            return
        protocol = ((rows[:, _NETWORK + 2] >> 8) & 0xFF).astype(np.intp)
        protocol[rows[:, _NETWORK + 1] & _OFFSET != 0] = _FRAGMENT
        protocol[~chosen] = _ELSEWHERE
        source, destination = rows[:, _NETWORK + 3], rows[:, _NETWORK + 4]
        leaves, arrives = _is_one(source, self._own4), _is_one(destination, self._own4)
        self._add_counts(
            rows, protocol, _ADDRESSES_V4, _PORTS_V4, name, leaves=leaves, arrives=arrives
        )
        others = np.flatnonzero((leaves ^ arrives) & chosen)
        if len(others):
            pairs = _pairs(np.where(leaves, destination, source)[others], rows[others, ring.LENGTH])
            self._pending.append(pairs)
            self._waiting += len(pairs)
            if self._waiting >= _PEERS_AT_ONCE:
                self.end()

    def _add_v6(self, rows: Words, chosen: Flags, name: str) -> None:
        rows, chosen = _narrowed(rows, chosen)
        protocol = ((rows[:, _NETWORK + 1] >> 16) & 0xFF).astype(np.intp)
        protocol[~chosen] = _ELSEWHERE
        source = rows[:, _NETWORK + 2 : _NETWORK + 6]
        destination = rows[:, _NETWORK + 6 : _NETWORK + 10]
        leaves, arrives = _is_one6(source, self._own6), _is_one6(destination, self._own6)
        self._add_counts(
            rows, protocol, _ADDRESSES_V6, _PORTS_V6, name, leaves=leaves, arrives=arrives
        )
        others = np.flatnonzero((leaves ^ arrives) & chosen)
        if len(others):
            peers = np.where(leaves[others, None], destination[others], source[others])
            # 32 bits of a product stand for an address: who shares them shares a counter.
            keys = (peers * _ODD).sum(axis=1, dtype=np.uint64).astype(np.uint32)
            self._merge_peers(
                _pairs(keys, rows[others, ring.LENGTH]),
                lambda key: peers[int(np.argmax(keys == key))].tobytes(),
            )

    def _add_counts(
        self, rows: Words, protocol: Numbers, addresses_at: int, ports_at: int, name: str,
        *, leaves: Flags, arrives: Flags,
    ) -> None:  # fmt: skip
        """Count by protocol, by service and by sender of SYNs. …_at: the words of what it says."""
        weights = rows[:, ring.LENGTH] + _PACKET
        for kind, count in _counted(protocol, weights):
            if kind != _ELSEWHERE:
                what = "fragment" if kind == _FRAGMENT else protocols.name(kind)
                self._window.count_protocol(name, what, *count)
        ports = rows[:, ports_at]  # the source port first, in the lower half
        if len(self._told) > 1:
            services = _TRANSPORTS[protocol]
            inward = self._services[services + (ports >> 16)] * arrives
            outward = self._services[services + (ports & 0xFFFF)] * (leaves & (inward == 0))
            for direction, which in (("in", inward), ("out", outward)):
                for service, count in _counted(which, weights):
                    if service:
                        self._window.count_service(*self._told[service], direction, *count)
        flags = rows[:, ports_at + 3] & _SYN_ACK
        syns = np.flatnonzero((flags == _SYN) & arrives & (protocol == _TCP))
        step = max(1, -(-len(syns) // _SYNS_LOOKED_AT))
        for row in syns[::step].tolist():
            both = rows[row, addresses_at:ports_at].tobytes()
            middle = len(both) // 2
            port = _swapped(int(ports[row]) >> 16)
            self._window.count_syn(both[:middle], both[middle:], port, step)

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


_ODD = np.array([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F], np.uint64)
# Where the services of a protocol begin: those of what has none are at 0.
_TRANSPORTS = np.zeros(_KINDS, np.intp)
_TRANSPORTS[[_TCP, _UDP]] = 1 << 16, 2 << 16


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


def _narrowed(rows: Words, chosen: Flags) -> tuple[Words, Flags]:
    """Return only the chosen rows, unless there are many: copying a slot costs more than a look."""
    where = np.flatnonzero(chosen)
    if 2 * len(where) > len(rows):
        return rows, chosen
    return rows[where], np.ones(len(where), np.bool_)


def _pairs(keys: Words, sizes: Words) -> NDArray[np.uint64]:
    """Return one word of each key and size: a sort of these takes an eighth of an argsort."""
    both = np.empty((len(keys), 2), np.uint32)
    both[:, 0], both[:, 1] = sizes, keys  # little endian
    return both.view(np.uint64)[:, 0]


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
