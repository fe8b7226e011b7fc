"""The database: one writer thread that commits in groups, and a few reader threads.

A write is durable when `Database.write` returns: SQLite runs with a write-ahead log and ``synchronous =
FULL``, so each commit is synced to disk. As one sync costs more than most writes, writes that wait
together share one commit, each in a savepoint of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

T = TypeVar("T")

READERS = 3
"""Reader threads: more only compete for the interpreter."""
GROUP = 64
"""Writes in one commit at most, so that the first of a long queue is not kept waiting for all."""
BUSY_SECONDS = 10
"""How long a statement waits for another process (a backup, say) that holds the lock."""
PRIVATE_DIRECTORY = 0o700
PRIVATE_FILE = 0o600


class StorageError(Exception):
    """The database cannot be used; the message says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class _Write:
    work: Callable[[Connection], Any]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]

    def succeed(self, value: Any) -> None:
        self._call(lambda: None if self.answer.done() else self.answer.set_result(value))

    def fail(self, error: BaseException) -> None:
        self._call(lambda: None if self.answer.done() else self.answer.set_exception(error))

    def _call(self, settle: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(settle)


class Database:
    """An open database. To be closed with `close`, which waits for what was asked before."""

    def __init__(self, engine: Engine, url: URL) -> None:
        self.url = url
        self._engine = engine
        self._writes: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="database-reader")
        self._local = threading.local()
        self._read_connections: list[Connection] = []
        self._closing = False
        self._writer = threading.Thread(target=self._write_groups, name="database-writer", daemon=True)
        self._writer.start()

    @classmethod
    async def open(cls, url: str, *, synced: bool = True) -> Database:
        """Open the database of an SQLAlchemy URL, ``sqlite:///path``; make an empty one when there is none.

        A directory that is made, or that is empty, gets mode 0700, the file 0600. ``synced=False`` leaves
        the writing to disk to the system: faster, and acknowledged mail is lost with the power; for tests.
        Raises StorageError.
        """
        return await asyncio.to_thread(cls._open, url, synced)

    @classmethod
    def _open(cls, text: str, synced: bool) -> Database:
        url = _checked_url(text)
        path = Path(str(url.database))
        try:
            make_private(path)
        except OSError as error:
            raise StorageError(f"{path}: {error.strerror}; choose a directory that you may write") from None
        engine = _sqlite_engine(url, synced)
        try:
            with contextlib.closing(engine.raw_connection()) as connection:
                mode = connection.cursor().execute("PRAGMA journal_mode = WAL").fetchone()
        except (DBAPIError, sqlite3.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            raise StorageError(f"{path}: {cause}; name another file, or restore this one") from None
        if mode[0] != "wal":
            raise StorageError(f"{path}: the file system cannot hold SQLite's log; choose a local directory")
        return cls(engine, url)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` returns; it runs in a thread and sees one state of the database.

        It sees every write that has returned, changes nothing, and must not keep the connection.
        """
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` returns, once its changes are committed and on disk.

        What it raises comes out here, and its changes are undone, nobody else's. It may be run a second
        time, after an undone first one. Of a caller who gives up, the change is undone or kept whole.
        """
        self._check_open()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._writes.put(_Write(work, loop, answer))
        return await answer

    async def close(self) -> None:
        """Finish what was asked, and close. Idempotent."""
        if self._closing:
            return
        self._closing = True
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._readers.shutdown(wait=True)
        for connection in self._read_connections:
            connection.close()
        # The writer's connection is the last: closing it moves the log into the database file.
        self._writes.put(None)
        self._writer.join()
        self._engine.dispose()

    def _check_open(self) -> None:
        if self._closing:
            raise StorageError("the database is closed")

    def _read(self, work: Callable[[Connection], T]) -> T:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._engine.connect()
            self._local.connection = connection
            self._read_connections.append(connection)
            with connection.begin():
                connection.exec_driver_sql("PRAGMA query_only = ON")
        with connection.begin():
            return work(connection)

    def _write_groups(self) -> None:
        with self._engine.connect().execution_options(sixpost_write=True) as connection:
            while (first := self._writes.get()) is not None:
                group = [first]
                while len(group) < GROUP and not self._writes.empty():
                    following = self._writes.get()
                    if following is None:
                        self._writes.put(None)
                        break
                    group.append(following)
                _commit_group(connection, group)


def _commit_group(connection: Connection, group: list[_Write]) -> None:
    """Run the writes of ``group`` in one transaction, and answer each of them.

    First without savepoints, which cost as much as a small write; when one of them fails, nothing was done,
    and all run again, each in a savepoint of its own.
    """
    try:
        with connection.begin():
            values = [(write, write.work(connection)) for write in group if not write.answer.cancelled()]
    except Exception:  # noqa: BLE001 - of one of them, or of the database: the second run tells
        with contextlib.suppress(Exception):
            connection.connection.rollback()
        _commit_with_savepoints(connection, group)
    else:
        for write, value in values:
            write.succeed(value)


def _commit_with_savepoints(connection: Connection, group: list[_Write]) -> None:
    outcomes: list[Callable[[], None]] = []
    try:
        with connection.begin():
            for write in group:
                if not write.answer.cancelled():
                    outcomes.append(_run_in_savepoint(connection, write))
    except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
        with contextlib.suppress(Exception):
            connection.connection.rollback()  # a COMMIT that SQLite refuses leaves the transaction open
        if len(group) > 1:
            # Nothing was kept. One write must not fail for another one's fault: each by itself.
            for write in group:
                _commit_with_savepoints(connection, [write])
            return
        group[0].fail(error)
    else:
        for answer in outcomes:
            answer()


def _run_in_savepoint(connection: Connection, write: _Write) -> Callable[[], None]:
    """Return how to answer ``write`` after the commit; raises when the whole transaction is lost."""
    savepoint = connection.begin_nested()
    try:
        value = write.work(connection)
    except Exception as error:  # noqa: BLE001 - it is the caller's, and goes to him
        failure = error
        try:
            savepoint.rollback()
        except Exception:  # noqa: BLE001 - a full disk, say: SQLite has undone the whole transaction
            raise failure from None
        return lambda: write.fail(failure)
    savepoint.commit()
    return lambda: write.succeed(value)


def make_private(path: Path) -> None:
    """Make the file ``path`` where there is none, for its owner's eyes only, the directories included.

    A directory that already holds something else keeps its mode: it is not ours alone. Raises OSError.
    """
    missing = [folder for folder in path.absolute().parents if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
    if not any(path.absolute().parent.iterdir()):
        path.absolute().parent.chmod(PRIVATE_DIRECTORY)
    path.touch(mode=PRIVATE_FILE)
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).chmod(PRIVATE_FILE)


def _checked_url(text: str) -> URL:
    try:
        url = make_url(text)
    except ArgumentError:
        raise StorageError(f"{text!r} is no database URL; write sqlite:///path/to/file") from None
    if url.get_backend_name() != "sqlite":
        raise StorageError(f"{url.get_backend_name()} is not supported yet; write sqlite:///path/to/file")
    if not url.database or url.database == ":memory:":
        raise StorageError(
            "a database in memory would forget acknowledged mail; write sqlite:///path/to/file"
        )
    return url


def _sqlite_engine(url: URL, synced: bool) -> Engine:
    engine = create_engine(
        url, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}
    )

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver must not begin transactions by itself
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA synchronous = {'FULL' if synced else 'OFF'}")

    def begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get("sixpost_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine
