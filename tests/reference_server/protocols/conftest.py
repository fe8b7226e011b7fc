"""A server without its gate: `Site` listens on loopback and hands every client to `open_session`."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import ip_address
from itertools import count
from pathlib import Path

import pytest
import trustme
from sqlalchemy import insert

from reference_server.addresses import peer_address
from reference_server.listening.tls import server_context
from reference_server.protocols import open_session
from reference_server.protocols.conversation import Conversation
from reference_server.session import Services, Session
from reference_server.settings import (
    Account,
    Certificate,
    ConnectionSecurity,
    IpRange,
    Port,
    Protocol,
    ServerSettings,
)
from reference_server.storage import schema
from reference_server.storage.database import Database
from reference_server.storage.mailboxes import SqlMailStore
from reference_server.storage.queue import SqlMailQueue

PATIENCE = 30.0
EVERYTHING = IpRange(
    id=1,
    name="all",
    priority=1,
    lower=ip_address("::"),
    upper=ip_address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    deliver_local_to_remote=True,
    deliver_remote_to_remote=True,
)


@dataclass
class FakeAccounts:
    """Accounts of example.test; passwords in clear."""

    passwords: dict[str, str] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)

    def is_local_domain(self, domain: str) -> bool:
        return domain.lower() == "example.test"

    def find(self, address: str) -> Account | None:
        address = address.lower()
        return Account(self.ids[address], address) if address in self.ids else None

    async def authenticate(self, address: str, password: str) -> Account | None:
        return self.find(address) if self.passwords.get(address.lower()) == password else None


@dataclass
class Certificates:
    """What a TLS test needs on both sides."""

    server: ssl.SSLContext
    client: ssl.SSLContext


class Site:
    """Sessions over real sockets, with the real mail store."""

    def __init__(self, mail: SqlMailStore, accounts: FakeAccounts, certificates: Certificates) -> None:
        self.mail = mail
        self.accounts = accounts
        self.certificates = certificates
        self.queue = SqlMailQueue(mail._database, mail)
        self.settings = ServerSettings(host_name="mail.example.test")
        self.open: list[Conversation] = []
        self.finished: list[tuple[int, str]] = []
        self.accepted = 0
        self.opened = asyncio.Event()
        self._ended = asyncio.Event()
        self._servers: list[asyncio.Server] = []
        self._ids = count(1)
        self.services = Services(
            settings=lambda: self.settings,
            accounts=accounts,
            mail=mail,
            queue=self.queue,
            now=lambda: datetime.now(UTC),
            finished=self._finished,
            message_accepted=self._accepted,
        )

    def _finished(self, session: Session, reason: str) -> None:
        self.finished.append((session.id, reason))
        self._ended.set()

    def _accepted(self) -> None:
        self.accepted += 1

    async def listen(
        self,
        protocol: Protocol,
        *,
        address: str = "::1",
        security: ConnectionSecurity = ConnectionSecurity.NONE,
        ip_range: IpRange = EVERYTHING,
        services: Services | None = None,
    ) -> int:
        """Listen, and return the number of the port."""
        implicit = security is ConnectionSecurity.TLS
        starttls = {ConnectionSecurity.STARTTLS_OPTIONAL, ConnectionSecurity.STARTTLS_REQUIRED}
        port = Port(1, protocol, ip_address(address), 0, security, None)

        def session() -> Conversation:
            protocol_object = open_session(
                Session(
                    id=next(self._ids),
                    port=port,
                    peer=peer_address(address),
                    peer_port=1,
                    local=ip_address(address),
                    local_port=1,
                    ip_range=ip_range,
                    started=datetime.now(UTC),
                    implicit_tls=implicit,
                    starttls=self.certificates.server if security in starttls else None,
                ),
                services or self.services,
            )
            self.open.append(protocol_object)
            self.opened.set()
            return protocol_object

        server = await asyncio.get_running_loop().create_server(
            session, address, 0, ssl=self.certificates.server if implicit else None
        )
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def ended(self, number: int = 1) -> list[str]:
        """Wait until ``number`` sessions have ended; return their reasons."""
        async with asyncio.timeout(PATIENCE):
            while len(self.finished) < number:
                self._ended.clear()
                await self._ended.wait()
        return [reason for _, reason in self.finished]

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for session in self.open:
            session.shutdown()
        tasks = [session._task for session in self.open if session._task is not None]
        if tasks:
            async with asyncio.timeout(PATIENCE):
                await asyncio.wait(tasks)
        for task in tasks:
            task.result()
        assert sorted(identity for identity, _ in self.finished) == sorted(
            session.client.id for session in self.open if session._task is not None
        ), "finished is called exactly once for each session"


class Wire:
    """A raw client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def line(self) -> bytes:
        """Return the next line; nothing at the end."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readline()

    async def reply(self) -> bytes:
        """Return the last line of an SMTP reply."""
        while (line := await self.line())[3:4] == b"-":
            pass
        return line

    async def talk(self, data: bytes) -> bytes:
        """Send, and return the last line of the reply."""
        self.send(data)
        return await self.reply()

    async def tagged(self, command: bytes) -> list[bytes]:
        """Send an IMAP command and return all lines up to its tagged answer."""
        self.send(b"t " + command + b"\r\n")
        lines = [await self.line()]
        while not lines[-1].startswith(b"t ") and lines[-1]:
            lines.append(await self.line())
        return lines

    async def rest(self) -> bytes:
        """Return everything up to the end of the connection."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        await self.writer.start_tls(context, server_hostname="::1")

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    authority = trustme.CA()
    issued = authority.issue_cert("::1", "127.0.0.1", "localhost")
    folder: Path = tmp_path_factory.mktemp("certificates")
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return Certificates(server_context(Certificate(1, "test", str(chain), str(key))), client)


@pytest.fixture
async def mail(tmp_path: Path) -> AsyncIterator[SqlMailStore]:
    database = await Database.open(f"sqlite:///{tmp_path}/mail.db", synced=False)

    def prepare(connection):  # type: ignore[no-untyped-def]
        schema.metadata.create_all(connection)
        connection.execute(insert(schema.domains).values(id=1, name="example.test", active=True))
        for number, name in enumerate(("ann", "bob"), 1):
            connection.execute(
                insert(schema.accounts).values(
                    id=number, domain_id=1, address=f"{name}@example.test", password_hash="x"
                )
            )

    await database.write(prepare)
    yield SqlMailStore(database)
    await database.close()


@pytest.fixture
async def site(mail: SqlMailStore, certificates: Certificates) -> AsyncIterator[Site]:
    accounts = FakeAccounts(
        passwords={"ann@example.test": 'se cret"\\', "bob@example.test": "pwb"},
        ids={"ann@example.test": 1, "bob@example.test": 2},
    )
    site = Site(mail, accounts, certificates)
    yield site
    await site.close()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., object]]:
    wires: list[Wire] = []

    async def connect(port: int, address: str = "::1", **options: object) -> Wire:
        wire = Wire(*await asyncio.open_connection(address, port, **options))  # type: ignore[arg-type]
        wires.append(wire)
        return wire

    yield connect
    for wire in wires:
        await wire.close()


@pytest.fixture
def lower_limit(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, float], None]:
    def lower(name: str, value: float) -> None:
        monkeypatch.setattr(f"reference_server.limits.{name}", value)

    return lower


def ranged(**flags: bool) -> IpRange:
    """A range of everybody with other flags."""
    return replace(EVERYTHING, **flags)


@pytest.fixture(name="ranged")
def _ranged() -> Callable[..., IpRange]:
    return ranged
