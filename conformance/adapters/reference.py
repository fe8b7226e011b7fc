"""The reference server as server under test: a real process, configured through its HTTP contract.

One process serves many cases: `configure(reset=True)` brings it back to what a fresh one is.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shlex
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import reference_server
from conformance.adapters.administration import (
    Administration,
    limits_record,
    outgoing_record,
    ranges_of,
)
from conformance.adapters.base import (
    AdminAnswer,
    AdminRequest,
    Advance,
    Configuration,
    Endpoint,
    Feature,
    Hello,
    Limitation,
    Queue,
    QueueChange,
    Running,
    Status,
)
from conformance.adapters.control import ControlSocket
from conformance.adapters.doors import free_offset, has_ipv6, refuse_open_doors
from conformance.adapters.events import event_of, is_event, number_of
from conformance.adapters.reference_command import SETTINGS, command
from conformance.adapters.servers import ServerProcess, python_environment
from conformance.addresses import canonical, parse, with_port
from conformance.errors import AdapterError, AdapterUnsupported, UsageError

LIMITATIONS = (
    Limitation(
        feature="dual_stack_listener",
        reason="an IPv6 port of the reference server takes IPv6 clients only, as BIND-5 asks",
    ),
)
SHIPPED_PORTS = {25: "smtp", 587: "submission", 110: "pop3", 143: "imap"}
"""What scenarios call the ports of ``server: default``, by their number without offset."""

KEPT_LOG = 2**20
"""Characters of the logs of former processes that are kept."""
_HTTP_WAIT = "the administration's and the services' start"


class ReferenceAdapter:
    """See `base.Adapter`."""

    def __init__(self, settings: Mapping[str, str], workdir: Path) -> None:
        unknown = sorted(set(settings) - set(SETTINGS))
        if unknown:
            raise UsageError(f"--set {unknown[0]}: the reference server takes {' and '.join(SETTINGS)} only")
        self._command = command(settings)
        self._home = workdir
        self._password = ""
        self._configuration = Configuration()
        self._base: Path | None = None
        self._offset = 0
        self._starts = 0
        self._server: ServerProcess | None = None
        self._channels: dict[str, Administration] = {}
        self._names: dict[int, str] = {}
        self._defaults: dict[str, Any] = {}
        self._generation = 0
        self._doors: tuple[str, ...] = ()
        self._control: ControlSocket | None = None
        self._trust = ""
        self._former_log = ""
        self._log_from = 0

    # --- the contract -------------------------------------------------------------------------------------

    def hello(self) -> Hello:
        missing = {limitation.feature for limitation in LIMITATIONS}
        return Hello(
            name="reference",
            version=reference_server.__version__,
            path=shlex.join(self._command),
            follows=("page",),
            capabilities=tuple(feature for feature in get_args(Feature) if feature not in missing),
            limitations=LIMITATIONS,
        )

    def start(self, case: str, workdir: Path, configuration: Configuration) -> Running:  # noqa: ARG002
        self.stop()
        refuse_open_doors(port.address for port in configuration.ports)
        if configuration.default:
            self._offset = free_offset(SHIPPED_PORTS)
        self._former_log, self._log_from = "", 0
        self._base = workdir / "reference-server"
        self._base.mkdir()
        self._password = secrets.token_urlsafe(18)
        self._configuration = Configuration(default=configuration.default, host=configuration.host)
        self._trust = configuration.trust
        self._control = None if configuration.default else ControlSocket()
        self._names = {}
        try:
            self._launch()
            self._defaults = self._http().call("GET", "/settings")
            self._name_shipped_ports()
            self._apply_all(configuration)
            if not configuration.host.ipv6:
                # The configured program is started on such a host, not reconfigured on it.
                return self.restart()
            return self.reinitialize() if configuration.ports else self._running()
        except BaseException:
            self.stop()
            raise

    def configure(self, configuration: Configuration, *, reset: bool = False) -> Running:
        refuse_open_doors(port.address for port in configuration.ports)
        if not reset:
            self._change(configuration)
            return self._running()
        old = self._configuration
        strange = configuration.trust not in ("", self._trust)
        if configuration.default or old.default or configuration.host != old.host or strange:
            assert self._base is not None
            return self.start("", self._base.parent, configuration)
        http = self._http()
        http.clear(self._defaults)
        self._names = {}
        self._configuration = Configuration(host=old.host)
        self._log_from = len(self._all_logs())
        self._apply_all(configuration)
        return self.reinitialize()

    def restart(self) -> Running:
        if self._base is None:
            raise AdapterError("the reference server was not started: nothing to start again")
        refuse_open_doors(self._doors)
        if self._server is not None:
            self._end(self._server.stop)
        self._launch()
        return self._running()

    def reinitialize(self) -> Running:
        server, wanted = self._alive(), self._generation + 1
        refuse_open_doors(self._doors)
        since = server.log.count
        self._http().call("POST", "/server/reinitialize")
        line = server.wait_for(
            lambda line: (
                event_of(line, "listeners.ready") is not None and number_of(line, "generation") >= wanted
            ),
            f"its services' start number {wanted}",
            since=since,
        )
        self._generation = number_of(line, "generation")
        return self._running()

    def kill(self) -> None:
        self._end(self._alive().kill)

    def admin(self, request: AdminRequest) -> AdminAnswer:
        self._alive()
        channel = self._channels.get(request.over)
        if channel is None:
            words = f"the administration has no {'IPv6' if request.over == 'ipv6' else 'IPv4'} address here"
            return AdminAnswer(outcome="unreachable", message=words)
        answer = channel.admin(request, {name: number for number, name in self._names.items()})
        if request.kind == "port" and request.operation != "read" and answer.outcome == "accepted":
            number = answer.values.get("id")
            if request.operation == "add" and isinstance(number, int):
                self._names[number] = request.name or f"port-{number}"
            self._look_at_doors()
        return answer

    def status(self) -> Status:
        answer = self._http().call("GET", "/status")
        return Status(ipv6_available=answer.get("ipv6_available"), text=json.dumps(answer, indent=1))

    def queue(self) -> Queue:
        http = self._http()
        return http.queue(self._clock().advance(0))

    def change_queue(self, change: QueueChange) -> None:
        http = self._http()
        http.retry_queue() if change.action == "retry" else http.delete_queue()

    def advance(self, step: Advance) -> None:
        self._alive()
        self._clock().advance(step.seconds)

    def log(self) -> str:
        return self._all_logs()[self._log_from :]

    def stop(self) -> None:
        if self._server is not None:
            self._end(self._server.stop)
        if self._base is not None:
            shutil.rmtree(self._base, ignore_errors=True)
            self._base = None
        if self._control is not None:
            self._control.close()
            self._control = None

    def close(self) -> None:
        self.stop()

    # --- the process --------------------------------------------------------------------------------------

    def _arguments(self) -> list[str]:
        assert self._base is not None
        arguments = [
            "--data-dir",
            str(self._base / "data"),
            "--admin-port",
            "0",
            "--admin-address",
            "127.0.0.1",
        ]
        if self._configuration.host.ipv6 and has_ipv6():
            arguments += ["--admin-address", "::1"]
        arguments += ["--cheap-password-hashes", "--log-format", "json"]
        if self._configuration.default:
            return [*arguments, "--port-offset", str(self._offset)]
        assert self._control is not None
        return [*arguments, "--bare", "--control-socket", str(self._control.path)]

    def _launch(self) -> None:
        """Start the program on the data that is there; return when administration and listeners are open."""
        assert self._base is not None
        argv = [*self._command, *self._arguments()]
        if not self._configuration.host.ipv6:
            from conformance.network import without_ipv6

            argv = without_ipv6.command(argv)
        self._starts += 1
        variables = {"REFERENCE_SERVER_ADMIN_PASSWORD": self._password}
        if self._trust:
            variables["SSL_CERT_FILE"] = self._trust
        environment = python_environment(variables)
        log = self._base / f"server-{self._starts}.log"
        server = ServerProcess(argv, log_path=log, environment=environment, cwd=self._base)
        self._server = server
        try:
            self._open_channels(server, argv.count("--admin-address"))
            ready = server.wait_for(is_event("listeners.ready"), _HTTP_WAIT)
            self._generation = number_of(ready, "generation")
        except BaseException:
            self._end(server.kill)
            raise

    def _open_channels(self, server: ServerProcess, expected: int) -> None:
        seen: list[str] = []

        def wanted(line: str) -> bool:
            if (
                event_of(line, "administration.ready") is None
                and event_of(line, "administration.failed") is None
            ):
                return False
            seen.append(line)
            return len(seen) == expected

        server.wait_for(wanted, _HTTP_WAIT)
        for line in seen:
            if (event := event_of(line, "administration.ready")) is not None:
                address = parse(str(event["address"]))
                url = f"http://{with_port(address, int(event['port']))}"
                self._channels[f"ipv{address.version}"] = Administration(url, self._password)
        if not self._channels:
            raise AdapterError(
                "the administration of the reference server could not open", log=server.log.tail()
            )

    def _end(self, how: Callable[[], int]) -> None:
        """Let the process end as ``how`` says, and keep its log."""
        for channel in self._channels.values():
            channel.close()
        self._channels = {}
        server, self._server = self._server, None
        how()
        assert server is not None
        text = self._former_log + server.log.text()
        kept = text[-KEPT_LOG:]
        self._log_from = max(0, self._log_from - (len(text) - len(kept)))
        self._former_log = kept
        with contextlib.suppress(FileNotFoundError):
            server.log.path.unlink()

    def _alive(self) -> ServerProcess:
        if self._server is None:
            raise AdapterError("the reference server does not run", log=self._former_log[-8192:])
        if not self._server.alive:
            code = self._server.child.end(term=False)
            raise AdapterError(
                f"the reference server has ended, exit code {code}", log=self._server.log.tail()
            )
        return self._server

    def _http(self) -> Administration:
        self._alive()
        return next(iter(self._channels.values()))

    def _clock(self) -> ControlSocket:
        if self._control is None:
            raise AdapterUnsupported("clock", "the shipped configuration has no control socket")
        return self._control

    def _all_logs(self) -> str:
        return self._former_log + (self._server.log.text() if self._server is not None else "")

    # --- the configuration --------------------------------------------------------------------------------

    def _apply_all(self, configuration: Configuration) -> None:
        """Write a whole configuration to a server that has none (but for the shipped one)."""
        http = self._http()
        for spec in ranges_of(configuration):
            http.add_range(spec)
        for port in configuration.ports:
            self._names[http.add_port(port)] = port.name
        settings = {} if configuration.default else outgoing_record(configuration)
        if configuration.limits != self._configuration.limits:
            settings |= limits_record(configuration.limits)
        if settings:
            http.call("PUT", "/settings", settings)
        if configuration.accounts:
            http.add_accounts(configuration.accounts)
        self._configuration = configuration
        self._look_at_doors()

    def _change(self, new: Configuration) -> None:
        """Do what leads from the former configuration to ``new``: what an administrator changed stays."""
        old, http = self._configuration, self._http()
        if ranges_of(new) != ranges_of(old):
            http.change_ranges(ranges_of(old), ranges_of(new))
        settings = limits_record(new.limits) if new.limits != old.limits else {}
        if outgoing_record(new) != outgoing_record(old):
            settings |= outgoing_record(new)
        if settings:
            http.call("PUT", "/settings", settings)
        if new.accounts != old.accounts:
            http.change_accounts(old.accounts, new.accounts)
        kept = {port.name for port in new.ports if port in old.ports}
        present = {record["id"] for record in http.records("/ports")}
        for port in old.ports:
            if port.name not in kept:
                for number, name in self._names.items():
                    if name == port.name and number in present:
                        http.call("DELETE", f"/ports/{number}")
        for port in new.ports:
            if port.name not in kept:
                self._names[http.add_port(port)] = port.name
        self._configuration = new
        self._look_at_doors()

    def _look_at_doors(self) -> None:
        """Learn which addresses the next start or reinitialize will listen on."""
        self._doors = tuple(str(record["address"]) for record in self._http().records("/ports"))

    def _name_shipped_ports(self) -> None:
        if self._configuration.default:
            for record in self._http().records("/ports"):
                number = int(record["port"]) - self._offset
                self._names[int(record["id"])] = SHIPPED_PORTS.get(number, f"port-{number}")

    def _running(self) -> Running:
        """Read back what listens. A deleted port is named as long as its listener is open."""
        answer = self._http().call("GET", "/status")
        self._generation = int(answer["generation"])
        endpoints = tuple(self._endpoint(listener) for listener in answer["listeners"])
        server = self._alive()
        return Running(endpoints=endpoints, pids=(server.pid,), log_file=str(server.log.path))

    def _endpoint(self, listener: Mapping[str, Any]) -> Endpoint:
        number = int(listener["port_id"])
        return Endpoint(
            name=self._names.get(number, f"port-{number}"),
            protocol=listener["protocol"],
            address=canonical(parse(str(listener["address"]))),
            port=int(listener["port"]),
            state="open" if listener["open"] else "failed",
            error=str(listener.get("error") or ""),
        )
