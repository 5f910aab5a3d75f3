"""What systemd is told of the agent: sd_notify(3). Where nobody asked for it, nothing is sent."""

import os
import socket
import time
from collections.abc import MutableMapping

from vedette import log
from vedette.job import clean

_STATUS_LIMIT = 200  # characters: one line of `systemctl status`


class Notify:
    """Messages to the manager that started this process. `watchdog_seconds`: None without one."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Take the manager's variables out of the environment: no child speaks for the agent."""
        # A leading @ stands for the zero byte of an abstract address.
        self._address = environment.pop("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        interval, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        ours = interval.isdigit() and pid in ("", str(os.getpid()))
        self.watchdog_seconds = int(interval) / 1e6 if ours else None
        self._status = ""
        self._broken = False

    def ready(self) -> None:
        """The agent serves; or, after `reloading`, is done with it."""
        self._send("READY=1")

    def reloading(self) -> None:
        """The configuration is being read again."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The agent ends."""
        self._send("STOPPING=1\nSTATUS=stopping")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Say in one line how the agent is; what has been said already is not said again."""
        line = clean(text, _STATUS_LIMIT)
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.settimeout(0)  # a manager that does not read must not stop the timer
                channel.connect(self._address)
                channel.send(message.encode())
        except OSError as exc:
            if not self._broken:
                log.event("error", "systemd cannot be told how the agent is", error=str(exc))
            self._broken = True
        else:
            self._broken = False
