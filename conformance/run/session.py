"""One run: the bench, the records, the report. The pytest plugin and the command line both use it."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from conformance import requirements
from conformance.adapters import registry
from conformance.adapters.base import Hello
from conformance.builtin import scenarios_directory
from conformance.errors import ConformanceError, ExitCode
from conformance.network import capture, files, modes, supervisor
from conformance.network.modes import Network
from conformance.report import junit, terminal
from conformance.report.stream import Stream
from conformance.report.summary import Run, header, summary
from conformance.run.captures import Captures, left
from conformance.run.options import RunOptions
from conformance.run.runner import Bench, run_case
from conformance.run.secrets import secret_values
from conformance.scenario import needs
from conformance.scenario.case import Case
from conformance.scenario.loader import load_file, scenario_files
from conformance.scenario.words import nearest
from conformance.verdict import baseline as baselines
from conformance.verdict import requirements as requirement_states
from conformance.verdict.baseline import Baseline, Review
from conformance.verdict.model import CaseRecord, State, Verdict
from conformance.verdict.requirements import RequirementState

_UNKNOWN = Hello(name="unknown", version="")


class RunSession:
    """Made before any thread exists: it enters the network. Ended by `close`.

    In a worker of xdist only `run` and `close` are used; the controller takes the records with `add`.
    """

    def __init__(self, options: RunOptions, *, worker: bool = False) -> None:
        options.check()
        self.options = options
        self.catalogue = requirements.load()
        self.baseline = self._read_baseline()
        self.network: Network = modes.enter(options.network, options.require_network, worker=worker)
        self._stream: Stream | None = None
        with ExitStack() as stack:
            # Below the folder of the run: what a killed process leaves is removed with that.
            root = os.environ.get(supervisor.TEMPORARY)
            prefix = "sixpost-" if root is None else "run-"
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix, dir=root)))
            if root is None:
                os.environ[supervisor.TEMPORARY] = str(directory)
                stack.callback(os.environ.pop, supervisor.TEMPORARY, None)
            if options.report_dir and not worker:
                self._stream = stack.enter_context(Stream(options.report_dir))
                capture.clear(options.report_dir)
                stack.callback(capture.remove_if_empty, options.report_dir)
            if files.available():
                files.HostFiles(directory / "etc")
            self.bench = self._make_bench(directory, stack)
            self._resources = stack.pop_all()
        self.records: list[CaseRecord] = []
        self.cases: Sequence[Case] = ()
        self.complete = True
        """Whether every case of the profile that was found is to run."""
        self.whole = True
        """Whether all built-in ones are among them: only then a requirement without a case is missing."""
        self.interrupted = False
        self.stopped = ""
        """Why the run was ended early, if it was."""
        self._planned: dict[str, Case] = {}
        self._began = time.monotonic()
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self._worker = worker
        self._hello: Hello = _UNKNOWN
        self._states: dict[str, RequirementState] = {}
        self._review = Review({}, {}, ())
        self._code = ExitCode.HARNESS_BUG

    def _read_baseline(self) -> Baseline:
        named = self.options.baseline
        if named == "none":
            return baselines.EMPTY
        path = Path(named) if named else baselines.DIRECTORY / f"{self.options.server}.yaml"
        if not named and (":" in self.options.server or not path.is_file()):
            return baselines.EMPTY
        return baselines.read(path, self.catalogue)

    # --- cases ---

    def _make_bench(self, directory: Path, stack: ExitStack) -> Bench:
        """Return the adapter, which starts nothing yet, with what it needs."""
        adapter_directory = directory / "adapter"
        adapter_directory.mkdir()
        adapter = registry.create(self.options.server, self.options.settings, adapter_directory)
        stack.callback(adapter.close)
        captures = None
        if self.options.report_dir and self.network.mode == "namespace":
            captures = Captures(self.options.report_dir, keep_all=self.options.keep_captures)
            stack.callback(captures.close)
        bench = Bench(
            adapter,
            self.network,
            self.catalogue,
            directory,
            replay=self.options.replay,
            secrets=secret_values(self.options.settings),
            captures=captures,
        )
        stack.callback(bench.close)
        return bench

    def in_profile(self, case: Case) -> bool:
        """Say whether a case belongs to the profile of this run."""
        profile = case.scenario.profile or (
            "core"
            if any(self.catalogue[name].level == "MUST" for name in case.scenario.requirements)
            else "full"
        )
        order = ("core", "full", "slow")
        return order.index(profile) <= order.index(self.options.profile)

    def begin(self, existing: Sequence[Case], planned: Sequence[Case]) -> None:
        """Take note of all cases of the profile, and of those that are to run; write the header."""
        self.cases = existing
        if self._worker:
            return
        self._planned = {case.id: case for case in planned}
        self.complete = len(planned) == len(existing)
        self.whole = self.complete and not self._left_out(existing)
        try:
            self._hello = self.bench.adapter.hello()
        except ConformanceError:
            # The first case meets the same error and reports it.
            self._hello = _UNKNOWN.model_copy(update={"name": self.options.server})
        if self._stream is not None:
            self._stream.header(header(self._run(), len(planned)))

    def _left_out(self, existing: Sequence[Case]) -> bool:
        """Say whether a built-in scenario of the profile was not even looked at."""
        there = {case.file.resolve() for case in existing}
        return any(
            self.in_profile(case)
            for file in scenario_files([scenarios_directory()])
            if file.resolve() not in there
            for case in load_file(file, self.catalogue)
        )

    def run(self, case: Case) -> CaseRecord:
        """Run one case."""
        return baselines.applied(self.baseline, run_case(case, self.bench), network=self.network.mode)

    def add(self, record: CaseRecord) -> None:
        """Take the record of a finished case."""
        self.records.append(record)
        if self._stream is not None:
            self._stream.case(record)

    def add_lost(self, case_id: str, reason: str) -> None:
        """Take note that a case came to no end: nothing is green without evidence.

        One whose record is there had only its worker's farewell left to do.
        """
        if (case := self._planned.get(case_id)) is not None and all(
            one.id != case_id for one in self.records
        ):
            self.add(self._lost(case, reason))

    def clear_up(self) -> None:
        """End what a worker left behind that was killed; its files go with the folder of the run."""
        if self.network.mode == "namespace":
            supervisor.end_orphans()

    def hopeless(self, record: CaseRecord) -> bool:
        """Say whether no further case can come to anything: the server never started."""
        return record.fault == "adapter" and not self.bench.ever_started

    # --- the end ---

    def finish(self) -> ExitCode:
        """Compute states and exit code, and write the reports."""
        if not (self.interrupted or self.stopped):
            for name in self._planned.keys() - {record.id for record in self.records}:
                self.add_lost(name, "the case was to run and left no record: did its process end?")
        self._states = requirement_states.states(
            self.records, self.cases, self.catalogue, self.options.profile
        )
        plain = {name: one.state for name, one in self._states.items()}
        known = {one.id: plain.get(one.id, State.NOT_RUN) for one in self.catalogue}
        self._review = baselines.review(
            self.baseline,
            known,
            self.records,
            network=self.network.mode,
            today=datetime.now(UTC).date(),
            complete=self.complete and self.options.profile != "core" and not self.stopped,
        )
        self._code = (
            ExitCode.INTERRUPTED
            if self.interrupted
            else requirement_states.exit_code(
                self.records,
                self._states,
                self._review,
                fail_on_warn=self.options.fail_on_warn,
                follows_page=self._follows_page,
                complete=self.whole,
            )
        )
        if self.options.report_dir is not None:
            self._write_reports(self.options.report_dir)
        return self._code

    def _lost(self, case: Case, reason: str) -> CaseRecord:
        return CaseRecord(
            id=case.id,
            scenario=case.scenario.id,
            title=case.scenario.title,
            file=str(case.file),
            line=case.position().line,
            parameters=dict(case.parameters),
            requirements=case.scenario.requirements,
            verdict=Verdict.ERROR,
            reason=reason,
            fault="harness",
            replay=self.options.replay(case),
            capture=left(self.options.report_dir, case.id) if self.options.report_dir else "",
        )

    @property
    def _follows_page(self) -> bool:
        """Whether the server claims to follow the page, which binds it to the page's policies."""
        return "page" in self._hello.follows

    def _write_reports(self, directory: Path) -> None:
        wall = time.monotonic() - self._began
        content = summary(self._run(), self.records, self._states, self._code, wall)
        if self._stream is not None:
            self._stream.footer(content)
        (directory / "summary.json").write_text(json.dumps(content, indent=2) + "\n", "utf-8")
        junit.write(directory / "junit.xml", self.records, self._hello.name)

    def show(self, console: Console) -> None:
        """Print the end of the run; "N of M MUST verified" is the last line."""
        terminal.show(
            console,
            self.records,
            self._states,
            self.catalogue,
            self._review,
            notes=self._notes(),
            complete=self.whole,
        )
        console.print(terminal.last_line(self._states, follows_page=self._follows_page))

    def headline(self) -> str:
        """Return what is judged, and where."""
        where = f"network {self.network.mode}"
        if self.network.fallback:
            where += f" ({self.network.fallback})"
        server = f"{self._hello.name} {self._hello.version}".strip()
        return f"sixpost: {server}, profile {self.options.profile}, {where}"

    def _notes(self) -> list[str]:
        notes = [self.headline()]
        if not self.complete:
            notes.append(f"a selection: {len(self.records)} of {len(self.cases)} cases")
        elif not self.whole:
            notes.append("not all of the built-in scenarios: the exit code speaks of what these judge")
        notes += [self._no_such_case(name) for name in self.options.cases if not self._exists(name)]
        if self.stopped:
            notes.append(f"ended early: {self.stopped}")
        if self.options.report_dir is not None:
            notes.append(f"report: {self.options.report_dir}")
        if self.options.keep_captures and self.network.mode == "loopback":
            notes.append("no packets were captured: that is done in a network namespace of our own only")
        if self._code:
            notes.append(f"exit code {int(self._code)}: {_MEANING[self._code]}")
        return notes

    def _exists(self, name: str) -> bool:
        return any(name in (case.id, case.scenario.id) for case in self.cases)

    def _no_such_case(self, name: str) -> str:
        near = nearest(name, [known for case in self.cases for known in (case.scenario.id, case.id)])
        hint = f"; did you mean {near!r}?" if near else "; 'conformance list' shows them all"
        return f"the profile {self.options.profile} has no scenario or case {name!r}{hint}"

    def _run(self) -> Run:
        return Run(
            self._hello,
            self.options.server,
            self.options.profile,
            self.network.mode,
            self._started,
            self.options.seed,
        )

    def close(self) -> None:
        """End the server and remove everything that is temporary. Idempotent."""
        self._resources.close()


_MEANING = {
    ExitCode.DOES_NOT_CONFORM: "the server does not conform, or the baseline is stale",
    ExitCode.USAGE: "a scenario is wrong",
    ExitCode.ENVIRONMENT: "this machine cannot run what is required",
    ExitCode.NOT_STARTED: "the adapter or the server could not be started",
    ExitCode.NOTHING_VERIFIED: "nothing was verified",
    ExitCode.HARNESS_BUG: "a bug of the harness; please report it with the lines above",
    ExitCode.INTERRUPTED: "interrupted; what ran until then is reported",
}


def group(case: Case) -> tuple[bool, bool, str]:
    """Return what sorts the cases of a run: those that can share a server and a network are together.

    Those that need a server of their own come last.
    """
    server = case.scenario.server
    plan = replace(needs.network_plan(case.scenario), addresses=())
    special = server == "default" or server.host.ipv6 is False or plan.alone
    return plan.own, special, repr(plan)
