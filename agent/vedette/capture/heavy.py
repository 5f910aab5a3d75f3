"""The busiest keys of a stream in bounded memory: the summary of Misra and Gries, 1982.

Counters are pruned as Agarwal et al. merge such summaries (Mergeable Summaries, PODS 2012): what is
published is never above the truth, and below it by at most the total over the number of counters.
"""

from collections.abc import Iterable

# For the 20 busiest of 50,000 peers with Zipf's distribution 512 do; a thousand take 150 KiB.
COUNTERS = 1024


class Heavy:
    """{key: bytes}, of the busiest keys. total: the bytes of all keys, kept or not.

    Exact as long as there are no more keys than counters; then counts are lower bounds.
    """

    def __init__(self, counters: int = COUNTERS) -> None:
        self._most = counters
        self._counts: dict[bytes, int] = {}
        self.total = 0

    def add(self, key: bytes, size: int) -> None:
        """Count a packet."""
        self.total += size
        self._counts[key] = self._counts.get(key, 0) + size
        if len(self._counts) >= 2 * self._most:  # one pruning for as many new keys
            self._prune()

    def merge(self, counts: Iterable[tuple[bytes, int]], total: int) -> None:
        """Add another summary: lower bounds for the busiest keys of `total` bytes."""
        mine = self._counts
        for key, size in counts:
            mine[key] = mine.get(key, 0) + size
        self.total += total
        if len(mine) >= 2 * self._most:
            self._prune()

    def busiest(self, number: int) -> list[tuple[bytes, int]]:
        """Return so many keys with their bytes, the most first."""
        if len(self._counts) > self._most:
            self._prune()
        return sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))[:number]

    def _prune(self) -> None:
        cut = sorted(self._counts.values(), reverse=True)[self._most]
        self._counts = {key: size - cut for key, size in self._counts.items() if size > cut}
