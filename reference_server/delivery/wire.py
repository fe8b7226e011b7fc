"""One outgoing connection: lines in, bytes out, TLS, time-outs of the server's clock. No word of SMTP.

The bytes go out exactly as they are given. asyncio's own streams keep what came before a TLS handshake for
after it, and an attacker's commands would count as the server's: here it is thrown away (RFC 3207 section 6).
"""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Any

from reference_server import limits
from reference_server.addresses import IPAddress, peer_address
from reference_server.clock import Clock


class Lost(Exception):  # noqa: N818 - an event
    """The connection is gone; the message says how, in plain words."""


class Wire(asyncio.Protocol):
    """The connection. All time-outs in seconds; each call raises `Lost` when the other side has gone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._transport: asyncio.Transport | None = None
        self._input = bytearray()
        self._why = ""
        self._waiter: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._closed = asyncio.Event()
        self.tls = False

    @property
    def local(self) -> IPAddress:
        """Our own address on this connection."""
        assert self._transport is not None
        return peer_address(self._transport.get_extra_info("sockname")[0])

    @property
    def ended(self) -> bool:
        """Whether the other side has closed, or said something that nobody asked for."""
        return bool(self._why or self._input)

    async def read_line(self, timeout: float) -> bytes:
        """Return the next line without its end. Raises Lost, also for an endless line or a late one."""
        try:
            async with self._clock.timeout(timeout):
                while (end := self._input.find(b"\n")) < 0:
                    if len(self._input) > limits.OUT_REPLY_LINE:
                        raise Lost("it sent an endless line")
                    if self._why:
                        raise Lost(self._why)
                    self._waiter = asyncio.get_running_loop().create_future()
                    await self._waiter
        except TimeoutError:
            raise Lost(f"no answer within {timeout:.0f} s") from None
        line = bytes(self._input[:end])
        del self._input[: end + 1]
        return line.removesuffix(b"\r")

    async def write(self, data: bytes | memoryview, timeout: float) -> None:
        """Write, and wait until the other side keeps up."""
        if self._transport is None or self._transport.is_closing() or self._closed.is_set():
            raise Lost(self._why or "it closed the connection")
        self._transport.write(data)
        if self._writable.is_set():
            return
        try:
            async with self._clock.timeout(timeout):
                await self._writable.wait()
        except TimeoutError:
            raise Lost(f"it took no data for {timeout:.0f} s") from None
        if self._closed.is_set():
            raise Lost(self._why)

    async def start_tls(self, context: ssl.SSLContext, server_name: str | None) -> None:
        """Upgrade; what came before is thrown away. Raises Lost."""
        assert self._transport is not None
        self._input.clear()
        try:
            async with self._clock.timeout(limits.TLS_HANDSHAKE_TIMEOUT):
                upgraded = await asyncio.get_running_loop().start_tls(
                    self._transport,
                    self,
                    context,
                    server_hostname=server_name,
                    ssl_handshake_timeout=limits.TLS_HANDSHAKE_TIMEOUT,
                    ssl_shutdown_timeout=limits.OUT_QUIT,
                )
        except TimeoutError:
            raise Lost("no TLS handshake within the time") from None
        except (OSError, EOFError) as error:
            raise Lost(f"TLS handshake failed: {words(error)}") from None
        if upgraded is None:
            raise Lost("TLS handshake failed: it closed the connection")
        self._transport = upgraded
        self.tls = True

    async def close(self) -> None:
        """End the connection; when it does not end by itself, it is cut."""
        if self._transport is None:
            return
        self._transport.close()
        try:
            async with self._clock.timeout(limits.OUT_QUIT):
                await self._closed.wait()
        except TimeoutError:
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Cut the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep ``data`` for the reader."""
        self._input += data
        if len(self._input) > limits.INPUT_HIGH:
            self._why = "it sent without end"
            self.abort()
        self._wake()

    def eof_received(self) -> bool:
        """Take the half that was closed for the whole: a server has nothing to hear from us then."""
        self._why = self._why or "it closed the connection"
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits."""
        self._why = self._why or (words(exc) if exc is not None else "it closed the connection")
        self._closed.set()
        self._writable.set()
        self._wake()

    def pause_writing(self) -> None:
        """Hold `write`."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let `write` go on."""
        self._writable.set()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def words(error: BaseException) -> str:
    """Return in plain words what went wrong with a connection."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)  # asyncio's own words name the address a second time
    return str(error) or type(error).__name__


async def cancelled(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and return when they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
