"""Against a real DNS server on loopback, over UDP and TCP."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from ipaddress import ip_address

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from reference_server import limits
from reference_server.delivery.next_hop import Exchanger
from reference_server.delivery.resolver import Dns, NoSuchName, TemporaryError, server_address


class Zone(asyncio.DatagramProtocol):
    """Answers from ``records``: (name, type) → texts. CNAMEs are not followed: that is the client's part."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.failing: set[str] = set()
        self.truncated = False
        self.asked: list[tuple[str, str, str]] = []
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        assert self._transport is not None
        self._transport.sendto(self.answer(data, "udp"), address)

    def answer(self, data: bytes, over: str) -> bytes:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text().rstrip("."), question.rdtype.name
        self.asked.append((over, name, kind))
        response = dns.message.make_response(query)
        if over == "udp" and self.truncated:
            response.flags |= dns.flags.TC
            return response.to_wire()
        known = {owner for owner, _ in self.records}
        if kind in self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif name not in known:
            response.set_rcode(dns.rcode.NXDOMAIN)
        for each in (kind, "CNAME"):
            if texts := self.records.get((name, each)):
                response.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", each, *texts))
                break
        return response.to_wire()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (size,) = struct.unpack("!H", await reader.readexactly(2))
        answer = self.answer(await reader.readexactly(size), "tcp")
        writer.write(struct.pack("!H", len(answer)) + answer)
        await writer.drain()
        writer.close()


@pytest.fixture(params=["::1", "127.0.0.1"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Zone, str]]:
    zone = Zone()
    tcp = await asyncio.start_server(zone.serve, request.param, 0)
    number = tcp.sockets[0].getsockname()[1]
    udp, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: zone, local_addr=(request.param, number)
    )
    yield zone, f"[{request.param}]:{number}" if ":" in request.param else f"{request.param}:{number}"
    udp.close()
    tcp.close()
    await tcp.wait_closed()


Server = tuple[Zone, str]
BOTH = {("relay.test", "A"): ["192.0.2.1"], ("relay.test", "AAAA"): ["2001:db8::1", "2001:db8::2"]}


@pytest.mark.parametrize("truncated", [False, True])
async def test_both_families_also_over_tcp(server: Server, truncated: bool) -> None:
    zone, address = server
    zone.records, zone.truncated = dict(BOTH), truncated
    found = await Dns(address, ipv6=True).addresses("relay.test")
    assert found[0].version == 4
    assert sorted(found, key=int) == [
        ip_address(each) for each in ("192.0.2.1", "2001:db8::1", "2001:db8::2")
    ]
    assert {over for over, _, _ in zone.asked} == ({"udp", "tcp"} if truncated else {"udp"})


async def test_without_ipv6_nobody_asks_for_aaaa(server: Server) -> None:
    zone, address = server
    zone.records = dict(BOTH)
    assert await Dns(address, ipv6=False).addresses("relay.test") == [ip_address("192.0.2.1")]
    assert [kind for _, _, kind in zone.asked] == ["A"]
    assert await Dns(address, ipv6=False).addresses("localhost") == [ip_address("127.0.0.1")]


async def test_one_family_is_enough(server: Server) -> None:
    zone, address = server
    zone.records = {("six.test", "AAAA"): ["2001:db8::6"], ("four.test", "A"): ["192.0.2.4"]}
    assert await Dns(address, ipv6=True).addresses("six.test") == [ip_address("2001:db8::6")]
    assert await Dns(address, ipv6=True).addresses("four.test") == [ip_address("192.0.2.4")]
    zone.failing = {"AAAA"}
    assert await Dns(address, ipv6=True).addresses("four.test") == [ip_address("192.0.2.4")]


async def test_temporary_and_permanent_are_told_apart(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DNS_TIME", 0.2)
    zone, address = server
    zone.records = {("six.test", "AAAA"): ["2001:db8::6"], ("text.test", "TXT"): ['"x"']}
    resolver = Dns(address, ipv6=True)
    with pytest.raises(NoSuchName, match=r"gone\.test"):
        await resolver.addresses("gone.test")
    assert await resolver.addresses("text.test") == []
    assert await resolver.exchangers("text.test") == []
    with pytest.raises(NoSuchName):
        await resolver.addresses("a..test")
    zone.failing = {"AAAA", "MX"}
    with pytest.raises(TemporaryError):
        await resolver.addresses("six.test")
    with pytest.raises(TemporaryError):
        await resolver.exchangers("six.test")


@pytest.mark.parametrize(("links", "reached"), [(1, True), (10, True), (11, False)])
async def test_cnames_are_followed_ten_deep(server: Server, links: int, reached: bool) -> None:
    zone, address = server
    for number in range(links):
        zone.records[f"n{number}.test", "CNAME"] = [f"n{number + 1}.test."]
    zone.records[f"n{links}.test", "AAAA"] = ["2001:db8::1"]
    resolver = Dns(address, ipv6=True)
    if reached:
        assert await resolver.addresses("n0.test") == [ip_address("2001:db8::1")]
    else:
        with pytest.raises(TemporaryError, match="more than 10 CNAMEs"):
            await resolver.addresses("n0.test")


async def test_a_ring_of_cnames_has_an_end(server: Server) -> None:
    zone, address = server
    zone.records = {("a.test", "CNAME"): ["b.test."], ("b.test", "CNAME"): ["a.test."]}
    with pytest.raises(TemporaryError):
        await Dns(address, ipv6=True).addresses("a.test")


async def test_exchangers(server: Server) -> None:
    zone, address = server
    zone.records = {("far.test", "MX"): ["10 MX1.far.test.", "20 mx2.far.test."], ("no.test", "MX"): ["0 ."]}
    resolver = Dns(address, ipv6=True)
    found = await resolver.exchangers("far.test")
    assert sorted(found, key=str) == [Exchanger(10, "mx1.far.test"), Exchanger(20, "mx2.far.test")]
    assert await resolver.exchangers("no.test") == [Exchanger(0, "")]


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("192.0.2.1", "192.0.2.1", 53),
        ("192.0.2.1:5353", "192.0.2.1", 5353),
        ("2001:db8::1", "2001:db8::1", 53),
        ("[2001:db8::1]:5353", "2001:db8::1", 5353),
    ],
)
def test_the_server_of_the_settings(text: str, address: str, port: int) -> None:
    assert server_address(text) == (ip_address(address), port)
