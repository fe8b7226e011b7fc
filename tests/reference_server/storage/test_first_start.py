"""A new database has the documented defaults, and one password."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reference_server.admin.operations import Operations
from reference_server.settings import ConnectionSecurity, InvalidField, Protocol, ServerSettings
from reference_server.storage.database import Database
from reference_server.storage.first_start import prepare


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(f"sqlite:///{tmp_path}/data/x.sqlite3")
    yield opened
    await opened.close()


async def load(database: Database) -> Operations:
    return await Operations.load(database, now=lambda: datetime.now(UTC), cheap_hashes=True)


async def test_the_defaults(database: Database) -> None:
    await prepare(database, port_offset=2000, bare=False, admin_password="x", cheap_hashes=True)
    operations = await load(database)
    assert [(port.protocol, str(port.address), port.port) for port in operations.ports()] == [
        (Protocol.SMTP, "0.0.0.0", 2025),
        (Protocol.SMTP, "0.0.0.0", 2587),
        (Protocol.POP3, "0.0.0.0", 2110),
        (Protocol.IMAP, "0.0.0.0", 2143),
    ]
    assert {port.connection_security for port in operations.ports()} == {ConnectionSecurity.NONE}
    computer, internet = operations.ranges()
    assert (computer.name, str(computer.lower), str(computer.upper), computer.priority) == (
        "My computer",
        "127.0.0.1",
        "127.0.0.1",
        30,
    )
    assert (internet.name, str(internet.lower), str(internet.upper), internet.priority) == (
        "Internet",
        "0.0.0.0",
        "255.255.255.255",
        10,
    )
    directions = ("local_to_local", "local_to_remote", "remote_to_local", "remote_to_remote")
    required = {computer.name: {"remote_to_remote"}, internet.name: {*directions} - {"remote_to_local"}}
    for ip_range in (computer, internet):
        assert all(ip_range.allows(protocol) for protocol in Protocol)
        assert all(getattr(ip_range, f"deliver_{direction}") for direction in directions)
        found = {direction for direction in directions if getattr(ip_range, f"require_auth_{direction}")}
        assert found == required[ip_range.name]
        assert not ip_range.expires
    assert operations.settings() == ServerSettings()


async def test_bare_means_no_ports_and_no_ranges(database: Database) -> None:
    await prepare(database, port_offset=0, bare=True, admin_password="x", cheap_hashes=True)
    operations = await load(database)
    assert (operations.ports(), operations.ranges()) == ((), ())


async def test_a_generated_password_is_told_once_and_works(database: Database, tmp_path: Path) -> None:
    password = await prepare(database, port_offset=0, bare=False, admin_password=None, cheap_hashes=True)
    assert password is not None
    assert len(password) >= 20
    operations = await load(database)
    assert await operations.check_administrator("Administrator", password)
    assert not await operations.check_administrator("Administrator", "")
    again = await prepare(database, port_offset=7, bare=True, admin_password=None, cheap_hashes=True)
    assert again is None
    assert len((await load(database)).ports()) == 4
    files = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir())
    assert password.encode() not in files
    assert b"$argon2id$" in files


async def test_a_given_password_is_the_first_one_only(database: Database) -> None:
    assert await prepare(database, port_offset=0, bare=True, admin_password="one", cheap_hashes=True) is None
    assert await prepare(database, port_offset=0, bare=True, admin_password="two", cheap_hashes=True) is None
    operations = await load(database)
    assert await operations.check_administrator("Administrator", "one")
    assert not await operations.check_administrator("Administrator", "two")


async def test_two_databases_get_two_passwords(tmp_path: Path) -> None:
    found = set()
    for name in ("a", "b"):
        database = await Database.open(f"sqlite:///{tmp_path}/{name}/x.sqlite3")
        found.add(await prepare(database, port_offset=0, bare=True, admin_password=None, cheap_hashes=True))
        await database.close()
    assert len(found) == 2


@pytest.mark.parametrize("offset", [-25, 64949, 10**9])
async def test_an_offset_that_leaves_the_numbers_is_refused_and_stores_nothing(
    database: Database, offset: int
) -> None:
    with pytest.raises(InvalidField, match="port_offset"):
        await prepare(database, port_offset=offset, bare=False, admin_password=None, cheap_hashes=True)
    assert await prepare(database, port_offset=0, bare=True, admin_password=None, cheap_hashes=True)
