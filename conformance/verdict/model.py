"""Verdicts, judgements and the record of one case: what a report is made of."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

REPORT_SCHEMA = 1


class Verdict(StrEnum):
    """The verdict on a case or a judgement. The blame is in the word."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    """The server does not meet a MUST."""
    WARN = "warn"
    """The server does not meet a SHOULD, or meets a requirement in a lesser form."""
    INFO = "info"
    """Recorded, not judged."""
    UNSUPPORTED = "unsupported"
    """The adapter declares that the server cannot do this."""
    SKIPPED = "skipped"
    """This machine cannot show it; the reason names what is missing."""
    INCONCLUSIVE = "inconclusive"
    """Nothing was proved: a positive control failed, or no expectation was reached."""
    ERROR = "error"
    """The harness or the scenario is at fault."""
    XFAIL = "xfail"
    """A fail or warn that the baseline accepts."""
    XPASS = "xpass"
    """The baseline accepts a failure that did not happen: the entry is stale."""


WORST_FIRST = (
    Verdict.FAIL,
    Verdict.ERROR,
    Verdict.INCONCLUSIVE,
    Verdict.WARN,
    Verdict.XPASS,
    Verdict.XFAIL,
    Verdict.SKIPPED,
    Verdict.UNSUPPORTED,
    Verdict.PASS,
    Verdict.INFO,
)
"""A case takes the worst of its judgements; `PASS` outranks `INFO`: a recorded extra hides no pass."""


class State(StrEnum):
    """The state of one requirement after a run."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    INCONCLUSIVE = "inconclusive"
    WARNED = "warned"
    RECORDED = "recorded"
    UNSUPPORTED = "unsupported"
    NOT_RUN = "not_run"
    NOT_COVERED = "not_covered"


Fault = Literal["", "adapter", "scenario", "harness"]
"""Whose fault an ``error`` is; decides the exit code."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Judgement(_Record):
    """One expectation held against what was seen, for one requirement."""

    requirement: str
    verdict: Verdict
    step: str = Field(description="Path of the step in the file, e.g. 'steps[2]' or 'finally[0]'")
    line: int = Field(description="Line of the step in the scenario file, 1-based")
    expected: str
    actual: str


class TranscriptLine(_Record):
    """One event: who, when (seconds since the case began), what."""

    at: float
    who: str = Field(description="'client[::1]:4711', 'server', 'harness', …")
    kind: Literal["connect", "sent", "received", "closed", "reset", "error", "action", "note"]
    text: str


class CaseRecord(_Record):
    """One line of report.ndjson."""

    type: Literal["case"] = "case"
    id: str = Field(description="Scenario id, with the matrix values in brackets")
    scenario: str
    title: str
    file: str
    line: int
    parameters: dict[str, str | int | bool] = Field(default_factory=dict)
    requirements: tuple[str, ...]
    verdict: Verdict
    reason: str = Field(default="", description="Why it is not a pass, in one sentence")
    fault: Fault = ""
    judgements: tuple[Judgement, ...] = ()
    transcript: tuple[TranscriptLine, ...] = ()
    log_tail: str = ""
    latencies: dict[str, float] = Field(default_factory=dict, description="Seconds, by name")
    seconds: float = 0.0
    replay: str = Field(default="", description="One shell command that runs this case again")
    capture: str = Field(default="", description="The packets (pcap): a path in the report's folder")
