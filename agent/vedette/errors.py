"""What can go wrong outside of the program, in words for the operator.

A `JobError` costs one run of one job and is counted under its `reason`; a `ConfigError` refuses the
configuration (exit code 78). Whatever else escapes from a job is a bug, and counted as one.
"""

from typing import ClassVar


class JobError(Exception):
    """A run brought no snapshot because the world did not cooperate."""

    reason: ClassVar[str]


class ToolMissing(JobError):
    """A program that the job needs is not installed."""

    reason = "tool_missing"


class NotPermitted(JobError):
    """The operating system refused it: a capability or a permission is missing."""

    reason = "not_permitted"


class TimedOut(JobError):
    """It took longer than it may."""

    reason = "timed_out"


class BadOutput(JobError):
    """A program or a file said something that cannot be read."""

    reason = "bad_output"


class KnowledgeError(BadOutput):
    """A knowledge base, or a file that one is made from, cannot be read or written."""


class NotReady(JobError):
    """Something that the job builds on is not there yet, or is shutting down."""

    reason = "not_ready"


BUG = "bug"
REASONS = tuple(
    sorted(
        [BUG, *(kind.reason for kind in (ToolMissing, NotPermitted, TimedOut, BadOutput, NotReady))]
    )
)


class ConfigError(Exception):
    """The configuration is refused. `problems`: one sentence for each wrong key."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
