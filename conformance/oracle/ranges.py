"""Which IP range decides about an address: plain 128-bit (32-bit) unsigned arithmetic, range by range."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from conformance.adapters.base import RangeSpec
from conformance.addresses import Address, Family, family, parse

EXPIRY_FORMAT = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True, slots=True)
class Number:
    """An address as the family and the unsigned number that it is. A v4-mapped address is the IPv4 one."""

    family: Family
    value: int


def number(address: Address) -> Number:
    """Return the number of an address; a zone is no part of it (RFC 4291 §2.5.5.2 for v4-mapped)."""
    value = int(address)
    if family(address) == "ipv6" and value >> 32 == 0xFFFF:
        return Number("ipv4", value & 0xFFFF_FFFF)
    return Number(family(address), value)


@functools.lru_cache(maxsize=4096)
def bound(text: str) -> Number:
    """Return the number of a bound as written; a bound keeps the family that it is written in."""
    address = parse(text)
    return Number(family(address), int(address))


def matches(spec: RangeSpec, client: Number, now: datetime) -> bool:
    """Say whether a range matches: lower ≤ client ≤ upper, one family, and not expired at ``now`` (aware)."""
    lower, upper = bound(spec.lower), bound(spec.upper)
    if not lower.family == client.family == upper.family:
        return False
    return lower.value <= client.value <= upper.value and not expired(spec, now)


def expired(spec: RangeSpec, now: datetime) -> bool:
    """Say whether a range is over: its time is UTC and the first moment at which it no longer matches."""
    if spec.expires is None:
        return False
    return now >= datetime.strptime(spec.expires, EXPIRY_FORMAT).replace(tzinfo=UTC)


def winners(ranges: Sequence[RangeSpec], client: Number, now: datetime) -> tuple[RangeSpec, ...]:
    """Return the matching ranges of the highest priority: none, one, or several of equal priority."""
    found = [spec for spec in ranges if matches(spec, client, now)]
    highest = max((spec.priority for spec in found), default=0)
    return tuple(spec for spec in found if spec.priority == highest)
