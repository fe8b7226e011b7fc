"""AUTH, and TLS before it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from reference_server.session import StoredMessage
from reference_server.settings import ConnectionSecurity, IpRange, Protocol

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


async def test_auth_login_and_lower_case_mechanism(site: Site, connect: Connect) -> None:
    wire = await greeted(site, connect)
    assert await wire.talk(b"auth login\r\n") == b"334 VXNlcm5hbWU6\r\n"
    assert await wire.talk(b64encode(b"ann@example.test") + b"\r\n") == b"334 UGFzc3dvcmQ6\r\n"
    assert (await wire.talk(b64encode(PASSWORD.encode()) + b"\r\n")).startswith(b"235 ")
    assert (await wire.talk(PLAIN)).startswith(b"503 ")


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([b"AUTH PLAIN " + b64encode(b"\0ann@example.test\0wrong")], b"535 5.7.8 "),
        ([b"AUTH PLAIN " + b64encode(b"\0nobody@example.test\0x")], b"535 5.7.8 "),
        ([b"AUTH PLAIN " + b64encode(b"\0\xff\0\xff")], b"535 5.7.8 "),
        ([b"AUTH PLAIN " + b64encode(b"only one part")], b"501 5.5.2 "),
        ([b"AUTH PLAIN ???"], b"501 5.5.2 "),
        ([b"AUTH PLAIN ="], b"501 5.5.2 "),
        ([b"AUTH PLAIN", b"*"], b"501 5.7.0 "),
        ([b"AUTH LOGIN", b"*"], b"501 5.7.0 "),
        ([b"AUTH LOGIN", b"YQ==", b"*"], b"501 5.7.0 "),
        ([b"AUTH CRAM-MD5"], b"504 "),
        ([b"AUTH"], b"501 "),
        ([b"AUTH PLAIN a b"], b"501 "),
    ],
)
async def test_auth_that_fails(site: Site, connect: Connect, lines: list[bytes], code: bytes) -> None:
    wire = await greeted(site, connect)
    for line in lines[:-1]:
        assert (await wire.talk(line + b"\r\n")).startswith(b"334 ")
    assert (await wire.talk(lines[-1] + b"\r\n")).startswith(code)
    assert (await wire.talk(b"NOOP\r\n")).startswith(b"250 ")


async def test_too_many_failed_logins_end_the_session(site: Site, connect: Connect) -> None:
    wire = await greeted(site, connect)
    for _ in range(5):
        assert (await wire.talk(b"AUTH PLAIN AGEAYg==\r\n")).startswith(b"535 ")
    assert (await wire.line()).startswith(b"421 4.7.0 ")
    assert await wire.rest() == b""
    assert await site.ended() == ["too many failed logins"]


async def test_tls_for_authentication(site: Site, connect: Connect, ranged: Ranged) -> None:
    strict = ranged(require_tls_for_auth=True)
    wire = await connect(
        await site.listen(Protocol.SMTP, ip_range=strict, security=ConnectionSecurity.STARTTLS_OPTIONAL)
    )
    await wire.line()
    wire.send(b"EHLO x\r\n")
    lines = [await wire.line() for _ in range(6)]
    assert b"250-STARTTLS\r\n" in lines
    assert not any(b"AUTH" in line for line in lines)
    assert (await wire.talk(PLAIN)).startswith(b"538 5.7.11 ")
    assert (await wire.talk(b"STARTTLS\r\n")).startswith(b"220 ")
    await wire.start_tls(site.certificates.client)
    # RFC 3207 section 4.2: nothing said before counts.
    assert (await wire.talk(b"MAIL FROM:<x@remote.test>\r\n")).startswith(b"503 ")
    wire.send(b"EHLO x\r\n")
    lines = [await wire.line() for _ in range(6)]
    assert b"250-AUTH PLAIN LOGIN\r\n" in lines
    assert not any(b"STARTTLS" in line for line in lines)
    assert (await wire.talk(b"STARTTLS\r\n")).startswith(b"503 ")
    assert (await wire.talk(PLAIN)).startswith(b"235 ")


async def test_implicit_tls_offers_auth_and_no_starttls(site: Site, connect: Connect, ranged: Ranged) -> None:
    port = await site.listen(
        Protocol.SMTP, security=ConnectionSecurity.TLS, ip_range=ranged(require_tls_for_auth=True)
    )
    wire = await connect(port, ssl=site.certificates.client)
    await wire.line()
    wire.send(b"EHLO x\r\n")
    lines = [await wire.line() for _ in range(6)]
    assert b"250-AUTH PLAIN LOGIN\r\n" in lines
    assert not any(b"STARTTLS" in line for line in lines)
    assert (await wire.talk(PLAIN)).startswith(b"235 ")
    await with_recipient(wire)
    await wire.talk(b"DATA\r\n")
    assert (await wire.talk(MESSAGE)).startswith(b"250 ")
    assert b" with ESMTPSA id " in await site.mail.content((await inbox(site))[0].id)


async def test_starttls_required(site: Site, connect: Connect) -> None:
    wire = await connect(await site.listen(Protocol.SMTP, security=ConnectionSecurity.STARTTLS_REQUIRED))
    await wire.line()
    for command in (b"HELO x", b"MAIL FROM:<x@y.test>", b"RSET", PLAIN.strip(), b"DATA", b"VRFY x"):
        assert (await wire.talk(command + b"\r\n")).startswith(b"530 5.7.0 ")
    assert (await wire.talk(b"EHLO x\r\n")).startswith(b"250 ")
    assert (await wire.talk(b"NOOP\r\n")).startswith(b"250 ")
    assert (await wire.talk(b"STARTTLS\r\n")).startswith(b"220 ")
    await wire.start_tls(site.certificates.client)
    await wire.talk(b"EHLO x\r\n")
    await with_recipient(wire)


async def test_a_login_before_starttls_does_not_count_after_it(
    site: Site, connect: Connect, ranged: Ranged
) -> None:
    wire = await greeted(
        site,
        connect,
        security=ConnectionSecurity.STARTTLS_OPTIONAL,
        ip_range=ranged(require_auth_remote_to_local=True),
    )
    assert (await wire.talk(PLAIN)).startswith(b"235 ")
    await with_recipient(wire)
    assert (await wire.talk(b"STARTTLS\r\n")).startswith(b"220 ")
    await wire.start_tls(site.certificates.client)
    await wire.talk(b"EHLO x\r\n")
    await wire.talk(b"MAIL FROM:<x@remote.test>\r\n")
    assert (await wire.talk(b"RCPT TO:<ann@example.test>\r\n")).startswith(b"530 ")


async def test_starttls_is_not_offered_on_a_plain_port(site: Site, connect: Connect) -> None:
    wire = await greeted(site, connect)
    assert (await wire.talk(b"STARTTLS\r\n")).startswith(b"502 ")


async def test_bytes_after_starttls_are_dropped(site: Site, connect: Connect) -> None:
    wire = await greeted(site, connect, security=ConnectionSecurity.STARTTLS_OPTIONAL)
    wire.send(b"STARTTLS\r\nEHLO injected\r\nMAIL FROM:<injected@remote.test>\r\n")
    assert (await wire.line()).startswith(b"220 ")
    await wire.start_tls(site.certificates.client)
    assert (await wire.talk(b"NOOP\r\n")) == b"250 OK\r\n"
    assert (await wire.talk(b"RCPT TO:<ann@example.test>\r\n")).startswith(b"503 ")


async def test_a_failed_handshake_ends_the_session_once(site: Site, connect: Connect) -> None:
    wire = await greeted(site, connect, security=ConnectionSecurity.STARTTLS_OPTIONAL)
    await wire.talk(b"STARTTLS\r\n")
    wire.send(b"this is no handshake\r\n")
    await wire.rest()
    (reason,) = await site.ended()
    assert reason.startswith("TLS handshake failed")
