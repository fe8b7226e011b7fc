"""The sockets of the administration: where, with TLS or not, and how they end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, MutableMapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
import uvicorn

from reference_server.admin import http
from reference_server.admin.http import AdminServer, _listen

Message = MutableMapping[str, Any]


async def hello(scope: Message, _receive: object, send: Callable[[Message], Awaitable[None]]) -> None:
    """An application that says hello to everybody."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def pem(tmp_path: Path) -> tuple[Path, Path, trustme.CA]:
    """A certificate for ::1 and 127.0.0.1, its key, and who signed it."""
    authority = trustme.CA()
    made = authority.issue_cert("::1", "127.0.0.1", "localhost")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    key.write_bytes(made.private_key_pem.bytes())
    return chain, key, authority


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "127.0.0.5"])
async def test_it_answers_on_its_address(address: str) -> None:
    server = AdminServer(hello, ip_address(address), 0)
    port = await server.start()
    assert port > 0
    host = f"[{address}]" if ":" in address else address
    assert server.url == f"http://{host}:{port}"
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(server.url)
    assert answer.text == "hello"
    assert "date" in answer.headers
    await server.stop()
    await server.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(address, port)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_tls(address: str, pem: tuple[Path, Path, trustme.CA]) -> None:
    chain, key, authority = pem
    server = AdminServer(hello, ip_address(address), 0, chain, key)
    await server.start()
    assert server.url.startswith("https://")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with httpx.AsyncClient(trust_env=False, verify=context) as client:
        assert (await client.get(server.url)).text == "hello"
        with pytest.raises(httpx.HTTPError):
            await client.get(server.url.replace("https", "http"))
    await server.stop()


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", "2001:db8::1", "fe80::1"])
def test_beyond_loopback_tls_is_needed(address: str) -> None:
    with pytest.raises(ValueError, match="certificate"):
        AdminServer(hello, ip_address(address), 0)


async def test_a_certificate_that_cannot_be_used_is_an_error_of_the_start(
    tmp_path: Path, pem: tuple[Path, Path, trustme.CA]
) -> None:
    chain, _key, _authority = pem
    (tmp_path / "text").write_text("no certificate")
    for wrong in (tmp_path / "absent", tmp_path / "text"):
        server = AdminServer(hello, ip_address("::1"), 0, chain, wrong)
        with pytest.raises(OSError):  # noqa: PT011 - it differs by version, and is shown as it is
            await server.start()
        await server.stop()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_a_number_in_use_is_an_error_of_the_start(address: str) -> None:
    first = AdminServer(hello, ip_address(address), 0)
    second = AdminServer(hello, ip_address(address), await first.start())
    with pytest.raises(OSError, match="in use"):
        await second.start()
    await second.stop()
    await first.stop()


async def test_an_ipv6_socket_serves_ipv6_only() -> None:
    both = [AdminServer(hello, ip_address("::1"), 0), AdminServer(hello, ip_address("127.0.0.1"), 0)]
    six = await both[0].start()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", six)
    await both[1].start()
    await asyncio.gather(*(server.stop() for server in both))


async def test_signals_and_logging_are_left_alone() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    root = (logging.root.level, list(logging.root.handlers), logging.root.disabled)
    ours = logging.getLogger("sixpost.test")
    server = AdminServer(hello, ip_address("::1"), 0)
    await server.start()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert (logging.root.level, list(logging.root.handlers), logging.root.disabled) == root
    assert not ours.disabled
    await server.stop()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_an_ipv6_socket_is_told_to_be_ipv6_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """On ``::``, which tests do not open, it makes the difference; on ::1 the system does it by itself."""
    told = []

    class Listening(socket.socket):
        def setsockopt(self, *option: Any) -> None:
            told.append(option)
            super().setsockopt(*option)

    monkeypatch.setattr(http.socket, "socket", Listening)
    _listen(ip_address("::1"), 0).close()
    assert (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1) in told


async def test_what_fails_while_it_starts_is_an_error_of_the_start_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(_server: object, sockets: object = None) -> None:
        raise OSError("no more descriptors")

    opened: list[socket.socket] = []

    def listen(*args: Any) -> socket.socket:
        opened.append(_listen(*args))
        return opened[-1]

    monkeypatch.setattr(uvicorn.Server, "startup", broken)
    monkeypatch.setattr(http, "_listen", listen)
    server = AdminServer(hello, ip_address("::1"), 0)
    with pytest.raises(OSError, match="no more descriptors"):
        await server.start()
    assert [each.fileno() for each in opened] == [-1]
    await server.stop()


async def test_a_start_that_is_cancelled_leaves_nothing() -> None:
    for steps in range(4):
        server = AdminServer(hello, ip_address("::1"), 0)
        starting = asyncio.ensure_future(server.start())
        for _ in range(steps):
            await asyncio.sleep(0)
        if starting.cancel():
            with pytest.raises(asyncio.CancelledError):
                await starting
        else:
            await server.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_stop_does_not_wait_for_idle_and_half_sent_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_TICK", 300.0)
    server = AdminServer(hello, ip_address("::1"), 0)
    port = await server.start()
    silent = await asyncio.open_connection("::1", port)
    half = await asyncio.open_connection("::1", port)
    half[1].write(b"POST /api/v1/ipranges HTTP/1.1\r\nHost: x\r\nContent-Le")
    kept = await asyncio.open_connection("::1", port)
    kept[1].write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await kept[0].readuntil(b"hello")).endswith(b"hello")
    loop = asyncio.get_running_loop()
    began = loop.time()
    await server.stop()
    assert loop.time() - began < 10
    for reader, writer in (silent, half, kept):
        assert await reader.read() == b""
        writer.close()


async def test_stop_lets_a_running_request_finish() -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(scope: Message, receive: object, send: Callable[[Message], Awaitable[None]]) -> None:
        begun.set()
        await go.wait()
        await hello(scope, receive, send)

    server = AdminServer(slow, ip_address("::1"), 0)
    await server.start()
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        asked = asyncio.ensure_future(client.get(server.url))
        await begun.wait()
        stopping = asyncio.ensure_future(server.stop())
        await asyncio.sleep(0)
        go.set()
        assert (await asked).text == "hello"
        await stopping


async def test_a_stopped_one_leaves_no_descriptor() -> None:
    probe = socket.socket()
    lowest = probe.fileno()
    probe.close()
    for _ in range(3):
        server = AdminServer(hello, ip_address("::1"), 0)
        await server.start()
        await server.stop()
    again = socket.socket()
    assert again.fileno() == lowest
    again.close()
