"""Commands of IMAP as octets (RFC 3501 section 9): parsing arguments, writing strings. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone

from reference_server import limits

_ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")
_ASTRING_ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\]+")
_LIST_ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){\"\\]+")
_QUOTED = re.compile(rb'"((?:[^"\\\r\n\x00]|\\["\\])*)"')
_LITERAL = re.compile(rb"(?:~)?\{(\d{1,10})(\+)?\}\r\n")
_FLAG = re.compile(rb"\\?[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")
_SEQUENCE = re.compile(rb"(?:\d{1,10}|\*)(?::(?:\d{1,10}|\*))?(?:,(?:\d{1,10}|\*)(?::(?:\d{1,10}|\*))?)*")
_DATE = re.compile(rb'"?(\d{1,2})-([A-Za-z]{3})-(\d{4})"?')
_DATE_TIME = re.compile(
    rb'"([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"',
)
LITERAL_AT_END = re.compile(rb"\{(\d{1,10})(\+)?\}\r?\n\Z")

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SYSTEM_FLAGS = ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")
_FLAG_SPELLING = {flag.lower(): flag for flag in SYSTEM_FLAGS}


class Bad(Exception):  # noqa: N818 - an answer
    """The command is answered with BAD; the argument is the text."""


class No(Exception):  # noqa: N818
    """The command is answered with NO; the argument is the text."""


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """Numbers or UIDs of messages: pairs, both inclusive, in any order; None is ``*``."""

    ranges: tuple[tuple[int | None, int | None], ...]

    def resolve(self, numbers: Sequence[int]) -> list[int]:
        """Return those of ``numbers`` (ascending) that are meant; ``*`` is the last of them."""
        if not numbers:
            return []
        last = numbers[-1]
        spans = []
        for first, second in self.ranges:
            low, high = (last if bound is None else bound for bound in (first, second))
            spans.append((min(low, high), max(low, high)))
        return [number for number in numbers if any(low <= number <= high for low, high in spans)]


class Arguments:
    """What follows the name of a command: ``text`` with the marks of literals, and the literals in order."""

    def __init__(self, text: bytes, literals: Iterable[bytes] = ()) -> None:
        self._text = text
        self._literals: Iterator[bytes] = iter(literals)
        self._at = 0
        self.depth = 0

    def peek(self, prefix: bytes = b"") -> bool:
        """Say whether ``prefix`` (any case) comes next; without one, whether anything does."""
        if not prefix:
            return self._at < len(self._text)
        return self._text[self._at : self._at + len(prefix)].upper() == prefix.upper()

    def take(self, prefix: bytes) -> bool:
        """Skip ``prefix`` when it comes next."""
        found = self.peek(prefix)
        if found:
            self._at += len(prefix)
        return found

    def need(self, prefix: bytes) -> None:
        """Skip ``prefix``. Raises Bad when something else comes."""
        if not self.take(prefix):
            raise Bad(f"expected {prefix.decode('ascii')!r}")

    def space(self) -> None:
        """Skip the blank between two arguments."""
        if not self.take(b" "):
            raise Bad("an argument is missing")
        while self.take(b" "):
            pass

    def end(self) -> None:
        """Check that nothing is left."""
        if self._text[self._at :].strip():
            raise Bad("too many arguments")

    def match(self, pattern: re.Pattern[bytes], what: str) -> re.Match[bytes]:
        """Take what ``pattern`` matches here. Raises Bad, naming ``what``."""
        found = pattern.match(self._text, self._at)
        if found is None:
            raise Bad(f"expected {what}")
        self._at = found.end()
        return found

    def open(self) -> None:
        """Take a parenthesis and count how deep we are."""
        self.need(b"(")
        self.depth += 1
        if self.depth > limits.IMAP_NESTING:
            raise Bad("too many parentheses")

    def close(self) -> None:
        """Take the closing parenthesis."""
        self.need(b")")
        self.depth -= 1

    def atom(self) -> str:
        """Take an atom."""
        return self.match(_ATOM, "a word")[0].decode("ascii")

    def number(self) -> int:
        """Take a number."""
        return int(self.match(re.compile(rb"\d{1,10}"), "a number")[0])

    def string(self) -> bytes | None:
        """Take a quoted string or a literal; None when neither comes next."""
        if self.peek(b'"'):
            return re.sub(rb'\\(["\\])', rb"\1", self.match(_QUOTED, "a string that ends with a quote")[1])
        if self.peek(b"{"):
            self.match(_LITERAL, "a literal")
            return next(self._literals, b"")
        return None

    def astring(self) -> bytes:
        """Take a string or an atom."""
        found = self.string()
        return self.match(_ASTRING_ATOM, "a name or string")[0] if found is None else found

    def pattern(self) -> bytes:
        """Take the pattern of LIST."""
        found = self.string()
        return self.match(_LIST_ATOM, "a pattern")[0] if found is None else found

    def sequence_set(self) -> SequenceSet:
        """Take a set of numbers or UIDs."""
        text = self.match(_SEQUENCE, "a set of messages")[0].decode("ascii")
        ranges = []
        for item in text.split(","):
            first, colon, second = item.partition(":")
            bounds = [None if bound == "*" else int(bound) for bound in (first, second if colon else first)]
            if 0 in bounds:
                raise Bad("message numbers start at 1")
            ranges.append((bounds[0], bounds[1]))
        return SequenceSet(tuple(ranges))

    def flag_list(self) -> frozenset[str]:
        """Take a list of flags in parentheses."""
        self.need(b"(")
        flags = set()
        while not self.take(b")"):
            flags.add(self.flag())
            self.take(b" ")
        return frozenset(flags)

    def flags(self) -> frozenset[str]:
        """Take flags, in parentheses or not."""
        if self.peek(b"("):
            return self.flag_list()
        flags = {self.flag()}
        while self.take(b" "):
            flags.add(self.flag())
        return frozenset(flags)

    def flag(self) -> str:
        """Take one flag; system flags come back in their usual spelling."""
        text = self.match(_FLAG, "a flag")[0].decode("ascii")
        if text.startswith("\\") and text.lower() not in _FLAG_SPELLING:
            raise Bad(f"no flag {text}")
        return _FLAG_SPELLING.get(text.lower(), text)

    def date(self) -> date:
        """Take a date as in SEARCH."""
        found = self.match(_DATE, "a date such as 1-Feb-2026")
        try:
            return date(int(found[3]), _month(found[2]), int(found[1]))
        except ValueError:
            raise Bad("no such date") from None

    def date_time(self) -> datetime:
        """Take a date and time as in APPEND; aware."""
        found = self.match(_DATE_TIME, 'a date such as " 1-Feb-2026 12:00:00 +0000"')
        offset = timedelta(hours=int(found[8]), minutes=int(found[9]))
        try:
            zone = timezone(-offset if found[7] == b"-" else offset)
            day, year, hour, minute, second = (int(found[group]) for group in (1, 3, 4, 5, 6))
            return datetime(year, _month(found[2]), day, hour, minute, second, tzinfo=zone).astimezone(UTC)
        except (ValueError, OverflowError):
            raise Bad("no such date") from None


def _month(name: bytes) -> int:
    return MONTHS.index(name.decode("ascii").capitalize()) + 1


def date_time_text(moment: datetime) -> bytes:
    """Return INTERNALDATE, quotes included."""
    moment = moment.astimezone(UTC)
    return f'"{moment.day:2d}-{MONTHS[moment.month - 1]}-{moment:%Y %H:%M:%S} +0000"'.encode("ascii")


def literal(octets: bytes) -> bytes:
    """Return ``octets`` as a literal."""
    return b"{%d}\r\n" % len(octets) + octets


def string(octets: bytes) -> bytes:
    """Return ``octets`` quoted, or as a literal where quotes cannot hold them."""
    if len(octets) < 1000 and octets.isascii() and not re.search(rb"[\x00-\x1f\x7f]", octets):
        return b'"' + re.sub(rb'(["\\])', rb"\\\1", octets) + b'"'
    return literal(octets)


def nstring(octets: bytes | None) -> bytes:
    """Return ``octets`` as a string, or NIL."""
    return b"NIL" if octets is None else string(octets)


def parenthesized(items: Iterable[bytes]) -> bytes:
    """Return ``items`` in parentheses."""
    return b"(" + b" ".join(items) + b")"
