"""One connected socket: bytes in and out, each within a limit of size and time, all of it recorded."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterable
from enum import StrEnum

from conformance.clients.record import Kind, Record, printable, without

CHUNK = 16_384
"""Octets of one read."""
MAX_LINE = 65_536
"""Octets of one line from the server: 64 times what any of the protocols allows (RFC 5321 §4.5.3.1.5)."""
MAX_TOTAL = 32 * 1024 * 1024
"""Octets that one connection may bring: more than the largest message that a scenario sends."""
MAX_EVENTS = 500
"""Transcript events of one connection."""


class Ended(StrEnum):
    """Why no further byte came."""

    FIN = "closed by the server (FIN)"
    RST = "reset by the server (RST)"
    SILENCE = "no answer within the limit"
    FLOOD = "more octets than an answer may have"


CLOSES = frozenset({Ended.FIN, Ended.RST})


def now() -> float:
    """Return the clock of all deadlines, in seconds."""
    return time.monotonic()


class Channel:
    """A connected socket, owned by this object.

    Times are seconds from ``started`` (the first SYN). The caller closes it: `close`, or `reset`.
    """

    def __init__(
        self,
        sock: socket.socket,
        who: str,
        record: Record,
        *,
        started: float,
        local: str = "",
        secrets: Iterable[str] = (),
    ) -> None:
        self._socket = sock
        self._record = record
        self._secrets = tuple(secrets)
        self._buffer = bytearray()
        self._events = 0
        self._total = 0
        self._scanned = 0
        self.who = who
        self.local = local
        """Our address, canonical."""
        self.started = started
        self.connected_after = now() - started
        self.first_byte_after: float | None = None
        self.closed_after: float | None = None
        self.ended: Ended | None = None
        """FIN, RST or FLOOD, once it was seen; it stays."""

    @property
    def buffered(self) -> bytes:
        """What came and was not taken as a line yet."""
        return bytes(self._buffer)

    @property
    def is_open(self) -> bool:
        """Say whether our end is open."""
        return self._socket.fileno() >= 0

    def hide(self, secrets: Iterable[str]) -> None:
        """Hide these texts, too, in everything that is recorded from now on."""
        self._secrets += tuple(secrets)

    def note(self, text: str) -> None:
        """Record a remark."""
        self._record(self.who, "note", without(self._secrets, text))

    def receive(self, deadline: float) -> bytes | Ended:
        """Return the next octets, or why there are none. ``deadline`` is a value of `now`.

        SILENCE can be followed by octets, in a later call; the other ends stay.
        """
        if self.ended is not None:
            return self.ended
        try:
            self._socket.settimeout(max(deadline - now(), 0.001))
            data = self._socket.recv(CHUNK)
        except TimeoutError:
            return Ended.SILENCE
        except BrokenPipeError:  # the kernel's word for RST after FIN: the FIN came first
            return self._end(Ended.FIN)
        except OSError:
            return self._end(Ended.RST)
        if not data:
            return self._end(Ended.FIN)
        if self.first_byte_after is None:
            self.first_byte_after = now() - self.started
        self._total += len(data)
        self._show("received", data)
        if self._total > MAX_TOTAL:
            return self._end(Ended.FLOOD)
        return data

    def line(self, deadline: float) -> bytes | Ended:
        """Return the next line without its CRLF (a bare LF ends one too), or why there is none.

        At an end by FIN or RST an unfinished line stays in `buffered`.
        """
        while True:
            end = self._buffer.find(b"\n", self._scanned)
            if end >= 0:
                line = bytes(self._buffer[:end]).removesuffix(b"\r")
                del self._buffer[: end + 1]
                self._scanned = 0
                return line
            self._scanned = len(self._buffer)
            if len(self._buffer) > MAX_LINE:
                return self._end(Ended.FLOOD)
            data = self.receive(deadline)
            if isinstance(data, Ended):
                return data
            self._buffer += data

    def unread(self, data: bytes) -> None:
        """Put octets that `receive` gave back before what is buffered."""
        self._buffer[:0] = data
        self._scanned = 0

    def send(self, data: bytes, deadline: float, *, shown: str | None = None) -> Ended | None:
        """Send all of ``data``; return None, or why that was not possible.

        ``shown`` replaces the data in the transcript. RST here means that the server no longer takes
        octets: what it said before can still be read.
        """
        self._show("sent", data if shown is None else shown)
        try:
            self._socket.settimeout(max(deadline - now(), 0.001))
            self._socket.sendall(data)
        except TimeoutError:
            self._show("error", "the server does not read what it is sent")
            return Ended.SILENCE
        except OSError as error:
            self._show("error", f"sending: {error.strerror or error}")
            return Ended.RST
        return None

    def await_close(self, deadline: float) -> Ended:
        """Read and drop until the server closes; return how it ended."""
        while True:
            data = self.receive(deadline)
            if isinstance(data, Ended):
                return data

    def close(self) -> None:
        """Close our end, with FIN unless octets of the server wait unread. Idempotent."""
        if self.is_open:
            if self.ended is None:
                self._record(self.who, "action", "close")
            with contextlib.suppress(OSError):
                self._socket.close()

    def reset(self) -> None:
        """Close our end with RST (linger 0). Idempotent."""
        if self.is_open:
            self._record(self.who, "action", "reset")
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                self._socket.close()

    def _end(self, how: Ended) -> Ended:
        self.ended = how
        if how in CLOSES:
            self.closed_after = now() - self.started
            self._record(self.who, "reset" if how is Ended.RST else "closed", str(how))
        else:
            self._record(self.who, "error", str(how))
        return how

    def _show(self, kind: Kind, text: str | bytes) -> None:
        self._events += 1
        if self._events > MAX_EVENTS:
            if self._events == MAX_EVENTS + 1:
                self._record(self.who, "note", "further octets of this connection are not recorded")
            return
        shown = printable(text) if isinstance(text, bytes) else text
        self._record(self.who, kind, without(self._secrets, shown))
