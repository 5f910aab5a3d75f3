"""The capture process as a child: started, told what to count by, read, and started again.

Only this module knows that there is one. Its summaries are plain JSON (capture/summary.py).
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import Any

from vedette import log
from vedette.errors import BadOutput, NotPermitted, NotReady, TimedOut
from vedette.job import clean
from vedette.scanned import Address
from vedette.thresholds import EVENTS

_NOT_PERMITTED = 77  # capture/__main__.py
_SUMMARIES_KEPT = 8  # windows; a job that does not fetch them loses the oldest
_LINE_LIMIT = 4 << 20  # characters of one summary
# Back-off of restarts: from one second to five minutes, back to one after a window that arrived.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 300.0
_STOP_SECONDS = 1.0
_POLL_SECONDS = 1.0
_EVIDENCE_KEPT = 16
_LATEST = 1 << 33  # Unix seconds of an event: the year 2242
_LARGEST = 1 << 63  # of a count: the kernel's own have 64 bits

Summary = Mapping[str, Any]


class CaptureProcess:
    """One child and its newest summaries. One worker calls its methods; any thread `stop`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._child: subprocess.Popen[str] | None = None
        self._errors: Any = None
        self._arguments: tuple[str, ...] = ()
        self._told = ""
        self._summaries: list[Summary] = []
        self._arrived = Event()
        self._pause = 0.0
        self._not_before = 0.0
        self._stopped = False

    def ensure(self, window_seconds: float, peers: int, *limits: str) -> None:
        """Have a child that captures, once it is told where. Raises what ended the last one.

        limits: further arguments of capture/__main__.py.
        """
        arguments = (*("--window-seconds", str(window_seconds), "--peers", str(peers), *limits),)
        with self._lock:
            if self._child is not None and self._child.poll() is not None:
                self._buried()
            if self._child is not None and self._arguments != arguments:
                self._end()
            if self._child is None and not self._stopped:
                if time.monotonic() < self._not_before:
                    raise NotReady("the capture process is started again after a pause")
                self._start(arguments)

    def tell(
        self,
        interfaces: Iterable[str],
        own: Iterable[Address],
        macs: Iterable[str],
        ports: Mapping[str, Sequence[int]],
    ) -> None:
        """Say where to capture, and what is this host's: its addresses, cards and open ports."""
        line = json.dumps(
            {
                "interfaces": list(interfaces),
                "own": [str(a) for a in own],
                "macs": list(macs),
                "ports": {k: list(v) for k, v in ports.items()},
            }
        )
        child = self._child
        if line == self._told or child is None or child.stdin is None:
            return
        try:
            child.stdin.write(line + "\n")
            child.stdin.flush()
        except OSError:  # it has died: the next `ensure` says of what
            return
        self._told = line

    def fetch(self, timeout_seconds: float, stop: Event) -> list[Summary]:
        """Return the summaries since the last call, at least one. Raises TimedOut or NotReady."""
        end = time.monotonic() + timeout_seconds
        while not self._arrived.wait(_POLL_SECONDS):
            if stop.is_set() or self._stopped:
                raise NotReady("the run was told to stop")
            if time.monotonic() > end:
                self.restart()
                raise TimedOut(f"the capture process brought nothing in {timeout_seconds:.0f} s")
            child = self._child
            if child is not None and child.poll() is not None:
                with self._lock:
                    self._buried()
        with self._lock:
            summaries, self._summaries = self._summaries, []
            self._arrived.clear()
        return summaries

    def restart(self) -> None:
        """End the child; the next `ensure` starts another."""
        with self._lock:
            self._end()

    def stop(self) -> None:
        """End the child for good."""
        with self._lock:
            self._stopped = True
            self._end()

    def _start(self, arguments: tuple[str, ...]) -> None:
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed with the child
        self._child = subprocess.Popen(  # noqa: S603 - ourselves, arguments of our own making
            # -P: whatever lies in the working directory is not imported. -OO: no docstrings, which
            # are 2 MiB of numpy.
            [sys.executable, "-P", "-OO", "-m", "vedette.capture", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # none of its work is done here
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self._arguments, self._told = arguments, ""
        Thread(target=self._read, args=(self._child,), name="capture", daemon=True).start()
        log.event("info", "capture started", pid=self._child.pid)

    def _read(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None  # noqa: S101 - a pipe, as asked for above
        while line := child.stdout.readline(_LINE_LIMIT):
            try:
                summary = parse(line)
            except BadOutput as exc:
                log.event("error", "capture process talks nonsense", error=str(exc))
                break
            with self._lock:
                self._summaries = [*self._summaries, summary][-_SUMMARIES_KEPT:]
                self._pause = 0.0
                self._arrived.set()

    def _buried(self) -> None:
        """Take the exit status of a child that has ended by itself, and raise what it means."""
        child = self._child
        assert child is not None  # noqa: S101 - the callers have looked
        status = child.wait()
        self._errors.seek(0)
        text = " ".join(self._errors.read(4000).split())[-300:]
        self._end()
        self._pause = min(_LONGEST_PAUSE, max(_FIRST_PAUSE, 2 * self._pause))
        self._not_before = time.monotonic() + self._pause
        if status == _NOT_PERMITTED:
            raise NotPermitted(f"{text}; grant CAP_NET_RAW")
        raise BadOutput(f"the capture process ended with status {status}: {text}")

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        if child.poll() is None:
            try:
                os.killpg(child.pid, signal.SIGTERM)
                child.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            except ProcessLookupError:  # it ended between the two lines
                child.wait()
        if child.stdin is not None:
            with suppress(BrokenPipeError):  # what was not flushed has no reader any more
                child.stdin.close()
        self._errors.close()


def parse(line: str) -> Summary:
    """Return the summary in one line (capture/summary.py). Raises BadOutput if it is none.

    Every text in it is clean. That process reads what strangers send: it is not trusted either.
    """
    try:
        told = json.loads(line)
        return {
            "seconds": _checked(told["seconds"], int, float),
            "protocols": _rows(told["protocols"], str, str, int, int),
            "services": _rows(told["services"], str, int, str, int, int),
            "peers": _rows(told["peers"], str, int),
            "neighbours": _rows(told["neighbours"], str, str, str),
            "dropped": {clean(name): _checked(n, int) for name, n in told["dropped"].items()},
            "application": _rows(told.get("application", []), str, int, int, int),
            "spoken": _rows(told.get("spoken", []), str, int, str, str, float),
            "events": [_event(*row) for row in told.get("events", [])],
            "heard": _rows(told.get("heard", []), str, str, str, str, str),
            "systems": _rows(told.get("systems", []), str, str, str),
            "names": _checked(told.get("names", 0), int),
            "asked": _rows(told.get("asked", []), str, str, str, int),
            "shed": _checked(told.get("shed", 0), int),
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise BadOutput(f"no summary: {type(exc).__name__}") from exc


def _event(kind: Any, subject: Any, evidence: Any, at: Any) -> list[Any]:
    """Return an event of the fixed list; its evidence is numbers, clean words and lists of them."""
    if kind not in EVENTS or not isinstance(evidence, dict) or len(evidence) > _EVIDENCE_KEPT:
        raise TypeError
    told = {clean(key): _evidence(value) for key, value in evidence.items()}
    if _checked(at, int, float) >= _LATEST:
        raise TypeError
    return [kind, _checked(subject, str), told, at]


def _evidence(value: Any) -> Any:
    if isinstance(value, list):
        return [_checked(item, str) for item in value[:_EVIDENCE_KEPT]]
    return _checked(value, str) if isinstance(value, str) else _checked(value, int, float)


def _rows(rows: Any, *types: type) -> list[list[Any]]:
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise TypeError
    return [[_checked(v, kind) for v, kind in zip(row, types, strict=True)] for row in rows]


def _checked(value: Any, *kinds: type) -> Any:
    """Return a text, cleaned, or a number that can be one of these counts. Raises TypeError."""
    if type(value) not in kinds:
        raise TypeError
    if str in kinds:
        return clean(value)
    if not 0 <= value < _LARGEST:
        raise TypeError
    return value
