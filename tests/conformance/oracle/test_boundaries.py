"""Where a sweep comes from, and the quick answers, held against the slow ones."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.adapters.base import RangeSpec
from conformance.addresses import Address, Family, family, parse
from conformance.oracle.boundaries import Decisions, edges, named, no_client_from, scattered, sources
from conformance.oracle.ranges import number, winners

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LAST = {"ipv4": 2**32 - 1, "ipv6": 2**128 - 1}
MAPPED = 0xFFFF << 32


def spec(lower: str, upper: str, **more: object) -> RangeSpec:
    return RangeSpec(name=f"{lower} {upper}", lower=lower, upper=upper, **more)  # type: ignore[arg-type]


def made(kind: Family, value: int) -> Address:
    return IPv4Address(value) if kind == "ipv4" else IPv6Address(value)


def values(kind: Family) -> st.SearchStrategy[int]:
    """Numbers that lie close to each other, at the ends, and around the v4-mapped ones."""
    near = [0, 1 << 31, LAST[kind]] if kind == "ipv4" else [0, 1 << 63, 1 << 64, 1 << 127, MAPPED, LAST[kind]]
    some = st.builds(lambda base, offset: base + offset, st.sampled_from(near), st.integers(-5, 5))
    return some.filter(lambda value: 0 <= value <= LAST[kind])


@st.composite
def range_specs(draw: st.DrawFn) -> RangeSpec:
    kind: Family = draw(st.sampled_from(["ipv4", "ipv6"]))
    lower, upper = sorted((draw(values(kind)), draw(values(kind))))
    return spec(
        str(made(kind, lower)),
        str(made(kind, upper)),
        priority=draw(st.integers(-2, 2)),
        expires=draw(st.sampled_from([None, "2025-01-01 00:00:00", "2027-01-01 00:00:00"])),
    )


@st.composite
def questions(draw: st.DrawFn) -> Address:
    kind: Family = draw(st.sampled_from(["ipv4", "ipv6"]))
    return made(kind, draw(values(kind)))


# --- decisions ------------------------------------------------------------------------------------------


@given(st.lists(range_specs(), max_size=8), st.lists(questions(), min_size=1, max_size=20))
def test_the_quick_answer_is_the_slow_one(ranges: list[RangeSpec], clients: list[Address]) -> None:
    def slow(one: Address) -> tuple[RangeSpec, ...]:
        return winners(ranges, number(one), NOW)

    quick = {kind: Decisions(ranges, kind, slow) for kind in ("ipv4", "ipv6")}
    for client in clients:
        assert quick[family(client)].of(client) == slow(client)


def test_one_stretch_is_asked_for_once() -> None:
    asked: list[Address] = []

    def ask(one: Address) -> int:
        asked.append(one)
        return len(asked)

    quick = Decisions([spec("2001:db8::5", "2001:db8::7")], "ipv6", ask)
    answers = [quick.of(IPv6Address(f"2001:db8::{last}")) for last in range(10)]
    assert answers == [1, 1, 1, 1, 1, 2, 2, 2, 3, 3]
    assert [str(one) for one in asked] == ["2001:db8::", "2001:db8::5", "2001:db8::8"]


# --- sources --------------------------------------------------------------------------------------------


@given(st.lists(range_specs(), max_size=5), st.sampled_from(["ipv4", "ipv6"]))
def test_the_edges_are_both_bounds_and_their_neighbours(ranges: list[RangeSpec], kind: Family) -> None:
    wanted = {
        value
        for one in ranges
        for value in (int(parse(one.lower)) + d for d in (-1, 0, 1))
        if family(parse(one.lower)) == kind and 0 <= value <= LAST[kind]
    } | {
        value
        for one in ranges
        for value in (int(parse(one.upper)) + d for d in (-1, 0, 1))
        if family(parse(one.upper)) == kind and 0 <= value <= LAST[kind]
    }
    found = list(edges(ranges, kind))
    assert {int(one) for one in found} == wanted
    assert {one.version for one in found} <= {4 if kind == "ipv4" else 6}


def test_the_order_is_that_of_the_ranges_and_each_comes_once() -> None:
    ranges = [spec("2001:db8::10", "2001:db8::12"), spec("10.0.0.1", "10.0.0.2"), spec("::1", "::1")]
    more = [IPv6Address("2001:db8::11"), IPv6Address("fd00::1")]
    found = sources(ranges, "ipv6", more=more)
    shown = [str(one) for one in found.addresses]
    tail = ["::1", "::2", "fd00::1"]
    assert shown == [f"2001:db8::{last}" for last in ("f", "10", "11", "12", "13")] + tail
    assert named(found.left_out) == ":: (the unspecified address)"


def test_the_ends_of_the_family_are_not_left() -> None:
    whole = spec("0.0.0.0", "255.255.255.255")
    found = sources([whole], "ipv4")
    assert [str(one) for one in found.addresses] == ["0.0.0.1", "255.255.255.254"]
    assert [str(one) for one, _ in found.left_out] == ["0.0.0.0", "255.255.255.255"]


@pytest.mark.parametrize("kind", ["ipv4", "ipv6"])
def test_what_is_scattered_is_the_same_again_and_of_everywhere(kind: Family) -> None:
    ranges = [spec("2001:db8::", "2001:db8::ffff"), spec("192.0.2.0", "192.0.2.255")]
    found = list(scattered(ranges, kind, 400, 7))
    assert found == list(scattered(ranges, kind, 400, 7))
    assert found != list(scattered(ranges, kind, 400, 8))
    assert len(set(found)) == 400
    assert not any(no_client_from(one) for one in found)
    inside = [one for one in found if any(winners(ranges, number(one), NOW))]
    assert 0 < len(inside) < 200, "some hit the narrow range, and most do not"
    assert len({int(one) >> (28 if kind == "ipv4" else 124) for one in found}) > 10


def test_the_scattered_ones_stay_the_same_from_release_to_release() -> None:
    """A report names a seed: whoever has it has the addresses."""
    found = [str(one) for one in scattered([spec("2001:db8::", "2001:db8::")], "ipv6", 4, 1)]
    assert found == [
        "cd61:3e30:d8f1:6adf:91b7:584a:2265:b1f5",
        "2001:db8::3c5",
        "c9e9:c616:612e:7696:a6ce:cc1b:78e5:1061",
        "2001:db8::1d07",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("::", "unspecified"),
        ("::ffff:192.0.2.1", "v4-mapped"),
        ("::ffff:0:0", "v4-mapped"),
        ("::ffff:ffff:ffff", "v4-mapped"),
        ("ff00::", "multicast"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast"),
        ("fe80::", "link-local"),
        ("febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local"),
        ("0.0.0.0", "unspecified"),
        ("127.255.255.255", "broadcast"),
        ("224.0.0.0", "multicast"),
        ("239.255.255.255", "multicast"),
        ("255.255.255.255", "broadcast"),
    ],
)
def test_no_client_comes_from(text: str, reason: str) -> None:
    assert reason in no_client_from(parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "::1", "::fffe:ffff:ffff", "::1:0:0:0", "fe7f:ffff::1", "fec0::", "feff::1", "fc00::", "64:ff9b::1",
        "2002::", "2001::", "0.0.0.1", "0.255.255.255", "127.0.0.0", "127.255.255.254", "223.255.255.255",
        "240.0.0.0", "255.255.255.254", "10.255.255.255",
    ],
)  # fmt: skip
def test_a_client_comes_from(text: str) -> None:
    assert no_client_from(parse(text)) == ""
