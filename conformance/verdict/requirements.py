"""From the cases of a run to the state of each requirement, and to the exit code. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
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
_PROVEN = frozenset({Verdict.PASS, Verdict.WARN, Verdict.FAIL})
"""Judgements that say something of the server."""
_FAILING = frozenset({Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.XPASS})
"""Verdicts on a case with which no run conforms."""


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


def binding(requirement: Requirement, *, follows_page: bool) -> bool:
    """Say whether a requirement is a MUST for this server: a policy of the page binds those who follow it."""
    return requirement.level == "MUST" and (follows_page or not requirement.page_policy)


def must_verified(found: Mapping[str, RequirementState], *, follows_page: bool = True) -> tuple[int, int]:
    """Return how many MUST are passed, and how many bind this server."""
    musts = [one for one in found.values() if binding(one.requirement, follows_page=follows_page)]
    return sum(one.state is State.PASSED for one in musts), len(musts)


def exit_code(
    records: Sequence[CaseRecord],
    found: Mapping[str, RequirementState],
    review: Review,
    *,
    fail_on_warn: bool,
    follows_page: bool,
    complete: bool,
) -> ExitCode:
    """Return the exit code of a run that came to its end; the first that applies counts.

    ``complete`` is False for a run of chosen cases: it says nothing about requirements that these do not
    judge, and the last line shows how little was verified.
    """
    faults = {record.fault for record in records}
    verdicts = {record.verdict for record in records if not _accepted(record, review)}
    if "harness" in faults:
        return ExitCode.HARNESS_BUG
    if Verdict.FAIL in verdicts:
        return ExitCode.DOES_NOT_CONFORM
    if "adapter" in faults:
        return ExitCode.NOT_STARTED
    if "scenario" in faults:
        return ExitCode.USAGE
    if not any(one.verdict in _PROVEN for record in records for one in record.judgements):
        return ExitCode.DOES_NOT_CONFORM if Verdict.INCONCLUSIVE in verdicts else ExitCode.NOTHING_VERIFIED
    failing = _FAILING | ({Verdict.WARN} if fail_on_warn else set())
    if verdicts & failing or review.stale:
        return ExitCode.DOES_NOT_CONFORM
    unverified = [
        one
        for one in found.values()
        if binding(one.requirement, follows_page=follows_page)
        and one.state is not State.PASSED
        and one.requirement.id not in review.accepted
        and (complete or one.state not in (State.NOT_RUN, State.NOT_COVERED))
    ]
    return ExitCode.DOES_NOT_CONFORM if unverified else ExitCode.CONFORMS


def _accepted(record: CaseRecord, review: Review) -> bool:
    """Say whether everything that is wrong with a case is what the baseline accepts."""
    if record.verdict is Verdict.XFAIL:
        return True
    words = {Verdict.FAIL: "failed", Verdict.WARN: "warned"}
    wrong = [one for one in record.judgements if one.verdict in words]
    return record.verdict in words and all(
        (entry := review.accepted.get(one.requirement)) is not None and words[one.verdict] in entry.accept
        for one in wrong
    )
