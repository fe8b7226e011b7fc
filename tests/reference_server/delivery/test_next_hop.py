from __future__ import annotations

from ipaddress import ip_address

import pytest

from reference_server.delivery.next_hop import (
    Bound,
    Exchanger,
    Target,
    by_preference,
    ehlo_name,
    in_order,
    is_null_mx,
    is_ourselves,
    parse_host,
    route_of,
)
from reference_server.settings import ConnectionSecurity, ServerSettings


@pytest.mark.parametrize(
    "text",
    [
        "2001:db8::25",
        "2001:DB8::25",
        "2001:0db8:0000:0000:0000:0000:0000:0025",
        "[2001:db8::25]",
        " [IPv6:2001:db8::25] ",
        "2001:db8::0.0.0.37",
    ],
)
def test_every_text_form_is_the_address(text: str) -> None:
    assert parse_host(text) == ip_address("2001:db8::25")


def test_a_v4_mapped_relay_is_the_ipv4_address() -> None:
    assert parse_host("::ffff:192.0.2.1") == ip_address("192.0.2.1")


def test_a_name_is_a_name() -> None:
    assert parse_host("Relay.Example.test.") == "relay.example.test"


def test_with_a_relay_everything_goes_there() -> None:
    settings = ServerSettings(smtp_relayer="a.test| 2001:db8::1 |192.0.2.1", smtp_relayer_port=0)
    route = route_of(settings, "joe@far.test")
    assert route == route_of(settings, "ann@other.test")
    assert route.hosts == ("a.test", ip_address("2001:db8::1"), ip_address("192.0.2.1"))
    assert (route.port, route.domain, route.is_relay) == (25, "", True)


def test_without_one_it_goes_to_the_domain_with_tls_where_it_can() -> None:
    settings = ServerSettings(
        smtp_relayer_port=2525,
        smtp_relayer_requires_authentication=True,
        smtp_relayer_password="secret",
        smtp_relayer_connection_security=ConnectionSecurity.TLS,
    )
    route = route_of(settings, "joe@Far.test")
    assert (route.domain, route.port, route.is_relay) == ("far.test", 25, False)
    assert (route.security, route.verify) == (ConnectionSecurity.STARTTLS_OPTIONAL, False)
    assert (route.authenticate, route.password) == (False, "")


def test_a_password_is_not_printed() -> None:
    settings = ServerSettings(
        smtp_relayer="a.test", smtp_relayer_requires_authentication=True, smtp_relayer_password="secret"
    )
    route = route_of(settings, "joe@far.test")
    assert route.password == "secret"
    assert "secret" not in repr(route)


@pytest.mark.parametrize(
    ("preferred", "expected"),
    [
        (False, ["192.0.2.2", "192.0.2.1", "2001:db8::2", "2001:db8::1"]),
        (True, ["2001:db8::2", "2001:db8::1", "192.0.2.2", "192.0.2.1"]),
    ],
)
def test_the_preferred_family_comes_first(preferred: bool, expected: list[str]) -> None:
    given = ["2001:db8::2", "192.0.2.2", "::ffff:192.0.2.1", "2001:db8::1", "192.0.2.1"]
    found = in_order(map(ip_address, given), ipv6_preferred=preferred)
    assert [each.compressed for each in found] == expected


@pytest.mark.parametrize(
    ("listener", "target", "expected"),
    [
        ("::1", "::1", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("::", "2001:db8::1", True),
        ("::", "2001:db8::2", False),
        ("0.0.0.0", "192.0.2.1", True),
        ("0.0.0.0", "192.0.2.2", False),
        ("::", "192.0.2.1", False),  # an IPv6 listener takes IPv6 clients only
        ("0.0.0.0", "2001:db8::1", False),
        ("2001:db8::1", "::1", False),  # another program may be there
        ("::1", "::", True),
        ("127.0.0.1", "0.0.0.0", True),
    ],
)
def test_we_know_ourselves_in_both_families(listener: str, target: str, expected: bool) -> None:
    local = {ip_address("2001:db8::1"), ip_address("192.0.2.1")}
    bound = [Bound(ip_address("198.51.100.1"), 25), Bound(ip_address(listener), 2525)]
    for port, said in ((2525, expected), (2526, False)):
        assert is_ourselves(Target("", ip_address(target), port), bound, local.__contains__) is said


@pytest.mark.parametrize(
    ("name", "local", "expected"),
    [
        ("mail.example.test", "::1", "mail.example.test"),
        ("mail.example.test.", "::1", "mail.example.test"),
        ("localhost", "2001:DB8::25", "[IPv6:2001:db8::25]"),
        ("localhost", "192.0.2.1", "[192.0.2.1]"),
    ],
)
def test_we_call_ourselves_by_a_name_or_a_literal(name: str, local: str, expected: str) -> None:
    assert ehlo_name(name, ip_address(local)) == expected


def test_exchangers_by_preference_and_shuffled_within() -> None:
    given = [Exchanger(20, "c"), Exchanger(10, "a"), Exchanger(10, "b"), Exchanger(5, "z")]
    found = by_preference(given, lambda group: group.reverse())
    assert [each.name for each in found] == ["z", "b", "a", "c"]


def test_a_null_mx_is_alone_and_empty() -> None:
    assert is_null_mx([Exchanger(0, "")])
    assert not is_null_mx([Exchanger(0, ""), Exchanger(10, "a")])
    assert not is_null_mx([])
