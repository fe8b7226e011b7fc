"""The table of IP ranges, against a naive look through all of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_server.addresses import IPAddress
from reference_server.listening import ip_ranges
from reference_server.listening.ip_ranges import STEP, RangeTable
from reference_server.settings import IpRange

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
TOP = {4: 2**32 - 1, 6: 2**128 - 1}
MAKE = {4: IPv4Address, 6: IPv6Address}
CORNERS = {
    4: [0, 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1],
    6: [0, 1, 2**63, 2**64 - 1, 2**64, 2**127 - 1, 2**127, 2**127 + 1, 0xFE80 << 112, 2**128 - 2, 2**128 - 1],
}


def a_range(
    number: int, lower: str, upper: str, priority: int = 0, expires: datetime | None = None
) -> IpRange:
    return IpRange(
        id=number,
        name=f"range {number}",
        priority=priority,
        lower=ip_address(lower),
        upper=ip_address(upper),
        expires=expires is not None,
        expires_time=expires,
    )


def naive(ranges: list[IpRange], address: IPAddress, now: datetime) -> IpRange | None:
    best = None
    for one in ranges:
        if type(one.lower) is not type(address) or not int(one.lower) <= int(address) <= int(one.upper):
            continue
        if one.expires and one.expires_time is not None and one.expires_time <= now:
            continue
        if best is None or (one.priority, -one.id) > (best.priority, -best.id):
            best = one
    return best


@st.composite
def some_ranges(draw: st.DrawFn) -> list[IpRange]:
    def one(number: int) -> IpRange:
        version = draw(st.sampled_from([4, 6]))
        value = st.one_of(st.sampled_from(CORNERS[version]), st.integers(0, TOP[version]))
        lower, upper = sorted((draw(value), draw(value)))
        seconds = draw(st.one_of(st.none(), st.integers(-2, 4)))
        return IpRange(
            id=number,
            name=str(number),
            priority=draw(st.integers(-2, 5)),
            lower=MAKE[version](lower),
            upper=MAKE[version](upper),
            expires=seconds is not None,
            expires_time=None if seconds is None else NOW + timedelta(seconds=seconds),
        )

    return [one(number) for number in range(draw(st.integers(0, 8)))]


def places(ranges: list[IpRange]) -> list[IPAddress]:
    """Return every bound ±1, and the corners of both families."""
    found: list[IPAddress] = [MAKE[version](value) for version in (4, 6) for value in CORNERS[version]]
    for one in ranges:
        for bound in (int(one.lower), int(one.upper)):
            version = one.lower.version
            found += [MAKE[version](v) for v in (bound - 1, bound, bound + 1) if 0 <= v <= TOP[version]]
    return found


@given(some_ranges(), st.integers(-3, 5))
def test_the_table_agrees_with_a_naive_search(ranges: list[IpRange], later: int) -> None:
    table = RangeTable.build(ranges, NOW)
    then = NOW + timedelta(seconds=later)
    for address in places(ranges):
        assert table.find(address, NOW) == naive(ranges, address, NOW)
        assert table.find(address, then) == naive(ranges, address, then)


@given(some_ranges())
def test_the_segments_alone_are_right_as_long_as_they_are_good(ranges: list[IpRange]) -> None:
    """Not by falling back on the slow search."""
    table = RangeTable.build(ranges, NOW)
    assert table.good_at(NOW)
    last = (
        NOW + timedelta(days=1) if table.good_until is None else table.good_until - timedelta(microseconds=1)
    )
    for now in (NOW, last):
        assert table.good_at(now)
        for address in places(ranges):
            assert table.find(address, now) == naive(ranges, address, now)


@given(some_ranges())
async def test_built_cooperatively_it_is_the_same(ranges: list[IpRange]) -> None:
    assert await RangeTable.build_cooperatively(ranges, NOW) == RangeTable.build(ranges, NOW)


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        ("::1", "::1"),
        ("2001:db8::10", "2001:db8::20"),
        ("7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "8000::"),
        ("8000::", "8000::1"),
        ("2001:db8::ffff:ffff:ffff:ffff", "2001:db8:0:1::"),
        ("127.255.255.255", "128.0.0.0"),
    ],
)
def test_both_bounds_are_inside_and_their_neighbours_outside(lower: str, upper: str) -> None:
    table = RangeTable.build([a_range(1, lower, upper)], NOW)
    assert table.find(ip_address(lower), NOW) is not None
    assert table.find(ip_address(upper), NOW) is not None
    assert table.find(ip_address(lower) - 1, NOW) is None
    assert table.find(ip_address(upper) + 1, NOW) is None


def test_the_whole_of_a_family_holds_its_ends_and_nothing_of_the_other() -> None:
    table = RangeTable.build([a_range(1, "::", str(IPv6Address(TOP[6])))], NOW)
    assert table.find(ip_address("::"), NOW) is not None
    assert table.find(IPv6Address(TOP[6]), NOW) is not None
    assert table.find(ip_address("0.0.0.1"), NOW) is None
    assert RangeTable.build([a_range(1, "0.0.0.0", "255.255.255.255")], NOW).find(IPv6Address(1), NOW) is None


def test_the_highest_priority_wins_and_the_lower_one_shows_around_it() -> None:
    wide, narrow = a_range(1, "10.0.0.0", "10.0.0.255", 1), a_range(2, "10.0.0.9", "10.0.0.11", 2)
    table = RangeTable.build([wide, narrow], NOW)
    found = [table.find(ip_address(f"10.0.0.{last}"), NOW) for last in (8, 9, 10, 11, 12)]
    assert found == [wide, narrow, narrow, narrow, wide]


def test_it_knows_when_its_earliest_winner_expires() -> None:
    soon, later = NOW + timedelta(seconds=5), NOW + timedelta(seconds=50)
    hidden = a_range(1, "::1", "::1", 1, soon)
    winner = a_range(2, "::", "::f", 2, later)
    table = RangeTable.build([hidden, winner], NOW)
    assert table.good_until == later
    assert RangeTable.build([hidden], NOW).good_until == soon
    assert RangeTable.build([a_range(3, "::1", "::1")], NOW).good_until is None


def test_after_that_it_is_slow_and_right_until_it_is_built_again() -> None:
    below = a_range(1, "::", "::f", 1)
    above = a_range(2, "::1", "::1", 2, NOW + timedelta(seconds=5))
    table = RangeTable.build([below, above], NOW)
    then = NOW + timedelta(seconds=5)
    assert table.find(IPv6Address(1), then - timedelta(microseconds=1)) == above
    assert not table.good_at(then)
    assert table.find(IPv6Address(1), then) == below
    again = RangeTable.build(table.ranges, then)
    assert again.good_at(then)
    assert again.find(IPv6Address(1), then) == below


def test_a_clock_that_was_set_back_brings_an_expired_range_back() -> None:
    gone = a_range(1, "::1", "::1", 1, NOW - timedelta(seconds=5))
    table = RangeTable.build([gone], NOW)
    assert table.find(IPv6Address(1), NOW) is None
    assert table.find(IPv6Address(1), NOW - timedelta(seconds=6)) == gone


def many(count: int) -> list[IpRange]:
    return [
        IpRange(number, str(number), number % 7, IPv6Address(number * 10), IPv6Address(number * 10 + 14))
        for number in range(count)
    ]


def test_no_step_of_a_build_does_more_than_step_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work is bounded in each step, so the time for which the loop is held is as well."""
    ranges = many(10_000)
    done = 0

    def expired(_self: IpRange, _now: datetime) -> bool:
        nonlocal done
        done += 1
        return False

    monkeypatch.setattr(IpRange, "expired", expired)
    pushed = ip_ranges.heappush

    def counting_push(heap: list[int], rank: int) -> None:
        nonlocal done
        done += 1
        pushed(heap, rank)

    monkeypatch.setattr(ip_ranges, "heappush", counting_push)
    most, steps = 0, 0
    building = ip_ranges._build(RangeTable, tuple(ranges), NOW)
    while True:
        done = 0
        try:
            next(building)
        except StopIteration:
            break
        steps += 1
        most = max(most, done)
    assert 0 < most <= STEP
    assert steps >= 4 * 10_000 // STEP


async def test_the_loop_runs_between_the_steps() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    await RangeTable.build_cooperatively(many(10_000), NOW)
    other.cancel()
    assert turns >= 10_000 // STEP
