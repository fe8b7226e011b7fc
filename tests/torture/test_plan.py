"""A seed decides everything, and the load lasts to the last kill."""

from __future__ import annotations

from torture.plan import ACCOUNTS, make


def test_a_seed_is_a_plan() -> None:
    assert make(7, 50, 5, 4) == make(7, 50, 5, 4)
    assert make(7, 50, 5, 4).items != make(8, 50, 5, 4).items


def test_there_is_a_bit_of_everything() -> None:
    plan = make(1, 400, 100, 4)
    assert {item.host for item in plan.items} == {"::1", "127.0.0.1"}
    assert {len(item.remote) for item in plan.items} == {0, 1, 2, 3, 4, 5}
    assert {one for item in plan.items for one in item.local} == set(ACCOUNTS)
    assert any(item.remote and item.local for item in plan.items)
    assert all(item.recipients for item in plan.items)
    assert any(b"\r\n." in item.body for item in plan.items)
    assert {kill.events is None for kill in plan.kills} == {True, False}


def test_messages_are_held_back_for_the_kills_that_come() -> None:
    plan = make(1, 2000, 200, 8)
    released = [plan.released(kills) for kills in range(201)]
    assert released == sorted(released)
    assert 0 < released[0] < 30
    assert released[199] <= 2000
    assert released[200] == 2000
