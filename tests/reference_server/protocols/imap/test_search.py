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


async def test_searches(site: Any, connect: Connect) -> None:
    wire = await selected(site, connect)
    await wire.tagged(b"STORE 2 FLAGS (\\Seen $Important)")
    for query, numbers in {
        b"ALL": b" 1 2 3",
        b"2:*": b" 2 3",
        b"NOT 2": b" 1 3",
        b"OR SEEN 3": b" 2 3",
        b"(UNSEEN) SUBJECT 1": b" 1",
        b'FROM "x@REMOTE" TEXT "body 3"': b" 3",
        b"KEYWORD $Important": b" 2",
        b"UNKEYWORD $Important": b" 1 3",
        b"BODY message": b"",
        b"TEXT message": b" 1 2 3",
        b'HEADER Subject "MESSAGE 2"': b" 2",
        b'HEADER Subject ""': b" 1 2 3",
        b'HEADER X-No ""': b"",
        b"ON 1-Feb-2026": b" 1 2 3",
        b"SINCE 2-Feb-2026": b"",
        b"BEFORE 2-Feb-2026 LARGER 10": b" 1 2 3",
        b"SMALLER 10": b"",
        b"CHARSET UTF-8 SUBJECT {7+}\r\nmessage": b" 1 2 3",
        b"RECENT": b"",
        b"UID 1:2 NOT 1": b" 2",
    }.items():
        assert (await wire.tagged(b"SEARCH " + query))[0] == b"* SEARCH" + numbers + b"\r\n", query
    assert (await wire.tagged(b"SEARCH CHARSET KOI8-R ALL"))[-1].startswith(b"t NO [BADCHARSET ")
    assert (await wire.tagged(b"SEARCH BOGUS x"))[-1].startswith(b"t BAD ")
    assert (await wire.tagged(b"SEARCH " + b"(" * 60 + b"ALL" + b")" * 60))[-1].startswith(b"t BAD ")
