"""Valid values from foreign text: addresses keep their number and lose their spelling."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_server.admin import checks
from reference_server.settings import InvalidField, IpRange

white = st.text(alphabet=" \t\n\r", max_size=3)
sixes = st.integers(0, 2**128 - 1).map(IPv6Address)
fours = st.integers(0, 2**32 - 1).map(IPv4Address)


def spellings(address: IPv6Address) -> list[str]:
    """Return texts of RFC 4291 section 2.2 that all mean ``address``."""
    groups = address.exploded.split(":")
    low = IPv4Address(int(address) & 0xFFFFFFFF)
    return [
        address.compressed,
        address.exploded,
        address.exploded.upper(),
        ":".join(f"{int(group, 16):x}" for group in groups),
        ":".join([*groups[:6], str(low)]),
    ]


@given(sixes.flatmap(lambda a: st.tuples(st.just(a), st.sampled_from(spellings(a)))), white, white)
def test_every_form_of_an_ipv6_address_is_that_address(
    case: tuple[IPv6Address, str], before: str, after: str
) -> None:
    address, text = case
    assert checks.address("lower", before + text + after) == address
    assert checks.relay_hosts("smtp_relayer", before + text + after) == address.compressed
    assert checks.relay_hosts("smtp_relayer", f"{before}[{text}]{after}") == address.compressed
    assert checks.optional_address("bind", before + text + after) == address.compressed
    assert checks.resolver("dns_server", f"{before}[{text}]:53{after}") == f"[{address.compressed}]:53"


@given(fours, white, white)
def test_ipv4_addresses_too(address: IPv4Address, before: str, after: str) -> None:
    text = before + str(address) + after
    assert checks.address("lower", text) == address
    assert checks.relay_hosts("smtp_relayer", text) == str(address)
    assert checks.optional_address("bind", text) == str(address)
    assert checks.resolver("dns_server", f"{address}:1") == f"{address}:1"


@given(st.one_of(st.tuples(sixes, sixes), st.tuples(fours, fours), st.tuples(sixes, fours)))
def test_a_range_is_taken_exactly_when_its_bounds_are_in_order_and_of_one_family(
    bounds: tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address],
) -> None:
    lower, upper = bounds
    fields = {"name": "r", "lower": str(lower), "upper": str(upper)}
    if lower.version == upper.version and int(lower) <= int(upper):
        made = checks.ip_range(fields)
        assert (made.lower, made.upper) == (lower, upper)
    else:
        with pytest.raises(InvalidField) as refused:
            checks.ip_range(fields)
        assert refused.value.field in ("lower", "upper")


def test_the_defaults_of_a_new_range_are_those_of_the_value() -> None:
    made = checks.ip_range({"name": "r", "lower": "::", "upper": "::"})
    assert made == IpRange(0, "r", 0, ip_address("::"), ip_address("::"))


@given(st.text(max_size=40))
def test_any_text_is_taken_or_refused_with_its_field(text: str) -> None:
    for check in (
        checks.address,
        checks.relay_hosts,
        checks.optional_address,
        checks.resolver,
        checks.moment,
        checks.host_name,
        checks.domain_name,
        checks.text,
        checks.password,
        lambda field, value: checks.account_address(field, value, "example.com"),
    ):
        wrong = ""
        try:
            check("the_field", text)
        except InvalidField as error:
            wrong = error.field
        assert wrong in ("", "the_field")


@given(st.text(max_size=20), st.characters(max_codepoint=0x1F), st.text(max_size=20))
def test_no_text_carries_a_control_character(before: str, control: str, after: str) -> None:
    with pytest.raises(InvalidField):
        checks.text("welcome_smtp", f"x{before}{control}{after}x")


@given(st.text(alphabet="0123456789.", min_size=1, max_size=15))
def test_numbers_and_dots_are_an_ipv4_address_or_nothing(text: str) -> None:
    """A misspelled address must not be looked up as a host name."""
    try:
        taken = checks.relay_hosts("smtp_relayer", text)
    except InvalidField:
        return
    assert str(IPv4Address(taken)) == taken


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2030-01-02 03:04:05", datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (" 2030-01-02T03:04:05 ", datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2030-01-02", datetime(2030, 1, 2, tzinfo=UTC)),
        ("0001-01-01 00:00:00", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31 23:59:59", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("", None),
        ("  ", None),
        (None, None),
    ],
)
def test_moments(text: str | None, expected: datetime | None) -> None:
    assert checks.moment("expires_time", text) == expected


def test_host_names() -> None:
    for name in (
        "localhost",
        "mail.example.com",
        "a-b.c_d.e",
        "xn--bcher-kva.example",
        "a.example.",
        "3com.com",
    ):
        assert checks.host_name("host_name", f" {name} ") == name
    for name in ("", "a..b", ".a", "a b", "-a", "a-", "x" * 64, "a." * 127, "ü.example", "a.1", "1", "a/b"):
        with pytest.raises(InvalidField):
            checks.host_name("host_name", name)
