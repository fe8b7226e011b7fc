"""Tiny servers on loopback, most of them wrong on purpose: each test says what its server does."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address

import pytest

from conformance.addresses import LOOPBACK_V4, LOOPBACK_V6, Address
from conformance.clients.connect import Connector
from conformance.clients.record import Kind
from conformance.network.modes import Network

Behaviour = Callable[[socket.socket], None]


class Transcript:
    """Records events; used as a `Record`."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []

    def __call__(self, who: str, kind: Kind, text: str) -> None:
        self.events.append((who, kind, text))

    def of(self, *kinds: str) -> list[str]:
        return [text for _who, kind, text in self.events if kind in kinds]

    @property
    def text(self) -> str:
        return "\n".join(" ".join(event) for event in self.events)


class TinyServer:
    """Accepts one client after the other and lets ``behave`` treat each; its socket is closed afterwards."""

    def __init__(self, address: Address, behave: Behaviour) -> None:
        self.address = address
        self.peers: list[Address] = []
        self._behave = behave
        self._stop = threading.Event()
        self._current: socket.socket | None = None
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.bind((str(address), 0))
        self._listener.listen(16)
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                client, peer = self._listener.accept()
            except OSError:
                return
            with client:
                self.peers.append(ip_address(peer[0]))
                client.settimeout(30)
                self._current = client
                with contextlib.suppress(OSError):
                    self._behave(client)
                self._current = None

    def end(self) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        current = self._current
        if current is not None:
            with contextlib.suppress(OSError):
                current.shutdown(socket.SHUT_RDWR)  # wakes a behaviour that reads
        self._thread.join(30)
        self._listener.close()
        assert not self._thread.is_alive()


def hang_up(client: socket.socket) -> None:
    """Close with RST."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def say(text: bytes) -> Behaviour:
    """Say this and close."""
    return lambda client: client.sendall(text)


def say_and_stay(text: bytes) -> Behaviour:
    """Say this, and read until the client goes, without another word."""

    def behave(client: socket.socket) -> None:
        client.sendall(text)
        while client.recv(4096):
            pass

    return behave


def script(greeting: bytes, *rules: tuple[str, bytes | None]) -> Behaviour:
    """Greet, then answer each line by the first rule whose pattern matches; None closes.

    An answer may name the groups of its pattern: rb"\\1 OK".
    """

    def behave(client: socket.socket) -> None:
        client.sendall(greeting)
        with client.makefile("rb") as lines:
            for line in lines:
                for pattern, answer in rules:
                    found = re.match(pattern.encode(), line.strip(), re.IGNORECASE)
                    if found:
                        if answer is None:
                            return
                        client.sendall(found.expand(answer.replace(b"\\", b"\\\\").replace(b"\\\\1", b"\\1")))
                        break

    return behave


def leave(_client: socket.socket) -> None:
    """Close with FIN, without a word."""


class Tools:
    """What conftest offers to the tests of this folder, without an import."""

    leave = staticmethod(leave)
    hang_up = staticmethod(hang_up)
    say = staticmethod(say)
    say_and_stay = staticmethod(say_and_stay)
    script = staticmethod(script)
    Transcript = Transcript


@pytest.fixture(scope="session")
def tools() -> type[Tools]:
    return Tools


@pytest.fixture
def start() -> Iterator[Callable[..., TinyServer]]:
    """Start tiny servers; all are ended, and their threads joined, after the test."""
    running: list[TinyServer] = []

    def begin(behave: Behaviour, address: Address = LOOPBACK_V6) -> TinyServer:
        running.append(TinyServer(address, behave))
        return running[-1]

    yield begin
    for server in running:
        server.end()


@pytest.fixture
def connector() -> Connector:
    return Connector(Network("loopback"))


@pytest.fixture
def transcript() -> Transcript:
    return Transcript()


@pytest.fixture(params=[LOOPBACK_V4, LOOPBACK_V6], ids=["ipv4", "ipv6"])
def host(request: pytest.FixtureRequest) -> Address:
    """Each loopback address in turn."""
    address: Address = request.param
    return address


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate()] == ["MainThread"]
