"""Serving the administration: one listening socket of ours, and uvicorn in the event loop of the server.

Importing this module, and `build_app`, take a second on a slow machine: do both in a thread, when the
listeners are open.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn

from reference_server.addresses import IPAddress, with_port
from reference_server.admin.api import create_app
from reference_server.admin.guard import Guard
from reference_server.admin.operations import Operations

GRACE = 2
"""Seconds that running requests have when the server stops."""
BACKLOG = 128
_TICK = 1.0
"""Seconds between two looks at the clock, for the ``Date`` field."""


def build_app(operations: Operations) -> Guard:
    """Return the application to serve; one for all sockets."""
    return Guard(create_app(operations), operations.check_administrator)


class AdminServer:
    """The administration on one address."""

    def __init__(
        self,
        app: Any,
        address: IPAddress,
        port: int,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        """``port`` 0 asks for any free number. Raises ValueError: beyond loopback TLS is needed."""
        if certificate is None and not address.is_loopback:
            raise ValueError(
                f"{address}: passwords would cross the network in clear; give a certificate and its key, "
                "or use 127.0.0.1 or ::1"
            )
        self._app = app
        self._address = address
        self._port = port
        self._certificate = certificate
        self._key = key
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Serve, and return the port number. Raises OSError, also for an unusable certificate."""
        config = uvicorn.Config(
            self._app,
            log_config=None,
            access_log=False,
            lifespan="off",
            http="h11",
            ws="none",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE,
        )
        config.load()
        if self._certificate is not None:
            config.ssl = await asyncio.to_thread(self._context, self._certificate)
        listening = _listen(self._address, self._port)
        self._server = _Server(config)
        ready = asyncio.get_running_loop().create_future()
        self._serving = asyncio.create_task(self._server.run_on(listening, ready))
        try:
            await asyncio.wait([ready, self._serving], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self.stop()
            raise
        if self._serving.done():
            listening.close()
            failed, self._server, self._serving = self._serving, None, None
            failed.result()
        self._port = listening.getsockname()[1]
        return self._port

    async def stop(self) -> None:
        """Finish the requests that are running, `GRACE` seconds at most, and close. Idempotent."""
        if self._server is not None and self._serving is not None:
            self._server.end()
            await self._serving
        self._server = self._serving = None

    @property
    def url(self) -> str:
        """Where it is: scheme, address, port."""
        return f"{'http' if self._certificate is None else 'https'}://{with_port(self._address, self._port)}"

    def _context(self, certificate: Path) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Without an answer at hand OpenSSL would ask the terminal for the key's password.
        context.load_cert_chain(certificate, self._key, password=lambda: b"")
        return context


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, and without its ten looks a second at whether to end."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ended = asyncio.Event()
        self._ready: asyncio.Future[None] | None = None

    async def run_on(self, listening: socket.socket, ready: asyncio.Future[None]) -> None:
        """Serve until `end`; ``ready`` is done when clients are answered."""
        self._ready = ready
        await self.serve(sockets=[listening])

    def end(self) -> None:
        """Ask `run_on` to return."""
        self.should_exit = True
        self._ended.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the server."""
        yield

    async def main_loop(self) -> None:
        """Keep the ``Date`` field right, and wait for the end."""
        counter = 0
        while not await self.on_tick(counter):
            if self._ready is not None and not self._ready.done():
                self._ready.set_result(None)
            counter += 10  # uvicorn counts tenths of seconds
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), _TICK)


def _listen(address: IPAddress, port: int) -> socket.socket:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    # With the protocol named, asyncio sets TCP_NODELAY: answers in two parts would wait 40 ms for an ACK.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.version == 6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((address.compressed, port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening
