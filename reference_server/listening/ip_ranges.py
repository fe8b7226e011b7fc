"""The IP ranges as a table that answers which one holds for an address. Pure; addresses are integers inside.

The ranges of a family are flattened into segments that do not overlap, each with its winner, so that a
look-up is one bisection. A table never changes: a change of the ranges builds another one.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import heappop, heappush, merge
from itertools import islice
from typing import NamedTuple, TypeVar

from reference_server.addresses import IPAddress
from reference_server.settings import IpRange

T = TypeVar("T")

STEP = 100
"""Ranges, or ends of ranges, in one step of a build: well below a millisecond of work."""

_FAMILIES = (4, 6)


class _End(NamedTuple):
    """A place where a range begins, or one above its last address. The order of a sweep is that of `at`."""

    at: int
    rank: int
    """The position of its range in the order of precedence: the lowest one wins."""
    begins: bool


@dataclass(frozen=True, slots=True)
class _Segments:
    """One family: ``winners[i]`` holds from ``starts[i]`` to below ``starts[i + 1]``."""

    starts: tuple[int, ...] = (0,)
    winners: tuple[IpRange | None, ...] = (None,)


@dataclass(frozen=True, slots=True)
class RangeTable:
    """All IP ranges, ready for look-ups from ``built`` until ``good_until`` (None: for ever)."""

    ranges: tuple[IpRange, ...]
    built: datetime
    good_until: datetime | None
    """When the earliest range that wins anywhere expires."""
    _families: dict[int, _Segments]

    @classmethod
    def build(cls, ranges: Iterable[IpRange], now: datetime) -> RangeTable:
        """Return the table of ``ranges``; one that has expired at ``now`` (aware) wins nowhere."""
        steps = _build(cls, tuple(ranges), now)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return _finished(end)

    @classmethod
    async def build_cooperatively(cls, ranges: Iterable[IpRange], now: datetime) -> RangeTable:
        """Return the same as `build`, and let the loop run after every `STEP` ranges."""
        steps = _build(cls, tuple(ranges), now)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return _finished(end)
            await asyncio.sleep(0)

    def good_at(self, now: datetime) -> bool:
        """Say whether look-ups at ``now`` are quick. Else the table is to be built again."""
        return self.built <= now and (self.good_until is None or now < self.good_until)

    def find(self, address: IPAddress, now: datetime) -> IpRange | None:
        """Return the range that holds for ``address`` at ``now`` (aware), or None.

        That is the one with the highest priority among those of the address's family that contain it and
        have not expired; of equal priorities, the one with the lowest id.
        """
        if not self.good_at(now):
            return self._search(address, now)
        segments = self._families[address.version]
        return segments.winners[bisect_right(segments.starts, int(address)) - 1]

    def _search(self, address: IPAddress, now: datetime) -> IpRange | None:
        """Look through all ranges: right at any time, and slow."""
        value = int(address)
        found = [
            one
            for one in self.ranges
            if one.lower.version == address.version
            and int(one.lower) <= value <= int(one.upper)
            and not one.expired(now)
        ]
        return min(found, key=_precedence, default=None)


def _precedence(one: IpRange) -> tuple[int, int]:
    return (-one.priority, one.id)


_Steps = Generator[None, None, RangeTable]


def _finished(end: StopIteration) -> RangeTable:
    table = end.value
    assert isinstance(table, RangeTable)
    return table


def _build(cls: type[RangeTable], ranges: tuple[IpRange, ...], now: datetime) -> _Steps:
    """Build a table; yields after each step, so that others may run."""
    families: dict[int, _Segments] = {}
    expiries: list[datetime] = []
    for version in _FAMILIES:
        ranked = yield from _ranked(ranges, version, now)
        families[version] = yield from _flattened(ranked)
        for chunk in _chunks(families[version].winners):
            expiries += [one.expires_time for one in chunk if one and one.expires and one.expires_time]
            yield
    return cls(ranges, now, min(expiries, default=None), families)


def _ranked(ranges: Sequence[IpRange], version: int, now: datetime) -> Generator[None, None, list[IpRange]]:
    """Return the ranges of one family that have not expired, by precedence."""
    runs: list[list[tuple[int, int, int]]] = []
    for start in range(0, len(ranges), STEP):
        runs.append(
            sorted(
                (*_precedence(one), start + index)
                for index, one in enumerate(ranges[start : start + STEP])
                if one.lower.version == version and not one.expired(now)
            )
        )
        yield
    ranked: list[IpRange] = []
    for chunk in _chunks(merge(*runs)):
        ranked += [ranges[index] for *_, index in chunk]
        yield
    return ranked


def _flattened(ranked: Sequence[IpRange]) -> Generator[None, None, _Segments]:
    """Return the segments of ``ranked``: sweep over the ends, with the open ranges in a heap of ranks."""
    runs: list[list[_End]] = []
    for start in range(0, len(ranked), STEP):
        ends: list[_End] = []
        for rank, one in enumerate(ranked[start : start + STEP], start):
            ends += (_End(int(one.lower), rank, True), _End(int(one.upper) + 1, rank, False))
        runs.append(sorted(ends))
        yield
    starts: list[int] = [0]
    winners: list[IpRange | None] = [None]
    still_open = bytearray(len(ranked))
    heap: list[int] = []
    for chunk in _chunks(merge(*runs)):
        for end in chunk:
            still_open[end.rank] = end.begins
            if end.begins:
                heappush(heap, end.rank)
            while heap and not still_open[heap[0]]:
                heappop(heap)
            winner = ranked[heap[0]] if heap else None
            if end.at == starts[-1]:
                winners[-1] = winner
            elif winner is not winners[-1]:
                starts.append(end.at)
                winners.append(winner)
        yield
    return _Segments(tuple(starts), tuple(winners))


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, STEP)):
        yield chunk
