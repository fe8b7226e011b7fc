"""One case: needs, server, steps, record. Server faults become verdicts here, never exceptions."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import get_args

from conformance.adapters.base import Adapter, Configuration, ProtocolName, missing_features
from conformance.addresses import LOOPBACK_V4
from conformance.errors import (
    AdapterError,
    AdapterUnsupported,
    ConformanceError,
    MachineError,
    UsageError,
)
from conformance.network.modes import Network
from conformance.requirements import Catalogue
from conformance.run.captures import Captures
from conformance.run.configuration import Numbers, configuration
from conformance.run.context import Context, ControlFailed, ScenarioAtFault
from conformance.run.laboratory import Laboratory
from conformance.run.place import Place
from conformance.run.secrets import passwords, redacted
from conformance.run.steps import action_of, perform
from conformance.scenario import model, needs
from conformance.scenario.case import Case
from conformance.verdict import judge
from conformance.verdict.model import CaseRecord, Fault, Verdict

LOG_LINES = 40
"""Of the server's log, shown with a case that did not pass."""


@dataclass
class Bench:
    """What the cases of one process share: the adapter with its server, the network, the catalogue."""

    adapter: Adapter
    network: Network
    catalogue: Catalogue
    workdir: Path
    replay: Callable[[Case], str] = lambda _case: ""
    secrets: tuple[str, ...] = ()
    """Texts that no report may show, beside the passwords of the scenarios."""
    captures: Captures | None = None
    """Records the packets of each case, where that is possible and there is a report to keep them in."""
    reusable: bool = False
    """Whether the server that runs now can be configured anew for the next case."""
    ever_started: bool = False
    """Whether the server under test has run at all, in this process."""
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.place = Place(self._leave)

    def _leave(self) -> None:
        self.reusable = False
        if self.ever_started:
            self.adapter.stop()

    def close(self) -> None:
        """Be where this process was before the first case; the server is ended."""
        self.place.leave()

    def fresh_directory(self) -> Path:
        """Return a new empty folder for a server."""
        path = self.workdir / f"server-{next(self._numbers)}"
        path.mkdir()
        return path


class _ServerStayedAway(Exception):  # noqa: N818 - a finding, judged already
    """The server did not start where that is what the scenario judges."""


@dataclass(frozen=True)
class _End:
    """How a case ended before its last step; ``verdict`` None: as its judgements say."""

    verdict: Verdict | None = None
    reason: str = ""
    fault: Fault = ""


def run_case(case: Case, bench: Bench) -> CaseRecord:
    """Run one case and return its record; raises nothing but KeyboardInterrupt."""
    try:
        hello = bench.adapter.hello()
    except ConformanceError as error:
        return _record(case, bench, None, _ended(error))
    lacking = missing_features(needs.features(case.scenario), hello)
    if lacking:
        return _record(
            case, bench, None, _End(Verdict.UNSUPPORTED, f"{lacking[0].feature}: {lacking[0].reason}")
        )
    absent = [text for need in needs.network_needs(case.scenario) if (text := bench.network.missing(need))]
    if absent:
        return _record(case, bench, None, _End(Verdict.SKIPPED, absent[0]))
    context = Context(case, bench.adapter, hello, bench.network, bench.catalogue, bench.workdir)
    try:
        end = _in_its_network(case, bench, context)
    finally:
        context.close_sessions()
        context.numbers.release()
    record = _record(case, bench, context, end)
    return record if bench.captures is None else bench.captures.end(record)


def _in_its_network(case: Case, bench: Bench, context: Context) -> _End:
    """Run the case in the network that it needs."""
    end = _End()
    try:
        with bench.place.visit(needs.network_plan(case.scenario)):
            context.world, context.wire = bench.place.world, bench.place.wire
            try:
                end = _run(case, bench, context)
            finally:
                context.close_sessions()
                if context.laboratory is not None:
                    context.laboratory.close()
            if context.world.plan.alone:
                context.log_tail = context.log_tail or _log_tail(bench.adapter)
    except Exception as error:  # noqa: BLE001 - the type says whose fault it is
        return _ended(error) if end == _End() else end
    return end


def _run(case: Case, bench: Bench, context: Context) -> _End:
    try:
        context.begin_step("server")
        if bench.captures is not None:
            bench.captures.begin(case.id)
        _open_laboratory(case, bench, context)
        _prepare(case, bench, context)
        return _steps(case, context)
    except BaseException as error:
        bench.reusable = False
        if not isinstance(error, Exception):
            raise
        return _ended(error)
    finally:
        if not context.alive or context.clock_ahead:
            bench.reusable = False


def _open_laboratory(case: Case, bench: Bench, context: Context) -> None:
    scenario = case.scenario
    if scenario.smart_hosts or scenario.dns is not None:
        context.laboratory = Laboratory(scenario, context.world, context.transcript.record)
        context.around = context.laboratory.open(bench.workdir / "next-hops.pem")


def _prepare(case: Case, bench: Bench, context: Context) -> None:
    """Bring the server to what the case begins with: the running one where that is possible."""
    wanted = configuration(case.scenario, context.numbers, context.around)
    context.configuration = wanted
    special = wanted.default or not wanted.host.ipv6
    if bench.reusable and not special:
        try:
            context.server_runs(bench.adapter.configure(wanted, reset=True), reopened=True)
            return
        except (AdapterError, AdapterUnsupported) as error:
            # What an earlier case did to the server is not this case's matter, and a fresh start says for
            # itself what is not supported.
            context.transcript.record("harness", "note", f"the server could not be reused: {error}")
    bench.reusable = False
    try:
        running = bench.adapter.start(case.id, bench.fresh_directory(), wanted)
    except AdapterError as error:
        if not hard_to_start(case.scenario) or not _starts_at_all(bench):
            raise
        context.judge_all("a server that starts", f"it did not start: {error}")
        context.log_tail = error.log
        raise _ServerStayedAway from error
    bench.ever_started = True
    context.server_runs(running, reopened=True)
    bench.reusable = not special


def hard_to_start(scenario: model.Scenario) -> bool:
    """Say whether a server may fail to start on this scenario by its own fault: that is what is judged."""
    if not isinstance(scenario.server, model.Server):
        return False
    steps = (step for step in scenario.steps if isinstance(step, model.ListeningStep))
    return scenario.server.host.ipv6 is False or any(
        expectation.state == "failed" for step in steps for expectation in step.expect
    )


def _starts_at_all(bench: Bench) -> bool:
    """Say whether the server starts when nothing is in its way: if not, nothing can be said about it."""
    if not bench.ever_started:
        numbers = Numbers()
        known = bench.adapter.hello().capabilities
        spoken = [name for name in get_args(ProtocolName) if f"protocol.{name}" in known]
        plain = model.Port(name="plain", protocol=spoken[0] if spoken else "smtp", address=str(LOOPBACK_V4))
        nothing_special = Configuration(ports=numbers.specs([plain]))
        try:
            bench.adapter.start("plain", bench.fresh_directory(), nothing_special)
        except (AdapterError, AdapterUnsupported):
            return False
        bench.ever_started = True
    return True


def _steps(case: Case, context: Context) -> _End:
    """Do the steps, then, whatever happened, those of ``finally``."""
    try:
        _do(case, context, "steps")
    finally:
        _do(case, context, "finally")
    return _End()


def _do(case: Case, context: Context, part: str) -> None:
    steps = case.scenario.steps if part == "steps" else case.scenario.finally_
    for index, step in enumerate(steps):
        context.begin_step(part, index)
        name = action_of(step)
        context.transcript.action(f"{part}[{index}] {name}" + (f": {step.why}" if step.why else ""))
        try:
            perform(context, step)
        except ScenarioAtFault as error:
            position = case.position(part, index, name)
            raise ScenarioAtFault(f"{case.file}:{position.line}:{position.column}: {error}") from error


def _ended(error: Exception) -> _End:
    """Blame is in the type of the error."""
    match error:
        case _ServerStayedAway():
            return _End()
        case ControlFailed():
            return _End(Verdict.INCONCLUSIVE, str(error))
        case AdapterUnsupported():
            return _End(Verdict.UNSUPPORTED, str(error))
        case ScenarioAtFault() | UsageError():
            return _End(Verdict.ERROR, str(error), "scenario")
        case MachineError():
            return _End(Verdict.SKIPPED, str(error))
        case AdapterError():
            log = f"\n{error.log}" if error.log else ""
            return _End(Verdict.ERROR, f"{error}{log}", "adapter")
        case _:
            text = "".join(traceback.format_exception(error))
            return _End(Verdict.ERROR, f"a bug of the harness, please report it:\n{text}", "harness")


def _record(case: Case, bench: Bench, context: Context | None, end: _End) -> CaseRecord:
    judgements = () if context is None else tuple(context.judgements)
    if end.verdict is Verdict.INCONCLUSIVE:
        judgements = tuple(judge.without_control(one) for one in judgements)
    if end.verdict is Verdict.UNSUPPORTED:
        judgements = ()
    verdict = judge.worst([one.verdict for one in judgements] + ([end.verdict] if end.verdict else []))
    reason = end.reason
    if not reason and verdict not in (Verdict.PASS, Verdict.INFO):
        first = next((one for one in judgements if one.verdict is verdict), None)
        reason = (
            f"{first.requirement} (line {first.line}): expected {first.expected}, got {first.actual}"
            if first
            else "no expectation was judged"
        )
    log_tail = ""
    if context is not None and verdict not in (Verdict.PASS, Verdict.INFO, Verdict.UNSUPPORTED):
        log_tail = context.log_tail or _log_tail(bench.adapter)
    record = CaseRecord(
        id=case.id,
        scenario=case.scenario.id,
        title=case.scenario.title,
        file=str(case.file),
        line=case.position().line,
        parameters=dict(case.parameters),
        requirements=case.scenario.requirements,
        verdict=verdict,
        reason=reason,
        fault=end.fault,
        judgements=judgements,
        transcript=() if context is None else context.transcript.lines,
        log_tail=log_tail,
        latencies={} if context is None else context.latencies,
        seconds=0.0 if context is None else round(context.transcript.seconds, 4),
        replay=bench.replay(case),
    )
    return redacted(record, (*passwords(case.scenario), *bench.secrets))


def _log_tail(adapter: Adapter) -> str:
    try:
        return "\n".join(adapter.log().splitlines()[-LOG_LINES:])
    except ConformanceError:
        return ""
