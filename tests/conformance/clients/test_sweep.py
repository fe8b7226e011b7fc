"""Each outcome of the many-sources client: on loopback from 127.0.0.0/8, and in a namespace from anywhere."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest

from conformance.clients import sweep as module
from conformance.clients.outcome import Outcome
from conformance.clients.sweep import sweep
from conformance.errors import MachineError
from conformance.network import modes
from conformance.network.safety import UnsafeAddress

PATIENCE = 1.0
"""Only for servers whose silence is what is judged."""
HERE = IPv4Address("127.0.0.1")
GOOD = {
    "smtp": (b"220-first\r\n220 ready\r\n", ("NOOP", b"250 fine\r\n"), ("QUIT", None)),
    "pop3": (b"+OK ready\r\n", ("CAPA", b"+OK\r\nUSER\r\n.\r\n"), ("QUIT", None)),
    "imap": (b"* OK ready\r\n", (r"(\w+) NOOP", b"* 0 EXISTS\r\n\\1 OK done\r\n"), (r"\w+ LOGOUT", None)),
}


class Crowded:
    """Treats every client in a thread of its own, as ``choose`` says for its address."""

    def __init__(self, choose: Callable[[str], Callable[[socket.socket], None]]) -> None:
        self._choose = choose
        self._listener = socket.create_server((str(HERE), 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self.peers: list[str] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, (peer, _port) = self._listener.accept()
            except OSError:
                return
            self.peers.append(peer)
            self._threads.append(threading.Thread(target=self._treat, args=(client, peer)))
            self._threads[-1].start()

    def _treat(self, client: socket.socket, peer: str) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(30)
            self._choose(peer)(client)

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(30)
        self._listener.close()
        for thread in self._threads:
            thread.join(30)


@pytest.fixture
def crowded() -> Iterator[Callable[..., Crowded]]:
    running: list[Crowded] = []

    def begin(choose: Callable[[str], Callable[[socket.socket], None]]) -> Crowded:
        running.append(Crowded(choose))
        return running[-1]

    yield begin
    for server in running:
        server.end()


def one(server, protocol="smtp", patience=20.0):
    """Sweep from the loopback address alone."""
    swept = sweep(server.address, server.port, protocol=protocol, sources=[server.address], patience=patience)
    assert (swept.left_out, swept.not_tried) == ((), 0)
    return swept.observations[0]


# --- the outcomes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["smtp", "pop3", "imap"])
def test_served_is_a_greeting_and_an_answer(start, tools, host, protocol) -> None:
    server = start(tools.script(*GOOD[protocol]), host)
    seen = one(server, protocol)
    assert seen.outcome is Outcome.SERVED
    assert seen.received == GOOD[protocol][0]
    assert seen.source == str(host) == str(server.peers[0])
    assert seen.target == (f"[{host}]:{server.port}" if host.version == 6 else f"{host}:{server.port}")
    assert 0 < seen.connected_after <= seen.first_byte_after
    assert seen.closed_after is None


def test_it_ends_politely(start) -> None:
    lines: list[bytes] = []

    def behave(client: socket.socket) -> None:
        client.sendall(b"220 ready\r\n")
        with client.makefile("rb") as stream:
            for line in stream:
                lines.append(line)
                client.sendall(b"250 fine\r\n")
                if line == b"QUIT\r\n":
                    return

    assert one(start(behave)).outcome is Outcome.SERVED
    assert lines == [b"NOOP\r\n", b"QUIT\r\n"]


def test_a_greeting_and_an_answer_in_single_octets(start) -> None:
    def behave(client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in b"220-a\r\n220 b\r\n":
            client.sendall(bytes([octet]))
        client.recv(100)
        for octet in b"250-a\r\n250 b\r\n":
            client.sendall(bytes([octet]))
        client.recv(100)

    assert one(start(behave)).outcome is Outcome.SERVED


@pytest.mark.parametrize("protocol", ["smtp", "pop3", "imap"])
def test_a_question_that_is_not_understood_is_asked_again(start, tools, protocol) -> None:
    refusal = {"smtp": b"500 what\r\n", "pop3": b"-ERR what\r\n", "imap": b"\\1 BAD what\r\n"}[protocol]
    server = start(tools.script(GOOD[protocol][0], ("QUIT|.* LOGOUT", None), (r"(\w+)", refusal)))
    seen = one(server, protocol)
    assert seen.outcome is Outcome.SERVED
    assert "not understood" in seen.detail


def test_who_goes_at_the_second_question_does_not_serve(start) -> None:
    def behave(client: socket.socket) -> None:
        client.sendall(b"220 ready\r\n")
        client.recv(100)
        client.sendall(b"500 what\r\n")
        client.recv(100)

    assert one(start(behave)).outcome is Outcome.CLOSED_AFTER_TEXT


@pytest.mark.parametrize("spoken", ["smtp", "pop3", "imap"])
def test_another_protocols_greeting(start, tools, spoken) -> None:
    for protocol in GOOD.keys() - {spoken}:
        assert one(start(tools.script(*GOOD[spoken])), protocol).outcome is Outcome.WRONG_PROTOCOL


def test_the_ways_to_close(start, tools, host) -> None:
    seen = one(start(tools.leave, host))
    assert (seen.outcome, seen.received) == (Outcome.CLOSED_SILENT, b"")
    assert seen.first_byte_after is None
    assert 0 <= seen.close_delay < 20
    seen = one(start(tools.hang_up, host))
    assert (seen.outcome, seen.received) == (Outcome.RESET, b"")
    assert seen.close_delay is not None
    seen = one(start(tools.say(b"421 not you\r\n"), host))
    assert (seen.outcome, seen.received) == (Outcome.CLOSED_AFTER_TEXT, b"421 not you\r\n")


def test_the_delay_of_a_close_is_the_servers(start) -> None:
    later = threading.Event()
    seen = one(start(lambda _client: later.wait(0.3)))
    assert seen.outcome is Outcome.CLOSED_SILENT
    assert seen.close_delay >= 0.25


def test_a_greeting_with_a_close_behind_it_is_not_served(start, tools) -> None:
    for behaviour in (
        tools.say(b"220 ready\r\n"),
        tools.script(b"220 ready\r\n", ("NOOP", None)),
        tools.script(b"220 ready\r\n", ("NOOP", b"421 going\r\n"), (".", None)),
    ):
        server = start(behaviour)
        seen = one(server, patience=PATIENCE if behaviour else 20)
        assert seen.outcome in (Outcome.CLOSED_AFTER_TEXT, Outcome.HUNG)
        assert seen.received == b"220 ready\r\n"
        assert "a greeting, then to NOOP" in seen.detail


def test_a_goodbye_in_place_of_an_answer_is_waited_out(start) -> None:
    def behave(client: socket.socket) -> None:
        client.sendall(b"220 ready\r\n")
        client.recv(100)
        client.sendall(b"421 going\r\n")

    seen = one(start(behave))
    assert seen.outcome is Outcome.CLOSED_AFTER_TEXT
    assert "421 going" in seen.detail


@pytest.mark.parametrize("text", [b"", b"220 ready\r\n", b"220-unfin", b"hello\r\n", b"421 no\r\n"])
def test_who_stays_and_does_not_answer_hangs(start, tools, text) -> None:
    seen = one(start(tools.say_and_stay(text)), patience=PATIENCE)
    assert (seen.outcome, seen.closed_after) == (Outcome.HUNG, None)
    assert "no answer within the limit" in seen.detail


def test_a_server_that_never_stops_talking_hangs(start) -> None:
    def behave(client: socket.socket) -> None:
        while True:
            client.sendall(b"x" * 65_536)

    seen = one(start(behave), patience=PATIENCE)
    assert seen.outcome is Outcome.HUNG
    assert len(seen.received) == module.MAX_GREETING


def test_nothing_listens_is_refused(host) -> None:
    family = socket.AF_INET if host.version == 4 else socket.AF_INET6
    with socket.socket(family) as bound:  # bound, not listening: nobody else can take the number
        bound.bind((str(host), 0))
        swept = sweep(host, bound.getsockname()[1], protocol="smtp", sources=[host])
    assert (swept.observations[0].outcome, swept.observations[0].connected_after) == (Outcome.REFUSED, None)


def test_a_full_backlog_is_filtered() -> None:
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind((str(HERE), 0))
        listener.listen(0)
        for waiting in (first, second):  # one fills the queue of accepted ones, the next stays half open
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        port = listener.getsockname()[1]
        swept = sweep(HERE, port, protocol="smtp", sources=[HERE], patience=PATIENCE)
    assert swept.observations[0].outcome is Outcome.FILTERED


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(errno.ENETUNREACH, Outcome.UNREACHABLE), (errno.ECONNREFUSED, Outcome.REFUSED)],
)
def test_what_the_system_says_at_connect(monkeypatch, error, outcome) -> None:
    monkeypatch.setattr(socket.socket, "connect_ex", lambda *_: error)
    swept = sweep(HERE, 9, protocol="smtp", sources=[HERE])
    assert (swept.observations[0].outcome, swept.observations[0].detail) == (outcome, os.strerror(error))


# --- many -----------------------------------------------------------------------------------------------


def test_each_source_has_its_own_outcome_in_the_order_given(crowded, tools) -> None:
    """Many at a time, some of them slow: nobody gets another's."""
    kinds = {
        0: (tools.script(*GOOD["smtp"]), Outcome.SERVED),
        1: (tools.leave, Outcome.CLOSED_SILENT),
        2: (tools.hang_up, Outcome.RESET),
        3: (tools.say(b"554 no\r\n"), Outcome.CLOSED_AFTER_TEXT),
        4: (tools.script(*GOOD["imap"]), Outcome.WRONG_PROTOCOL),
    }
    server = crowded(lambda peer: kinds[int(ip_address(peer)) % 5][0])
    sources = [IPv4Address("127.1.0.0") + 37 * number for number in range(300)]
    swept = sweep(HERE, server.port, protocol="smtp", sources=sources, at_once=16)
    assert [seen.source for seen in swept.observations] == [str(source) for source in sources]
    assert [seen.outcome for seen in swept.observations] == [kinds[int(s) % 5][1] for s in sources]
    assert Counter(server.peers) == Counter(str(source) for source in sources)


def test_so_many_at_a_time_and_no_more(crowded) -> None:
    lock, arrived = threading.Lock(), threading.Semaphore(0)
    there = most = 0

    def behave(client: socket.socket) -> None:
        nonlocal there, most
        with lock:
            there += 1
            most = max(most, there)
        arrived.release()
        client.settimeout(0.02)
        with contextlib.suppress(TimeoutError):
            client.recv(1)
        with lock:
            there -= 1

    server = crowded(lambda _peer: behave)
    sources = [IPv4Address("127.1.0.0") + number for number in range(60)]
    sweep(HERE, server.port, protocol="smtp", sources=sources, at_once=8)
    assert 1 < most <= 8


def test_it_gives_up_when_everybody_hangs(monkeypatch) -> None:
    monkeypatch.setattr(module, "GIVE_UP", 5)
    sources = [IPv4Address("127.1.0.0") + number for number in range(40)]
    with socket.create_server((str(HERE), 0), backlog=100) as listener:
        port = listener.getsockname()[1]
        swept = sweep(HERE, port, protocol="smtp", sources=sources, patience=PATIENCE, at_once=10)
    found = [seen.outcome for seen in swept.observations if seen is not None]
    assert set(found) == {Outcome.HUNG}
    assert len(found) + swept.not_tried == 40
    assert 10 <= len(found) <= 20


def test_no_descriptor_is_left(start, tools) -> None:
    server = start(tools.leave, HERE)
    before = set(Path("/proc/self/fd").iterdir())
    sources = [IPv4Address("127.1.0.0") + number for number in range(50)]
    sweep(HERE, server.port, protocol="smtp", sources=sources)
    assert len(set(Path("/proc/self/fd").iterdir()) - before) <= 1, "the server's client may be closing"


def test_no_descriptor_is_left_by_a_failure(start, tools, monkeypatch) -> None:
    server = start(tools.say_and_stay(b""), HERE)

    def fail(*_: object) -> None:
        raise RuntimeError("what nobody foresaw")

    monkeypatch.setattr(module._Sweep, "_happened", fail)
    before = {one.name for one in Path("/proc/self/fd").iterdir()}
    with pytest.raises(RuntimeError):
        sweep(HERE, server.port, protocol="smtp", sources=[HERE])
    server.end()
    assert len({one.name for one in Path("/proc/self/fd").iterdir()} - before) <= 1


def test_without_descriptors_it_says_so(monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket, "socket", fail)
    with pytest.raises(MachineError, match="no socket for a client: Too many open files"):
        sweep(HERE, 25, protocol="smtp", sources=[HERE])


# --- what it may not do ---------------------------------------------------------------------------------


def bound(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return the list of what is bound or connected to from now on."""
    done: list[object] = []
    monkeypatch.setattr(socket.socket, "bind", lambda _sock, address: done.append(address))
    monkeypatch.setattr(socket.socket, "connect_ex", lambda _sock, address: done.append(address) or 0)
    return done


@pytest.mark.parametrize(
    ("target", "sources"),
    [
        ("::1", ["2001:db8::1"]),
        ("::1", ["::1", "::1", "2001:db8::1"]),
        ("::1", ["::ffff:127.0.0.1", "2001:db8::1"]),
        ("2001:db8::1", ["::1"]),
        ("127.0.0.1", ["127.0.0.1", "192.0.2.1"]),
        ("127.0.0.1", ["0.0.0.0"]),
        ("192.0.2.1", ["127.0.0.1"]),
    ],
)
def test_outside_a_namespace_of_ours_nothing_but_loopback_is_touched(monkeypatch, target, sources) -> None:
    done = bound(monkeypatch)
    with pytest.raises(UnsafeAddress, match="network namespace of its own"):
        sweep(ip_address(target), 25, protocol="smtp", sources=[ip_address(text) for text in sources])
    assert done == []


def test_a_source_of_another_family(monkeypatch) -> None:
    done = bound(monkeypatch)
    with pytest.raises(MachineError, match="another address family"):
        sweep(HERE, 25, protocol="smtp", sources=[HERE, IPv6Address("::1")])
    assert done == []


def test_a_source_that_the_system_replaces_is_left_out(start, tools) -> None:
    """127.255.255.255 is a broadcast address: the kernel takes another one without a word."""
    server = start(tools.leave, HERE)
    gone = IPv4Address("127.255.255.255")
    swept = sweep(HERE, server.port, protocol="smtp", sources=[HERE, gone, HERE + 1])
    assert swept.observations[1] is None
    assert [seen.source for seen in swept.observations if seen] == ["127.0.0.1", "127.0.0.2"]
    assert swept.left_out == ((gone, "the system uses 127.0.0.1 in its place"),)


def test_a_source_that_cannot_be_bound_is_left_out(start, tools) -> None:
    server = start(tools.leave)
    mapped = IPv6Address("::ffff:127.0.0.1")
    swept = sweep(server.address, server.port, protocol="smtp", sources=[mapped, server.address])
    assert [seen.source for seen in swept.observations if seen] == ["::1"]
    [(left, reason)] = swept.left_out
    assert left == mapped
    assert reason


# --- from anywhere --------------------------------------------------------------------------------------

ANYWHERE = """
import json, socket, threading
from conformance.network import modes
modes.enter("namespace")
from conformance.addresses import canonical, parse
from conformance.clients.sweep import sweep
from conformance.oracle.boundaries import no_client_from, scattered

def serve(listener, peers, count):
    while len(peers) < count:
        client, peer = listener.accept()
        peers.append(peer[0])
        client.close()

answer = {}
for target, family in (("2001:db8:5::1", socket.AF_INET6), ("192.0.2.1", socket.AF_INET)):
    kind = "ipv6" if family == socket.AF_INET6 else "ipv4"
    texts = CASES[kind].split()
    possible = [parse(text) for text in texts if not no_client_from(parse(text))]
    impossible = [parse(text) for text in texts if no_client_from(parse(text))]
    more = list(scattered([], kind, 500, 1))
    listener = socket.socket(family, socket.SOCK_STREAM)
    if kind == "ipv6":
        listener.setsockopt(socket.IPPROTO_IPV6, 78, 1)
    listener.bind((target, 0))
    listener.listen(256)
    peers = []
    thread = threading.Thread(target=serve, args=(listener, peers, len(possible) + len(more)))
    thread.start()
    port = listener.getsockname()[1]
    swept = sweep(parse(target), port, protocol="smtp", sources=[*possible, *more])
    thread.join()
    listener.close()
    left = sweep(parse(target), port, protocol="smtp", sources=impossible)
    answer[kind] = {
        "left out": [str(one) for one, reason in swept.left_out],
        "outcomes": sorted({str(one.outcome) for one in swept.observations}),
        "as seen by the client": [one.source for one in swept.observations],
        "as seen by the server": sorted(canonical(parse(peer)) for peer in peers),
        "canonical": [canonical(one) for one in (*possible, *more)],
        "impossible": [str(one) for one in impossible],
        "impossible left out": [str(one) for one, reason in left.left_out],
    }
print(json.dumps(answer))
"""
CASES = {
    "ipv6": """
        :: ::1 ::2 ::127.0.0.1 ::255.255.0.0 ::fffe:ffff:ffff ::ffff:0:0 ::ffff:192.0.2.1
        ::ffff:ffff:ffff ::1:0:0:0 64:ff9b::192.0.2.1 100::1 2001::1 2001:db8:5::1 2002:c000:201::
        7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 8000:: fc00:: fd00::1
        fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff fe80:: fe80::1 febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff
        fec0:: feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ff00:: ff02::1
        ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
    """,
    "ipv4": """
        0.0.0.0 0.0.0.1 0.255.255.255 10.0.0.255 127.0.0.0 127.255.255.254 127.255.255.255 128.0.0.0
        169.254.0.1 192.0.2.1 223.255.255.255 224.0.0.0 239.255.255.255 240.0.0.0 255.255.255.254
        255.255.255.255
    """,
}


@pytest.mark.needs_namespace
def test_from_everywhere_but_from_where_no_client_comes() -> None:
    """The oracle's list of what cannot be is the kernel's, address by address."""
    if reason := modes.probe():
        pytest.skip(f"no namespace: {reason}")
    root = str(Path(modes.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"CASES = {CASES!r}\n{ANYWHERE}"],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for seen in json.loads(done.stdout).values():
        assert seen["left out"] == []
        assert seen["outcomes"] == ["closed_silent"]
        assert seen["as seen by the client"] == seen["canonical"]
        assert seen["as seen by the server"] == sorted(seen["canonical"])
        assert seen["impossible"] == seen["impossible left out"] != []
