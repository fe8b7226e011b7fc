"""What clients write into the transcript, without secrets and without floods."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable
from typing import Literal

Kind = Literal["connect", "sent", "received", "closed", "reset", "error", "action", "note"]
"""The kinds of a transcript line."""

Record = Callable[[str, Kind, str], None]
"""Takes one event: who (``client[::1]:4711``), kind, text."""

HIDDEN = "***"
_SHORTEST_SECRET = 4
MAX_RECORDED = 2_000
"""Characters of one event: a transcript is for reading."""

_SECRET_COMMANDS = (
    re.compile(r"^(PASS )(.+)$", re.IGNORECASE),
    re.compile(r"^(AUTH \S+ )(.+)$", re.IGNORECASE),
    re.compile(r"^(APOP \S+ )(.+)$", re.IGNORECASE),
    re.compile(r"^(\S+ AUTHENTICATE \S+ )(.+)$", re.IGNORECASE),
    re.compile(r'^(\S+ LOGIN (?:"(?:[^"\\]|\\.)*"|\S+) )(.+)$', re.IGNORECASE),
)


def discard(who: str, kind: Kind, text: str) -> None:
    """Record nothing; for a caller without a transcript."""


def printable(data: bytes) -> str:
    """Return text for people: line ends become newlines, other control octets are written as escapes."""
    text = data[: 4 * MAX_RECORDED].decode("utf-8", "backslashreplace").replace("\r\n", "\n").rstrip("\n")
    shown = "".join(c if c == "\n" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    if len(shown) > MAX_RECORDED:
        return f"{shown[:MAX_RECORDED]}… ({len(data)} octets)"
    return shown


def redacted_command(line: str) -> str:
    """Return a command line with the password or the credentials of a login command hidden."""
    for pattern in _SECRET_COMMANDS:
        line = pattern.sub(rf"\g<1>{HIDDEN}", line)
    return line


def credentials(user: str, password: str) -> tuple[str, ...]:
    """Return the texts in which ``password`` can appear on the wire: plain, quoted, and in base64."""
    plain = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
    alone = base64.b64encode(password.encode()).decode()
    quoted = password.replace("\\", "\\\\").replace('"', '\\"')
    return tuple(dict.fromkeys(text for text in (plain, alone, quoted, password) if text))


def without(secrets: Iterable[str], text: str) -> str:
    """Return ``text`` with every secret hidden, whoever said it.

    Very short ones are hidden in login commands only (`redacted_command`): they occur in any text.
    """
    for secret in secrets:
        if len(secret) < _SHORTEST_SECRET:
            continue
        text = text.replace(secret, HIDDEN)
    return text
