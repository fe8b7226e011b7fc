"""The report to the sender of what could not be delivered: a delivery status notification. Pure.

RFC 3464 in a multipart/report (RFC 6522), from the null sender, so that no report is ever answered by one.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from reference_server import limits
from reference_server.addresses import IPAddress, address_literal
from reference_server.delivery.results import Result, printable

_TEXT_LINE = 900
"""Octets of a line that we write; RFC 5322 section 2.1.1 allows 998."""


@dataclass(frozen=True, slots=True)
class NotReached:
    """A recipient who was not reached. ``note``: why there are no more tries; empty when it was for good."""

    address: str
    result: Result
    note: str = ""


@dataclass(frozen=True, slots=True)
class Returned:
    """A message that could not be delivered to some of its recipients."""

    sender: str
    content: bytes
    received: datetime
    trace_id: str
    helo: str
    peer: IPAddress | None
    recipients: Sequence[NotReached]


def report(returned: Returned, host_name: str, now: datetime, identity: str) -> bytes:
    """Return the report, to be sent from the null sender to the sender of the message.

    ``identity`` is unique: it becomes part of the Message-ID and of the boundary. A small message is returned
    whole, of a big one or an 8-bit one the header: the report itself has to pass every server.
    """
    boundary = f"report-{identity}"
    whole = len(returned.content) <= limits.REPORT_OCTETS and returned.content.isascii()
    parts = [_explanation(returned, host_name), _status(returned, host_name)]
    parts.append(_original(returned.content) if whole else _header(returned.content))
    header = (
        f"From: Mail Delivery System <MAILER-DAEMON@{host_name}>\r\n"
        f"To: <{returned.sender}>\r\n"
        "Subject: Undelivered mail returned to its sender\r\n"
        f"Date: {format_datetime(now.astimezone(UTC))}\r\n"
        f"Message-ID: <{identity}@{host_name}>\r\n"
        "Auto-Submitted: auto-replied\r\n"  # RFC 3834 section 5
        "MIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=delivery-status;\r\n"
        f'\tboundary="{boundary}"\r\n'
    )
    body = b"".join(b"\r\n--" + boundary.encode() + b"\r\n" + part for part in parts)
    return header.encode("ascii", "replace") + body + f"\r\n--{boundary}--\r\n".encode()


def _explanation(returned: Returned, host_name: str) -> bytes:
    lines = [
        "Content-Type: text/plain; charset=us-ascii",
        "",
        f"This is the mail server {host_name}.",
        "",
        "A message of yours could not be delivered to:",
        "",
    ]
    for each in returned.recipients:
        lines += [f"  <{each.address}>", f"    {each.result.reason}"]
        if each.result.said_by_remote:
            lines.append(f"    (said by {each.result.remote})")
        lines += [f"    ({each.note})", ""] if each.note else [""]
    lines.append("Nobody will try again. What could not be delivered is attached, or its header is.")
    return _lines(lines)


def _status(returned: Returned, host_name: str) -> bytes:
    """Return the part for programs (RFC 3464 section 2)."""
    lines = ["Content-Type: message/delivery-status", "", f"Reporting-MTA: dns; {host_name}"]
    if returned.peer is not None:
        lines.append(f"Received-From-MTA: dns; {printable(returned.helo)} ({address_literal(returned.peer)})")
    lines.append(f"Arrival-Date: {format_datetime(returned.received.astimezone(UTC))}")
    for each in returned.recipients:
        result = each.result
        lines += [
            "",
            f"Final-Recipient: rfc822; {each.address}",
            "Action: failed",
            f"Status: {result.status}",
        ]
        if result.said_by_remote:
            lines.append(f"Remote-MTA: dns; {result.remote}")
            lines.append(f"Diagnostic-Code: smtp; {result.reason}")
        else:
            lines.append(f"Diagnostic-Code: x-sixpost; {result.reason}")
    return _lines(lines)


def _original(content: bytes) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\n" + content


def _header(content: bytes) -> bytes:
    header = (b"\r\n" + content).partition(b"\r\n\r\n")[0][2:] + b"\r\n"
    if len(header) > limits.REPORT_HEADER:
        header = header[: header.rfind(b"\r\n", 0, limits.REPORT_HEADER) + 2]
    if header.isascii():
        return b"Content-Type: text/rfc822-headers\r\n\r\n" + header
    encoded = b64encode(header)
    lines = [encoded[start : start + 76] for start in range(0, len(encoded), 76)]
    start = b"Content-Type: text/rfc822-headers; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return start + b"\r\n".join(lines) + b"\r\n"


def _lines(lines: Sequence[str]) -> bytes:
    return b"".join(line[:_TEXT_LINE].encode("ascii", "replace") + b"\r\n" for line in lines)
