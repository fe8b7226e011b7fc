from __future__ import annotations

import pytest

from reference_server.protocols.smtp_path import NULL_SENDER, domain_of, is_literal, is_name, parse_path


@pytest.mark.parametrize(
    ("text", "address", "rest"),
    [
        ("<ann@example.test>", "ann@example.test", ""),
        ("<Ann.B+c@Example.TEST> SIZE=10 BODY=8BITMIME", "Ann.B+c@Example.TEST", "SIZE=10 BODY=8BITMIME"),
        ("<>", NULL_SENDER, ""),
        ("<> SIZE=1", NULL_SENDER, "SIZE=1"),
        ("<@a.test,@b.test:ann@example.test>", "ann@example.test", ""),
        ('<"ann b"@example.test>', '"ann b"@example.test', ""),
        ('<"ann"@example.test>', "ann@example.test", ""),
        ('<"a\\"b>c"@example.test>', '"a\\"b>c"@example.test', ""),
        ("<ann@[IPv6:2001:db8::1]>", "ann@[IPv6:2001:db8::1]", ""),
        ("<ann@[192.0.2.1]>", "ann@[192.0.2.1]", ""),
        ("<postmaster>", "postmaster", ""),
        ("<ann@example.test.>", "ann@example.test", ""),
    ],
)
def test_paths(text: str, address: str, rest: str) -> None:
    assert parse_path(text) == (address, rest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ann@example.test",
        "<ann@example.test",
        "<ann@>",
        "<@example.test>",
        "<ann@@example.test>",
        "<ann b@example.test>",
        "<ann@exa mple.test>",
        "<a..b@example.test>",
        "<ann@-x.test>",
        "<ann@[IPv6:zz]>",
        "<ann@[IPv6:fe80::1%eth0]>",
        "<ann@[300.1.1.1]>",
        "<ann@example.test>SIZE=1",
        "<" + "a" * 65 + "@example.test>",
        "<a@" + "b" * 256 + ">",
    ],
)
def test_what_is_no_path(text: str) -> None:
    assert parse_path(text) is None


@pytest.mark.parametrize(
    "text", ["[IPv6:::1]", "[ipv6:2001:db8::1]", "[127.0.0.1]", "[IPv6:::ffff:192.0.2.1]"]
)
def test_literals(text: str) -> None:
    assert is_literal(text)
    assert is_name(text)


@pytest.mark.parametrize(
    "text", ["[::1]", "[IPv6:::1", "[IPv6:1.2.3.4]", "[]", "[IPv6:]", "[256.0.0.1]", "[1.2.3]"]
)
def test_what_is_no_literal(text: str) -> None:
    assert not is_literal(text)
    assert not is_name(text)


def test_any_name_does() -> None:
    assert is_name("client_1")
    assert is_name("a.b-c.example")
    assert not is_name("two words")
    assert not is_name("x" * 256)


def test_domain_of() -> None:
    assert domain_of("Ann@Example.TEST") == "example.test"
    assert domain_of('"a@b"@example.test') == "example.test"
    assert domain_of(NULL_SENDER) == ""
    assert domain_of("postmaster") == ""
