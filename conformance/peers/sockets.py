"""Sockets of peers: opened in the network that the calling thread is in, by the rules of `network.safety`."""

from __future__ import annotations

import contextlib
import errno
import select
import selectors
import socket
import struct
import threading
from collections.abc import Callable

from conformance.addresses import Address, is_loopback
from conformance.errors import MachineError
from conformance.network import safety
from conformance.network.ports import PortPool

_IPV6_FREEBIND = 78
_LINGER_OFF = struct.pack("ii", 1, 0)
_FILLERS, _FILLING = 16, 1.0
"""Connections that fill a queue at most, and seconds for one of them: the first does it at once."""
_CLAIMS = 50
"""Numbers that are tried until one is free for TCP and UDP alike."""


def bound(address: Address, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """Return a socket of ``kind`` bound to ``address``; the caller closes it. Raises MachineError."""
    safety.check(address, "listen on")
    sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, kind)
    try:
        if address.version == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if not is_loopback(address):
                # Of a namespace where every address is ours, but on no interface.
                sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((str(address), port))
    except OSError as error:
        sock.close()
        raise MachineError(f"a peer cannot be at {address} port {port}: {error.strerror}") from error
    return sock


def claim(addresses: tuple[Address, ...], *, udp: bool = False) -> int:
    """Return a port number that is free on all ``addresses``; with ``udp`` for datagrams, too."""
    pool = PortPool()
    for _ in range(_CLAIMS):
        number = pool.reserve(addresses)
        try:
            for address in addresses if udp else ():
                bound(address, number, socket.SOCK_DGRAM).close()
        except MachineError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE:
                continue
            raise
        return number
    raise MachineError("no port number is free for both TCP and UDP")


class BlackHole:
    """An address and port where a SYN is not answered: a listener whose queue is full, and stays so."""

    def __init__(self, address: Address, port: int) -> None:
        self._listener = bound(address, port)
        self._fillers: list[socket.socket] = []
        try:
            self._listener.listen(0)
            while not self.is_full and len(self._fillers) < _FILLERS:
                self._fill()
        except OSError as error:
            self.close()
            raise MachineError(f"no black hole at {address} port {port}: {error.strerror}") from error
        if not self.is_full:
            self.close()
            raise MachineError(f"no black hole at {address} port {port}: its queue does not fill")

    def _fill(self) -> None:
        filler = socket.socket(self._listener.family, socket.SOCK_STREAM)
        self._fillers.append(filler)
        filler.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            filler.connect(self._listener.getsockname())
        select.select([self._listener], [filler], [], _FILLING)

    @property
    def is_full(self) -> bool:
        """Whether a further SYN is dropped (tcp(7): of a listener, TCP_INFO has the queue and its limit)."""
        info = self._listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
        waiting, limit = struct.unpack("=24xII", info)
        return bool(waiting > limit)

    def close(self) -> None:
        for filler in self._fillers:
            filler.close()
        self._listener.close()


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
    hang_up(sock)


def wake_for_reset(sock: socket.socket) -> None:
    """Wake the thread that reads from ``sock``, and let its close be an RST."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
        sock.shutdown(socket.SHUT_RDWR)


def hang_up(sock: socket.socket) -> None:
    """Close; a thread that reads from it is woken up."""
    with contextlib.suppress(OSError):
        # After linger 0 this sends nothing: the close does.
        if struct.unpack("ii", sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))[0] == 0:
            sock.shutdown(socket.SHUT_RDWR)
    sock.close()


class Readers:
    """One thread that waits for several sockets, and calls a function when one of them can be read."""

    def __init__(self, name: str) -> None:
        self._selector = selectors.DefaultSelector()
        self._waker, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._lock = threading.Lock()
        self._changes: list[tuple[Callable[[], None], threading.Event]] = []
        self._ended = False
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def add(self, sock: socket.socket, call: Callable[[socket.socket], None]) -> None:
        """Call ``call`` with ``sock``, in the thread, whenever it can be read."""
        sock.setblocking(False)
        self._in_thread(lambda: self._register(sock, call))

    def _register(self, sock: socket.socket, call: Callable[[socket.socket], None]) -> None:
        self._selector.register(sock, selectors.EVENT_READ, call)

    def remove(self, sock: socket.socket) -> None:
        """Close ``sock``; when this returns nobody reads from it any more."""

        def unregister() -> None:
            self._selector.unregister(sock)
            sock.close()

        self._in_thread(unregister)

    def close(self) -> None:
        """Close every socket and end the thread. Idempotent."""
        if self._ended:
            return
        for key in [key for key in self._selector.get_map().values() if key.data is not None]:
            assert isinstance(key.fileobj, socket.socket)
            self.remove(key.fileobj)
        self._ended = True
        self._waker.send(b"x")
        self._thread.join()
        self._selector.close()
        self._waker.close()
        self._woken.close()

    def _in_thread(self, change: Callable[[], None]) -> None:
        done = threading.Event()
        with self._lock:
            self._changes.append((change, done))
        self._waker.send(b"x")
        done.wait()

    def _run(self) -> None:
        while not self._ended:
            ready = [key for key, _mask in self._selector.select() if key.data is not None]
            with contextlib.suppress(BlockingIOError):
                self._woken.recv(4096)
            for key in ready:
                with contextlib.suppress(OSError):  # a client that has gone, a datagram nobody takes
                    key.data(key.fileobj)
            with self._lock:
                changes, self._changes = self._changes, []
            for change, done in changes:
                change()
                done.set()
