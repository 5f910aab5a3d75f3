"""Structured log lines on standard error, and how many there were of each level.

Under journald each line starts with its priority, `<6>` (sd-daemon(3), SyslogLevelPrefix=).
"""

import json
import logging
import os
import sys
from collections import Counter
from typing import Any, Literal

from vedette.job import clean

LEVELS = ("debug", "info", "warning", "error", "critical")
Level = Literal["debug", "info", "warning", "error"]
Format = Literal["text", "json"]

_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_LINE_LIMIT = 2000  # characters of one value; journald itself cuts lines at 48 KiB
_ROOT = logging.getLogger("vedette")


class _StandardError:
    """What it is at the moment: a progress bar takes it over, to write lines above itself."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


class CountingHandler(logging.StreamHandler[Any]):
    """Writes lines and counts them by level."""

    def __init__(self) -> None:
        super().__init__(_StandardError())
        # The other levels are rare: they have no series before their first line.
        self.counts: Counter[str] = Counter(dict.fromkeys(("info", "warning", "error"), 0))

    def emit(self, record: logging.LogRecord) -> None:
        """Count, then write."""
        self.counts[record.levelname.lower()] += 1
        super().emit(record)


class _Formatter(logging.Formatter):
    def __init__(self, style: Format, *, journal: bool) -> None:
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%S%z")
        self._json = style == "json"
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname.lower()
        # What a peer sent may stand in any value: no value can start a line or move the cursor.
        values = {
            key: clean(str(value), _LINE_LIMIT) if isinstance(value, str) else value
            for key, value in getattr(record, "values", {}).items()
        }
        message = clean(record.getMessage(), _LINE_LIMIT)
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        if self._json:
            line = json.dumps(
                {
                    "time": self.formatTime(record, self.datefmt),
                    "level": level,
                    "message": message,
                    **values,
                    **({"trace": trace} if trace else {}),
                },
                default=str,
            )
        else:
            line = message + "".join(f" {key}={_quoted(value)}" for key, value in values.items())
            if not self._journal:  # which keeps time and level itself
                line = f"{self.formatTime(record, self.datefmt)} {level:<7} {line}"
            # Indented: an exception's words can be a peer's, and must not look like another line.
            line += "".join(f"\n  {_indented(part)}" for part in trace.splitlines())
        if self._journal:
            prefix = f"<{_PRIORITY[level]}>"
            line = "\n".join(prefix + part for part in line.splitlines())
        return line


def _quoted(value: object) -> str:
    text = clean(str(value), _LINE_LIMIT)
    return json.dumps(text, ensure_ascii=False) if not text or set(text) & set(' "=\\') else text


def _indented(text: str) -> str:
    return " " * (len(text) - len(text.lstrip())) + clean(text, _LINE_LIMIT)


def start(level: Level = "info", style: Format = "text") -> CountingHandler:
    """Send the log to standard error from now on; return the handler that counts."""
    handler = CountingHandler()
    _ROOT.handlers = [handler]
    _ROOT.propagate = False
    configure(handler, level, style)
    return handler


def configure(handler: CountingHandler, level: Level, style: Format) -> None:
    """Log from this level on, in this style."""
    handler.setFormatter(_Formatter(style, journal="JOURNAL_STREAM" in os.environ))
    _ROOT.setLevel(level.upper())


def event(level: Level, message: str, *, trace: bool = False, **values: object) -> None:
    """Write one line: a constant message and what it is about. trace: add the traceback."""
    _ROOT.log(
        logging.getLevelNamesMapping()[level.upper()],
        message,
        exc_info=trace,
        extra={"values": values},
    )
