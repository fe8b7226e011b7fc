"""What a baseline leaves of a case's verdict: xfail and xpass, and what becomes of the run."""

from __future__ import annotations

from datetime import date

import pytest

from conformance import requirements
from conformance.verdict.baseline import Baseline, Review, applied, review
from conformance.verdict.requirements import exit_code, must_verified, states

CATALOGUE = requirements.load()
TODAY = date(2026, 6, 15)


def baseline(*entries: dict[str, object]) -> Baseline:
    common = {"reason": "known since long", "expires": date(2100, 1, 1)}
    return Baseline.model_validate({"entries": [{**common, **entry} for entry in entries]})


def code_of(made, known: Baseline, *, fail_on_warn: bool = False) -> tuple[int, Review]:
    """Return the exit code of a run of chosen cases, and the review of its baseline."""
    records = [applied(known, one, network="loopback") for one in made]
    found = states(records, [], CATALOGUE, "full")
    looked = review(
        known,
        {name: one.state for name, one in found.items()},
        records,
        network="loopback",
        today=TODAY,
        complete=True,
    )
    code = exit_code(records, found, looked, fail_on_warn=fail_on_warn, follows_page=True, complete=False)
    return int(code), looked


FAILED = {"requirement": "BIND-2", "accept": ["failed"]}


@pytest.mark.parametrize(
    ("judged", "accepted", "verdict"),
    [
        ({"BIND-2": "fail"}, ["failed"], "xfail"),
        ({"BIND-2": "fail"}, ["warned"], "fail"),
        ({"BIND-2": "warn"}, ["warned"], "xfail"),
        ({"BIND-2": "warn"}, ["failed"], "warn"),
        ({"BIND-2": "fail", "BIND-7": "pass"}, ["failed"], "xfail"),
        ({"BIND-2": "fail", "BIND-7": "fail"}, ["failed"], "fail"),
        ({"BIND-2": "fail", "BIND-11": "warn"}, ["failed"], "fail"),
        ({"BIND-2": "fail"}, ["not_run", "unsupported"], "fail"),
    ],
)
def test_a_case_whose_every_failure_is_accepted_is_xfail(make, judged, accepted, verdict) -> None:
    worst = "fail" if "fail" in judged.values() else "warn"
    record = make.record("a.b", worst, judged)
    known = baseline({"requirement": "BIND-2", "accept": accepted})
    changed = applied(known, record, network="loopback")
    assert changed.verdict == verdict
    assert changed.judgements == record.judgements
    assert ("known since long" in changed.reason) == (verdict == "xfail")


@pytest.mark.parametrize("verdict", ["error", "inconclusive", "skipped", "unsupported"])
def test_what_says_nothing_of_the_server_stays(make, verdict) -> None:
    record = make.record("a.b", verdict, requirements=("BIND-2",))
    known = baseline({**FAILED, "case": "a.b"})
    assert applied(known, record, network="loopback") == record


@pytest.mark.parametrize(("case", "verdict"), [("a.b[x]", "xfail"), ("a.b", "xfail"), ("a.c", "fail")])
def test_an_entry_for_one_case(make, case, verdict) -> None:
    record = make.record("a.b", "fail", {"BIND-2": "fail"})
    assert applied(baseline({**FAILED, "case": case}), record, network="loopback").verdict == verdict


def test_an_entry_for_the_other_network(make) -> None:
    record = make.record("a.b", "fail", {"BIND-2": "fail"})
    known = baseline({**FAILED, "network": "namespace"})
    assert applied(known, record, network="loopback").verdict == "fail"
    assert applied(known, record, network="namespace").verdict == "xfail"


def test_a_case_that_was_expected_to_fail_and_passes(make) -> None:
    passing = make.record("a.b", "pass", {"BIND-2": "pass"})
    known = baseline({**FAILED, "case": "a.b"})
    assert applied(known, passing, network="loopback").verdict == "xpass"
    # Without a case the entry speaks of the requirement, which other cases may fail.
    assert applied(baseline(FAILED), passing, network="loopback").verdict == "pass"
    assert code_of([passing], known)[0] == 1


def test_accepted_failures_do_not_fail_the_run_and_verify_nothing(make) -> None:
    records = [make.record("a.b", "fail", {"BIND-2": "fail"}), make.record("a.c", "pass", {"BIND-3": "pass"})]
    code, looked = code_of(records, baseline(FAILED))
    assert (code, looked.stale) == (0, ())
    assert must_verified(states(records, [], CATALOGUE, "full"))[0] == 1
    assert code_of(records, baseline())[0] == 1


def test_an_accepted_case_accepts_no_other(make) -> None:
    known = baseline({**FAILED, "case": "a.b"})
    one = make.record("a.b", "fail", {"BIND-2": "fail"})
    other = make.record("a.c", "fail", {"BIND-2": "fail"})
    assert code_of([one], known)[0] == 0
    code, looked = code_of([one, other], known)
    assert (code, looked.accepted) == (1, {})


def test_an_entry_that_came_true_for_one_case_of_a_warned_requirement_is_not_stale(make) -> None:
    known = baseline({"requirement": "RANGE-7", "accept": ["warned"], "case": "a.b"})
    records = [
        make.record("a.b", "warn", {"RANGE-7": "warn"}),
        make.record("a.c", "pass", {"RANGE-7": "pass"}),
    ]
    code, looked = code_of(records, known, fail_on_warn=True)
    assert (code, looked.stale) == (0, ())


def test_an_entry_that_no_case_needs_is_stale(make) -> None:
    code, looked = code_of([make.record("a.b", "pass", {"BIND-2": "pass"})], baseline(FAILED))
    assert code == 1
    assert "BIND-2 is passed now, and no longer failed" in looked.stale[0]


def test_a_must_in_a_lesser_form_is_not_verified(make) -> None:
    records = [
        make.record("a.b", "warn", {"RANGE-4": "warn"}),
        make.record("a.c", "pass", {"BIND-3": "pass"}),
    ]
    assert code_of(records, baseline())[0] == 1
    assert code_of(records, baseline({"requirement": "RANGE-4", "accept": ["warned"]}))[0] == 0


def test_what_is_only_recorded_verifies_nothing(make) -> None:
    assert code_of([make.record("a.b", "info", {"BIND-14": "info"})], baseline())[0] == 5


def test_policies_of_the_page_are_counted_for_those_who_follow_it(make) -> None:
    found = states([make.record("a.b", "pass", {"BIND-2": "pass"})], [], CATALOGUE, "full")
    policies = sum(one.level == "MUST" and one.page_policy for one in CATALOGUE)
    assert policies > 0
    assert must_verified(found)[1] - must_verified(found, follows_page=False)[1] == policies
