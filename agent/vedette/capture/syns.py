"""Who sent how many SYNs in a window, and to what, in bounded memory."""

Row = tuple[bytes, int, int, int]


class Syns:
    """senders: how many are kept. tries: of each, how many pairs of a destination and a port."""

    def __init__(self, senders: int, tries: int) -> None:
        self._senders, self._most = senders, tries
        self._sent: dict[bytes, int] = {}
        self._tries: dict[bytes, set[tuple[bytes, int]]] = {}

    def add(self, source: bytes, destination: bytes, port: int, number: int = 1) -> None:
        """Count SYNs, one of which was looked at."""
        if source not in self._sent:
            if len(self._sent) >= self._senders:
                return
            self._sent[source], self._tries[source] = 0, set()
        self._sent[source] += number
        if len(self._tries[source]) < self._most:
            self._tries[source].add((destination, port))

    def rows(self) -> list[Row]:
        """Return (source, SYNs, different destinations, different pairs) of each sender."""
        return [
            (source, self._sent[source], len({place[0] for place in tries}), len(tries))
            for source, tries in self._tries.items()
        ]
