"""Who made a network card, by the IEEE's registry as scapy has it.

`python -m vedette.capture.makers MAC...` prints {MAC: its maker's short name, "" if unknown}. The
ring's process asks such a child when it hears new neighbours: the registry takes 50 MiB.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

_KEPT = 4096  # cards whose maker is known
_ASKED_AT_ONCE = 256
# Neighbours that wait for the maker of their card, and for how many windows at most.
_HELD, _PATIENCE = 1024, 5


class Makers:
    """Makers of cards, looked up by a child that nobody waits for."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._child: subprocess.Popen[str] | None = None
        self._held: dict[str, dict[tuple[str, str], tuple[list[Any], int]]] = {}

    def of(self, mac: str) -> str:
        """Return the maker's name, "" if it is unknown or still being looked up."""
        return self._known.get(mac, "")

    def complete(self, kind: str, rows: Iterable[list[Any]]) -> list[list[Any]]:
        """Return the rows, [address, card, maker, …], whose makers are looked up by now.

        The others are held back for a later call with this kind, for a while: who comes new is
        told with the maker.
        """
        held = self._held.get(kind, {})
        for row in rows:
            _, windows = held.get((row[0], row[1]), (row, 0))
            if len(held) < _HELD or (row[0], row[1]) in held:
                held[row[0], row[1]] = row, windows
        told, waiting = [], {}
        for key, (row, windows) in held.items():
            if row[1] in self._known or windows >= _PATIENCE:
                told.append([*row[:2], self.of(row[1]), *row[3:]])
            else:
                waiting[key] = row, windows + 1
        self._held[kind] = waiting
        return told

    def learn(self, macs: Iterable[str]) -> None:
        """Take over what was looked up since the last call, and have these looked up."""
        if self._child is not None and self._child.poll() is not None:
            # Nothing came: the child was killed, which its own message tells. It is asked again.
            text, _ = self._child.communicate()
            found: dict[str, str] = json.loads(text) if text else {}
            self._known = dict([*self._known.items(), *found.items()][-_KEPT:])
            self._child = None
        new = sorted({mac for mac in macs if mac not in self._known})[:_ASKED_AT_ONCE]
        if new and self._child is None:
            self._child = subprocess.Popen(  # noqa: S603 - ourselves, cards' addresses
                _command(new),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                encoding="utf-8",
            )


def look_up(macs: Iterable[str]) -> dict[str, str]:
    """Return {MAC: its maker} of these, by a child that is waited for; nothing if it fails."""
    child = subprocess.run(_command(sorted(set(macs))), stdout=subprocess.PIPE, check=False)  # noqa: S603 - ourselves
    found: dict[str, str] = json.loads(child.stdout) if child.returncode == 0 else {}
    return found


def _command(macs: Iterable[str]) -> list[str]:
    return [sys.executable, "-P", "-m", "vedette.capture.makers", *macs]


def main() -> None:
    """Look up the cards named on the command line."""
    from vedette.capture import scapy_backend  # noqa: PLC0415 - 50 MiB that only this child has

    vendor_of = scapy_backend.vendors()
    print(json.dumps({mac: vendor_of(mac) for mac in sys.argv[1:]}))


if __name__ == "__main__":
    main()
