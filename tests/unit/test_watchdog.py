"""watchdog.py: when the dog is fed, and when it starves."""

import time
from threading import Event

from vedette import log
from vedette.watchdog import Watchdog


class Agent:
    """What the watchdog asks, and a clock. Each turn is a second."""

    def __init__(self, seconds: float = 60.0) -> None:
        self.now = 1000.0
        self.fed: list[float] = []
        self.asked: list[float] = []
        self.late: list[str] = []
        self.answer = True
        self.may_answer = Event()
        self.may_answer.set()
        self.dog = Watchdog(
            seconds, lambda: self.fed.append(self.now), lambda: self.late, self._ask, self._clock
        )

    def _clock(self) -> float:
        return self.now

    def _ask(self, patience: float) -> bool:
        self.asked.append(patience)
        return self.may_answer.wait(5) and self.answer

    def turn(self, seconds: int = 1) -> None:
        for _ in range(seconds):
            self.now += 1
            self.dog.turn()
            time.sleep(0.002)  # for the thread that asks


def test_a_healthy_agent_feeds_twice_in_the_time_that_systemd_gives() -> None:
    """Half of it is what sd_watchdog_enabled(3) recommends."""
    agent = Agent(60)
    agent.turn(100)

    assert agent.fed == [1030.0, 1060.0, 1090.0]
    assert agent.asked == [5.0, 5.0, 5.0]


def test_a_server_that_does_not_answer_starves_it() -> None:
    """It is asked again and again, and fed as soon as it answers."""
    agent, counts = Agent(60), log.start().counts
    agent.answer = False
    agent.turn(40)
    hungry = list(agent.fed)
    agent.answer = True
    agent.turn(2)

    assert hungry == []
    assert len(agent.fed) == 1
    assert counts["error"] == 1  # said once, not at each question


def test_a_slow_answer_does_not_keep_the_timer_waiting() -> None:
    """The loop turns on; the dog is fed when the answer is there."""
    agent = Agent(4)
    agent.may_answer.clear()
    begin = time.monotonic()
    agent.turn(20)
    took = time.monotonic() - begin
    waiting, questions = list(agent.fed), len(agent.asked)
    agent.may_answer.set()
    time.sleep(0.1)
    agent.turn(1)

    assert took < 4
    assert (waiting, questions) == ([], 1)  # and it was asked once, not twenty times
    assert agent.fed == [1021.0]


def test_a_job_whose_thread_hangs_starves_it() -> None:
    """Only a new process helps against that."""
    agent = Agent(4)
    agent.late = ["sniff"]
    agent.turn(10)
    hungry = list(agent.fed)
    agent.late = []
    agent.turn(2)

    assert hungry == []
    assert len(agent.fed) == 1


def test_a_loop_that_does_not_turn_starves_it() -> None:
    """Nobody else feeds: no thread, no timer of its own."""
    agent = Agent(4)
    agent.now += 3600
    time.sleep(0.05)

    assert agent.fed == []
