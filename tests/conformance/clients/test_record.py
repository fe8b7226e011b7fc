"""What may stand in a transcript."""

from __future__ import annotations

import base64

import pytest

from conformance.clients.record import (
    MAX_RECORDED,
    credentials,
    printable,
    redacted_command,
    without,
)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("PASS geheim", "PASS ***"),
        ("pass geheim too", "pass ***"),
        ("AUTH PLAIN AGFi", "AUTH PLAIN ***"),
        ("AUTH LOGIN", "AUTH LOGIN"),
        ("a1 LOGIN me geheim", "a1 LOGIN me ***"),
        ('a1 LOGIN "m e" "ge heim"', 'a1 LOGIN "m e" ***'),
        ("APOP me c4c9334bac560ecc979e58001b3e22fb", "APOP me ***"),
        ("a AUTHENTICATE PLAIN AGFi", "a AUTHENTICATE PLAIN ***"),
        ("USER me", "USER me"),
        ("MAIL FROM:<pass word@example.org>", "MAIL FROM:<pass word@example.org>"),
    ],
)
def test_login_commands_are_recorded_without_the_password(line: str, shown: str) -> None:
    assert redacted_command(line) == shown


def test_a_password_is_hidden_in_all_its_forms() -> None:
    secrets = credentials("me@example.org", 'ge"heim')
    forms = [
        base64.b64encode(b'\0me@example.org\0ge"heim').decode(),
        base64.b64encode(b'ge"heim').decode(),
        'ge"heim',
        'ge\\"heim',
    ]
    for form in forms:
        assert without(secrets, f"<{form}>") == "<***>"


def test_a_very_short_password_does_not_garble_the_transcript() -> None:
    assert without(credentials("me", "e"), "three here") == "three here"


def test_octets_become_text_for_people() -> None:
    assert printable(b"220 a\r\n220 b\r\n") == "220 a\n220 b"
    assert printable(b"\x00\x1b[31m\xff") == "\\x00\\x1b[31m\\xff"
    assert printable("grün\r\n".encode()) == "grün"


def test_long_texts_are_cut() -> None:
    shown = printable(b"x" * 1_000_000)
    assert len(shown) < MAX_RECORDED + 50
    assert "1000000 octets" in shown
