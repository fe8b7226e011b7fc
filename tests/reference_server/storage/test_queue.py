"""What waits, who is sending it, and what is kept of it, over a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from reference_server import limits
from reference_server.session import NewMail
from reference_server.storage import accounts, queue, schema
from reference_server.storage.database import Database
from reference_server.storage.mailboxes import SqlMailStore
from reference_server.storage.queue import Later, Settlement, SqlMailQueue

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
TEXT = b"Return-Path: <x@far.test>\r\nSubject: hello\r\n\r\nend\r\n"
SKIP = TEXT.index(b"Subject")


def mail(*remote: str, local: tuple[int, ...] = (), **fields: Any) -> NewMail:
    values: dict[str, Any] = {
        "sender": "x@far.test",
        "content": TEXT,
        "skip": SKIP,
        "received": NOW,
        "trace_id": "a.1",
        "helo": "client.test",
        "peer": ip_address("8000::1"),
        **fields,
    }
    return NewMail(local=local, remote=remote, **values)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(f"sqlite:///{tmp_path}/x.sqlite3", synced=False)

    def prepare(connection):  # type: ignore[no-untyped-def]
        schema.metadata.create_all(connection)
        connection.execute(insert(schema.domains).values(id=1, name="example.test", active=True))
        connection.execute(
            insert(schema.accounts).values(id=1, domain_id=1, address="ann@example.test", password_hash="x")
        )

    await opened.write(prepare)
    yield opened
    await opened.close()


@pytest.fixture
def store(database: Database) -> SqlMailStore:
    return SqlMailStore(database)


@pytest.fixture
def waiting(database: Database, store: SqlMailStore) -> SqlMailQueue:
    return SqlMailQueue(database, store)


async def count(database: Database, table: Any) -> int:
    return await database.read(lambda db: db.scalar(select(func.count()).select_from(table)) or 0)


async def test_a_message_is_kept_once_for_here_and_elsewhere(
    database: Database, store: SqlMailStore, waiting: SqlMailQueue
) -> None:
    inbox = (await store.mailboxes(1))[0].id
    told = asyncio.Event()
    store.watch(inbox, told.set)
    await waiting.accept(mail("joe@far.test", "sue@far.test", "joe@far.test", local=(1,)))
    assert told.is_set()
    assert await count(database, schema.contents) == 1
    [stored] = await store.messages(inbox)
    assert await store.content(stored.id) == TEXT
    [leased] = await waiting.lease(NOW, 10)
    assert (leased.sender, leased.size, leased.eight_bit) == ("x@far.test", len(TEXT) - SKIP, False)
    assert (leased.peer, leased.helo, leased.trace_id) == (ip_address("8000::1"), "client.test", "a.1")
    assert leased.received == NOW
    assert [(each.address, each.tries) for each in leased.recipients] == [
        ("joe@far.test", 0),
        ("sue@far.test", 0),
    ]
    assert await waiting.content(leased.id) == leased.content == TEXT[SKIP:]


async def test_a_big_text_is_read_by_itself(waiting: SqlMailQueue) -> None:
    for size in (limits.QUEUE_SMALL, limits.QUEUE_SMALL + 1):
        await waiting.accept(mail("joe@far.test", content=TEXT[:SKIP] + b"x" * (size - 2) + b"\r\n"))
    small, big = await waiting.lease(NOW, 10)
    assert small.content == await waiting.content(small.id)
    assert big.content is None
    assert len(await waiting.content(big.id)) == big.size == limits.QUEUE_SMALL + 1


async def test_all_or_none(database: Database, waiting: SqlMailQueue) -> None:
    with pytest.raises(Exception, match="FOREIGN KEY"):
        await waiting.accept(mail("joe@far.test", local=(99,)))
    assert await count(database, schema.queue_messages) == 0
    assert await count(database, schema.contents) == 0


async def test_a_message_has_one_sender_at_a_time(waiting: SqlMailQueue) -> None:
    for number in range(5):
        await waiting.accept(mail("joe@far.test", received=NOW + timedelta(seconds=number)))
    later = NOW + HOUR
    taken = await asyncio.gather(*(waiting.lease(later, 2, mine=()) for _ in range(1)))
    first = [leased.id for leased in taken[0]]
    assert first == [1, 2]
    assert [leased.id for leased in await waiting.lease(later, 10, mine=first)] == [3, 4, 5]
    assert await waiting.lease(later, 10, mine=[1, 2, 3, 4, 5]) == []
    # Our own are never taken from us by time; one that we do not know of is one that we lost.
    assert await waiting.lease(later + HOUR * 100, 10, mine=[1, 2, 3, 4, 5]) == []
    assert [leased.id for leased in await waiting.lease(later, 10, mine=[1, 2, 3, 4])] == [5]


async def test_another_runs_lease_ends_by_time(
    database: Database, store: SqlMailStore, waiting: SqlMailQueue
) -> None:
    other = SqlMailQueue(database, store)
    await waiting.accept(mail("joe@far.test"))
    [leased] = await waiting.lease(NOW, 10)
    assert await other.lease(NOW + HOUR, 10) == []
    end = NOW + timedelta(seconds=limits.QUEUE_LEASE)
    assert await other.next_due() == end
    assert [each.id for each in await other.lease(end, 10)] == [leased.id]
    # What the late one says now is not kept: another one is sending it.
    assert not await waiting.settle(Settlement(leased.id, done=(leased.recipients[0].id,)))
    assert await count(database, schema.queue_recipients) == 1


async def test_what_a_killed_run_was_sending_is_taken_back(
    database: Database, store: SqlMailStore, waiting: SqlMailQueue
) -> None:
    await waiting.accept(mail("joe@far.test"))
    assert len(await waiting.lease(NOW, 10)) == 1
    next_run = SqlMailQueue(database, store)
    assert await next_run.recover() == 1
    assert await next_run.recover() == 0
    assert len(await next_run.lease(NOW, 10)) == 1
    assert await next_run.recover() == 0  # its own it keeps


async def test_nothing_is_due_before_its_time(waiting: SqlMailQueue) -> None:
    assert await waiting.next_due() is None
    await waiting.accept(mail("joe@far.test"))
    assert await waiting.lease(NOW - timedelta(seconds=1), 10) == []
    assert await waiting.next_due() == NOW
    assert await waiting.next_due(mine=[1]) is None


async def test_recipients_are_settled_each_for_itself(database: Database, waiting: SqlMailQueue) -> None:
    await waiting.accept(mail("a@far.test", "b@far.test", "c@far.test"))
    [leased] = await waiting.lease(NOW, 10)
    a, b, c = (each.id for each in leased.recipients)
    assert await waiting.settle(Settlement(leased.id, done=(a,)), release=False)
    assert await waiting.lease(NOW, 10, mine=[leased.id]) == []
    later = {b: Later(NOW + HOUR, 1, "451 no"), c: Later(NOW + HOUR * 2, 1, "452 no")}
    assert await waiting.settle(Settlement(leased.id, later=later))
    assert await waiting.next_due() == NOW + HOUR
    [again] = await waiting.lease(NOW + HOUR, 10)
    assert [(each.address, each.tries) for each in again.recipients] == [("b@far.test", 1)]
    await waiting.settle(Settlement(leased.id, done=(b,)))
    [again] = await waiting.lease(NOW + HOUR * 2, 10)
    assert [each.address for each in again.recipients] == ["c@far.test"]
    await waiting.settle(Settlement(leased.id, done=(c,)))
    for table in (schema.queue_messages, schema.queue_recipients, schema.contents):
        assert await count(database, table) == 0


async def test_a_text_that_a_local_copy_shares_stays(
    database: Database, store: SqlMailStore, waiting: SqlMailQueue
) -> None:
    await waiting.accept(mail("a@far.test", local=(1,)))
    [leased] = await waiting.lease(NOW, 10)
    await waiting.settle(Settlement(leased.id, done=(leased.recipients[0].id,)))
    inbox = (await store.mailboxes(1))[0].id
    [stored] = await store.messages(inbox)
    assert await store.content(stored.id) == TEXT
    await store.remove(inbox, [stored.id])
    assert await count(database, schema.contents) == 0


async def test_a_local_copy_that_goes_leaves_the_text_to_the_queue(
    database: Database, store: SqlMailStore, waiting: SqlMailQueue
) -> None:
    await waiting.accept(mail("a@far.test", local=(1,)))
    await waiting.accept(mail("b@far.test", local=(1,)))
    inbox = (await store.mailboxes(1))[0].id
    await store.remove(inbox, [(await store.messages(inbox))[0].id])
    await database.write(lambda db: accounts.delete_account(db, 1))
    assert await waiting.content(1) == await waiting.content(2) == TEXT[SKIP:]


async def test_a_report_is_stored_with_what_it_reports(
    database: Database, store: SqlMailStore, waiting: SqlMailQueue
) -> None:
    inbox = (await store.mailboxes(1))[0].id
    told = asyncio.Event()
    store.watch(inbox, told.set)
    await waiting.accept(mail("a@far.test", "b@far.test"))
    [leased] = await waiting.lease(NOW, 10)
    report = {"sender": "", "content": b"report\r\n", "skip": 0, "peer": None, "helo": ""}
    reports = (mail(local=(1, 99), **report), mail("x@far.test", **report), mail(local=(99,), **report))
    done = tuple(each.id for each in leased.recipients)
    assert await waiting.settle(Settlement(leased.id, done=done, reports=reports))
    assert told.is_set()
    assert [message.size for message in await store.messages(inbox)] == [8]
    [leased] = await waiting.lease(NOW, 10)
    assert (leased.sender, leased.recipients[0].address, leased.peer) == ("", "x@far.test", None)
    assert await count(database, schema.contents) == 2


async def test_of_a_message_that_was_deleted_nothing_is_kept(
    database: Database, waiting: SqlMailQueue
) -> None:
    await waiting.accept(mail("a@far.test"))
    [leased] = await waiting.lease(NOW, 10)
    assert await database.write(lambda db: queue.remove(db, leased.id))
    assert not await database.write(lambda db: queue.remove(db, leased.id))
    report = mail("x@far.test")
    assert not await waiting.settle(Settlement(leased.id, done=(1,), reports=(report,)))
    assert await count(database, schema.queue_messages) == 0
    assert await count(database, schema.contents) == 0
    with pytest.raises(LookupError, match="is gone"):
        await waiting.content(leased.id)


async def test_what_is_given_back_is_due_as_before(waiting: SqlMailQueue) -> None:
    await waiting.accept(mail("a@far.test"))
    [leased] = await waiting.lease(NOW, 10)
    await waiting.release([leased.id])
    assert await waiting.lease(NOW, 10) == [leased]


async def test_people_see_it_and_may_have_it_tried_now(database: Database, waiting: SqlMailQueue) -> None:
    await waiting.accept(mail("a@far.test", "b@far.test"))
    [leased] = await waiting.lease(NOW, 10)
    later = {each.id: Later(NOW + HOUR, 1, "451 no") for each in leased.recipients}
    await waiting.settle(Settlement(leased.id, later=later))
    [seen] = await database.read(queue.queued)
    assert (seen.id, seen.sender, seen.recipients) == (1, "x@far.test", ("a@far.test", "b@far.test"))
    assert seen.next_try == NOW + HOUR
    assert await database.write(lambda db: queue.retry(db, 1, NOW))
    assert not await database.write(lambda db: queue.retry(db, 2, NOW))
    [again] = await waiting.lease(NOW, 10)
    assert [each.tries for each in again.recipients] == [1, 1]
