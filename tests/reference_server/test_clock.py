from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from reference_server.clock import Clock

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_it_is_the_clock_behind_it_and_what_it_was_moved() -> None:
    clock = Clock(lambda: NOW)
    assert clock() == NOW
    clock.advance(90)
    clock.advance(0.5)
    assert clock() == NOW + timedelta(seconds=90.5)


async def test_time_outs_run_on_it() -> None:
    clock = Clock(lambda: NOW)

    async def wait() -> None:
        async with clock.timeout(3600):
            await asyncio.get_running_loop().create_future()

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    clock.advance(3599)
    await asyncio.sleep(0)
    assert not waiting.done()
    clock.advance(1)
    with pytest.raises(TimeoutError):
        await waiting


async def test_a_block_that_ends_in_time_is_left_alone() -> None:
    clock = Clock(lambda: NOW)
    async with clock.timeout(3600):
        await asyncio.sleep(0)
    clock.advance(7200)
    async with clock.timeout(3600):
        await asyncio.sleep(0)
