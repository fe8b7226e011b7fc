"""The command ``conformance doctor``."""

from __future__ import annotations

import json

from conformance.doctor.examination import built_in_needs, examine, try_out
from conformance.doctor.machine import Machine
from conformance.doctor.show import show
from conformance.errors import MachineError, UsageError
from conformance.report.terminal import make_console


def doctor(*, as_json: bool, require: str | None) -> None:
    """Examine this machine and print what was found.

    ``require``: the mode that ``conformance run`` must come to here, else MachineError is raised, after the
    report. Raises UsageError for another word.
    """
    if require not in (None, "auto", "loopback", "namespace"):
        raise UsageError(f"unknown network mode {require!r}; use auto, loopback or namespace")
    report = examine(Machine(), try_out(), built_in_needs())
    if as_json:
        print(json.dumps(report.as_json(), indent=2, ensure_ascii=False))
    else:
        show(make_console(), report)
    if require == "namespace" and report.mode != require:
        raise MachineError(f"network mode {require} is required, and this machine has {report.mode} only")
