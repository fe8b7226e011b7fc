"""AUTH of SMTP (RFC 4954): PLAIN and LOGIN, checked against the accounts; aiosmtpd keeps the exchange."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections import defaultdict

from aiosmtpd.smtp import SMTP, AuthResult

from reference_server import limits
from reference_server.protocols.conversation import Conversation, Ending, LineTooLong
from reference_server.session import Services, Session
from reference_server.settings import Account

TLS_FOR_AUTH = "538 5.7.11 Encryption required for requested authentication mechanism"
AUTH_FAILED = "535 5.7.8 Authentication credentials invalid"
AUTH_SYNTAX = "501 5.5.2 Cannot decode the authentication response"


class Authentication(Conversation, SMTP):
    """A conversation with aiosmtpd's commands, and who the client is."""

    AuthLoginUsernameChallenge = "Username:"
    AuthLoginPasswordChallenge = "Password:"

    def __init__(self, client: Session, services: Services) -> None:
        Conversation.__init__(self, client, services)
        # aiosmtpd shares this one among all sessions, and changes it at EHLO.
        self.command_size_limits: defaultdict[str, int] = defaultdict(lambda: limits.SMTP_COMMAND_LINE)
        SMTP.__init__(
            self,
            None,
            hostname=services.settings().host_name,
            tls_context=client.starttls,
            auth_require_tls=False,
            loop=asyncio.get_running_loop(),
        )
        self.account: Account | None = None
        self._failed_logins = 0

    def mechanisms(self) -> list[str]:
        """Return what AUTH may use now; nothing where a password must not come over this connection."""
        if not self.login_allowed:
            return []
        return ["PLAIN", "LOGIN"] if self.services.settings().allow_smtp_auth_plain else ["LOGIN"]

    async def smtp_AUTH(self, arg: str | None) -> None:  # noqa: N802
        if not self.session.extended_smtp:
            await self.push("503 5.5.1 Send EHLO first")
        elif self.account is not None:
            await self.push("503 5.5.1 Already authenticated")
        elif self.envelope.mail_from:
            await self.push("503 5.5.1 AUTH is not permitted during a mail transaction")
        elif not self.login_allowed:
            await self.push(TLS_FOR_AUTH)
        elif arg is None or len(words := arg.split()) > 2:
            await self.push("501 5.5.4 Syntax: AUTH mechanism [initial-response]")
        elif words[0].upper() not in self.mechanisms():
            await self.push("504 5.5.4 Unrecognized authentication type")
        else:
            await super().smtp_AUTH(" ".join((words[0].upper(), *words[1:])))
            if self._failed_logins >= limits.LOGIN_ATTEMPTS:
                await self.push("421 4.7.0 Too many failed logins; closing")
                raise Ending("too many failed logins")

    async def auth_PLAIN(self, _: object, args: list[str]) -> AuthResult:  # noqa: N802
        response = await self._response("", args)
        parts = response.split(b"\0") if response is not None else []
        if response is not None and len(parts) != 3:
            await self.push(AUTH_SYNTAX)
        if len(parts) != 3:
            return AuthResult(success=False, handled=True)
        return await self._login(parts[1], parts[2])

    async def auth_LOGIN(self, _: object, args: list[str]) -> AuthResult:  # noqa: N802
        login = await self._response(self.AuthLoginUsernameChallenge, args)
        if login is None:
            return AuthResult(success=False, handled=True)
        password = await self._response(self.AuthLoginPasswordChallenge, [])
        if password is None:
            return AuthResult(success=False, handled=True)
        return await self._login(login, password)

    async def _response(self, challenge: str, args: list[str]) -> bytes | None:
        """Return the client's initial response, or its answer to ``challenge``; None after an error reply."""
        if len(args) > 1:
            text = b"" if args[1] == "=" else args[1].encode("ascii")
        else:
            await self.push(b"334 " + b64encode(challenge.encode("ascii")))
            try:
                text = await self.read_line(limits.SMTP_AUTH_LINE, limits.SMTP_COMMAND_TIMEOUT)
            except LineTooLong:
                await self.push("500 5.5.6 Authentication exchange line is too long")
                return None
            text = text.strip()
            if text == b"*":
                await self.push("501 5.7.0 Authentication cancelled")
                return None
        try:
            return a2b_base64(text, strict_mode=bool(text))
        except Base64Error:
            await self.push(AUTH_SYNTAX)
            return None

    async def _login(self, login: bytes, password: bytes) -> AuthResult:
        try:
            account = await self.services.accounts.authenticate(login.decode(), password.decode())
        except UnicodeDecodeError:
            account = None
        if account is None:
            self._failed_logins += 1
            return AuthResult(success=False, handled=False, message=AUTH_FAILED)
        self.account = account
        return AuthResult(success=True, message="235 2.7.0 Authentication successful")
