"""Who made a network card, by the IEEE's registry as scapy has it.

`python -m vedette.capture.makers MAC...` prints {MAC: its maker's short name, "" if unknown}. The
ring's process asks such a child when it hears new neighbours: the registry takes 50 MiB.
"""

import json
import subprocess
import sys
from collections.abc import Iterable

_KEPT = 4096  # cards whose maker is known
_ASKED_AT_ONCE = 256


class Makers:
    """Makers of cards, looked up by a child that nobody waits for."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._child: subprocess.Popen[str] | None = None

    def of(self, mac: str) -> str:
        """Return the maker's name, "" if it is unknown or still being looked up."""
        return self._known.get(mac, "")

    def learn(self, macs: Iterable[str]) -> None:
        """Take over what was looked up since the last call, and have these looked up."""
        if self._child is not None and self._child.poll() is not None:
            self._take(*self._child.communicate()[:1])
            self._child = None
        new = sorted({mac for mac in macs if mac not in self._known})[:_ASKED_AT_ONCE]
        if new and self._child is None:
            self._child = subprocess.Popen(  # noqa: S603 - ourselves, cards' addresses
                [sys.executable, "-P", "-m", "vedette.capture.makers", *new],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                encoding="utf-8",
            )

    def _take(self, text: str) -> None:
        # Nothing came: the child was killed, which its own message tells. It is asked again.
        found: dict[str, str] = json.loads(text) if text else {}
        self._known = dict([*self._known.items(), *found.items()][-_KEPT:])


def main() -> None:
    """Look up the cards named on the command line."""
    from vedette.capture import scapy_backend  # noqa: PLC0415 - 50 MiB that only this child has

    vendor_of = scapy_backend.vendors()
    print(json.dumps({mac: vendor_of(mac) for mac in sys.argv[1:]}))


if __name__ == "__main__":
    main()
