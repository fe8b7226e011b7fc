"""The door of the scenario format: files become cases, or every problem of all of them is raised at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from conformance.errors import Problem, ScenarioError, UsageError
from conformance.requirements import Catalogue
from conformance.scenario.case import Case, Position
from conformance.scenario.checks import check
from conformance.scenario.document import Mapping, read_mapping
from conformance.scenario.matrix import Instance, expand
from conformance.scenario.mistakes import Finding, resolve
from conformance.scenario.validation import Salvaged, salvage, validate

SUFFIXES = frozenset({".yaml", ".yml"})


def load(paths: Sequence[Path], catalogue: Catalogue) -> list[Case]:
    """Return the cases of all scenario files at ``paths`` (files, or folders with everything below).

    Folders are read in the order of their names. Raises ScenarioError with every problem of every file,
    UsageError for a path that does not exist. A folder without scenarios gives no cases.
    """
    cases: list[Case] = []
    problems: list[Problem] = []
    for file in scenario_files(paths):
        try:
            cases.extend(load_file(file, catalogue))
        except ScenarioError as error:
            problems.extend(error.problems)
    problems.extend(duplicate_ids(cases))
    if problems:
        raise ScenarioError(problems)
    return cases


def scenario_files(paths: Iterable[Path]) -> list[Path]:
    """Return the scenario files at ``paths``, each once, those of a folder sorted; hidden ones left out."""
    files: dict[Path, Path] = {}
    for path in paths:
        if path.is_dir():
            found = sorted(
                file
                for file in path.rglob("*")
                if file.suffix in SUFFIXES
                and file.is_file()
                and not any(part.startswith(".") for part in file.relative_to(path).parts)
            )
        elif path.exists():
            found = [path]
        else:
            raise UsageError(f"{path}: no such file or folder; name a scenario file or a folder of them")
        for file in found:
            files.setdefault(file.resolve(), file)
    return list(files.values())


def load_file(file: Path, catalogue: Catalogue) -> list[Case]:
    """Return the cases of one file, in the order of its matrix; raise ScenarioError with its problems."""
    root = read_mapping(file)
    instances, mistakes = expand(root)
    problems = {
        (mistake.position, mistake.message): Problem(
            file, mistake.position.line, mistake.position.column, mistake.message
        )
        for mistake in mistakes
    }
    cases: list[Case] = []
    found: dict[tuple[Position, str], list[str]] = {}
    for instance in instances:
        scenario, findings = validate(_with_matrix(instance, root))
        if scenario is None:
            wrong = {finding.path for finding in findings}
            more = check(salvage(instance.data), catalogue)
            findings.extend(finding for finding in more if finding.path not in wrong)
        else:
            findings = check(Salvaged(scenario), catalogue)
            case_id = f"{scenario.id}[{instance.label}]" if instance.combination else scenario.id
            cases.append(Case(case_id, scenario, instance.parameters, file, instance.positions))
        for finding in findings:
            if finding.path not in instance.unresolved:
                found.setdefault((_place(finding, instance), finding.message), []).append(instance.label)
    for (position, message), labels in found.items():
        where = "" if len(set(labels)) == len(instances) else f" (in the case [{labels[0]}])"
        problems.setdefault(
            (position, message), Problem(file, position.line, position.column, f"{message}{where}")
        )
    if problems:
        raise ScenarioError(sorted(problems.values(), key=lambda problem: (problem.line, problem.column)))
    return cases


def duplicate_ids(cases: Iterable[Case]) -> list[Problem]:
    """Return a problem for each file whose scenario id an earlier file has."""
    first: dict[str, Case] = {}
    problems: dict[Path, Problem] = {}
    for case in cases:
        known = first.setdefault(case.scenario.id, case)
        if known.file != case.file and case.file not in problems:
            place = case.position("id")
            message = (
                f"the id {case.scenario.id!r} is that of {known.file} already; every scenario has its own"
            )
            problems[case.file] = Problem(case.file, place.line, place.column, message)
    return list(problems.values())


def _with_matrix(instance: Instance, root: Mapping) -> dict[str, object]:
    """Return the data of ``instance`` with the one combination that it is; `expand` has judged the others."""
    entry = root.get("matrix")
    if entry is None:
        return instance.data
    if instance.explicit:
        return instance.data | {"matrix": (instance.parameters,)}
    return instance.data | {"matrix": {name: (value,) for name, value in instance.parameters.items()}}


def _place(finding: Finding, instance: Instance) -> Position:
    """Return where the user mends ``finding``: at the key, in the matrix, or at the value."""
    path, _ = resolve(finding.path, instance.data)
    if finding.at_key and path in instance.keys:
        return instance.keys[path]
    return instance.origins.get(path) or instance.positions[path]
