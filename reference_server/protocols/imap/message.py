"""A message as MIME parts over its own octets: sections, ENVELOPE, BODYSTRUCTURE (RFC 3501, 2045). Pure.

Whatever comes in has some structure: what cannot be understood is one opaque part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.errors import MessageError
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import collapse_rfc2231_value, getaddresses

from reference_server import limits
from reference_server.protocols.imap.syntax import nstring, parenthesized, string

_PARSER = BytesHeaderParser()
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:(.*?(?:\r\n|\Z)(?:[ \t].*?(?:\r\n|\Z))*)", re.DOTALL)


@dataclass(slots=True)
class Part:
    """A part: the whole message, a part of a multipart, or the message within a message/rfc822 part."""

    header: bytes
    """With the blank line that ends it."""
    body: bytes
    fields: Message
    maintype: str = "text"
    subtype: str = "plain"
    parts: list[Part] = field(default_factory=list)
    message: Part | None = None
    """The message inside a message/rfc822 part."""


def parse(octets: bytes) -> Part:
    """Return the structure of a message."""
    return _parse(octets, "text/plain", 0, [limits.MIME_PARTS])


def split_header(octets: bytes) -> tuple[bytes, bytes]:
    """Return header, with its blank line, and body."""
    if octets.startswith(b"\r\n"):
        return octets[:2], octets[2:]
    end = octets.find(b"\r\n\r\n")
    return (octets, b"") if end < 0 else (octets[: end + 4], octets[end + 4 :])


def _parse(octets: bytes, default: str, depth: int, budget: list[int]) -> Part:
    header, body = split_header(octets)
    part = Part(header, body, _PARSER.parsebytes(header))
    part.fields.set_default_type(default)
    part.maintype, part.subtype = part.fields.get_content_maintype(), part.fields.get_content_subtype()
    if depth >= limits.MIME_NESTING:
        _make_opaque(part)
    elif part.maintype == "multipart":
        inner_default = "message/rfc822" if part.subtype == "digest" else "text/plain"
        for piece in _pieces(body, _boundary(part.fields), budget):
            part.parts.append(_parse(piece, inner_default, depth + 1, budget))
        if not part.parts:
            _make_opaque(part)
    elif (part.maintype, part.subtype) == ("message", "rfc822"):
        if part.fields.get("content-transfer-encoding", "7bit").strip().lower() in {
            "base64",
            "quoted-printable",
        }:
            _make_opaque(part)  # RFC 2046 section 5.2.1 forbids it; its octets are no message
        else:
            part.message = _parse(body, "text/plain", depth + 1, budget)
    return part


def _make_opaque(part: Part) -> None:
    part.maintype, part.subtype = "application", "octet-stream"


def _boundary(fields: Message) -> bytes:
    try:
        return (fields.get_boundary() or "").encode("ascii", "surrogateescape")
    except (MessageError, ValueError):
        return b""


def _pieces(body: bytes, boundary: bytes, budget: list[int]) -> list[bytes]:
    """Return the parts between the delimiter lines (RFC 2046 section 5.1.1)."""
    if not boundary:
        return []
    pieces = []
    start: int | None = None
    for found in re.finditer(rb"(?:\A|\r\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r\n|\Z)", body):
        if start is not None:
            pieces.append(body[start : max(start, found.start())])
        budget[0] -= 1
        start = None
        if found[1] is not None or budget[0] <= 0:
            break
        start = found.end() + 2
    if start is not None and start <= len(body):
        pieces.append(body[start:])
    return pieces


def find_part(message: Part, path: tuple[int, ...]) -> Part | None:
    """Return the part that ``path`` names: of a multipart its n-th, else part 1 is the body itself."""
    current = message
    for depth, number in enumerate(path):
        container = current
        if depth > 0:
            if current.message is not None:
                container = current.message
            elif not current.parts:
                return None
        if container.parts:
            if number > len(container.parts):
                return None
            current = container.parts[number - 1]
        elif number == 1 and (depth == 0 or current.message is not None):
            current = container
        else:
            return None
    return current


def header_fields(header: bytes, names: frozenset[str], *, inverted: bool) -> bytes:
    """Return the fields of ``header`` that are (``inverted``: are not) in ``names`` (upper case)."""
    chosen = [
        found[0]
        for found in _FIELD.finditer(header)
        if (found[1].decode("ascii").upper() in names) is not inverted
    ]
    return b"".join(chosen) + b"\r\n"


def lines_of(octets: bytes) -> int:
    """Return the number of lines."""
    return octets.count(b"\n") + (not octets.endswith(b"\n") and bool(octets))


# --- ENVELOPE (RFC 3501 section 7.4.2) ----------------------------------------------------------------


def field_octets(fields: Message, name: str) -> bytes | None:
    """Return the value of the first field ``name``, unfolded; None when there is none."""
    values = field_values(fields, name)
    return values[0].encode("utf-8", "surrogateescape") if values else None


def field_values(fields: Message, name: str = "") -> list[str]:
    """Return the values of the fields ``name`` (empty: of all), unfolded; octets above 127 as surrogates."""
    return [
        re.sub(r"\r?\n", "", str(value)).strip()
        for key, value in fields.raw_items()
        if not name or key.lower() == name.lower()
    ]


def envelope(part: Part) -> bytes:
    """Return ENVELOPE."""
    fields = part.fields
    sender = _addresses(fields, "from")
    return parenthesized(
        [
            nstring(field_octets(fields, "date")),
            nstring(field_octets(fields, "subject")),
            sender,
            _addresses(fields, "sender", sender),
            _addresses(fields, "reply-to", sender),
            _addresses(fields, "to"),
            _addresses(fields, "cc"),
            _addresses(fields, "bcc"),
            nstring(field_octets(fields, "in-reply-to")),
            nstring(field_octets(fields, "message-id")),
        ]
    )


def _addresses(fields: Message, name: str, otherwise: bytes = b"NIL") -> bytes:
    addresses = []
    for display, address in getaddresses(field_values(fields, name)):
        if address:
            mailbox, _, host = address.rpartition("@")
            octets = [_octets(text) for text in (display, mailbox or host, host if mailbox else "")]
            addresses.append(
                parenthesized([nstring(octets[0] or None), b"NIL", nstring(octets[1]), nstring(octets[2])])
            )
    return b"(" + b"".join(addresses) + b")" if addresses else otherwise


def _octets(text: str) -> bytes:
    return re.sub(r"[\r\n]+", "", text).encode("utf-8", "surrogateescape")


# --- BODY and BODYSTRUCTURE (RFC 3501 section 7.4.2) --------------------------------------------------


def body_structure(part: Part, *, extended: bool) -> bytes:
    """Return BODYSTRUCTURE, or BODY when not ``extended``."""
    if part.parts:
        children = b"".join(body_structure(child, extended=extended) for child in part.parts)
        items = [children, string(part.subtype.upper().encode("ascii", "replace"))]
        if extended:
            items += [_parameters(part.fields, "content-type"), *_extension(part.fields)]
        return parenthesized(items)
    fields = part.fields
    items = [
        string(part.maintype.upper().encode("ascii", "replace")),
        string(part.subtype.upper().encode("ascii", "replace")),
        _parameters(fields, "content-type"),
        nstring(field_octets(fields, "content-id")),
        nstring(field_octets(fields, "content-description")),
        string((field_octets(fields, "content-transfer-encoding") or b"7BIT").upper()),
        b"%d" % len(part.body),
    ]
    if part.message is not None:
        items += [envelope(part.message), body_structure(part.message, extended=extended)]
    if part.message is not None or part.maintype == "text":
        items.append(b"%d" % lines_of(part.body))
    if extended:
        items += [nstring(field_octets(fields, "content-md5")), *_extension(fields)]
    return parenthesized(items)


def _extension(fields: Message) -> list[bytes]:
    """Return disposition, language and location."""
    disposition = fields.get_content_disposition()
    return [
        parenthesized([string(_octets(disposition)), _parameters(fields, "content-disposition")])
        if disposition
        else b"NIL",
        nstring(field_octets(fields, "content-language")),
        nstring(field_octets(fields, "content-location")),
    ]


def _parameters(fields: Message, name: str) -> bytes:
    try:
        parameters = fields.get_params([], header=name)[1:]
    except (MessageError, ValueError):
        parameters = []
    items: list[bytes] = []
    for key, value in parameters:
        items += [string(_octets(key.upper())), string(_octets(collapse_rfc2231_value(value)))]
    if not items and name == "content-type" and "content-type" not in fields:
        items = [b'"CHARSET"', b'"US-ASCII"']
    return parenthesized(items) if items else b"NIL"
