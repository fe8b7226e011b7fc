"""The gate: owns the listening sockets; accept → ask admission → close, or hand the socket on.

A client that is refused is closed before any byte and before TLS, is never counted, and leaves one event.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reference_server import limits
from reference_server.addresses import IPAddress, address_text, peer_address
from reference_server.listening.admission import Decision, Refused
from reference_server.listening.sessions import OpenSessions
from reference_server.log import Log
from reference_server.session import OpenSession, Services, Session
from reference_server.settings import ConnectionSecurity, IpRange, Port, Protocol

GONE_BEFORE = "client left before it was accepted"

_GONE = (
    *("ECONNABORTED", "ECONNRESET", "EPROTO", "EPERM", "ETIMEDOUT", "ENOPROTOOPT", "EOPNOTSUPP"),
    *("ENETDOWN", "ENETUNREACH", "ENONET", "EHOSTDOWN", "EHOSTUNREACH"),
)
CLIENT_GONE = frozenset(getattr(errno, name) for name in _GONE if hasattr(errno, name))
"""What accept says of one client, which is gone; the next may be well (accept(2))."""

Admit = Callable[[IPAddress, Protocol], Decision]


def open_socket(address: IPAddress, number: int) -> socket.socket:
    """Return a listening socket, non-blocking; ``number`` 0 asks the system for a free one.

    An IPv6 socket takes IPv6 clients only, whatever the system's bindv6only says (RFC 3493 section 5.3), so
    that `0.0.0.0` and `::` are two ports. Raises OSError, also when the system has no IPv6.
    """
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    # With the protocol named, asyncio sets TCP_NODELAY: answers in two parts would wait 40 ms for an ACK.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if address.version == 6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setblocking(False)
        listening.bind((address_text(address), number))
        listening.listen(limits.BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def cause(error: OSError) -> str:
    """Return in plain words why a listener could not open."""
    known = {
        errno.EADDRINUSE: "the address and number are in use by another program or port",
        errno.EADDRNOTAVAIL: "the address is not on this host",
        errno.EACCES: "no permission: numbers below 1024 are for root, unless the system is told otherwise",
        errno.EAFNOSUPPORT: "the operating system does not have this address family",
    }
    return known.get(error.errno or 0) or error.strerror or str(error)


@dataclass(frozen=True, slots=True)
class Listener:
    """An open port. ``tls`` serves the client from its first byte, ``starttls`` when it asks."""

    port: Port
    number: int
    socket: socket.socket
    tls: ssl.SSLContext | None = None
    starttls: ssl.SSLContext | None = None


class Gate:
    """The open listeners, and the way from a new connection to its protocol."""

    def __init__(
        self,
        admit: Admit,
        open_session: OpenSession,
        sessions: OpenSessions,
        services: Services,
        log: Log,
        capacity: int | None = None,
    ) -> None:
        """``admit`` decides about each client. Above ``capacity`` sessions, clients wait in the queue."""
        self._admit = admit
        self._open_session = open_session
        self._sessions = sessions
        self._services = services
        self._log = log
        self._capacity = _capacity() if capacity is None else capacity
        self._listeners: dict[Port, Listener] = {}
        self._paused: dict[Port, asyncio.TimerHandle] = {}
        self._quiet_until = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    def open(self, port: Port, context: ssl.SSLContext | None) -> int:
        """Listen on ``port`` and return the number. ``context`` is its certificate's. Raises OSError."""
        tls, starttls = _tls_of(port, context)
        listening = open_socket(port.address, port.port)
        number: int = listening.getsockname()[1]
        listener = Listener(port, number, listening, tls, starttls)
        self._listeners[port] = listener
        self._loop.add_reader(listening.fileno(), self._accept, listener)
        return number

    def close(self) -> None:
        """Stop listening. Clients that are inside stay; those in the kernel's queue are reset."""
        for timer in self._paused.values():
            timer.cancel()
        self._paused.clear()
        for listener in self._listeners.values():
            self._loop.remove_reader(listener.socket.fileno())
            listener.socket.close()
        self._listeners.clear()

    async def settle(self) -> None:
        """Return when no client is on its way between the door and its protocol. After `close`."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def descriptor_freed(self) -> None:
        """Try again where a descriptor was missing. To be called when a session has ended."""
        for port, timer in tuple(self._paused.items()):
            timer.cancel()
            self._resume(self._listeners[port])

    # --- accepting ------------------------------------------------------------------------------------

    def _accept(self, listener: Listener) -> None:
        """Take what waits, at most a batch: the loop comes back for the rest."""
        for _ in range(limits.ACCEPT_BATCH):
            if listener.socket.fileno() < 0:
                return
            if len(self._sessions) >= self._capacity:
                self._pause(
                    listener, f"{len(self._sessions)} sessions are as many as there are descriptors for"
                )
                return
            try:
                client, address = listener.socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in CLIENT_GONE:
                    self._pause(listener, error.strerror or str(error))
                    return
                self._refused(listener, None, 0, Refused(GONE_BEFORE))
                continue
            self.receive(listener, client, address)

    def receive(self, listener: Listener, client: socket.socket, address: Any) -> None:
        """Decide about one accepted client. ``address`` is what accept said of its peer."""
        try:
            # Not getpeername: it fails for a client that was reset in the queue.
            peer, peer_port = peer_address(address[0]), int(address[1])
        except (TypeError, ValueError, IndexError):  # the system had nothing to say of it
            self.disconnect(client)
            self._refused(listener, None, 0, Refused(GONE_BEFORE))
            return
        try:
            decision = self._admit(peer, listener.port.protocol)
        except BaseException:
            self.disconnect(client)  # never let in by mistake
            raise
        if isinstance(decision, Refused):
            self.disconnect(client)
            self._refused(listener, peer, peer_port, decision)
            return
        try:
            client.setblocking(False)
            local = client.getsockname()
        except OSError:
            self.disconnect(client)
            self._refused(listener, peer, peer_port, Refused(GONE_BEFORE))
            return
        session = self._session(listener, peer, peer_port, local, decision.ip_range)
        self._welcome(listener, client, session)

    def disconnect(self, client: socket.socket) -> None:
        """Close a refused client at once, with nothing said."""
        with contextlib.suppress(OSError):
            client.close()

    def _refused(self, listener: Listener, peer: IPAddress | None, peer_port: int, why: Refused) -> None:
        self._log.info(
            "session.refused",
            session=self._sessions.next_id(),
            protocol=listener.port.protocol.value,
            port_id=listener.port.id,
            peer=address_text(peer) if peer else "",
            peer_port=peer_port,
            range=why.ip_range.name if why.ip_range else None,
            reason=why.reason,
        )

    def _pause(self, listener: Listener, why: str) -> None:
        """Leave clients in the kernel's queue for a while, rather than ask again and again in vain.

        The system lacks descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM), or we have clients enough.
        """
        self._loop.remove_reader(listener.socket.fileno())
        self._paused[listener.port] = self._loop.call_later(limits.ACCEPT_PAUSE, self._resume, listener)
        if self._loop.time() >= self._quiet_until:
            self._quiet_until = self._loop.time() + limits.COMPLAINT_EVERY
            self._log.error("listeners.waiting", error=why, sessions=len(self._sessions))

    def _resume(self, listener: Listener) -> None:
        self._paused.pop(listener.port, None)
        if listener.socket.fileno() >= 0:
            self._loop.add_reader(listener.socket.fileno(), self._accept, listener)

    # --- handing on -----------------------------------------------------------------------------------

    def _session(
        self, listener: Listener, peer: IPAddress, peer_port: int, local: Any, ip_range: IpRange
    ) -> Session:
        return Session(
            id=self._sessions.next_id(),
            port=listener.port,
            peer=peer,
            peer_port=peer_port,
            local=peer_address(local[0]),
            local_port=int(local[1]),
            ip_range=ip_range,
            started=self._services.now(),
            implicit_tls=listener.tls is not None,
            starttls=listener.starttls,
        )

    def _welcome(self, listener: Listener, client: socket.socket, session: Session) -> None:
        """Count the client, and start its session."""
        visitor = _Visitor(self._open_session, session, self._services)
        self._sessions.begin(session, visitor.shutdown, visitor.abort)
        self._log.info("session.accepted", **describe(session))
        visitor.task = self._loop.create_task(self._hand_on(listener, client, visitor))
        self._tasks.add(visitor.task)
        visitor.task.add_done_callback(lambda task: self._handed_on(task, client, visitor))

    async def _hand_on(self, listener: Listener, client: socket.socket, visitor: _Visitor) -> None:
        """Give the socket to the loop and to the protocol; TLS comes first where the port has it."""
        handshake: dict[str, Any] = {}
        if listener.tls is not None:
            handshake = {
                "ssl": listener.tls,
                "ssl_handshake_timeout": limits.TLS_HANDSHAKE_TIMEOUT,
                "ssl_shutdown_timeout": limits.CLOSE_TIMEOUT,
            }
        visitor.transport, _ = await self._loop.connect_accepted_socket(visitor.open, client, **handshake)

    def _handed_on(self, task: asyncio.Task[None], client: socket.socket, visitor: _Visitor) -> None:
        """Give back the slot of a client that did not get as far as its protocol."""
        self._tasks.discard(task)
        if visitor.transport is not None:
            return
        client.close()
        error = None if task.cancelled() else task.exception()
        if error is None:
            reason = "server stops"
        elif isinstance(error, OSError | EOFError):
            what = "TLS handshake failed" if visitor.session.implicit_tls else "connection lost"
            reason = f"{what}: {_words(error)}"
        else:
            reason = "internal error"
            self._log.error("session.error", error=repr(error), **describe(visitor.session))
        self._sessions.finish(visitor.session, reason)


class _Visitor:
    """An admitted client on its way: its protocol and its transport, as soon as they are there."""

    def __init__(self, open_session: OpenSession, session: Session, services: Services) -> None:
        self._open_session = open_session
        self._services = services
        self._protocol: Any = None
        self.session = session
        self.transport: asyncio.BaseTransport | None = None
        self.task: asyncio.Task[None] | None = None

    def open(self) -> asyncio.BaseProtocol:
        self._protocol = self._open_session(self.session, self._services)
        return self._protocol  # type: ignore[no-any-return]

    def shutdown(self) -> None:
        """End politely; a client that is still in its handshake is sent away."""
        if self.transport is None:
            self.abort()
        else:
            self._protocol.shutdown()

    def abort(self) -> None:
        """End at once."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()
        elif self.task is not None:
            self.task.cancel()


def describe(session: Session) -> dict[str, Any]:
    """Return what the log says of a session."""
    return {
        "session": session.id,
        "protocol": session.port.protocol.value,
        "port_id": session.port.id,
        "peer": address_text(session.peer),
        "peer_port": session.peer_port,
        "range": session.ip_range.name,
    }


def _tls_of(
    port: Port, context: ssl.SSLContext | None
) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    if port.connection_security is ConnectionSecurity.NONE:
        return None, None
    if context is None:
        raise OSError("its connection security needs a certificate, and it has none")
    return (context, None) if port.connection_security is ConnectionSecurity.TLS else (None, context)


def _capacity() -> int:
    """Return for how many clients this process has descriptors."""
    descriptors = os.sysconf("SC_OPEN_MAX")
    return max(1, descriptors - min(limits.RESERVED_DESCRIPTORS, descriptors // 4))


def _words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
