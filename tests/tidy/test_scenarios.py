"""The scenarios that ship: ids, file names, and that every requirement is covered or listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conformance import requirements
from conformance.builtin import scenarios_directory
from conformance.scenario.case import Case
from conformance.scenario.document import plain, read_mapping
from conformance.scenario.loader import load
from conformance.selftest.faults import FAULTS

ROOT = Path(__file__).parents[2]
BASELINE = ROOT / "conformance" / "adapters" / "baselines" / "reference.yaml"
ENTRY_KEYS = {"requirement", "scenario", "network", "accept", "reason", "link", "expires"}


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return load([scenarios_directory()], requirements.load())


@pytest.fixture(scope="module")
def baseline() -> dict[str, Any]:
    document = plain(read_mapping(BASELINE))
    assert isinstance(document, dict)
    return document


def test_ids_are_unique(cases: list[Case]) -> None:
    ids = [case.id for case in cases]
    assert len(ids) == len(set(ids))
    files: dict[str, set[Path]] = {}
    for case in cases:
        files.setdefault(case.scenario.id, set()).add(case.file)
    assert [scenario for scenario, where in files.items() if len(where) > 1] == []


def test_a_scenario_is_found_by_its_id(cases: list[Case]) -> None:
    """``listening.port-in-use`` stands in ``listening/port-in-use.yaml``."""
    misplaced = {
        case.scenario.id: str(case.file)
        for case in cases
        if case.file.relative_to(scenarios_directory()).with_suffix("").parts
        != tuple(case.scenario.id.split("."))
    }
    assert misplaced == {}


def test_every_requirement_is_covered_or_listed_or_excluded(
    cases: list[Case], baseline: dict[str, Any]
) -> None:
    covered = {requirement for case in cases for requirement in case.scenario.requirements}
    listed = {entry["requirement"] for entry in baseline["entries"] if "not_covered" in entry["accept"]}
    excluded = {requirement.id for requirement in requirements.load() if requirement.excluded}
    assert [one for one in requirements.load().ids if one not in covered | listed | excluded] == []
    assert sorted(listed & covered) == [], "the baseline says not_covered of requirements that a scenario has"
    assert sorted(excluded & covered) == [], "the catalogue excludes requirements that a scenario has"


def test_the_baseline_names_what_exists_and_gives_reasons(
    cases: list[Case], baseline: dict[str, Any]
) -> None:
    catalogue = requirements.load()
    scenarios = {case.scenario.id for case in cases}
    seen = set()
    for entry in baseline["entries"]:
        assert entry.keys() <= ENTRY_KEYS, entry
        assert entry["requirement"] in catalogue, entry
        assert entry.get("scenario", next(iter(scenarios))) in scenarios, entry
        assert len(entry["reason"]) >= 20, entry
        assert entry["expires"], entry
        key = (entry["requirement"], entry.get("scenario"), entry.get("network"), tuple(entry["accept"]))
        assert key not in seen, entry
        seen.add(key)
    for entry in baseline.get("partial", []):
        assert entry["requirement"] in catalogue, entry
        assert entry["shown"], entry
        assert entry["missing"], entry


def test_the_faults_that_scenarios_catch_exist(cases: list[Case]) -> None:
    known = {fault.id for fault in FAULTS}
    unknown = {case.scenario.id: set(case.scenario.catches) - known for case in cases}
    assert {scenario: faults for scenario, faults in unknown.items() if faults} == {}


def test_every_fault_is_caught_by_a_scenario_of_what_it_breaks(cases: list[Case]) -> None:
    """A fault names requirements; a scenario that says it catches the fault judges one of them."""
    for fault in FAULTS:
        catchers = [case.scenario for case in cases if fault.id in case.scenario.catches]
        assert catchers, f"no scenario says that it catches {fault.id}"
        assert any(set(fault.breaks) & set(scenario.requirements) for scenario in catchers), fault.id
