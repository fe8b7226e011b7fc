from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, insert, select

from reference_server.storage import schema
from reference_server.storage.database import Database
from reference_server.storage.mailboxes import MailboxExists, SqlMailStore

WHEN = datetime(2026, 2, 1, 12, 30, tzinfo=UTC)


def with_accounts(connection: Connection) -> None:
    schema.metadata.create_all(connection)
    connection.execute(insert(schema.domains).values(id=1, name="example.test", active=True))
    for number in (1, 2, 3):
        connection.execute(
            insert(schema.accounts).values(
                id=number, domain_id=1, address=f"user{number}@example.test", password_hash="x"
            )
        )


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(f"sqlite:///{tmp_path}/mail.db", synced=False)
    await database.write(with_accounts)
    yield database
    await database.close()


@pytest.fixture
def mail(database: Database) -> SqlMailStore:
    return SqlMailStore(database)


async def contents(database: Database) -> int:
    return await database.read(
        lambda connection: connection.scalar(select(func.count()).select_from(schema.contents)) or 0
    )


async def test_one_message_for_several_accounts_is_stored_once(
    mail: SqlMailStore, database: Database
) -> None:
    await mail.deliver([1, 2, 1], b"Subject: x\r\n\r\n\0\xff", WHEN)
    assert await contents(database) == 1
    for account_id in (1, 2):
        (inbox,) = await mail.mailboxes(account_id)
        (message,) = await mail.messages(inbox.id)
        assert (message.uid, message.size, message.flags) == (1, 16, frozenset())
        assert message.internal_date == WHEN
        assert await mail.content(message.id) == b"Subject: x\r\n\r\n\0\xff"
        assert (await mail.mailboxes(account_id))[0].uid_next == 2


async def test_all_or_none(mail: SqlMailStore, database: Database) -> None:
    with pytest.raises(Exception, match="FOREIGN KEY"):
        await mail.deliver([1, 99], b"x", WHEN)
    (inbox,) = await mail.mailboxes(1)
    assert await mail.messages(inbox.id) == []
    assert await contents(database) == 0


async def test_it_is_there_after_a_restart(mail: SqlMailStore, database: Database) -> None:
    await mail.deliver([1], b"kept", WHEN)
    inbox = (await mail.mailboxes(1))[0]
    await database.close()
    again = await Database.open(str(database.url), synced=False)
    try:
        mail = SqlMailStore(again)
        assert (await mail.mailboxes(1))[0].uid_validity == inbox.uid_validity
        assert await mail.content((await mail.messages(inbox.id))[0].id) == b"kept"
    finally:
        await again.close()


async def test_the_content_goes_with_its_last_message(mail: SqlMailStore, database: Database) -> None:
    await mail.deliver([1, 2], b"shared", WHEN)
    first = (await mail.mailboxes(1))[0]
    second = (await mail.mailboxes(2))[0]
    (message,) = await mail.messages(first.id)
    await mail.remove(first.id, [message.id])
    assert await contents(database) == 1
    with pytest.raises(LookupError):
        await mail.content(message.id)
    await mail.remove(second.id, [other.id for other in await mail.messages(second.id)])
    assert await contents(database) == 0
    await mail.remove(second.id, [12345])


async def test_a_message_of_another_mailbox_is_not_removed(mail: SqlMailStore) -> None:
    await mail.deliver([1, 2], b"x", WHEN)
    first = (await mail.mailboxes(1))[0]
    second = (await mail.mailboxes(2))[0]
    (message,) = await mail.messages(first.id)
    await mail.remove(second.id, [message.id])
    await mail.set_flags(second.id, {message.id: frozenset({"\\Seen"})})
    assert await mail.messages(first.id) == [message]


async def test_mailboxes(mail: SqlMailStore) -> None:
    assert [mailbox.name for mailbox in await mail.mailboxes(1)] == ["INBOX"]
    created = await mail.create(1, "Archive")
    await mail.create(1, "Ärger")
    await mail.create(2, "Archive")
    assert created.subscribed
    assert [mailbox.name for mailbox in await mail.mailboxes(1)] == ["INBOX", "Archive", "Ärger"]
    with pytest.raises(MailboxExists):
        await mail.create(1, "Archive")
    with pytest.raises(MailboxExists):
        await mail.rename(created.id, "INBOX")
    await mail.rename(created.id, "Old")
    await mail.subscribe(created.id, False)
    found = {mailbox.name: mailbox for mailbox in await mail.mailboxes(1)}
    assert found["Old"].id == created.id
    assert not found["Old"].subscribed
    for missing in (mail.rename(99, "x"), mail.subscribe(99, True), mail.append(99, b"x", frozenset(), WHEN)):
        with pytest.raises(LookupError):
            await missing


async def test_a_mailbox_made_again_has_another_validity(mail: SqlMailStore, database: Database) -> None:
    first = await mail.create(1, "Again")
    await mail.append(first.id, b"x", frozenset(), WHEN)
    await mail.delete(first.id)
    assert await contents(database) == 0
    second = await mail.create(1, "Again")
    assert second.uid_validity > first.uid_validity
    assert second.uid_next == 1


async def test_uids_are_never_given_twice(mail: SqlMailStore) -> None:
    inbox = (await mail.mailboxes(1))[0]
    last = await mail.append(inbox.id, b"x", frozenset({"\\Seen", "$Label"}), WHEN)
    await mail.remove(inbox.id, [last.id])
    again = await mail.append(inbox.id, b"x", frozenset(), WHEN)
    assert (last.uid, again.uid) == (1, 2)
    assert await mail.messages(inbox.id) == [again]


async def test_flags(mail: SqlMailStore) -> None:
    inbox = (await mail.mailboxes(1))[0]
    one = await mail.append(inbox.id, b"x", frozenset({"\\Seen"}), WHEN)
    two = await mail.append(inbox.id, b"y", frozenset(), WHEN)
    await mail.set_flags(
        inbox.id, {one.id: frozenset(), two.id: frozenset({"\\Draft", "Work"}), 99: frozenset()}
    )
    assert [message.flags for message in await mail.messages(inbox.id)] == [frozenset(), {"\\Draft", "Work"}]


async def test_copies_keep_flags_dates_and_order(mail: SqlMailStore, database: Database) -> None:
    inbox = (await mail.mailboxes(1))[0]
    one = await mail.append(inbox.id, b"one", frozenset({"\\Seen"}), WHEN)
    two = await mail.append(inbox.id, b"two", frozenset(), WHEN)
    target = await mail.create(1, "Target")
    await mail.copy(inbox.id, [two.id, one.id], target.id)
    copies = await mail.messages(target.id)
    assert [(copy.uid, copy.flags, copy.internal_date) for copy in copies] == [
        (1, {"\\Seen"}, WHEN),
        (2, frozenset(), WHEN),
    ]
    assert await mail.content(copies[0].id) == b"one"
    assert await contents(database) == 2
    with pytest.raises(LookupError):
        await mail.copy(inbox.id, [one.id, 99], target.id)
    with pytest.raises(LookupError):
        await mail.copy(inbox.id, [one.id], 99)
    assert len(await mail.messages(target.id)) == 2


async def test_many_messages_at_once(mail: SqlMailStore, database: Database) -> None:
    inbox = (await mail.mailboxes(1))[0]
    for _ in range(3):
        await mail.append(inbox.id, b"x", frozenset(), WHEN)
    target = await mail.create(1, "Many")
    for _ in range(9):
        await mail.copy(inbox.id, [message.id for message in await mail.messages(inbox.id)], inbox.id)
    ids = [message.id for message in await mail.messages(inbox.id)]
    assert len(ids) == 1536
    await mail.copy(inbox.id, ids, target.id)
    await mail.remove(inbox.id, ids)
    assert await mail.messages(inbox.id) == []
    assert len(await mail.messages(target.id)) == 1536
    assert await contents(database) == 3


async def test_watchers_hear_of_every_change_after_it_is_stored(mail: SqlMailStore) -> None:
    inbox = (await mail.mailboxes(1))[0]
    heard: list[str] = []
    stop = mail.watch(inbox.id, lambda: heard.append("inbox"))
    await mail.deliver([2], b"x", WHEN)
    assert heard == []
    await mail.deliver([1, 2], b"x", WHEN)
    (message,) = await mail.messages(inbox.id)
    await mail.set_flags(inbox.id, {message.id: frozenset({"\\Seen"})})
    await mail.copy(inbox.id, [message.id], inbox.id)
    await mail.remove(inbox.id, [message.id])
    assert heard == ["inbox"] * 4
    stop()
    stop()
    await mail.deliver([1], b"x", WHEN)
    assert heard == ["inbox"] * 4
