"""The raw client: one TCP connection from one address, and what came of it.

An outcome is decided from the client's side of the socket alone. ``served`` is the strictest: a complete
positive greeting of the right protocol, and an answer to one harmless question (`session.confirm`), so that
a greeting with an immediate close is ``closed_after_text`` and a greeting with a dead session ``hung``.
Text that is no greeting is waited out: closed within the limit is ``closed_after_text``, later is ``hung``
with the text in ``detail``. The client says nothing before the greeting, so FIN and RST are the server's own.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterable

from conformance.adapters.base import ProtocolName
from conformance.addresses import LOOPBACK_V4, LOOPBACK_V6, Address, canonical, parse, with_port
from conformance.clients.channel import CLOSES, Channel, Ended, now
from conformance.clients.outcome import Observation, Outcome
from conformance.clients.record import Record, printable
from conformance.clients.reply import classify_greeting, split_greeting
from conformance.clients.session import PATIENCE, ClientSession, confirm, say_goodbye
from conformance.errors import MachineError
from conformance.network import safety
from conformance.network.modes import Network

MAX_GREETING = 65_536
"""Octets before a greeting must be complete; RFC 5321 §4.5.3.1.5 allows 512 a line."""
_IPV6_FREEBIND = 78
_UNREACHABLE = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EACCES, errno.EPERM, errno.EADDRNOTAVAIL}
)
# What the kernel reports at connect when the handshake was complete and the server closed meanwhile.
_CLOSED_MEANWHILE = {errno.ECONNRESET: Outcome.RESET, errno.EPIPE: Outcome.CLOSED_SILENT}


class Connector:
    """Makes connections within the bounds of a network; see `network.safety`."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def observe(
        self,
        target: Address,
        port: int,
        *,
        protocol: ProtocolName,
        source: Address | None,
        record: Record,
        patience: float = PATIENCE,
        keep: bool = False,
    ) -> tuple[Observation, ClientSession | None]:
        """Connect to ``target`` and say what came of it.

        ``source`` None is the loopback address of the target's family. ``patience`` (seconds) holds for the
        handshake, from there for greeting or close, and for the answer that confirms a greeting. A served
        session is returned open with ``keep``; otherwise it is ended politely before this returns, so that
        its place at the server is free again. Raises MachineError when ``source`` cannot be used here.
        """
        channel = self.open(target, port, source=source, record=record, patience=patience)
        if isinstance(channel, Observation):
            return channel, None
        served = False
        try:
            observation = _watch(channel, protocol, with_port(canonical(_plain(target)), port), patience)
            served = observation.outcome is Outcome.SERVED
            if not served:
                return observation, None
            if keep:
                return observation, ClientSession(channel, protocol, observation.received)
            say_goodbye(channel, protocol)
            return observation, None
        finally:
            if not (served and keep):
                channel.close()

    def open(
        self,
        target: Address,
        port: int,
        *,
        source: Address | None,
        record: Record,
        patience: float = PATIENCE,
        secrets: Iterable[str] = (),
    ) -> Channel | Observation:
        """Complete a handshake and return the channel (the caller closes it), or what came instead."""
        target = _plain(target)
        wanted = (
            _plain(source) if source is not None else (LOOPBACK_V4 if target.version == 4 else LOOPBACK_V6)
        )
        safety.check(target, "connect to")
        safety.check(wanted, "connect from")
        goal = with_port(canonical(target), port)
        if wanted.version != target.version:
            raise MachineError(f"a client at {wanted} cannot connect to {goal}: another address family")
        try:
            sock = _bound_socket(wanted)
        except OSError as error:
            if source is None:  # the host has no such loopback address: nobody gets to the target from here
                record("client", "error", f"no source address for {goal}: {error.strerror}")
                return Observation(Outcome.UNREACHABLE, canonical(wanted), goal, detail=str(error.strerror))
            raise MachineError(f"cannot use the source address {wanted}: {error.strerror}") from error
        try:
            return self._handshake(sock, target, port, wanted, record, patience, secrets)
        except BaseException:
            sock.close()
            raise

    def _handshake(
        self,
        sock: socket.socket,
        target: Address,
        port: int,
        wanted: Address,
        record: Record,
        patience: float,
        secrets: Iterable[str],
    ) -> Channel | Observation:
        goal = with_port(canonical(target), port)
        who = f"client{_named(sock)}"
        record(who, "connect", goal)
        sock.settimeout(patience)
        started = now()
        try:
            sock.connect(sockaddr(target, port))
        except OSError as error:
            return _not_connected(sock, error, wanted, goal, who, record, started)
        _check_source(sock, wanted)
        return Channel(sock, who, record, started=started, local=canonical(wanted), secrets=secrets)


def sockaddr(address: Address, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """Return what the socket module takes for ``address``, its zone included."""
    if address.version == 4:
        return (str(address), port)
    zone = address.scope_id
    return (str(address).partition("%")[0], port, 0, socket.if_nametoindex(zone) if zone else 0)


def _plain(address: Address) -> Address:
    """Return a v4-mapped address as IPv4, which it is on the wire (RFC 4291 §2.5.5.2)."""
    return (address.ipv4_mapped or address) if address.version == 6 else address


def _bound_socket(source: Address) -> socket.socket:
    sock = socket.socket(socket.AF_INET if source.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        if source.version == 6 and source != LOOPBACK_V6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        sock.bind(sockaddr(source, 0))
        _check_source(sock, source)
    except BaseException:
        sock.close()
        raise
    return sock


def _named(sock: socket.socket) -> str:
    name = sock.getsockname()
    return with_port(name[0], name[1])


def _check_source(sock: socket.socket, wanted: Address) -> None:
    # Some IPv4 sources (224.0.0.1, 255.255.255.255) are silently replaced by the kernel.
    used = parse(str(sock.getsockname()[0]).partition("%")[0])
    if int(used) != int(wanted):
        raise MachineError(f"the system uses the source address {used} in place of {wanted}")


def _not_connected(
    sock: socket.socket, error: OSError, source: Address, goal: str, who: str, record: Record, started: float
) -> Observation:
    after = now() - started
    words = error.strerror or str(error)
    name = canonical(source)
    meanwhile = _CLOSED_MEANWHILE.get(error.errno or 0)
    if meanwhile is not None:
        received = _what_came_before(sock)
        sock.close()
        if received:
            record(who, "received", printable(received))
        record(who, "reset" if meanwhile is Outcome.RESET else "closed", words)
        return Observation(
            Outcome.CLOSED_AFTER_TEXT if received else meanwhile,
            name,
            goal,
            received=received,
            connected_after=after,
            first_byte_after=after if received else None,
            closed_after=after,
            detail=str(Ended.RST if meanwhile is Outcome.RESET else Ended.FIN),
        )
    sock.close()
    record(who, "error", words)
    if isinstance(error, ConnectionRefusedError):
        return Observation(Outcome.REFUSED, name, goal, closed_after=after, detail=words)
    if isinstance(error, TimeoutError):
        return Observation(Outcome.FILTERED, name, goal, detail=f"nothing came back in {after:.1f} s")
    if error.errno in _UNREACHABLE:
        return Observation(Outcome.UNREACHABLE, name, goal, detail=words)
    raise MachineError(f"connecting from {name} to {goal}: {words}") from error


def _what_came_before(sock: socket.socket) -> bytes:
    """Return the octets that wait in a socket whose connection is over already."""
    received = b""
    sock.settimeout(0)
    with contextlib.suppress(OSError):
        while len(received) < MAX_GREETING and (data := sock.recv(MAX_GREETING)):
            received += data
    return received


def _watch(channel: Channel, protocol: ProtocolName, goal: str, patience: float) -> Observation:
    """Read until the outcome is decided; the channel stays open."""
    deadline = channel.started + channel.connected_after + patience
    received = b""
    while True:
        data = channel.receive(deadline)
        if isinstance(data, Ended):
            return _without_greeting(channel, goal, received, data)
        received += data
        kind = classify_greeting(protocol, received)
        if kind == "other_protocol":
            return _observation(
                channel, goal, Outcome.WRONG_PROTOCOL, received, "a greeting of another protocol"
            )
        if kind == "positive":
            return _with_greeting(channel, protocol, goal, received, patience)
        if kind == "negative" or len(received) > MAX_GREETING:
            # No greeting any more, whatever follows: only the close counts now, and nothing is kept.
            end = channel.await_close(deadline)
            return _without_greeting(channel, goal, received[:MAX_GREETING], end)


def _with_greeting(
    channel: Channel, protocol: ProtocolName, goal: str, received: bytes, patience: float
) -> Observation:
    greeting, rest = split_greeting(protocol, received)
    channel.unread(rest)
    readiness = confirm(channel, protocol, patience)
    if readiness.ready:
        return _observation(channel, goal, Outcome.SERVED, greeting, readiness.detail)
    outcome = Outcome.CLOSED_AFTER_TEXT if readiness.ended in CLOSES else Outcome.HUNG
    return _observation(channel, goal, outcome, received, readiness.detail)


def _without_greeting(channel: Channel, goal: str, received: bytes, end: Ended) -> Observation:
    if end in CLOSES:
        if received:
            outcome = Outcome.CLOSED_AFTER_TEXT
        else:
            outcome = Outcome.RESET if end is Ended.RST else Outcome.CLOSED_SILENT
        return _observation(channel, goal, outcome, received, str(end))
    said = f"; it had said {printable(received)!r}" if received else ""
    return _observation(channel, goal, Outcome.HUNG, received, f"{end}{said}")


def _observation(channel: Channel, goal: str, outcome: Outcome, received: bytes, detail: str) -> Observation:
    return Observation(
        outcome,
        channel.local,
        goal,
        received=received,
        connected_after=channel.connected_after,
        first_byte_after=channel.first_byte_after,
        closed_after=channel.closed_after,
        detail=detail,
    )
