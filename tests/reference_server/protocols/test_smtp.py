from __future__ import annotations

import asyncio
import re
import smtplib
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from ipaddress import ip_address
from typing import Any

import pytest

from reference_server.session import StoredMessage
from reference_server.settings import IpRange, Protocol

from .conftest import Site, Wire

Connect = Callable[..., Awaitable[Wire]]
Ranged = Callable[..., IpRange]
PASSWORD = 'se cret"\\'
PLAIN = b"AUTH PLAIN " + b64encode(b"\0ann@example.test\0" + PASSWORD.encode()) + b"\r\n"
MESSAGE = b"Subject: hello\r\n\r\nline\r\n..dot\r\n.\r\n"


async def inbox(site: Site, account_id: int = 1) -> list[StoredMessage]:
    return await site.mail.messages((await site.mail.mailboxes(account_id))[0].id)


async def greeted(site: Site, connect: Connect, **options: Any) -> Wire:
    wire = await connect(await site.listen(Protocol.SMTP, **options), options.get("address", "::1"))
    assert (await wire.line()).startswith(b"220 ")
    assert (await wire.talk(b"EHLO client.test\r\n")).startswith(b"250 ")
    return wire


async def with_recipient(wire: Wire, recipient: bytes = b"ann@example.test") -> None:
    assert await wire.talk(b"MAIL FROM:<x@remote.test>\r\n") == b"250 2.1.0 Sender accepted\r\n"
    assert await wire.talk(b"RCPT TO:<" + recipient + b">\r\n") == b"250 2.1.5 Recipient accepted\r\n"


@pytest.mark.parametrize("address", ["::1", "127.0.0.1"])
async def test_smtplib_delivers(site: Site, address: str) -> None:
    port = await site.listen(Protocol.SMTP, address=address)

    def send() -> Any:
        with smtplib.SMTP(address, port, local_hostname="[IPv6:::1]", timeout=30) as client:
            return client.sendmail(
                "x@remote.test", ["ann@example.test", "BOB@example.test"], b"Subject: hello\r\n\r\n.dot\r\n"
            )

    assert await asyncio.to_thread(send) == {}
    assert site.accepted == 1
    (stored,) = await inbox(site)
    (copy,) = await inbox(site, 2)
    content = await site.mail.content(stored.id)
    assert content == await site.mail.content(copy.id)
    literal = "[IPv6:::1]" if address == "::1" else "[127.0.0.1]"
    expected = (
        r"Return-Path: <x@remote\.test>\r\n"
        rf"Received: from \[IPv6:::1\] \({re.escape(literal)}\)\r\n"
        r"\tby mail\.example\.test with ESMTP id [0-9a-f.]+;\r\n"
        r"\t[^\r\n]+ \+0000\r\n"
        r"Subject: hello\r\n\r\n\.dot\r\n"
    )
    assert re.fullmatch(expected.encode(), content), content
    assert stored.size == len(content)
    assert await site.ended() == ["quit"]


async def test_greeting_is_the_host_name_and_the_welcome(site: Site, connect: Connect) -> None:
    port = await site.listen(Protocol.SMTP)
    assert await (await connect(port)).line() == b"220 mail.example.test ESMTP Sixpost ready\r\n"
    site.settings = replace(site.settings, welcome_smtp="Be nice\r\n250 x", host_name="other.test")
    assert await (await connect(port)).line() == b"220 other.test Be nice\r\n"


async def test_ehlo_tells_what_is_true(site: Site, connect: Connect) -> None:
    wire = await connect(await site.listen(Protocol.SMTP))
    await wire.line()
    wire.send(b"EHLO [IPv6:2001:db8::1]\r\n")
    lines = [await wire.line() for _ in range(6)]
    assert lines == [
        b"250-mail.example.test\r\n",
        b"250-SIZE 20971520\r\n",
        b"250-8BITMIME\r\n",
        b"250-PIPELINING\r\n",
        b"250-AUTH PLAIN LOGIN\r\n",
        b"250 HELP\r\n",
    ]
    site.settings = replace(site.settings, allow_smtp_auth_plain=False, max_message_size_kb=0)
    wire.send(b"EHLO x\r\n")
    lines = [await wire.line() for _ in range(6)]
    assert b"250-SIZE 0\r\n" in lines
    assert b"250-AUTH LOGIN\r\n" in lines
    assert (await wire.talk(PLAIN)).startswith(b"504 ")


@pytest.mark.parametrize("name", [b"[IPv6:zz]", b"[::1]", b"two words", b""])
async def test_ehlo_with_a_wrong_literal_is_a_syntax_error(site: Site, connect: Connect, name: bytes) -> None:
    wire = await connect(await site.listen(Protocol.SMTP))
    await wire.line()
    assert (await wire.talk(b"EHLO " + name + b"\r\n")).startswith(b"501 ")
    assert (await wire.talk(b"HELO [IPv6:::1]\r\n")).startswith(b"250 ")


# --- what the range decides ---------------------------------------------------------------------------


async def test_no_open_relay_with_the_default_flags(site: Site, connect: Connect) -> None:
    default = IpRange(1, "default", 1, ip_address("::"), ip_address("::1"))
    wire = await greeted(site, connect, ip_range=default)
    await wire.talk(b"MAIL FROM:<x@remote.test>\r\n")
    assert (await wire.talk(b"RCPT TO:<y@remote.test>\r\n")).startswith(b"550 5.7.1 ")
    assert (await wire.talk(b"RCPT TO:<ann@example.test>\r\n")).startswith(b"250 ")
    assert (await wire.talk(b"RCPT TO:<nobody@example.test>\r\n")).startswith(b"550 5.1.1 ")


async def test_authentication_needed_then_given(site: Site, connect: Connect, ranged: Ranged) -> None:
    wire = await greeted(site, connect, ip_range=ranged(require_auth_local_to_local=True))
    await wire.talk(b"MAIL FROM:<bob@example.test>\r\n")
    assert await wire.talk(b"RCPT TO:<ann@example.test>\r\n") == b"530 5.7.0 Authentication required\r\n"
    assert (await wire.talk(PLAIN)).startswith(b"503 ")
    await wire.talk(b"RSET\r\n")
    assert await wire.talk(PLAIN) == b"235 2.7.0 Authentication successful\r\n"
    await wire.talk(b"MAIL FROM:<bob@example.test>\r\n")
    assert (await wire.talk(b"RCPT TO:<ann@example.test>\r\n")).startswith(b"250 ")


async def test_the_null_sender_is_remote(site: Site, connect: Connect, ranged: Ranged) -> None:
    wire = await greeted(
        site, connect, ip_range=ranged(deliver_local_to_local=False, deliver_remote_to_local=True)
    )
    assert (await wire.talk(b"MAIL FROM:<>\r\n")).startswith(b"250 ")
    assert (await wire.talk(b"RCPT TO:<ann@example.test>\r\n")).startswith(b"250 ")
    await wire.talk(b"DATA\r\n")
    assert (await wire.talk(MESSAGE)).startswith(b"250 ")
    content = await site.mail.content((await inbox(site))[0].id)
    assert content.startswith(b"Return-Path: <>\r\n")
    assert b"\tfor <ann@example.test>;\r\n" in content


async def test_mail_for_here_and_elsewhere_is_kept_once_for_both(site: Site, connect: Connect) -> None:
    wire = await greeted(site, connect)
    await wire.talk(PLAIN)
    await with_recipient(wire)
    for recipient in (b"y@elsewhere.test", b"Z@far.test", b"y@elsewhere.test"):
        assert (await wire.talk(b"RCPT TO:<" + recipient + b">\r\n")).startswith(b"250 ")
    await wire.talk(b"DATA\r\n")
    assert (await wire.talk(MESSAGE)).startswith(b"250 2.0.0 Stored as ")
    local = await site.mail.content((await inbox(site))[0].id)
    [leased] = await site.queue.lease(site.services.now(), 10)
    assert [each.address for each in leased.recipients] == ["y@elsewhere.test", "Z@far.test"]
    assert (leased.sender, leased.helo, leased.peer) == ("x@remote.test", "client.test", ip_address("::1"))
    assert leased.eight_bit is False
    sent = await site.queue.content(leased.id)
    # RFC 5321 section 4.4: Return-Path belongs to the final delivery.
    assert local == b"Return-Path: <x@remote.test>\r\n" + sent
    assert sent.startswith(b"Received: from client.test ([IPv6:::1])\r\n")
    assert sent.endswith(b"Subject: hello\r\n\r\nline\r\n.dot\r\n")
    assert leased.size == len(sent)
    assert site.accepted == 1


async def test_the_null_sender_and_eight_bits_are_kept(site: Site, connect: Connect) -> None:
    wire = await greeted(site, connect)
    await wire.talk(PLAIN)
    assert (await wire.talk(b"MAIL FROM:<> BODY=8BITMIME\r\n")).startswith(b"250 ")
    assert (await wire.talk(b"RCPT TO:<y@elsewhere.test>\r\n")).startswith(b"250 ")
    await wire.talk(b"DATA\r\n")
    assert (await wire.talk(b"\r\n\xc3\xa4\r\n.\r\n")).startswith(b"250 ")
    [leased] = await site.queue.lease(site.services.now(), 10)
    assert (leased.sender, leased.eight_bit) == ("", True)
    assert (await site.queue.content(leased.id)).endswith(b"\r\n\r\n\xc3\xa4\r\n")


async def test_a_queue_that_cannot_keep_it_is_told_to_the_client(
    site: Site, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_mail: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(site.queue, "accept", full)
    wire = await greeted(site, connect)
    await wire.talk(PLAIN)
    await wire.talk(b"MAIL FROM:<>\r\n")
    await wire.talk(b"RCPT TO:<y@elsewhere.test>\r\n")
    await wire.talk(b"DATA\r\n")
    assert (await wire.talk(MESSAGE)).startswith(b"451 4.3.0 ")
    assert site.accepted == 0


async def test_postmaster_without_domain_is_ours(site: Site, connect: Connect) -> None:
    site.settings = replace(site.settings, host_name="example.test")
    site.accounts.ids["postmaster@example.test"] = 2
    wire = await greeted(site, connect)
    await with_recipient(wire, b"Postmaster")
    assert (await wire.talk(b"RCPT TO:<ann>\r\n")).startswith(b"553 ")
    await wire.talk(b"DATA\r\n")
    assert (await wire.talk(MESSAGE)).startswith(b"250 ")
    assert len(await inbox(site, 2)) == 1


# --- limits and syntax --------------------------------------------------------------------------------


async def test_size_is_checked_at_mail_and_at_data(site: Site, connect: Connect) -> None:
    site.settings = replace(site.settings, max_message_size_kb=1)
    wire = await greeted(site, connect)
    assert (await wire.talk(b"MAIL FROM:<x@remote.test> SIZE=1025\r\n")).startswith(b"552 ")
    assert (await wire.talk(b"MAIL FROM:<x@remote.test> SIZE=1024 BODY=8BITMIME AUTH=<>\r\n")).startswith(
        b"250 "
    )
    assert (await wire.talk(b"RCPT TO:<ann@example.test>\r\n")).startswith(b"250 ")
    await wire.talk(b"DATA\r\n")
    assert (await wire.talk(b"x" * 62 + b"\r\n" + (b"x" * 62 + b"\r\n") * 16 + b".\r\n")).startswith(
        b"552 5.3.4 "
    )
    await with_recipient(wire)
    await wire.talk(b"DATA\r\n")
    assert (await wire.talk((b"x" * 62 + b"\r\n") * 16 + b".\r\n")).startswith(b"250 ")


async def test_the_limit_of_recipients(
    site: Site, connect: Connect, lower_limit: Callable[[str, float], None]
) -> None:
    lower_limit("SMTP_RECIPIENTS", 2)
    wire = await greeted(site, connect)
    await with_recipient(wire)
    assert (await wire.talk(b"RCPT TO:<bob@example.test>\r\n")).startswith(b"250 ")
    assert (await wire.talk(b"RCPT TO:<ann@example.test>\r\n")).startswith(b"452 4.5.3 ")


async def test_a_recipient_named_twice_has_one_copy(site: Site, connect: Connect) -> None:
    wire = await greeted(site, connect)
    await with_recipient(wire)
    assert (await wire.talk(b"RCPT TO:<ANN@example.test>\r\n")).startswith(b"250 ")
    await wire.talk(b"DATA\r\n")
    assert (await wire.talk(MESSAGE)).startswith(b"250 ")
    assert len(await inbox(site)) == 1


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"NOOP\n", b"500 5.5.2 "),
        (b"NO\rOP\r\n", b"500 5.5.2 "),
        (b"NOOP\r\r\n", b"500 5.5.2 "),
        (b"NOOP \xc3\xa9\r\n", b"500 5.5.2 "),
        (b"NOOP \0\r\n", b"500 5.5.2 "),
        (b"\r\n", b"500 "),
        (b"NOOP " + b"x" * 600 + b"\r\n", b"500 5.5.2 "),
        (b"NOOP " + b"x" * 100_000 + b"\r\n", b"500 5.5.2 "),
        (b"BOGUS\r\n", b"500 5.5.1 "),
        (b"EXPN list\r\n", b"502 "),
        (b"VRFY ann\r\n", b"252 "),
        (b"MAIL FROM:<x@remote.test> FOO=1\r\n", b"555 "),
        (b"MAIL FROM: x@remote.test\r\n", b"553 "),
        (b"MAIL FROM:<postmaster>\r\n", b"553 "),
        (b"MAIL FROM:<\xc3\xa9@remote.test>\r\n", b"500 "),
        (b"MAIL TO:<x@remote.test>\r\n", b"501 "),
        (b"RCPT TO:<ann@example.test>\r\n", b"503 "),
        (b"DATA\r\n", b"503 "),
        (b"RSET x\r\n", b"501 "),
        (b"QUIT x\r\n", b"501 "),
    ],
)
async def test_wrong_commands(site: Site, connect: Connect, line: bytes, code: bytes) -> None:
    wire = await greeted(site, connect)
    assert (await wire.talk(line)).startswith(code)
    assert await wire.talk(b"NOOP\r\n") == b"250 OK\r\n"


async def test_the_null_path_is_no_recipient(site: Site, connect: Connect) -> None:
    wire = await greeted(site, connect)
    await wire.talk(b"MAIL FROM:<x@remote.test>\r\n")
    assert (await wire.talk(b"RCPT TO:<>\r\n")).startswith(b"553 ")
    assert (await wire.talk(b"MAIL FROM:<x@remote.test>\r\n")).startswith(b"503 ")


async def test_commands_before_ehlo(site: Site, connect: Connect) -> None:
    wire = await connect(await site.listen(Protocol.SMTP))
    await wire.line()
    for command in (b"MAIL FROM:<x@remote.test>", b"RCPT TO:<a@b.test>", b"DATA", PLAIN.strip()):
        assert (await wire.talk(command + b"\r\n")).startswith(b"503 ")


async def test_too_many_errors_end_the_session(site: Site, connect: Connect) -> None:
    wire = await greeted(site, connect)
    wire.send(b"BOGUS\r\n" * 40)
    lines = (await wire.rest()).splitlines()
    assert len(lines) == 22
    assert lines[-1].startswith(b"421 4.7.0 ")
    assert await site.ended() == ["too many errors"]


async def test_pipelining(site: Site, connect: Connect) -> None:
    wire = await greeted(site, connect)
    wire.send(
        b"MAIL FROM:<x@remote.test>\r\nRCPT TO:<nobody@example.test>\r\n"
        b"RCPT TO:<ann@example.test>\r\nDATA\r\n"
    )
    codes = [(await wire.line())[:3] for _ in range(4)]
    assert codes == [b"250", b"550", b"250", b"354"]
    wire.send(MESSAGE + b"MAIL FROM:<x@remote.test>\r\nQUIT\r\n")
    assert [(await wire.line())[:3] for _ in range(3)] == [b"250", b"250", b"221"]
    assert await wire.rest() == b""


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r"])
async def test_smuggling(site: Site, connect: Connect, end: bytes) -> None:
    wire = await greeted(site, connect)
    await with_recipient(wire)
    await wire.talk(b"DATA\r\n")
    smuggled = b"MAIL FROM:<evil@remote.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nevil\r\n.\r\n"
    assert (await wire.talk(b"Subject: x\r\n\r\nbody" + end + smuggled)).startswith(b"554 5.6.0 ")
    assert await wire.talk(b"NOOP\r\n") == b"250 OK\r\n"
    assert await inbox(site) == []
    assert await inbox(site, 2) == []


async def test_a_looping_message_is_refused(site: Site, connect: Connect) -> None:
    wire = await greeted(site, connect)
    await with_recipient(wire)
    await wire.talk(b"DATA\r\n")
    assert (await wire.talk(b"Received: x\r\n" * 101 + b"\r\n.\r\n")).startswith(b"554 5.4.6 ")


# --- what happens when it matters ---------------------------------------------------------------------


class FullDisk:
    """A store that cannot store."""

    async def deliver(self, *_: object) -> None:
        raise OSError(28, "No space left on /secret/path")


async def test_a_storage_failure_is_451_and_keeps_its_secret(
    site: Site, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    broken = replace(site.services, mail=FullDisk())  # type: ignore[arg-type]
    wire = await greeted(site, connect, services=broken)
    await with_recipient(wire)
    await wire.talk(b"DATA\r\n")
    reply = await wire.talk(MESSAGE)
    assert reply.startswith(b"451 4.3.0 ")
    assert b"secret" not in reply
    assert "No space left" in caplog.text
    assert site.accepted == 0
    # The session goes on.
    await with_recipient(wire)


async def test_250_comes_after_the_message_is_stored(site: Site, connect: Connect) -> None:
    stored, may_go_on = asyncio.Event(), asyncio.Event()

    class Slow:
        async def deliver(self, account_ids: Any, content: bytes, received: datetime) -> None:
            stored.set()
            await may_go_on.wait()
            await site.mail.deliver(account_ids, content, received)

    wire = await greeted(site, connect, services=replace(site.services, mail=Slow()))  # type: ignore[arg-type]
    await with_recipient(wire)
    await wire.talk(b"DATA\r\n")
    wire.send(MESSAGE)
    await stored.wait()
    reply = asyncio.ensure_future(wire.line())
    # A round trip of another client: the loop had every chance to answer too early.
    other = await greeted(site, connect)
    assert await other.talk(b"NOOP\r\n") == b"250 OK\r\n"
    assert not reply.done()
    # The server stops meanwhile: the message is finished first.
    site.open[0].shutdown()
    may_go_on.set()
    assert (await reply).startswith(b"250 ")
    assert (await wire.line()).startswith(b"421 4.3.2 ")
    assert len(await inbox(site)) == 1


async def test_a_message_in_data_is_finished_before_the_server_stops(site: Site, connect: Connect) -> None:
    wire = await greeted(site, connect)
    await with_recipient(wire)
    await wire.talk(b"DATA\r\n")
    site.open[0].shutdown()
    assert (await wire.talk(MESSAGE)).startswith(b"250 ")
    assert (await wire.line()).startswith(b"421 4.3.2 ")
    assert await wire.rest() == b""
    assert len(await inbox(site)) == 1
    assert await site.ended() == ["server stops"]


async def test_a_client_that_goes_during_data_leaves_nothing(site: Site, connect: Connect) -> None:
    wire = await greeted(site, connect)
    await with_recipient(wire)
    await wire.talk(b"DATA\r\n")
    wire.send(b"Subject: half")
    await wire.close()
    assert await site.ended() == ["client disconnected"]
    assert await inbox(site) == []


async def test_a_half_closed_client_gets_its_answers(site: Site, connect: Connect) -> None:
    wire = await connect(await site.listen(Protocol.SMTP))
    wire.send(
        b"EHLO x\r\nMAIL FROM:<x@remote.test>\r\nRCPT TO:<ann@example.test>\r\nDATA\r\n"
        + MESSAGE
        + b"QUIT\r\n"
    )
    wire.writer.write_eof()
    assert (await wire.rest()).splitlines()[-1] == b"221 2.0.0 Bye"
    assert len(await inbox(site)) == 1


async def test_big_messages(site: Site, connect: Connect) -> None:
    wire = await greeted(site, connect)
    await with_recipient(wire)
    await wire.talk(b"DATA\r\n")
    body = (b".x" * 38 + b"\r\n") * 130_000
    wire.send(body.replace(b"\r\n.", b"\r\n..").join([b".", b".\r\n"]))
    assert (await wire.reply()).startswith(b"250 ")
    (stored,) = await inbox(site)
    assert (await site.mail.content(stored.id)).endswith(b"+0000\r\n" + body)
