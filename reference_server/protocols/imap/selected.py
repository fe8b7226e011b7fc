"""The selected mailbox as its client knows it: numbers, flags, and what was not told yet; FETCH to EXPUNGE.

Numbers change only when the client is told so (RFC 3501 section 7.4.1): a message that another session
removed keeps its number until `news` may report it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from reference_server import limits
from reference_server.protocols.imap.fetch import Content, Item, answer, flags_text, parse_items
from reference_server.protocols.imap.search import Candidate, Key, parse_search
from reference_server.protocols.imap.syntax import (
    SYSTEM_FLAGS,
    Arguments,
    Bad,
    No,
    SequenceSet,
)
from reference_server.session import Mailbox, MailStore, StoredMessage

T = TypeVar("T")
GONE = "[EXPUNGEISSUED] another session has removed some of these messages"


class Selected:
    """A mailbox selected by one session; `close` it."""

    def __init__(
        self, mail: MailStore, mailbox: Mailbox, *, read_only: bool, changed: Callable[[], None]
    ) -> None:
        """``changed`` is called when `news` may have something to tell."""
        self.mailbox = mailbox
        self.read_only = read_only
        self.messages: list[StoredMessage] = []
        self.stale = True
        self._mail = mail
        self._changed = changed
        self._stop_watching = mail.watch(mailbox.id, self._on_change)

    def close(self) -> None:
        """Stop watching."""
        self._stop_watching()

    def _on_change(self) -> None:
        self.stale = True
        self._changed()

    @property
    def flags(self) -> list[str]:
        """Flags in use: the system's, then keywords."""
        used = frozenset[str]().union(*(message.flags for message in self.messages))
        return [*SYSTEM_FLAGS, *sorted(used.difference(SYSTEM_FLAGS))]

    async def news(self, *, expunges: bool) -> bytes:
        """Return what changed since the client was last told; removed messages only with ``expunges``."""
        if not self.stale:
            return b""
        self.stale = False
        now = {message.id: message for message in await self._mail.messages(self.mailbox.id)}
        lines = []
        if any(message.id not in now for message in self.messages):
            if expunges:
                for number in range(len(self.messages), 0, -1):
                    if self.messages[number - 1].id not in now:
                        lines.append(b"* %d EXPUNGE\r\n" % number)
                        del self.messages[number - 1]
            else:
                self.stale = True
        for number, message in enumerate(self.messages, 1):
            current = now.pop(message.id, message)
            if current.flags != message.flags:
                self.messages[number - 1] = current
                lines.append(b"* %d FETCH (FLAGS %s)\r\n" % (number, flags_text(current.flags)))
        if now:
            self.messages += sorted(now.values(), key=lambda message: message.uid)
            lines.append(b"* %d EXISTS\r\n* 0 RECENT\r\n" % len(self.messages))
        return b"".join(lines)

    def _chosen(self, chosen: SequenceSet, *, uid: bool) -> list[int]:
        """Return the numbers that ``chosen`` means. Raises Bad for a number that there is not."""
        if uid:
            uids = set(chosen.resolve([message.uid for message in self.messages]))
            return [number for number, message in enumerate(self.messages, 1) if message.uid in uids]
        total = len(self.messages)
        bounds = [total if bound is None else bound for pair in chosen.ranges for bound in pair]
        if total == 0 or max(bounds) > total:
            raise Bad("no such message number")
        return chosen.resolve(range(1, total + 1))

    async def fetch(self, arguments: Arguments, *, uid: bool) -> AsyncIterator[bytes]:
        """Answer FETCH, one message at a time. Raises No after the last when some were gone."""
        chosen = arguments.sequence_set()
        arguments.space()
        items = parse_items(arguments)
        arguments.end()
        if uid and all(item.name != "UID" for item in items):
            items.insert(0, Item("UID"))
        numbers = self._chosen(chosen, uid=uid)
        if not self.read_only and not all(item.peek for item in items):
            unseen = [number for number in numbers if "\\Seen" not in self.messages[number - 1].flags]
            await self._set_flags({number: self._flags(number) | {"\\Seen"} for number in unseen})
            if unseen and all(item.name != "FLAGS" for item in items):
                items.append(Item("FLAGS"))
        missing = False
        for number in numbers:
            stored = self.messages[number - 1]
            content = None
            if any(item.needs_content for item in items):
                try:
                    content = Content(await self._mail.content(stored.id))
                except LookupError:
                    missing = True
                    continue
            yield await _apart(content, partial(answer, number, items, stored, content))
        if missing:
            raise No(GONE)

    async def search(self, arguments: Arguments, *, uid: bool) -> bytes:
        """Answer SEARCH."""
        key = parse_search(arguments)
        arguments.end()
        uids = [message.uid for message in self.messages]
        numbers = range(1, len(uids) + 1)
        known: dict[tuple[SequenceSet, bool], frozenset[int]] = {}
        found = []
        for number, stored in enumerate(self.messages, 1):

            def in_set(
                wanted: SequenceSet, by_uid: bool, number: int = number, stored: StoredMessage = stored
            ) -> bool:
                if (wanted, by_uid) not in known:
                    known[wanted, by_uid] = frozenset(wanted.resolve(uids if by_uid else numbers))
                return (stored.uid if by_uid else number) in known[wanted, by_uid]

            if await self._matches(key, Candidate(number, stored, in_set)):
                found.append(b" %d" % (stored.uid if uid else number))
        return b"* SEARCH" + b"".join(found) + b"\r\n"

    async def _matches(self, key: Key, candidate: Candidate) -> bool:
        verdict = key(candidate)
        if verdict is None:
            try:
                content = Content(await self._mail.content(candidate.stored.id))
            except LookupError:
                return False
            verdict = await _apart(content, lambda: key(replace(candidate, content=content)))
        return verdict is True

    async def store(self, arguments: Arguments, *, uid: bool) -> bytes:
        """Answer STORE."""
        chosen = arguments.sequence_set()
        arguments.space()
        sign = "+" if arguments.take(b"+") else "-" if arguments.take(b"-") else ""
        arguments.need(b"FLAGS")
        silent = arguments.take(b".SILENT")
        arguments.space()
        flags = arguments.flags()
        arguments.end()
        self._check_writable()
        numbers = self._chosen(chosen, uid=uid)
        # Another session may have set flags that this client was not told of: they must not be lost.
        stored = {message.id: message.flags for message in await self._mail.messages(self.mailbox.id)}
        present = [number for number in numbers if self.messages[number - 1].id in stored]
        new: dict[int, frozenset[str]] = {}
        for number in present:
            before = stored[self.messages[number - 1].id]
            new[number] = before | flags if sign == "+" else before - flags if sign == "-" else flags
        await self._set_flags(new)
        if len(present) < len(numbers):
            raise No(GONE)
        items = [Item("UID"), Item("FLAGS")] if uid else [Item("FLAGS")]
        return b"" if silent else b"".join(answer(n, items, self.messages[n - 1], None) for n in present)

    def _flags(self, number: int) -> frozenset[str]:
        return self.messages[number - 1].flags

    async def _set_flags(self, flags: dict[int, frozenset[str]]) -> None:
        """Store flags by number; what the client asked for itself is no news."""
        if not flags:
            return
        by_id = {self.messages[number - 1].id: values for number, values in flags.items()}
        await self._mail.set_flags(self.mailbox.id, by_id)
        for number, values in flags.items():
            self.messages[number - 1] = replace(self.messages[number - 1], flags=values)

    def copy_source(self, arguments: Arguments, *, uid: bool) -> tuple[list[int], bytes]:
        """Return the ids of the messages that COPY means, and the name of its target."""
        chosen = arguments.sequence_set()
        arguments.space()
        target = arguments.astring()
        arguments.end()
        return [self.messages[number - 1].id for number in self._chosen(chosen, uid=uid)], target

    async def expunge(self) -> None:
        """Remove the messages that are marked as deleted."""
        self._check_writable()
        messages = await self._mail.messages(self.mailbox.id)
        marked = [message.id for message in messages if "\\Deleted" in message.flags]
        if marked:
            await self._mail.remove(self.mailbox.id, marked)

    def _check_writable(self) -> None:
        if self.read_only:
            raise No("the mailbox is selected read-only")


async def _apart(content: Content | None, work: Callable[[], T]) -> T:
    """Do ``work``, in a thread when it is about a big message: the loop has others to serve."""
    if content is None or len(content.octets) <= limits.IN_LOOP_OCTETS:
        return work()
    return await asyncio.to_thread(work)
