"""The pytest plugin: scenario files become test items. Hooks only; the work is done in `conformance.run`.

Without ``--server`` it does nothing to a test run but offer its options.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.errors import ConformanceError, ExitCode, ScenarioError

_PROPERTY = "sixpost"
_LETTERS = {
    "pass": ("passed", ".", "PASS"),
    "info": ("passed", "i", "INFO"),
    "warn": ("passed", "w", "WARN"),
    "fail": ("failed", "F", "FAIL"),
    "error": ("failed", "E", "ERROR"),
    "inconclusive": ("failed", "?", "INCONCLUSIVE"),
    "unsupported": ("skipped", "u", "UNSUPPORTED"),
    "skipped": ("skipped", "s", "SKIPPED"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer the options; all but ``--server`` have a prefix, to stay out of other plugins' way."""
    group = parser.getgroup("sixpost", "IPv6 conformance of mail servers (sixpost)")
    try:
        group.addoption("--server", metavar="NAME", help="judge this server with the scenario files")
    except ValueError:
        # Another plugin has this name: theirs was first, ours is still there as `conformance run`.
        return
    add = group.addoption
    add("--sixpost-set", action="append", default=[], metavar="KEY=VALUE", help="setting of the adapter")
    add("--sixpost-profile", default="full", metavar="NAME", help="core, full or slow (default: full)")
    add("--sixpost-case", action="append", default=[], metavar="ID", help="only this scenario or case")
    add("--sixpost-report-dir", metavar="DIR", help="write report.ndjson, summary.json and junit.xml")
    add("--sixpost-network", default="auto", metavar="MODE", help="auto, loopback or namespace")
    add("--sixpost-require-network", metavar="MODE", help="end with 3 when this mode is not available")
    add("--sixpost-baseline", metavar="FILE", help="accepted failures; 'none' for none")
    add("--sixpost-fail-on-warn", action="store_true", help="warnings fail the run")
    add("--sixpost-scenarios", action="append", default=[], metavar="DIR", help="for the replay command")
    add("--sixpost-no-builtin", action="store_true", help="for the replay command")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Begin a run when a server is named."""
    if not config.getoption("--server", default=None) or not hasattr(config.option, "sixpost_set"):
        return
    from conformance.run.options import RunOptions, settings
    from conformance.run.session import RunSession

    option = config.getoption
    report_dir = option("--sixpost-report-dir")
    worker = hasattr(config, "workerinput")
    try:
        options = RunOptions(
            server=option("--server"),
            settings=settings(option("--sixpost-set")),
            profile=option("--sixpost-profile"),
            cases=tuple(option("--sixpost-case")),
            report_dir=Path(report_dir).absolute() if report_dir else None,
            network=option("--sixpost-network"),
            require_network=option("--sixpost-require-network"),
            baseline=option("--sixpost-baseline"),
            fail_on_warn=option("--sixpost-fail-on-warn"),
            scenarios=tuple(Path(path) for path in option("--sixpost-scenarios")),
            builtin=not option("--sixpost-no-builtin"),
        )
        session = RunSession(options, worker=worker)
    except ConformanceError as error:
        pytest.exit(str(error), returncode=int(error.exit_code))
    config.pluginmanager.register(_Hooks(config, session, worker=worker), "sixpost-run")


class _Hooks:
    """The hooks of one run."""

    def __init__(self, config: pytest.Config, session: Any, *, worker: bool) -> None:
        self._config = config
        self._run = session
        self._worker = worker
        self._wrong: list[ScenarioError] = []
        self._code: ExitCode | None = None

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """Collect scenario files."""
        if file_path.suffix not in (".yaml", ".yml") or file_path.name.startswith("."):
            return None
        file: ScenarioFile = ScenarioFile.from_parent(parent, path=file_path)
        file.hooks = self
        return file

    def cases(self, path: Path) -> list[Any]:
        """Return the cases of a file."""
        from conformance.scenario.loader import load_file

        try:
            return load_file(path, self._run.catalogue)
        except ScenarioError as error:
            self._wrong.append(error)
            raise

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what was not asked for; put the cases that need a server of their own last."""
        from conformance.run.session import special

        self._existing = [
            item.case for item in items if isinstance(item, CaseItem) and self._run.in_profile(item.case)
        ]
        kept = [
            item
            for item in items
            if not isinstance(item, CaseItem)
            or (self._run.in_profile(item.case) and self._run.options.chosen(item.case))
        ]
        left_out = [item for item in items if item not in set(kept)]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
        items[:] = sorted(kept, key=lambda item: isinstance(item, CaseItem) and special(item.case))

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Everything is known: begin."""
        if self._wrong:
            return
        planned = [item.case for item in session.items if isinstance(item, CaseItem)]
        self._run.begin(getattr(self, "_existing", planned), planned)

    def run(self, item: CaseItem) -> Any:
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

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Show the verdict, not pytest's outcome."""
        if getattr(report, "when", None) != "call":
            return None
        for name, value in getattr(report, "user_properties", ()):
            if name == _PROPERTY:
                import json

                return _LETTERS[json.loads(str(value))["verdict"]]
        return None

    def pytest_keyboard_interrupt(self) -> None:
        """Ctrl-C: what ran until now is reported."""
        self._run.interrupted = True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        """Compute the exit code and write the reports."""
        yield
        if self._worker:
            return
        if self._wrong:
            session.exitstatus = ExitCode.USAGE
            return
        self._run.stopped = str(session.shouldstop or "")
        self._code = self._run.finish()
        session.exitstatus = int(self._code)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """End the server; say how it ended."""
        self._run.close()
        if self._worker:
            return
        from conformance.report.terminal import make_console

        console = make_console()
        if self._wrong:
            for error in self._wrong:
                for problem in error.problems:
                    console.print(str(problem), markup=False, soft_wrap=True)
        elif self._code is not None:
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

    case: Any
    hooks: _Hooks

    def runtest(self) -> None:
        """Run it; a verdict that is no pass becomes pytest's failure or skip."""
        record = self.hooks.run(self)
        category = _LETTERS[str(record.verdict)][0]
        if category == "skipped":
            pytest.skip(record.reason)
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
