"""Outgoing mail in the database: what waits, who is sending it, when it is tried next.

A message is the property of one worker at a time: `lease` gives it away, `settle` and `release` take it back.
A lease is held in the database under the name of the process's run, so that what a killed process was
sending is seen, and sent again, by the next one; a run's own leases never end by time. Recipients that are
reached, or given up, are removed in the same transaction that stores the report to the sender.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, or_, select, update

from reference_server import limits
from reference_server.addresses import IPAddress
from reference_server.session import NewMail
from reference_server.storage import contents
from reference_server.storage.addresses import address_from
from reference_server.storage.database import Database
from reference_server.storage.mailboxes import SqlMailStore, deposit
from reference_server.storage.schema import accounts, queue_messages, queue_recipients
from reference_server.storage.schema import contents as content_rows


@dataclass(frozen=True, slots=True)
class Recipient:
    """A recipient that is due. ``tries``: how many were made before."""

    id: int
    address: str
    tries: int


@dataclass(frozen=True, slots=True)
class Leased:
    """A message that is ours to send, with the recipients that are due."""

    id: int
    sender: str
    """Empty: the null sender."""
    size: int
    eight_bit: bool
    """It has octets above 127 (RFC 6152)."""
    received: datetime
    trace_id: str
    helo: str
    peer: IPAddress | None
    recipients: tuple[Recipient, ...]
    content: bytes | None = None
    """The octets to send, of a small message; else to be asked for: `SqlMailQueue.content`."""


@dataclass(frozen=True, slots=True)
class Later:
    """A recipient is tried again at ``next_try``; ``tries`` were made, the last one ended with ``reply``."""

    next_try: datetime
    tries: int
    reply: str


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of recipients of a leased message."""

    message_id: int
    done: tuple[int, ...] = ()
    """Recipients that were reached or given up: they need nothing more."""
    later: Mapping[int, Later] = field(default_factory=dict)
    reports: tuple[NewMail, ...] = ()
    """Stored in the same transaction: to accounts, or to recipients of their own."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A waiting message, for people."""

    id: int
    sender: str
    recipients: tuple[str, ...]
    next_try: datetime


class SqlMailQueue:
    """The queue in SQL (implements `session.MailQueue`). One per database and process."""

    def __init__(self, database: Database, mail: SqlMailStore) -> None:
        self._database = database
        self._mail = mail
        self._owner = secrets.token_hex(16)

    async def recover(self) -> int:
        """Take back what earlier runs were sending; return how many messages that are.

        At start: a database belongs to one process, so no other run can be alive.
        """
        rows = queue_messages.c
        statement = (
            update(queue_messages)
            .where(rows.lease_owner.is_not(None), rows.lease_owner != self._owner)
            .values(lease_owner=None, lease_until=None)
        )
        return await self._database.write(lambda connection: connection.execute(statement).rowcount)

    async def accept(self, mail: NewMail) -> None:
        """See `session.MailQueue`. Raises for an account that is gone."""
        validity = self._mail.new_validity()
        changed = await self._database.write(lambda connection: _keep(connection, mail, validity))
        self._mail.changed(changed)

    async def lease(self, now: datetime, limit: int, mine: Collection[int] = ()) -> list[Leased]:
        """Return at most ``limit`` messages that are due, earliest first; they are ours until settled.

        ``mine`` are the ids that this run is sending now. Another run's lease ends by time; one of ours that
        is not in ``mine`` is one that could not be given back.
        """
        rows = queue_messages.c
        ours = rows.lease_owner == self._owner
        free = or_(rows.lease_owner.is_(None), rows.lease_until <= now, ours)
        due = (
            select(queue_messages)
            .where(rows.next_try <= now, free, rows.id.not_in(tuple(mine)))
            .order_by(rows.next_try, rows.id)
            .limit(limit)
        )
        until = now + timedelta(seconds=limits.QUEUE_LEASE)

        def work(connection: Connection) -> list[Leased]:
            found = connection.execute(due).all()
            if not found:
                return []
            ids = [row.id for row in found]
            connection.execute(
                update(queue_messages)
                .where(rows.id.in_(ids))
                .values(lease_owner=self._owner, lease_until=until)
            )
            recipients = _due_recipients(connection, ids, now)
            texts = _small_texts(connection, [row for row in found if row.size <= limits.QUEUE_SMALL])
            return [_leased(row, recipients.get(row.id, []), texts.get(row.id)) for row in found]

        # Nothing is written, and nothing synced, when nothing is due.
        if not await self._database.read(lambda connection: connection.execute(due.limit(1)).all()):
            return []
        return await self._database.write(work)

    async def content(self, message_id: int) -> bytes:
        """Return the octets to send. Raises LookupError for a message that was deleted."""
        query = (
            select(content_rows.c.octets, queue_messages.c.skip)
            .join(queue_messages, queue_messages.c.content_id == content_rows.c.id)
            .where(queue_messages.c.id == message_id)
        )
        row = await self._database.read(lambda connection: connection.execute(query).first())
        if row is None:
            raise LookupError(f"queued message {message_id} is gone")
        return bytes(row.octets)[row.skip :]

    async def settle(self, settlement: Settlement, *, release: bool = True) -> bool:
        """Keep what became of recipients; say whether the message was still ours.

        If it was not (deleted meanwhile), nothing is kept, reports included. ``release``: give the message
        back; without it other recipients are still being tried.
        """
        validity = self._mail.new_validity()

        def work(connection: Connection) -> list[int] | None:
            return _settle(connection, settlement, self._owner, validity, release)

        changed = await self._database.write(work)
        self._mail.changed(changed or ())
        return changed is not None

    async def release(self, message_ids: Sequence[int]) -> None:
        """Give messages back as they are: they are due as before."""

        def work(connection: Connection) -> None:
            for some in contents.batches(message_ids):
                mine = queue_messages.c.id.in_(some), queue_messages.c.lease_owner == self._owner
                connection.execute(
                    update(queue_messages).where(*mine).values(lease_owner=None, lease_until=None)
                )

        await self._database.write(work)

    async def next_due(self, mine: Collection[int] = ()) -> datetime | None:
        """Return when the next message is due that is not in ``mine``; None: nothing waits."""
        rows = queue_messages.c
        ours = or_(rows.lease_owner.is_(None), rows.lease_owner == self._owner)
        # What another run holds is looked at when its lease ends.
        moment = func.min(rows.next_try).filter(ours), func.min(rows.lease_until).filter(~ours)
        query = select(*moment).where(rows.id.not_in(tuple(mine)))
        row = await self._database.read(lambda connection: connection.execute(query).one())
        return min((each for each in row if each is not None), default=None)


def queued(connection: Connection) -> list[Queued]:
    """Return every waiting message, by id, with the recipients that are left."""
    addresses: dict[int, list[str]] = {}
    rows = queue_recipients.c
    for row in connection.execute(select(rows.message_id, rows.address).order_by(rows.id)):
        addresses.setdefault(row.message_id, []).append(row.address)
    messages = queue_messages.c
    query = select(messages.id, messages.sender, messages.next_try).order_by(messages.id)
    return [
        Queued(row.id, row.sender, tuple(addresses.get(row.id, ())), row.next_try)
        for row in connection.execute(query)
    ]


def retry(connection: Connection, message_id: int, now: datetime) -> bool:
    """Make every recipient of a message due at ``now``; say whether there is such a message."""
    statement = update(queue_messages).where(queue_messages.c.id == message_id).values(next_try=now)
    connection.execute(
        update(queue_recipients).where(queue_recipients.c.message_id == message_id).values(next_try=now)
    )
    return connection.execute(statement).rowcount > 0


def remove(connection: Connection, message_id: int) -> bool:
    """Delete a message, with no report to anybody; say whether there was one."""
    content_id = connection.scalar(
        select(queue_messages.c.content_id).where(queue_messages.c.id == message_id)
    )
    if content_id is None:
        return False
    _remove(connection, message_id, content_id)
    return True


# Made once: to build a statement takes longer than to run it.
_INSERT_MESSAGE = insert(queue_messages)
_INSERT_RECIPIENT = insert(queue_recipients)
_DELETE_MESSAGE = delete(queue_messages).where(queue_messages.c.id == bindparam("message"))
_DELETE_RECIPIENT = delete(queue_recipients).where(queue_recipients.c.id == bindparam("recipient"))
_OURS = select(
    queue_messages.c.content_id,
    select(func.count(queue_recipients.c.id))
    .where(queue_recipients.c.message_id == queue_messages.c.id)
    .scalar_subquery()
    .label("recipients"),
).where(queue_messages.c.id == bindparam("message"), queue_messages.c.lease_owner == bindparam("owner"))


def _keep(connection: Connection, mail: NewMail, validity: int) -> list[int]:
    """Store a message for everybody; return the mailboxes that changed."""
    content_id = contents.add(connection, mail.content)
    if mail.remote:
        _enqueue(connection, mail, content_id)
    return deposit(connection, mail.local, content_id, len(mail.content), mail.received, validity)


def _enqueue(connection: Connection, mail: NewMail, content_id: int) -> None:
    values = {
        "sender": mail.sender,
        "content_id": content_id,
        "skip": mail.skip,
        "size": len(mail.content) - mail.skip,
        "eight_bit": not mail.content.isascii(),
        "received": mail.received,
        "trace_id": mail.trace_id,
        "helo": mail.helo,
        "family": mail.peer.version if mail.peer is not None else None,
        "peer": mail.peer,
        "next_try": mail.received,
    }
    key = connection.execute(_INSERT_MESSAGE, values).inserted_primary_key
    assert key is not None
    recipient = {"message_id": key[0], "tries": 0, "next_try": mail.received, "last_reply": ""}
    connection.execute(
        _INSERT_RECIPIENT, [{**recipient, "address": address} for address in dict.fromkeys(mail.remote)]
    )


def _due_recipients(
    connection: Connection, message_ids: Sequence[int], now: datetime
) -> dict[int, list[Recipient]]:
    rows = queue_recipients.c
    query = (
        select(rows.id, rows.message_id, rows.address, rows.tries)
        .where(rows.message_id.in_(message_ids), rows.next_try <= now)
        .order_by(rows.id)
    )
    found: dict[int, list[Recipient]] = {}
    for row in connection.execute(query):
        found.setdefault(row.message_id, []).append(Recipient(row.id, row.address, row.tries))
    return found


def _small_texts(connection: Connection, rows: Sequence[Row[Any]]) -> dict[int, bytes]:
    """Return the octets to send of messages, by their ids."""
    columns = content_rows.c
    query = select(columns.id, columns.octets).where(columns.id.in_([row.content_id for row in rows]))
    texts = {row.id: row.octets for row in connection.execute(query)}
    return {row.id: bytes(texts[row.content_id])[row.skip :] for row in rows}


def _leased(row: Row[Any], recipients: list[Recipient], content: bytes | None) -> Leased:
    return Leased(
        id=row.id,
        sender=row.sender,
        size=row.size,
        eight_bit=row.eight_bit,
        received=row.received,
        trace_id=row.trace_id,
        helo=row.helo,
        peer=None if row.peer is None else address_from(row.family, row.peer),
        recipients=tuple(recipients),
        content=content,
    )


def _settle(
    connection: Connection, settlement: Settlement, owner: str, validity: int, release: bool
) -> list[int] | None:
    """Return the mailboxes that changed; None when the message is not ours."""
    rows, recipients = queue_messages.c, queue_recipients.c
    ours = connection.execute(_OURS, {"message": settlement.message_id, "owner": owner}).first()
    if ours is None:
        return None
    if len(settlement.done) == ours.recipients:
        _remove(connection, settlement.message_id, ours.content_id)
    else:
        if settlement.done:
            connection.execute(_DELETE_RECIPIENT, [{"recipient": each} for each in settlement.done])
        for recipient_id, later in settlement.later.items():
            values = {"next_try": later.next_try, "tries": later.tries, "last_reply": later.reply}
            connection.execute(update(queue_recipients).where(recipients.id == recipient_id).values(values))
        next_try = select(func.min(recipients.next_try)).where(recipients.message_id == settlement.message_id)
        lease = {"lease_owner": None, "lease_until": None} if release else {}
        connection.execute(
            update(queue_messages)
            .where(rows.id == settlement.message_id)
            .values(next_try=next_try.scalar_subquery(), **lease)
        )
    changed = []
    for report in settlement.reports:
        # An account may be deleted at any time: the report to it is not worth the settlement.
        there = connection.scalars(select(accounts.c.id).where(accounts.c.id.in_(report.local))).all()
        if there or report.remote:
            kept = NewMail(
                report.sender, report.content, report.skip, report.received, tuple(there), report.remote
            )
            changed += _keep(connection, kept, validity)
    return changed


def _remove(connection: Connection, message_id: int, content_id: int) -> None:
    """Delete a message, its recipients, and its text unless a local copy shares it."""
    connection.execute(_DELETE_MESSAGE, {"message": message_id})
    contents.drop_if_unused(connection, content_id)
