"""A DNS server with the names of one case: UDP and TCP, over IPv4 and IPv6, failing as the case wants it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import dns.flags
import dns.message

from conformance.addresses import Address, parse
from conformance.clients.record import Record, discard
from conformance.peers import dns_messages, sockets
from conformance.peers.names import Failure, Records
from conformance.peers.sockets import Readers

CLIENT_LIMIT = 30.0
"""Seconds that a TCP client may be silent (RFC 7766 §6.2.3 leaves them to us)."""
_UDP = 65_535
_CLASSIC = 512
"""Octets of an answer over UDP, where the question has no EDNS (RFC 1035 §2.3.4)."""

_Send = Callable[[dns.message.Message, int], None]
"""Sends an answer; over UDP of at most so many octets."""


@dataclass(frozen=True, slots=True)
class Query:
    """One question as it came."""

    name: str
    type: str
    over: str
    """``udp`` or ``tcp``."""
    source: Address
    at: float
    """Seconds, of a clock that only goes forward."""


class DnsServer:
    """Opened with `open`, in the network of the calling thread; `close` must be called."""

    def __init__(self, addresses: Sequence[Address], port: int, *, record: Record = discard) -> None:
        self.addresses = tuple(addresses)
        self.port = port
        self._record = record
        self._lock = threading.Lock()
        self._zone: dict[str, Records] = {}
        self._failures: list[tuple[Failure, int | None]] = []
        self._queries: list[Query] = []
        self._readers: Readers | None = None
        self._closing = threading.Event()
        self._workers: dict[threading.Thread, socket.socket | None] = {}

    @property
    def queries(self) -> tuple[Query, ...]:
        """What was asked so far."""
        with self._lock:
            return tuple(self._queries)

    def open(self) -> None:
        """Begin. Raises MachineError when it cannot be where it should."""
        self._readers = Readers("dns server")
        try:
            for address in self.addresses:
                datagrams = sockets.bound(address, self.port, socket.SOCK_DGRAM)
                self._readers.add(datagrams, self._datagram)
                listener = sockets.bound(address, self.port)
                listener.listen(64)
                self._readers.add(listener, self._accept)
        except BaseException:
            self.close()
            raise

    def change(
        self,
        zone: Mapping[str, Records] | None = None,
        *,
        remove: Sequence[str] = (),
        failures: Sequence[Failure] | None = None,
    ) -> None:
        """Give names other records, take names away, fail otherwise from now on; None: as before."""
        with self._lock:
            for name, records in (zone or {}).items():
                self._zone[name.rstrip(".").lower()] = records
            for name in remove:
                self._zone.pop(name.rstrip(".").lower(), None)
            if failures is not None:
                self._failures = [(one, one.times) for one in failures]

    def close(self) -> None:
        """End everything; no thread is left. Idempotent."""
        self._closing.set()
        if self._readers is not None:
            self._readers.close()
            self._readers = None
        with self._lock:
            workers = dict(self._workers)
        for thread, sock in workers.items():
            if sock is not None:
                sockets.wake_for_reset(sock)
            thread.join()
        self._workers.clear()

    # --- in the threads ---------------------------------------------------------------------------------

    def _datagram(self, sock: socket.socket) -> None:
        wire, client = sock.recvfrom(_UDP)

        def send(answer: dns.message.Message, size: int) -> None:
            with contextlib.suppress(OSError):
                sock.sendto(_fitted(answer, size), client)

        def work() -> None:
            self._answer(wire, parse(client[0]), "udp", send)

        # A question that is answered late keeps nobody else waiting.
        self._start(work, None) if self._delays else work()

    def _accept(self, listener: socket.socket) -> None:
        sock, peer = listener.accept()
        sock.setblocking(True)
        sock.settimeout(CLIENT_LIMIT)
        self._start(lambda: self._stream(sock, parse(peer[0])), sock)

    def _start(self, work: Callable[[], None], sock: socket.socket | None) -> None:
        thread = threading.Thread(target=work, daemon=True)
        with self._lock:
            self._workers = {one: kept for one, kept in self._workers.items() if one.is_alive()}
            self._workers[thread] = sock
            thread.start()

    def _stream(self, sock: socket.socket, source: Address) -> None:
        def send(answer: dns.message.Message, _size: int) -> None:
            wire = answer.to_wire(max_size=_UDP)
            sock.sendall(struct.pack("!H", len(wire)) + wire)

        with contextlib.closing(sock), contextlib.suppress(OSError), sock.makefile("rb") as octets:
            while len(head := octets.read(2)) == 2:
                self._answer(octets.read(struct.unpack("!H", head)[0]), source, "tcp", send)

    def _answer(self, wire: bytes, source: Address, over: str, send: _Send) -> None:
        parsed = dns_messages.parse(wire)
        if parsed is None:
            return
        query, question = parsed
        with self._lock:
            self._queries.append(Query(question.name, question.type, over, source, time.monotonic()))
            failure = self._failure(question, over)
            zone = dict(self._zone)
        what = "" if failure is None else failure.answer
        self._record("dns", "received", f"{question.name} {question.type} over {over} {what}".rstrip())
        if failure is not None and failure.delay:
            self._closing.wait(failure.delay)
        if what == "nothing":
            if over == "tcp":
                raise ConnectionAbortedError("no answer")
            return
        answer = dns_messages.answer(query, question, zone, failure)
        if what == "truncated" and over == "udp":
            answer.answer.clear()
            answer.flags |= dns.flags.TC
        send(answer, query.payload or _CLASSIC)

    @property
    def _delays(self) -> bool:
        with self._lock:
            return any(one.delay for one, _left in self._failures)

    def _failure(self, question: dns_messages.Question, over: str) -> Failure | None:
        """Return what goes wrong with this question, and count it."""
        found = dns_messages.fitting(tuple(one for one, left in self._failures if left != 0), question, over)
        for index, (one, left) in enumerate(self._failures):
            if one is found and left is not None:
                self._failures[index] = (one, left - 1)
        return found


def _fitted(answer: dns.message.Message, size: int) -> bytes:
    """Return the answer for UDP: what does not fit is cut, and TC says so (RFC 2181 §9)."""
    wire = answer.to_wire(max_size=_UDP)
    if len(wire) <= max(size, _CLASSIC):
        return wire
    answer.answer.clear()
    answer.flags |= dns.flags.TC
    return answer.to_wire(max_size=_UDP)
