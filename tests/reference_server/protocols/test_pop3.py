from __future__ import annotations

import asyncio
import poplib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from reference_server.protocols.pop3 import stuffed, top
from reference_server.settings import ConnectionSecurity, IpRange, Protocol

from .conftest import Site, Wire

Connect = Callable[..., Awaitable[Wire]]
Ranged = Callable[..., IpRange]
MESSAGES = [
    b"Subject: one\r\n\r\n.line\r\n..\r\nlast\r\n",
    b"Subject: two\r\n\r\nbody\r\n",
    b"Subject: no end",
]


async def delivered(site: Site) -> None:
    for content in MESSAGES:
        await site.mail.deliver([1], content, datetime.now(UTC))


async def logged_in(site: Site, connect: Connect, address: str = "::1") -> Wire:
    wire = await connect(await site.listen(Protocol.POP3, address=address), address)
    assert (await wire.line()).startswith(b"+OK ")
    assert (await wire.talk(b"USER ann@example.test\r\n")).startswith(b"+OK ")
    assert (await wire.talk(b'PASS se cret"\\\r\n')).startswith(b"+OK ")
    return wire


async def multiline(wire: Wire, command: bytes) -> bytes:
    assert (await wire.talk(command + b"\r\n")).startswith(b"+OK")
    lines = []
    while (line := await wire.line()) != b".\r\n":
        assert line
        lines.append(line)
    return b"".join(lines)


@pytest.mark.parametrize("address", ["::1", "127.0.0.1"])
async def test_poplib_reads_and_deletes(site: Site, address: str) -> None:
    await delivered(site)
    port = await site.listen(Protocol.POP3, address=address)

    def session() -> None:
        client = poplib.POP3(address, port, timeout=30)
        client.user("ANN@example.test")
        client.pass_('se cret"\\')
        assert client.stat() == (3, sum(map(len, MESSAGES)))
        assert client.list()[1] == [b"%d %d" % (n, len(m)) for n, m in enumerate(MESSAGES, 1)]
        uids = [line.split()[1] for line in client.uidl()[1]]
        assert len(set(uids)) == 3
        assert client.uidl(2).split()[2] == uids[1]
        assert client.retr(1)[1] == MESSAGES[0].splitlines()
        assert client.retr(3)[1] == [MESSAGES[2]]
        assert client.top(1, 1)[1] == [b"Subject: one", b"", b".line"]
        client.dele(1)
        assert client.stat()[0] == 2
        client.rset()
        client.dele(2)
        client.noop()
        client.quit()

    await asyncio.to_thread(session)
    (inbox,) = await site.mail.mailboxes(1)
    assert [message.uid for message in await site.mail.messages(inbox.id)] == [1, 3]
    assert await site.ended() == ["quit"]


async def test_without_quit_nothing_is_deleted(site: Site, connect: Connect) -> None:
    await delivered(site)
    wire = await logged_in(site, connect)
    assert (await wire.talk(b"DELE 1\r\n")).startswith(b"+OK")
    await wire.close()
    await site.ended()
    (inbox,) = await site.mail.mailboxes(1)
    assert len(await site.mail.messages(inbox.id)) == 3


@pytest.mark.parametrize(
    "command",
    [
        b"RETR 0",
        b"RETR 4",
        b"RETR",
        b"RETR -1",
        b"RETR 99999999999999999999",
        "RETR ²".encode(),
        b"LIST 9",
        b"UIDL 9",
        b"DELE 9",
        b"TOP 1",
        b"TOP 1 x",
        b"TOP 9 1",
        b"USER x",
        b"PASS x",
        b"STLS",
        b"APOP x y",
        b"AUTH PLAIN",
        b"BOGUS",
        b"",
    ],
)
async def test_wrong_commands_are_refused_and_the_session_goes_on(
    site: Site, connect: Connect, command: bytes
) -> None:
    await delivered(site)
    wire = await logged_in(site, connect)
    assert (await wire.talk(command + b"\r\n")).startswith(b"-ERR ")
    assert (await wire.talk(b"STAT\r\n")).startswith(b"+OK 3 ")


async def test_a_marked_message_is_not_there(site: Site, connect: Connect) -> None:
    await delivered(site)
    wire = await logged_in(site, connect)
    await wire.talk(b"DELE 2\r\n")
    for command in (b"RETR 2", b"DELE 2", b"LIST 2", b"UIDL 2", b"TOP 2 1"):
        assert (await wire.talk(command + b"\r\n")).startswith(b"-ERR ")
    assert [line.split()[0] for line in (await multiline(wire, b"LIST")).splitlines()] == [b"1", b"3"]
    assert [line.split()[0] for line in (await multiline(wire, b"uidl")).splitlines()] == [b"1", b"3"]


async def test_a_message_that_another_session_deleted(site: Site, connect: Connect) -> None:
    await delivered(site)
    wire = await logged_in(site, connect)
    (inbox,) = await site.mail.mailboxes(1)
    first = (await site.mail.messages(inbox.id))[0]
    await site.mail.remove(inbox.id, [first.id])
    assert (await wire.talk(b"RETR 1\r\n")).startswith(b"-ERR ")
    assert (await wire.talk(b"DELE 1\r\n")).startswith(b"+OK")
    assert (await wire.talk(b"QUIT\r\n")).startswith(b"+OK")


async def test_capa_is_honest(site: Site, connect: Connect, ranged: Ranged) -> None:
    plain = await connect(await site.listen(Protocol.POP3))
    greeting = await plain.line()
    assert b"<" not in greeting  # no APOP
    assert b"USER" in (await multiline(plain, b"CAPA")).splitlines()
    assert b"STLS" not in (await multiline(plain, b"CAPA")).splitlines()

    port = await site.listen(
        Protocol.POP3,
        security=ConnectionSecurity.STARTTLS_OPTIONAL,
        ip_range=ranged(require_tls_for_auth=True),
    )
    wire = await connect(port)
    await wire.line()
    capabilities = (await multiline(wire, b"CAPA")).splitlines()
    assert b"STLS" in capabilities
    assert b"USER" not in capabilities
    assert (await wire.talk(b"USER ann@example.test\r\n")).startswith(b"-ERR TLS is required")
    assert (await wire.talk(b"STLS\r\n")).startswith(b"+OK")
    await wire.start_tls(site.certificates.client)
    capabilities = (await multiline(wire, b"CAPA")).splitlines()
    assert b"STLS" not in capabilities
    assert b"USER" in capabilities
    assert (await wire.talk(b"USER ann@example.test\r\n")).startswith(b"+OK")
    assert (await wire.talk(b'PASS se cret"\\\r\n')).startswith(b"+OK")
    assert b"STLS" not in await multiline(wire, b"CAPA")


async def test_starttls_required_refuses_a_login_in_clear(site: Site, connect: Connect) -> None:
    port = await site.listen(Protocol.POP3, security=ConnectionSecurity.STARTTLS_REQUIRED)
    wire = await connect(port)
    await wire.line()
    assert (await wire.talk(b"USER ann@example.test\r\n")).startswith(b"-ERR ")
    assert (await wire.talk(b'PASS se cret"\\\r\n')).startswith(b"-ERR ")


async def test_bytes_after_stls_are_dropped(site: Site, connect: Connect) -> None:
    wire = await connect(await site.listen(Protocol.POP3, security=ConnectionSecurity.STARTTLS_OPTIONAL))
    await wire.line()
    wire.send(b"STLS\r\nUSER bob@example.test\r\n")
    assert (await wire.line()).startswith(b"+OK")
    await wire.start_tls(site.certificates.client)
    assert (await wire.talk(b"PASS pwb\r\n")).startswith(b"-ERR USER")


async def test_failed_logins(site: Site, connect: Connect) -> None:
    wire = await connect(await site.listen(Protocol.POP3))
    await wire.line()
    assert (await wire.talk(b"PASS x\r\n")).startswith(b"-ERR ")
    assert (await wire.talk(b"STAT\r\n")).startswith(b"-ERR not in this state")
    for _ in range(5):
        assert (await wire.talk(b"USER ann@example.test\r\n")).startswith(b"+OK")
        assert (await wire.talk(b"PASS wrong\r\n")).startswith(b"-ERR [AUTH] ")
    assert await wire.rest() == b""
    assert await site.ended() == ["too many failed logins"]


async def test_pipelined_login(site: Site, connect: Connect) -> None:
    await delivered(site)
    wire = await connect(await site.listen(Protocol.POP3))
    wire.send(b"USER bob@example.test\r\nPASS pwb\r\nSTAT\nQUIT\r\n")
    assert (await wire.rest()).splitlines()[-2:] == [b"+OK 0 0", b"+OK bye"]


async def test_the_welcome_offers_no_apop(site: Site, connect: Connect) -> None:
    site.settings = replace(site.settings, welcome_pop3="Hello <1.2@x>")
    assert await (await connect(await site.listen(Protocol.POP3))).line() == b"+OK Hello (1.2@x)\r\n"


async def test_a_long_line(site: Site, connect: Connect) -> None:
    wire = await logged_in(site, connect)
    assert (await wire.talk(b"NOOP " + b"x" * 5000 + b"\r\n")).startswith(b"-ERR line")
    assert (await wire.talk(b"NOOP\r\n")).startswith(b"+OK")


def test_stuffing_at_the_edges_of_slices() -> None:
    for length in (65_534, 65_535, 65_536, 65_537):
        content = b"x" * length + b"\r\n.dot\r\n" + b"y" * 70_000 + b"\r\n.\r\n"
        assert b"".join(stuffed(content)) == content.replace(b"\r\n.", b"\r\n..") + b".\r\n"
    assert b"".join(stuffed(b".a\r\n")) == b"..a\r\n.\r\n"
    assert b"".join(stuffed(b"a")) == b"a\r\n.\r\n"
    assert b"".join(stuffed(b"")) == b".\r\n"


def test_top() -> None:
    content = b"A: b\r\n\r\n1\r\n2\r\n3"
    assert top(content, 0) == b"A: b\r\n\r\n"
    assert top(content, 2) == b"A: b\r\n\r\n1\r\n2\r\n"
    assert top(content, 9) == content
    assert top(b"A: b\r\n", 1) == b"A: b\r\n"
