from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from reference_server.session import StoredMessage
from reference_server.settings import IpRange, Protocol

Connect = Callable[..., Awaitable[Any]]
Ranged = Callable[..., IpRange]
LOGIN = b'LOGIN ann@example.test "se cret\\"\\\\"'
WHEN = datetime(2026, 2, 1, 12, 30, tzinfo=UTC)


async def delivered(site: Any, count: int = 3, account: int = 1) -> None:
    for number in range(1, count + 1):
        content = b"From: X <x@remote.test>\r\nSubject: message %d\r\n\r\nbody %d\r\n" % (number, number)
        await site.mail.deliver([account], content, WHEN)


async def inbox(site: Any) -> list[StoredMessage]:
    return list(await site.mail.messages((await site.mail.mailboxes(1))[0].id))


async def logged_in(site: Any, connect: Connect, address: str = "::1") -> Any:
    wire = await connect(await site.listen(Protocol.IMAP, address=address), address)
    assert (await wire.line()).startswith(b"* OK [CAPABILITY IMAP4rev1 ")
    assert (await wire.tagged(LOGIN))[-1].startswith(b"t OK ")
    return wire


async def selected(site: Any, connect: Connect, count: int = 3) -> Any:
    await delivered(site, count)
    wire = await logged_in(site, connect)
    assert (await wire.tagged(b"SELECT INBOX"))[-1] == b"t OK [READ-WRITE] SELECT completed\r\n"
    return wire


async def test_mailboxes(site: Any, connect: Connect) -> None:
    wire = await selected(site, connect)

    async def names(pattern: bytes = b'LIST "" *') -> list[bytes]:
        return [line.split(b'"/" ')[1].strip() for line in (await wire.tagged(pattern))[:-1]]

    assert (await wire.tagged(b"CREATE Work/2026/May"))[-1].startswith(b"t OK ")
    assert (await wire.tagged(b'CREATE "&AOk-t&AOk-"'))[-1].startswith(b"t OK ")
    assert await names() == [b'"INBOX"', b'"Work"', b'"Work/2026"', b'"Work/2026/May"', b'"&AOk-t&AOk-"']
    assert await names(b'LIST "" %') == [b'"INBOX"', b'"Work"', b'"&AOk-t&AOk-"']
    assert await names(b"LIST Work/ %") == [b'"Work/2026"']
    assert await names(b'LIST "" inbox') == [b'"INBOX"']
    assert (await wire.tagged(b'LIST "" ""'))[0] == b'* LIST (\\Noselect) "/" ""\r\n'
    assert (await wire.tagged(b'LIST "" Work'))[0] == b'* LIST (\\HasChildren) "/" "Work"\r\n'
    await wire.tagged(b"UNSUBSCRIBE Work")
    assert b'"Work"' not in await names(b'LSUB "" *')
    await wire.tagged(b"SUBSCRIBE Work")
    assert b'"Work"' in await names(b'LSUB "" *')
    assert (await wire.tagged(b"RENAME Work Job/Old"))[-1].startswith(b"t OK ")
    assert await names(b'LIST "" J*') == [b'"Job"', b'"Job/Old"', b'"Job/Old/2026"', b'"Job/Old/2026/May"']
    assert (await wire.tagged(b"DELETE Job"))[-1].startswith(b"t NO [HASCHILDREN]")
    assert (await wire.tagged(b"DELETE Job/Old/2026/May"))[-1].startswith(b"t OK ")
    assert (await wire.tagged(b"DELETE INBOX"))[-1].startswith(b"t NO ")
    for wrong in (
        b"CREATE inbox",
        b"CREATE Job",
        b"CREATE a//b",
        b"CREATE {3+}\r\na*b",
        b"CREATE " + b"x" * 300,
    ):
        assert (await wire.tagged(wrong))[-1].startswith(b"t NO "), wrong
    assert (await wire.tagged(b"RENAME Job Job/x"))[-1].startswith(b"t NO ")
    assert (await wire.tagged(b"RENAME Job INBOX"))[-1].startswith(b"t NO ")
    assert (await wire.tagged(b"RENAME INBOX Archive"))[-1].startswith(b"t OK ")
    status = (await wire.tagged(b"STATUS Archive (MESSAGES UNSEEN UIDNEXT RECENT)"))[0:4]
    assert b'* STATUS "Archive" (MESSAGES 3 UNSEEN 3 UIDNEXT 4 RECENT 0)\r\n' in status
    assert (await wire.tagged(b"STATUS Archive (BOGUS)"))[-1].startswith(b"t BAD ")
    assert await inbox(site) == []


async def test_copy(site: Any, connect: Connect) -> None:
    wire = await selected(site, connect)
    await wire.tagged(b"STORE 2 +FLAGS (\\Seen)")
    assert (await wire.tagged(b"COPY 1 Nowhere"))[-1].startswith(b"t NO [TRYCREATE]")
    await wire.tagged(b"CREATE Target")
    assert (await wire.tagged(b"COPY 2:3 Target"))[-1].startswith(b"t OK ")
    assert (await wire.tagged(b"UID COPY 1 Target"))[-1].startswith(b"t OK ")
    target = (await site.mail.mailboxes(1))[1]
    copied = await site.mail.messages(target.id)
    assert [(message.uid, message.flags) for message in copied] == [
        (1, {"\\Seen"}),
        (2, frozenset()),
        (3, frozenset()),
    ]
    assert copied[0].internal_date == WHEN
    assert (await wire.tagged(b"COPY 1 INBOX"))[0] == b"* 4 EXISTS\r\n"


async def test_deleting_the_selected_mailbox(site: Any, connect: Connect) -> None:
    wire = await logged_in(site, connect)
    await wire.tagged(b"CREATE Gone")
    await wire.tagged(b"SELECT Gone")
    other = await logged_in(site, connect)
    assert (await other.tagged(b"DELETE Gone"))[-1].startswith(b"t OK ")
    assert (await wire.tagged(b"NOOP"))[-1].startswith(b"t OK ")
    assert (await wire.tagged(b"SELECT Gone"))[-1].startswith(b"t NO ")
