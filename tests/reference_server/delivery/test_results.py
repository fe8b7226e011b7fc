from __future__ import annotations

import pytest

from reference_server.delivery.results import Outcome, Reply, failed, final, from_reply, later, printable


@pytest.mark.parametrize(
    ("code", "line", "status", "outcome"),
    [
        (250, "2.1.5 fine", "2.1.5", Outcome.DELIVERED),
        (250, "fine", "2.0.0", Outcome.DELIVERED),
        (450, "4.2.1 full", "4.2.1", Outcome.LATER),
        (550, "5.1.1", "5.1.1", Outcome.FAILED),
        (550, "4.1.1 a lie", "5.0.0", Outcome.FAILED),
        (552, "no", "5.0.0", Outcome.FAILED),
        (354, "what?", "3.0.0", Outcome.LATER),
    ],
)
def test_a_reply_decides(code: int, line: str, status: str, outcome: Outcome) -> None:
    result = from_reply(Reply(code, (line,)), "hop")
    assert (result.status, result.outcome, result.said_by_remote) == (status, outcome, True)


def test_a_reply_is_one_printable_line() -> None:
    assert Reply(550, ("no", "\x1b[2Jway\xe4")).text == "550 no ?[2Jway?"
    assert len(printable("x" * 10000)) == 500


def test_one_server_that_may_take_it_later_decides() -> None:
    wait, never = later("4.4.1", "a"), failed("5.1.1", "b")
    assert final([wait, never]) is wait
    assert final([never, wait, never]) is wait
    assert final([failed("5.0.0", "a"), never]) is never
