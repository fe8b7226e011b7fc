"""Bringing a database to the schema of this version.

An empty database gets the tables of `schema` at once; only an older one is migrated, by Alembic, which takes
longer to import than everything else at a start. Tests hold the two ways against each other.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, inspect, text

from reference_server.storage.database import Database, StorageError
from reference_server.storage.schema import HEAD_REVISION, metadata

MIGRATIONS = Path(__file__).parent / "migrations"
_VERSION_TABLE = "alembic_version"


async def migrate(database: Database) -> bool:
    """Bring ``database`` to `HEAD_REVISION`, all or nothing; say whether there was anything to do.

    Raises StorageError for a database of a newer version.
    """
    if await database.read(revision) == HEAD_REVISION:
        return False
    await database.write(_create_or_upgrade)
    return True


def revision(connection: Connection) -> str | None:
    """Return the revision that the database says it has; None for an empty database."""
    if not inspect(connection).has_table(_VERSION_TABLE):
        return None
    row = connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).first()  # noqa: S608
    return None if row is None else str(row[0])


def _create_or_upgrade(connection: Connection) -> None:
    if inspect(connection).get_table_names():
        upgrade(connection)
        return
    metadata.create_all(connection)
    versions = MetaData()
    # As Alembic makes it.
    version = Table(_VERSION_TABLE, versions, Column("version_num", String(32), nullable=False))
    version.append_constraint(PrimaryKeyConstraint("version_num", name=f"{_VERSION_TABLE}_pkc"))
    versions.create_all(connection)
    connection.execute(version.insert().values(version_num=HEAD_REVISION))


def upgrade(connection: Connection) -> None:
    """Run every migration that is missing. Raises StorageError for a database of a newer version."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    configuration = Config()
    # The path may hold a per cent sign, which the configuration parser would take for its own.
    configuration.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    configuration.set_main_option("path_separator", "os")
    configuration.attributes["connection"] = connection
    try:
        command.upgrade(configuration, "head")
    except CommandError as error:
        raise StorageError(
            f"the database has revision {revision(connection)}, which this version does not know ({error}); "
            "use the version that made it, or a newer one"
        ) from None
