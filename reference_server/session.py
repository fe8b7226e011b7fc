"""The seams inside the server: what the gate gives to a protocol, and what the rest offers to it.

`listening` builds a `Session` for each admitted client and hands it, with the `Services`, to
`protocols.open_session`. Nothing here does I/O.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol as Interface

from reference_server.addresses import IPAddress
from reference_server.settings import Account, IpRange, Port, ServerSettings


@dataclass(frozen=True, slots=True)
class Session:
    """An admitted client. It keeps the range that it matched when it was accepted."""

    id: int
    port: Port
    peer: IPAddress
    peer_port: int
    local: IPAddress
    local_port: int
    ip_range: IpRange
    started: datetime
    implicit_tls: bool = False
    starttls: ssl.SSLContext | None = None
    """Set when the port offers STARTTLS; `Port.connection_security` says whether it is required."""


class Accounts(Interface):
    """Who is local, and who may log in."""

    def is_local_domain(self, domain: str) -> bool:
        """Say whether mail for ``domain`` is stored here (any case)."""

    def find(self, address: str) -> Account | None:
        """Return the local account of a mail address (any case), or None."""

    async def authenticate(self, address: str, password: str) -> Account | None:
        """Return the account when the password is right; takes the same time for an unknown account."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An IMAP mailbox; POP3 sees INBOX alone. ``uid_validity`` and ``uid_next`` as in RFC 9051 2.3.1.1."""

    id: int
    account_id: int
    name: str
    uid_validity: int
    uid_next: int
    subscribed: bool = True


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message in a mailbox, without its content. ``size`` in octets, CRLF line ends."""

    id: int
    uid: int
    size: int
    internal_date: datetime
    flags: frozenset[str] = field(default_factory=frozenset)


class MailStore(Interface):
    """Mail of local accounts. Every change is committed and synced to disk when the call returns."""

    async def deliver(self, account_ids: Sequence[int], content: bytes, received: datetime) -> None:
        """Store one message in the INBOX of each account, all or none."""

    async def mailboxes(self, account_id: int) -> list[Mailbox]:
        """Return the mailboxes of an account, INBOX first (made when missing)."""

    async def create(self, account_id: int, name: str) -> Mailbox: ...
    async def delete(self, mailbox_id: int) -> None: ...
    async def rename(self, mailbox_id: int, name: str) -> None: ...
    async def subscribe(self, mailbox_id: int, subscribed: bool) -> None: ...
    async def messages(self, mailbox_id: int) -> list[StoredMessage]: ...
    async def content(self, message_id: int) -> bytes: ...
    async def append(
        self, mailbox_id: int, content: bytes, flags: frozenset[str], internal_date: datetime
    ) -> StoredMessage: ...
    async def set_flags(self, mailbox_id: int, flags: dict[int, frozenset[str]]) -> None:
        """Replace the flags of messages, by message id."""

    async def remove(self, mailbox_id: int, message_ids: Sequence[int]) -> None: ...
    async def copy(self, mailbox_id: int, message_ids: Sequence[int], target_mailbox_id: int) -> None: ...
    def watch(self, mailbox_id: int, changed: Callable[[], None]) -> Callable[[], None]:
        """Have ``changed`` called, in the loop, after each change of a mailbox; call the result to stop."""


@dataclass(frozen=True, slots=True)
class NewMail:
    """A message with recipients on other servers, as it comes in, or as we made it (a report)."""

    sender: str
    """Empty: the null sender."""
    content: bytes
    """Whole lines that end with CR LF, and no other CR or LF."""
    skip: int
    """So many octets at the beginning are for local copies only (Return-Path, RFC 5321 section 4.4)."""
    received: datetime
    local: tuple[int, ...]
    """Accounts that get a copy at once."""
    remote: tuple[str, ...]
    """Recipients to be reached over SMTP."""
    trace_id: str = ""
    """As in its Received field."""
    helo: str = ""
    """What the client called itself; empty: we made the message."""
    peer: IPAddress | None = None
    """The client; None: we made the message."""


class MailQueue(Interface):
    """Mail on its way to other servers."""

    async def accept(self, mail: NewMail) -> None:
        """Keep a message for all its recipients, local and remote, all or none.

        Committed and synced to disk when the call returns: from then on the message is delivered or returned.
        """


@dataclass(frozen=True, slots=True)
class Services:
    """What the rest of the server offers to a protocol."""

    settings: Callable[[], ServerSettings]
    """The settings as they are now."""
    accounts: Accounts
    mail: MailStore
    queue: MailQueue
    now: Callable[[], datetime]
    """The clock: aware, UTC."""
    finished: Callable[[Session, str], None]
    """To be called exactly once when a session ends, with the reason in a few words."""
    message_accepted: Callable[[], None] = lambda: None
    """Counts a processed message for the status."""


class SessionProtocol(Interface):
    """An open session: an `asyncio.Protocol` that can be asked to end."""

    def shutdown(self) -> None:
        """The server stops: end politely after the command that is running (421, -ERR, * BYE)."""


OpenSession = Callable[[Session, Services], asyncio.BaseProtocol]
"""The signature of `protocols.open_session`; its result is a `SessionProtocol` too."""
