"""SMTP (RFC 5321): aiosmtpd's commands over our conversation.

aiosmtpd parses MAIL, RCPT and AUTH and keeps the state of a session. Ours are: reading (strict line ends,
time-outs, half-closed clients), replies to errors (no exception text), STARTTLS, DATA, and every decision.
"""

from __future__ import annotations

import logging
from typing import Any, NoReturn

from aiosmtpd.smtp import MISSING

from reference_server import limits
from reference_server.delivery import router, trace
from reference_server.protocols.conversation import (
    Ending,
    IdleTooLong,
    LineTooLong,
    ShuttingDown,
)
from reference_server.protocols.smtp_auth import Authentication
from reference_server.protocols.smtp_data import DataText
from reference_server.protocols.smtp_path import NULL_SENDER, domain_of, is_name, parse_path
from reference_server.session import NewMail, Services, Session

log = logging.getLogger(__name__)

# aiosmtpd logs every command, addresses included; our events are logged elsewhere.
logging.getLogger("mail.log").setLevel(logging.CRITICAL)

NOT_RECOGNIZED = "500 5.5.1 Command not recognized"
LINE_TOO_LONG = "500 5.5.2 Command line too long"
BAD_LINE = "500 5.5.2 A command is a line of ASCII that ends with CR LF (RFC 5321 section 2.3.8)"
STARTTLS_FIRST = "530 5.7.0 Must issue a STARTTLS command first"
NOT_STORED = "451 4.3.0 The message could not be stored; try again later"
ROUTING_LOOP = "554 5.4.6 Too many hops: the message loops"
TOO_MANY_RECIPIENTS = "452 4.5.3 Too many recipients"
TOO_MANY_ERRORS = "421 4.7.0 Too many errors; closing"

_BEFORE_TLS = {"NOOP", "EHLO", "STARTTLS", "QUIT"}  # RFC 3207 section 4
_ERRORS = ("500", "501", "502", "503", "504")


class SmtpSession(Authentication):
    """One SMTP client."""

    def __init__(self, client: Session, services: Services) -> None:
        super().__init__(client, services)
        self._local: list[int] = []
        self._remote: list[str] = []
        self._errors = 0
        self._messages = 0

    # --- the conversation -----------------------------------------------------------------------------

    async def converse(self) -> NoReturn:
        """Greet, then answer one command after the other."""
        self._new_session()
        settings = self.services.settings()
        text = settings.welcome_smtp.partition("\n")[0].strip() or "ESMTP Sixpost ready"
        await self.push(f"220 {self.hostname} {text}")
        while True:
            await self._command()
            if self._errors > limits.BAD_COMMANDS:
                await self.push(TOO_MANY_ERRORS)
                raise Ending("too many errors")

    async def _command(self) -> None:
        """Read and answer one command."""
        try:
            line = await self.read_line(limits.SMTP_AUTH_LINE, limits.SMTP_COMMAND_TIMEOUT)
        except LineTooLong:
            await self.push(LINE_TOO_LONG)
            return
        text = line[:-2]
        if not line.endswith(b"\r\n") or b"\r" in text or b"\0" in text or not text.isascii():
            await self.push(BAD_LINE)
            return
        command, _, argument = text.decode("ascii").partition(" ")
        command = command.upper()
        if len(line) > _line_limit(command):
            await self.push(LINE_TOO_LONG)
        elif self.tls_required and command not in _BEFORE_TLS:
            await self.push(STARTTLS_FIRST)
        elif (method := self._smtp_methods.get(command)) is None:
            await self.push(NOT_RECOGNIZED)
        else:
            await method(argument.strip() or None)

    def farewell(self, reason: Exception) -> bytes:
        """Say 421 (RFC 5321 section 3.8)."""
        texts: dict[type[Exception], str] = {
            ShuttingDown: "4.3.2 Server stops",
            IdleTooLong: "4.4.2 Time-out; closing",
        }
        return f"421 {texts.get(type(reason), '4.3.0 Internal error')}\r\n".encode("ascii")

    async def push(self, status: str | bytes) -> None:
        """Send one reply line."""
        if isinstance(status, str):
            status = status.encode("ascii", "backslashreplace")
        if status.startswith(tuple(code.encode() for code in _ERRORS)):
            self._errors += 1
        await self.send(status + b"\r\n")

    def _new_session(self) -> None:
        """Forget everything that the client said (RFC 5321 section 3.1, RFC 3207 section 4.2)."""
        self.hostname = self.services.settings().host_name
        self.session = self._create_session()
        self.account = None
        self._set_rset_state()

    def _set_post_data_state(self) -> None:
        super()._set_post_data_state()
        self._local = []
        self._remote = []

    # --- aiosmtpd's commands, mended ------------------------------------------------------------------

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        return parse_path(arg) or (None, None)

    async def _call_handler_hook(self, command: str, *args: Any) -> Any:
        if command == "MAIL":
            return self._sender(*args)
        if command == "RCPT":
            return self._recipient(*args)
        return MISSING

    async def smtp_HELO(self, hostname: str | None) -> None:  # noqa: N802
        if hostname is None or not is_name(hostname):
            await self.push("501 5.5.4 Syntax: HELO hostname")
            return
        await super().smtp_HELO(hostname)

    async def smtp_EHLO(self, hostname: str | None) -> None:  # noqa: N802
        if hostname is None or not is_name(hostname):
            await self.push("501 5.5.4 Syntax: EHLO hostname, or an address literal: [IPv6:2001:db8::1]")
            return
        self._set_rset_state()
        self.session.extended_smtp = True
        self.session.host_name = hostname
        extensions = [self.hostname, f"SIZE {self._size_setting()}", "8BITMIME", "PIPELINING"]
        if self.tls_offered:
            extensions.append("STARTTLS")
        if mechanisms := self.mechanisms():
            extensions.append("AUTH " + " ".join(mechanisms))
        extensions.append("HELP")
        lines = [f"250-{text}\r\n" for text in extensions[:-1]] + [f"250 {extensions[-1]}\r\n"]
        await self.send("".join(lines).encode("ascii", "backslashreplace"))

    async def smtp_STARTTLS(self, arg: str | None) -> None:  # noqa: N802
        if arg:
            await self.push("501 5.5.4 Syntax: STARTTLS")
        elif self.tls:
            await self.push("503 5.5.1 TLS is already active")
        elif self.client.starttls is None:
            await self.push("502 5.5.1 STARTTLS is not offered on this port")
        else:
            await self.push("220 2.0.0 Ready to start TLS")
            await self.start_tls(self.client.starttls)
            self._new_session()

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802
        self.data_size_limit = self._size_limit()
        await super().smtp_MAIL(_without_auth_parameter(arg))

    async def smtp_QUIT(self, arg: str | None) -> None:  # noqa: N802
        if arg:
            await self.push("501 5.5.4 Syntax: QUIT")
            return
        await self.push("221 2.0.0 Bye")
        raise Ending("quit")

    async def smtp_VRFY(self, arg: str | None) -> None:  # noqa: N802
        # RFC 5321 section 3.5.3: who is here is told to nobody.
        await self.push(
            "252 2.1.5 Cannot verify; send the mail and see" if arg else "501 5.5.4 Syntax: VRFY name"
        )

    # --- the envelope ---------------------------------------------------------------------------------

    def _sender(self, address: str, options: list[str]) -> object:
        if address != NULL_SENDER and "@" not in address:
            return "553 5.1.7 The sender's address needs a domain"
        self.envelope.mail_from = address
        self.envelope.mail_options.extend(options)
        return "250 2.1.0 Sender accepted"

    def _recipient(self, address: str, _options: list[str]) -> str:
        if address == NULL_SENDER:
            return "553 5.1.3 The null path is no recipient"
        if len(self.envelope.rcpt_tos) >= limits.SMTP_RECIPIENTS:
            return TOO_MANY_RECIPIENTS
        if "@" not in address:
            if address.lower() != "postmaster":
                return "553 5.1.3 The recipient's address needs a domain"
            # RFC 5321 section 4.5.1
            address = f"postmaster@{self.hostname}"
        accounts = self.services.accounts
        local = accounts.is_local_domain(domain_of(address))
        account = accounts.find(address) if local else None
        sender_domain = domain_of(self.envelope.mail_from)
        decision = router.decide(
            self.client.ip_range,
            router.Envelope(
                sender_local=bool(sender_domain) and accounts.is_local_domain(sender_domain),
                recipient_local=local,
                recipient_known=account is not None,
                authenticated=self.account is not None,
            ),
        )
        if isinstance(decision, router.Reject):
            return decision.reply
        if account is not None:
            self._local.append(account.id)
        else:
            self._remote.append(address)
        self.envelope.rcpt_tos.append(address)
        return "250 2.1.5 Recipient accepted"

    def _size_setting(self) -> int:
        """Return the maximum size in octets as EHLO tells it; 0 = none (RFC 1870 section 4)."""
        return max(0, self.services.settings().max_message_size_kb) * 1024

    def _size_limit(self) -> int:
        return self._size_setting() or limits.SMTP_MESSAGE_WITHOUT_LIMIT

    # --- the message ----------------------------------------------------------------------------------

    async def smtp_DATA(self, arg: str | None) -> None:  # noqa: N802
        if await self.check_helo_needed():
            return
        if not self.envelope.rcpt_tos:
            await self.push("503 5.5.1 Need RCPT before DATA")
            return
        if arg:
            await self.push("501 5.5.4 Syntax: DATA")
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        text = DataText(self._size_limit())
        while not text.complete:
            self.unread(text.feed(await self.read_some(limits.SMTP_COMMAND_TIMEOUT)))
        reply = text.fault.value if text.fault is not None else await self._store(text)
        self._set_rset_state()
        await self.push(reply)

    async def _store(self, text: DataText) -> str:
        """Store the message for every recipient; return the reply: 250 only when it is on the disk."""
        if trace.hops(text.beginning(limits.IN_LOOP_OCTETS)) > limits.SMTP_HOPS:
            return ROUTING_LOOP
        self._messages += 1
        now = self.services.now()
        # Microseconds: sessions are counted from 1 again by a server that was restarted within the second.
        identity = f"{int(now.timestamp() * 1_000_000):x}.{self.client.id:x}.{self._messages:x}"
        sender = self.envelope.mail_from
        hop = trace.Hop(
            helo=self.session.host_name,
            peer=self.client.peer,
            host_name=self.hostname,
            protocol=trace.with_protocol(
                extended=self.session.extended_smtp, tls=self.tls, authenticated=self.account is not None
            ),
            id=identity,
            time=now,
            recipients=tuple(self.envelope.rcpt_tos),
        )
        sender = "" if sender == NULL_SENDER else sender
        return_path = trace.return_path(sender)
        content = text.content(return_path + trace.received(hop))
        try:
            if self._remote:
                mail = NewMail(
                    sender=sender,
                    content=content,
                    skip=len(return_path),
                    received=now,
                    local=tuple(self._local),
                    remote=tuple(self._remote),
                    trace_id=identity,
                    helo=hop.helo[: limits.SMTP_DOMAIN],
                    peer=hop.peer,
                )
                await self.services.queue.accept(mail)
            else:
                await self.services.mail.deliver(self._local, content, now)
        except Exception:
            # Whatever happened: the client keeps the message, and its user reads no exception.
            log.exception("session %d: message %s was not stored", self.client.id, identity)
            return NOT_STORED
        self.services.message_accepted()
        return f"250 2.0.0 Stored as {identity}"


def _line_limit(command: str) -> int:
    if command == "AUTH":
        return limits.SMTP_AUTH_LINE
    return limits.SMTP_EXTENDED_COMMAND_LINE if command in {"MAIL", "RCPT"} else limits.SMTP_COMMAND_LINE


def _without_auth_parameter(arg: str | None) -> str | None:
    """Drop AUTH= of MAIL: accepted and not trusted (RFC 4954 section 5)."""
    if arg is None or " " not in arg:
        return arg
    path, *parameters = arg.split(" ")
    return " ".join([path, *(word for word in parameters if not word.upper().startswith("AUTH="))])
