from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address

import pytest

from reference_server import limits
from reference_server.clock import Clock
from reference_server.delivery.connect import Unreachable, is_local, open_first, open_one
from reference_server.delivery.next_hop import Target
from reference_server.delivery.wire import Lost, Wire

from .conftest import Bench

CLOCK = Clock()


@pytest.mark.parametrize(
    ("address", "expected"),
    [("::1", True), ("127.0.0.1", True), ("127.8.9.10", True), ("2001:db8::1", False), ("192.0.2.1", False)],
)
def test_whether_an_address_is_of_this_host(address: str, expected: bool) -> None:
    assert is_local(ip_address(address)) is expected


def test_the_address_of_an_interface_is_of_this_host() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this host has loopback only")
        assert is_local(ip_address(probe.getsockname()[0]))


async def test_the_first_that_answers_wins_and_the_others_say_why(bench: Bench) -> None:
    hop = await bench.hop("::1")
    down = Target("relay.test", ip_address("127.0.0.1"), hop.port)
    up = Target("relay.test", ip_address("::1"), hop.port)
    opened, failed = await open_first([down, up], None, CLOCK)
    assert opened is not None
    assert opened.target == up
    assert opened.wire.local == ip_address("::1")
    assert failed == {down: "Connection refused"}
    opened.wire.abort()
    assert await open_first([down], None, CLOCK) == (None, {down: "Connection refused"})
    assert await open_first([], None, CLOCK) == (None, {})


async def test_the_earlier_one_is_meant_when_both_answer(
    bench: Bench, same_number: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OUT_HEAD_START", 0)
    hops = [await bench.hop("::1"), await bench.hop("::1")]
    targets = [Target("", ip_address("::1"), hop.port) for hop in hops]
    for order in (targets, targets[::-1]):
        opened, failed = await open_first(order, None, CLOCK)
        assert opened is not None
        assert opened.target in order
        assert failed == {}
        opened.wire.abort()


async def test_no_answer_within_the_time_of_the_clock() -> None:
    clock = Clock()
    hole = socket.socket(socket.AF_INET6)
    hole.bind(("::1", 0))
    hole.listen(0)
    stuffing = [socket.socket(socket.AF_INET6) for _ in range(4)]
    try:
        for each in stuffing:
            each.setblocking(False)
            each.connect_ex(hole.getsockname()[:2])
        target = Target("", ip_address("::1"), hole.getsockname()[1])
        connecting = asyncio.create_task(open_one(target, None, clock))
        while not connecting.done():
            clock.advance(limits.OUT_CONNECT)
            await asyncio.sleep(0)
        with pytest.raises(Unreachable, match="no connection within 30 s"):
            await connecting
    finally:
        for each in (hole, *stuffing):
            each.close()


async def wired(bench: Bench, **options: object) -> Wire:
    hop = await bench.hop("::1", **options)  # type: ignore[arg-type]
    return await open_one(Target("", ip_address("::1"), hop.port), None, bench.clock)


async def test_lines_and_the_end(bench: Bench) -> None:
    wire = await wired(bench, replies={"GREETING": "one\r\ntwo\nthree", "QUIT": "bye"})
    try:
        assert [await wire.read_line(30) for _ in range(3)] == [b"one", b"two", b"three"]
        await wire.write(b"QUIT\r\n", 30)
        assert await wire.read_line(30) == b"bye"
        with pytest.raises(Lost, match="it closed the connection"):
            await wire.read_line(30)
        assert wire.ended
    finally:
        await wire.close()


async def test_what_nobody_asked_for_ends_a_kept_connection(bench: Bench) -> None:
    wire = await wired(bench, replies={"GREETING": "220 hi\r\n421 bye"})
    try:
        await wire.read_line(30)
        async with asyncio.timeout(30):
            while not wire.ended:  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0)
    finally:
        wire.abort()


async def test_an_endless_line_is_not_kept(bench: Bench) -> None:
    wire = await wired(bench, replies={"GREETING": "x" * 1_000_000})
    try:
        with pytest.raises(Lost, match=r"endless line|without end"):
            await wire.read_line(30)
    finally:
        wire.abort()
