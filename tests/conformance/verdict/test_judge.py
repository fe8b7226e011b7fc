"""What an observation means, and how the worst of several is found."""

from __future__ import annotations

from itertools import product

import pytest

from conformance import requirements
from conformance.clients.outcome import CLOSED, Observation, Outcome
from conformance.scenario.model import ConnectExpectation
from conformance.verdict import judge
from conformance.verdict.judge import CLOSE_PASSES, CLOSE_WARNS, Finding
from conformance.verdict.model import WORST_FIRST, Judgement, Verdict

CATALOGUE = requirements.load()
MUST, SHOULD, INFO = CATALOGUE["BIND-2"], CATALOGUE["RANGE-7"], CATALOGUE["RANGE-19"]
POLICY, SHOULD_POLICY = CATALOGUE["RANGE-21"], CATALOGUE["RANGE-5"]
CLOSE, TEXT = CATALOGUE["RANGE-4"], CATALOGUE["RANGE-5"]
ANY_CLOSE = tuple(sorted(CLOSED))


def seen(outcome: Outcome, *, closed: float | None = None, greeted: float | None = None) -> Observation:
    return Observation(
        outcome, "::1", "[::1]:25", connected_after=0.5, closed_after=closed, first_byte_after=greeted
    )


def expecting(outcome: str = "served", **more: object) -> ConnectExpectation:
    return ConnectExpectation.model_validate({"outcome": outcome, **more})


def test_the_requirements_here_have_the_levels_that_the_tests_mean() -> None:
    assert [one.level for one in (MUST, SHOULD, INFO)] == ["MUST", "SHOULD", "INFO"]
    assert [one.level_text for one in (POLICY, SHOULD_POLICY)] == ["MUST*", "SHOULD*"]


# --- one finding, one requirement -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "requirement", "verdict"),
    [
        ("met", MUST, "pass"),
        ("lesser", MUST, "warn"),
        ("unmet", MUST, "fail"),
        ("met", SHOULD, "pass"),
        ("lesser", SHOULD, "warn"),
        ("unmet", SHOULD, "warn"),
        ("met", INFO, "info"),
        ("lesser", INFO, "info"),
        ("unmet", INFO, "info"),
    ],
)
def test_what_a_finding_means(state, requirement, verdict) -> None:
    finding = Finding(state, "this", "that")
    assert judge.verdict(finding, requirement, follows_page=False) == verdict
    assert judge.verdict(finding, requirement, follows_page=True) == verdict


@pytest.mark.parametrize("state", ["met", "lesser", "unmet"])
def test_a_policy_of_the_page_is_recorded_on_other_servers(state) -> None:
    finding = Finding(state, "this", "that")
    assert judge.verdict(finding, POLICY, follows_page=False) == "info"
    assert judge.verdict(finding, SHOULD_POLICY, follows_page=False) == "info"
    expected = {"met": "pass", "lesser": "warn", "unmet": "fail"}[state]
    assert judge.verdict(finding, POLICY, follows_page=True) == expected


def test_yes_or_no() -> None:
    assert judge.found(True, "a", "b") == Finding("met", "a", "b")
    assert not judge.found(False, "a", "b").met


# --- the worst ------------------------------------------------------------------------------------------


def test_every_verdict_has_its_place() -> None:
    assert sorted(WORST_FIRST) == sorted(Verdict)


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [
        ([], "inconclusive"),
        (["pass"], "pass"),
        (["info"], "info"),
        (["info", "pass"], "pass"),
        (["pass", "warn"], "warn"),
        (["warn", "inconclusive", "pass"], "inconclusive"),
        (["error", "inconclusive"], "error"),
        (["error", "fail", "warn"], "fail"),
        (["pass", "unsupported"], "unsupported"),
    ],
)
def test_the_worst(verdicts, worst) -> None:
    assert judge.worst(Verdict(one) for one in verdicts) == worst


def test_the_worst_depends_on_no_order() -> None:
    for one, other in product(Verdict, Verdict):
        assert judge.worst([one, other]) == judge.worst([other, one])


@pytest.mark.parametrize("verdict", list(Verdict))
def test_without_its_control_a_judgement_proves_nothing(verdict) -> None:
    judgement = Judgement(
        requirement="BIND-2", verdict=verdict, step="steps[0]", line=1, expected="a", actual="b"
    )
    after = judge.without_control(judgement).verdict
    assert after == ("info" if verdict is Verdict.INFO else "inconclusive")


# --- connections ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("outcome", "expected"), list(product(Outcome, Outcome)))
def test_each_outcome_meets_its_own_word_only(outcome, expected) -> None:
    state = judge.connection(expecting(expected), str(expected), seen(outcome, closed=0.6)).state
    assert state == ("met" if outcome is expected else "unmet")


@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_word_closed_stands_for_three(outcome) -> None:
    finding = judge.connection(expecting("closed"), "closed", seen(outcome, closed=0.6))
    assert finding.met is (outcome in CLOSED)


@pytest.mark.parametrize(
    ("delay", "state"),
    [
        (0.0, "met"),
        (CLOSE_PASSES, "met"),
        (CLOSE_PASSES + 0.01, "lesser"),
        (CLOSE_WARNS, "lesser"),
        (CLOSE_WARNS + 0.01, "unmet"),
    ],
)
@pytest.mark.parametrize("outcome", ANY_CLOSE)
def test_a_close_has_its_time(outcome, delay, state) -> None:
    assert judge.connection(expecting("closed"), "closed", seen(outcome, closed=0.5 + delay)).state == state


@pytest.mark.parametrize(
    ("limits", "delay", "state"),
    [
        ({"within": "2s"}, 1.9, "met"),
        ({"within": "2s"}, 2.1, "unmet"),
        ({"within": "2s", "warn_after": "1s"}, 1.1, "lesser"),
        ({"warn_after": "3s"}, 2.9, "met"),
        ({"warn_after": "3s"}, 3.1, "lesser"),
        ({"warn_after": "3s"}, 10.1, "unmet"),
    ],
)
def test_a_scenario_can_name_the_time(limits, delay, state) -> None:
    expectation = expecting("closed", **limits)
    finding = judge.connection(expectation, "closed", seen(Outcome.RESET, closed=0.5 + delay))
    assert finding.state == state
    assert finding.expected == ("closed within 2 s" if "within" in limits else "closed")


@pytest.mark.parametrize(
    ("limits", "delay", "state"),
    [
        ({}, 9.0, "met"),
        ({"within": "1s"}, 0.9, "met"),
        ({"within": "1s"}, 1.1, "unmet"),
        ({"warn_after": "1s"}, 1.1, "lesser"),
    ],
)
def test_a_greeting_has_a_time_where_a_scenario_names_one(limits, delay, state) -> None:
    observation = seen(Outcome.SERVED, greeted=0.5 + delay)
    assert judge.connection(expecting(**limits), "served", observation).state == state


@pytest.mark.parametrize(
    ("warn", "outcome", "state"),
    [
        (["hung"], Outcome.HUNG, "lesser"),
        (["hung"], Outcome.REFUSED, "unmet"),
        (["closed"], Outcome.RESET, "lesser"),
        ([], Outcome.HUNG, "unmet"),
    ],
)
def test_a_lesser_outcome_is_warned_about(warn, outcome, state) -> None:
    assert judge.connection(expecting("served", warn=warn), "served", seen(outcome)).state == state


def verdict_of(outcome: str, observation: Observation, requirement: str, **more: object) -> str:
    finding = judge.connection(expecting(outcome, **more), outcome, observation)
    return str(judge.verdict(finding, CATALOGUE[requirement], follows_page=True))


def test_text_before_the_close_breaks_the_one_requirement_only() -> None:
    talked = seen(Outcome.CLOSED_AFTER_TEXT, closed=0.6)
    assert verdict_of("closed_silent", talked, "RANGE-4") == "pass"
    assert verdict_of("closed_silent", talked, "RANGE-6") == "pass"
    assert verdict_of("closed_silent", talked, "RANGE-5") == "warn"
    assert verdict_of("closed_silent", talked, "BIND-2") == "fail"


def test_text_before_a_late_close_is_a_late_close() -> None:
    late = seen(Outcome.CLOSED_AFTER_TEXT, closed=2.5)
    assert verdict_of("closed_silent", late, "RANGE-4") == "warn"
    too_late = seen(Outcome.CLOSED_AFTER_TEXT, closed=11.5)
    assert verdict_of("closed_silent", too_late, "RANGE-4") == "fail"


def test_who_is_served_is_not_closed_whatever_was_said() -> None:
    for outcome in set(Outcome) - CLOSED:
        assert verdict_of("closed_silent", seen(outcome), "RANGE-4") == "fail"
        assert verdict_of("closed", seen(outcome), "RANGE-6") == "fail"


def test_where_service_is_expected_a_close_is_a_failure_of_the_same_requirements() -> None:
    assert verdict_of("served", seen(Outcome.CLOSED_SILENT, closed=0.6), "RANGE-4") == "fail"


def test_a_lesser_outcome_holds_for_the_close_as_well() -> None:
    assert verdict_of("closed", seen(Outcome.REFUSED), "RANGE-4", warn=["refused"]) == "warn"


@pytest.mark.parametrize(
    ("observation", "words"),
    [
        (seen(Outcome.SERVED, greeted=0.7), "served"),
        (seen(Outcome.RESET, closed=0.75), "reset 0.250 s after the handshake"),
        (
            Observation(
                Outcome.CLOSED_AFTER_TEXT,
                "::1",
                "[::1]:25",
                received=b"550 no\r\n",
                connected_after=0.0,
                closed_after=0.1,
                detail="FIN",
            ),
            "closed_after_text 0.100 s after the handshake (b'550 no\\r\\n')",
        ),
        (
            Observation(Outcome.REFUSED, "::1", "[::1]:25", detail="Connection refused"),
            "refused (Connection refused)",
        ),
    ],
)
def test_the_words(observation, words) -> None:
    assert judge.words(observation) == words
