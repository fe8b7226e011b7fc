"""The decision at the door, as a table."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from reference_server.listening.admission import NO_MATCHING_RANGE, Admitted, Refused, decide
from reference_server.listening.ip_ranges import RangeTable
from reference_server.settings import IpRange, Protocol, ServerSettings

NOW = datetime(2030, 1, 2, tzinfo=UTC)
SMTP, POP3, IMAP = Protocol.SMTP, Protocol.POP3, Protocol.IMAP
LAN = IpRange(1, "LAN", 10, ip_address("2001:db8::"), ip_address("2001:db8::ffff"))
MAIL_ONLY = IpRange(
    2,
    "mail only",
    20,
    ip_address("2001:db8::25"),
    ip_address("2001:db8::25"),
    allow_pop3=False,
    allow_imap=False,
)
NOBODY = IpRange(
    3,
    "nobody",
    30,
    ip_address("2001:db8::bad"),
    ip_address("2001:db8::bad"),
    allow_smtp=False,
    allow_pop3=False,
    allow_imap=False,
)
V4 = IpRange(4, "v4", 10, ip_address("0.0.0.0"), ip_address("255.255.255.255"), allow_imap=False)
TABLE = RangeTable.build([LAN, MAIL_ONLY, NOBODY, V4], NOW)
FULL = ServerSettings(max_smtp_connections=2, max_pop3_connections=1)


def not_allowed(protocol: str, ip_range: IpRange) -> Refused:
    return Refused(f"range does not allow {protocol}", ip_range)


@pytest.mark.parametrize(
    ("peer", "protocol", "open_sessions", "settings", "expected"),
    [
        ("2001:db8::1", SMTP, {}, ServerSettings(), Admitted(LAN)),
        ("2001:db8::1", POP3, {}, ServerSettings(), Admitted(LAN)),
        ("2001:db8::1", IMAP, {}, ServerSettings(), Admitted(LAN)),
        ("2001:db8::1:0", SMTP, {}, ServerSettings(), Refused(NO_MATCHING_RANGE)),
        ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", IMAP, {}, ServerSettings(), Refused(NO_MATCHING_RANGE)),
        ("2001:db8::25", SMTP, {}, ServerSettings(), Admitted(MAIL_ONLY)),
        ("2001:db8::25", POP3, {}, ServerSettings(), not_allowed("pop3", MAIL_ONLY)),
        ("2001:db8::25", IMAP, {}, ServerSettings(), not_allowed("imap", MAIL_ONLY)),
        ("2001:db8::bad", SMTP, {}, ServerSettings(), not_allowed("smtp", NOBODY)),
        ("192.0.2.1", SMTP, {}, ServerSettings(), Admitted(V4)),
        ("192.0.2.1", IMAP, {}, ServerSettings(), not_allowed("imap", V4)),
        ("2001:db8::1", SMTP, {SMTP: 1, POP3: 9, IMAP: 9}, FULL, Admitted(LAN)),
        ("2001:db8::1", SMTP, {SMTP: 2}, FULL, Refused("limit of 2 smtp sessions reached", LAN)),
        ("2001:db8::1", SMTP, {SMTP: 3}, FULL, Refused("limit of 2 smtp sessions reached", LAN)),
        ("2001:db8::1", POP3, {SMTP: 2}, FULL, Admitted(LAN)),
        ("2001:db8::1", POP3, {POP3: 1}, FULL, Refused("limit of 1 pop3 sessions reached", LAN)),
        ("2001:db8::1", IMAP, {IMAP: 10_000}, FULL, Admitted(LAN)),
        ("::1", SMTP, {SMTP: 2}, FULL, Refused(NO_MATCHING_RANGE)),
        ("2001:db8::bad", SMTP, {SMTP: 2}, FULL, not_allowed("smtp", NOBODY)),
    ],
)
def test_decide(
    peer: str,
    protocol: Protocol,
    open_sessions: dict[Protocol, int],
    settings: ServerSettings,
    expected: Admitted | Refused,
) -> None:
    assert decide(ip_address(peer), protocol, TABLE, open_sessions, settings, NOW) == expected
