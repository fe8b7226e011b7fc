"""What one running case knows: the server as it is, open sessions, judgements. Mutable, one per case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from conformance.adapters.base import (
    Adapter,
    Configuration,
    Endpoint,
    Hello,
    PortSpec,
    ProtocolName,
    Running,
)
from conformance.addresses import LOOPBACK_V4, LOOPBACK_V6, Address, parse
from conformance.clients.connect import Connector
from conformance.clients.session import ClientSession
from conformance.errors import ConformanceError, ExitCode
from conformance.network.modes import Network
from conformance.network.world import World
from conformance.oracle import ExpectedConnection, expected_connection, expected_listener
from conformance.requirements import Catalogue
from conformance.run.configuration import Numbers
from conformance.run.laboratory import Laboratory, Surroundings
from conformance.run.transcript import Transcript
from conformance.scenario import needs
from conformance.scenario.case import Case
from conformance.scenario.model import Expectation
from conformance.verdict import judge
from conformance.verdict.judge import Finding
from conformance.verdict.model import Judgement

if TYPE_CHECKING:
    from conformance.packets.wire import Wire


class Closeable(Protocol):
    """What is closed when the case ends."""

    def close(self) -> None: ...


class ControlFailed(Exception):  # noqa: N818 - a finding, not an error
    """A positive control failed: the case proves nothing."""


class ScenarioAtFault(ConformanceError):  # noqa: N818
    """A written expectation contradicts the oracle, or the step cannot be done: the scenario is wrong."""

    exit_code = ExitCode.USAGE


class Context:
    """Used by the steps of one case."""

    def __init__(
        self,
        case: Case,
        adapter: Adapter,
        hello: Hello,
        network: Network,
        catalogue: Catalogue,
        workdir: Path,
    ) -> None:
        self.case = case
        self.adapter = adapter
        self.hello = hello
        self.network = network
        self.catalogue = catalogue
        self.workdir = workdir
        self.connector = Connector(network)
        self.transcript = Transcript()
        self.world = World(needs.network_plan(case.scenario))
        self.wire: Wire | None = None
        """Where the case has one: what crafted packets go over."""
        self.crowds: list[Closeable] = []
        """Clients that are kept until the case ends, beside the sessions."""
        self.laboratory: Laboratory | None = None
        """Where the case has one: smart hosts and names."""
        self.around = Surroundings()
        self.clock_ahead = timedelta()
        """How far the server's clock was moved forward."""
        self.kills = 0
        """How often the server was ended without notice."""
        self.numbers = Numbers()
        self.configuration = Configuration()
        self.judgements: list[Judgement] = []
        self.sessions: dict[str, ClientSession] = {}
        self.marks: dict[str, int] = {}
        self.latencies: dict[str, float] = {}
        self.running = Running()
        self.alive = False
        self.log_tail = ""
        """The server's last words, where it ended before the case did."""
        self.oracle_knows = True
        """False once an administrator changed ranges by steps of ``admin``, and while the OS was changed."""
        self.os_changed = not self.world.ipv6
        """Whether the server has not been started since IPv6 was switched on or off."""
        self._opened: Sequence[PortSpec] = ()
        self._endpoints: dict[str, Endpoint] = {}
        self._step: tuple[str | int, ...] = ()

    # --- the server as it is now ---

    def now(self) -> datetime:
        """Return the time by the clock of the server."""
        return datetime.now(UTC) + self.clock_ahead

    def server_runs(self, running: Running, *, reopened: bool) -> None:
        """Note what an adapter answered; ``reopened``: its listeners are those of the configuration."""
        self.running = running
        self.alive = True
        if reopened:
            self._opened = self.configuration.ports
        for endpoint in running.endpoints:
            self._endpoints[endpoint.name] = endpoint
            self.numbers.know(endpoint.name, endpoint.port)
            self.transcript.action(_described(endpoint))

    def endpoint(self, name: str) -> Endpoint:
        """Return what became of a port, now or when it was last there."""
        try:
            return self._endpoints[name]
        except KeyError:
            raise ScenarioAtFault(
                f"the server under test has no port {name!r}; it has {', '.join(self._endpoints) or 'none'}"
            ) from None

    def target(self, name: str, at: str | None, source: str | None) -> tuple[Address, int]:
        """Return where a client of the port ``name`` connects to.

        A wildcard stands for the loopback address of the client's family; of the wildcard's own where the
        scenario does not say where the client comes from.
        """
        endpoint = self.endpoint(name)
        address = parse(at if at is not None else endpoint.address)
        if address.is_unspecified:
            version = parse(source).version if source is not None else address.version
            address = LOOPBACK_V4 if version == 4 else LOOPBACK_V6
        return address, endpoint.port

    def source(self, text: str | None, target: Address, host: str | None = None) -> Address:
        """Return where a client comes from."""
        if text is not None:
            return parse(text)
        if host is not None:
            return self.world.source(host, target)
        return LOOPBACK_V4 if target.version == 4 else LOOPBACK_V6

    def effective(self) -> Configuration:
        """Return the configuration as it holds now: ports as they were opened, everything else as it is."""
        return self.configuration.model_copy(update={"ports": tuple(self._opened)})

    def expected_connection(self, name: str, source: Address, at: Address) -> ExpectedConnection | None:
        """Ask the oracle; None where it cannot know."""
        if self.configuration.default or not self.oracle_knows or self.os_changed or not self.world.ipv6:
            return None
        if not self.alive:
            return ExpectedConnection("refused", "the server does not run")
        now_open = self.effective()
        if name not in {port.name for port in now_open.ports}:
            return ExpectedConnection("refused", f"the port {name} is no longer configured")
        listening = [
            port.name
            for port in now_open.ports
            if expected_listener(now_open, port.name, taken=self.numbers.taken).state == "open"
        ]
        return expected_connection(
            now_open,
            name,
            source,
            now=self.now(),
            at=at,
            open_sessions=self.open_sessions(),
            listening=listening,
            numbers={endpoint.name: endpoint.port for endpoint in self._endpoints.values()},
        )

    # --- sessions ---

    def open_sessions(self) -> Counter[ProtocolName]:
        """Count the sessions that this case keeps open."""
        return Counter(session.protocol for session in self.sessions.values() if session.is_open)

    def close_sessions(self) -> None:
        """Close every kept session."""
        for kept in (*self.sessions.values(), *self.crowds):
            kept.close()
        self.sessions.clear()
        self.crowds.clear()

    # --- judging ---

    def begin_step(self, *path: str | int) -> None:
        """Name the step that is done now, for judgements."""
        self._step = path

    def judge(self, expectation: Expectation, finding: Finding) -> None:
        """Hold a finding against each requirement that the expectation judges.

        Raises ControlFailed for a positive control that is not met.
        """
        if expectation.control:
            if finding.state == "unmet":
                raise ControlFailed(
                    f"the positive control at line {self.line} failed: "
                    f"expected {finding.expected}, got {finding.actual}"
                )
            return
        self._hold_against(expectation.judges or self.case.scenario.requirements, finding)

    def judge_all(self, expected: str, actual: str) -> None:
        """Note a failure that touches every requirement of the scenario."""
        self._hold_against(self.case.scenario.requirements, judge.found(False, expected, actual))

    def _hold_against(self, requirements: Sequence[str], finding: Finding) -> None:
        follows = "page" in self.hello.follows
        for name in requirements:
            self.judgements.append(
                Judgement(
                    requirement=name,
                    verdict=judge.verdict(finding, self.catalogue[name], follows_page=follows),
                    step=_path_text(self._step),
                    line=self.line,
                    expected=finding.expected,
                    actual=finding.actual,
                )
            )

    @property
    def line(self) -> int:
        """The line of the step that is done now."""
        return self.case.position(*self._step).line


def _path_text(path: Sequence[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else str(part) for part in path)


def _described(endpoint: Endpoint) -> str:
    where = f"{endpoint.name}: {endpoint.protocol} on {endpoint.address} port {endpoint.port}"
    return f"{where} {endpoint.state}" + (f" ({endpoint.error})" if endpoint.error else "")
