from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from ipaddress import ip_address

import pytest

from reference_server.delivery.trace import Hop, hops, received, return_path, with_protocol

HOP = Hop(
    helo="[IPv6:2001:db8::25]",
    peer=ip_address("2001:db8::25"),
    host_name="mail.example.test",
    protocol="ESMTPS",
    id="a.1",
    time=datetime(2026, 2, 1, 12, 30, tzinfo=UTC),
    recipients=("ann@example.test",),
)


def test_an_ipv6_peer_is_an_address_literal() -> None:
    assert received(HOP) == (
        b"Received: from [IPv6:2001:db8::25] ([IPv6:2001:db8::25])\r\n"
        b"\tby mail.example.test with ESMTPS id a.1\r\n"
        b"\tfor <ann@example.test>;\r\n"
        b"\tSun, 01 Feb 2026 12:30:00 +0000\r\n"
    )


def test_an_ipv4_peer_has_no_tag() -> None:
    assert b"([192.0.2.7])\r\n" in received(replace(HOP, peer=ip_address("192.0.2.7")))


def test_several_recipients_are_not_told_of_each_other() -> None:
    field = received(replace(HOP, recipients=("ann@example.test", "bob@example.test")))
    assert b"for <" not in field
    assert b"id a.1;\r\n" in field


def test_what_the_client_said_cannot_add_a_field() -> None:
    field = received(replace(HOP, helo="x\r\nBcc: y", host_name="é x"))
    message = message_from_bytes(field + b"\r\n")
    assert message.keys() == ["Received"]


def test_return_path() -> None:
    assert return_path("x@remote.test") == b"Return-Path: <x@remote.test>\r\n"
    assert return_path("") == b"Return-Path: <>\r\n"


@pytest.mark.parametrize(
    ("extended", "tls", "authenticated", "name"),
    [
        (False, False, False, "SMTP"),
        (False, True, False, "SMTP"),
        (True, False, False, "ESMTP"),
        (True, True, False, "ESMTPS"),
        (True, False, True, "ESMTPA"),
        (True, True, True, "ESMTPSA"),
    ],
)
def test_names_of_rfc_3848(extended: bool, tls: bool, authenticated: bool, name: str) -> None:
    assert with_protocol(extended=extended, tls=tls, authenticated=authenticated) == name


def test_hops_count_the_header_only() -> None:
    content = b"Received: a\r\nreceived : b\r\n\tfolded\r\nX-Received: c\r\n\r\nReceived: body\r\n"
    assert hops(content) == 2
    assert hops(b"\r\nReceived: body\r\n") == 0
