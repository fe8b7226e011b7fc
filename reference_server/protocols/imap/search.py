"""SEARCH: keys of RFC 3501 section 6.4.4, judged message by message. Pure.

A key is judged first without the message's octets; only when that leaves it open (None), with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date
from email.header import decode_header, make_header
from email.utils import parsedate_to_datetime

from reference_server import limits
from reference_server.protocols.imap.fetch import Content
from reference_server.protocols.imap.message import field_octets, field_values
from reference_server.protocols.imap.syntax import Arguments, Bad, No, SequenceSet
from reference_server.session import StoredMessage

CHARSETS = ("US-ASCII", "UTF-8")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message that is looked at; ``in_set`` says whether a set (of UIDs or not) means it."""

    number: int
    stored: StoredMessage
    in_set: Callable[[SequenceSet, bool], bool]
    content: Content | None = None


Key = Callable[[Candidate], "bool | None"]
"""True, False, or None: not to be said without the content."""

_FLAG_KEYS = {
    "ANSWERED": ("\\Answered", True),
    "DELETED": ("\\Deleted", True),
    "DRAFT": ("\\Draft", True),
    "FLAGGED": ("\\Flagged", True),
    "SEEN": ("\\Seen", True),
    "UNANSWERED": ("\\Answered", False),
    "UNDELETED": ("\\Deleted", False),
    "UNDRAFT": ("\\Draft", False),
    "UNFLAGGED": ("\\Flagged", False),
    "UNSEEN": ("\\Seen", False),
}
_FIELD_KEYS = {"BCC", "CC", "FROM", "SUBJECT", "TO"}


def parse_search(arguments: Arguments) -> Key:
    """Take the arguments of SEARCH. Raises Bad, and No for a charset that we do not know."""
    if arguments.take(b"CHARSET "):
        charset = arguments.astring().decode("ascii", "replace").upper()
        if charset not in CHARSETS:
            raise No(f"[BADCHARSET ({' '.join(CHARSETS)})] unknown charset")
        arguments.space()
    keys = [_key(arguments)]
    while arguments.take(b" "):
        keys.append(_key(arguments))
    return _all(keys)


def _all(keys: list[Key]) -> Key:
    def judge(candidate: Candidate) -> bool | None:
        open_key = False
        for key in keys:
            verdict = key(candidate)
            if verdict is False:
                return False
            open_key = open_key or verdict is None
        return None if open_key else True

    return judge


def _key(arguments: Arguments) -> Key:
    if arguments.peek(b"("):
        arguments.open()
        keys = [_key(arguments)]
        while arguments.take(b" "):
            keys.append(_key(arguments))
        arguments.close()
        return _all(keys)
    if any(arguments.peek(bytes([letter])) for letter in b"0123456789*"):
        return _in_set(arguments.sequence_set(), by_uid=False)
    name = arguments.atom().upper()
    if name in _FLAG_KEYS:
        flag, wanted = _FLAG_KEYS[name]
        return lambda candidate: (flag in candidate.stored.flags) is wanted
    if name in {"ALL", "OLD"}:  # nothing is \Recent here
        return lambda _candidate: True
    if name in {"NEW", "RECENT"}:
        return lambda _candidate: False
    arguments.space()
    return _key_with_value(name, arguments)


def _key_with_value(name: str, arguments: Arguments) -> Key:
    if name in {"NOT", "OR"}:
        return _logic(name, arguments)
    if name == "UID":
        return _in_set(arguments.sequence_set(), by_uid=True)
    if name in {"KEYWORD", "UNKEYWORD"}:
        flag = arguments.flag()
        return lambda candidate: (flag in candidate.stored.flags) is (name == "KEYWORD")
    if name in {"LARGER", "SMALLER"}:
        size, sign = arguments.number(), 1 if name == "LARGER" else -1
        return lambda candidate: (candidate.stored.size - size) * sign > 0
    if name in {"BEFORE", "ON", "SINCE", "SENTBEFORE", "SENTON", "SENTSINCE"}:
        return _date_key(name, arguments.date())
    if name in _FIELD_KEYS:
        return _field_key(name, _text(arguments))
    if name == "HEADER":
        field = arguments.astring().decode("ascii", "replace")
        arguments.space()
        return _field_key(field, _text(arguments))
    if name in {"BODY", "TEXT"}:
        return _text_key(_text(arguments), whole=name == "TEXT")
    raise Bad(f"no search key {name}")


def _logic(name: str, arguments: Arguments) -> Key:
    arguments.depth += 1
    if arguments.depth > limits.IMAP_NESTING:
        raise Bad("too deep")
    first = _key(arguments)
    if name == "NOT":
        arguments.depth -= 1

        def negated(candidate: Candidate) -> bool | None:
            verdict = first(candidate)
            return None if verdict is None else not verdict

        return negated
    arguments.space()
    second = _key(arguments)
    arguments.depth -= 1

    def either(candidate: Candidate) -> bool | None:
        verdicts = (first(candidate), second(candidate))
        if True in verdicts:
            return True
        return None if None in verdicts else False

    return either


def _in_set(numbers: SequenceSet, *, by_uid: bool) -> Key:
    return lambda candidate: candidate.in_set(numbers, by_uid)


def _text(arguments: Arguments) -> str:
    return arguments.astring().decode("utf-8", "replace").casefold()


def _date_key(name: str, wanted: date) -> Key:
    compare: Callable[[date], bool] = {
        "BEFORE": lambda day: day < wanted,
        "ON": lambda day: day == wanted,
        "SINCE": lambda day: day >= wanted,
    }[name.removeprefix("SENT")]
    if not name.startswith("SENT"):
        return lambda candidate: compare(candidate.stored.internal_date.astimezone(UTC).date())

    def judge(candidate: Candidate) -> bool | None:
        if candidate.content is None:
            return None
        value = field_octets(candidate.content.message.fields, "date")
        try:
            # RFC 3501: disregarding time and time zone
            return value is not None and compare(
                parsedate_to_datetime(value.decode("ascii", "replace")).date()
            )
        except (ValueError, IndexError):
            return False

    return judge


def _field_key(name: str, text: str) -> Key:
    def judge(candidate: Candidate) -> bool | None:
        if candidate.content is None:
            return None
        values = field_values(candidate.content.message.fields, name)
        return any(text in _readable(value).casefold() for value in values)

    return judge


def _readable(value: str) -> str:
    """Return a field with its encoded words decoded; as it is when that fails."""
    plain = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    try:
        return str(make_header(decode_header(plain)))
    except (ValueError, LookupError, UnicodeError):
        return plain


def _text_key(text: str, *, whole: bool) -> Key:
    def judge(candidate: Candidate) -> bool | None:
        if candidate.content is None:
            return None
        message = candidate.content.message
        octets = candidate.content.octets if whole else message.body
        if text in octets.decode("utf-8", "replace").casefold():
            return True
        return whole and any(text in _readable(value).casefold() for value in field_values(message.fields))

    return judge
