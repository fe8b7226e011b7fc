"""Commands about the mailboxes of an account: CREATE to STATUS and APPEND (RFC 3501 section 6.3)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import datetime

from reference_server.protocols.imap import names
from reference_server.protocols.imap.names import DELIMITER, INBOX
from reference_server.protocols.imap.syntax import Arguments, Bad, No, parenthesized, string
from reference_server.session import Mailbox, MailStore

_STATUS = ("MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN")


class Folders:
    """The mailboxes of one account."""

    def __init__(self, mail: MailStore, account_id: int, now: Callable[[], datetime]) -> None:
        self._mail = mail
        self._account_id = account_id
        self._now = now

    async def _all(self) -> dict[str, Mailbox]:
        return {mailbox.name: mailbox for mailbox in await self._mail.mailboxes(self._account_id)}

    async def find(self, octets: bytes, code: str = "[NONEXISTENT]") -> Mailbox:
        """Return the mailbox of the name that a client wrote. Raises No."""
        mailbox = (await self._all()).get(names.decoded(octets))
        if mailbox is None:
            raise No(f"{code} no such mailbox")
        return mailbox

    async def create(self, arguments: Arguments) -> None:
        """CREATE, with the mailboxes above it."""
        name = names.new_name(_only_name(arguments))
        existing = await self._all()
        if name in existing:
            raise No("[ALREADYEXISTS] there is such a mailbox")
        for wanted in (*names.parents(name), name):
            if wanted not in existing:
                await self._mail.create(self._account_id, wanted)

    async def delete(self, arguments: Arguments) -> int:
        """DELETE; return the id of the mailbox that is no more."""
        mailbox = await self.find(_only_name(arguments))
        if mailbox.name == INBOX:
            raise No("[CANNOT] INBOX stays")
        if any(name.startswith(mailbox.name + DELIMITER) for name in await self._all()):
            raise No("[HASCHILDREN] there are mailboxes below it")
        await self._mail.delete(mailbox.id)
        return mailbox.id

    async def rename(self, arguments: Arguments) -> None:
        """RENAME, with the mailboxes below it; of INBOX, its messages move (section 6.3.5)."""
        old = arguments.astring()
        arguments.space()
        new = names.new_name(_only_name(arguments))
        mailbox = await self.find(old)
        existing = await self._all()
        if new in existing:
            raise No("[ALREADYEXISTS] there is such a mailbox")
        if new.startswith(mailbox.name + DELIMITER):
            raise No("[CANNOT] a mailbox cannot go below itself")
        for wanted in names.parents(new):
            if wanted not in existing:
                await self._mail.create(self._account_id, wanted)
        if mailbox.name == INBOX:
            target = await self._mail.create(self._account_id, new)
            ids = [message.id for message in await self._mail.messages(mailbox.id)]
            await self._mail.copy(mailbox.id, ids, target.id)
            await self._mail.remove(mailbox.id, ids)
            return
        for name, moved in existing.items():
            if name == mailbox.name or name.startswith(mailbox.name + DELIMITER):
                await self._mail.rename(moved.id, new + name[len(mailbox.name) :])

    async def subscribe(self, arguments: Arguments, *, subscribed: bool) -> None:
        """SUBSCRIBE and UNSUBSCRIBE."""
        await self._mail.subscribe((await self.find(_only_name(arguments))).id, subscribed)

    async def listing(self, arguments: Arguments, *, subscribed_only: bool) -> bytes:
        """LIST and LSUB."""
        word = b"LSUB" if subscribed_only else b"LIST"
        reference = names.decoded(arguments.astring())
        arguments.space()
        pattern = names.decoded(arguments.pattern())
        arguments.end()
        delimiter = string(DELIMITER.encode("ascii"))
        if not pattern:
            return b'* %s (\\Noselect) %s ""\r\n' % (word, delimiter)
        wanted = names.matcher(reference, pattern)
        mailboxes = await self._all()
        lines = []
        for name, mailbox in mailboxes.items():
            if wanted.fullmatch(name) and (mailbox.subscribed or not subscribed_only):
                children = any(other.startswith(name + DELIMITER) for other in mailboxes)
                attribute = b"\\HasChildren" if children else b"\\HasNoChildren"
                lines.append(
                    b"* %s (%s) %s %s\r\n" % (word, attribute, delimiter, string(names.encoded(name)))
                )
        return b"".join(lines)

    async def status(self, arguments: Arguments) -> bytes:
        """STATUS."""
        name = arguments.astring()
        arguments.space()
        arguments.need(b"(")
        wanted = [arguments.atom().upper()]
        while arguments.take(b" "):
            wanted.append(arguments.atom().upper())
        arguments.need(b")")
        arguments.end()
        if unknown := set(wanted).difference(_STATUS):
            raise Bad(f"no status item {sorted(unknown)[0]}")
        mailbox = await self.find(name)
        messages = await self._mail.messages(mailbox.id)
        values = {
            "MESSAGES": len(messages),
            "RECENT": 0,
            "UIDNEXT": mailbox.uid_next,
            "UIDVALIDITY": mailbox.uid_validity,
            "UNSEEN": sum("\\Seen" not in message.flags for message in messages),
        }
        items = [f"{item} {values[item]}".encode("ascii") for item in wanted]
        return b"* STATUS %s %s\r\n" % (string(names.encoded(mailbox.name)), parenthesized(items))

    async def append(self, arguments: Arguments) -> None:
        """APPEND; bare line ends of the message become CR LF (RFC 5322 section 2.3)."""
        name = arguments.astring()
        arguments.space()
        flags: frozenset[str] = frozenset()
        if arguments.peek(b"("):
            flags = arguments.flag_list()
            arguments.space()
        moment = self._now()
        if arguments.peek(b'"'):
            moment = arguments.date_time()
            arguments.space()
        content = arguments.string() if arguments.peek(b"{") else None
        if content is None:
            raise Bad("expected the message as a literal")
        arguments.end()
        mailbox = await self.find(name, "[TRYCREATE]")
        await self._mail.append(mailbox.id, await asyncio.to_thread(with_crlf, content), flags, moment)


def _only_name(arguments: Arguments) -> bytes:
    name = arguments.astring()
    arguments.end()
    return name


def with_crlf(content: bytes) -> bytes:
    """Return ``content`` with every line end as CR LF."""
    pairs = content.count(b"\r\n")
    if content.count(b"\r") == pairs == content.count(b"\n"):
        return content
    return re.sub(rb"\r\n|\r|\n", b"\r\n", content)
