"""The table of 10,000 IP ranges: for how long a rebuild holds the loop, and how quick it answers."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address

from benchmarks.measure import Measurement
from reference_server.listening.ip_ranges import RangeTable
from reference_server.settings import IpRange

RANGES = 10_000
HOLD_LIMIT = 20.0
LOOK_UPS = 100_000


def some_ranges(count: int) -> list[IpRange]:
    """Return ranges of both families that overlap each other, the same ones every time."""
    chance = random.Random(6)

    def one(number: int) -> IpRange:
        priority = chance.randrange(1000)
        if number % 4 == 0:
            lower = chance.randrange(2**32 - 2**20)
            upper = lower + chance.randrange(2**20)
            return IpRange(number, f"range {number}", priority, IPv4Address(lower), IPv4Address(upper))
        lower = (0x2001 << 112) + chance.randrange(2**112)
        upper = min(lower + chance.randrange(2 ** chance.randrange(1, 112)), 2**128 - 1)
        return IpRange(number, f"range {number}", priority, IPv6Address(lower), IPv6Address(upper))

    return [one(number) for number in range(count)]


async def rebuild(ranges: list[IpRange]) -> tuple[float, float]:
    """Return the longest time between two turns of the loop during a rebuild, and the rebuild's, in ms."""
    longest = 0.0
    done = False

    async def watch() -> None:
        nonlocal longest
        last = time.perf_counter()
        while not done:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    began = time.perf_counter()
    await RangeTable.build_cooperatively(ranges, datetime.now(UTC))
    took = time.perf_counter() - began
    done = True
    await watching
    return longest * 1000, took * 1000


def measure(repeat: int) -> list[Measurement]:
    """Rebuild so often."""
    ranges = some_ranges(RANGES)
    gc.collect()
    gc.freeze()  # as the server does with all that is there from its start
    found = [asyncio.run(rebuild(ranges)) for _ in range(repeat)]
    now = datetime.now(UTC)
    table = RangeTable.build(ranges, now)
    addresses = [ranges[index % RANGES].lower for index in range(LOOK_UPS)]
    rates = []
    for _ in range(repeat):
        began = time.perf_counter()
        for address in addresses:
            table.find(address, now)
        rates.append(LOOK_UPS / (time.perf_counter() - began) / 1000)
    return [
        Measurement(
            "loop held by a rebuild of 10,000 ranges", "ms", tuple(hold for hold, _ in found), HOLD_LIMIT
        ),
        Measurement("that rebuild as a whole", "ms", tuple(took for _, took in found)),
        Measurement("look-ups", "thousands/s", tuple(rates)),
    ]
