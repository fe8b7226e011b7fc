"""The client's half of SMTP over one connection: hello, TLS, authentication, and message after message.

An own client, not aiosmtplib: that one normalises line ends and dots of its own, and what was stored has to
leave octet for octet (RFC 5321 section 2.3.8).
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from reference_server import limits
from reference_server.delivery.next_hop import Route, Target, ehlo_name
from reference_server.delivery.results import Reply, Result, failed, from_reply, later
from reference_server.delivery.wire import Lost, Wire
from reference_server.settings import ConnectionSecurity

_END = b".\r\n"


class HopFailed(Exception):  # noqa: N818 - an answer
    """This server does not take the message now, or never; another one may. ``result`` says which."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.reason)
        self.result = result


class TlsRefused(HopFailed):
    """It offered TLS, and the handshake failed: it may be asked again without, where that is allowed."""


class Stale(Exception):  # noqa: N818 - an event
    """A connection that was kept for later had ended meanwhile; nothing of the message was taken."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent. ``content`` has whole lines that end with CR LF."""

    sender: str
    content: bytes
    eight_bit: bool


class SmtpClient:
    """A session with a next hop: `hello` once, then `send` for each message, `quit` at the end."""

    def __init__(self, wire: Wire, target: Target, route: Route) -> None:
        self._wire = wire
        self._route = route
        self._extensions: dict[str, str] = {}
        self._broken = False
        self.target = target
        self.sent = 0
        """Messages that were begun over this connection."""

    @property
    def usable(self) -> bool:
        """Whether the other side has not ended the session meanwhile."""
        return not (self._broken or self._wire.ended)

    # --- the session ----------------------------------------------------------------------------------

    async def hello(self, *, avoid_tls: bool = False) -> None:
        """Hear the greeting, say hello, start TLS and authenticate, as the route wants it.

        Raises HopFailed.
        """
        route, security = self._route, self._route.security
        try:
            if security is ConnectionSecurity.TLS:
                await self._start_tls()
            self._expect(await self._reply(limits.OUT_GREETING), "the greeting")
            await self._ehlo()
            if security is ConnectionSecurity.STARTTLS_REQUIRED or (
                security is ConnectionSecurity.STARTTLS_OPTIONAL
                and "STARTTLS" in self._extensions
                and not avoid_tls
            ):
                await self._upgrade()
            if route.authenticate:
                await self._authenticate()
        except Lost as lost:
            raise HopFailed(self._lost(lost)) from None

    async def quit(self) -> None:
        """Say goodbye and close; never raises."""
        try:
            await self._wire.write(b"QUIT\r\n", limits.OUT_QUIT)
            await self._wire.read_line(limits.OUT_QUIT)
            await self._wire.close()
        except Lost:
            pass
        finally:
            self._wire.abort()

    def abort(self) -> None:
        """Cut the connection."""
        self._wire.abort()

    async def _ehlo(self) -> None:
        name = ehlo_name(self._route.host_name, self._wire.local)
        reply = await self._command(f"EHLO {name}")
        self._extensions = {}
        if not reply.positive:
            if not reply.permanent:
                self._expect(reply, "EHLO")
            # RFC 5321 section 3.2: an old server knows HELO.
            self._expect(await self._command(f"HELO {name}"), "HELO")
            return
        for line in reply.lines[1:]:
            keyword, _, parameters = line.partition(" ")
            self._extensions[keyword.upper()] = parameters

    async def _upgrade(self) -> None:
        if "STARTTLS" not in self._extensions:
            raise HopFailed(later("4.7.10", f"{self.target} does not offer STARTTLS, which is required"))
        reply = await self._command("STARTTLS")
        if reply.code != 220:
            if self._route.security is ConnectionSecurity.STARTTLS_OPTIONAL:
                return
            raise HopFailed(later("4.7.10", f"{self.target} refused STARTTLS: {reply.text}"))
        await self._start_tls()
        await self._ehlo()  # what was heard before TLS does not count (RFC 3207 section 4.2)

    async def _start_tls(self) -> None:
        target, verify = self.target, self._route.verify
        try:
            await self._wire.start_tls(
                client_context(verify=verify), target.name or target.address.compressed
            )
        except Lost as lost:
            raise TlsRefused(later("4.7.5", f"{target}: {lost}")) from None

    async def _authenticate(self) -> None:
        """Log in. A refusal is temporary: the fault is in the settings, not in the message."""
        offered = self._extensions.get("AUTH", "").upper().split()
        user, password = self._route.username.encode(), self._route.password.encode()
        if "PLAIN" in offered:
            reply = await self._secret(b"AUTH PLAIN " + b64encode(b"\0" + user + b"\0" + password))
        elif "LOGIN" in offered:
            reply = await self._command("AUTH LOGIN")
            for word in (user, password):
                if reply.code == 334:
                    reply = await self._secret(b64encode(word))
        else:
            raise HopFailed(later("4.7.0", f"{self.target} offers neither AUTH PLAIN nor AUTH LOGIN"))
        if reply.code != 235:
            raise HopFailed(later("4.7.8", f"{self.target} refused the login: {reply.text}"))

    # --- messages -------------------------------------------------------------------------------------

    async def send(self, message: Message, recipients: Sequence[str]) -> list[Result]:
        """Send a message; return what became of each recipient, in their order.

        Raises HopFailed when this server cannot have it at all; Stale, see there.
        """
        if refusal := self._cannot_take(message):
            raise HopFailed(refusal)
        reused = self.sent > 0
        self.sent += 1
        try:
            mail = await self._mail(message, recipients)
        except Lost as lost:
            if reused:
                raise Stale(str(lost)) from None
            raise HopFailed(self._lost(lost)) from None
        if mail.code == 421 and reused:
            raise Stale(mail.text)
        if mail.positive:
            return await self._to_recipients(message, recipients)
        if self._pipelining:
            await self._pass_over(len(recipients))
        await self._reset()
        return [self._result(mail) for _ in recipients]

    @property
    def _pipelining(self) -> bool:
        return "PIPELINING" in self._extensions

    def _cannot_take(self, message: Message) -> Result | None:
        """Say why this server cannot have the message, from what it said of itself."""
        if message.eight_bit and "8BITMIME" not in self._extensions:
            # RFC 6152 section 3: sent as it is, it might be damaged, and nobody would be told.
            return failed("5.6.3", f"{self.target} takes no 8-bit text (it offers no 8BITMIME)")
        size = self._extensions.get("SIZE", "").strip()
        if size.isascii() and size.isdecimal() and 0 < int(size) < len(message.content):
            return failed("5.3.4", f"{self.target} takes {size} octets at most (SIZE)")
        return None

    async def _mail(self, message: Message, recipients: Sequence[str]) -> Reply:
        """Begin the transaction; return the answer to MAIL. With PIPELINING everything up to DATA is said."""
        parameters = ""
        if "SIZE" in self._extensions:
            parameters += f" SIZE={len(message.content)}"
        if message.eight_bit:
            parameters += " BODY=8BITMIME"
        commands = [f"MAIL FROM:<{message.sender}>{parameters}"]
        if self._pipelining:  # RFC 2920
            commands += [f"RCPT TO:<{recipient}>" for recipient in recipients]
            commands.append("DATA")
        await self._say("".join(f"{command}\r\n" for command in commands).encode("ascii", "replace"))
        return await self._reply(limits.OUT_COMMAND)

    async def _to_recipients(self, message: Message, recipients: Sequence[str]) -> list[Result]:
        """Go on after MAIL. A recipient that was refused before the connection ended stays refused."""
        replies: list[Reply] = []
        try:
            for recipient in recipients:
                if not self._pipelining:
                    await self._say(f"RCPT TO:<{recipient}>\r\n".encode("ascii", "replace"))
                replies.append(await self._reply(limits.OUT_COMMAND))
            if any(reply.positive for reply in replies):
                end = await self._data(message)
            else:
                if self._pipelining:
                    await self._pass_over(0)
                await self._reset()
                end = self._result(replies[0])
        except Lost as lost:
            end = self._lost(lost)
        replies += [Reply(250)] * (len(recipients) - len(replies))
        return [end if reply.positive else self._result(reply) for reply in replies]

    async def _data(self, message: Message) -> Result:
        """Send the text; return what that means for those who were accepted. Raises Lost before its end."""
        if not self._pipelining:
            await self._say(b"DATA\r\n")
        reply = await self._reply(limits.OUT_DATA_INITIATION)
        if reply.code != 354:
            await self._reset()
            if reply.positive:
                return later("4.5.0", f"{self.target} answered DATA with {reply.text}")
            return self._result(reply)
        stuffed = memoryview(dot_stuffed(message.content) + _END)
        ended = False
        try:
            for start in range(0, len(stuffed), limits.OUT_BLOCK):
                ended = start + limits.OUT_BLOCK >= len(stuffed)
                await self._wire.write(stuffed[start : start + limits.OUT_BLOCK], limits.OUT_DATA_BLOCK)
            reply = await self._reply(limits.OUT_DATA_TERMINATION)
        except Lost as lost:
            return replace(self._lost(lost), unclear=ended)
        if 300 <= reply.code < 400:
            return later("4.5.0", f"{self.target} answered the text with {reply.text}")
        return self._result(reply)

    async def _pass_over(self, recipients: int) -> None:
        """Read the answers to what was pipelined in vain: so many RCPT, and DATA."""
        try:
            for _ in range(recipients):
                await self._reply(limits.OUT_COMMAND)
            if (await self._reply(limits.OUT_DATA_INITIATION)).code == 354:
                # RFC 2920 section 3.1: it wants a text, though it has nobody to give it to.
                await self._say(_END)
                await self._reply(limits.OUT_DATA_TERMINATION)
        except Lost as lost:
            self._lost(lost)

    async def _reset(self) -> None:
        """End a transaction that came to nothing, so that the next one may begin."""
        try:
            if self.usable:
                await self._command("RSET")
        except Lost as lost:
            self._lost(lost)

    # --- talking --------------------------------------------------------------------------------------

    async def _command(self, line: str) -> Reply:
        await self._say(f"{line}\r\n".encode("ascii", "replace"))
        return await self._reply(limits.OUT_COMMAND)

    async def _secret(self, line: bytes) -> Reply:
        await self._say(line + b"\r\n")
        return await self._reply(limits.OUT_COMMAND)

    async def _say(self, data: bytes) -> None:
        await self._wire.write(data, limits.OUT_COMMAND)

    async def _reply(self, timeout: float) -> Reply:
        """Return the next reply. Raises Lost, also for what is none."""
        lines: list[str] = []
        while len(lines) < limits.OUT_REPLY_LINES:
            line = (await self._wire.read_line(timeout)).decode("ascii", "replace")
            code, mark = line[:3], line[3:4]
            if not (code.isascii() and code.isdecimal() and "2" <= code[0] <= "5" and mark in ("", " ", "-")):
                raise Lost(f"it does not speak SMTP: {line[:80]!r}")
            lines.append(line[4:])
            if mark != "-":
                self._broken |= code == "421"  # RFC 5321 section 3.8: it is going to close
                return Reply(int(code), tuple(lines))
        raise Lost("it sent an endless reply")

    def _expect(self, reply: Reply, what: str) -> None:
        """Raise HopFailed unless the reply to something of the session, not of a message, is good."""
        if reply.code // 100 != 2:
            result = self._result(reply)
            if reply.positive:
                result = later("4.5.0", f"{self.target} answered {what} with {reply.text}")
            raise HopFailed(result)

    def _result(self, reply: Reply) -> Result:
        return from_reply(reply, str(self.target))

    def _lost(self, lost: Lost) -> Result:
        """Return what the end of the connection means; nothing more can be said over it."""
        self._broken = True
        return later("4.4.2", f"{self.target}: {lost}")


@cache
def client_context(*, verify: bool) -> ssl.SSLContext:
    """Return the context for TLS with a next hop: TLS 1.2 and above (RFC 8996).

    With ``verify`` its certificate must name the host (or the address) and come from an authority that this
    system trusts; they are read once, which takes its time.
    """
    context = ssl.create_default_context() if verify else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def dot_stuffed(content: bytes) -> bytes:
    """Return the text with the dots of transparency (RFC 5321 section 4.5.2), otherwise unchanged."""
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    return b"." + stuffed if content[:1] == b"." else stuffed


def is_sendable(content: bytes) -> bool:
    """Say whether every line ends with CR LF, and no CR or LF is anywhere else: no smuggling through us."""
    pairs = content.count(b"\r\n")
    whole = not content or content.endswith(b"\r\n")
    return whole and content.count(b"\r") == pairs and content.count(b"\n") == pairs
