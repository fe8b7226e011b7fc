"""One run of a server in this process: signals, the loop, the exit code."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import signal
import sys

from reference_server.data_directory import DataDirectoryError
from reference_server.log import Log
from reference_server.options import Options
from reference_server.server import Server
from reference_server.settings import InvalidField
from reference_server.storage.database import StorageError

OK = 0
FAILED = 1


def run(options: Options, log: Log, *, plain_errors: bool) -> int:
    """Run until SIGTERM or SIGINT; return the exit code. A second signal ends the sessions at once.

    ``plain_errors``: why it cannot start goes to standard error as one line, not as an event of the log.
    """
    _raise_descriptor_limit()
    try:
        asyncio.run(_serve(options, log))
    except (DataDirectoryError, StorageError, InvalidField) as error:
        if plain_errors:
            print(f"reference-server: {error}", file=sys.stderr)
        else:
            log.error("server.failed", error=str(error))  # noqa: TRY400 - an event, not a traceback
        return FAILED
    finally:
        gc.enable()
    return OK


async def _serve(options: Options, log: Log) -> None:
    loop = asyncio.get_running_loop()
    server = Server(options, log, announce=_announce)
    told = asyncio.Event()

    def on_signal() -> None:
        if told.is_set():
            server.hurry()
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    await server.start()
    stopping = asyncio.create_task(told.wait())
    complete = asyncio.create_task(server.complete())
    await asyncio.wait((stopping, complete), return_when=asyncio.FIRST_COMPLETED)
    complete.cancel()
    # What was imported stays for good. Looking through it for garbage would hold the loop for 50 ms.
    gc.freeze()
    gc.enable()
    await stopping
    await server.stop()


def _announce(text: str) -> None:
    with contextlib.suppress(OSError):
        print(text, flush=True)


def _raise_descriptor_limit() -> None:
    """Use as many descriptors as the system allows us: each client takes one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
