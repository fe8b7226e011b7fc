"""A plain aiosmtpd mail sink, as a user of aiosmtpd writes one: its SMTP class on listeners of its own.

    python -m conformance.adapters.programs.aiosmtpd_server MAILDIR NAME=ADDRESS/PORT …

Mail is stored in a maildir. Each listener opens, or is reported; the others run. One JSON line for each on
stdout, then ``{"event": "ready"}``; SIGTERM ends it.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from pathlib import Path

from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import SMTP

BACKLOG = 100
"""What asyncio takes by default."""


def _listen(address: str, port: int) -> socket.socket:
    """Open a listening socket with the options that asyncio's `create_server` sets."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # The protocol by its number: asyncio sends small answers at once on such sockets only.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _say(event: str, **fields: str | int) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


async def _serve(maildir: Path, entries: list[str]) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    handler = Mailbox(maildir)
    servers = []
    for entry in entries:
        name, _, place = entry.partition("=")
        address, _, number = place.rpartition("/")
        try:
            listener = _listen(address, int(number))
        except OSError as error:
            words = f"{address} port {number} cannot be opened: {error.strerror}"
            _say("listener.failed", name=name, port=int(number), error=words)
            continue
        servers.append(await loop.create_server(lambda: SMTP(handler, enable_SMTPUTF8=True), sock=listener))
        _say("listener.open", name=name, port=listener.getsockname()[1])
    _say("ready")
    await stopped.wait()
    for server in servers:
        server.close()


def main() -> None:
    """Run until SIGTERM."""
    asyncio.run(_serve(Path(sys.argv[1]), sys.argv[2:]))


if __name__ == "__main__":
    main()
