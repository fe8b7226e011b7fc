"""Reading IMAP commands: lines and literals (RFC 3501 section 4.3, RFC 7888), with their limits."""

from __future__ import annotations

import re

from reference_server import limits
from reference_server.protocols.conversation import Conversation, Ending
from reference_server.protocols.imap.syntax import LITERAL_AT_END
from reference_server.session import Services, Session

_TAG = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\+]+")
_APPEND = re.compile(rb"\S+ APPEND ", re.IGNORECASE)


class CommandReading(Conversation):
    """A conversation that reads commands of IMAP."""

    def __init__(self, client: Session, services: Services) -> None:
        super().__init__(client, services)
        self._errors = 0

    async def line(self, text: str) -> None:
        """Send one line."""
        await self.send(text.encode("utf-8", "replace") + b"\r\n")

    async def error(self, command: bytes, text: str) -> None:
        """Answer ``command`` with NO or BAD; too many of them end the session."""
        tag = _TAG.match(command)
        await self.line(f"{tag[0].decode('ascii') if tag else '*'} {text}")
        self._errors += 1
        if self._errors > limits.BAD_COMMANDS:
            await self.line("* BYE too many errors")
            raise Ending("too many errors")

    async def read_command(self, *, logged_in: bool) -> tuple[bytes, list[bytes]]:
        """Return a command, its literals marked in the text, and the literals."""
        timeout = limits.IMAP_IDLE_TIMEOUT if logged_in else limits.IMAP_LOGIN_TIMEOUT
        text, literals = b"", list[bytes]()
        room = limits.IMAP_COMMAND
        while True:
            line = await self.read_line(room, timeout, interruptible=not text)
            room -= len(line)
            mark = LITERAL_AT_END.search(line)
            if mark is None:
                return text + line.removesuffix(b"\n").removesuffix(b"\r"), literals
            text += line.removesuffix(b"\n").removesuffix(b"\r") + b"\r\n"
            size, waits = int(mark[1]), mark[2] is None
            appending = logged_in and _APPEND.match(text) is not None
            if size > (self._message_limit() if appending else room):
                await self._refuse_literal(text, size, waits=waits)
                return await self.read_command(logged_in=logged_in)
            if not appending:
                room -= size
            if waits:
                await self.line("+ go on")
            literals.append(await self._octets(size, timeout))

    async def _refuse_literal(self, text: bytes, size: int, *, waits: bool) -> None:
        await self.error(text, "NO [TOOBIG] the literal is too big")
        if not waits:
            # It comes all the same (RFC 7888 section 4), and what follows it is no command.
            await self.line("* BYE the literal is too big")
            raise Ending(f"literal of {size} octets")

    async def _octets(self, size: int, timeout: float) -> bytes:
        pieces = []
        while size > 0:
            pieces.append(await self.read_some(timeout, size))
            size -= len(pieces[-1])
        return b"".join(pieces)

    def _message_limit(self) -> int:
        return (
            max(0, self.services.settings().max_message_size_kb) * 1024 or limits.SMTP_MESSAGE_WITHOUT_LIMIT
        )
