"""What counts as lost, damaged, strange, and as a duplicate that the smart host's record explains."""

from __future__ import annotations

from dataclasses import replace

import pytest

from torture.judge import Attempt, Copy, Run, judge

TO = "to@far.test"
ACKNOWLEDGED = Attempt("1.1", (TO,), (), acknowledged=True)
FIRST = Copy("1.1", TO, True, run=1, at=10.0, trace_id="a", cut=True)
AGAIN = Copy("1.1", TO, True, run=2, at=12.0, trace_id="a")
RUNS = (Run(1, 10.5), Run(2, None))


def test_what_was_acknowledged_and_arrived_is_good() -> None:
    assert judge([ACKNOWLEDGED], [FIRST], [], RUNS).good


def test_what_was_acknowledged_and_did_not_arrive_is_lost() -> None:
    verdict = judge([replace(ACKNOWLEDGED, remote=(TO, "other@far.test"))], [FIRST], [], RUNS)
    assert verdict.lost == ("1.1 for other@far.test",)
    assert not verdict.good


def test_a_copy_at_the_smart_host_is_none_in_a_mailbox() -> None:
    local = Attempt("1.1", (), ("anna@here.test",), acknowledged=True)
    assert judge([local], [Copy("1.1", "anna@here.test", True, run=1)], [], RUNS).lost
    assert judge([local], [], [Copy("1.1", "anna@here.test", True)], RUNS).good


@pytest.mark.parametrize("copies", [[], [FIRST]])
def test_what_was_never_acknowledged_may_come_or_not(copies: list[Copy]) -> None:
    verdict = judge([replace(ACKNOWLEDGED, acknowledged=False)], copies, [], RUNS)
    assert verdict.good
    assert verdict.unacknowledged_arrived == len(copies)


def test_a_duplicate_after_a_kill_is_explained() -> None:
    verdict = judge([ACKNOWLEDGED], [AGAIN, FIRST], [], RUNS)
    assert verdict.good
    assert (verdict.explained, verdict.longest_gap) == (("1.1 for to@far.test",), 0.5)


@pytest.mark.parametrize(
    ("first", "again", "run", "reason"),
    [
        (FIRST, AGAIN, Run(1, None), "was not killed"),
        (FIRST, replace(AGAIN, run=1), RUNS[0], "one process sent both"),
        (replace(FIRST, cut=False), AGAIN, RUNS[0], "ended in order"),
        (FIRST, AGAIN, Run(1, 10.5, {"a"}), "committed as delivered"),
    ],
)
def test_a_duplicate_that_the_record_does_not_explain(
    first: Copy, again: Copy, run: Run, reason: str
) -> None:
    verdict = judge([ACKNOWLEDGED], [first, again], [], (run, RUNS[1]))
    assert not verdict.good
    assert reason in verdict.unexplained[0]


def test_a_duplicate_in_a_mailbox_is_never_explained() -> None:
    copy = Copy("1.1", "anna@here.test", True)
    verdict = judge([Attempt("1.1", (), (copy.recipient,), acknowledged=True)], [], [copy, copy], RUNS)
    assert len(verdict.unexplained) == 1


def test_damage_and_strangers_are_seen() -> None:
    assert judge([ACKNOWLEDGED], [replace(FIRST, intact=False)], [], RUNS).damaged
    assert judge([ACKNOWLEDGED], [FIRST, replace(FIRST, recipient="who@far.test")], [], RUNS).strange
    assert not judge([ACKNOWLEDGED], [FIRST], [], RUNS, ["from <> for x"]).good
