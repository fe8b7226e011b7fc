"""From which addresses a sweep comes, and quickly for many of them: what must happen.

Where ranges begin and end is the only place where a decision can change. Between two such places one answer
holds for every address, so that `Decisions` asks for it once.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Generic, TypeVar

from conformance.adapters.base import RangeSpec
from conformance.addresses import Address, Family, canonical
from conformance.oracle.ranges import bound

Answer = TypeVar("Answer")
BITS: dict[Family, int] = {"ipv4": 32, "ipv6": 128}
"""Of an address."""

_MAPPED = (0xFFFF << 32, 0x1_0000 << 32)  # ::ffff:0:0/96, as a half-open interval


def address(family: Family, value: int) -> Address:
    """Return the address with this number."""
    return IPv4Address(value) if family == "ipv4" else IPv6Address(value)


def no_client_from(source: Address) -> str:
    """Return "" when a client that the kernel makes can come from ``source``, else why not.

    Measured on Linux 6.18 with a route that makes every address ours: what is named here is refused at
    bind, or silently replaced by another address.
    """
    value = int(source)
    if value == 0:
        return "the unspecified address"
    if source.version == 4:
        if source.is_multicast:
            return "multicast"
        if value == 0xFFFF_FFFF or source == IPv4Address("127.255.255.255"):
            return "broadcast"
        return ""
    if source.is_multicast:
        return "multicast"
    if source.is_link_local:
        return "link-local, without a zone"
    return "v4-mapped: IPv4 on the wire" if _MAPPED[0] <= value < _MAPPED[1] else ""


def edges(ranges: Iterable[RangeSpec], family: Family) -> Iterator[Address]:
    """Yield both bounds of each range of the family, and one below and one above each, where there is one."""
    last = (1 << BITS[family]) - 1
    for spec in ranges:
        lower, upper = bound(spec.lower), bound(spec.upper)
        if lower.family == upper.family == family:
            for middle in (lower.value, upper.value):
                for value in (middle - 1, middle, middle + 1):
                    if 0 <= value <= last:
                        yield address(family, value)


def scattered(ranges: Iterable[RangeSpec], family: Family, count: int, seed: int) -> Iterator[Address]:
    """Yield ``count`` different addresses that clients can come from, always the same ones for one ``seed``.

    Every second one is from anywhere in the family; the others differ from a bound of one of ``ranges`` in
    low bits only, of a random number: few are near a range otherwise.
    """
    chance = random.Random(seed)  # noqa: S311 - to be the same again
    bits = BITS[family]
    bounds = [
        one.value for spec in ranges for one in (bound(spec.lower), bound(spec.upper)) if one.family == family
    ]
    seen: set[int] = set()
    while len(seen) < count:
        value = chance.getrandbits(bits)
        if len(seen) % 2:
            near = chance.choice(bounds) if bounds else 0
            value = near ^ (value >> chance.randrange(bits))
        source = address(family, value)
        if value not in seen and not no_client_from(source):
            seen.add(value)
            yield source


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the clients of a sweep come from: each address once, in a stable order."""

    addresses: tuple[Address, ...]
    left_out: tuple[tuple[Address, str], ...]
    """What no client of the kernel can come from, with the reason."""


def sources(
    ranges: Sequence[RangeSpec],
    family: Family,
    *,
    more: Iterable[Address] = (),
    count: int = 0,
    seed: int = 0,
) -> Sources:
    """Return the edges of ``ranges``, then ``more``, then ``count`` scattered ones."""
    wanted = dict.fromkeys([*edges(ranges, family), *more, *scattered(ranges, family, count, seed)])
    reasons = {one: no_client_from(one) for one in wanted}
    return Sources(
        tuple(one for one, reason in reasons.items() if not reason),
        tuple((one, reason) for one, reason in reasons.items() if reason),
    )


def named(left_out: Sequence[tuple[Address, str]]) -> str:
    """Return the addresses with their reasons, for people."""
    return ", ".join(f"{canonical(one)} ({reason})" for one, reason in left_out)


class Decisions(Generic[Answer]):
    """``ask``, asked once for each stretch of addresses in which ``ranges`` cannot tell two apart.

    The answer may depend on the address by the ranges alone. For addresses of one family, without zones.
    """

    def __init__(self, ranges: Iterable[RangeSpec], family: Family, ask: Callable[[Address], Answer]) -> None:
        self._ask = ask
        starts = set()
        for spec in ranges:
            lower, upper = bound(spec.lower), bound(spec.upper)
            if lower.family == upper.family == family:
                starts |= {lower.value, upper.value + 1}
        self._starts = sorted(starts)
        self._known: dict[int, Answer] = {}

    def of(self, source: Address) -> Answer:
        """Return the answer for one address."""
        value = int(source)
        if source.version == 6 and _MAPPED[0] <= value < _MAPPED[1]:
            return self._ask(source)  # IPv4 ranges decide about it
        stretch = bisect_right(self._starts, value)
        if stretch not in self._known:
            self._known[stretch] = self._ask(source)
        return self._known[stretch]
