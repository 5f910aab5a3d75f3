"""Whether systemd may be told that the agent is alive.

Only the timer's loop feeds the watchdog, so a loop that hangs starves it; and it does so only if
every job's thread keeps within its deadline and the server has just answered a request. The server
is asked by a thread of its own: while it keeps us waiting, the loop turns.
"""

import time
from collections.abc import Callable
from threading import Thread

from vedette import log

_LONGEST_ANSWER_SECONDS = 5.0
_TURN_SECONDS = 1.0  # between two calls of `turn`: the answer is picked up one turn later


class Watchdog:
    """Feeds about twice in `seconds`, which is systemd's WatchdogSec=.

    feed: does it. late: names the jobs whose threads hang. answers: asks the server, and waits so
    many seconds for the answer at most.
    """

    def __init__(
        self,
        seconds: float,
        feed: Callable[[], object],
        late: Callable[[], list[str]],
        answers: Callable[[float], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pause = max(0.0, seconds / 2 - _TURN_SECONDS)
        self._patience = min(_LONGEST_ANSWER_SECONDS, seconds / 4)
        self._feed, self._late, self._answers, self._clock = feed, late, answers, clock
        self._next = clock() + self._pause
        self._question: Thread | None = None
        self._answered = False
        self._starving = False

    def turn(self) -> None:
        """To be called at every turn of the timer's loop. Never waits."""
        if self._question is None:
            if self._clock() >= self._next:
                self._answered = False
                self._question = Thread(target=self._ask, name="watchdog", daemon=True)
                self._question.start()
        elif not self._question.is_alive():
            self._question = None
            self._decide()

    def _ask(self) -> None:
        self._answered = self._answers(self._patience)

    def _decide(self) -> None:
        late = self._late()
        if self._answered and not late:
            self._feed()
            self._next = self._clock() + self._pause
            self._starving = False
        elif not self._starving:  # asked again at the next turn, until systemd ends it; said once
            self._starving = True
            log.event(
                "error", "watchdog is not fed: systemd will restart the agent if this stays so",
                hanging_jobs=" ".join(late) or "none", server_answers=self._answered,
            )  # fmt: skip
