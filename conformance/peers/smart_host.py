"""A recording next hop: a mail server that does whatever a case wants, on addresses of either family."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Sequence

from conformance.addresses import Address, canonical, parse
from conformance.clients.record import Record, discard
from conformance.peers import sockets
from conformance.peers.behaviour import Behaviour
from conformance.peers.certificates import Authority, authority
from conformance.peers.dialogue import Dialogue
from conformance.peers.recording import Recording
from conformance.peers.sockets import BlackHole, Readers

CLIENT_LIMIT = 600.0
"""Seconds that a client may be silent: RFC 5321 §4.5.3.2.7 asks a server for at least 300."""
BACKLOG = 512
_CHUNK = 65_536


class SmartHost:
    """Opened with `open`, in the network of the calling thread; `close` must be called.

    One thread takes the connections, one talks on each. `change` holds from the next turn on.
    """

    def __init__(
        self,
        name: str,
        addresses: Sequence[Address],
        port: int,
        recording: Recording,
        *,
        names: Sequence[str] = (),
        record: Record = discard,
        authority: Callable[[], Authority] = authority,
    ) -> None:
        """``names``: host names that its certificate has beside its addresses."""
        self.name = name
        self.addresses = tuple(addresses)
        self.port = port
        self._recording = recording
        self._names = tuple(names)
        self._record = record
        self._authority = authority
        self._lock = threading.Lock()
        self._behaviour = Behaviour()
        self._left: int | None = None
        self._readers: Readers | None = None
        self._listeners: list[socket.socket] = []
        self._holes: list[BlackHole] = []
        self._clients: dict[threading.Thread, _Client] = {}

    @property
    def behaviour(self) -> Behaviour:
        """How the next turn goes."""
        with self._lock:
            return self._behaviour

    def open(self, behaviour: Behaviour | None = None) -> None:
        """Begin. Raises MachineError when it cannot listen where it should."""
        self._readers = Readers(f"smart host {self.name}")
        try:
            self.change(behaviour or Behaviour())
        except BaseException:
            self.close()
            raise

    def change(self, behaviour: Behaviour) -> None:
        """Behave so from now on. To be called in the network that the host is in.

        A host that no longer takes connections resets those that it has.
        """
        with self._lock:
            before, self._behaviour = self._behaviour, behaviour
            self._left = behaviour.times
        for hole in self._holes:
            hole.close()
        self._holes.clear()
        if not behaviour.listens:
            self._close_listeners()
            self._reset_clients()
        elif before.state != behaviour.state:
            self._reset_clients()
        if behaviour.state == "black_hole":
            self._holes += [BlackHole(address, self.port) for address in self.addresses]
        if behaviour.listens and not self._listeners:
            assert self._readers is not None
            for address in self.addresses:
                listener = sockets.bound(address, self.port)
                self._listeners.append(listener)
                listener.listen(BACKLOG)
                self._readers.add(listener, self._accept)
        self._record(self.name, "action", f"is {behaviour.state}")

    def close(self) -> None:
        """End everything; no thread is left. Idempotent."""
        for hole in self._holes:
            hole.close()
        self._holes.clear()
        self._close_listeners()
        self._reset_clients()
        if self._readers is not None:
            self._readers.close()
            self._readers = None
        for thread in self._clients:
            thread.join()
        self._clients.clear()

    def _close_listeners(self) -> None:
        if self._readers is not None:
            for listener in self._listeners:
                self._readers.remove(listener)
        self._listeners.clear()

    def _reset_clients(self) -> None:
        with self._lock:
            clients = tuple(self._clients.values())
        for client in clients:
            client.end()

    # --- in the threads ---------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        sock, peer = listener.accept()
        sock.setblocking(True)
        number = self._recording.begin(
            self.name, parse(peer[0]), int(peer[1]), parse(listener.getsockname()[0])
        )
        self._say(number, "connect", f"from {peer[0]}")
        if self.behaviour.state == "reset":
            sockets.reset(sock)
            self._recording.update(number, ended="cut")
            return
        client = _Client(sock, lambda: self._context(self.behaviour))
        thread = threading.Thread(target=self._talk, args=(client, number), daemon=True)
        with self._lock:
            self._clients = {one: kept for one, kept in self._clients.items() if one.is_alive()}
            self._clients[thread] = client
            thread.start()

    def _talk(self, client: _Client, number: int) -> None:
        ended = "client"
        try:
            if self.behaviour.state == "silent":
                client.wait_for_the_end()
            else:
                ended = Dialogue(
                    client,
                    number,
                    self._recording,
                    lambda: self.behaviour,
                    self._used,
                    lambda kind, text: self._say(number, kind, text),
                ).run()
        finally:
            client.cut("close")
            self._recording.update(number, ended="down" if client.ended and ended == "client" else ended)

    def _used(self) -> None:
        """What is out of the ordinary happened once more; after ``times`` it is over."""
        with self._lock:
            if self._left is None:
                return
            self._left -= 1
            if self._left <= 0:
                ordinary: dict[str, object] = {"answer": {}, "recipients": {}, "cut": None, "times": None}
                self._behaviour = self._behaviour.model_copy(update=ordinary)
                self._left = None

    def _context(self, behaviour: Behaviour) -> ssl.SSLContext:
        names = behaviour.certificate
        if names is None:
            names = (*self._names, *(canonical(address) for address in self.addresses))
        return self._authority().server(names, untrusted=behaviour.untrusted)

    def _say(self, number: int, kind: str, text: str) -> None:
        self._record(f"{self.name}#{number}", kind, text)  # type: ignore[arg-type]


class _Client:
    """One connection, blocking; `dialogue.Wire`."""

    def __init__(self, sock: socket.socket, context: Callable[[], ssl.SSLContext]) -> None:
        self._socket = sock
        self._context = context
        self._closing = threading.Event()
        sock.settimeout(CLIENT_LIMIT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def ended(self) -> bool:
        """Whether the host ended it, from outside of the dialogue."""
        return self._closing.is_set()

    def receive(self) -> bytes:
        return self._socket.recv(_CHUNK)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def start_tls(self) -> str:
        # In two steps, so that `end` finds the socket while hands are shaken.
        secure = self._context().wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
        self._socket = secure
        secure.do_handshake()
        return str(secure.version())

    def cut(self, how: str) -> None:
        if how == "reset":
            sockets.reset(self._socket)
        else:
            sockets.hang_up(self._socket)

    def pause(self, seconds: float) -> None:
        self._closing.wait(seconds)

    def wait_for_the_end(self) -> None:
        """Say nothing until the client leaves, or the host ends."""
        with contextlib.suppress(OSError):
            while self._socket.recv(_CHUNK):
                pass

    def end(self) -> None:
        """Reset it from another thread: the one that reads is woken up, and closes."""
        self._closing.set()
        sockets.wake_for_reset(self._socket)
