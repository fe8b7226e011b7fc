"""Slots: one for each session, given back once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from ipaddress import ip_address

from reference_server.listening.sessions import OpenSessions
from reference_server.session import Session
from reference_server.settings import IpRange, Port, Protocol

ALL = IpRange(1, "all", 1, ip_address("::"), ip_address("ffff::"))


class Clients:
    """Makes sessions, and remembers how they were ended."""

    def __init__(self) -> None:
        self.finished: list[tuple[int, str]] = []
        self.asked: list[int] = []
        self.cut: list[int] = []
        self.sessions = OpenSessions(lambda session, reason: self.finished.append((session.id, reason)))

    def enter(self, protocol: Protocol = Protocol.SMTP) -> Session:
        number = self.sessions.next_id()
        session = Session(
            id=number,
            port=Port(1, protocol, ip_address("::1"), 25),
            peer=ip_address("::1"),
            peer_port=40000,
            local=ip_address("::1"),
            local_port=25,
            ip_range=ALL,
            started=datetime(2030, 1, 1, tzinfo=UTC),
        )
        self.sessions.begin(session, lambda: self.asked.append(number), lambda: self.cut.append(number))
        return session


async def test_a_slot_is_given_back_exactly_once() -> None:
    clients = Clients()
    first, second = clients.enter(), clients.enter()
    clients.enter(Protocol.IMAP)
    assert clients.sessions.counts == {Protocol.SMTP: 2, Protocol.POP3: 0, Protocol.IMAP: 1}
    clients.sessions.finish(first, "QUIT")
    clients.sessions.finish(first, "again")
    assert clients.sessions.counts[Protocol.SMTP] == 1
    clients.sessions.finish(second, "reset")
    clients.sessions.finish(first, "and again")
    assert clients.sessions.counts == {Protocol.SMTP: 0, Protocol.POP3: 0, Protocol.IMAP: 1}
    assert clients.finished == [(first.id, "QUIT"), (second.id, "reset")]
    assert len(clients.sessions) == 1


async def test_the_slot_is_free_when_the_end_is_told() -> None:
    seen: list[int] = []
    clients = Clients()
    clients.sessions = OpenSessions(lambda *_: seen.append(clients.sessions.counts[Protocol.SMTP]))
    clients.sessions.finish(clients.enter(), "QUIT")
    assert seen == [0]


async def test_shutdown_asks_everybody_and_abort_cuts_those_that_are_named_and_there() -> None:
    clients = Clients()
    first, second = clients.enter(), clients.enter()
    clients.sessions.shutdown()
    assert clients.asked == [first.id, second.id]
    clients.sessions.finish(first, "server stops")
    clients.sessions.abort([first.id, second.id])
    assert clients.cut == [second.id]


async def test_ended_waits_for_the_named_ones_only() -> None:
    clients = Clients()
    first, second, other = clients.enter(), clients.enter(), clients.enter()
    waiting = asyncio.create_task(clients.sessions.ended([first.id, second.id], 60))
    for session in (first, second):
        await asyncio.sleep(0)
        assert not waiting.done()
        clients.sessions.finish(session, "QUIT")
    assert await waiting is True
    assert clients.sessions.open_now() == (other.id,)
    assert await clients.sessions.ended([other.id], 0.001) is False
    assert await clients.sessions.ended([], 0.001) is True
