"""The harness's own faults, each with the exit code that it leads to.

    ConformanceError
    ├── UsageError            2   a wrong option, file or value: the user can mend it
    │   └── ScenarioError     2   a scenario file is wrong; carries file:line:column problems
    ├── MachineError     3   this machine cannot run what was required
    ├── AdapterError          4   the adapter or the server could not be started, or broke the contract
    │   └── AdapterUnsupported    (no exit code) the adapter says that the server cannot do this
    └── HarnessBug           70   ours; please report it

A server's faults are never exceptions: they are verdicts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """Exit codes of ``conformance``; never a count."""

    CONFORMS = 0
    DOES_NOT_CONFORM = 1
    USAGE = 2
    ENVIRONMENT = 3
    NOT_STARTED = 4
    NOTHING_VERIFIED = 5
    INTERRUPTED = 130
    HARNESS_BUG = 70


class ConformanceError(Exception):
    """Root of the harness's faults."""

    exit_code = ExitCode.HARNESS_BUG


class UsageError(ConformanceError):
    """The user gave something that cannot be used; the message says what to do instead."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file: position (1-based), what is wrong, and the remedy."""

    file: Path
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class ScenarioError(UsageError):
    """One or more scenario files are wrong."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class MachineError(ConformanceError):
    """This machine cannot run what was required; the message names what is missing."""

    exit_code = ExitCode.ENVIRONMENT


class AdapterError(ConformanceError):
    """The adapter or the server under test could not be started, or the adapter broke its contract.

    ``log`` is the tail of the server's or the adapter's log, to be shown to the user.
    """

    exit_code = ExitCode.NOT_STARTED

    def __init__(self, message: str, *, log: str = "") -> None:
        super().__init__(message)
        self.log = log


class AdapterUnsupported(ConformanceError):  # noqa: N818 - an answer, not an error
    """The adapter declares that the server under test cannot do this: the case is ``unsupported``."""

    def __init__(self, feature: str, reason: str, link: str = "") -> None:
        super().__init__(f"{feature}: {reason}")
        self.feature = feature
        self.reason = reason
        self.link = link


class HarnessBug(ConformanceError):  # noqa: N818
    """Something that must not happen did; ours to mend."""
