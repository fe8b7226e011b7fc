"""The suite turns red for each fault of the catalogue, with the requirement that the fault breaks."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conformance import builtin, requirements
from conformance.network import modes
from conformance.scenario import loader
from conformance.scenario.needs import network_needs
from conformance.selftest.faults import FAULTS, Fault

CASES = loader.load([builtin.scenarios_directory()], requirements.load())
LIMIT = 560


def run(folder: Path, scenarios: list[str], *options: str) -> tuple[int, dict[str, Any]]:
    """Judge the reference server by some scenarios, in a process of its own."""
    chosen = [word for scenario in scenarios for word in ("--case", scenario)]
    command = [sys.executable, "-m", "conformance.cli", "run", "--server", "reference", "--fail-on", "warn"]
    done = subprocess.run(
        [*command, "--report-dir", str(folder), *chosen, *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    summary = folder / "summary.json"
    assert summary.is_file(), done.stdout + done.stderr
    return done.returncode, json.loads(summary.read_text("utf-8"))


def claimed(fault: Fault) -> list[str]:
    """Return the scenarios that say that they catch it."""
    return sorted({case.scenario.id for case in CASES if fault.id in case.scenario.catches})


Healthy = Callable[[Fault], dict[str, Any]]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Healthy:
    """Give the summary of the healthy server over the scenarios of all faults, run once."""

    @functools.cache
    def judged(name: str) -> dict[str, Any]:
        scenarios = sorted({one for fault in FAULTS if fault.healthy == name for one in claimed(fault)})
        options = ["--set", f"fault={name}"] if name else []
        code, summary = run(tmp_path_factory.mktemp("healthy"), scenarios, *options, "-n", "2")
        assert code == 0, summary
        return summary

    return lambda fault: judged(fault.healthy)


def _needs_namespace(fault: Fault) -> bool:
    return any(
        set(network_needs(case.scenario)) - {"no_ipv6_filter", "process_table"}
        for case in CASES
        if fault.id in case.scenario.catches
    )


# `storage-not-synced` breaks nothing that a scenario can see: test_synced.py traces the system calls.
@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if fault.breaks], ids=lambda fault: str(fault.id)
)
def test_a_broken_server_turns_the_run_red(fault: Fault, healthy: Healthy, tmp_path: Path) -> None:
    if _needs_namespace(fault) and (reason := modes.probe()):
        pytest.skip(f"no namespace: {reason}")
    scenarios = claimed(fault)
    assert scenarios, f"no scenario catches {fault.id}"

    broken = tmp_path / "broken"
    broken.mkdir()
    code, summary = run(broken, scenarios, "--set", f"fault={fault.id}")
    states = {name: one["state"] for name, one in summary["requirements"].items()}
    level = {name: one["level"] for name, one in summary["requirements"].items()}
    assert code == 1, states
    for name in fault.breaks:
        assert states[name] == ("failed" if level[name].startswith("MUST") else "warned"), states
    assert summary["verdicts"]["error"] == 0

    right = healthy(fault)["requirements"]
    assert all(right[name]["state"] == "passed" for name in fault.breaks)
