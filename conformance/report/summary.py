"""``summary.json``: its keys are a promise to scripts."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conformance import __version__
from conformance.adapters.base import Hello
from conformance.errors import ExitCode
from conformance.verdict.model import REPORT_SCHEMA, CaseRecord, State, Verdict
from conformance.verdict.requirements import RequirementState


@dataclass(frozen=True, slots=True)
class Run:
    """What is known of a run before its first case."""

    server: Hello
    adapter: str
    """The text given with ``--server``."""
    profile: str
    network: str
    started: str
    """UTC, ISO 8601."""
    seed: int | None = None
    """Of the order of the cases; None: the order of the files."""


def header(run: Run, cases: int) -> dict[str, Any]:
    """Return the header of the stream; ``cases`` are those that are to run."""
    return {
        "schema": REPORT_SCHEMA,
        "sixpost_version": __version__,
        "server": _server(run),
        "profile": run.profile,
        "network": run.network,
        "environment": environment(),
        "started": run.started,
        "cases": cases,
        **({} if run.seed is None else {"seed": run.seed}),
    }


def summary(
    run: Run,
    records: Sequence[CaseRecord],
    states: dict[str, RequirementState],
    code: ExitCode,
    wall_seconds: float,
) -> dict[str, Any]:
    """Return the summary of a run; all times in seconds."""
    return {
        "schema": REPORT_SCHEMA,
        "sixpost_version": __version__,
        "server": _server(run),
        "profile": run.profile,
        "network": run.network,
        "environment": environment(),
        "started": run.started,
        "wall_seconds": round(wall_seconds, 3),
        "cases": len(records),
        "verdicts": {
            str(verdict): sum(record.verdict is verdict for record in records) for verdict in Verdict
        },
        "requirements": {
            name: {
                "level": one.requirement.level + ("*" if one.requirement.page_policy else ""),
                "state": str(one.state),
                "cases": one.cases,
                "scenarios": list(one.scenarios),
            }
            for name, one in states.items()
            if one.state is not State.NOT_COVERED
        },
        "not_covered": [name for name, one in states.items() if one.state is State.NOT_COVERED],
        "exit_code": int(code),
    }


def environment() -> dict[str, str]:
    """Return what this machine is, without its name or paths."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "cpus": str(os.cpu_count() or 0),
    }


def _server(run: Run) -> dict[str, str]:
    server = {"name": run.server.name, "version": run.server.version, "adapter": run.adapter}
    return {**server, "path": run.server.path} if run.server.path else server
