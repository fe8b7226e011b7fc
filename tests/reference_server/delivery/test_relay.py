"""Which servers are asked, in which order, and what becomes of each recipient."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest

from reference_server import limits
from reference_server.delivery.next_hop import Bound, Route
from reference_server.delivery.results import Outcome
from reference_server.delivery.smtp_client import Message
from reference_server.settings import ConnectionSecurity

from .conftest import CUT, Authority, Bench

MAIL = Message("ann@example.test", b"Subject: hello\r\n\r\n.dot\r\nend\r\n", eight_bit=False)
MakeRoute = Callable[..., Route]
EMPTY = socket.AF_INET6


async def outcome(bench: Bench, route: Route, message: Message = MAIL) -> tuple[Outcome, str, str]:
    result = (await bench.relay.deliver(route, message, ["joe@far.test"]))["joe@far.test"]
    return result.outcome, result.status, result.reason


def delivered(found: tuple[Outcome, str, str]) -> bool:
    return found[0] is Outcome.DELIVERED


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        return int(taken.getsockname()[1])


# --- addresses in order -------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["::1", "127.0.0.1"])
async def test_an_address_needs_no_dns(bench: Bench, route: MakeRoute, address: str) -> None:
    hop = await bench.hop(address)
    assert delivered(await outcome(bench, route(hop, address)))
    assert hop.visits[0].peer == address
    assert bench.dns.asked == []


@pytest.mark.parametrize(("preferred", "family"), [(True, "::1"), (False, "127.0.0.1")])
async def test_the_preferred_family_is_asked_first(
    bench: Bench, route: MakeRoute, same_number: Callable[[], int], preferred: bool, family: str
) -> None:
    number = same_number()
    hops = [await bench.hop(each, number) for each in ("::1", "127.0.0.1")]
    bench.dns.host("relay.test", "::1", "127.0.0.1")
    assert delivered(await outcome(bench, route(number, "relay.test", ipv6_preferred=preferred)))
    assert [visit.peer for hop in hops for visit in hop.visits] == [family]


@pytest.mark.parametrize("alive", ["::1", "127.0.0.1"])
async def test_where_one_family_refuses_the_other_is_asked_in_the_same_attempt(
    bench: Bench, route: MakeRoute, alive: str
) -> None:
    hop = await bench.hop(alive)
    bench.dns.host("relay.test", "::1", "127.0.0.1")
    for preferred in (True, False):
        assert delivered(await outcome(bench, route(hop, "relay.test", ipv6_preferred=preferred)))


async def test_a_black_hole_costs_the_head_start_only(
    bench: Bench, route: MakeRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OUT_HEAD_START", 0.05)
    # A queue of listeners that nobody empties takes no more connections: SYN are dropped.
    hole = socket.socket(socket.AF_INET6)
    hole.bind(("::1", 0))
    hole.listen(0)
    number = hole.getsockname()[1]
    stuffing = []
    for _ in range(4):
        stuffing.append(socket.socket(socket.AF_INET6))
        stuffing[-1].setblocking(False)
        stuffing[-1].connect_ex(("::1", number))
    try:
        hop = await bench.hop("127.0.0.1", number)
        bench.dns.host("relay.test", "::1", "127.0.0.1")
        begun = time.monotonic()
        assert delivered(await outcome(bench, route(number, "relay.test", ipv6_preferred=True)))
        assert time.monotonic() - begun < limits.OUT_CONNECT
        assert len(hop.messages) == 1
    finally:
        for each in (hole, *stuffing):
            each.close()


async def test_hosts_of_a_list_are_asked_in_turn(bench: Bench, route: MakeRoute) -> None:
    hop = await bench.hop()
    bench.dns.fails("broken.test")
    bench.dns.host("empty.test")
    assert delivered(await outcome(bench, route(hop, "nowhere.test|broken.test|empty.test|127.0.0.1|::1")))
    assert bench.dns.asked == ["nowhere.test", "broken.test", "empty.test"]


@pytest.mark.parametrize("relayer", ["nowhere.test", "broken.test", "empty.test"])
async def test_a_relay_that_does_not_resolve_is_temporary(
    bench: Bench, route: MakeRoute, relayer: str
) -> None:
    bench.dns.fails("broken.test")
    bench.dns.host("empty.test")
    found = await outcome(bench, route(25, relayer))
    assert found[0] is Outcome.LATER
    assert relayer in found[2]


async def test_a_relay_that_is_down_is_temporary(bench: Bench, route: MakeRoute, closed_port: int) -> None:
    found = await outcome(bench, route(closed_port))
    assert found == (Outcome.LATER, "4.4.1", f"[::1]:{closed_port}: Connection refused")


# --- the bind address ---------------------------------------------------------------------------------


async def test_connections_leave_from_the_bind_address(bench: Bench, route: MakeRoute) -> None:
    hop = await bench.hop("127.0.0.1")
    assert delivered(await outcome(bench, route(hop, "127.0.0.1", smtp_delivery_bind_to_ip="127.0.0.9")))
    assert hop.visits[0].peer == "127.0.0.9"


@pytest.mark.parametrize(("relay", "bind"), [("127.0.0.1", "2001:db8::1"), ("::1", "192.0.2.1")])
async def test_a_bind_address_says_nothing_of_the_other_family(
    bench: Bench, route: MakeRoute, relay: str, bind: str
) -> None:
    hop = await bench.hop(relay)
    assert delivered(await outcome(bench, route(hop, relay, smtp_delivery_bind_to_ip=bind)))


async def test_a_bind_address_that_is_not_here_is_named(bench: Bench, route: MakeRoute) -> None:
    hop = await bench.hop()
    found = await outcome(bench, route(hop, "::1", smtp_delivery_bind_to_ip="2001:db8::1"))
    assert found[0] is Outcome.LATER
    assert "cannot leave from 2001:db8::1: Cannot assign requested address" in found[2]
    assert hop.visits == []


# --- not to ourselves ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listener", "relayer"),
    [
        ("::1", "::1"),
        ("::", "::1"),
        ("::1", "here.test"),
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.7"),
        ("127.0.0.1", "::ffff:127.0.0.1"),
        ("127.0.0.1", "here.test"),
    ],
)
async def test_a_relay_that_is_ourselves_is_refused(
    bench: Bench, route: MakeRoute, listener: str, relayer: str
) -> None:
    hop = await bench.hop("::1" if ":" in listener else "127.0.0.1")
    bench.dns.host("here.test", "::1" if ":" in listener else "127.0.0.1")
    bench.listeners = [Bound(ip_address(listener), hop.port)]
    found = await outcome(bench, route(hop, relayer))
    assert found[:2] == (Outcome.LATER, "4.4.6")
    assert "is this server itself" in found[2]
    assert hop.visits == []


async def test_beside_ourselves_another_host_of_the_list_takes_it(bench: Bench, route: MakeRoute) -> None:
    ours, other = await bench.hop("::1"), await bench.hop("127.0.0.1")
    bench.listeners = [Bound(ip_address("::1"), other.port)]
    assert delivered(await outcome(bench, route(other, "::1|127.0.0.1")))
    assert ours.visits == []


# --- what each server says ----------------------------------------------------------------------------


async def test_every_address_is_asked_until_one_takes_it(
    bench: Bench, route: MakeRoute, same_number: Callable[[], int]
) -> None:
    number = same_number()
    first = await bench.hop("127.0.0.1", number, replies={"RCPT": "450 4.2.1 not now"})
    second = await bench.hop("::1", number)
    assert delivered(await outcome(bench, route(number, "127.0.0.1|::1")))
    assert (first.messages, len(second.messages)) == ([b""], 1)  # RFC 2920: a text for nobody


@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "END"])
@pytest.mark.parametrize("code", ["4", "5"])
@pytest.mark.parametrize("pipelining", [True, False])
async def test_a_refusal_at_each_command(
    bench: Bench, route: MakeRoute, verb: str, code: str, pipelining: bool
) -> None:
    replies = {verb: f"{code}50 {code}.7.0 no"}
    if verb == "EHLO":
        replies["HELO"] = replies["EHLO"]
    hop = await bench.hop(replies=replies)
    if not pipelining:
        hop.extensions.remove("PIPELINING")
    found = await outcome(bench, route(hop))
    assert found[0] is (Outcome.FAILED if code == "5" else Outcome.LATER)
    assert found[1:] == (f"{code}.7.0", f"{code}50 {code}.7.0 no")


@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "END"])
@pytest.mark.parametrize("pipelining", [True, False])
async def test_a_cut_at_each_command_is_temporary(
    bench: Bench, route: MakeRoute, verb: str, pipelining: bool
) -> None:
    hop = await bench.hop(replies={verb: CUT})
    if not pipelining:
        hop.extensions.remove("PIPELINING")
    found = await outcome(bench, route(hop))
    assert found[:2] == (Outcome.LATER, "4.4.2")


async def test_after_an_unclear_end_nobody_else_is_asked(
    bench: Bench, route: MakeRoute, same_number: Callable[[], int]
) -> None:
    number = same_number()
    first = await bench.hop("127.0.0.1", number, replies={"END": CUT})
    second = await bench.hop("::1", number)
    found = await outcome(bench, route(number, "127.0.0.1|::1"))
    assert found[0] is Outcome.LATER
    assert (len(first.messages), second.visits) == (1, [])
    # A cut before the final dot is clear: the next one is asked.
    first.replies["END"], first.replies["DATA"] = "250 fine", CUT
    assert delivered(await outcome(bench, route(number, "127.0.0.1|::1")))
    assert len(second.messages) == 1


@pytest.mark.parametrize("pipelining", [True, False])
async def test_recipients_share_a_transaction_and_are_settled_each_for_itself(
    bench: Bench, route: MakeRoute, pipelining: bool
) -> None:
    hop = await bench.hop(
        replies={
            "RCPT TO:<no@far.test>": "550 5.1.1 unknown",
            "RCPT TO:<full@far.test>": "452 4.2.2 full",
        }
    )
    if not pipelining:
        hop.extensions.remove("PIPELINING")
    everybody = ["yes@far.test", "no@far.test", "full@far.test", "also@Other.test"]
    found = await bench.relay.deliver(route(hop), MAIL, everybody)
    assert {name: result.outcome for name, result in found.items()} == {
        "yes@far.test": Outcome.DELIVERED,
        "no@far.test": Outcome.FAILED,
        "full@far.test": Outcome.LATER,
        "also@Other.test": Outcome.DELIVERED,
    }
    assert hop.commands[1:7] == [
        "MAIL FROM:<ann@example.test> SIZE=29",
        *(f"RCPT TO:<{each}>" for each in everybody),
        "DATA",
    ]
    assert len(hop.messages) == 1
    assert len(hop.visits) == 1


async def test_who_was_refused_stays_refused_when_the_connection_ends(bench: Bench, route: MakeRoute) -> None:
    hop = await bench.hop(replies={"RCPT TO:<no@far.test>": "550 5.1.1 unknown", "DATA": CUT})
    found = await bench.relay.deliver(route(hop), MAIL, ["yes@far.test", "no@far.test"])
    assert [each.outcome for each in found.values()] == [Outcome.LATER, Outcome.FAILED]


async def test_a_bare_line_end_never_leaves(bench: Bench, route: MakeRoute) -> None:
    hop = await bench.hop()
    for text in (b"a\nb\r\n", b"a\rb\r\n", b"a\r\n.\n\r\n", b"without an end"):
        found = await outcome(bench, route(hop), Message("a@b.test", text, eight_bit=False))
        assert found[:2] == (Outcome.FAILED, "5.6.0")
    assert hop.visits == []


# --- connections are used again -----------------------------------------------------------------------


async def test_waiting_mail_goes_over_the_same_connection(bench: Bench, route: MakeRoute) -> None:
    hop = await bench.hop()
    for _ in range(3):
        assert delivered(await outcome(bench, route(hop)))
    assert len(hop.visits) == 1
    assert len(hop.messages) == 3
    # Another setting is another connection.
    assert delivered(await outcome(bench, route(hop, host_name="mail.example.test")))
    assert len(hop.visits) == 2


async def test_an_idle_connection_ends_with_quit(
    bench: Bench, route: MakeRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OUT_KEPT_IDLE", 0.01)
    hop = await bench.hop()
    assert delivered(await outcome(bench, route(hop)))
    await hop.until(lambda: hop.visits[0].ended)
    assert hop.commands[-1] == "QUIT"


async def test_a_connection_takes_so_many_messages(
    bench: Bench, route: MakeRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OUT_MESSAGES", 2)
    hop = await bench.hop()
    for _ in range(4):
        assert delivered(await outcome(bench, route(hop)))
    assert [len(visit.messages) for visit in hop.visits] == [2, 2]


async def test_a_kept_connection_that_was_closed_costs_no_try(bench: Bench, route: MakeRoute) -> None:
    hop = await bench.hop()
    assert delivered(await outcome(bench, route(hop)))
    hop.replies["MAIL"] = CUT
    task = asyncio.create_task(outcome(bench, route(hop)))
    await hop.until(lambda: len(hop.visits) == 2)
    hop.replies.clear()
    found = await task
    assert delivered(found) or found[1] == "4.4.2"  # the second visit may have been cut as well
    assert delivered(await outcome(bench, route(hop)))


async def test_a_421_between_messages_costs_no_try(bench: Bench, route: MakeRoute) -> None:
    hop = await bench.hop()
    assert delivered(await outcome(bench, route(hop)))
    hop.replies["MAIL FROM:<ann@example.test> SIZE=29"] = "421 4.3.2 too long here"

    async def forgive() -> None:
        await hop.until(lambda: hop.commands.count("MAIL FROM:<ann@example.test> SIZE=29") == 2)
        hop.replies.clear()

    forgiving = asyncio.create_task(forgive())
    found = await outcome(bench, route(hop))
    await forgiving
    assert delivered(found) or found[2].startswith("421")
    assert len(hop.visits) == 2


async def test_after_a_refusal_the_connection_is_good_for_the_next(bench: Bench, route: MakeRoute) -> None:
    hop = await bench.hop(replies={"MAIL FROM:<bad@example.test> SIZE=29": "550 5.7.1 not you"})
    bad = Message("bad@example.test", MAIL.content, eight_bit=False)
    assert (await outcome(bench, route(hop), bad))[0] is Outcome.FAILED
    assert delivered(await outcome(bench, route(hop)))
    assert len(hop.visits) == 1
    assert "RSET" in hop.commands


async def test_connections_to_one_hop_are_limited(
    bench: Bench, route: MakeRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OUT_CONNECTIONS", 2)
    hop = await bench.hop()
    found = await asyncio.gather(*(outcome(bench, route(hop)) for _ in range(10)))
    assert all(map(delivered, found))
    assert len(hop.visits) <= 2


# --- mail exchangers ----------------------------------------------------------------------------------


@pytest.fixture
def mx(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Let exchangers be on the number of a hop, not on 25."""

    def use(hop: Any) -> None:
        monkeypatch.setattr("reference_server.delivery.next_hop.SMTP_PORT", hop.port)

    return use


async def test_exchangers_are_asked_by_preference(
    bench: Bench, route: MakeRoute, mx: Callable[[Any], None]
) -> None:
    hop = await bench.hop("::1")
    mx(hop)
    bench.dns.mx["far.test"] = [(20, "second.test"), (10, "first.test"), (30, "third.test")]
    bench.dns.host("first.test", "127.0.0.1")  # refuses
    bench.dns.host("second.test", "::1")
    assert delivered(await outcome(bench, route(1, "")))
    assert bench.dns.asked == ["MX far.test", "first.test", "second.test"]


async def test_without_mx_the_domain_is_its_own(
    bench: Bench, route: MakeRoute, mx: Callable[[Any], None]
) -> None:
    hop = await bench.hop("::1")
    mx(hop)
    bench.dns.host("far.test", "::1")
    assert delivered(await outcome(bench, route(1, "")))


async def test_an_address_literal_needs_no_dns(bench: Bench, mx: Callable[[Any], None]) -> None:
    from reference_server.delivery.next_hop import route_of
    from reference_server.settings import ServerSettings

    hop = await bench.hop("::1")
    mx(hop)
    found = await bench.relay.deliver(route_of(ServerSettings(), "joe@[IPv6:::1]"), MAIL, ["joe@[IPv6:::1]"])
    assert found["joe@[IPv6:::1]"].outcome is Outcome.DELIVERED
    assert bench.dns.asked == []


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([(0, "")], (Outcome.FAILED, "5.1.10")),
        (None, (Outcome.FAILED, "5.1.2")),
        ([(10, "gone.test")], (Outcome.FAILED, "5.1.2")),
        ([(10, "empty.test")], (Outcome.FAILED, "5.4.4")),
        ([(10, "gone.test"), (20, "broken.test")], (Outcome.LATER, "4.4.3")),
        ([(10, "here.test")], (Outcome.FAILED, "5.4.6")),
    ],
)
async def test_what_dns_says_decides(
    bench: Bench,
    route: MakeRoute,
    mx: Callable[[Any], None],
    records: list[tuple[int, str]] | None,
    expected: tuple[Outcome, str],
) -> None:
    hop = await bench.hop("::1")
    mx(hop)
    if records is not None:
        bench.dns.mx["far.test"] = records
    bench.dns.host("empty.test")
    bench.dns.fails("broken.test")
    bench.dns.host("here.test", "::1")
    bench.listeners = [Bound(ip_address("::"), hop.port)]
    assert (await outcome(bench, route(1, "")))[:2] == expected


async def test_exchangers_behind_ourselves_are_not_asked(
    bench: Bench, route: MakeRoute, mx: Callable[[Any], None]
) -> None:
    """RFC 5321 section 5.1: they would send it to us."""
    hop = await bench.hop("127.0.0.1")
    mx(hop)
    bench.dns.mx["far.test"] = [(10, "here.test"), (20, "backup.test")]
    bench.dns.host("here.test", "::1")
    bench.dns.host("backup.test", "127.0.0.1")
    bench.listeners = [Bound(ip_address("::1"), hop.port)]
    assert (await outcome(bench, route(1, "")))[:2] == (Outcome.FAILED, "5.4.6")
    assert hop.visits == []


async def test_to_an_exchanger_broken_tls_is_no_worse_than_none(
    bench: Bench, route: MakeRoute, mx: Callable[[Any], None], authority: Authority
) -> None:
    hop = await bench.hop(extensions=["STARTTLS"], context=authority.server, injected=b"no handshake\r\n")
    mx(hop)
    bench.dns.host("far.test", "::1")
    hop.injected = b"\x16\x03\x01\x00\x02no"
    assert delivered(await outcome(bench, route(1, "")))
    assert len(hop.visits[-1].messages) == 1


async def test_to_an_exchanger_tls_is_used_whoever_signed_it(
    bench: Bench, route: MakeRoute, mx: Callable[[Any], None], authority: Authority
) -> None:
    hop = await bench.hop(extensions=["STARTTLS"], context=authority.server)
    mx(hop)
    bench.dns.host("far.test", "::1")
    assert delivered(await outcome(bench, route(1, "")))
    assert hop.visits[0].tls


# --- TLS and authentication to a relay ----------------------------------------------------------------

OPTIONAL, REQUIRED, TLS = (
    ConnectionSecurity.STARTTLS_OPTIONAL,
    ConnectionSecurity.STARTTLS_REQUIRED,
    ConnectionSecurity.TLS,
)


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> None:
    from reference_server.delivery.smtp_client import client_context

    monkeypatch.setenv("SSL_CERT_FILE", authority.bundle)
    client_context.cache_clear()
    yield  # type: ignore[misc]
    client_context.cache_clear()


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("security", [OPTIONAL, REQUIRED, TLS])
@pytest.mark.parametrize("relayer", ["::1", "127.0.0.1", "relay.test"])
async def test_tls_with_a_certificate_that_names_the_relay(
    bench: Bench, route: MakeRoute, authority: Authority, security: ConnectionSecurity, relayer: str
) -> None:
    hop = await bench.hop(
        "127.0.0.1" if relayer == "127.0.0.1" else "::1",
        tls=security is TLS,
        extensions=[] if security is TLS else ["STARTTLS"],
        context=authority.server,
    )
    bench.dns.host("relay.test", "::1")
    found = await outcome(bench, route(hop, relayer, smtp_relayer_connection_security=security))
    assert delivered(found), found
    assert hop.visits[0].tls
    # Said anew after the handshake (RFC 3207 section 4.2).
    assert [each[:4] for each in hop.commands].count("EHLO") == (1 if security is TLS else 2)


@pytest.mark.parametrize("security", [OPTIONAL, REQUIRED, TLS])
async def test_a_certificate_that_nobody_knows_is_refused_unless_told_otherwise(
    bench: Bench, route: MakeRoute, authority: Authority, security: ConnectionSecurity
) -> None:
    hop = await bench.hop(tls=security is TLS, extensions=["STARTTLS"], context=authority.server)
    if security is TLS:
        hop.extensions = []
    secured = {"smtp_relayer_connection_security": security}
    found = await outcome(bench, route(hop, **secured))
    assert found[0] is Outcome.LATER
    assert "certificate is not trusted" in found[2]
    assert hop.messages == []
    assert delivered(await outcome(bench, route(hop, **secured, verify_remote_ssl_certificate=False)))


@pytest.mark.usefixtures("trusted")
async def test_a_certificate_of_another_name_is_refused(
    bench: Bench, route: MakeRoute, authority: Authority
) -> None:
    hop = await bench.hop(extensions=["STARTTLS"], context=authority.server)
    bench.dns.host("other.test", "::1")
    found = await outcome(bench, route(hop, "other.test", smtp_relayer_connection_security=REQUIRED))
    assert found[0] is Outcome.LATER
    assert "not valid for 'other.test'" in found[2]


@pytest.mark.parametrize("refusal", ["absent", "454 4.7.0 not now"])
async def test_required_tls_that_is_not_to_be_had(bench: Bench, route: MakeRoute, refusal: str) -> None:
    hop = await bench.hop(extensions=[] if refusal == "absent" else ["STARTTLS"])
    hop.replies["STARTTLS"] = refusal
    found = await outcome(bench, route(hop, smtp_relayer_connection_security=REQUIRED))
    assert found[:2] == (Outcome.LATER, "4.7.10")
    assert hop.messages == []
    assert delivered(await outcome(bench, route(hop, smtp_relayer_connection_security=OPTIONAL)))


@pytest.mark.usefixtures("trusted")
async def test_what_comes_before_the_handshake_is_thrown_away(
    bench: Bench, route: MakeRoute, authority: Authority
) -> None:
    hop = await bench.hop(extensions=["STARTTLS"], context=authority.server)
    hop.injected = b"250-evil.test\r\n250 8BITMIME\r\n"
    eight = Message("a@b.test", "ä\r\n".encode(), eight_bit=True)
    found = await outcome(bench, route(hop, smtp_relayer_connection_security=REQUIRED), eight)
    assert found[:2] == (Outcome.FAILED, "5.6.3")  # that 8BITMIME was not the relay's


LOGIN = {
    "smtp_relayer_requires_authentication": True,
    "smtp_relayer_username": "joe",
    "smtp_relayer_password": "s\u00e4crit",
}


async def test_authentication_plain(bench: Bench, route: MakeRoute) -> None:
    hop = await bench.hop(extensions=["AUTH LOGIN PLAIN"])
    assert delivered(await outcome(bench, route(hop, **LOGIN)))
    assert hop.commands[1] == "AUTH PLAIN AGpvZQBzw6Rjcml0"


async def test_authentication_login(bench: Bench, route: MakeRoute) -> None:
    hop = await bench.hop(
        extensions=["AUTH LOGIN"],
        replies={"AUTH": "334 VXNlcm5hbWU6", "am9l": "334 UGFzc3dvcmQ6", "c8OkY3JpdA==": "235 in"},
    )
    assert delivered(await outcome(bench, route(hop, **LOGIN)))


@pytest.mark.parametrize("extensions", [["AUTH GSSAPI"], ["AUTH PLAIN"], []])
async def test_a_login_that_fails_is_temporary(bench: Bench, route: MakeRoute, extensions: list[str]) -> None:
    """The settings are wrong, not the message."""
    hop = await bench.hop(extensions=extensions, replies={"AUTH": "535 5.7.8 no"})
    found = await outcome(bench, route(hop, **LOGIN))
    assert found[0] is Outcome.LATER
    assert "cmit" not in found[2]
    assert hop.messages == []
