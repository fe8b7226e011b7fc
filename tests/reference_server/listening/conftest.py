"""A gate on loopback, with a log that is kept and a protocol of one line."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, cast

import pytest

from reference_server.addresses import IPAddress
from reference_server.listening.admission import Admitted, Decision, Refused
from reference_server.listening.gate import Gate
from reference_server.listening.sessions import OpenSessions
from reference_server.session import Services, Session
from reference_server.settings import ConnectionSecurity, IpRange, Port, Protocol, ServerSettings

GREETING = b"220 tiny\r\n"
BOTH = ["127.0.0.1", "::1"]
ALL = IpRange(1, "everybody", 1, ip_address("::"), ip_address("ffff::"))


@dataclass(frozen=True)
class Event:
    level: str
    name: str
    fields: dict[str, Any]


class KeptLog:
    """Every event, in order; and a wait for the next one of a name."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._more = asyncio.Event()

    def info(self, event: str, /, **fields: Any) -> None:
        self._keep("info", event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        self._keep("warning", event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        self._keep("error", event, fields)

    def _keep(self, level: str, name: str, fields: dict[str, Any]) -> None:
        self.events.append(Event(level, name, fields))
        self._more.set()

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event.fields for event in self.events if event.name == name]

    async def until(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until ``count`` events of that name are there, and return them all."""
        async with asyncio.timeout(30):
            while len(self.named(name)) < count:
                self._more.clear()
                await self._more.wait()
        return self.named(name)


class Tiny(asyncio.Protocol):
    """Greets; says goodbye when the client says something or the server stops."""

    def __init__(self, session: Session, services: Services) -> None:
        self.session = session
        self._services = services
        self._transport: asyncio.WriteTransport | None = None
        self._reason = "client disconnected"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._transport.write(GREETING)

    def data_received(self, _data: bytes) -> None:
        self._end(b"221 bye\r\n", "QUIT")

    def shutdown(self) -> None:
        self._end(b"421 stopping\r\n", "server stops")

    def _end(self, words: bytes, reason: str) -> None:
        assert self._transport is not None
        self._reason = reason
        self._transport.write(words)
        self._transport.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._services.finished(self.session, self._reason)


class Door:
    """A gate, and what it decided about."""

    def __init__(self, capacity: int | None = None) -> None:
        self.log = KeptLog()
        self.decision: Callable[[IPAddress, Protocol], Decision] = lambda *_: Admitted(ALL)
        self.asked: list[tuple[IPAddress, Protocol]] = []
        self.opened: list[Session] = []
        self.sessions = OpenSessions(self._finished)
        self.services = Services(
            settings=ServerSettings,
            accounts=cast(Any, None),
            mail=cast(Any, None),
            queue=cast(Any, None),
            now=lambda: datetime(2030, 1, 1, tzinfo=UTC),
            finished=self.sessions.finish,
        )
        self.gate = Gate(self._admit, self.open_session, self.sessions, self.services, self.log, capacity)
        self._ports = 0

    def _admit(self, peer: IPAddress, protocol: Protocol) -> Decision:
        self.asked.append((peer, protocol))
        return self.decision(peer, protocol)

    def open_session(self, session: Session, services: Services) -> asyncio.BaseProtocol:
        self.opened.append(session)
        return Tiny(session, services)

    def _finished(self, session: Session, reason: str) -> None:
        self.log.info("session.finished", session=session.id, reason=reason)
        self.gate.descriptor_freed()

    def refuse(self, reason: str = "no matching range") -> None:
        self.decision = lambda *_: Refused(reason)

    def open(
        self,
        address: str = "::1",
        protocol: Protocol = Protocol.SMTP,
        security: ConnectionSecurity = ConnectionSecurity.NONE,
        context: ssl.SSLContext | None = None,
    ) -> int:
        self._ports += 1
        return self.gate.open(Port(self._ports, protocol, ip_address(address), 0, security), context)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    """A gate without listeners; at the end, nobody is left inside."""
    made = Door()
    yield made
    await close(made)


async def close(door: Door) -> None:
    door.gate.close()
    leaving = door.sessions.open_now()
    door.sessions.shutdown()
    assert await door.sessions.ended(leaving, 30)
    await door.gate.settle()
    assert set(door.sessions.counts.values()) == {0}
