"""Holding what was expected against what was seen, and the words for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from conformance.clients.outcome import CLOSED, Observation, Outcome
from conformance.requirements import Requirement
from conformance.scenario.model import ConnectExpectation
from conformance.verdict.model import WORST_FIRST, Judgement, Verdict

CLOSE_PASSES = 1.0
CLOSE_WARNS = 10.0
"""Seconds from the completed handshake to FIN or RST (RANGE-4): up to the first it passes, up to the second
it is a lesser form, later the client hung."""

TEXT_IS_NO_MATTER = frozenset({"RANGE-4", "RANGE-6"})
"""Requirements of a close that text before it does not break: that is what RANGE-5 judges."""


State = Literal["met", "lesser", "unmet"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One expectation held against what was seen."""

    state: State
    expected: str
    actual: str
    whatever_was_said: State | None = None
    """Where a close was expected, of one kind or any: the state when any kind of close will do."""

    @property
    def met(self) -> bool:
        """Whether it is what was expected, without reservation."""
        return self.state == "met"


def found(condition: bool, expected: str, actual: str) -> Finding:
    """Return a finding of yes or no."""
    return Finding("met" if condition else "unmet", expected, actual)


def verdict(finding: Finding, requirement: Requirement, *, follows_page: bool) -> Verdict:
    """Return what a finding means for one requirement.

    A policy of the page (level with ``*``) is only recorded on a server that does not claim to follow it.
    """
    if requirement.level == "INFO" or (requirement.page_policy and not follows_page):
        return Verdict.INFO
    state = finding.state
    if requirement.id in TEXT_IS_NO_MATTER and finding.whatever_was_said is not None:
        state = finding.whatever_was_said
    if state == "met":
        return Verdict.PASS
    return Verdict.FAIL if state == "unmet" and requirement.level == "MUST" else Verdict.WARN


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of ``verdicts``; `INCONCLUSIVE` of none: nothing was proved."""
    ranked = sorted(verdicts, key=WORST_FIRST.index)
    return ranked[0] if ranked else Verdict.INCONCLUSIVE


def without_control(judgement: Judgement) -> Judgement:
    """A positive control failed: whatever was judged proves nothing, for or against the server."""
    if judgement.verdict is Verdict.INFO:
        return judgement
    return judgement.model_copy(update={"verdict": Verdict.INCONCLUSIVE})


# --- connections ---

_WANTED: dict[str, frozenset[Outcome]] = {
    "closed": CLOSED,
    **{str(outcome): frozenset({outcome}) for outcome in Outcome},
}


def words(observation: Observation) -> str:
    """Return what happened to a connection, for people."""
    text = str(observation.outcome)
    if observation.outcome in CLOSED and observation.close_delay is not None:
        text += f" {observation.close_delay:.3f} s after the handshake"
    if observation.outcome is Outcome.CLOSED_AFTER_TEXT and observation.received:
        text += f" ({observation.received[:120]!r})"
    elif observation.detail:
        text += f" ({observation.detail})"
    return text


def connection(expectation: ConnectExpectation, expected: str, observation: Observation) -> Finding:
    """Judge one connection; ``expected`` is the outcome word, with ``oracle`` resolved."""
    state, anyhow = connection_states(expectation, expected, observation)
    description = expected
    if expectation.within is not None:
        description += f" within {expectation.within:g} s"
    return Finding(state, description, words(observation), anyhow)


def connection_states(
    expectation: ConnectExpectation, expected: str, observation: Observation
) -> tuple[State, State | None]:
    """Return state and ``whatever_was_said`` of the finding of `connection`, without its words."""
    wanted = _WANTED[expected]
    anyhow: State | None = None
    if wanted <= CLOSED:
        anyhow = _in_time(expectation, observation) if observation.outcome in CLOSED else "unmet"
    if observation.outcome not in wanted:
        lesser = {outcome for word in expectation.warn for outcome in _WANTED[word]}
        state: State = "lesser" if observation.outcome in lesser else "unmet"
        return state, state if anyhow == "unmet" else anyhow
    return anyhow or _in_time(expectation, observation), anyhow


def _in_time(expectation: ConnectExpectation, observation: Observation) -> State:
    closed = observation.outcome in CLOSED
    delay = observation.close_delay if closed else _greeting_delay(observation)
    if delay is None:
        return "met"
    late = expectation.within if expectation.within is not None else (CLOSE_WARNS if closed else None)
    slow = expectation.warn_after
    if slow is None and closed and expectation.within is None:
        slow = CLOSE_PASSES
    if late is not None and delay > late:
        return "unmet"
    return "lesser" if slow is not None and delay > slow else "met"


def _greeting_delay(observation: Observation) -> float | None:
    if observation.first_byte_after is None or observation.connected_after is None:
        return None
    return observation.first_byte_after - observation.connected_after
