"""Replies and greetings of SMTP, POP3 and IMAP: where one ends, and what it means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from conformance.adapters.base import ProtocolName
from conformance.clients.channel import Channel, Ended
from conformance.clients.record import printable

MAX_REPLY_LINES = 10_000
"""Lines of one reply; a POP3 LIST of a large mailbox is the longest that a scenario reads."""
MAX_REPLY_OCTETS = 4 * 1024 * 1024

Greeting = Literal["unfinished", "positive", "other_protocol", "negative"]

_SMTP_LAST = re.compile(rb"^\d{3}(?: .*)?$")
_SMTP_POSITIVE = re.compile(rb"^220(?:[ -].*)?$")
_POP3_POSITIVE = re.compile(rb"^\+OK(?: .*)?$", re.IGNORECASE)
_IMAP_POSITIVE = re.compile(rb"^\* (?:OK|PREAUTH)(?: .*)?$", re.IGNORECASE)
_ALWAYS_MULTILINE = {"CAPA", "RETR", "TOP"}
_MULTILINE_WITHOUT_ARGUMENT = {"LIST", "UIDL", "AUTH"}


def speaks(first_line: bytes) -> ProtocolName | None:
    """Return the protocol whose positive greeting begins with this line, or None.

    RFC 5321 §4.2 (220), RFC 1939 §4 (+OK), RFC 9051 §7.1 (* OK, * PREAUTH).
    """
    if _SMTP_POSITIVE.match(first_line):
        return "smtp"
    if _POP3_POSITIVE.match(first_line):
        return "pop3"
    if _IMAP_POSITIVE.match(first_line):
        return "imap"
    return None


def classify_greeting(protocol: ProtocolName, received: bytes) -> Greeting:
    """Say what the octets since the connection began are, for a port that should speak ``protocol``.

    A negative greeting is any other complete line: 421, 554, -ERR, * BYE, or no protocol at all.
    """
    *lines, _unfinished = received.split(b"\n")
    if not lines:
        return "unfinished"
    lines = [line.removesuffix(b"\r") for line in lines]
    spoken = speaks(lines[0])
    if spoken is None:
        return "negative"
    if spoken != protocol:
        return "other_protocol"
    if protocol != "smtp":
        return "positive"
    for line in lines:  # RFC 5321 §4.2.1: 220-, 220-, 220 with one code in all lines
        if not _SMTP_POSITIVE.match(line):
            return "negative"
        if _SMTP_LAST.match(line):
            return "positive"
    return "unfinished"


def split_greeting(protocol: ProtocolName, received: bytes) -> tuple[bytes, bytes]:
    """Return a positive greeting, and what came after it. Raises ValueError without one."""
    end = -1
    while True:
        end = received.index(b"\n", end + 1)
        if classify_greeting(protocol, received[: end + 1]) == "positive":
            return received[: end + 1], received[end + 1 :]


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply. ``ended`` is None when it is complete; otherwise the lines are what came until then.

    ``deciding`` is the line that says yes or no: SMTP's last, POP3's first, IMAP's tagged one; or "".
    """

    lines: tuple[str, ...]
    ended: Ended | None = None
    deciding: str = ""

    @property
    def text(self) -> str:
        """All lines, joined by newlines."""
        return "\n".join(self.lines)

    @property
    def code(self) -> str:
        """The first word of the deciding line: ``250``, ``+OK``."""
        return self.deciding[:3] if self.deciding[:3].isdigit() else self.deciding.partition(" ")[0]


def read_reply(channel: Channel, protocol: ProtocolName, command: str, deadline: float) -> Reply:
    """Read the reply to ``command`` (for IMAP: whose first word is the tag)."""
    lines: list[str] = []
    octets = 0
    while True:
        line = channel.line(deadline)
        if isinstance(line, Ended):
            if rest := channel.buffered:
                lines.append(printable(rest))
            return _reply(protocol, lines, line)
        octets += len(line)
        lines.append(printable(line))
        if _is_last(protocol, command, line, first=lines[0]):
            return _reply(protocol, lines, None)
        if len(lines) >= MAX_REPLY_LINES or octets > MAX_REPLY_OCTETS:
            return _reply(protocol, lines, Ended.FLOOD)


def parse_reply(protocol: ProtocolName, command: str, received: bytes) -> Reply | None:
    """Return the reply to ``command`` that ``received`` begins with; None while it is unfinished."""
    lines: list[str] = []
    *whole, _unfinished = received.split(b"\n")
    for octets in whole:
        line = octets.removesuffix(b"\r")
        lines.append(printable(line))
        if _is_last(protocol, command, line, first=lines[0]):
            return _reply(protocol, lines, None)
        if len(lines) >= MAX_REPLY_LINES:
            return _reply(protocol, lines, Ended.FLOOD)
    return _reply(protocol, lines, Ended.FLOOD) if len(received) > MAX_REPLY_OCTETS else None


def _reply(protocol: ProtocolName, lines: list[str], ended: Ended | None) -> Reply:
    deciding = lines[0 if protocol == "pop3" else -1] if lines else ""
    return Reply(tuple(lines), ended, deciding)


def _is_last(protocol: ProtocolName, command: str, line: bytes, *, first: str) -> bool:
    if protocol == "smtp":
        return not re.match(rb"^\d{3}-", line)
    if protocol == "pop3":
        verb, _, argument = command.strip().upper().partition(" ")
        several = verb in _ALWAYS_MULTILINE or (verb in _MULTILINE_WITHOUT_ARGUMENT and not argument)
        return not (several and first.upper().startswith("+OK")) or line == b"."
    tag = command.partition(" ")[0].encode()
    return line.startswith((tag + b" ", b"+"))
