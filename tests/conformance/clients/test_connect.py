"""Each outcome, shown by a server that behaves so; and what a client may not do."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from ipaddress import ip_address
from pathlib import Path

import pytest

from conformance.clients import connect
from conformance.clients.outcome import Outcome
from conformance.errors import MachineError
from conformance.network.safety import UnsafeAddress

SMTP = (("NOOP", b"250 fine\r\n"), ("QUIT", b"221 bye\r\n"))
GOOD = {
    "smtp": (b"220-first\r\n220 ready\r\n", ("NOOP", b"250 fine\r\n"), ("QUIT", None)),
    "pop3": (b"+OK ready\r\n", ("CAPA", b"+OK\r\nUSER\r\n.\r\n"), ("QUIT", None)),
    "imap": (b"* OK ready\r\n", (r"(\w+) NOOP", b"* 0 EXISTS\r\n\\1 OK done\r\n"), (r"\w+ LOGOUT", None)),
}
PATIENCE = 1.0
"""Only for servers whose silence is what is judged."""


def observe(connector, server, record, protocol="smtp", patience=20.0, **more):
    return connector.observe(
        server.address, server.port, protocol=protocol, source=None, record=record, patience=patience, **more
    )


@pytest.mark.parametrize("protocol", ["smtp", "pop3", "imap"])
def test_served_is_a_greeting_and_an_answer(connector, start, tools, transcript, host, protocol) -> None:
    server = start(tools.script(*GOOD[protocol]), host)
    seen, session = observe(connector, server, transcript, protocol)
    assert (seen.outcome, session) == (Outcome.SERVED, None)
    assert seen.received == GOOD[protocol][0]
    assert seen.source == str(host) == str(server.peers[0])
    assert seen.target == (f"[{host}]:{server.port}" if host.version == 6 else f"{host}:{server.port}")
    assert 0 < seen.connected_after <= seen.first_byte_after
    assert seen.closed_after is None


def test_an_unread_session_was_ended_before_observe_returns(connector, start, tools, transcript) -> None:
    server = start(tools.script(*GOOD["smtp"]))
    observe(connector, server, transcript)
    assert transcript.of("sent") == ["NOOP", "QUIT"]
    assert len(transcript.of("closed")) == 1


def test_preauth_is_a_greeting(connector, start, tools, transcript) -> None:
    server = start(tools.script(b"* PREAUTH in\r\n", *GOOD["imap"][1:]))
    assert observe(connector, server, transcript, "imap")[0].outcome is Outcome.SERVED


def test_a_greeting_in_single_octets_is_one(connector, start, transcript) -> None:
    def behave(client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in b"220-a\r\n220 b\r\n":
            client.sendall(bytes([octet]))
        client.recv(100)
        client.sendall(b"250 fine\r\n")

    assert observe(connector, start(behave), transcript)[0].outcome is Outcome.SERVED


@pytest.mark.parametrize("spoken", ["smtp", "pop3", "imap"])
@pytest.mark.parametrize("protocol", ["smtp", "pop3", "imap"])
def test_another_protocols_greeting(connector, start, tools, transcript, protocol, spoken) -> None:
    server = start(tools.script(*GOOD[spoken]))
    seen, _ = observe(connector, server, transcript, protocol)
    assert seen.outcome is (Outcome.SERVED if protocol == spoken else Outcome.WRONG_PROTOCOL)


def test_a_silent_close(connector, start, tools, transcript, host) -> None:
    server = start(tools.leave, host)
    seen, session = observe(connector, server, transcript, keep=True)
    assert (seen.outcome, seen.received, session) == (Outcome.CLOSED_SILENT, b"", None)
    assert seen.first_byte_after is None
    assert 0 <= seen.close_delay < 5
    assert len(transcript.of("closed")) == 1
    assert transcript.of("sent", "reset") == []


def test_the_delay_of_a_close_is_measured(connector, start, transcript) -> None:
    go = threading.Event()
    server = start(lambda _client: go.wait(30))
    timer = threading.Timer(0.25, go.set)
    timer.start()
    seen, _ = observe(connector, server, transcript)
    timer.join()
    assert seen.outcome is Outcome.CLOSED_SILENT
    assert 0.2 <= seen.close_delay < 5


def test_a_reset(connector, start, tools, transcript, host) -> None:
    seen, _ = observe(connector, start(tools.hang_up, host), transcript)
    assert (seen.outcome, seen.received) == (Outcome.RESET, b"")
    assert seen.close_delay is not None
    assert len(transcript.of("reset")) == 1


@pytest.mark.parametrize(
    ("protocol", "text"),
    [
        ("smtp", b"421 try later\r\n"),
        ("smtp", b"554 no\r\n"),
        ("smtp", b"554-no\r\n554 really\r\n"),
        ("smtp", b"220-welcome\r\n421 or not\r\n"),
        ("smtp", b"220"),
        ("smtp", b"220-welcome\r\n"),
        ("pop3", b"-ERR no\r\n"),
        ("pop3", b"+OKAY\r\n"),
        ("imap", b"* BYE no\r\n"),
        ("imap", b"* NO\r\n"),
        ("imap", b"\x16\x03\x01\x00"),
    ],
)
def test_text_then_a_close(connector, start, tools, transcript, protocol, text) -> None:
    seen, _ = observe(connector, start(tools.say(text)), transcript, protocol)
    assert (seen.outcome, seen.received) == (Outcome.CLOSED_AFTER_TEXT, text)
    assert seen.first_byte_after is not None
    assert seen.closed_after is not None


def test_text_then_a_reset_is_a_close_after_text(connector, start, tools, transcript) -> None:
    def behave(client: socket.socket) -> None:
        client.sendall(b"421 no\r\n")
        # RST must not overtake the text: wait until the client has acknowledged it.
        while int.from_bytes(client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[24:28], "little"):
            time.sleep(0.001)
        tools.hang_up(client)

    seen, _ = observe(connector, start(behave), transcript)
    assert (seen.outcome, seen.received) == (Outcome.CLOSED_AFTER_TEXT, b"421 no\r\n")
    assert "RST" in seen.detail


@pytest.mark.parametrize("protocol", ["smtp", "pop3", "imap"])
def test_a_greeting_with_an_immediate_close_is_not_served(
    connector, start, tools, transcript, protocol
) -> None:
    greeting = GOOD[protocol][0]
    seen, session = observe(connector, start(tools.say(greeting)), transcript, protocol, keep=True)
    assert (seen.outcome, session) == (Outcome.CLOSED_AFTER_TEXT, None)
    assert seen.received == greeting
    assert "a greeting, then" in seen.detail


@pytest.mark.parametrize(
    ("protocol", "greeting", "rule"),
    [
        ("smtp", b"220 hi\r\n", ("NOOP", b"421 not you\r\n")),
        ("smtp", b"220 hi\r\n", ("NOOP", b"554 not you\r\n")),
        ("imap", b"* OK hi\r\n", (r"(\w+) NOOP", b"* BYE not you\r\n\\1 OK\r\n")),
        ("pop3", b"+OK hi\r\n", ("CAPA", b"421 not you\r\n")),
    ],
)
def test_a_greeting_then_a_goodbye_is_not_served(
    connector, start, tools, transcript, protocol, greeting, rule
) -> None:
    def behave(client: socket.socket) -> None:
        client.settimeout(0.05)  # one answer, then the close
        tools.script(greeting, rule)(client)

    seen, _ = observe(connector, start(behave), transcript, protocol)
    assert seen.outcome is Outcome.CLOSED_AFTER_TEXT
    assert "not you" in seen.detail


def test_a_greeting_and_a_dead_session_is_hung(connector, start, tools, transcript) -> None:
    seen, _ = observe(connector, start(tools.say_and_stay(b"220 hi\r\n")), transcript, patience=PATIENCE)
    assert seen.outcome is Outcome.HUNG
    assert "NOOP" in seen.detail


@pytest.mark.parametrize(
    ("protocol", "answers"),
    [
        ("smtp", ("NOOP", b"502 what?\r\n")),
        ("smtp", ("NOOP", b"530 STARTTLS first\r\n")),
        ("pop3", ("CAPA", b"-ERR what?\r\n")),
        ("imap", (r"(\w+) NOOP", b"\\1 BAD what?\r\n")),
    ],
)
def test_who_does_not_know_the_question_but_answers_twice_serves(
    connector, start, tools, transcript, protocol, answers
) -> None:
    goodbyes = (("QUIT", None), (r"\w+ LOGOUT", None))
    server = start(tools.script(GOOD[protocol][0], answers, *goodbyes))
    assert observe(connector, server, transcript, protocol)[0].outcome is Outcome.SERVED
    assert len(transcript.of("sent")) == 3


def test_a_refusal_of_the_question_and_a_close_is_not_served(connector, start, transcript) -> None:
    def behave(client: socket.socket) -> None:
        client.sendall(b"+OK hi\r\n")
        client.recv(100)
        client.sendall(b"-ERR go away\r\n")

    assert observe(connector, start(behave), transcript, "pop3")[0].outcome is Outcome.CLOSED_AFTER_TEXT


@pytest.mark.parametrize("text", [b"", b"554 no\r\n", b"220 unfini", b"220-more to come\r\n"])
def test_neither_greeting_nor_close_is_hung(connector, start, tools, transcript, text) -> None:
    seen, _ = observe(connector, start(tools.say_and_stay(text)), transcript, patience=PATIENCE)
    assert (seen.outcome, seen.received, seen.closed_after) == (Outcome.HUNG, text, None)
    assert text.decode().strip() in seen.detail


def test_a_backlog_that_nobody_accepts_from_is_hung(connector, transcript) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seen, _ = connector.observe(
            ip_address("127.0.0.1"),
            listener.getsockname()[1],
            protocol="smtp",
            source=None,
            record=transcript,
            patience=PATIENCE,
        )
    assert seen.outcome is Outcome.HUNG


def test_nothing_listens_is_refused(connector, transcript, host) -> None:
    family = socket.AF_INET if host.version == 4 else socket.AF_INET6
    with socket.socket(family) as bound:  # bound, not listening: nobody else can take the number
        bound.bind((str(host), 0))
        seen, _ = connector.observe(
            host, bound.getsockname()[1], protocol="smtp", source=None, record=transcript
        )
    assert (seen.outcome, seen.connected_after) == (Outcome.REFUSED, None)


def test_a_full_backlog_is_filtered(connector, transcript) -> None:
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for waiting in (first, second):  # one fills the queue of accepted ones, the next stays half open
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        seen, _ = connector.observe(
            ip_address("127.0.0.1"),
            listener.getsockname()[1],
            protocol="smtp",
            source=None,
            record=transcript,
            patience=PATIENCE,
        )
    assert seen.outcome is Outcome.FILTERED


@pytest.mark.parametrize(
    ("error", "outcome", "detail"),
    [
        (errno.ENETUNREACH, Outcome.UNREACHABLE, "unreachable"),
        (errno.EHOSTUNREACH, Outcome.UNREACHABLE, "No route"),
        (errno.EACCES, Outcome.UNREACHABLE, "denied"),
        (errno.ECONNRESET, Outcome.RESET, "RST"),
        (errno.EPIPE, Outcome.CLOSED_SILENT, "FIN"),
    ],
)
def test_what_the_system_says_at_connect(connector, transcript, monkeypatch, error, outcome, detail) -> None:
    def fail(_sock: socket.socket, _address: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(socket.socket, "connect", fail)
    seen, _ = connector.observe(ip_address("127.0.0.1"), 9, protocol="smtp", source=None, record=transcript)
    assert seen.outcome is outcome
    assert detail in seen.detail


def test_text_and_a_reset_before_connect_returns_is_a_close_after_text(
    connector, start, transcript, tools, monkeypatch
) -> None:
    """The kernel reports the reset at connect when it was quicker than we are; the text still waits."""
    really = socket.socket.connect
    over = threading.Event()

    def behave(client: socket.socket) -> None:
        client.sendall(b"421 no\r\n")
        while int.from_bytes(client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[24:28], "little"):
            time.sleep(0.001)
        tools.hang_up(client)
        client.close()
        over.set()

    def slow(sock: socket.socket, name: object) -> None:
        really(sock, name)
        assert over.wait(30)
        while not (error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
            time.sleep(0.001)
        raise OSError(error, os.strerror(error))

    server = start(behave)
    monkeypatch.setattr(socket.socket, "connect", slow)
    seen, _ = observe(connector, server, transcript)
    assert (seen.outcome, seen.received) == (Outcome.CLOSED_AFTER_TEXT, b"421 no\r\n")
    assert seen.closed_after is not None
    assert transcript.of("received") == ["421 no"]


def test_a_flood_is_neither_kept_nor_waited_for(connector, start, transcript) -> None:
    def behave(client: socket.socket) -> None:
        block = b"x" * 65_536
        while True:
            client.sendall(block)

    seen, _ = observe(connector, start(behave), transcript)
    assert seen.outcome is Outcome.HUNG
    assert len(seen.received) <= connect.MAX_GREETING
    assert len(transcript.text) < 2_000_000
    assert "more octets" in seen.detail


def test_the_source_address_is_what_the_server_sees(connector, start, tools, transcript) -> None:
    server = start(tools.script(*GOOD["smtp"]), ip_address("127.0.0.1"))
    source = ip_address("127.66.77.88")
    seen, _ = connector.observe(
        server.address, server.port, protocol="smtp", source=source, record=transcript
    )
    assert server.peers == [source]
    assert seen.source == "127.66.77.88"
    assert transcript.events[0][0].startswith("client127.66.77.88:")


def test_a_source_that_the_kernel_replaces_is_an_error(
    connector, start, tools, transcript, monkeypatch
) -> None:
    server = start(tools.leave, ip_address("127.0.0.1"))
    really = socket.socket.bind
    monkeypatch.setattr(socket.socket, "bind", lambda sock, _name: really(sock, ("127.0.0.9", 0)))
    with pytest.raises(MachineError, match=r"127\.0\.0\.9 in place of 127\.0\.0\.5"):
        connector.observe(
            server.address,
            server.port,
            protocol="smtp",
            source=ip_address("127.0.0.5"),
            record=transcript,
        )


def test_a_v4_mapped_target_is_reached_over_ipv4(connector, start, tools, transcript) -> None:
    server = start(tools.script(*GOOD["smtp"]), ip_address("127.0.0.1"))
    seen, _ = connector.observe(
        ip_address("::ffff:127.0.0.1"), server.port, protocol="smtp", source=None, record=transcript
    )
    assert seen.target == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize(
    "target", ["192.0.2.1", "::", "0.0.0.0", "2001:db8::1", "::ffff:192.0.2.1", "fe80::1"]
)
def test_foreign_targets_are_refused_before_any_packet(connector, transcript, monkeypatch, target) -> None:
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("a socket was opened"))
    with pytest.raises(UnsafeAddress, match="refused to connect to"):
        connector.observe(ip_address(target), 25, protocol="smtp", source=None, record=transcript)


def test_foreign_sources_are_refused(connector, transcript) -> None:
    with pytest.raises(UnsafeAddress, match="refused to connect from 2001:db8::25"):
        connector.observe(
            ip_address("::1"),
            25,
            protocol="smtp",
            source=ip_address("2001:db8::25"),
            record=transcript,
        )


def test_families_do_not_mix(connector, transcript) -> None:
    with pytest.raises(MachineError, match="another address family"):
        connector.observe(
            ip_address("::1"), 25, protocol="smtp", source=ip_address("127.0.0.1"), record=transcript
        )


def test_a_host_without_that_loopback_address(connector, transcript, monkeypatch) -> None:
    def fail(_sock: socket.socket, _address: object) -> None:
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))

    monkeypatch.setattr(socket.socket, "bind", fail)
    goal = ip_address("::1")
    seen, _ = connector.observe(goal, 25, protocol="smtp", source=None, record=transcript)
    assert seen.outcome is Outcome.UNREACHABLE
    with pytest.raises(MachineError, match="cannot use the source address ::1"):
        connector.observe(goal, 25, protocol="smtp", source=goal, record=transcript)


def test_no_descriptor_is_left(connector, start, tools, transcript) -> None:
    servers = [
        start(tools.script(*GOOD["smtp"])),
        start(tools.leave),
        start(tools.hang_up),
        start(tools.say(b"421 no\r\n")),
    ]
    mine = Path("/proc/self/fd")
    before = None
    for _round in range(5):
        for server in servers:
            observe(connector, server, transcript)
        # The servers' own sockets of the last clients may still be closing: only ours are counted here.
        count = sum(1 for one in mine.iterdir() if _is_client_socket(one, servers))
        before = count if before is None else before
        assert count == before == 0


def _is_client_socket(descriptor: Path, servers: list) -> bool:
    try:
        duplicate = os.dup(int(descriptor.name))
    except OSError:
        return False
    try:
        sock = socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        return False
    with sock:
        try:
            return sock.getpeername()[1] in {server.port for server in servers}
        except (OSError, IndexError):
            return False
