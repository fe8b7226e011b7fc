from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reference_server.delivery.retry import Again, GivenUp, decide

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_so_many_tries_so_many_minutes_apart() -> None:
    for tries in (1, 2, 3):
        assert decide(tries, NOW, number=4, minutes=60) == Again(NOW + timedelta(hours=1))
    assert decide(4, NOW, number=4, minutes=60) == GivenUp("given up after 4 tries")


@pytest.mark.parametrize("number", [0, 1])
def test_the_first_try_is_always_made_and_may_be_the_only_one(number: int) -> None:
    assert decide(1, NOW, number=number, minutes=60) == GivenUp("given up after 1 try")


def test_no_minutes_are_not_no_time_at_all() -> None:
    assert decide(1, NOW, number=9, minutes=0) == Again(NOW + timedelta(seconds=1))


def test_the_time_has_an_end() -> None:
    assert decide(1, NOW, number=9, minutes=2**31 - 1) == Again(NOW + timedelta(days=365))
