"""One client's connection: lines in, bytes out, TLS upgrade, time-outs, one orderly end. No protocol's words.

A protocol subclasses `Conversation` and writes `converse`, a coroutine that reads and answers one command
after the other; nothing of one client ever runs twice at a time.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NoReturn

from reference_server import limits
from reference_server.session import Services, Session
from reference_server.settings import ConnectionSecurity

log = logging.getLogger(__name__)


class Disconnected(Exception):  # noqa: N818 - an event, not an error
    """The client has gone, or has said its last byte."""


class ShuttingDown(Exception):  # noqa: N818
    """The server stops, and no command is running."""


class IdleTooLong(Exception):  # noqa: N818
    """The client was silent for too long."""


class Ending(Exception):  # noqa: N818
    """The session ends, everything was said; the argument is the reason."""


class LineTooLong(Exception):  # noqa: N818
    """A line above the limit came; it was read to its end and thrown away."""


class TlsFailed(Exception):  # noqa: N818
    """The handshake after STARTTLS or STLS failed; nothing more can be said."""


class Conversation(asyncio.Protocol, ABC):
    """An `asyncio.Protocol` that runs `converse` from the greeting to the end."""

    def __init__(self, client: Session, services: Services) -> None:
        self.client = client
        self.services = services
        self.tls = client.implicit_tls
        self._connection: asyncio.Transport | None = None
        self._input = bytearray()
        self._reading_paused = False
        self._eof = False
        self._stopping = False
        self._waiter: asyncio.Future[None] | None = None
        self._interruptible = False
        self._lost = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._task: asyncio.Task[None] | None = None

    # --- for the protocols ----------------------------------------------------------------------------

    @abstractmethod
    async def converse(self) -> NoReturn:
        """Greet and serve the client until it leaves; raises Ending."""

    def farewell(self, reason: Exception) -> bytes:  # noqa: ARG002
        """Return what to say before we end the session for ``reason`` (time-out, shutdown, our fault)."""
        return b""

    @property
    def tls_required(self) -> bool:
        """Whether nothing confidential may be said yet: the port wants STARTTLS first."""
        required = self.client.port.connection_security is ConnectionSecurity.STARTTLS_REQUIRED
        return required and not self.tls

    @property
    def tls_offered(self) -> bool:
        """Whether STARTTLS or STLS can be used now."""
        return self.client.starttls is not None and not self.tls

    @property
    def login_allowed(self) -> bool:
        """Whether a password may come over this connection as it is now."""
        return self.tls or not (self.tls_required or self.client.ip_range.require_tls_for_auth)

    async def read_line(
        self,
        limit: int,
        timeout: float,
        *,
        interruptible: bool = True,
        until: Callable[[], bool] = lambda: False,
    ) -> bytes:
        """Return the next line with its end (LF, whatever came before it).

        Raises LineTooLong above ``limit`` octets, Disconnected, IdleTooLong after ``timeout`` seconds without
        anything new; and, when ``interruptible`` (between commands), ShuttingDown. Returns nothing as soon as
        ``until`` is true; it is asked again after each `wake`.
        """
        discarding = False
        start = 0
        while True:
            if interruptible and self._stopping:
                raise ShuttingDown
            if until():
                return b""
            end = self._input.find(b"\n", start)
            if end >= 0:
                line = bytes(self._input[: end + 1])
                del self._input[: end + 1]
                if discarding or len(line) > limit:
                    raise LineTooLong
                return line
            if discarding or len(self._input) > limit:
                discarding = True
                self._input.clear()
            start = len(self._input)
            await self._more(timeout, interruptible=interruptible)

    async def read_some(self, timeout: float, most: int = 0) -> bytes:
        """Return what has come for the running command: at least one octet, at most ``most`` when given."""
        while not self._input:
            await self._more(timeout, interruptible=False)
        size = min(most, len(self._input)) if most else len(self._input)
        data = bytes(self._input[:size])
        del self._input[:size]
        return data

    def unread(self, data: bytes) -> None:
        """Give back what belongs to the next command."""
        self._input[:0] = data

    async def send(self, *pieces: bytes) -> None:
        """Write ``pieces`` and wait until the client keeps up.

        Raises Disconnected when it has gone or takes nothing for `limits.WRITE_TIMEOUT`.
        """
        for piece in pieces:
            for start in range(0, len(piece), limits.OUTPUT_SLICE):
                transport = self._live()
                transport.write(piece[start : start + limits.OUTPUT_SLICE])
                if not self._writable.is_set():
                    await self._drained(transport)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Upgrade the connection; what came before the handshake is thrown away (RFC 3207 section 6)."""
        self._input.clear()
        transport = self._live()
        try:
            upgraded = await asyncio.get_running_loop().start_tls(
                transport,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=limits.TLS_HANDSHAKE_TIMEOUT,
                ssl_shutdown_timeout=limits.CLOSE_TIMEOUT,
            )
        except OSError as error:
            # The loop tells a failed handshake to nobody but us.
            self._lost.set()
            raise TlsFailed from error
        if upgraded is None:
            self._lost.set()
            raise TlsFailed
        self._reading_paused = False
        self._connection = upgraded
        self.tls = True

    # --- for the server -------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """End politely: at once between commands, else after the command that is running."""
        self._stopping = True
        if self._interruptible:
            self.wake()

    # --- asyncio.Protocol -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the conversation."""
        assert isinstance(transport, asyncio.Transport)
        self._connection = transport
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"session {self.client.id}")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Wake whoever waits for the client."""
        self._eof = True
        self._lost.set()
        self._writable.set()
        self.wake()

    def data_received(self, data: bytes) -> None:
        """Keep ``data`` for the reader; a client that sends faster than we read is held back."""
        self._input += data
        if len(self._input) > limits.INPUT_HIGH and not self._reading_paused and self._connection is not None:
            self._reading_paused = True
            self._connection.pause_reading()
        self.wake()

    def eof_received(self) -> bool:
        """Let a client that closed its half have its answers; TLS knows no half."""
        self._eof = True
        self.wake()
        return not self.tls

    def pause_writing(self) -> None:
        """Stop `send`: the client is slow."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let `send` go on."""
        self._writable.set()

    # --- inside ---------------------------------------------------------------------------------------

    def _live(self) -> asyncio.Transport:
        if self._connection is None or self._lost.is_set() or self._connection.is_closing():
            raise Disconnected
        return self._connection

    def wake(self) -> None:
        """Let a waiting `read_line` look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _more(self, timeout: float, *, interruptible: bool) -> None:
        """Wait for something new from the client."""
        if self._eof:
            raise Disconnected
        if self._reading_paused:
            self._reading_paused = False
            self._live().resume_reading()
        self._waiter = asyncio.get_running_loop().create_future()
        self._interruptible = interruptible
        try:
            async with asyncio.timeout(timeout):
                await self._waiter
        except TimeoutError:
            raise IdleTooLong from None
        finally:
            self._waiter = None
            self._interruptible = False

    async def _drained(self, transport: asyncio.Transport) -> None:
        try:
            async with asyncio.timeout(limits.WRITE_TIMEOUT):
                await self._writable.wait()
        except TimeoutError:
            transport.abort()
            raise Disconnected from None

    async def _run(self) -> None:
        reason = "cancelled"
        try:
            reason = await self._conversation()
        finally:
            try:
                await self._close()
            finally:
                self.services.finished(self.client, reason)

    async def _conversation(self) -> str:
        try:
            await self.converse()
        except Ending as ending:
            return str(ending)
        except Disconnected:
            return "client disconnected"
        except TlsFailed as error:
            return f"TLS handshake failed: {error.__cause__}"
        except ShuttingDown as error:
            await self._last_words(error)
            return "server stops"
        except IdleTooLong as error:
            await self._last_words(error)
            return "timed out"
        except Exception as error:
            # Nothing of it is for the client's eyes.
            log.exception("session %d failed", self.client.id)
            await self._last_words(error)
            return "internal error"

    async def _last_words(self, reason: Exception) -> None:
        try:
            async with asyncio.timeout(limits.CLOSE_TIMEOUT):
                await self.send(self.farewell(reason))
        except (Disconnected, TimeoutError):
            pass

    async def _close(self) -> None:
        """Flush and close; a client that does not let us is cut off."""
        transport = self._connection
        if transport is None or self._lost.is_set():
            if transport is not None:
                transport.abort()
            return
        try:
            transport.close()
            async with asyncio.timeout(limits.CLOSE_TIMEOUT):
                await self._lost.wait()
        except TimeoutError:
            pass
        finally:
            if not self._lost.is_set():
                transport.abort()
