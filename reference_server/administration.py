"""Brings the administration up beside the running services: one server for each of its addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from reference_server.addresses import IPAddress, address_text, with_port
from reference_server.listening.gate import cause
from reference_server.log import Log
from reference_server.options import Options
from reference_server.protocols import preload
from reference_server.settings import Protocol

if TYPE_CHECKING:
    from reference_server.admin.http import AdminServer
    from reference_server.admin.operations import Operations


class Administration:
    """The administration on all addresses of the options; an address that cannot open is reported."""

    def __init__(
        self, options: Options, operations: Operations, log: Log, announce: Callable[[str], None]
    ) -> None:
        self._options = options
        self._operations = operations
        self._log = log
        self._announce = announce
        self._servers: list[AdminServer] = []

    async def start(self) -> None:
        """Import what it needs, in a thread, and open every address."""
        http: Any = await asyncio.to_thread(self._import)
        app = await asyncio.to_thread(http.build_app, self._operations)
        for address in self._options.admin_addresses:
            await self._open(http.AdminServer, app, address)

    def _import(self) -> Any:
        http = import_module("reference_server.admin.http")
        # Protocols that no port has yet: their first client, after a reinitialize, shall not wait either.
        preload(Protocol)
        # The first name that is looked up neither.
        import_module("dns.asyncresolver")
        return http

    async def _open(self, admin_server: type[AdminServer], app: Any, address: IPAddress) -> None:
        options = self._options
        said = {"address": address_text(address)}
        server = admin_server(app, address, options.admin_port, options.admin_certificate, options.admin_key)
        self._servers.append(server)  # before it starts: a stop may come in between
        try:
            number = await server.start()
        except OSError as error:
            self._servers.remove(server)
            self._log.error("administration.failed", **said, port=options.admin_port, error=cause(error))
            return
        scheme = "http" if options.admin_certificate is None else "https"
        url = f"{scheme}://{with_port(address, number)}"
        self._log.info("administration.ready", url=url, **said, port=number)
        self._announce(f"The administration is at {url}")

    async def stop(self) -> None:
        """Finish the requests that are running, and close."""
        servers, self._servers = self._servers, []
        await asyncio.gather(*(server.stop() for server in servers))
