"""The pytest plugin: scenario files become test items. Hooks only; the work is done in `conformance.run`.

Without ``--server`` it does nothing to a test run but offer its options.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conformance.errors import ConformanceError, ExitCode, Problem, ScenarioError

if TYPE_CHECKING:
    # Imported where they are needed: who uses pytest for something else does not wait for them.
    from conformance.run.options import RunOptions
    from conformance.run.session import RunSession
    from conformance.scenario.case import Case
    from conformance.verdict.model import CaseRecord

_GROUP, _TITLE = "sixpost", "IPv6 conformance of mail servers (sixpost)"
_SERVER = "sixpost_server"
_PROPERTY = "sixpost"
_LETTERS = {
    "pass": ("passed", ".", "PASS"),
    "info": ("passed", "i", "INFO"),
    "warn": ("passed", "w", "WARN"),
    "xfail": ("xfailed", "x", "XFAIL"),
    "fail": ("failed", "F", "FAIL"),
    "error": ("failed", "E", "ERROR"),
    "inconclusive": ("failed", "?", "INCONCLUSIVE"),
    "xpass": ("failed", "X", "XPASS"),
    "unsupported": ("skipped", "u", "UNSUPPORTED"),
    "skipped": ("skipped", "s", "SKIPPED"),
}


EXIT_CODE: pytest.StashKey[int] = pytest.StashKey()
"""In the config's stash: what the run came to (`errors.ExitCode`); absent when pytest itself gave up."""

_End: type[BaseException] = type("conformance", (pytest.exit.Exception,), {})
"""Ends pytest with a message, which it prints after the name of this class, and our exit code."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer the options that have a prefix; ``--server`` has none, and comes last."""
    add = parser.getgroup(_GROUP, _TITLE).addoption
    add("--sixpost-set", action="append", default=[], metavar="KEY=VALUE", help="setting of the adapter")
    add("--sixpost-profile", default="full", metavar="NAME", help="core, full or slow (default: full)")
    add("--sixpost-case", action="append", default=[], metavar="ID", help="only this scenario or case")
    add("--sixpost-report-dir", metavar="DIR", help="write report.ndjson, summary.json and junit.xml")
    add("--sixpost-network", default="auto", metavar="MODE", help="auto, loopback or namespace")
    add("--sixpost-require-network", metavar="MODE", help="end with 3 when this mode is not available")
    add("--sixpost-baseline", metavar="FILE", help="accepted failures; 'none' for none")
    add("--sixpost-fail-on-warn", action="store_true", help="warnings fail the run")
    add("--sixpost-scenarios", action="append", default=[], metavar="DIR", help="for the replay command")
    add("--sixpost-seed", type=int, metavar="N", help="run the cases in an order shuffled by this number")
    add("--sixpost-no-builtin", action="store_true", help="for the replay command")
    add("--sixpost-keep-captures", action="store_true", help="keep the packets of cases that passed, too")


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(parser: pytest.Parser) -> Iterator[None]:
    """Offer ``--server``, unless somebody else's conftest file or plugin has it: theirs goes first."""
    yield
    if not _taken(parser):
        parser.getgroup(_GROUP, _TITLE).addoption(
            "--server", dest=_SERVER, metavar="NAME", help="judge this server with the scenario files"
        )


def _taken(parser: pytest.Parser) -> bool:
    """Say whether ``--server`` is somebody else's; ours is still there as ``conformance run``."""
    try:
        return not parser.parse_known_and_unknown_args(["--server="])[1]
    except (pytest.UsageError, SystemExit):
        return True  # theirs is a flag, or a number


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Begin a run when a server is named."""
    server = getattr(config.option, _SERVER, None)
    if not server:
        return
    from conformance.run.session import RunSession

    worker = hasattr(config, "workerinput")
    try:
        session = RunSession(_options(config, server), worker=worker)
    except ConformanceError as error:
        config.stash[EXIT_CODE] = int(error.exit_code)
        raise _End(str(error), int(error.exit_code)) from None
    config.pluginmanager.register(_Hooks(config, session, worker=worker), "sixpost-run")


def _options(config: pytest.Config, server: str) -> RunOptions:
    from conformance.run.options import RunOptions, settings

    option = config.getoption
    report_dir = option("--sixpost-report-dir")
    return RunOptions(
        server=server,
        settings=settings(option("--sixpost-set")),
        profile=option("--sixpost-profile"),
        cases=tuple(option("--sixpost-case")),
        report_dir=Path(report_dir).absolute() if report_dir else None,
        network=option("--sixpost-network"),
        require_network=option("--sixpost-require-network"),
        seed=option("--sixpost-seed"),
        baseline=option("--sixpost-baseline"),
        fail_on_warn=option("--sixpost-fail-on-warn"),
        scenarios=tuple(Path(path) for path in option("--sixpost-scenarios")),
        builtin=not option("--sixpost-no-builtin"),
        keep_captures=option("--sixpost-keep-captures"),
    )


class _Hooks:
    """The hooks of one run. With xdist the workers run the cases, and the controller takes their records."""

    def __init__(self, config: pytest.Config, session: RunSession, *, worker: bool) -> None:
        self._config = config
        self._run = session
        self._worker = worker
        self._wrong: list[Problem] = []
        self._existing: list[Case] = []
        self._began = False
        self._finished = False

    # --- collection ---

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """Collect scenario files."""
        if file_path.suffix not in (".yaml", ".yml") or file_path.name.startswith("."):
            return None
        file: ScenarioFile = ScenarioFile.from_parent(parent, path=file_path)
        file.hooks = self
        return file

    def cases(self, path: Path) -> list[Case]:
        """Return the cases of a file."""
        from conformance.scenario.loader import load_file

        try:
            return load_file(path, self._run.catalogue)
        except ScenarioError as error:
            self._wrong.extend(error.problems)
            raise

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what was not asked for; put the cases that need a server of their own last."""
        from conformance.run.session import group
        from conformance.scenario.loader import duplicate_ids

        self._wrong.extend(duplicate_ids(item.case for item in items if isinstance(item, CaseItem)))
        if self._wrong:
            items.clear()
            return
        self._existing = [
            item.case for item in items if isinstance(item, CaseItem) and self._run.in_profile(item.case)
        ]
        kept = [
            item
            for item in items
            if not isinstance(item, CaseItem)
            or (self._run.in_profile(item.case) and self._run.options.chosen(item.case))
        ]
        chosen = set(kept)
        left_out = [item for item in items if item not in chosen]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
        if self._run.options.seed is not None:
            random.Random(self._run.options.seed).shuffle(kept)  # noqa: S311 - an order, no secret
        items[:] = sorted(kept, key=lambda item: group(item.case) if isinstance(item, CaseItem) else ())

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Everything is known: begin."""
        if not self._wrong:
            self._begin(self._existing, [item.case for item in session.items if isinstance(item, CaseItem)])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """In the controller, which collects nothing itself: begin with what the first worker has found."""
        if self._began or self._wrong:
            return
        from conformance.scenario.loader import load

        try:
            cases = load([Path(arg.partition("::")[0]) for arg in self._config.args], self._run.catalogue)
        except ScenarioError as error:
            self._wrong.extend(error.problems)
            return
        existing = [case for case in cases if self._run.in_profile(case)]
        planned = {name.partition("::")[2] for name in ids}
        self._begin(existing, [case for case in existing if case.id in planned])

    def _begin(self, existing: Sequence[Case], planned: Sequence[Case]) -> None:
        self._began = True
        self._run.begin(existing, planned)

    # --- the cases ---

    def run(self, item: CaseItem) -> CaseRecord:
        """Run one case; the record travels with the report of the item."""
        record = self._run.run(item.case)
        item.user_properties.append((_PROPERTY, record.model_dump_json()))
        if self._run.hopeless(record):
            item.session.shouldstop = "the server could not be started"
        return record

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the record: in the controller, where there are workers."""
        from conformance.verdict.model import CaseRecord

        if self._worker or report.when != "call":
            return
        for name, value in report.user_properties:
            if name == _PROPERTY:
                self._run.add(CaseRecord.model_validate_json(str(value)))

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str) -> None:
        """A worker ended in the middle of a case: that is told at once."""
        self._run.add_lost(
            crashitem.partition("::")[2], "the worker process ended in the middle of this case"
        )

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, error: object) -> None:
        """Nothing that a killed worker started goes on."""
        if error:
            self._run.clear_up()

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Show the verdict, not pytest's outcome."""
        if getattr(report, "when", None) != "call":
            return None
        for name, value in getattr(report, "user_properties", ()):
            if name == _PROPERTY:
                return _LETTERS[json.loads(str(value))["verdict"]]
        return None

    # --- the end ---

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Ctrl-C: what ran until now is reported. A run that we end early comes here, too."""
        self._run.interrupted = excinfo.type is KeyboardInterrupt

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        """Compute the exit code and write the reports."""
        yield
        if self._worker:
            return
        if session.exitstatus == pytest.ExitCode.INTERNAL_ERROR:
            # pytest has printed the trace: nothing can be said about the server.
            code = ExitCode.HARNESS_BUG
        elif self._wrong or session.exitstatus == pytest.ExitCode.USAGE_ERROR:
            code = ExitCode.USAGE
        elif self._config.option.collectonly:
            code = ExitCode(int(session.exitstatus))
        else:
            self._run.stopped = str(session.shouldstop or session.shouldfail or "")
            code = self._run.finish()
            self._finished = True
        session.exitstatus = int(code)
        self._config.stash[EXIT_CODE] = int(code)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """End the server; say how it ended."""
        self._run.close()
        if self._worker:
            return
        from conformance.report.terminal import make_console

        console = make_console()
        if self._wrong:
            for problem in dict.fromkeys(map(str, self._wrong)):
                console.print(problem, markup=False, soft_wrap=True)
        elif self._finished:
            console.print()
            self._run.show(console)


class ScenarioFile(pytest.File):
    """A scenario file; its cases are the items."""

    hooks: _Hooks

    def collect(self) -> Iterator[CaseItem]:
        """Yield the cases. What is wrong in the file is told at the end, for all files together."""
        try:
            cases = self.hooks.cases(self.path)
        except ScenarioError as error:
            raise self.CollectError(str(error)) from None
        for case in cases:
            item: CaseItem = CaseItem.from_parent(self, name=case.id)
            item.case = case
            item.hooks = self.hooks
            yield item


class CaseItem(pytest.Item):
    """One case."""

    case: Case
    hooks: _Hooks

    def runtest(self) -> None:
        """Run it; a verdict that is no pass becomes pytest's failure or skip."""
        record = self.hooks.run(self)
        category = _LETTERS[str(record.verdict)][0]
        if category == "skipped":
            pytest.skip(record.reason)
        if category == "xfailed":
            pytest.xfail(record.reason)
        if category == "failed":
            raise _NotPassed(f"{record.verdict}: {record.reason}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """One line: the whole block stands at the end."""
        if isinstance(excinfo.value, _NotPassed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the case is."""
        return self.path, self.case.position().line - 1, self.name


class _NotPassed(Exception):  # noqa: N818 - a verdict
    pass
