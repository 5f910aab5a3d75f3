"""How many connections this host's kernel has accepted (proc(5), /proc/net/snmp)."""

from pathlib import Path

_TABLE = Path("/proc/net/snmp")
_TCP, _ACCEPTED = "Tcp:", "PassiveOpens"


class Accepted:
    """Counted from one call to the next."""

    def __init__(self) -> None:
        self._before = _total()

    def take(self) -> int | None:
        """Return how many since the last call, None where the kernel does not tell."""
        before, self._before = self._before, _total()
        return None if before is None or self._before is None else self._before - before


def _total() -> int | None:
    try:
        lines = _TABLE.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    rows = [line.split() for line in lines if line.startswith(_TCP)]  # names, then values
    return next((int(value) for name, value in zip(*rows, strict=True) if name == _ACCEPTED), None)
