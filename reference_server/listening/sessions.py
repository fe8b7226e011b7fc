"""The sessions that are open: how many of each protocol, and how they end.

A session holds a slot of its protocol from `begin` to `finish`, whoever calls that first: the protocol, or
the gate for a client that never got as far as a protocol. A slot is given back once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from reference_server.session import Session
from reference_server.settings import Protocol


class _Client:
    """What is needed to end a session."""

    __slots__ = ("abort", "session", "shutdown")

    def __init__(self, session: Session, shutdown: Callable[[], None], abort: Callable[[], None]) -> None:
        self.session = session
        self.shutdown = shutdown
        self.abort = abort


class OpenSessions:
    """All clients that were let in and have not left."""

    def __init__(self, on_finished: Callable[[Session, str], None]) -> None:
        """``on_finished`` is called once for each session, with the reason, after its slot is free."""
        self._on_finished = on_finished
        self._clients: dict[int, _Client] = {}
        self._counts = dict.fromkeys(Protocol, 0)
        self._someone_left = asyncio.Event()
        self._last_id = 0

    @property
    def counts(self) -> Mapping[Protocol, int]:
        """How many sessions of each protocol are open; a live view."""
        return MappingProxyType(self._counts)

    def __len__(self) -> int:
        return len(self._clients)

    def next_id(self) -> int:
        """Return the number of the next client, a refused one included, so that the log can be followed."""
        self._last_id += 1
        return self._last_id

    def begin(self, session: Session, shutdown: Callable[[], None], abort: Callable[[], None]) -> None:
        """Count an admitted client. ``shutdown`` ends it politely, ``abort`` at once; both may come late."""
        self._clients[session.id] = _Client(session, shutdown, abort)
        self._counts[session.port.protocol] += 1

    def finish(self, session: Session, reason: str) -> None:
        """Give the slot of ``session`` back; a second call does nothing."""
        if self._clients.pop(session.id, None) is None:
            return
        self._counts[session.port.protocol] -= 1
        self._someone_left.set()
        self._on_finished(session, reason)

    def open_now(self) -> tuple[int, ...]:
        """Return the ids of the sessions that are open."""
        return tuple(self._clients)

    def shutdown(self) -> None:
        """Ask every session to end after the command that is running."""
        for client in tuple(self._clients.values()):
            client.shutdown()

    def abort(self, ids: Iterable[int]) -> None:
        """Cut the connections of those among ``ids`` that are still open."""
        for each in ids:
            client = self._clients.get(each)
            if client is not None:
                client.abort()

    async def ended(self, ids: Iterable[int], limit: float) -> bool:
        """Wait until all of ``ids`` have left; say whether they did within ``limit`` seconds."""
        waiting = set(ids)
        try:
            async with asyncio.timeout(limit):
                while waiting := waiting & self._clients.keys():
                    self._someone_left.clear()
                    await self._someone_left.wait()
        except TimeoutError:
            return False
        return True
