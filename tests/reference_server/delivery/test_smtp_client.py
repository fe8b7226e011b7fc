"""One session with one server: what is said, what is sent, and every way in which it can go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from reference_server import limits
from reference_server.delivery.next_hop import Route
from reference_server.delivery.results import Outcome, Result
from reference_server.delivery.smtp_client import Message, dot_stuffed, is_sendable

from .conftest import SILENT, Bench

MakeRoute = Callable[..., Route]
TEXT = b"Subject: hello\r\n\r\nend\r\n"


async def send(bench: Bench, route: Route, content: bytes = TEXT, **fields: Any) -> Result:
    message = Message("ann@example.test", content, **{"eight_bit": not content.isascii(), **fields})
    return (await bench.relay.deliver(route, message, ["joe@far.test"]))["joe@far.test"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", b""),
        (b".\r\n", b"..\r\n"),
        (b"a\r\n.b\r\n..\r\nc.\r\n", b"a\r\n..b\r\n...\r\nc.\r\n"),
    ],
)
def test_dots(content: bytes, expected: bytes) -> None:
    assert dot_stuffed(content) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", True),
        (b"a\r\n", True),
        (b"a", False),
        (b"a\n", False),
        (b"a\rb\r\n", False),
        (b"\r\n.\r\r\n", False),
        (b"\r\n.\n", False),
    ],
)
def test_what_may_be_sent(content: bytes, expected: bool) -> None:
    assert is_sendable(content) is expected


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".\r\n",
        b"Subject: x\r\n\r\n.\r\n..\r\n.dot\r\n",
        b"x" * 998 + b"\r\n" + b"." * 998 + b"\r\n",
        bytes(set(range(1, 256)) - {10, 13}) + b"\r\n",
        b"trailing white \t \r\n\r\n\r\n",
        b"big " * 200 + b"\r\n" + (b"." + b"y" * 900 + b"\r\n") * 200,
    ],
    ids=["empty", "dot", "dots", "998", "octets", "white", "big"],
)
async def test_octets_leave_as_they_came(bench: Bench, route: MakeRoute, content: bytes) -> None:
    hop = await bench.hop()
    assert (await send(bench, route(hop), content)).outcome is Outcome.DELIVERED
    [received] = hop.messages
    lines = received.split(b"\r\n")
    assert b"\r\n".join(line[1:] if line[:1] == b"." else line for line in lines) == content


async def test_eight_bits_are_announced(bench: Bench, route: MakeRoute) -> None:
    hop = await bench.hop()
    assert (await send(bench, route(hop), "ä\r\n".encode())).outcome is Outcome.DELIVERED
    assert "MAIL FROM:<ann@example.test> SIZE=4 BODY=8BITMIME" in hop.commands
    await send(bench, route(hop))
    assert f"MAIL FROM:<ann@example.test> SIZE={len(TEXT)}" in hop.commands


async def test_eight_bits_are_returned_where_they_are_not_taken(bench: Bench, route: MakeRoute) -> None:
    hop = await bench.hop(extensions=[])
    found = await send(bench, route(hop), "ä\r\n".encode())
    assert (found.outcome, found.status) == (Outcome.FAILED, "5.6.3")
    assert hop.messages == []


async def test_eight_bits_go_to_the_next_address_that_takes_them(
    bench: Bench, route: MakeRoute, same_number: Callable[[], int]
) -> None:
    number = same_number()
    await bench.hop("127.0.0.1", number, extensions=[])
    able = await bench.hop("::1", number)
    found = await send(bench, route(number, "127.0.0.1|::1"), "ä\r\n".encode())
    assert found.outcome is Outcome.DELIVERED
    assert len(able.messages) == 1


async def test_a_message_above_the_announced_size_is_returned(bench: Bench, route: MakeRoute) -> None:
    hop = await bench.hop(extensions=[f"SIZE {len(TEXT) - 1}"])
    found = await send(bench, route(hop))
    assert (found.outcome, found.status) == (Outcome.FAILED, "5.3.4")
    hop.extensions = [f"SIZE {len(TEXT)}"]
    assert (await send(bench, route(hop, host_name="a.test"))).outcome is Outcome.DELIVERED


async def test_an_old_server_is_greeted_with_helo(bench: Bench, route: MakeRoute) -> None:
    hop = await bench.hop(replies={"EHLO": "500 what?"})
    assert (await send(bench, route(hop, host_name="mail.example.test"))).outcome is Outcome.DELIVERED
    assert hop.commands[:3] == [
        "EHLO mail.example.test",
        "HELO mail.example.test",
        "MAIL FROM:<ann@example.test>",
    ]


@pytest.mark.parametrize(("address", "literal"), [("::1", "[IPv6:::1]"), ("127.0.0.1", "[127.0.0.1]")])
async def test_without_a_name_we_are_an_address_literal(
    bench: Bench, route: MakeRoute, address: str, literal: str
) -> None:
    hop = await bench.hop(address)
    await send(bench, route(hop, address))
    assert hop.commands[0] == f"EHLO {literal}"


async def test_the_null_sender_stays_null(bench: Bench, route: MakeRoute) -> None:
    hop = await bench.hop(extensions=[])
    await bench.relay.deliver(route(hop), Message("", TEXT, eight_bit=False), ["joe@far.test"])
    assert hop.commands[1] == "MAIL FROM:<>"


async def test_a_text_for_nobody_is_ended_at_once(bench: Bench, route: MakeRoute) -> None:
    """RFC 2920 section 3.1: DATA was pipelined, every recipient refused, and it says 354 all the same."""
    hop = await bench.hop(replies={"RCPT": "550 5.1.1 unknown"})
    found = await send(bench, route(hop))
    assert (found.outcome, found.status) == (Outcome.FAILED, "5.1.1")
    assert hop.messages == [b""]
    hop.replies.clear()
    assert (await send(bench, route(hop))).outcome is Outcome.DELIVERED
    assert len(hop.visits) == 1


@pytest.mark.parametrize(
    "greeting",
    ["hello there", "999 what", "220", "2x0 what", "220-endless\r\n" * 1000, "x" * 10000],
)
async def test_what_is_no_smtp_is_a_lost_connection(bench: Bench, route: MakeRoute, greeting: str) -> None:
    hop = await bench.hop(replies={"GREETING": greeting})
    found = await send(bench, route(hop))
    expected = Outcome.DELIVERED if greeting == "220" else Outcome.LATER
    assert found.outcome is expected


@pytest.mark.parametrize(
    ("verb", "seconds"),
    [
        ("GREETING", limits.OUT_GREETING),
        ("EHLO", limits.OUT_COMMAND),
        ("MAIL", limits.OUT_COMMAND),
        ("DATA", limits.OUT_DATA_INITIATION),
        ("END", limits.OUT_DATA_TERMINATION),
    ],
)
async def test_silence_has_an_end_on_the_servers_clock(
    bench: Bench, route: MakeRoute, verb: str, seconds: float
) -> None:
    hop = await bench.hop(replies={verb: SILENT}, extensions=[])
    task = asyncio.create_task(send(bench, route(hop)))
    marks = {"GREETING": 0, "EHLO": 1, "MAIL": 2, "DATA": 4, "END": 4}
    await hop.until(lambda: hop.visits and len(hop.commands) >= marks[verb])
    await hop.until(lambda: verb != "END" or hop.messages)
    while not task.done():
        bench.clock.advance(seconds)
        await asyncio.sleep(0)
    found = task.result()
    assert found.outcome is Outcome.LATER
    assert f"no answer within {seconds:.0f} s" in found.reason
    assert found.unclear is (verb == "END")
