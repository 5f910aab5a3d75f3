"""The one abstraction of this program: a job. Values flow one way.

schedule -> observe(options, context) -> snapshot -> families(snapshot) -> publish
            (edge: may block, fail)      (value)  -> facts(snapshot)    -> history
                                                     (both pure)
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Generic, Protocol, TypeVar

from prometheus_client.metrics_core import Metric

from vedette.option import setting

S = TypeVar("S")
T = TypeVar("T")


TIMEOUT_TEXT = "A run that takes longer is given up and counted as timed_out."
SPLAY_TEXT = "The first run starts this much later at most; each host has its own fixed share."


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """What every job can be told. A job's own `Options` adds to it."""

    enabled: bool = setting(default=True, text="Whether the job runs at all.")
    interval_seconds: int = setting(60, "Time between starts.", gt=0)
    timeout_seconds: float = setting(30.0, TIMEOUT_TEXT, gt=0)
    splay_seconds: float = setting(0.0, SPLAY_TEXT, ge=0)


OptionsT = TypeVar("OptionsT", bound=JobOptions)


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is so at the moment, to be remembered and compared.

    key: what it is about, e.g. "192.0.2.10 tcp/22".
    value: what is news when it changes. detail: kept beside it, never news. Both are plain JSON.
    """

    key: str
    value: Mapping[str, Any]
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """All facts of one kind ("port", "os") in a snapshot. complete: what is not named is gone."""

    kind: str
    facts: tuple[Fact, ...]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered of one fact. Times: Unix seconds. present: it was so at the last look."""

    value: Mapping[str, Any]
    detail: Mapping[str, Any]
    first_seen: float
    last_seen: float
    present: bool


class Latest(Protocol):
    """The newest snapshots, read-only."""

    def get(self, kind: type[T]) -> T | None:
        """Return the newest snapshot of this class, or None if none is fresh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context(Generic[S]):
    """What a run may know beside its options.

    previous: this job's own last snapshot, however old (counters go on from it).
    known: {key: what is remembered} of one kind of fact, from before this run.
    stop: set when the run is to end soon (shutdown, or past its deadline).
    progress: tell how far the run is: ratio from 0 to 1, and what it is doing.
    now: the clock, Unix seconds.
    """

    previous: S | None
    latest: Latest
    known: Callable[[str], Mapping[str, Known]]
    stop: Event
    progress: Callable[[float, str], None]
    now: Callable[[], float]


def _no_facts(_: Any) -> Iterable[Facts]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[OptionsT, S]):
    """How to take one kind of snapshot, and how to show it.

    name: the file's name, the section of the configuration, the value of the label `job_name`.
    observe: look at the world once and yield what was seen; a run that learns in steps yields a
        better snapshot after each. May block up to `timeout_seconds`. Raises JobError, and nothing
        else, when the world does not cooperate.
    families: the metrics of one snapshot. Pure: no I/O, no clock, no state.
    facts: what of a snapshot is to be remembered. Pure as well.
    after: the jobs whose snapshots it builds on; its first run waits for theirs.
    """

    name: str
    options: type[OptionsT]
    observe: Callable[[OptionsT, Context[S]], Iterable[S]]
    families: Callable[[S], Iterable[Metric]]
    facts: Callable[[S], Iterable[Facts]] = _no_facts
    after: tuple[str, ...] = ()


LABEL_LIMIT = 64  # characters; the contract's bound for values that come from the wire


def clean(text: str, limit: int = LABEL_LIMIT) -> str:
    """Return one printable line of at most `limit` characters, whatever a peer has sent.

    Control, format (bidirectional overrides) and unassigned characters and lone surrogates become
    spaces, runs of white space one space; what is cut off is marked with an ellipsis.
    """
    # A banner can be 100 kB: the part that cannot matter is not looked at.
    line = text[: 8 * limit]
    if not line.isprintable():  # most are, and this runs for every label at every refresh
        line = "".join(c if c.isprintable() else " " for c in line)
    line = " ".join(line.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
