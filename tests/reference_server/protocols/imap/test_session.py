from __future__ import annotations

import asyncio
import imaplib
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from reference_server.session import StoredMessage
from reference_server.settings import ConnectionSecurity, IpRange, Protocol

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


@pytest.mark.parametrize("address", ["::1", "127.0.0.1"])
async def test_imaplib_reads_flags_and_deletes(site: Any, address: str) -> None:
    await delivered(site)
    port = await site.listen(Protocol.IMAP, address=address)

    def session() -> None:
        client = imaplib.IMAP4(address, port, timeout=30)
        client.login("ann@example.test", 'se cret"\\')
        assert client.list()[1] == [b'(\\HasNoChildren) "/" "INBOX"']
        assert client.select() == ("OK", [b"3"])
        assert client.response("UIDNEXT")[1] == [b"4"]
        assert client.search(None, "SUBJECT", '"message 2"') == ("OK", [b"2"])
        answer = client.fetch("2", "(UID BODY.PEEK[] INTERNALDATE FLAGS)")[1]
        assert answer[0][1].endswith(b"\r\n\r\nbody 2\r\n")
        assert b'INTERNALDATE " 1-Feb-2026 12:30:00 +0000"' in answer[1]
        assert b"FLAGS ()" in answer[1]
        assert client.store("2", "+FLAGS", r"(\Flagged)") == ("OK", [rb"2 (FLAGS (\Flagged))"])
        assert client.uid("SEARCH", "FLAGGED") == ("OK", [b"2"])
        client.store("1", "+FLAGS", r"\Deleted")
        assert client.expunge() == ("OK", [b"1"])
        assert client.search(None, "ALL") == ("OK", [b"1 2"])
        assert (
            client.append("INBOX", r"(\Seen)", imaplib.Time2Internaldate(0), b"Subject: a\n\nb\n")[0] == "OK"
        )
        assert client.noop()[0] == "OK"
        assert client.search(None, "SEEN") == ("OK", [b"3"])
        assert client.close()[0] == "OK"
        client.logout()

    await asyncio.to_thread(session)
    messages = await inbox(site)
    assert [message.uid for message in messages] == [2, 3, 4]
    assert messages[0].flags == {"\\Flagged"}
    assert await site.mail.content(messages[2].id) == b"Subject: a\r\n\r\nb\r\n"
    assert messages[2].internal_date == datetime.fromtimestamp(0, UTC)
    assert await site.ended() == ["logout"]


# --- login --------------------------------------------------------------------------------------------


async def test_authenticate_plain(site: Any, connect: Connect) -> None:
    wire = await connect(await site.listen(Protocol.IMAP))
    await wire.line()
    good = b64encode(b"\0ann@example.test\0" + b'se cret"\\')
    assert (await wire.tagged(b"AUTHENTICATE PLAIN !!"))[-1].startswith(b"t BAD ")
    assert (await wire.tagged(b"AUTHENTICATE PLAIN " + b64encode(b"one")))[-1].startswith(b"t BAD ")
    assert (await wire.tagged(b"AUTHENTICATE LOGIN"))[-1].startswith(b"t NO ")
    wire.send(b"t AUTHENTICATE PLAIN\r\n")
    assert await wire.line() == b"+ \r\n"
    wire.send(b"*\r\n")
    assert (await wire.line()).startswith(b"t BAD ")
    wire.send(b"t AUTHENTICATE PLAIN\r\n")
    assert await wire.line() == b"+ \r\n"
    wire.send(good + b"\r\n")
    assert (await wire.line()).startswith(b"t OK ")
    other = await connect(await site.listen(Protocol.IMAP))
    await other.line()
    assert (await other.tagged(b"authenticate plain " + good))[-1].startswith(b"t OK [CAPABILITY ")


async def test_login_with_literals(site: Any, connect: Connect) -> None:
    wire = await connect(await site.listen(Protocol.IMAP))
    await wire.line()
    wire.send(b"t LOGIN {16}\r\n")
    assert (await wire.line()).startswith(b"+ ")
    wire.send(b"ann@example.test {9}\r\n")
    assert (await wire.line()).startswith(b"+ ")
    wire.send(b'se cret"\\\r\n')
    assert (await wire.line()).startswith(b"t OK ")
    other = await connect(await site.listen(Protocol.IMAP))
    await other.line()
    other.send(b'a LOGIN {16+}\r\nann@example.test {9+}\r\nse cret"\\\r\nb SELECT INBOX\r\n')
    assert (await other.line()).startswith(b"a OK ")
    assert await other.line() == b"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n"


async def test_failed_logins(site: Any, connect: Connect) -> None:
    wire = await connect(await site.listen(Protocol.IMAP))
    await wire.line()
    assert (await wire.tagged(b"SELECT INBOX"))[-1] == b"t BAD not in this state\r\n"
    for _ in range(4):
        answer = await wire.tagged(b"LOGIN ann@example.test x")
        assert answer == [b"t NO [AUTHENTICATIONFAILED] wrong name or password\r\n"]
    wire.send(b"t LOGIN ann@example.test x\r\n")
    assert (await wire.rest()).startswith(b"* BYE ")


async def test_tls_before_login(site: Any, connect: Connect, ranged: Ranged) -> None:
    port = await site.listen(
        Protocol.IMAP,
        security=ConnectionSecurity.STARTTLS_OPTIONAL,
        ip_range=ranged(require_tls_for_auth=True),
    )
    wire = await connect(port)
    greeting = await wire.line()
    assert b" LOGINDISABLED" in greeting
    assert b" STARTTLS " in greeting
    assert b"AUTH=" not in greeting
    assert (await wire.tagged(LOGIN))[-1].startswith(b"t NO [PRIVACYREQUIRED]")
    assert (await wire.tagged(b"AUTHENTICATE PLAIN AGEAYg=="))[-1].startswith(b"t NO [PRIVACYREQUIRED]")
    wire.send(b"t STARTTLS\r\na LOGIN bob@example.test pwb\r\n")
    assert (await wire.line()).startswith(b"t OK ")
    await wire.start_tls(site.certificates.client)
    capability = (await wire.tagged(b"CAPABILITY"))[0]
    assert b"AUTH=PLAIN" in capability
    assert b"LOGINDISABLED" not in capability
    assert b"STARTTLS" not in capability
    assert (await wire.tagged(b"STARTTLS"))[-1].startswith(b"t BAD ")
    # The command that was injected before TLS did not log anybody in.
    assert (await wire.tagged(b"SELECT INBOX"))[-1] == b"t BAD not in this state\r\n"
    assert (await wire.tagged(LOGIN))[-1].startswith(b"t OK ")


async def test_starttls_required_and_not_offered(site: Any, connect: Connect) -> None:
    wire = await connect(await site.listen(Protocol.IMAP, security=ConnectionSecurity.STARTTLS_REQUIRED))
    assert b"LOGINDISABLED" in await wire.line()
    assert (await wire.tagged(LOGIN))[-1].startswith(b"t NO [PRIVACYREQUIRED]")
    plain = await connect(await site.listen(Protocol.IMAP))
    assert b"STARTTLS" not in await plain.line()
    assert (await plain.tagged(b"STARTTLS"))[-1].startswith(b"t BAD ")
    tls = await connect(
        await site.listen(Protocol.IMAP, security=ConnectionSecurity.TLS), ssl=site.certificates.client
    )
    assert b"LOGINDISABLED" not in await tls.line()


# --- reading ------------------------------------------------------------------------------------------


async def test_select_tells_everything(site: Any, connect: Connect) -> None:
    await delivered(site)
    wire = await logged_in(site, connect)
    lines = await wire.tagged(b"EXAMINE inbox")
    assert lines[:2] == [b"* 3 EXISTS\r\n", b"* 0 RECENT\r\n"]
    assert b"* OK [UNSEEN 1] first unseen message\r\n" in lines
    assert b"* OK [UIDNEXT 4] predicted next UID\r\n" in lines
    assert b"* OK [PERMANENTFLAGS ()] kept flags\r\n" in lines
    assert any(line.startswith(b"* OK [UIDVALIDITY ") for line in lines)
    assert lines[-1] == b"t OK [READ-ONLY] EXAMINE completed\r\n"
    assert (await wire.tagged(b"STORE 1 +FLAGS (\\Seen)"))[-1].startswith(b"t NO ")
    assert (await wire.tagged(b"EXPUNGE"))[-1].startswith(b"t NO ")
    await wire.tagged(b"FETCH 1 BODY[]")
    assert (await inbox(site))[0].flags == frozenset()
    assert (await wire.tagged(b"CLOSE"))[-1].startswith(b"t OK ")
    assert (await wire.tagged(b"SELECT Nowhere"))[-1] == b"t NO [NONEXISTENT] no such mailbox\r\n"
    assert (await wire.tagged(b"FETCH 1 FLAGS"))[-1] == b"t BAD not in this state\r\n"


async def test_fetching_the_body_marks_as_seen(site: Any, connect: Connect) -> None:
    wire = await selected(site, connect)
    await wire.tagged(b"FETCH 1 (BODY.PEEK[] RFC822.HEADER ENVELOPE BODYSTRUCTURE)")
    assert (await inbox(site))[0].flags == frozenset()
    wire.send(b"t FETCH 2:3 BODY[TEXT]\r\n")
    assert await wire.line() == b"* 2 FETCH (BODY[TEXT] {8}\r\n"
    assert await wire.line() == b"body 2\r\n"
    assert await wire.line() == b" FLAGS (\\Seen))\r\n"
    assert await wire.line() == b"* 3 FETCH (BODY[TEXT] {8}\r\n"
    assert [message.flags for message in await inbox(site)] == [frozenset(), {"\\Seen"}, {"\\Seen"}]


async def test_uid_commands(site: Any, connect: Connect) -> None:
    wire = await selected(site, connect)
    await wire.tagged(b"STORE 1 +FLAGS.SILENT (\\Deleted)")
    assert (await wire.tagged(b"EXPUNGE"))[0] == b"* 1 EXPUNGE\r\n"
    assert (await wire.tagged(b"UID FETCH 3 FLAGS"))[0] == b"* 2 FETCH (UID 3 FLAGS ())\r\n"
    assert (await wire.tagged(b"UID FETCH 1:* UID"))[:2] == [
        b"* 1 FETCH (UID 2)\r\n",
        b"* 2 FETCH (UID 3)\r\n",
    ]
    assert (await wire.tagged(b"UID FETCH 77 FLAGS")) == [b"t OK FETCH completed\r\n"]
    # Above the last one, "n:*" still means the last one (RFC 3501 section 6.4.8).
    assert (await wire.tagged(b"UID FETCH 77:* UID"))[0] == b"* 2 FETCH (UID 3)\r\n"
    assert (await wire.tagged(b"UID STORE 3 FLAGS (\\Flagged Work)"))[0] == (
        b"* 2 FETCH (UID 3 FLAGS (Work \\Flagged))\r\n"
    )
    assert (await wire.tagged(b"UID SEARCH UID 3"))[0] == b"* SEARCH 3\r\n"
    assert (await wire.tagged(b"UID NOOP x"))[-1].startswith(b"t BAD ")
    assert (await wire.tagged(b"FETCH 3 FLAGS"))[-1] == b"t BAD no such message number\r\n"
    assert (await wire.tagged(b"STORE 1 -FLAGS Work \\Seen"))[0] == b"* 1 FETCH (FLAGS ())\r\n"


# --- what other sessions do ---------------------------------------------------------------------------


async def test_noop_sees_new_mail_flags_and_removals(site: Any, connect: Connect) -> None:
    wire = await selected(site, connect)
    other = await logged_in(site, connect)
    await other.tagged(b"SELECT INBOX")
    assert await wire.tagged(b"NOOP") == [b"t OK NOOP completed\r\n"]
    await delivered(site, 1)
    assert await wire.tagged(b"NOOP") == [b"* 4 EXISTS\r\n", b"* 0 RECENT\r\n", b"t OK NOOP completed\r\n"]
    await other.tagged(b"STORE 2 +FLAGS (\\Deleted)")
    assert (await wire.tagged(b"NOOP"))[0] == b"* 2 FETCH (FLAGS (\\Deleted))\r\n"
    assert (await other.tagged(b"EXPUNGE"))[0] == b"* 2 EXPUNGE\r\n"
    # Not during FETCH, STORE, SEARCH: numbers hold until then (RFC 3501 section 7.4.1).
    assert await wire.tagged(b"FETCH 4 UID") == [b"* 4 FETCH (UID 4)\r\n", b"t OK FETCH completed\r\n"]
    assert (await wire.tagged(b"FETCH 2 BODY[]"))[-1].startswith(b"t NO [EXPUNGEISSUED]")
    assert (await wire.tagged(b"STORE 2 +FLAGS (\\Seen)"))[-1].startswith(b"t NO [EXPUNGEISSUED]")
    assert (await wire.tagged(b"SEARCH TEXT body"))[0] == b"* SEARCH 1 3 4\r\n"
    assert await wire.tagged(b"CHECK") == [b"* 2 EXPUNGE\r\n", b"t OK CHECK completed\r\n"]
    assert (await wire.tagged(b"FETCH 3 UID"))[0] == b"* 3 FETCH (UID 4)\r\n"


async def test_flags_of_another_session_are_not_lost(site: Any, connect: Connect) -> None:
    wire = await selected(site, connect)
    other = await logged_in(site, connect)
    await other.tagged(b"SELECT INBOX")
    await asyncio.gather(wire.tagged(b"STORE 1 +FLAGS (\\Seen)"), other.tagged(b"STORE 2 +FLAGS (\\Draft)"))
    await wire.tagged(b"STORE 2 +FLAGS.SILENT (\\Answered)")
    assert (await inbox(site))[1].flags == {"\\Draft", "\\Answered"}


async def test_idle(site: Any, connect: Connect) -> None:
    wire = await selected(site, connect)
    wire.send(b"i IDLE\r\n")
    assert (await wire.line()).startswith(b"+ ")
    await delivered(site, 1)
    assert await wire.line() == b"* 4 EXISTS\r\n"
    assert await wire.line() == b"* 0 RECENT\r\n"
    messages = await inbox(site)
    await site.mail.remove((await site.mail.mailboxes(1))[0].id, [messages[0].id])
    assert await wire.line() == b"* 1 EXPUNGE\r\n"
    wire.send(b"DONE\r\n")
    assert await wire.line() == b"i OK IDLE completed\r\n"
    wire.send(b"i IDLE\r\n")
    await wire.line()
    site.open[-1].shutdown()
    assert (await wire.rest()).startswith(b"* BYE ")


async def test_a_closed_mailbox_is_no_longer_watched(site: Any, connect: Connect) -> None:
    wire = await selected(site, connect)
    assert site.mail._watchers
    await wire.tagged(b"UNSELECT")
    assert not site.mail._watchers
    await wire.tagged(b"SELECT INBOX")
    await wire.close()
    await site.ended()
    assert not site.mail._watchers


# --- limits and syntax --------------------------------------------------------------------------------


async def test_append_is_limited(site: Any, connect: Connect) -> None:
    site.settings = replace(site.settings, max_message_size_kb=1)
    wire = await logged_in(site, connect)
    assert (await wire.tagged(b"APPEND INBOX {1025}"))[-1].startswith(b"t NO [TOOBIG]")
    wire.send(b"t APPEND INBOX {1024}\r\n")
    assert (await wire.line()).startswith(b"+ ")
    wire.send(b"x" * 1022 + b"\r\n\r\n")
    assert (await wire.line()) == b"t OK APPEND completed\r\n"
    assert (await wire.tagged(b"APPEND Nowhere {1+}\r\nx"))[-1].startswith(b"t NO [TRYCREATE]")
    assert (await wire.tagged(b"APPEND INBOX x"))[-1].startswith(b"t BAD ")
    assert (await wire.tagged(b'APPEND INBOX "no date" {1+}\r\nx'))[-1].startswith(b"t BAD ")
    wire.send(b"t APPEND INBOX {1025+}\r\n")
    assert (await wire.line()).startswith(b"t NO [TOOBIG]")
    assert (await wire.rest()).startswith(b"* BYE ")


async def test_literals_before_login_are_small(site: Any, connect: Connect) -> None:
    wire = await connect(await site.listen(Protocol.IMAP))
    await wire.line()
    assert (await wire.tagged(b"APPEND INBOX {100000}"))[-1].startswith(b"t NO [TOOBIG]")
    assert (await wire.tagged(b"LOGIN {9999999999}"))[-1].startswith(b"t NO [TOOBIG]")


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (b"", b"* BAD "),
        (b"t", b"t BAD "),
        (b"t ", b"t BAD "),
        (b"t NOOP x", b"t BAD too many"),
        (b"t BOGUS", b"t BAD unknown command"),
        (b"t FETCH", b"t BAD "),
        (b"t FETCH 0 FLAGS", b"t BAD "),
        (b"t FETCH 1,, FLAGS", b"t BAD "),
        (b"t FETCH 1 (FLAGS", b"t BAD "),
        (b"t FETCH 1 BODY[", b"t BAD "),
        (b"t FETCH 1 BODY[MIME]", b"t BAD "),
        (b"t FETCH 1 BODY[]<1>", b"t BAD "),
        (b"t FETCH 1 \xff", b"t BAD "),
        (b"t STORE 1 FLAGS (\\Bogus)", b"t BAD "),
        (b"t STORE 1 X (\\Seen)", b"t BAD "),
        (b't SELECT "unfinished', b"t BAD "),
        (b"t SELECT &bad", b"t NO "),
        (b"t SELECT \xff", b"t BAD "),
        (b"t LOGIN a b", b"t BAD not in this state"),
        (b"* NOOP", b"* BAD "),
        (b"(((", b"* BAD "),
        (b"t NOOP " + b"x" * 100_000, b"* BAD the line is too long"),
    ],
)
async def test_odd_commands(site: Any, connect: Connect, command: bytes, answer: bytes) -> None:
    wire = await selected(site, connect)
    wire.send(command + b"\r\n")
    assert (await wire.line()).startswith(answer)
    assert (await wire.tagged(b"NOOP"))[-1].endswith(b"NOOP completed\r\n")


async def test_too_many_errors(site: Any, connect: Connect) -> None:
    wire = await logged_in(site, connect)
    wire.send(b"t BOGUS\r\n" * 50)
    lines = (await wire.rest()).splitlines()
    assert lines[-1].startswith(b"* BYE ")
    assert len(lines) == 22


async def test_big_messages_are_parsed_and_sent(site: Any, connect: Connect) -> None:
    body = (b"x" * 76 + b"\r\n") * 20_000
    await site.mail.deliver([1], b"Subject: big\r\n\r\n" + body, WHEN)
    wire = await logged_in(site, connect)
    await wire.tagged(b"SELECT INBOX")
    assert b'"TEXT" "PLAIN"' in (await wire.tagged(b"FETCH 1 BODYSTRUCTURE"))[0]
    assert (await wire.tagged(b"SEARCH BODY xxxx"))[0] == b"* SEARCH 1\r\n"
    wire.send(b"t FETCH 1 BODY.PEEK[TEXT]\r\n")
    assert await wire.line() == b"* 1 FETCH (BODY[TEXT] {%d}\r\n" % len(body)
    assert await wire.reader.readexactly(len(body)) == body


async def test_an_append_is_finished_before_the_server_stops(site: Any, connect: Connect) -> None:
    wire = await logged_in(site, connect)
    wire.send(b"t APPEND INBOX {5}\r\n")
    assert (await wire.line()).startswith(b"+ ")
    site.open[0].shutdown()
    wire.send(b"hello\r\n")
    assert await wire.line() == b"t OK APPEND completed\r\n"
    assert (await wire.rest()).startswith(b"* BYE ")
    assert await site.mail.content((await inbox(site))[0].id) == b"hello"
