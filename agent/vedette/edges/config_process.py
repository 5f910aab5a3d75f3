"""The child that reads the configuration (config.py). Started before anything else is imported."""

import json
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_READ_SECONDS = 60.0


class ConfigProcess:
    """One reading. The child loads its libraries while the caller loads others."""

    def __init__(self) -> None:
        """Start the child; it waits for its order."""
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "vedette.config"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def read(self, file: Path | None, flags: Mapping[str, str]) -> Any:
        """Return the Settings, or the list of problems, each one sentence."""
        order = json.dumps({"file": None if file is None else str(file), "flags": flags})
        try:
            answer, _ = self._child.communicate(order.encode(), timeout=_READ_SECONDS)
        except subprocess.TimeoutExpired:
            self.end()
            return [f"reading it took more than {_READ_SECONDS:.0f} s"]
        if self._child.returncode != 0:
            return [f"reading it ended with status {self._child.returncode}"]
        return pickle.loads(answer)  # noqa: S301 - written by our own child

    def end(self) -> None:
        """Do without it."""
        self._child.kill()
        self._child.communicate()
