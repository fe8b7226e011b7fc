"""Trace fields: Received when a message comes in, Return-Path when it is stored (RFC 5321 section 4.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from reference_server.addresses import IPAddress, address_literal

_PRINTABLE = re.compile(r"[^\x21-\x7e]")
_RECEIVED = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Hop:
    """One arrival of a message."""

    helo: str
    """What the client called itself."""
    peer: IPAddress
    host_name: str
    protocol: str
    """SMTP, ESMTP, ESMTPS, ESMTPA or ESMTPSA (RFC 3848)."""
    id: str
    time: datetime
    """Aware."""
    recipients: tuple[str, ...]


def received(hop: Hop) -> bytes:
    """Return the Received field, CRLF included.

    The peer is an address literal, ``[IPv6:…]`` for IPv6 (RFC 5321 section 4.1.3). A recipient is named only
    when it is the only one: several would tell each of the others (RFC 5321 section 7.2).
    """
    recipient = f"\r\n\tfor <{hop.recipients[0]}>" if len(hop.recipients) == 1 else ""
    return (
        f"Received: from {_atom(hop.helo)} ({address_literal(hop.peer)})\r\n"
        f"\tby {_atom(hop.host_name)} with {hop.protocol} id {hop.id}{recipient};\r\n"
        f"\t{format_datetime(hop.time.astimezone(UTC))}\r\n"
    ).encode("ascii", "replace")


def return_path(sender: str) -> bytes:
    """Return the Return-Path field of the final delivery, CRLF included; the null sender is ``<>``."""
    return f"Return-Path: <{sender}>\r\n".encode("ascii", "replace")


def hops(beginning: bytes) -> int:
    """Return how many Received fields are in the header of a message (RFC 5321 section 6.3).

    Its ``beginning`` is enough: they come first.
    """
    header, _, _ = (b"\r\n" + beginning).partition(b"\r\n\r\n")
    return len(_RECEIVED.findall(header))


def with_protocol(*, extended: bool, tls: bool, authenticated: bool) -> str:
    """Return the name of the protocol for Received (RFC 3848)."""
    if not extended:
        return "SMTP"
    return f"ESMTP{'S' if tls else ''}{'A' if authenticated else ''}"


def _atom(text: str) -> str:
    """Return ``text`` without what could break the field."""
    return _PRINTABLE.sub("?", text)[:255] or "unknown"
