"""The oracle and the server's range table, written apart, agree on random ranges and addresses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address

from hypothesis import example, given, settings
from hypothesis import strategies as st

from conformance.adapters.base import RangeSpec
from conformance.addresses import Address
from conformance.oracle.ranges import EXPIRY_FORMAT, number, winners
from reference_server.listening.ip_ranges import RangeTable
from reference_server.settings import IpRange

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
LAST = {4: 2**32 - 1, 6: 2**128 - 1}
LANDMARKS = {
    4: (0, 1, 2**31 - 1, 2**31, LAST[4] - 1, LAST[4]),
    6: (0, 1, 2**32, 2**64 - 1, 2**64, 2**127 - 1, 2**127, 2**127 + 2**63, LAST[6] - 1, LAST[6]),
}
MAPPED = range(0xFFFF << 32, (0xFFFF << 32) + 2**32)


def address(version: int, value: int) -> Address:
    return IPv4Address(value) if version == 4 else IPv6Address(value)


@st.composite
def values(draw: st.DrawFn, version: int) -> int:
    """Numbers near landmarks, near each other (so that ranges overlap), and anywhere."""
    near = st.sampled_from(LANDMARKS[version]).flatmap(lambda mark: st.integers(mark - 3, mark + 3))
    few = st.integers(100, 120)
    value = draw(st.one_of(few, near, st.integers(0, LAST[version])))
    return min(max(value, 0), LAST[version])


@st.composite
def ranges(draw: st.DrawFn) -> list[tuple[IpRange, RangeSpec]]:
    """Ranges with different priorities, as the server and as the oracle take them."""
    priorities = draw(st.lists(st.integers(-50, 1000), unique=True, max_size=12))
    made = []
    for index, priority in enumerate(priorities, start=1):
        version = draw(st.sampled_from((4, 6)))
        lower, upper = sorted((draw(values(version)), draw(values(version))))
        seconds = draw(st.none() | st.sampled_from((-3600, -1, 0, 1, 3600)))
        expires = None if seconds is None else NOW + timedelta(seconds=seconds)
        bounds = (address(version, lower), address(version, upper))
        made.append(
            (
                IpRange(
                    id=index,
                    name=f"range {index}",
                    priority=priority,
                    lower=bounds[0],
                    upper=bounds[1],
                    expires=expires is not None,
                    expires_time=expires,
                ),
                RangeSpec(
                    name=f"range {index}",
                    priority=priority,
                    lower=str(bounds[0]),
                    upper=str(bounds[1]),
                    expires=None if expires is None else expires.strftime(EXPIRY_FORMAT),
                ),
            )
        )
    return made


def compare(made: list[tuple[IpRange, RangeSpec]], more: list[tuple[int, int]], later: int) -> None:
    """Hold both against each other at every boundary ±1 and at more addresses, at two times."""
    table = RangeTable.build([one for one, _ in made], NOW)
    probes = {(version, mark) for version in (4, 6) for mark in LANDMARKS[version]} | set(more)
    for one, _ in made:
        for bound in (one.lower, one.upper):
            probes |= {(bound.version, int(bound) + step) for step in (-1, 0, 1)}
    for moment in (NOW, NOW + timedelta(seconds=later)):
        for version, value in probes:
            # A v4-mapped peer is IPv4 before it comes to the table: admission's work, tested there.
            if 0 <= value <= LAST[version] and not (version == 6 and value in MAPPED):
                peer = address(version, value)
                found = table.find(peer, moment)
                expected = winners([spec for _, spec in made], number(peer), moment)
                assert [found.name if found else None] == [spec.name for spec in expected] or (
                    found is None and not expected
                ), f"{peer} at {moment}"


@settings(max_examples=300, deadline=None)
@given(
    ranges(),
    st.lists(
        st.sampled_from((4, 6)).flatmap(lambda version: st.tuples(st.just(version), values(version))),
        max_size=20,
    ),
    st.sampled_from((0, 1, 2, 3600, 7200)),
)
@example([], [(6, 2**127), (4, 2**31)], 0)
def test_the_oracle_and_the_servers_table_agree(made, more, later) -> None:
    compare(made, more, later)
