"""The control socket (``--control-socket``): lets a test move the server's clock forward.

A Unix socket, for its owner only. One JSON object a line in, one out:

``{"advance": 3600}``
    moves the clock forward by so many seconds (0 or more, at most a hundred years). Answered, when everything
    that became due has been looked at, with ``{"ok": true, "now": "2030-01-02T03:04:05+00:00", "begun": 2}``:
    the new time, and how many queued messages are being tried now.

What is wrong is answered with ``{"ok": false, "error": "…"}``, and the connection goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from reference_server.log import Log

LONGEST = 100 * 365 * 86400
"""Seconds of one advance: beyond it the time itself ends."""
LINE = 4096

Advance = Callable[[float], Awaitable[Mapping[str, object]]]
"""Moves the clock, and returns what is to be told."""


class ControlSocket:
    """Open from `open` to `close`; raises OSError when it cannot open."""

    def __init__(self, path: Path, advance: Advance, log: Log) -> None:
        self._path = path
        self._advance = advance
        self._log = log
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Listen. A socket that a killed server left is replaced; anything else in its place is an error."""
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(self._path.stat().st_mode):
                self._path.unlink()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(str(self._path))
            os.chmod(self._path, 0o600)  # noqa: PTH101 - before anybody can connect
            self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=LINE)
        except OSError:
            listening.close()
            raise
        self._log.info("control.ready", path=str(self._path))

    async def close(self) -> None:
        """Stop listening, and remove the socket."""
        if self._server is None:
            return
        self._server.close()
        for writer in tuple(self._clients):
            writer.transport.abort()
        await self._server.wait_closed()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError):  # gone, or a line without end
            pass
        finally:
            self._clients.discard(writer)
            writer.close()

    async def _answer(self, line: bytes) -> Mapping[str, object]:
        try:
            seconds = _seconds(line)
        except ValueError as error:
            return {"ok": False, "error": str(error)}
        return {"ok": True, **await self._advance(seconds)}


def _seconds(line: bytes) -> float:
    """Return what ``advance`` says. Raises ValueError for anything else."""
    try:
        order = json.loads(line)
    except ValueError:
        raise ValueError("is not JSON; write one object a line") from None
    if not isinstance(order, dict) or order.keys() != {"advance"}:
        raise ValueError('is no order; write {"advance": 3600}')
    seconds = order["advance"]
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
        raise ValueError("advance: must be a number of seconds")
    if not 0 <= seconds <= LONGEST:
        raise ValueError(f"advance: must be from 0 to {LONGEST}")
    return float(seconds)
