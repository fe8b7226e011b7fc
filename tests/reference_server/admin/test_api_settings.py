"""Settings over HTTP: stored, read back, told to the server; a wrong one stores nothing."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

from reference_server.settings import ConnectionSecurity

if TYPE_CHECKING:
    from tests.reference_server.admin.conftest import Site

CHANGES: list[tuple[str, Any, Any]] = [
    ("host_name", " mx1.Example.com ", "mx1.Example.com"),
    ("smtp_relayer", "relay.example.com", "relay.example.com"),
    ("smtp_relayer", " a.example | 192.0.2.1|2001:DB8:0:0::1 ", "a.example|192.0.2.1|2001:db8::1"),
    ("smtp_relayer", "[2001:0db8::0001]", "2001:db8::1"),
    ("smtp_relayer", "[IPv6:2001:db8::2]", "2001:db8::2"),
    ("smtp_relayer", "::FFFF:192.0.2.1", IPv6Address("::ffff:c000:201").compressed),
    ("smtp_relayer", "::192.0.2.33", "::c000:221"),
    ("smtp_relayer", "relay_1.example.", "relay_1.example."),
    ("smtp_relayer", "", ""),
    ("smtp_relayer_port", 65535, 65535),
    ("smtp_relayer_port", 0, 0),
    ("smtp_relayer_connection_security", "starttls_required", "starttls_required"),
    ("smtp_relayer_requires_authentication", True, True),
    ("smtp_relayer_username", "us er", "us er"),
    ("smtp_delivery_bind_to_ip", " 2001:DB8::0:1", "2001:db8::1"),
    ("smtp_delivery_bind_to_ip", "192.0.2.9", "192.0.2.9"),
    ("smtp_delivery_bind_to_ip", " ", ""),
    ("smtp_no_of_tries", 9, 9),
    ("smtp_minutes_between_try", 1, 1),
    ("ipv6_preferred", True, True),
    ("max_smtp_connections", 5, 5),
    ("max_pop3_connections", 6, 6),
    ("max_imap_connections", 7, 7),
    ("max_message_size_kb", 2**31 - 1, 2**31 - 1),
    ("auto_ban_on_logon_failure", False, False),
    ("max_invalid_logon_attempts", 11, 11),
    ("minutes_before_reset", 12, 12),
    ("minutes_to_ban", 13, 13),
    ("welcome_smtp", "ünser Server", "ünser Server"),
    ("welcome_pop3", "p", "p"),
    ("welcome_imap", "i", "i"),
    ("allow_smtp_auth_plain", False, False),
    ("verify_remote_ssl_certificate", False, False),
    ("dns_server", "127.0.0.1:5353", "127.0.0.1:5353"),
    ("dns_server", "[0::1]:53", "[::1]:53"),
    ("dns_server", " 0::1 ", "::1"),
    ("dns_server", "192.0.2.1", "192.0.2.1"),
    ("dns_server", "", ""),
]


async def test_every_setting_is_kept_and_told(site: Site) -> None:
    expected = await site.get("/settings")
    assert {name for name, _entered, _read in CHANGES} == set(expected)
    for name, entered, read in CHANGES:
        expected[name] = read
        assert await site.ask("PUT", "/settings", {name: entered}) == (200, expected)
        assert await site.get("/settings") == expected
        assert getattr(site.recorder.told_settings[-1], name) == read
    assert (await site.stored()).settings() == site.operations.settings()
    assert site.operations.settings().smtp_relayer_connection_security is ConnectionSecurity.STARTTLS_REQUIRED


async def test_the_relay_password_is_kept_and_never_shown(site: Site) -> None:
    code, answer = await site.ask("PUT", "/settings", {"smtp_relayer_password": "geheim: ß"})
    assert code == 200
    assert "smtp_relayer_password" not in answer
    assert "smtp_relayer_password" not in await site.get("/settings")
    assert (await site.stored()).settings().smtp_relayer_password == "geheim: ß"
    assert site.recorder.told_settings[-1].smtp_relayer_password == "geheim: ß"


async def test_wrong_settings_are_refused_whole(site: Site) -> None:
    before = await site.get("/settings")
    cases: list[tuple[str, Any]] = [
        ("host_name", {"host_name": ""}),
        ("host_name", {"host_name": "a b"}),
        ("host_name", {"host_name": "a\r\n250 b"}),
        *[
            ("smtp_relayer", {"smtp_relayer": wrong})
            for wrong in (
                "not a host",
                "a|",
                "|a",
                "a||b",
                "host:25",
                "[::1]:25",
                "[::1",
                "192.0.2.256",
                "1.2.3",
                "12345",
                "2001:db8::g",
                "fe80::1%eth0",
                "-a.example",
                "a-.example",
                "a..b",
                "x" * 64 + ".example",
                "bücher.example",
                "http://relay.example",
                "user@relay.example",
                7,
                None,
            )
        ],
        ("smtp_relayer_port", {"smtp_relayer_port": 65536}),
        ("smtp_relayer_port", {"smtp_relayer_port": "25"}),
        ("smtp_relayer_connection_security", {"smtp_relayer_connection_security": "ssl"}),
        ("smtp_relayer_password", {"smtp_relayer_password": "a\0"}),
        ("smtp_relayer_password", {"smtp_relayer_password": "x" * 513}),
        ("smtp_delivery_bind_to_ip", {"smtp_delivery_bind_to_ip": "localhost"}),
        ("smtp_delivery_bind_to_ip", {"smtp_delivery_bind_to_ip": "::1%lo"}),
        ("smtp_delivery_bind_to_ip", {"smtp_delivery_bind_to_ip": "[::1]"}),
        ("max_smtp_connections", {"max_smtp_connections": -1}),
        ("max_smtp_connections", {"max_smtp_connections": 2**31}),
        ("max_smtp_connections", {"max_smtp_connections": 1.0}),
        ("ipv6_preferred", {"ipv6_preferred": 1}),
        ("welcome_smtp", {"welcome_smtp": "hello\r\n221 bye"}),
        ("welcome_imap", {"welcome_imap": "a\u2028b"}),
        ("welcome_pop3", {"welcome_pop3": "x" * 1001}),
        ("dns_server", {"dns_server": "::1:99999"}),
        ("dns_server", {"dns_server": "dns.example:53"}),
        ("dns_server", {"dns_server": "127.0.0.1:0"}),
        ("dns_server", {"dns_server": "[127.0.0.1]:53"}),
        ("dns_server", {"dns_server": "127.0.0.1:５３"}),
        ("bogus", {"bogus": 1}),
    ]
    # The right one beside the wrong one is not taken either.
    await site.refused("PUT", "/settings", cases, {"minutes_to_ban": 999})
    assert await site.get("/settings") == before
    assert (await site.stored()).settings() == site.operations.settings()
    assert site.recorder.told_settings == []
