"""What a smart host saw: connections and messages, as frozen values, and waiting for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

from conformance.addresses import Address, Family, canonical, family

Stage = str
"""How far a visit got: ``connect``, then the commands, ``ehlo`` to ``data``, then ``end`` (the final dot)."""


@dataclass(frozen=True, slots=True)
class Message:
    """One transaction that got as far as DATA."""

    mail_from: str
    rcpt_to: tuple[str, ...]
    """Those that were accepted, in order."""
    refused: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    """Of MAIL, in upper case: ``SIZE=100``, ``BODY=8BITMIME``."""
    raw: bytes = b""
    """As it came, the final dot left out."""
    content: bytes = b""
    """`raw` after the dots of RFC 5321 §4.5.2 were taken away."""
    dot: bool = False
    """Whether the final dot had come: from here on the client may not know what became of it."""
    taken: bool = False
    """Whether the smart host has the message: it counts as delivered."""
    reply: str = ""
    """What was sent after the final dot; "" when the connection was cut before."""
    at: float = 0.0
    """Seconds, of a clock that only goes forward, when the transaction ended."""

    @property
    def told(self) -> bool:
        """Whether the client was told that it was taken."""
        return self.taken and self.reply.startswith("2")

    @property
    def eight_bit(self) -> bool:
        return not self.content.isascii()

    def parsed(self) -> EmailMessage:
        return BytesParser(policy=policy.default).parsebytes(self.content)

    @property
    def is_notification(self) -> bool:
        """Whether it is a delivery status notification: null sender, multipart/report (RFC 3464)."""
        message = self.parsed()
        kind = message.get_content_type(), message.get_param("report-type")
        return self.mail_from == "" and kind == ("multipart/report", "delivery-status")


@dataclass(frozen=True, slots=True)
class Visit:
    """One connection."""

    host: str
    """Name of the smart host."""
    number: int
    """Counts the connections of all smart hosts of one recording, from 1."""
    source: Address
    source_port: int
    target: Address
    at: float
    ehlo: str = ""
    """The argument of EHLO or HELO, as it came; the last one."""
    extended: bool = False
    """EHLO, not HELO."""
    tls: str = ""
    """The version, such as ``TLSv1.3``; "" without TLS."""
    user: str = ""
    """Who has logged in."""
    reached: Stage = "connect"
    early: bool = False
    """Whether commands came before the reply to the last one, though PIPELINING was not offered."""
    messages: tuple[Message, ...] = ()
    ended: str = ""
    """How: ``quit``, ``cut``, ``client`` (it left), ``down``; "" while it lasts."""

    @property
    def family(self) -> Family:
        return family(self.source)

    def __str__(self) -> str:
        way = f"{self.host} at {canonical(self.target)} from {canonical(self.source)}"
        return f"{way}, as far as {self.reached}, {len(self.messages)} messages"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message and the visit that brought it."""

    visit: Visit
    message: Message


class Recording:
    """The visits of all smart hosts of a case; for several threads."""

    def __init__(self) -> None:
        self._visits: dict[int, Visit] = {}
        self._changed = threading.Condition()

    def begin(self, host: str, source: Address, source_port: int, target: Address) -> int:
        """Note a new connection; return its number."""
        with self._changed:
            number = len(self._visits) + 1
            self._visits[number] = Visit(host, number, source, source_port, target, time.monotonic())
            self._changed.notify_all()
            return number

    def update(self, number: int, **changes: Any) -> None:
        """Change fields of a visit."""
        with self._changed:
            self._visits[number] = replace(self._visits[number], **changes)
            self._changed.notify_all()

    def add(self, number: int, message: Message) -> None:
        """Note a transaction that ended."""
        with self._changed:
            visit = self._visits[number]
            stamped = replace(message, at=time.monotonic())
            self._visits[number] = replace(visit, messages=(*visit.messages, stamped))
            self._changed.notify_all()

    def unheard(self, number: int) -> None:
        """The reply to the last transaction of a visit could not be sent."""
        with self._changed:
            visit = self._visits[number]
            *before, last = visit.messages
            self._visits[number] = replace(visit, messages=(*before, replace(last, reply="")))
            self._changed.notify_all()

    @property
    def visits(self) -> tuple[Visit, ...]:
        """All of them, in order."""
        with self._changed:
            return tuple(self._visits.values())

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """All transactions that got as far as DATA."""
        return deliveries(self.visits)

    def wait_for(self, wanted: Callable[[Sequence[Visit]], bool], limit: float) -> bool:
        """Wait until the visits are as ``wanted``, at most ``limit`` seconds; say whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: wanted(tuple(self._visits.values())), limit)


def deliveries(visits: Sequence[Visit]) -> tuple[Delivery, ...]:
    """Return the transactions of ``visits``, in the order of the visits."""
    return tuple(Delivery(visit, message) for visit in visits for message in visit.messages)
