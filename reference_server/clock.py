"""The server's clock: it can be moved forward, and then what was to happen meanwhile happens at once.

For tests and scenarios, which have no hours to spend: `control_socket` moves it. Else it is the system's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta


def utc_now() -> datetime:
    """Return the time: aware, UTC."""
    return datetime.now(UTC)


class Clock:
    """Says what time it is when it is called. Lives in one event loop."""

    def __init__(self, now: Callable[[], datetime] = utc_now) -> None:
        """``now`` is the clock behind it: aware, UTC."""
        self._now = now
        self._ahead = timedelta()
        self._running: set[asyncio.Timeout] = set()

    def __call__(self) -> datetime:
        """Return the time: aware, UTC."""
        return self._now() + self._ahead

    def advance(self, seconds: float) -> None:
        """Move the clock forward; the time-outs that are running have so much less to run."""
        self._ahead += timedelta(seconds=seconds)
        for timeout in tuple(self._running):
            when = timeout.when()
            if when is not None and not timeout.expired():
                timeout.reschedule(when - seconds)

    @asynccontextmanager
    async def timeout(self, seconds: float) -> AsyncIterator[None]:
        """Raise TimeoutError when the block takes longer than ``seconds`` of this clock."""
        async with asyncio.timeout(seconds) as timeout:
            self._running.add(timeout)
            try:
                yield
            finally:
                self._running.discard(timeout)
