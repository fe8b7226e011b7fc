"""The real administration over a real database, on loopback; of the mail server only a recorder."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest

from reference_server.admin.http import AdminServer, build_app
from reference_server.admin.operations import Operations
from reference_server.control import ListenerStatus, ServerStatus
from reference_server.settings import IpRange, Port, Protocol, ServerSettings
from reference_server.storage.database import Database
from reference_server.storage.first_start import prepare

PASSWORD = "let-me-in"
LISTENERS = (
    ListenerStatus(Port(7, Protocol.SMTP, ip_address("::1"), 0), number=40025, open=True),
    ListenerStatus(
        Port(8, Protocol.IMAP, ip_address("2001:db8::1"), 143), number=143, open=False, error="not here"
    ),
)


@dataclass
class Recorder:
    """Stands where the mail server does (`ServerControl`), and remembers what it was told."""

    told_ranges: list[tuple[IpRange, ...]] = field(default_factory=list)
    told_settings: list[ServerSettings] = field(default_factory=list)
    reinitialized: int = 0
    queue_changes: int = 0

    def status(self) -> ServerStatus:
        sessions = {"smtp": 3, "pop3": 0, "imap": 1}
        return ServerStatus("0.1.0", "running", 1, 17, sessions, True, LISTENERS)

    async def ranges_changed(self, ranges: Sequence[IpRange]) -> None:
        self.told_ranges.append(tuple(ranges))

    def settings_changed(self, settings: ServerSettings) -> None:
        self.told_settings.append(settings)

    def queue_changed(self) -> None:
        self.queue_changes += 1

    def request_reinitialize(self) -> None:
        self.reinitialized += 1


@dataclass
class Site:
    """Everything that a test of the administration looks at."""

    database: Database
    operations: Operations
    recorder: Recorder
    server: AdminServer
    client: httpx.AsyncClient

    async def stored(self) -> Operations:
        """Return what a restart would find."""
        return await Operations.load(self.database, now=lambda: datetime.now(UTC), cheap_hashes=True)

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        """Return the code and the parsed answer of a request below ``/api/v1``."""
        if body is not None:
            more["json"] = body
        answer = await self.client.request(method, f"/api/v1{path}", **more)
        assert answer.headers["content-type"] == "application/json"
        return answer.status_code, answer.json()

    async def add(self, path: str, body: Any) -> int:
        """Add a record, and return its id."""
        code, answer = await self.ask("POST", path, body)
        assert (code, list(answer)) == (201, ["id"]), answer
        return int(answer["id"])

    async def refused(self, method: str, path: str, cases: Sequence[tuple[str, Any]], base: Any) -> None:
        """Each case, a field and what is laid over ``base``, is a 400 that names the field."""
        for field_name, change in cases:
            code, answer = await self.ask(method, path, {**base, **change})
            assert (code, list(answer)) == (400, ["error"]), (change, answer)
            assert answer["error"].startswith(f"{field_name}: "), (change, answer)

    async def get(self, path: str) -> Any:
        """Return what a GET answers."""
        code, answer = await self.ask("GET", path)
        assert code == 200, answer
        return answer


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without ports and ranges, to be copied: migrating one for each test takes its time."""
    path = tmp_path_factory.mktemp("prepared") / "x.sqlite3"

    async def make() -> None:
        database = await Database.open(f"sqlite:///{path}", synced=False)
        await prepare(database, port_offset=0, bare=True, admin_password=PASSWORD, cheap_hashes=True)
        await database.close()

    asyncio.run(make())
    return path


@pytest.fixture
def new_recorder() -> type[Recorder]:
    """The class, for tests that need more than the site's one."""
    return Recorder


@pytest.fixture
def administrator_password() -> str:
    return PASSWORD


@pytest.fixture
async def database(prepared: Path, tmp_path: Path) -> AsyncIterator[Database]:
    shutil.copy(prepared, tmp_path / "x.sqlite3")
    opened = await Database.open(f"sqlite:///{tmp_path}/x.sqlite3", synced=False)
    yield opened
    await opened.close()


@pytest.fixture
async def site(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Site]:
    """Over ::1, unless a test names the address."""
    operations = await Operations.load(database, now=lambda: datetime.now(UTC), cheap_hashes=True)
    recorder = Recorder()
    operations.attach(recorder)
    server = AdminServer(build_app(operations), ip_address(getattr(request, "param", "::1")), 0)
    await server.start()
    auth = httpx.BasicAuth("Administrator", PASSWORD)
    async with httpx.AsyncClient(base_url=server.url, auth=auth, trust_env=False, timeout=60) as client:
        yield Site(database, operations, recorder, server, client)
    await server.stop()
