"""The client that comes from many addresses: one connection from each, many of them at a time.

One thread and one epoll; every connection gets the `Observation` that `connect.Connector` would have made of
it: ``served`` takes an answer to a harmless question as well. Times are of this loop: a delay is seen as late
as the loop comes to it, a few milliseconds. Linux only.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic as now

from conformance.adapters.base import ProtocolName
from conformance.addresses import LOOPBACK_V6, Address, canonical, is_loopback, parse, with_port
from conformance.clients.channel import Ended
from conformance.clients.connect import MAX_GREETING, sockaddr
from conformance.clients.outcome import Observation, Outcome
from conformance.clients.record import printable
from conformance.clients.reply import classify_greeting, parse_reply, split_greeting
from conformance.clients.session import FAREWELLS, GOODBYE_PATIENCE, PATIENCE, QUESTIONS, meaning_of
from conformance.errors import MachineError
from conformance.network import safety

AT_ONCE = 64
"""Connections at one time: more make it no quicker, and servers listen with a backlog of 100 and more."""
GIVE_UP = 64
"""So many connections without an end are enough: each costs the whole patience."""

_CHUNK = 16_384
_LOOPBACK_V6 = str(LOOPBACK_V6)
_LOOK = 0.1  # seconds between two looks at the deadlines
_IPV6_FREEBIND = 78
_NEW = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_GONE = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EACCES, errno.EPERM})


@dataclass(frozen=True, slots=True)
class Swept:
    """What came of a sweep."""

    observations: tuple[Observation | None, ...]
    """One for each source, in the order given; None where there was no connection from it."""
    left_out: tuple[tuple[Address, str], ...]
    """Sources that this machine's kernel did not let a client have, with the reason."""
    not_tried: int
    """Sources that were left over when too many connections had hung (`GIVE_UP`)."""
    seconds: float


def sweep(
    target: Address,
    port: int,
    *,
    protocol: ProtocolName,
    sources: Sequence[Address],
    patience: float = PATIENCE,
    at_once: int = AT_ONCE,
) -> Swept:
    """Connect once from each of ``sources`` and say what came of each.

    ``patience`` (seconds) holds for the handshake, from there for greeting or close, and for the answer
    that confirms a greeting. Raises UnsafeAddress for anything but loopback outside a namespace of our own,
    and MachineError for a source of another family, or when there are no descriptors.
    """
    safety.check(target, "connect to")
    for source in sources:
        if source.version != target.version:
            raise MachineError(f"a client at {source} cannot connect to {target}: another address family")
    foreign = [source for source in sources if not is_loopback(source)]
    if foreign and not safety.inside_own_namespace():  # looked at once: this thread does not leave it
        for source in foreign:
            safety.check(source, "connect from")
    poll = select.epoll()
    try:
        return _Sweep(poll, target, port, protocol, sources, patience).run(at_once)
    finally:
        poll.close()


class _Connection:
    """One connection under way."""

    __slots__ = (
        "asked",
        "connected_after",
        "deadline",
        "first_byte_after",
        "index",
        "phase",
        "received",
        "rest",
        "sock",
        "source",
        "started",
    )

    def __init__(self, sock: socket.socket, index: int, source: str, started: float, deadline: float) -> None:
        self.sock = sock
        self.index = index
        self.source = source
        self.started = started
        self.deadline = deadline
        self.connected_after: float | None = None
        self.first_byte_after: float | None = None
        self.received = b""
        self.rest = b""  # after the greeting: the answer to the question
        self.asked = -1  # which of the questions
        self.phase = _GREETING


_GREETING, _ASKED, _LATE, _LEAVING = range(4)


class _Sweep:
    def __init__(
        self,
        poll: select.epoll,
        target: Address,
        port: int,
        protocol: ProtocolName,
        sources: Sequence[Address],
        patience: float,
    ) -> None:
        self._poll = poll
        self._goal = with_port(canonical(target), port)
        self._where = sockaddr(target, port)
        self._family = socket.AF_INET if target.version == 4 else socket.AF_INET6
        self._protocol = protocol
        self._sources = sources
        self._patience = patience
        self._active: dict[int, _Connection] = {}
        self._found: list[Observation | None] = [None] * len(sources)
        self._left_out: list[tuple[Address, str]] = []
        self._stuck = 0

    def run(self, at_once: int) -> Swept:
        began = now()
        waiting = iter(enumerate(self._sources))
        not_tried = 0
        look = began + _LOOK
        try:
            while True:
                if not_tried == 0:
                    self._fill(waiting, at_once)
                if not self._active:
                    break
                for descriptor, events in self._poll.poll(_LOOK):
                    self._happened(self._active[descriptor], events)
                if now() >= look:
                    look = now() + _LOOK
                    self._look_at_the_deadlines()
                    if self._stuck >= GIVE_UP and not_tried == 0:
                        not_tried = sum(1 for _ in waiting)
        finally:
            for connection in self._active.values():
                connection.sock.close()
        return Swept(tuple(self._found), tuple(self._left_out), not_tried, now() - began)

    # --- beginning ---

    def _fill(self, waiting: Iterator[tuple[int, Address]], at_once: int) -> None:
        while len(self._active) < at_once:
            index, source = next(waiting, (-1, None))
            if source is None:
                return
            self._begin(index, source)

    def _begin(self, index: int, source: Address) -> None:
        try:
            sock = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            raise MachineError(f"no socket for a client: {error.strerror}") from error
        text = socket.inet_ntop(self._family, source.packed)
        try:
            if self._family == socket.AF_INET6 and text != _LOOPBACK_V6:
                sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
            sock.bind((text, 0))
            started = now()
            number = sock.connect_ex(self._where)
            used = sock.getsockname()[0]
        except OSError as problem:
            sock.close()
            self._left_out.append((source, problem.strerror or str(problem)))
            return
        connection = _Connection(sock, index, text, started, started + self._patience)
        if number not in (0, errno.EINPROGRESS):
            sock.close()
            if number in _UNREACHABLE:
                self._note(connection, Outcome.UNREACHABLE, None, os.strerror(number))
            elif number == errno.ECONNREFUSED:
                self._note(connection, Outcome.REFUSED, now() - started, os.strerror(number))
            else:
                self._left_out.append((source, os.strerror(number)))
        elif used != text:  # the kernel does that silently with some IPv4 addresses
            sock.close()
            self._left_out.append((source, f"the system uses {used} in its place"))
        else:
            descriptor = sock.fileno()
            self._poll.register(descriptor, _NEW)
            self._active[descriptor] = connection

    # --- what happens to one ---

    def _happened(self, connection: _Connection, events: int) -> None:
        if connection.connected_after is None:
            moment = now()
            connection.connected_after = moment - connection.started
            connection.deadline = moment + self._patience
        if events == select.EPOLLOUT:
            return
        sock = connection.sock
        while True:
            try:
                data = sock.recv(_CHUNK)
            except BlockingIOError:
                return
            except OSError as error:
                self._ended(connection, error)
                return
            if not data:
                self._ended(connection, None)
                return
            self._came(connection, data)
            if sock.fileno() < 0 or (len(data) < _CHUNK and not events & _GONE):
                return
            if now() > connection.deadline:
                self._too_late(connection)
                return

    def _came(self, connection: _Connection, data: bytes) -> None:
        if connection.phase == _GREETING:
            if connection.first_byte_after is None:
                connection.first_byte_after = now() - connection.started
            connection.received += data
            self._greeted(connection)
        elif connection.phase == _ASKED:
            connection.rest += data
            self._answered(connection)

    def _greeted(self, connection: _Connection) -> None:
        kind = classify_greeting(self._protocol, connection.received)
        if kind == "positive":
            connection.received, connection.rest = split_greeting(self._protocol, connection.received)
            connection.phase = _ASKED
            self._ask(connection)
        elif kind == "other_protocol":
            self._note(connection, Outcome.WRONG_PROTOCOL, None, "a greeting of another protocol")
            self._close(connection)
        elif kind == "negative" or len(connection.received) > MAX_GREETING:
            # No greeting any more, whatever follows: only the close counts now, and nothing is kept.
            connection.received = connection.received[:MAX_GREETING]
            connection.phase = _LATE

    def _ask(self, connection: _Connection) -> None:
        connection.asked += 1
        connection.deadline = now() + self._patience
        self._say(connection, QUESTIONS[self._protocol][connection.asked])
        if connection.rest:
            self._answered(connection)

    def _answered(self, connection: _Connection) -> None:
        question = QUESTIONS[self._protocol][connection.asked]
        reply = parse_reply(self._protocol, question, connection.rest)
        if reply is None:
            return
        meaning = "no" if reply.ended is not None else meaning_of(self._protocol, question, reply)
        last = connection.asked == len(QUESTIONS[self._protocol]) - 1
        if meaning == "no":
            connection.deadline = now() + self._patience
            connection.phase = _LATE
        elif meaning == "unknown" and not last:
            connection.rest = b""
            self._ask(connection)
        else:
            detail = "" if meaning == "yes" else f"{question} is not understood, but answered"
            self._note(connection, Outcome.SERVED, None, detail)
            connection.deadline = now() + GOODBYE_PATIENCE
            connection.phase = _LEAVING
            self._say(connection, FAREWELLS[self._protocol])

    def _say(self, connection: _Connection, line: str) -> None:
        try:
            connection.sock.send(f"{line}\r\n".encode())
        except OSError:
            return  # when sending failed the server may have spoken before it closed: reading tells

    # --- ends ---

    def _ended(self, connection: _Connection, error: OSError | None) -> None:
        """Take note of FIN (None), RST, or a handshake that failed, and close."""
        after = now() - connection.started
        number = (error.errno or errno.EIO) if error is not None else 0
        words = os.strerror(number) if number else ""
        if connection.phase == _LEAVING:
            pass
        elif number == errno.ECONNREFUSED:
            connection.connected_after = None
            self._note(connection, Outcome.REFUSED, after, words)
        elif number in _UNREACHABLE:
            connection.connected_after = None
            self._note(connection, Outcome.UNREACHABLE, None, words)
        elif number == errno.ETIMEDOUT and connection.phase == _GREETING and not connection.received:
            connection.connected_after = None
            self._note(connection, Outcome.FILTERED, None, f"nothing came back in {after:.1f} s")
        else:
            # EPIPE is the kernel's word for RST after FIN: the FIN came first.
            how = Ended.FIN if number in (0, errno.EPIPE) else Ended.RST
            text = bool(connection.received)
            silent = Outcome.RESET if how is Ended.RST else Outcome.CLOSED_SILENT
            outcome = Outcome.CLOSED_AFTER_TEXT if text else silent
            self._note(connection, outcome, after, self._explained(connection, how))
        self._close(connection)

    def _look_at_the_deadlines(self) -> None:
        moment = now()
        for connection in [one for one in self._active.values() if one.deadline < moment]:
            self._too_late(connection)

    def _too_late(self, connection: _Connection) -> None:
        if connection.phase != _LEAVING:
            self._stuck += 1
            if connection.connected_after is None:
                detail = f"nothing came back in {self._patience:.1f} s"
                self._note(connection, Outcome.FILTERED, None, detail)
            else:
                self._note(connection, Outcome.HUNG, None, self._explained(connection, Ended.SILENCE))
        self._close(connection)

    def _explained(self, connection: _Connection, how: Ended) -> str:
        if connection.asked < 0:
            said = f"; it had said {printable(connection.received)!r}" if connection.received else ""
            return f"{how}{said}" if how is Ended.SILENCE else str(how)
        question = QUESTIONS[self._protocol][connection.asked]
        answer = f"{printable(connection.rest)!r}, " if connection.rest else ""
        return f"a greeting, then to {question}: {answer}{how}"

    def _note(
        self, connection: _Connection, outcome: Outcome, closed_after: float | None, detail: str
    ) -> None:
        source = connection.source
        if "." in source and ":" in source:  # the C library writes ::a.b.c.d in its own way
            source = canonical(parse(source))
        self._found[connection.index] = Observation(
            outcome,
            source,
            self._goal,
            connection.received,
            connection.connected_after,
            connection.first_byte_after,
            closed_after,
            detail,
        )

    def _close(self, connection: _Connection) -> None:
        del self._active[connection.sock.fileno()]
        connection.sock.close()
