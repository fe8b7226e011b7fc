"""Mail of local accounts in the database: mailboxes, messages, contents (implements `session.MailStore`).

Each change is one transaction; it is committed and synced when the call returns.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, CursorResult, RowMapping, and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from reference_server.session import Mailbox, StoredMessage
from reference_server.storage.contents import add as add_content
from reference_server.storage.contents import batches, drop_unused
from reference_server.storage.database import Database
from reference_server.storage.schema import contents, mailboxes, messages

INBOX = "INBOX"


class MailboxExists(Exception):  # noqa: N818 - an answer
    """There is a mailbox of this name."""


class SqlMailStore:
    """Mail in SQL. One per database: its watchers hear of every change that goes through it.

    A mailbox or message that is not there (any more) raises LookupError.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watchers: dict[int, list[Callable[[], None]]] = defaultdict(list)
        self._last_validity = 0

    def watch(self, mailbox_id: int, changed: Callable[[], None]) -> Callable[[], None]:
        """Have ``changed`` called, in the loop, after each change of a mailbox; call the result to stop."""
        self._watchers[mailbox_id].append(changed)

        def stop() -> None:
            watchers = self._watchers.get(mailbox_id, [])
            if changed in watchers:
                watchers.remove(changed)
            if not watchers:
                self._watchers.pop(mailbox_id, None)

        return stop

    async def deliver(self, account_ids: Sequence[int], content: bytes, received: datetime) -> None:
        """Store one message in the INBOX of each account, all or none. Raises for an account that is gone."""
        validity = self.new_validity()

        def work(connection: Connection) -> list[int]:
            content_id = add_content(connection, content)
            return deposit(connection, account_ids, content_id, len(content), received, validity)

        self.changed(await self._database.write(work))

    async def mailboxes(self, account_id: int) -> list[Mailbox]:
        """Return the mailboxes of an account, INBOX first, the others by name; INBOX is made when missing."""
        query = select(mailboxes).where(mailboxes.c.account_id == account_id)

        def read(connection: Connection) -> list[Mailbox]:
            return [_mailbox(row) for row in connection.execute(query).mappings()]

        found = await self._database.read(read)
        if not any(mailbox.name == INBOX for mailbox in found):
            validity = self.new_validity()
            await self._database.write(lambda connection: _inbox(connection, account_id, validity))
            found = await self._database.read(read)
        return sorted(found, key=lambda mailbox: (mailbox.name != INBOX, mailbox.name))

    async def create(self, account_id: int, name: str) -> Mailbox:
        """Make a mailbox. Raises MailboxExists."""
        validity = self.new_validity()

        def work(connection: Connection) -> Mailbox:
            mailbox_id = _add_mailbox(connection, account_id, name, validity)
            return _find(connection, mailbox_id)

        try:
            return await self._database.write(work)
        except IntegrityError as error:
            raise MailboxExists(name) from error

    async def delete(self, mailbox_id: int) -> None:
        """Delete a mailbox and its messages."""

        def work(connection: Connection) -> None:
            ids = connection.scalars(select(messages.c.id).where(messages.c.mailbox_id == mailbox_id)).all()
            _remove(connection, mailbox_id, ids)
            connection.execute(delete(mailboxes).where(mailboxes.c.id == mailbox_id))

        await self._database.write(work)
        self.changed([mailbox_id])

    async def rename(self, mailbox_id: int, name: str) -> None:
        """Give a mailbox another name. Raises MailboxExists."""
        statement = update(mailboxes).where(mailboxes.c.id == mailbox_id).values(name=name)
        try:
            await self._database.write(lambda connection: _hit(connection.execute(statement).rowcount))
        except IntegrityError as error:
            raise MailboxExists(name) from error

    async def subscribe(self, mailbox_id: int, subscribed: bool) -> None:
        """Keep whether the user wants to see a mailbox in LSUB."""
        statement = update(mailboxes).where(mailboxes.c.id == mailbox_id).values(subscribed=subscribed)
        await self._database.write(lambda connection: _hit(connection.execute(statement).rowcount))

    async def messages(self, mailbox_id: int) -> list[StoredMessage]:
        """Return the messages of a mailbox by uid."""
        columns = messages.c
        query = (
            select(columns.id, columns.uid, columns.size, columns.internal_date, columns.flags)
            .where(messages.c.mailbox_id == mailbox_id)
            .order_by(messages.c.uid)
        )

        def read(connection: Connection) -> list[StoredMessage]:
            return [_message(row) for row in connection.execute(query).mappings()]

        return await self._database.read(read)

    async def content(self, message_id: int) -> bytes:
        """Return the octets of a message."""
        query = (
            select(contents.c.octets)
            .join(messages, messages.c.content_id == contents.c.id)
            .where(messages.c.id == message_id)
        )
        octets: bytes | None = await self._database.read(lambda connection: connection.scalar(query))
        if octets is None:
            raise LookupError(f"message {message_id} is gone")
        return bytes(octets)

    async def append(
        self, mailbox_id: int, content: bytes, flags: frozenset[str], internal_date: datetime
    ) -> StoredMessage:
        """Store a message in a mailbox."""

        def work(connection: Connection) -> StoredMessage:
            _find(connection, mailbox_id)
            content_id = add_content(connection, content)
            return _add_message(connection, mailbox_id, content_id, len(content), internal_date, flags)

        stored = await self._database.write(work)
        self.changed([mailbox_id])
        return stored

    async def set_flags(self, mailbox_id: int, flags: dict[int, frozenset[str]]) -> None:
        """Replace the flags of messages, by message id; of those that are gone, nothing."""

        def work(connection: Connection) -> None:
            for message_id, values in flags.items():
                where = and_(messages.c.id == message_id, messages.c.mailbox_id == mailbox_id)
                connection.execute(update(messages).where(where).values(flags=_flags_text(values)))

        await self._database.write(work)
        self.changed([mailbox_id])

    async def remove(self, mailbox_id: int, message_ids: Sequence[int]) -> None:
        """Delete messages of a mailbox; of those that are gone, nothing."""
        await self._database.write(lambda connection: _remove(connection, mailbox_id, message_ids))
        self.changed([mailbox_id])

    async def copy(self, mailbox_id: int, message_ids: Sequence[int], target_mailbox_id: int) -> None:
        """Copy messages with flags and dates, in order of uid, all or none."""

        def work(connection: Connection) -> None:
            _find(connection, target_mailbox_id)
            rows: list[RowMapping] = []
            for batch in batches(message_ids):
                where = and_(messages.c.mailbox_id == mailbox_id, messages.c.id.in_(batch))
                rows += connection.execute(select(messages).where(where)).mappings()
            if len(rows) != len(set(message_ids)):
                raise LookupError("a message is gone")
            for row in sorted(rows, key=lambda row: row["uid"]):
                _add_message(
                    connection,
                    target_mailbox_id,
                    row["content_id"],
                    row["size"],
                    row["internal_date"],
                    frozenset(row["flags"].split()),
                )

        await self._database.write(work)
        self.changed([target_mailbox_id])

    def new_validity(self) -> int:
        """Return a UIDVALIDITY above all before (RFC 9051 section 2.3.1.1): seconds, or the next number."""
        self._last_validity = max(int(time.time()), self._last_validity + 1)
        return self._last_validity

    def changed(self, mailbox_ids: Iterable[int]) -> None:
        """Tell the watchers of these mailboxes; for changes that came by another way (`queue`)."""
        for mailbox_id in mailbox_ids:
            for changed in tuple(self._watchers.get(mailbox_id, ())):
                changed()


def deposit(
    connection: Connection,
    account_ids: Sequence[int],
    content_id: int,
    size: int,
    received: datetime,
    validity: int,
) -> list[int]:
    """Put a stored text of ``size`` octets into the INBOX of each account; return the mailboxes.

    ``validity`` is `SqlMailStore.new_validity`'s, for an INBOX that has to be made. Raises for an account
    that is gone.
    """
    inboxes = [_inbox(connection, account_id, validity) for account_id in dict.fromkeys(account_ids)]
    for inbox_id in inboxes:
        _add_message(connection, inbox_id, content_id, size, received, frozenset())
    return inboxes


def _new_id(result: CursorResult[Any]) -> int:
    key = result.inserted_primary_key
    assert key is not None
    return int(key[0])


def _add_mailbox(connection: Connection, account_id: int, name: str, validity: int) -> int:
    result = connection.execute(
        insert(mailboxes).values(
            account_id=account_id, name=name, uid_validity=validity, uid_next=1, subscribed=True
        )
    )
    return _new_id(result)


def _inbox(connection: Connection, account_id: int, validity: int) -> int:
    """Return the id of an account's INBOX, made when missing."""
    where = and_(mailboxes.c.account_id == account_id, mailboxes.c.name == INBOX)
    found = connection.scalar(select(mailboxes.c.id).where(where))
    return _add_mailbox(connection, account_id, INBOX, validity) if found is None else int(found)


def _find(connection: Connection, mailbox_id: int) -> Mailbox:
    row = connection.execute(select(mailboxes).where(mailboxes.c.id == mailbox_id)).mappings().first()
    if row is None:
        raise LookupError(f"mailbox {mailbox_id} is gone")
    return _mailbox(row)


def _add_message(
    connection: Connection,
    mailbox_id: int,
    content_id: int,
    size: int,
    internal_date: datetime,
    flags: frozenset[str],
) -> StoredMessage:
    uid = _find(connection, mailbox_id).uid_next
    connection.execute(update(mailboxes).where(mailboxes.c.id == mailbox_id).values(uid_next=uid + 1))
    result = connection.execute(
        insert(messages).values(
            mailbox_id=mailbox_id,
            uid=uid,
            size=size,
            internal_date=internal_date,
            flags=_flags_text(flags),
            content_id=content_id,
        )
    )
    return StoredMessage(_new_id(result), uid, size, internal_date, flags)


def _remove(connection: Connection, mailbox_id: int, message_ids: Sequence[int]) -> None:
    """Delete messages, and the contents that no message needs any more."""
    for batch in batches(message_ids):
        where = and_(messages.c.mailbox_id == mailbox_id, messages.c.id.in_(batch))
        content_ids = connection.scalars(select(messages.c.content_id).where(where)).all()
        connection.execute(delete(messages).where(where))
        drop_unused(connection, content_ids)


def _hit(rows: int) -> None:
    if rows == 0:
        raise LookupError("the mailbox is gone")


def _flags_text(flags: frozenset[str]) -> str:
    return " ".join(sorted(flags))


def _mailbox(row: RowMapping) -> Mailbox:
    return Mailbox(
        id=row["id"],
        account_id=row["account_id"],
        name=row["name"],
        uid_validity=row["uid_validity"],
        uid_next=row["uid_next"],
        subscribed=row["subscribed"],
    )


def _message(row: RowMapping) -> StoredMessage:
    return StoredMessage(
        id=row["id"],
        uid=row["uid"],
        size=row["size"],
        internal_date=row["internal_date"],
        flags=frozenset(row["flags"].split()),
    )
