"""Who sent how many SYNs in a window, and to what, in bounded memory."""

Place = tuple[bytes, int]
Row = tuple[bytes, int, int, int]


class Syns:
    """senders: how many are kept. tries: of each, how many pairs of a destination and a port.

    Those who tried one pair only are kept apart, the latest of them: a flood's made-up senders do
    not take the place of one who scans.
    """

    def __init__(self, senders: int, tries: int) -> None:
        self._senders, self._most = senders, tries
        self._sent: dict[bytes, int] = {}
        self._tries: dict[bytes, set[Place]] = {}
        self._once: dict[bytes, tuple[int, Place]] = {}

    def add(self, source: bytes, destination: bytes, port: int, number: int = 1) -> None:
        """Count SYNs, one of which was looked at."""
        place = destination, port
        if source not in self._sent:
            sent, first = self._once.get(source, (0, place))
            if first == place:
                self._once[source] = sent + number, place
                if len(self._once) > self._senders:
                    del self._once[next(iter(self._once))]
                return
            if len(self._sent) >= self._senders:
                return
            del self._once[source]
            self._sent[source], self._tries[source] = sent, {first}
        self._sent[source] += number
        if len(self._tries[source]) < self._most:
            self._tries[source].add(place)

    def rows(self) -> list[Row]:
        """Return (source, SYNs, different destinations, different pairs) of each sender."""
        return [
            *((source, sent, 1, 1) for source, (sent, _) in self._once.items()),
            *(
                (source, self._sent[source], len({place[0] for place in tries}), len(tries))
                for source, tries in self._tries.items()
            ),
        ]
