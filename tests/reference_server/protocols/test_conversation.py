"""Ends of sessions: time-outs, shutdown, clients that go, that do not read, that say too much."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from reference_server import limits
from reference_server.settings import ConnectionSecurity, Protocol

from .conftest import Site, Wire

Connect = Callable[..., Awaitable[Wire]]
Lower = Callable[[str, float], None]
GREETINGS = {Protocol.SMTP: b"220 ", Protocol.POP3: b"+OK ", Protocol.IMAP: b"* OK "}


@pytest.mark.parametrize("protocol", list(Protocol))
@pytest.mark.parametrize("address", ["::1", "127.0.0.1"])
async def test_each_protocol_greets_as_itself(
    site: Site, connect: Connect, protocol: Protocol, address: str
) -> None:
    wire = await connect(await site.listen(protocol, address=address), address)
    assert (await wire.line()).startswith(GREETINGS[protocol])


@pytest.mark.parametrize("protocol", list(Protocol))
async def test_implicit_tls(site: Site, connect: Connect, protocol: Protocol) -> None:
    port = await site.listen(protocol, security=ConnectionSecurity.TLS)
    wire = await connect(port, ssl=site.certificates.client)
    assert (await wire.line()).startswith(GREETINGS[protocol])
    await wire.close()
    assert await site.ended() == ["client disconnected"]


@pytest.mark.parametrize(
    ("protocol", "limit", "farewell"),
    [
        (Protocol.SMTP, "SMTP_COMMAND_TIMEOUT", b"421 4.4.2 "),
        (Protocol.POP3, "POP3_IDLE_TIMEOUT", b""),
        (Protocol.IMAP, "IMAP_LOGIN_TIMEOUT", b"* BYE autologout"),
    ],
)
async def test_a_silent_client_is_told_and_closed(
    site: Site, connect: Connect, lower_limit: Lower, protocol: Protocol, limit: str, farewell: bytes
) -> None:
    lower_limit(limit, 0.05)
    wire = await connect(await site.listen(protocol))
    assert (await wire.line()).startswith(GREETINGS[protocol])
    rest = await wire.rest()
    assert rest.startswith(farewell)
    assert bool(rest) is bool(farewell)
    assert await site.ended() == ["timed out"]


async def test_a_client_silent_in_data_is_told(site: Site, connect: Connect, lower_limit: Lower) -> None:
    wire = await connect(await site.listen(Protocol.SMTP))
    await wire.line()
    await wire.talk(b"EHLO x\r\n")
    await wire.talk(b"MAIL FROM:<x@remote.test>\r\n")
    await wire.talk(b"RCPT TO:<ann@example.test>\r\n")
    lower_limit("SMTP_COMMAND_TIMEOUT", 0.05)
    wire.send(b"DATA\r\n")
    assert (await wire.line()).startswith(b"354 ")
    assert (await wire.rest()).startswith(b"421 4.4.2 ")


@pytest.mark.parametrize(
    ("protocol", "farewell"),
    [(Protocol.SMTP, b"421 4.3.2 "), (Protocol.POP3, b"-ERR [SYS/TEMP] "), (Protocol.IMAP, b"* BYE ")],
)
@pytest.mark.parametrize("security", [ConnectionSecurity.NONE, ConnectionSecurity.TLS])
async def test_shutdown_between_commands_ends_at_once(
    site: Site, connect: Connect, protocol: Protocol, farewell: bytes, security: ConnectionSecurity
) -> None:
    port = await site.listen(protocol, security=security)
    options = {"ssl": site.certificates.client} if security is ConnectionSecurity.TLS else {}
    wire = await connect(port, **options)
    await wire.line()
    site.open[-1].shutdown()
    site.open[-1].shutdown()
    assert (await wire.rest()).startswith(farewell)
    await wire.close()
    assert await site.ended() == ["server stops"]


async def test_shutdown_before_the_greeting(site: Site, connect: Connect) -> None:
    port = await site.listen(Protocol.SMTP)
    connecting = asyncio.ensure_future(connect(port))
    await site.opened.wait()
    site.open[0].shutdown()
    wire = await connecting
    lines = (await wire.rest()).splitlines()
    assert [line[:3] for line in lines] == [b"220", b"421"]


@pytest.mark.parametrize("protocol", list(Protocol))
async def test_a_reset_ends_the_session(site: Site, connect: Connect, protocol: Protocol) -> None:
    wire = await connect(await site.listen(protocol))
    await wire.line()
    raw = wire.writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wire.writer.transport.abort()
    assert await site.ended() == ["client disconnected"]


async def test_a_fault_of_ours_is_logged_and_not_shown(
    site: Site, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(domain: str) -> bool:
        raise RuntimeError("/secret/path")

    site.accounts.is_local_domain = broken  # type: ignore[method-assign]
    wire = await connect(await site.listen(Protocol.SMTP))
    await wire.line()
    await wire.talk(b"EHLO x\r\n")
    await wire.talk(b"MAIL FROM:<x@remote.test>\r\n")
    wire.send(b"RCPT TO:<ann@example.test>\r\n")
    rest = await wire.rest()
    assert rest.startswith(b"421 4.3.0 ")
    assert b"secret" not in rest
    assert "/secret/path" in caplog.text
    assert await site.ended() == ["internal error"]


async def test_a_client_that_never_reads_is_cut_off(site: Site, connect: Connect, lower_limit: Lower) -> None:
    lower_limit("WRITE_TIMEOUT", 0.2)
    await site.mail.deliver([2], b"Subject: big\r\n\r\n" + b"x" * 20_000_000 + b"\r\n", datetime.now(UTC))
    client = socket.socket(socket.AF_INET6)
    client.setblocking(False)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with client:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("::1", await site.listen(Protocol.POP3)))
        await loop.sock_sendall(client, b"USER bob@example.test\r\nPASS pwb\r\nRETR 1\r\n")
        assert await site.ended() == ["client disconnected"]


async def test_a_client_that_sends_faster_than_we_work_is_held_back(
    site: Site, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on = asyncio.Event()

    class Waiting:
        async def deliver(self, *_: object) -> None:
            await may_go_on.wait()

    port = await site.listen(Protocol.SMTP, services=replace(site.services, mail=Waiting()))  # type: ignore[arg-type]
    wire = await connect(port)
    await wire.line()
    await wire.talk(b"EHLO x\r\n")
    await wire.talk(b"MAIL FROM:<x@remote.test>\r\n")
    await wire.talk(b"RCPT TO:<ann@example.test>\r\n")
    await wire.talk(b"DATA\r\n")
    paused = asyncio.Event()
    transport = site.open[0]._connection
    assert transport is not None
    pause_reading = transport.pause_reading
    monkeypatch.setattr(transport, "pause_reading", lambda: (pause_reading(), paused.set()))
    wire.send(b"x\r\n.\r\n" + b"NOOP\r\n" * 2_000_000)
    await paused.wait()
    assert len(site.open[0]._input) < 2 * limits.INPUT_HIGH + 1
    may_go_on.set()
    assert (await wire.line()).startswith(b"250 2.0.0 ")
    assert (await wire.line()) == b"250 OK\r\n"
    wire.writer.transport.abort()


async def test_finished_is_called_when_the_connection_is_over(site: Site, connect: Connect) -> None:
    wire = await connect(await site.listen(Protocol.SMTP))
    await wire.line()
    assert site.finished == []
    assert (await wire.talk(b"QUIT\r\n")).startswith(b"221 ")
    assert await wire.rest() == b""
    await site.ended()
    assert [reason for _, reason in site.finished] == ["quit"]


async def test_a_cancelled_session_is_finished_too(site: Site, connect: Connect) -> None:
    wire = await connect(await site.listen(Protocol.SMTP))
    await wire.line()
    task = site.open[0]._task
    assert task is not None
    task.cancel()
    assert await wire.rest() == b""
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [reason for _, reason in site.finished] == ["cancelled"]
    site.open.clear()
    site.finished.clear()
