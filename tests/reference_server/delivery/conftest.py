"""A next hop that does as it is told, a DNS of a few lines, and a clock of the test's."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import pytest
import trustme

from reference_server.addresses import IPAddress
from reference_server.clock import Clock
from reference_server.delivery.next_hop import Bound, Exchanger, Route, route_of
from reference_server.delivery.relay import Relay
from reference_server.delivery.resolver import NoSuchName, TemporaryError
from reference_server.settings import ServerSettings

PATIENCE = 30.0
CUT = "cut"
"""In place of a reply: close the connection."""
SILENT = "silent"
"""In place of a reply: nothing, for ever."""


@dataclass
class Visit:
    """One connection to the hop."""

    peer: str
    commands: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    """As they came over the wire, dots and all, without the final one."""
    tls: bool = False
    ended: bool = False


@dataclass
class Hop:
    """An SMTP server. ``replies`` are by verb (GREETING and END too), or by the whole command."""

    replies: dict[str, str] = field(default_factory=dict)
    extensions: list[str] = field(default_factory=lambda: ["8BITMIME", "PIPELINING", "SIZE 1000000"])
    context: ssl.SSLContext | None = None
    visits: list[Visit] = field(default_factory=list)
    port: int = 0
    injected: bytes = b""
    """Follows the answer to STARTTLS in the same segment."""
    _server: asyncio.Server | None = None
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def messages(self) -> list[bytes]:
        return [message for visit in self.visits for message in visit.messages]

    @property
    def commands(self) -> list[str]:
        return [command for visit in self.visits for command in visit.commands]

    async def listen(self, address: str = "::1", port: int = 0, *, tls: bool = False) -> int:
        self._server = await asyncio.start_server(
            self._serve, address, port, ssl=self.context if tls else None
        )
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self.port

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in self._writers:
                writer.transport.abort()
            await self._server.wait_closed()

    async def until(self, wanted: Callable[[], Any]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not wanted():
                self._news.clear()
                await self._news.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = Visit(writer.get_extra_info("peername")[0])
        visit.tls = writer.get_extra_info("sslcontext") is not None
        self.visits.append(visit)
        self._news.set()
        self._writers.append(writer)
        try:
            await self._converse(visit, reader, writer)
        except (OSError, EOFError, ValueError):
            pass
        finally:
            visit.ended = True
            self._news.set()
            writer.close()

    async def _converse(
        self, visit: Visit, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await self._say(reader, writer, "GREETING", "220 hop.test ready")
        while line := await reader.readline():
            command = line.decode("latin-1").rstrip("\r\n")
            visit.commands.append(command)
            self._news.set()
            verb = command.partition(" ")[0].upper()
            default = {"DATA": "354 go on", "QUIT": "221 bye", "STARTTLS": "220 ready", "AUTH": "235 in"}
            if verb == "EHLO":
                lines = ["hop.test", *self.extensions]
                text = "".join(f"250-{each}\r\n" for each in lines[:-1]) + f"250 {lines[-1]}"
                default["EHLO"] = text
            reply = await self._say(
                reader, writer, command if command in self.replies else verb, default.get(verb, "250 fine")
            )
            if verb == "STARTTLS" and reply.startswith("220"):
                assert self.context is not None
                await writer.start_tls(self.context)
                visit.tls = True
            elif verb == "DATA" and reply.startswith("354"):
                await self._take(visit, reader, writer)
            elif verb == "QUIT":
                return

    async def _take(self, visit: Visit, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        text = b""
        while not text.endswith(b"\r\n.\r\n") and text != b".\r\n":
            data = await reader.readline()
            if not data:
                raise EOFError
            text += data
        visit.messages.append(text[:-3])
        self._news.set()
        await self._say(reader, writer, "END", "250 2.0.0 taken")

    async def _say(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, what: str, default: str
    ) -> str:
        reply = self.replies.get(what, default)
        if reply == CUT:
            raise EOFError
        if reply == SILENT:
            while await reader.read(1000):
                pass
            raise EOFError
        injected = self.injected if what == "STARTTLS" else b""
        writer.write(reply.encode("latin-1") + b"\r\n" + injected)
        await writer.drain()
        return reply


class FakeDns:
    """Answers from two tables; a name that is not there does not exist."""

    def __init__(self) -> None:
        self.hosts: dict[str, list[IPAddress] | Exception] = {}
        self.mx: dict[str, list[tuple[int, str]] | Exception] = {}
        self.asked: list[str] = []

    def host(self, name: str, *addresses: str) -> None:
        self.hosts[name] = [ip_address(each) for each in addresses]

    def fails(self, name: str) -> None:
        self.hosts[name] = TemporaryError(f"{name}: SERVFAIL")

    async def addresses(self, name: str) -> list[IPAddress]:
        self.asked.append(name)
        return _given(self.hosts.get(name, NoSuchName(f"{name}: NXDOMAIN")))

    async def exchangers(self, domain: str) -> list[Exchanger]:
        self.asked.append(f"MX {domain}")
        if domain not in self.mx and domain in self.hosts:
            return []
        found = _given(self.mx.get(domain, NoSuchName(f"{domain}: NXDOMAIN")))
        return [Exchanger(*each) for each in found]


def _given(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


class Bench:
    """A relay with everything it needs, and hops to send to."""

    def __init__(self) -> None:
        self.dns = FakeDns()
        self.listeners: list[Bound] = []
        self.clock = Clock(lambda: datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC))
        self.relay = Relay(
            lambda: self.dns,  # type: ignore[arg-type,return-value]
            lambda: self.listeners,
            self.clock,
            shuffle=lambda _: None,
        )
        self._hops: list[Hop] = []

    async def hop(self, address: str = "::1", port: int = 0, *, tls: bool = False, **options: Any) -> Hop:
        made = Hop(**options)
        await made.listen(address, port, tls=tls)
        self._hops.append(made)
        return made

    async def close(self) -> None:
        self.relay.close()
        await self.relay.settle(PATIENCE)
        for hop in self._hops:
            await hop.close()


def route(hop: Hop | int, relayer: str = "::1", **settings: Any) -> Route:
    """The route to a relay of the settings, on the hop's number."""
    port = hop if isinstance(hop, int) else hop.port
    return route_of(ServerSettings(smtp_relayer=relayer, smtp_relayer_port=port, **settings), "joe@far.test")


@pytest.fixture(name="route")
def _route() -> Callable[..., Route]:
    return route


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.close()


@dataclass
class Authority:
    """A certificate for loopback addresses, and the file of who issued it."""

    server: ssl.SSLContext
    bundle: str


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    issuer = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert("::1", "127.0.0.1", "relay.test").configure_cert(context)
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    issuer.cert_pem.write_to_path(path)
    return Authority(context, str(path))


@pytest.fixture
def same_number() -> Callable[[], int]:
    """A number that was free on both loopback addresses."""

    def find() -> int:
        while True:
            with contextlib.ExitStack() as held:
                first = held.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6))
                number = int(first.getsockname()[1])
                with contextlib.suppress(OSError):
                    held.enter_context(socket.create_server(("127.0.0.1", number)))
                    return number

    return find
