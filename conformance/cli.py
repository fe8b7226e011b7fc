"""``conformance``: the command line."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.table import Table

from conformance import __version__
from conformance.builtin import scenarios_directory
from conformance.errors import ConformanceError, ExitCode, ScenarioError, UsageError
from conformance.report.terminal import make_console

app = typer.Typer(
    name="conformance",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Judge the IPv6 behaviour of a mail server, requirement by requirement.",
    epilog="Exit codes: 0 conforms; 1 does not, or the baseline is stale; 2 wrong usage or invalid scenario; "
    "3 this machine cannot run what is required; 4 the server could not be started; 5 nothing was verified; "
    "70 a bug of the harness; 130 interrupted.",
)
adapter_app = typer.Typer(no_args_is_help=True, help="The contract between the harness and a server.")
app.add_typer(adapter_app, name="adapter")

_RUN_HELP = """\
Judge a server.

Examples:

  conformance run --server reference

  conformance run --server reference --profile core --report-dir report

  conformance run --server "exec:./my-adapter --flag" --scenarios my/scenarios

  conformance run --server reference -k ip_ranges -- -x
"""


def _version(wanted: bool) -> None:
    if wanted:
        print(f"sixpost {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Judge the IPv6 behaviour of a mail server, requirement by requirement."""


_Server = Annotated[
    str, typer.Option(help="Server under test: reference, exec:COMMAND or python:package.module:Class.")
]
_Profile = Annotated[str, typer.Option(help="core (MUST), full (everything), slow (with real waits).")]
_Scenarios = Annotated[
    list[Path] | None, typer.Option(metavar="PATH", help="More scenarios; may be repeated.")
]
_NoBuiltin = Annotated[bool, typer.Option("--no-builtin", help="Without the built-in scenarios.")]
_Cases = Annotated[
    list[str] | None, typer.Option(metavar="ID", help="Only this scenario or case; may be repeated.")
]
_Keyword = Annotated[str, typer.Option("-k", metavar="EXPR", help="Only cases whose names match.")]
_ReportDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write report.ndjson, summary.json and junit.xml there.")
]
_Network = Annotated[str, typer.Option(help="auto, loopback or namespace.")]
_RequiredNetwork = Annotated[
    str | None, typer.Option(metavar="MODE", help="End with 3 when this mode is not available.")
]
_Baseline = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="What is accepted; 'none' for nothing [default: the server's own]."),
]
_FailOn = Annotated[str | None, typer.Option(metavar="warn", help="Warnings fail the run.")]
_Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the adapter.")
]
_KeepCaptures = Annotated[
    bool, typer.Option("--keep-captures", help="Keep the packets of cases that passed, too (namespace).")
]
_Seed = Annotated[
    int | None, typer.Option(metavar="N", help="Run the cases in an order shuffled by this number.")
]
_Workers = Annotated[str | None, typer.Option("-n", metavar="N|auto", help="Run in N processes.")]


@app.command(help=_RUN_HELP, context_settings={"allow_extra_args": True})
def run(
    context: typer.Context,
    server: _Server,
    profile: _Profile = "full",
    scenarios: _Scenarios = None,
    no_builtin: _NoBuiltin = False,
    case: _Cases = None,
    keyword: _Keyword = "",
    report_dir: _ReportDir = None,
    network: _Network = "auto",
    require_network: _RequiredNetwork = None,
    baseline: _Baseline = None,
    fail_on: _FailOn = None,
    settings: _Settings = None,
    keep_captures: _KeepCaptures = False,
    seed: _Seed = None,
    workers: _Workers = None,
) -> None:
    if fail_on not in (None, "warn"):
        raise UsageError(f"--fail-on {fail_on}: unknown; the one word is warn")
    paths = [] if no_builtin else [scenarios_directory()]
    paths += [path.absolute() for path in scenarios or []]
    if not paths:
        raise UsageError("--no-builtin leaves no scenarios; name some with --scenarios PATH")
    _check(paths)
    options: list[tuple[str, object]] = [
        ("--server", server),
        ("--sixpost-profile", profile),
        ("--sixpost-network", network),
        ("--sixpost-report-dir", report_dir),
        ("--sixpost-require-network", require_network),
        ("--sixpost-baseline", baseline),
        ("--sixpost-seed", None if seed is None else str(seed)),
        ("-k", keyword),
        ("-n", workers),
        *(("--sixpost-set", text) for text in settings or []),
        *(("--sixpost-case", text) for text in case or []),
        *(("--sixpost-scenarios", path) for path in scenarios or []),
    ]
    arguments = [word for name, value in options if value for word in _words(name, str(value))]
    arguments += ["--sixpost-no-builtin"] if no_builtin else []
    arguments += ["--sixpost-fail-on-warn"] if fail_on else []
    arguments += ["--sixpost-keep-captures"] if keep_captures else []
    raise typer.Exit(_pytest([*map(str, paths), *arguments, *context.args]))


def _words(name: str, value: str) -> list[str]:
    """Return an option as pytest takes it: in one word, so that a value may begin with a dash."""
    return [f"{name}={value}"] if name.startswith("--") else [name, value]


class _Watch:
    """A plugin that keeps pytest's configuration, where our plugin leaves the exit code."""

    config: Any = None

    def pytest_cmdline_main(self, config: Any) -> None:
        """Called before anything is started."""
        self.config = config


def _pytest(arguments: list[str]) -> int:
    """Run pytest and return our exit code: pytest's own numbers mean something else."""
    import pytest

    watch = _Watch()
    with _own_pytest():
        code = int(pytest.main([*_quiet(), *arguments], plugins=[watch]))
    # Not earlier: pytest imports it itself.
    from conformance.plugin import EXIT_CODE

    if watch.config is not None and EXIT_CODE in watch.config.stash:
        return int(watch.config.stash[EXIT_CODE])
    if code == pytest.ExitCode.USAGE_ERROR:
        return ExitCode.USAGE
    return ExitCode.INTERRUPTED if code == pytest.ExitCode.INTERRUPTED else ExitCode.HARNESS_BUG


def _quiet() -> list[str]:
    """Return the options that keep the user's pytest configuration, plugins and conftest files out."""
    return [
        "-c",
        str(Path(__file__).with_name("pytest.ini")),
        f"--rootdir={Path.cwd()}",
        "--noconftest",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:tmpdir",  # with it, xdist would leave a folder behind
        "-p",
        "xdist.plugin",
        "-p",
        "conformance.plugin",
        "-qq",
        "--tb=no",
        "-rN",
    ]


@contextmanager
def _own_pytest() -> Iterator[None]:
    """Keep the user's pytest settings in the environment out of the run; its workers inherit that."""
    ours = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", "PYTEST_PLUGINS": ""}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _check(paths: list[Path]) -> list[Any]:
    """Load all scenarios: every mistake is told before anything is started."""
    from conformance import requirements
    from conformance.scenario import loader

    return loader.load(paths, requirements.load())


@app.command()
def check(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH", help="Default: the built-in ones.")
    ] = None,
) -> None:
    """Check scenario files: every mistake with file, line, column and remedy."""
    cases = _check(paths or [scenarios_directory()])
    print(f"{len({case.file for case in cases})} files, {len(cases)} cases: no mistakes")


@app.command("list")
def list_(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH", help="Default: the built-in ones.")
    ] = None,
    requirement: Annotated[
        str | None, typer.Option(metavar="ID", help="Only scenarios that judge it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the scenarios: what they judge, how many cases they have, what they need."""
    from conformance import requirements
    from conformance.scenario import needs

    catalogue = requirements.load()
    if requirement is not None and requirement not in catalogue:
        raise UsageError(catalogue.unknown(requirement))
    rows: dict[str, dict[str, Any]] = {}
    for case in _check(paths or [scenarios_directory()]):
        scenario = case.scenario
        if requirement is not None and requirement not in scenario.requirements:
            continue
        row = rows.setdefault(
            scenario.id,
            {
                "id": scenario.id,
                "title": scenario.title,
                "requirements": list(scenario.requirements),
                "cases": 0,
                "network": [],
                "features": [],
                "file": str(case.file),
            },
        )
        row["cases"] += 1
        # The values of a matrix can differ in what they need.
        for key, needed in (
            ("network", needs.network_needs(scenario)),
            ("features", needs.features(scenario)),
        ):
            row[key] += [need for need in needed if need not in row[key]]
    if as_json:
        print(json.dumps(list(rows.values()), indent=2, ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("scenario", no_wrap=True)
    table.add_column("cases", no_wrap=True, justify="right")
    for name in ("judges", "title"):
        table.add_column(name, overflow="fold")
    for row in rows.values():
        table.add_row(row["id"], str(row["cases"]), " ".join(row["requirements"]), row["title"])
    make_console().print(table)


@app.command()
def requirements(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the requirements."""
    from conformance.requirements import load

    catalogue = load()
    if as_json:
        print(json.dumps([one.model_dump(mode="json") for one in catalogue], indent=2, ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("requirement", "level"):
        table.add_column(name, no_wrap=True)
    table.add_column("text", overflow="fold")
    for one in catalogue:
        table.add_row(one.id, one.level + ("*" if one.page_policy else ""), one.text)
    make_console().print(table)


@app.command()
def doctor(
    require_network: _RequiredNetwork = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say what this machine can do for a run, what is missing, and how to get it."""
    from conformance.doctor import command

    command.doctor(as_json=as_json, require=require_network)


@app.command()
def schema() -> None:
    """Print the JSON Schema of scenario files, for editors."""
    from conformance.scenario.schema import scenario_schema

    print(json.dumps(scenario_schema(), indent=2, ensure_ascii=False))


@adapter_app.command("schema")
def adapter_schema() -> None:
    """Print the JSON Schema of the messages of an exec: adapter."""
    from conformance.adapters.messages import schema as messages_schema

    print(json.dumps(messages_schema(), indent=2, ensure_ascii=False))


def main() -> None:
    """Run the program: every fault of ours or the user's is one clear message and an exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except ConformanceError as error:
        print(
            f"conformance: {error}" if not isinstance(error, ScenarioError) else str(error), file=sys.stderr
        )
        log = getattr(error, "log", "")
        if log:
            print(log, file=sys.stderr)
        sys.exit(int(error.exit_code))
    except KeyboardInterrupt:
        sys.exit(int(ExitCode.INTERRUPTED))
    except Exception:  # noqa: BLE001 - whatever it is, it is ours
        traceback.print_exc()
        print("conformance: a bug of the harness; please report it with the lines above", file=sys.stderr)
        sys.exit(int(ExitCode.HARNESS_BUG))


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    """SIGTERM ends a run as Ctrl-C does: what ran is reported, and no server is left. Once is enough."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
