"""From the cases of a run to the state of each requirement, and to the exit code. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from conformance.errors import ExitCode
from conformance.requirements import Catalogue, Requirement
from conformance.scenario.case import Case
from conformance.verdict.baseline import Review
from conformance.verdict.model import CaseRecord, State, Verdict

_WORST_FIRST = (
    (Verdict.FAIL, State.FAILED),
    (Verdict.ERROR, State.ERROR),
    (Verdict.INCONCLUSIVE, State.INCONCLUSIVE),
    (Verdict.WARN, State.WARNED),
    (Verdict.PASS, State.PASSED),
    (Verdict.INFO, State.RECORDED),
    (Verdict.UNSUPPORTED, State.UNSUPPORTED),
)
VERIFIED = frozenset({State.PASSED})
"""What counts in "N of M MUST verified"."""


@dataclass(frozen=True, slots=True)
class RequirementState:
    """One requirement after a run."""

    requirement: Requirement
    state: State
    cases: int
    scenarios: tuple[str, ...]
    reason: str = ""
    """Why it is not passed, from the first case that says so."""


def states(
    records: Sequence[CaseRecord], cases: Sequence[Case], catalogue: Catalogue, profile: str
) -> dict[str, RequirementState]:
    """Return the state of every requirement of the profile, in the catalogue's order.

    ``cases`` are all that exist, also those that did not run: they tell ``not_run`` from ``not_covered``.
    """
    ran: dict[str, list[CaseRecord]] = defaultdict(list)
    existing: dict[str, set[str]] = defaultdict(set)
    for record in records:
        for name in record.requirements:
            ran[name].append(record)
    for case in cases:
        for name in case.scenario.requirements:
            existing[name].add(case.scenario.id)
    return {
        requirement.id: _state(requirement, ran[requirement.id], existing[requirement.id])
        for requirement in catalogue
        if requirement.excluded is None and (profile != "core" or requirement.level == "MUST")
    }


def _state(requirement: Requirement, ran: Sequence[CaseRecord], existing: set[str]) -> RequirementState:
    scenarios = tuple(sorted(existing | {record.scenario for record in ran}))
    found: dict[Verdict, str] = {}
    skipped = ""
    for record in ran:
        for verdict, reason in _of(record, requirement.id):
            found.setdefault(verdict, reason)
            if verdict is Verdict.SKIPPED:
                skipped = skipped or reason
    for verdict, state in _WORST_FIRST:
        if verdict in found:
            return RequirementState(requirement, state, len(ran), scenarios, found[verdict])
    if not existing and not ran:
        return RequirementState(requirement, State.NOT_COVERED, 0, (), "no scenario shows it")
    return RequirementState(requirement, State.NOT_RUN, len(ran), scenarios, skipped or "no case was run")


def _of(record: CaseRecord, name: str) -> list[tuple[Verdict, str]]:
    """Return what a case says of a requirement."""
    judged = [
        (one.verdict, f"{record.id}: expected {one.expected}, got {one.actual}")
        for one in record.judgements
        if one.requirement == name
    ]
    if record.verdict in (Verdict.ERROR, Verdict.INCONCLUSIVE):
        judged.append((record.verdict, f"{record.id}: {record.reason}"))
    if not judged:
        # The case ended before it came to this requirement, or never began.
        judged.append(
            (record.verdict, record.reason)
            if record.verdict in (Verdict.UNSUPPORTED, Verdict.SKIPPED)
            else (Verdict.INCONCLUSIVE, f"{record.id}: no expectation for it was reached")
        )
    return judged


def must_verified(found: dict[str, RequirementState]) -> tuple[int, int]:
    """Return how many MUST are passed, and how many there are."""
    musts = [one for one in found.values() if one.requirement.level == "MUST"]
    return sum(one.state in VERIFIED for one in musts), len(musts)


def exit_code(
    records: Sequence[CaseRecord],
    found: dict[str, RequirementState],
    review: Review,
    *,
    fail_on_warn: bool,
    follows_page: bool,
    complete: bool,
) -> ExitCode:
    """Return the exit code of a run; `ExitCode` lists them, the first that applies counts."""
    faults = {record.fault for record in records}
    if "harness" in faults:
        return ExitCode.HARNESS_BUG
    if any(record.verdict is Verdict.FAIL for record in _not_accepted(records, review)):
        return ExitCode.DOES_NOT_CONFORM
    if "adapter" in faults:
        return ExitCode.NOT_STARTED
    if "scenario" in faults:
        return ExitCode.USAGE
    if not any(record.judgements for record in records):
        return ExitCode.NOTHING_VERIFIED
    if review.stale or not all(
        _acceptable(one, review, fail_on_warn=fail_on_warn, follows_page=follows_page, complete=complete)
        for one in found.values()
    ):
        return ExitCode.DOES_NOT_CONFORM
    return ExitCode.CONFORMS


def _not_accepted(records: Sequence[CaseRecord], review: Review) -> list[CaseRecord]:
    """Leave out the cases whose every failure is of a requirement that the baseline accepts as failed."""
    return [
        record
        for record in records
        if not all(
            (entry := review.accepted.get(one.requirement)) is not None and "failed" in entry.accept
            for one in record.judgements
            if one.verdict is Verdict.FAIL
        )
    ]


def _acceptable(
    one: RequirementState, review: Review, *, fail_on_warn: bool, follows_page: bool, complete: bool
) -> bool:
    if one.requirement.id in review.accepted:
        return True
    if one.state in (State.FAILED, State.ERROR, State.INCONCLUSIVE):
        return False
    if one.state is State.WARNED:
        return not fail_on_warn
    if one.state in (State.NOT_RUN, State.NOT_COVERED) and not complete:
        # A run of chosen cases says nothing about the others; the last line shows how little was verified.
        return True
    binding = one.requirement.level == "MUST" and (follows_page or not one.requirement.page_policy)
    return not binding or one.state is State.PASSED
