"""Greetings, octet by octet."""

from __future__ import annotations

import pytest

from conformance.clients.reply import classify_greeting


@pytest.mark.parametrize(
    ("protocol", "received", "kind"),
    [
        ("smtp", b"", "unfinished"),
        ("smtp", b"220 hi\r", "unfinished"),
        ("smtp", b"220 hi\r\n", "positive"),
        ("smtp", b"220 hi\n", "positive"),
        ("smtp", b"220\r\n", "positive"),
        ("smtp", b"220-hi\r\n", "unfinished"),
        ("smtp", b"220-hi\r\n220-ho\r\n220 he\r\n", "positive"),
        ("smtp", b"220-hi\r\n554 no\r\n", "negative"),
        ("smtp", b"2200 hi\r\n", "negative"),
        ("smtp", b"250 hi\r\n", "negative"),
        ("smtp", b"\r\n220 hi\r\n", "negative"),
        ("smtp", b"+OK hi\r\n", "other_protocol"),
        ("smtp", b"* OK hi\r\n", "other_protocol"),
        ("smtp", b"-ERR hi\r\n", "negative"),
        ("smtp", b"* BYE hi\r\n", "negative"),
        ("pop3", b"+OK\r\n", "positive"),
        ("pop3", b"+OK hi <1.2@host>\r\n", "positive"),
        ("pop3", b"+OKAY\r\n", "negative"),
        ("pop3", b"220 hi\r\n", "other_protocol"),
        ("pop3", b"-ERR\r\n", "negative"),
        ("imap", b"* OK [CAPABILITY IMAP4rev1] hi\r\n", "positive"),
        ("imap", b"* ok hi\r\n", "positive"),
        ("imap", b"* PREAUTH hi\r\n", "positive"),
        ("imap", b"* OKAY\r\n", "negative"),
        ("imap", b"* BYE\r\n", "negative"),
        ("imap", b"+OK hi\r\n", "other_protocol"),
        ("imap", b"220-hi\r\n", "other_protocol"),
    ],
)
def test_greetings(protocol, received, kind) -> None:
    assert classify_greeting(protocol, received) == kind
