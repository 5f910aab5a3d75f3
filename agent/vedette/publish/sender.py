"""What sends by itself: a thread of its own, how it is started and ended, and what it counts."""

from abc import ABC, abstractmethod
from threading import Event, Thread

from vedette.publish.tally import Tally


class Sender(ABC):
    """Works in a thread that bears its name until `stop`; `join` waits until it has ended."""

    def __init__(self, name: str) -> None:
        self.tally = Tally(name)
        self._stop = Event()
        self._thread = Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Send from now on, at this host's slots."""
        self._thread.start()

    def stop(self) -> None:
        """Say that it shall end. An exchange under way is called off."""
        self._stop.set()

    def join(self, seconds: float) -> None:
        """Wait until the thread has ended."""
        if self._thread.is_alive():
            self._thread.join(seconds)

    @abstractmethod
    def _work(self) -> None: ...
