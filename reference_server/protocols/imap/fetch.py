"""FETCH: what a client asks of a message, and the answer (RFC 3501 sections 6.4.5 and 7.4.2). Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from reference_server.protocols.imap.message import (
    Part,
    body_structure,
    envelope,
    find_part,
    header_fields,
    parse,
)
from reference_server.protocols.imap.syntax import (
    Arguments,
    Bad,
    date_time_text,
    literal,
    parenthesized,
    string,
)
from reference_server.session import StoredMessage

_ITEM = re.compile(rb"[A-Za-z0-9.]+")
_PATH = re.compile(rb"[1-9]\d{0,5}(?:\.[1-9]\d{0,5})*")
_SECTION_END = re.compile(
    rb"\.?(HEADER\.FIELDS\.NOT|HEADER\.FIELDS|HEADER|TEXT|MIME|)(?=[\] ])", re.IGNORECASE
)
_PARTIAL = re.compile(rb"<(\d{1,10})\.([1-9]\d{0,9})>")

_MACROS = {
    "ALL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"),
    "FAST": ("FLAGS", "INTERNALDATE", "RFC822.SIZE"),
    "FULL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"),
}
_WITHOUT_CONTENT = {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "UID"}
_WITH_CONTENT = {"ENVELOPE", "BODYSTRUCTURE", "BODY", "RFC822", "RFC822.HEADER", "RFC822.TEXT"}


@dataclass(frozen=True, slots=True)
class Section:
    """``BODY[path.kind (names)]<offset.length>``."""

    path: tuple[int, ...]
    kind: str
    """Empty, HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT or MIME."""
    names: tuple[str, ...] = ()
    partial: tuple[int, int] | None = None

    @property
    def label(self) -> bytes:
        """Return how the answer names it."""
        words = [".".join(map(str, self.path)), self.kind]
        text = ".".join(word for word in words if word).encode("ascii")
        if self.names:
            text += b" " + parenthesized(_name(name) for name in self.names)
        offset = b"" if self.partial is None else b"<%d>" % self.partial[0]
        return b"BODY[" + text + b"]" + offset


@dataclass(frozen=True, slots=True)
class Item:
    """One thing asked of a message: a name, or a section of the body."""

    name: str
    section: Section | None = None
    peek: bool = True
    """False when fetching it marks the message as seen."""

    @property
    def needs_content(self) -> bool:
        """Whether the octets of the message are needed."""
        return self.name not in _WITHOUT_CONTENT


class Content:
    """The octets of a message, parsed when that is needed."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets

    @cached_property
    def message(self) -> Part:
        """The structure."""
        return parse(self.octets)


def parse_items(arguments: Arguments) -> list[Item]:
    """Take the attributes of FETCH. Raises Bad."""
    for macro, names in _MACROS.items():
        if arguments.peek(macro.encode("ascii")):
            arguments.need(macro.encode("ascii"))
            return [Item(name) for name in names]
    if not arguments.peek(b"("):
        return [_item(arguments)]
    arguments.open()
    items = [_item(arguments)]
    while arguments.take(b" "):
        items.append(_item(arguments))
    arguments.close()
    return items


def _item(arguments: Arguments) -> Item:
    name = arguments.match(_ITEM, "something to fetch")[0].decode("ascii").upper()
    if name in {"BODY", "BODY.PEEK"} and arguments.take(b"["):
        return Item("BODY[]", _section(arguments), peek=name == "BODY.PEEK")
    if name in _WITHOUT_CONTENT or name in _WITH_CONTENT:
        return Item(name, peek=name not in {"RFC822", "RFC822.TEXT"})
    raise Bad(f"cannot fetch {name}")


def _section(arguments: Arguments) -> Section:
    path: tuple[int, ...] = ()
    if not arguments.peek(b"]") and _starts_with_digit(arguments):
        path = tuple(int(number) for number in arguments.match(_PATH, "a part")[0].split(b"."))
    kind = (
        "" if arguments.peek(b"]") else arguments.match(_SECTION_END, "a section")[1].decode("ascii").upper()
    )
    names: tuple[str, ...] = ()
    if kind.startswith("HEADER.FIELDS"):
        arguments.space()
        arguments.need(b"(")
        found = [arguments.astring()]
        while arguments.take(b" "):
            found.append(arguments.astring())
        arguments.need(b")")
        names = tuple(name.decode("ascii", "replace").upper() for name in found)
    if kind == "MIME" and not path:
        raise Bad("MIME needs a part")
    arguments.need(b"]")
    partial = None
    if arguments.peek(b"<"):
        match = arguments.match(_PARTIAL, "an offset and a length")
        partial = int(match[1]), int(match[2])
    return Section(path, kind, names, partial)


def _starts_with_digit(arguments: Arguments) -> bool:
    return any(arguments.peek(b"%d" % digit) for digit in range(1, 10))


def answer(number: int, items: list[Item], stored: StoredMessage, content: Content | None) -> bytes:
    """Return the FETCH response of message ``number``; ``content`` may be None when no item needs it."""
    values: list[bytes] = []
    for item in items:
        values += [
            item.section.label if item.section else item.name.encode("ascii"),
            _value(item, stored, content),
        ]
    return b"* %d FETCH " % number + parenthesized(values) + b"\r\n"


def _value(item: Item, stored: StoredMessage, content: Content | None) -> bytes:
    match item.name:
        case "FLAGS":
            return flags_text(stored.flags)
        case "UID":
            return b"%d" % stored.uid
        case "INTERNALDATE":
            return date_time_text(stored.internal_date)
        case "RFC822.SIZE":
            return b"%d" % stored.size
    assert content is not None
    if item.section is not None:
        octets = section_octets(content, item.section)
        return b"NIL" if octets is None else literal(octets)
    simple: dict[str, Callable[[], bytes]] = {
        "RFC822": lambda: literal(content.octets),
        "RFC822.HEADER": lambda: literal(content.message.header),
        "RFC822.TEXT": lambda: literal(content.message.body),
        "ENVELOPE": lambda: envelope(content.message),
        "BODY": lambda: body_structure(content.message, extended=False),
        "BODYSTRUCTURE": lambda: body_structure(content.message, extended=True),
    }
    return simple[item.name]()


def section_octets(content: Content, section: Section) -> bytes | None:
    """Return the octets of a section; None when the message has no such part."""
    octets = _whole_section(content, section)
    if octets is not None and section.partial is not None:
        offset, length = section.partial
        return octets[offset : offset + length]
    return octets


def _whole_section(content: Content, section: Section) -> bytes | None:
    if not section.path and not section.kind:
        return content.octets
    part = find_part(content.message, section.path)
    if part is None:
        return None
    if not section.kind:
        return part.body
    if section.kind == "MIME":
        return part.header
    target = part.message if section.path else part
    if target is None:
        return None
    if section.kind == "TEXT":
        return target.body
    if section.kind == "HEADER":
        return target.header
    inverted = section.kind == "HEADER.FIELDS.NOT"
    return header_fields(target.header, frozenset(section.names), inverted=inverted)


def flags_text(flags: frozenset[str]) -> bytes:
    """Return flags in parentheses."""
    return parenthesized(flag.encode("ascii") for flag in sorted(flags))


def _name(name: str) -> bytes:
    """Return a field name as an astring."""
    octets = name.encode("ascii", "replace")
    return octets if re.fullmatch(rb"[A-Z0-9_-]+", octets) else string(octets)
