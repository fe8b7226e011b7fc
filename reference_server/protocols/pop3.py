"""POP3 (RFC 1939, with CAPA of RFC 2449, STLS of RFC 2595, response codes of RFC 3206).

Not Twisted's: its module imports, and so installs, a reactor (`twisted.mail.pop3` → `twisted.mail.smtp`).
A session sees INBOX as it was at its login. The maildrop is not locked (RFC 1939 section 4): numbers hold
for one session, deleting twice harms nobody, and a dead session must not keep its user out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import ClassVar, NoReturn

from reference_server import limits
from reference_server.protocols.conversation import Conversation, Ending, IdleTooLong, LineTooLong
from reference_server.session import Mailbox, Services, Session, StoredMessage
from reference_server.settings import Account

_LINE_SLICE = 64 * 1024


class _Refused(Exception):  # noqa: N818
    """The command is answered with -ERR; the argument is the text."""


class Pop3Session(Conversation):
    """One POP3 client."""

    def __init__(self, client: Session, services: Services) -> None:
        super().__init__(client, services)
        self._user: str | None = None
        self._account: Account | None = None
        self._inbox: Mailbox | None = None
        self._messages: list[StoredMessage] = []
        self._deleted: set[int] = set()
        self._errors = 0
        self._failed_logins = 0

    async def converse(self) -> NoReturn:
        """Greet, then answer one command after the other."""
        settings = self.services.settings()
        text = settings.welcome_pop3.partition("\n")[0].strip() or f"{settings.host_name} POP3 server ready"
        # Angle brackets would offer APOP (RFC 1939 section 7).
        await self._answer(f"+OK {text.replace('<', '(').replace('>', ')')}")
        while True:
            try:
                await self._command()
            except _Refused as refused:
                await self._answer(f"-ERR {refused}")
                self._errors += 1
                if self._errors > limits.BAD_COMMANDS:
                    raise Ending("too many errors") from None
            except LineTooLong:
                await self._answer("-ERR line too long")

    def farewell(self, reason: Exception) -> bytes:
        """Say nothing after a time-out (RFC 1939 section 3), else -ERR with [SYS/TEMP] (RFC 3206)."""
        if isinstance(reason, IdleTooLong):
            return b""
        return b"-ERR [SYS/TEMP] closing: the server stops or had an internal error\r\n"

    async def _command(self) -> None:
        line = await self.read_line(limits.POP3_COMMAND_LINE, limits.POP3_IDLE_TIMEOUT)
        text = line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "replace")
        word, _, argument = text.partition(" ")
        word = word.upper()
        commands = self._AUTHORIZATION if self._account is None else self._TRANSACTION
        command = commands.get(word)
        if command is None:
            known = word in self._AUTHORIZATION or word in self._TRANSACTION
            raise _Refused("not in this state" if known else "unknown command")
        await command(self, argument)

    async def _answer(self, *lines: str) -> None:
        await self.send("".join(f"{line}\r\n" for line in lines).encode("utf-8", "replace"))

    # --- any state ------------------------------------------------------------------------------------

    async def _capa(self, _argument: str) -> None:
        lines = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER"]
        if self.login_allowed:
            lines.insert(0, "USER")
        if self.tls_offered and self._account is None:
            lines.append("STLS")
        await self._answer("+OK what this server can do", *lines, "IMPLEMENTATION Sixpost", ".")

    # --- AUTHORIZATION --------------------------------------------------------------------------------

    def _check_login_allowed(self) -> None:
        if not self.login_allowed:
            raise _Refused("TLS is required before a login" + (": use STLS" if self.tls_offered else ""))

    async def _stls(self, argument: str) -> None:
        if argument:
            raise _Refused("STLS takes no argument")
        if self.client.starttls is None or self.tls:
            raise _Refused("STLS is not available")
        await self._answer("+OK begin the TLS negotiation")
        await self.start_tls(self.client.starttls)
        self._user = None

    async def _user_name(self, argument: str) -> None:
        self._check_login_allowed()
        if not argument:
            raise _Refused("USER needs a name")
        self._user = argument
        await self._answer("+OK send PASS")

    async def _password(self, argument: str) -> None:
        self._check_login_allowed()
        user, self._user = self._user, None
        if user is None:
            raise _Refused("USER comes before PASS")
        account = await self.services.accounts.authenticate(user.strip(), argument)
        if account is None:
            self._failed_logins += 1
            await self._answer("-ERR [AUTH] wrong name or password")
            if self._failed_logins >= limits.LOGIN_ATTEMPTS:
                raise Ending("too many failed logins")
            return
        self._inbox = (await self.services.mail.mailboxes(account.id))[0]
        self._messages = await self.services.mail.messages(self._inbox.id)
        self._account = account
        await self._answer(f"+OK {len(self._messages)} messages")

    async def _leave(self, _argument: str) -> None:
        await self._answer("+OK bye")
        raise Ending("quit")

    # --- TRANSACTION ----------------------------------------------------------------------------------

    def _existing(self) -> list[tuple[int, StoredMessage]]:
        return [
            (number, message)
            for number, message in enumerate(self._messages, 1)
            if number not in self._deleted
        ]

    def _message(self, text: str) -> tuple[int, StoredMessage]:
        """Return the message of a number. Raises _Refused."""
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
        if not 1 <= number <= len(self._messages):
            raise _Refused("no such message")
        if number in self._deleted:
            raise _Refused("the message is marked for deletion")
        return number, self._messages[number - 1]

    async def _stat(self, _argument: str) -> None:
        existing = self._existing()
        await self._answer(f"+OK {len(existing)} {sum(message.size for _, message in existing)}")

    async def _listing(self, argument: str, value: Callable[[StoredMessage], object]) -> None:
        if argument:
            number, message = self._message(argument.strip())
            await self._answer(f"+OK {number} {value(message)}")
            return
        lines = [f"{number} {value(message)}" for number, message in self._existing()]
        await self._answer("+OK", *lines, ".")

    async def _list(self, argument: str) -> None:
        await self._listing(argument, lambda message: message.size)

    async def _uidl(self, argument: str) -> None:
        assert self._inbox is not None
        validity = self._inbox.uid_validity
        await self._listing(argument, lambda message: f"{validity}.{message.uid}")

    async def _content(self, message: StoredMessage) -> bytes:
        try:
            return await self.services.mail.content(message.id)
        except LookupError:
            raise _Refused("another session has deleted the message") from None

    async def _retr(self, argument: str) -> None:
        _, message = self._message(argument.strip())
        await self._send_text(await self._content(message), f"+OK {message.size} octets")

    async def _top(self, argument: str) -> None:
        words = argument.split()
        if len(words) != 2 or not words[1].isascii() or not words[1].isdigit():
            raise _Refused("TOP needs a message and a number of lines")
        _, message = self._message(words[0])
        content = await self._content(message)
        lines = int(words[1]) if len(words[1]) < 10 else len(content)
        await self._send_text(await asyncio.to_thread(top, content, lines), "+OK top of message")

    async def _send_text(self, content: bytes, first: str) -> None:
        await self._answer(first)
        for piece in stuffed(content):
            await self.send(piece)

    async def _dele(self, argument: str) -> None:
        number, _ = self._message(argument.strip())
        self._deleted.add(number)
        await self._answer("+OK marked for deletion")

    async def _noop(self, _argument: str) -> None:
        await self._answer("+OK")

    async def _rset(self, _argument: str) -> None:
        self._deleted.clear()
        await self._answer("+OK nothing is marked for deletion")

    async def _update(self, _argument: str) -> None:
        """QUIT in the transaction state: the marked messages go now, and only now (RFC 1939 section 6)."""
        if self._deleted and self._inbox is not None:
            ids = [self._messages[number - 1].id for number in sorted(self._deleted)]
            await self.services.mail.remove(self._inbox.id, ids)
        await self._answer("+OK bye")
        raise Ending("quit")

    _AUTHORIZATION: ClassVar[dict[str, Callable[[Pop3Session, str], Awaitable[None]]]] = {
        "CAPA": _capa,
        "STLS": _stls,
        "USER": _user_name,
        "PASS": _password,
        "QUIT": _leave,
    }
    _TRANSACTION: ClassVar[dict[str, Callable[[Pop3Session, str], Awaitable[None]]]] = {
        "CAPA": _capa,
        "STAT": _stat,
        "LIST": _list,
        "UIDL": _uidl,
        "RETR": _retr,
        "TOP": _top,
        "DELE": _dele,
        "NOOP": _noop,
        "RSET": _rset,
        "QUIT": _update,
    }


def top(content: bytes, lines: int) -> bytes:
    """Return the header, the blank line, and the first ``lines`` lines of the body (RFC 1939 section 7)."""
    end = content.find(b"\r\n\r\n")
    if end < 0:
        return content
    end += 4
    for _ in range(lines):
        following = content.find(b"\r\n", end)
        if following < 0:
            return content
        end = following + 2
    return content[:end]


def stuffed(content: bytes) -> Iterator[bytes]:
    """Return ``content`` as a multi-line answer: dots doubled at line starts, the final dot (section 3)."""
    start = 0
    while start < len(content):
        end = content.find(b"\r\n", start + _LINE_SLICE)
        end = len(content) if end < 0 else end + 2
        piece = content[start:end].replace(b"\r\n.", b"\r\n..")
        yield b"." + piece if piece.startswith(b".") else piece
        start = end
    if content and not content.endswith(b"\r\n"):
        yield b"\r\n"
    yield b".\r\n"
