"""The gate, over real sockets on loopback."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import ssl
import struct
from ipaddress import ip_address
from typing import Any

import pytest
import trustme

from reference_server import limits
from reference_server.listening import gate
from reference_server.listening.admission import Admitted, Decision, Refused
from reference_server.listening.tls import server_context
from reference_server.session import Services, Session
from reference_server.settings import Certificate, ConnectionSecurity, Protocol

from .conftest import ALL, BOTH, GREETING, Door, close

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of 0 seconds: close sends a reset."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def context(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder = tmp_path_factory.mktemp("certificate")
    issued = authority.issue_cert("localhost", "::1", "127.0.0.1")
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key)
    return server_context(Certificate(1, "ours", str(chain), str(key)))


async def everything(host: str, port: int, words: bytes = b"", **tls: Any) -> bytes:
    """Connect, say ``words``, and return all that comes until the server closes."""
    reader, writer = await asyncio.open_connection(host, port, **tls)
    try:
        writer.write(words)
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.close()


async def greeting(host: str, port: int) -> tuple[bytes, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(host, port)
    async with asyncio.timeout(30):
        return await reader.readline(), writer


def queued(host: str, port: int) -> socket.socket:
    """Return a client whose handshake the kernel has completed, before the loop has run."""
    return socket.create_connection((host, port), timeout=30)


@pytest.mark.parametrize("host", BOTH)
async def test_an_admitted_client_is_served_and_counted(door: Door, host: str) -> None:
    port = door.open(host, Protocol.POP3)
    line, writer = await greeting(host, port)
    assert line == GREETING
    assert door.asked == [(ip_address(host), Protocol.POP3)]
    assert door.sessions.counts[Protocol.POP3] == 1
    [session] = door.opened
    client = writer.get_extra_info("sockname")
    assert (session.peer, session.peer_port) == (ip_address(host), client[1])
    assert (session.local, session.local_port) == (ip_address(host), port)
    assert session.ip_range is ALL
    assert (session.implicit_tls, session.starttls) == (False, None)
    [accepted] = door.log.named("session.accepted")
    assert accepted == {
        "session": session.id,
        "protocol": "pop3",
        "port_id": 1,
        "peer": host,
        "peer_port": client[1],
        "range": "everybody",
    }
    writer.close()
    await door.log.until("session.finished")
    assert door.sessions.counts[Protocol.POP3] == 0


@pytest.mark.parametrize("host", BOTH)
@pytest.mark.parametrize("protocol", list(Protocol))
async def test_a_refused_client_reads_nothing_but_the_end(door: Door, host: str, protocol: Protocol) -> None:
    door.decision = lambda *_: Refused("range does not allow it", ALL)
    port = door.open(host, protocol)
    assert await everything(host, port) == b""
    assert door.opened == []
    assert door.sessions.counts[protocol] == 0
    [event] = door.log.events
    assert (event.level, event.name) == ("info", "session.refused")
    assert event.fields.pop("peer_port") > 0
    assert event.fields == {
        "session": 1,
        "protocol": protocol.value,
        "port_id": 1,
        "peer": host,
        "range": "everybody",
        "reason": "range does not allow it",
    }


async def test_a_silent_refused_client_gets_a_fin_not_a_reset(door: Door) -> None:
    door.refuse()
    client = queued("::1", door.open())
    with client:
        await door.log.until("session.refused")
        assert client.recv(1) == b""


async def test_on_a_tls_port_the_refused_client_sees_no_handshake(
    door: Door, context: ssl.SSLContext
) -> None:
    door.refuse()
    port = door.open("::1", Protocol.IMAP, ConnectionSecurity.TLS, context)
    assert await everything("::1", port) == b""
    assert len(door.log.named("session.refused")) == 1


async def test_a_tls_port_greets_inside_tls(
    door: Door, context: ssl.SSLContext, authority: trustme.CA
) -> None:
    port = door.open("::1", Protocol.IMAP, ConnectionSecurity.TLS, context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    answer = await everything("::1", port, b"QUIT\r\n", ssl=trusting, server_hostname="::1")
    assert answer == GREETING + b"221 bye\r\n"
    assert door.opened[0].implicit_tls
    await door.log.until("session.finished")


@pytest.mark.parametrize("words", [b"EHLO this is no handshake\r\n", b""])
async def test_a_failed_handshake_gives_the_slot_back(
    door: Door, context: ssl.SSLContext, words: bytes
) -> None:
    port = door.open("::1", Protocol.IMAP, ConnectionSecurity.TLS, context)
    client = queued("::1", port)
    await door.log.until("session.accepted")
    assert door.sessions.counts[Protocol.IMAP] == 1
    client.sendall(words)
    client.shutdown(socket.SHUT_WR)
    [end] = await door.log.until("session.finished")
    client.close()
    assert end["reason"].startswith("TLS handshake failed: ")
    assert door.sessions.counts[Protocol.IMAP] == 0
    await asyncio.sleep(0)
    assert len(door.log.named("session.finished")) == 1


@pytest.mark.parametrize(
    "security", [ConnectionSecurity.STARTTLS_OPTIONAL, ConnectionSecurity.STARTTLS_REQUIRED]
)
async def test_a_starttls_port_greets_in_clear_and_offers_its_context(
    door: Door, context: ssl.SSLContext, security: ConnectionSecurity
) -> None:
    port = door.open("::1", Protocol.SMTP, security, context)
    assert await everything("::1", port, b"QUIT\r\n") == GREETING + b"221 bye\r\n"
    assert (door.opened[0].implicit_tls, door.opened[0].starttls) == (False, context)


async def test_a_tls_port_without_a_certificate_does_not_open(door: Door) -> None:
    with pytest.raises(OSError, match="needs a certificate"):
        door.open("::1", Protocol.SMTP, ConnectionSecurity.TLS)


def test_a_listening_socket_never_blocks_and_shares_its_number_with_the_other_family() -> None:
    with gate.open_socket(ip_address("::1"), 0) as listening:
        assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 1
        assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        assert not listening.getblocking()
        # A listener of the other family may have the same number.
        with gate.open_socket(ip_address("127.0.0.1"), listening.getsockname()[1]):
            pass


def test_the_ipv6_wildcard_is_bound_for_ipv6_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen at bind, on ::1 in its place: bound to one address, the kernel says so of every socket."""
    seen: list[int] = []

    class Watched(socket.socket):
        def bind(self, address: Any) -> None:
            assert address == ("::", 0)
            seen.append(self.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
            super().bind(("::1", 0))

    monkeypatch.setattr(socket, "socket", Watched)
    gate.open_socket(ip_address("::"), 0).close()
    assert seen == [1]


@pytest.mark.parametrize("host", BOTH)
def test_a_number_in_use_is_an_error_with_its_cause(host: str) -> None:
    with gate.open_socket(ip_address(host), 0) as listening:
        with pytest.raises(OSError, match="in use") as caught:
            gate.open_socket(ip_address(host), listening.getsockname()[1])
        assert gate.cause(caught.value) == "the address and number are in use by another program or port"


@pytest.mark.parametrize("address", ["2001:db8::25", "192.0.2.25"])
def test_an_address_of_another_host_is_an_error_with_its_cause(address: str) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the text is the system's
        gate.open_socket(ip_address(address), 0)
    assert gate.cause(caught.value) == "the address is not on this host"


def test_a_cause_without_number_is_its_text() -> None:
    assert gate.cause(OSError("certificate 'x': no such file")) == "certificate 'x': no such file"


async def test_a_freed_slot_is_usable_again(door: Door) -> None:
    def at_most_one(*_: object) -> Decision:
        return Refused("limit") if door.sessions.counts[Protocol.SMTP] else Admitted(ALL)

    door.decision = at_most_one
    port = door.open()
    line, first = await greeting("::1", port)
    assert line == GREETING
    for _ in range(3):
        assert await everything("::1", port) == b""
    assert door.sessions.counts[Protocol.SMTP] == 1
    first.close()
    await door.log.until("session.finished")
    line, second = await greeting("::1", port)
    assert line == GREETING
    second.close()


async def test_refused_clients_leave_no_descriptor_behind(door: Door) -> None:
    door.refuse()
    port = door.open()

    async def many(count: int) -> None:
        for _ in range(count):
            assert await everything("::1", port) == b""

    await many(20)
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - the names are numbers, not files
    await many(500)
    assert len(os.listdir("/dev/fd")) <= before + 2  # noqa: PTH208
    assert len(door.log.named("session.refused")) == 520
    assert len(door.sessions) == 0


async def test_a_client_that_was_reset_in_the_queue_harms_nobody(door: Door) -> None:
    port = door.open()
    gone = queued("::1", port)
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    gone.close()
    line, writer = await greeting("::1", port)
    assert line == GREETING
    writer.close()
    ends = len(door.log.named("session.accepted"))
    await door.log.until("session.finished", ends)
    assert door.sessions.counts[Protocol.SMTP] == 0


async def test_accepts_a_bounded_batch_in_a_turn(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ACCEPT_BATCH", 3)
    door.refuse()
    clients = [queued("::1", port) for port in [door.open()] for _ in range(8)]
    turns: list[int] = []
    while len(door.asked) < len(clients):
        before = len(door.asked)
        await asyncio.sleep(0)
        turns.append(len(door.asked) - before)
    for client in clients:
        client.close()
    assert max(turns) == 3


class Failing:
    """A listening socket whose accept fails, with one error after the other, before it works."""

    def __init__(self, real: socket.socket, errors: list[int]) -> None:
        self._real = real
        self._errors = errors
        self.calls = 0

    def accept(self) -> Any:
        self.calls += 1
        if self._errors:
            number = self._errors.pop(0)
            raise OSError(number, os.strerror(number))
        return self._real.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def failing(monkeypatch: pytest.MonkeyPatch, errors: list[int]) -> list[Failing]:
    made: list[Failing] = []
    right = gate.open_socket

    def wrong(*args: Any) -> Any:
        made.append(Failing(right(*args), errors))
        return made[0]

    monkeypatch.setattr(gate, "open_socket", wrong)
    return made


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN])
async def test_one_client_lost_in_accept_does_not_stop_the_next(
    door: Door, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    failing(monkeypatch, [number, number])
    line, writer = await greeting("::1", door.open())
    assert line == GREETING
    writer.close()
    assert [event["reason"] for event in door.log.named("session.refused")] == [gate.GONE_BEFORE] * 2
    await door.log.until("session.finished")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EINVAL])
async def test_without_resources_it_waits_says_so_once_and_does_not_spin(
    door: Door, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(limits, "ACCEPT_PAUSE", 3600.0)
    made = failing(monkeypatch, [number, number])
    client = queued("::1", door.open())
    await door.log.until("listeners.waiting")
    for _ in range(50):
        await asyncio.sleep(0)
    assert made[0].calls == 1
    door.gate.descriptor_freed()
    for _ in range(50):
        await asyncio.sleep(0)
    assert made[0].calls == 2
    door.gate.descriptor_freed()
    await door.log.until("session.accepted")
    assert door.log.named("listeners.waiting") == [{"error": os.strerror(number), "sessions": 0}]
    client.close()
    await door.log.until("session.finished")


async def test_it_tries_again_by_itself_after_a_pause(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ACCEPT_PAUSE", 0.001)
    failing(monkeypatch, [errno.EMFILE] * 5)
    line, writer = await greeting("::1", door.open())
    assert line == GREETING
    writer.close()
    await door.log.until("session.finished")


async def test_out_of_real_descriptors_the_client_waits_and_is_served_later(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ACCEPT_PAUSE", 3600.0)
    client = queued("::1", door.open())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        await door.log.until("listeners.waiting")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert door.asked == []
    door.gate.descriptor_freed()
    await door.log.until("session.accepted")
    client.close()
    await door.log.until("session.finished")


async def test_above_its_capacity_clients_wait_in_the_queue() -> None:
    door = Door(capacity=1)
    port = door.open()
    _, first = await greeting("::1", port)
    second = asyncio.create_task(greeting("::1", port))
    await door.log.until("listeners.waiting")
    assert len(door.sessions) == 1
    first.close()
    line, writer = await second
    assert line == GREETING
    writer.close()
    await door.log.until("session.finished", 2)
    await close(door)


async def test_a_client_that_the_system_says_nothing_of_is_closed(door: Door) -> None:
    door.open()
    [listener] = door.gate._listeners.values()
    ours, theirs = socket.socketpair()
    with theirs:
        door.gate.receive(listener, ours, None)
        assert theirs.recv(1) == b""
    assert door.asked == []
    assert [event["reason"] for event in door.log.named("session.refused")] == [gate.GONE_BEFORE]


async def test_when_the_decision_fails_nobody_is_let_in(door: Door) -> None:
    def broken(*_: object) -> Decision:
        raise RuntimeError("a fault of ours")

    door.decision = broken
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    port = door.open()
    assert await everything("::1", port) == b""
    assert door.opened == []
    assert [str(context["exception"]) for context in told] == ["a fault of ours"]


async def test_a_protocol_that_cannot_be_made_costs_one_client_only(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_session: Session, _services: Services) -> asyncio.BaseProtocol:
        raise RuntimeError("a fault of ours")

    port = door.open()
    monkeypatch.setattr(door.gate, "_open_session", broken)
    assert await everything("::1", port) == b""
    [end] = await door.log.until("session.finished")
    assert end["reason"] == "internal error"
    assert "a fault of ours" in door.log.named("session.error")[0]["error"]
    assert door.sessions.counts[Protocol.SMTP] == 0


async def test_closed_it_listens_no_more_and_those_inside_stay(door: Door) -> None:
    port = door.open()
    reader, writer = await asyncio.open_connection("::1", port)
    assert await reader.readline() == GREETING
    door.gate.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("::1", port)
    assert len(door.sessions) == 1
    door.sessions.shutdown()
    assert await reader.read() == b"421 stopping\r\n"
    writer.close()


async def test_a_client_in_its_handshake_is_sent_away_at_the_end(door: Door, context: ssl.SSLContext) -> None:
    client = queued("::1", door.open("::1", Protocol.IMAP, ConnectionSecurity.TLS, context))
    await door.log.until("session.accepted")
    door.sessions.shutdown()
    [end] = await door.log.until("session.finished")
    assert end["reason"] == "server stops"
    assert client.recv(1) == b""
    client.close()


async def test_a_client_can_be_cut_off(door: Door) -> None:
    port = door.open()
    reader, writer = await asyncio.open_connection("::1", port)
    assert await reader.readline() == GREETING
    door.sessions.abort(door.sessions.open_now())
    assert await reader.read() == b""
    writer.close()
    [end] = await door.log.until("session.finished")
    assert end["reason"] == "client disconnected"


def test_room_is_kept_for_other_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    for descriptors, expected in ((1024, 960), (64, 48), (1, 1)):
        monkeypatch.setattr(os, "sysconf", lambda _name, value=descriptors: value)
        assert gate._capacity() == expected
