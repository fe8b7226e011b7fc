"""The migrations make the schema that the code expects, once, all or nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, text

from reference_server.storage import migration, schema
from reference_server.storage.database import Database, StorageError
from reference_server.storage.migration import migrate, revision


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(f"sqlite:///{tmp_path}/100% mine/x.sqlite3")
    yield opened
    await opened.close()


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


async def test_an_empty_database_gets_every_table_once(database: Database) -> None:
    assert await database.read(revision) is None
    assert await migrate(database)
    assert not await migrate(database)
    assert await database.read(revision) == schema.HEAD_REVISION
    assert await database.read(tables) == {*schema.metadata.tables, "alembic_version"}


async def test_the_migrations_make_the_schema_of_the_code(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    await database.write(migration.upgrade)

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), schema.metadata))

    assert await database.read(differences) == []


async def test_the_migrations_make_the_same_text_as_the_code(database: Database, tmp_path: Path) -> None:
    """What `compare_metadata` does not look at: checks, AUTOINCREMENT, what deleting does."""
    await database.write(migration.upgrade)
    other = await Database.open(f"sqlite:///{tmp_path}/other/x.sqlite3")
    await migrate(other)

    def statements(connection: Connection) -> dict[str, list[str]]:
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")).all()
        return {
            # The order in which a table's constraints are written says nothing.
            row.name: sorted(line.strip(" \t,") for line in row.sql.splitlines())
            for row in rows
        }

    migrated, made = await database.read(statements), await other.read(statements)
    await other.close()
    assert migrated == made


def test_the_head_is_the_revision_that_the_code_names() -> None:
    from alembic.script import ScriptDirectory

    assert ScriptDirectory(str(migration.MIGRATIONS)).get_heads() == [schema.HEAD_REVISION]


async def test_a_database_of_a_newer_version_is_left_alone(database: Database) -> None:
    await migrate(database)
    await database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(StorageError, match="9999, which this version does not know"):
        await migrate(database)
    assert await database.read(revision) == "9999"


async def test_a_migration_that_fails_leaves_nothing(database: Database) -> None:
    await database.write(lambda c: c.execute(text("CREATE TABLE messages (id INTEGER)")))
    with pytest.raises(Exception, match="messages already exists"):
        await migrate(database)
    assert await database.read(tables) == {"messages"}


def test_alembic_is_imported_for_an_older_database_only(tmp_path: Path) -> None:
    program = f"""
import asyncio, sys
from reference_server.storage.database import Database
from reference_server.storage.migration import migrate
async def main():
    database = await Database.open("sqlite:///{tmp_path}/x.sqlite3")
    print(await migrate(database), "alembic" in sys.modules)
    await database.close()
asyncio.run(main())
"""
    for expected in ("True False", "False False"):
        ended = subprocess.run(
            [sys.executable, "-c", program], timeout=60, check=True, capture_output=True, text=True
        )
        assert ended.stdout.split() == expected.split()
