"""Writes that wait together share a commit, and no other fate; what is acknowledged is on disk."""

from __future__ import annotations

import asyncio
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import IntegrityError, OperationalError

from reference_server.storage.database import GROUP, Database, StorageError


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/data/server.sqlite3"


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = await Database.open(url)
    await opened.write(lambda c: c.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)")))
    await opened.write(
        lambda c: c.execute(text("CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE)"))
    )
    yield opened
    await opened.close()


@pytest.fixture
def commits() -> Iterator[list[str]]:
    """One entry for each commit."""
    seen: list[str] = []

    def committed(_connection: Connection) -> None:
        seen.append("commit")

    event.listen(Engine, "commit", committed)
    yield seen
    event.remove(Engine, "commit", committed)


def add(number: int) -> object:
    def work(connection: Connection) -> int:
        connection.execute(text("INSERT INTO parent VALUES (:id)"), {"id": number})
        return number

    return work


def parents(connection: Connection) -> list[int]:
    return list(connection.execute(text("SELECT id FROM parent ORDER BY id")).scalars())


class Held:
    """A write that keeps the writer busy until it is let go, so that others have to wait together."""

    def __init__(self, database: Database) -> None:
        self._go = threading.Event()
        self._busy = threading.Event()
        self.answer = asyncio.ensure_future(database.write(self._work))

    def _work(self, _connection: Connection) -> None:
        self._busy.set()
        assert self._go.wait(30)

    async def begun(self) -> None:
        await asyncio.to_thread(self._busy.wait, 30)

    def release(self) -> None:
        self._go.set()


async def together(database: Database, *works: object) -> list[object]:
    """Have ``works`` wait together behind a write, and return their results and errors."""
    held = Held(database)
    await held.begun()
    waiting = [asyncio.ensure_future(database.write(work)) for work in works]  # type: ignore[arg-type]
    await asyncio.sleep(0)  # each task has put its write into the queue
    held.release()
    await held.answer
    return await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_write_is_seen_by_the_next_read(database: Database) -> None:
    assert await database.write(add(7)) == 7  # type: ignore[arg-type]
    assert await database.read(parents) == [7]


async def test_writes_that_wait_together_share_one_commit(database: Database, commits: list[str]) -> None:
    results = await together(database, *(add(number) for number in range(GROUP)))
    assert results == list(range(GROUP))
    writes = len(commits)
    assert await database.read(parents) == list(range(GROUP))
    assert writes == 2  # the one that held them up, and theirs


async def test_a_write_that_fails_takes_nobody_along(database: Database) -> None:
    def wrong(connection: Connection) -> None:
        add(100)(connection)  # type: ignore[operator]
        raise LookupError("no such thing")

    results = await together(database, add(1), wrong, add(2), add(1), add(3))
    assert isinstance(results[1], LookupError)
    assert isinstance(results[3], IntegrityError)
    assert [results[0], results[2], results[4]] == [1, 2, 3]
    assert await database.read(parents) == [1, 2, 3]


async def test_a_write_that_loses_the_whole_transaction_takes_nobody_along(database: Database) -> None:
    def lose(connection: Connection) -> None:
        # What SQLite does by itself when the disk is full.
        connection.connection.driver_connection.execute("ROLLBACK")  # type: ignore[union-attr]
        raise OSError("disk full")

    results = await together(database, add(1), lose, add(2))
    assert [results[0], results[2]] == [1, 2]
    assert isinstance(results[1], OSError)
    assert await database.read(parents) == [1, 2]


async def test_a_commit_that_fails_fails_its_cause_alone(database: Database) -> None:
    def orphan(connection: Connection) -> None:
        connection.execute(text("PRAGMA defer_foreign_keys = ON"))
        connection.execute(text("INSERT INTO child VALUES (99)"))

    results = await together(database, add(1), orphan, add(2))
    assert [results[0], results[2]] == [1, 2]
    assert isinstance(results[1], IntegrityError)
    assert await database.read(parents) == [1, 2]


async def test_a_write_whose_caller_gave_up_before_it_ran_is_left_out(database: Database) -> None:
    held = Held(database)
    await held.begun()
    given_up = asyncio.ensure_future(database.write(add(1)))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    held.release()
    await database.write(add(2))  # type: ignore[arg-type]
    assert await database.read(parents) == [2]


async def test_a_read_changes_nothing(database: Database) -> None:
    with pytest.raises(OperationalError, match="readonly"):
        await database.read(add(1))  # type: ignore[arg-type]
    assert await database.read(parents) == []


async def test_foreign_keys_hold(database: Database) -> None:
    with pytest.raises(IntegrityError):
        await database.write(lambda c: c.execute(text("INSERT INTO child VALUES (99)")))


@pytest.mark.parametrize(("synced", "level"), [(True, 2), (False, 0)])
async def test_synchronous_is_full_unless_told_otherwise(url: str, synced: bool, level: int) -> None:
    database = await Database.open(url, synced=synced)
    found = await database.write(lambda c: c.exec_driver_sql("PRAGMA synchronous").scalar())
    mode = await database.read(lambda c: c.exec_driver_sql("PRAGMA journal_mode").scalar())
    await database.close()
    assert (found, mode) == (level, "wal")


async def test_close_finishes_what_was_asked_and_leaves_one_file(url: str, tmp_path: Path) -> None:
    database = await Database.open(url)
    await database.write(lambda c: c.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)")))
    waiting = [asyncio.ensure_future(database.write(add(number))) for number in range(200)]  # type: ignore[arg-type]
    await asyncio.sleep(0)
    await database.close()
    await database.close()
    assert await asyncio.gather(*waiting) == list(range(200))
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["server.sqlite3"]
    with pytest.raises(StorageError, match="closed"):
        await database.read(parents)
    with pytest.raises(StorageError, match="closed"):
        await database.write(add(1))  # type: ignore[arg-type]
    again = await Database.open(url)
    assert await again.read(parents) == list(range(200))
    await again.close()


async def test_what_was_acknowledged_survives_a_kill(url: str) -> None:
    program = """
import asyncio, os, signal, sys
from sqlalchemy import text
from reference_server.storage.database import Database
async def main():
    database = await Database.open(sys.argv[1])
    await database.write(lambda c: c.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)")))
    await database.write(lambda c: c.execute(text("INSERT INTO parent VALUES (5)")))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    ended = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program, url], timeout=60, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    database = await Database.open(url)
    assert await database.read(parents) == [5]
    await database.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_directory_and_files_are_for_the_owner_alone(url: str, tmp_path: Path) -> None:
    database = await Database.open(url)
    await database.write(lambda c: c.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)")))
    files = sorted((tmp_path / "data").iterdir())
    assert len(files) == 3
    assert {mode(path) for path in files} == {0o600}
    assert mode(tmp_path / "data") == 0o700
    await database.close()


async def test_an_empty_directory_is_made_private_and_a_shared_one_is_left_alone(tmp_path: Path) -> None:
    empty, shared = tmp_path / "empty", tmp_path / "shared"
    for directory in (empty, shared):
        directory.mkdir(mode=0o755)
    (shared / "other.txt").write_text("not ours")
    for directory in (empty, shared):
        database = await Database.open(f"sqlite:///{directory}/x.sqlite3")
        await database.close()
    assert (mode(empty), mode(shared)) == (0o700, 0o755)
    assert mode(shared / "x.sqlite3") == 0o600


async def test_a_database_that_others_could_read_is_made_private(url: str, tmp_path: Path) -> None:
    await (await Database.open(url)).close()
    (tmp_path / "data" / "server.sqlite3").chmod(0o644)
    await (await Database.open(url)).close()
    assert mode(tmp_path / "data" / "server.sqlite3") == 0o600


async def test_what_cannot_be_a_database_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear Sir, " * 500)
    wrong = {
        "sqlite://": "in memory",
        "sqlite:///:memory:": "in memory",
        "postgresql://h/d": "postgresql is not supported",
        "nonsense": "no database URL",
        f"sqlite:///{tmp_path}/letter.txt": "not a database",
        f"sqlite:///{tmp_path}/letter.txt/x": "choose a directory",
    }
    for url, words in wrong.items():
        with pytest.raises(StorageError, match=words):
            await Database.open(url)
