"""From records to states, from states to the exit code."""

from __future__ import annotations

from datetime import date

import pytest

from conformance import requirements
from conformance.verdict.baseline import Entry, Review
from conformance.verdict.requirements import exit_code, must_verified, states

CATALOGUE = requirements.load()
NOTHING = Review({}, {}, ())


def state_of(name, records, cases=(), profile="full"):
    return states(records, cases, CATALOGUE, profile)[name]


@pytest.mark.parametrize(
    ("verdicts", "state"),
    [
        (["pass"], "passed"),
        (["pass", "info"], "passed"),
        (["info"], "recorded"),
        (["pass", "warn"], "warned"),
        (["warn", "inconclusive", "pass"], "inconclusive"),
        (["inconclusive", "error"], "error"),
        (["error", "pass", "fail", "warn"], "failed"),
    ],
)
def test_the_worst_judgement_is_the_state(make, verdicts, state) -> None:
    records = [make.record(f"a.{n}", one, {"BIND-2": one}) for n, one in enumerate(verdicts)]
    found = state_of("BIND-2", records)
    assert (found.state, found.cases) == (state, len(verdicts))
    assert found.scenarios == tuple(f"a.{n}" for n in range(len(verdicts)))


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        ("unsupported", "unsupported"),
        ("skipped", "not_run"),
        ("inconclusive", "inconclusive"),
        ("error", "error"),
    ],
)
def test_a_case_that_judged_nothing(make, verdict, state) -> None:
    record = make.record("a.b", verdict, requirements=("BIND-2",), reason="because")
    found = state_of("BIND-2", [record], [make.case("a.b", "BIND-2")])
    assert (found.state, "because" in found.reason) == (state, True)


def test_one_passed_case_outweighs_unsupported_and_skipped_ones(make) -> None:
    records = [
        make.record("a.b", "pass", {"BIND-2": "pass"}),
        make.record("a.c", "unsupported", requirements=("BIND-2",)),
        make.record("a.d", "skipped", requirements=("BIND-2",)),
    ]
    assert state_of("BIND-2", records).state == "passed"


def test_an_error_holds_for_every_requirement_of_its_case(make) -> None:
    record = make.record("a.b", "error", {"BIND-2": "pass"}, requirements=("BIND-2", "BIND-3"), reason="boom")
    assert state_of("BIND-2", [record]).state == "error"
    assert state_of("BIND-3", [record]).state == "error"


def test_what_a_case_did_not_come_to_is_inconclusive(make) -> None:
    record = make.record("a.b", "fail", {"BIND-2": "fail"}, requirements=("BIND-2", "BIND-3"))
    assert state_of("BIND-3", [record]).state == "inconclusive"


def test_not_run_and_not_covered(make) -> None:
    found = states([], [make.case("a.b", "BIND-2")], CATALOGUE, "full")
    assert (found["BIND-2"].state, found["BIND-2"].scenarios) == ("not_run", ("a.b",))
    assert (found["BIND-3"].state, found["BIND-3"].scenarios) == ("not_covered", ())


def test_the_reason_is_that_of_the_state(make) -> None:
    records = [
        make.record("a.b", "unsupported", requirements=("BIND-2",), reason="cannot"),
        make.record("a.c", "fail", {"BIND-2": "fail"}),
        make.record("a.d", "fail", {"BIND-2": "fail"}),
    ]
    assert state_of("BIND-2", records).reason == "a.c[x]: expected a, got b"


def test_the_profile_core_has_the_musts_only() -> None:
    full, core = (states([], [], CATALOGUE, profile) for profile in ("full", "core"))
    assert set(core) == {one.id for one in CATALOGUE if one.level == "MUST" and not one.excluded}
    assert set(full) == {one.id for one in CATALOGUE if not one.excluded}


def test_how_many_musts_are_verified(make) -> None:
    found = states([make.record("a.b", "pass", {"BIND-2": "pass", "RANGE-7": "pass"})], [], CATALOGUE, "full")
    musts = sum(one.level == "MUST" and not one.excluded for one in CATALOGUE)
    assert must_verified(found) == (1, musts)


# --- exit codes -----------------------------------------------------------------------------------------


def all_pass(make, **changed):
    """Return one record for each requirement, a pass unless ``changed`` says so (``BIND_2="fail"``)."""
    made = []
    for one in CATALOGUE:
        word = changed.get(one.id.replace("-", "_"), "info" if one.level == "INFO" else "pass")
        if one.excluded or not word:
            continue
        judged = word in ("pass", "fail", "warn", "info", "inconclusive")
        name = f"all.{one.id.lower()}"
        made.append(
            make.record(name, word, {one.id: word})
            if judged
            else make.record(name, word, requirements=(one.id,))
        )
    return made


def code_of(records, review=NOTHING, *, fail_on_warn=False, follows_page=True, complete=True):
    return int(
        exit_code(
            records,
            states(records, [], CATALOGUE, "full"),
            review,
            fail_on_warn=fail_on_warn,
            follows_page=follows_page,
            complete=complete,
        )
    )


def accepting(name: str, *accept: str) -> Review:
    entry = Entry.model_validate(
        {"requirement": name, "accept": accept, "reason": "known since long", "expires": date(2100, 1, 1)}
    )
    return Review({name: entry}, {}, ())


def test_everything_passed(make) -> None:
    assert code_of(all_pass(make)) == 0


@pytest.mark.parametrize("word", ["fail", "inconclusive", "unsupported", "skipped", "error", "warn", ""])
def test_a_must_that_is_not_passed(make, word) -> None:
    assert code_of(all_pass(make, BIND_2=word)) == 1


@pytest.mark.parametrize(("word", "code"), [("warn", 0), ("unsupported", 0), ("", 0), ("inconclusive", 1)])
def test_a_should_that_is_not_passed(make, word, code) -> None:
    assert code_of(all_pass(make, RANGE_7=word)) == code


def test_warnings_fail_on_request(make) -> None:
    records = all_pass(make, RANGE_7="warn")
    assert code_of(records, fail_on_warn=True) == 1
    assert code_of(records, accepting("RANGE-7", "warned"), fail_on_warn=True) == 0


def test_a_policy_of_the_page_binds_only_who_follows_it(make) -> None:
    records = all_pass(make, RANGE_21="unsupported")
    assert code_of(records) == 1
    assert code_of(records, follows_page=False) == 0


@pytest.mark.parametrize(
    ("word", "accepted"), [("unsupported", "unsupported"), ("skipped", "not_run"), ("", "not_covered")]
)
def test_the_baseline_accepts(make, word, accepted) -> None:
    assert code_of(all_pass(make, BIND_2=word), accepting("BIND-2", accepted)) == 0


def test_an_accepted_failure(make) -> None:
    records = all_pass(make, BIND_2="fail")
    assert code_of(records, accepting("BIND-2", "failed")) == 0
    assert code_of(records, accepting("BIND-3", "failed")) == 1


def test_of_a_case_every_failure_must_be_accepted(make) -> None:
    records = [*all_pass(make), make.record("a.b", "fail", {"BIND-2": "fail", "BIND-3": "fail"})]
    assert code_of(records, accepting("BIND-2", "failed")) == 1


def test_a_stale_baseline_fails(make) -> None:
    assert code_of(all_pass(make), Review({}, {}, ("line 3 is stale",))) == 1


def test_a_selection_is_not_blamed_for_what_was_left_out(make) -> None:
    records = [make.record("a.b", "pass", {"BIND-2": "pass"})]
    assert code_of(records, complete=False) == 0
    assert code_of(records, complete=True) == 1


def test_a_selection_is_blamed_for_what_it_ran(make) -> None:
    records = [make.record("a.b", "unsupported", {"BIND-2": "pass"}, requirements=("BIND-2",))]
    records.append(make.record("a.c", "unsupported", requirements=("BIND-3",), reason="cannot"))
    assert code_of(records, complete=False) == 1


@pytest.mark.parametrize(("fault", "code"), [("harness", 70), ("adapter", 4), ("scenario", 2)])
def test_whose_fault_an_error_is(make, fault, code) -> None:
    records = [*all_pass(make), make.record("a.b", "error", requirements=("BIND-2",), fault=fault)]
    assert code_of(records) == code


def test_a_failure_comes_before_a_broken_adapter_and_after_a_bug_of_ours(make) -> None:
    failed = all_pass(make, BIND_3="fail")
    adapter = make.record("a.b", "error", requirements=("BIND-2",), fault="adapter")
    harness = make.record("a.c", "error", requirements=("BIND-2",), fault="harness")
    assert code_of([*failed, adapter]) == 1
    assert code_of([*failed, adapter, harness]) == 70


@pytest.mark.parametrize("word", ["unsupported", "skipped"])
def test_nothing_was_verified(make, word) -> None:
    assert code_of([]) == 5
    assert code_of([make.record("a.b", word, requirements=("BIND-2",))]) == 5
