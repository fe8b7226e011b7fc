"""aiosmtpd as server under test, SMTP only: an adapter program of the ``exec:`` contract.

    conformance run --server "exec:python -m conformance.adapters.programs.aiosmtpd_adapter"

Each start is a real server process (`aiosmtpd_server`). aiosmtpd is a library: what an SMTP server made of it
with nothing added cannot do is declared as a limitation, with the reason.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from conformance.adapters.base import (
    AdminAnswer,
    AdminRequest,
    Advance,
    Configuration,
    Endpoint,
    Feature,
    Hello,
    Limitation,
    LimitsSpec,
    PortSpec,
    Queue,
    QueueChange,
    Running,
    Status,
)
from conformance.adapters.doors import refuse_open_doors
from conformance.adapters.programs.serve import serve
from conformance.adapters.servers import ServerProcess, python_environment
from conformance.addresses import canonical, parse
from conformance.errors import AdapterError, AdapterUnsupported

_DOCS = "https://aiosmtpd.readthedocs.io/en/stable/"
_RANGES = "aiosmtpd has no rules by client address: it greets every client that its socket accepts"

CAPABILITIES: tuple[Feature, ...] = (
    "protocol.smtp",
    "ports.wildcard",
    "ports.change",
    "ports.report",
    "restart",
    "kill",
    "process_ids",
    "log",
)
LIMITATIONS: dict[Feature, tuple[str, str]] = {
    "protocol.pop3": ("aiosmtpd speaks SMTP and LMTP only", "intro.html"),
    "protocol.imap": ("aiosmtpd speaks SMTP and LMTP only", "intro.html"),
    "ip_ranges": (_RANGES, "smtp.html"),
    "ip_ranges.priority": (_RANGES, "smtp.html"),
    "ip_ranges.expiry": (_RANGES, "smtp.html"),
    "ip_ranges.permissions": (_RANGES, "smtp.html"),
    "ip_ranges.deliveries": (_RANGES, "smtp.html"),
    "ip_ranges.authentication": (
        "authentication is required of all clients or of none (auth_required), not by client address",
        "auth.html",
    ),
    "ip_ranges.tls_for_authentication": (
        "auth_require_tls holds for all clients alike, not by client address",
        "auth.html",
    ),
    "ip_ranges.live": (_RANGES, "smtp.html"),
    "connection_limit": ("aiosmtpd does not limit the sessions that are open at one time", "smtp.html"),
    "dual_stack_listener": (
        "each listener has a socket of its own, and asyncio makes IPv6 sockets IPv6-only",
        "controller.html",
    ),
    "accounts": ("aiosmtpd has no accounts: an authenticator is the user's own code", "auth.html"),
    "mail.local": ("mail goes to a handler; nothing serves it by POP3 or IMAP", "handlers.html"),
    **dict.fromkeys(
        (
            "relay",
            "relay.alternatives",
            "relay.security",
            "relay.login",
            "delivery.mx",
            "delivery.bind",
            "delivery.ipv6_preferred",
            "delivery.retries",
            "dns",
            "queue",
            "queue.change",
            "clock",
        ),
        ("aiosmtpd takes mail in; what becomes of it is its handler's matter", "handlers.html"),
    ),
    "administration": ("aiosmtpd is configured by Python code alone", "controller.html"),
    "status.ipv6": ("aiosmtpd says nothing of the system's IPv6", "controller.html"),
    "default_configuration": (
        "aiosmtpd is a library; a server made of it listens where its author says",
        "controller.html",
    ),
    "reinitialize": ("a running server takes no new settings: it is started again", "controller.html"),
}


def _limitation(feature: Feature) -> Limitation:
    reason, page = LIMITATIONS[feature]
    return Limitation(feature=feature, reason=reason, link=_DOCS + page)


def _unsupported(feature: Feature) -> AdapterUnsupported:
    limitation = _limitation(feature)
    return AdapterUnsupported(feature, limitation.reason, limitation.link)


class AiosmtpdAdapter:
    """See `adapters.base.Adapter`."""

    def __init__(self) -> None:
        self._base: Path | None = None
        self._configuration = Configuration()
        self._server: ServerProcess | None = None
        self._endpoints: tuple[Endpoint, ...] = ()
        self._logs: list[str] = []

    def hello(self) -> Hello:
        return Hello(
            name="aiosmtpd",
            version=version("aiosmtpd"),
            capabilities=CAPABILITIES,
            limitations=tuple(_limitation(feature) for feature in LIMITATIONS),
        )

    def start(self, case: str, workdir: Path, configuration: Configuration) -> Running:  # noqa: ARG002
        self.stop()
        _check(configuration)
        self._logs = []
        self._base = workdir / "aiosmtpd"
        self._base.mkdir()
        self._configuration = configuration
        return self._launch()

    def configure(self, configuration: Configuration, *, reset: bool = False) -> Running:
        _check(configuration)
        if self._base is None:
            raise AdapterError("aiosmtpd was not started")
        if reset:
            return self.start("", self._base.parent, configuration)
        self._configuration = configuration
        return self._running()

    def restart(self) -> Running:
        if self._base is None:
            raise AdapterError("aiosmtpd was not started: nothing to start again")
        if self._server is not None:
            self._end(self._server.stop)
        return self._launch()

    def reinitialize(self) -> Running:
        raise _unsupported("reinitialize")

    def kill(self) -> None:
        if self._server is None:
            raise AdapterError("aiosmtpd does not run")
        self._end(self._server.kill)

    def admin(self, request: AdminRequest) -> AdminAnswer:  # noqa: ARG002
        raise _unsupported("administration")

    def status(self) -> Status:
        raise _unsupported("status.ipv6")

    def queue(self) -> Queue:
        raise _unsupported("queue")

    def change_queue(self, change: QueueChange) -> None:  # noqa: ARG002
        raise _unsupported("queue.change")

    def advance(self, step: Advance) -> None:  # noqa: ARG002
        raise _unsupported("clock")

    def log(self) -> str:
        return "".join([*self._logs, self._server.log.text() if self._server is not None else ""])

    def stop(self) -> None:
        if self._server is not None:
            self._end(self._server.stop)
        if self._base is not None:
            shutil.rmtree(self._base, ignore_errors=True)
            self._base = None

    def close(self) -> None:
        self.stop()

    def _launch(self) -> Running:
        assert self._base is not None
        ports = {port.name: port for port in self._configuration.ports}
        entries = [f"{port.name}={canonical(parse(port.address))}/{port.number}" for port in ports.values()]
        module = "conformance.adapters.programs.aiosmtpd_server"
        argv = [sys.executable, "-P", "-m", module, str(self._base / "mail"), *entries]
        if not self._configuration.host.ipv6:
            from conformance.network import without_ipv6

            argv = without_ipv6.command(argv)
        self._server = ServerProcess(
            argv,
            log_path=self._base / f"server-{len(self._logs)}.log",
            environment=python_environment(),
            cwd=self._base,
            group=False,
        )
        found: list[Endpoint] = []

        def ready(line: str) -> bool:
            event = _event(line)
            if event.get("name") in ports:
                found.append(_endpoint(ports[event["name"]], event))
            return event.get("event") == "ready"

        try:
            self._server.wait_for(ready, "its listeners' start")
        except BaseException:
            self._end(self._server.kill)
            raise
        self._endpoints = tuple(found)
        return self._running()

    def _running(self) -> Running:
        if self._server is None:
            raise AdapterError("aiosmtpd does not run", log=self.log())
        return Running(
            endpoints=self._endpoints, pids=(self._server.pid,), log_file=str(self._server.log.path)
        )

    def _end(self, how: Callable[[], int]) -> None:
        server, self._server = self._server, None
        assert server is not None
        how()
        self._logs.append(server.log.text())


def _check(configuration: Configuration) -> None:
    """Raise AdapterUnsupported for what aiosmtpd cannot be told."""
    if configuration.default:
        raise _unsupported("default_configuration")
    if configuration.ip_ranges is not None:
        raise _unsupported("ip_ranges")
    if configuration.relay is not None:
        raise _unsupported("relay")
    if configuration.dns is not None:
        raise _unsupported("dns")
    if configuration.limits != LimitsSpec():
        raise _unsupported("connection_limit")
    if configuration.accounts:
        raise _unsupported("accounts")
    for port in configuration.ports:
        if port.protocol == "pop3":
            raise _unsupported("protocol.pop3")
        if port.protocol == "imap":
            raise _unsupported("protocol.imap")
    refuse_open_doors(port.address for port in configuration.ports)


def _event(line: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        event = json.loads(line)
        if isinstance(event, dict):
            return event
    return {}


def _endpoint(port: PortSpec, event: dict[str, Any]) -> Endpoint:
    return Endpoint(
        name=port.name,
        protocol=port.protocol,
        address=canonical(parse(port.address)),
        port=int(event["port"]),
        state="open" if event["event"] == "listener.open" else "failed",
        error=str(event.get("error", "")),
    )


def _make(settings: dict[str, str]) -> AiosmtpdAdapter:
    if settings:
        raise ValueError(f"the aiosmtpd adapter takes no settings; given: {', '.join(sorted(settings))}")
    return AiosmtpdAdapter()


if __name__ == "__main__":
    sys.exit(serve(_make))
