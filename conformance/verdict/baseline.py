"""The baseline: what a server is known not to show, with reason and date. Read strictly, never ignored.

An entry that is no longer true is stale, one past its date is expired; both make the run fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from conformance.errors import Problem, ScenarioError, UsageError
from conformance.requirements import Catalogue
from conformance.verdict.judge import worst
from conformance.verdict.model import CaseRecord, Judgement, State, Verdict

Accepted = Literal["not_covered", "not_run", "unsupported", "failed", "warned"]

DIRECTORY = Path(__file__).parent.parent / "adapters" / "baselines"
"""The baselines that ship with the built-in adapters: ``NAME.yaml``."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Entry(_Strict):
    """One accepted state of one requirement."""

    requirement: str
    accept: tuple[Accepted, ...] = Field(min_length=1)
    reason: str = Field(min_length=10)
    expires: date
    link: str = ""
    network: Literal["loopback", "namespace"] | None = Field(
        default=None, description="Applies in this network mode only"
    )
    case: str = Field(default="", description="Applies to this case (or scenario) only, by its id")
    line: int = 0

    def accepts(self, record: CaseRecord, judgement: Judgement) -> bool:
        """Say whether this entry expects what ``judgement`` says of a case."""
        word = {Verdict.FAIL: "failed", Verdict.WARN: "warned"}.get(judgement.verdict)
        return word in self.accept and judgement.requirement == self.requirement and self.concerns(record)

    def concerns(self, record: CaseRecord) -> bool:
        """Say whether ``record`` is of a case that this entry speaks of."""
        return self.case in ("", record.id, record.scenario)


class Partial(_Strict):
    """A requirement that passes, of which something is not shown yet: said in each run, never stale."""

    requirement: str
    shown: str
    missing: str
    line: int = 0


class Baseline(_Strict):
    """A baseline file."""

    server: str = ""
    entries: tuple[Entry, ...] = ()
    partial: tuple[Partial, ...] = ()


EMPTY = Baseline()


_SHOWN = frozenset({State.PASSED, State.RECORDED, State.WARNED, State.UNSUPPORTED})
"""States that say something of the server, and are no failure of their own."""


@dataclass(frozen=True, slots=True)
class Review:
    """A baseline held against a run. ``stale`` has a sentence for each entry that must be mended."""

    accepted: dict[str, Entry]
    notes: dict[str, str]
    stale: tuple[str, ...]


def read(path: Path, catalogue: Catalogue) -> Baseline:
    """Return the baseline in ``path``. Raises ScenarioError with the position of each mistake."""
    try:
        document = YAML(typ="rt").load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the baseline {path} cannot be read: {error}") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise ScenarioError([Problem(path, line, column, f"this is not YAML: {error.problem}")]) from error
    except YAMLError as error:
        raise ScenarioError([Problem(path, 1, 1, f"this is not YAML: {error}")]) from error
    if not isinstance(document, dict):
        raise ScenarioError([Problem(path, 1, 1, "a baseline is a mapping with 'entries' and 'partial'")])
    for part in ("entries", "partial"):
        listed = document.get(part)
        for index, row in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(row, dict):
                row["line"] = document[part].lc.item(index)[0] + 1
    try:
        baseline = Baseline.model_validate(document)
    except ValidationError as error:
        raise ScenarioError([_problem(path, document, one) for one in _innermost(error)]) from None
    rows: list[Entry | Partial] = [*baseline.entries, *baseline.partial]
    unknown = [
        Problem(path, row.line, 1, catalogue.unknown(row.requirement))
        for row in rows
        if row.requirement not in catalogue
    ]
    if unknown:
        raise ScenarioError(unknown)
    return baseline


def _innermost(error: ValidationError) -> list[ErrorDetails]:
    """Return the errors without those that only follow from one inside."""
    found = error.errors()
    return [
        one
        for one in found
        if not any(one is not other and other["loc"][: len(one["loc"])] == one["loc"] for other in found)
    ]


def _problem(path: Path, document: object, error: ErrorDetails) -> Problem:
    line, column = 1, 1
    node = document
    for part in error["loc"]:
        try:
            place = node.lc.key(part) if isinstance(node, dict) else node.lc.item(part)  # type: ignore[attr-defined]
            node = node[part]  # type: ignore[index]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
        line, column = place[0] + 1, place[1] + 1
    where = ".".join(str(part) for part in error["loc"])
    said = error["msg"]
    if error["type"] == "extra_forbidden":
        model = Partial if error["loc"][0] == "partial" else Entry if len(error["loc"]) > 1 else Baseline
        said = f"unknown key; known are {', '.join(name for name in model.model_fields if name != 'line')}"
    return Problem(path, line, column, f"{where}: {said}")


def applied(baseline: Baseline, record: CaseRecord, *, network: str) -> CaseRecord:
    """Return ``record`` with the verdict that ``baseline`` leaves it.

    ``xfail``: everything that is wrong with it is accepted. ``xpass``: an entry names it, and nothing is.
    The judgements stay as they are: they say what the server did.
    """
    entries = tuple(_applying(baseline.entries, network))
    if record.verdict in (Verdict.FAIL, Verdict.WARN):
        verdicts = []
        reasons = []
        for judgement in record.judgements:
            entry = next((one for one in entries if one.accepts(record, judgement)), None)
            verdicts.append(judgement.verdict if entry is None else Verdict.XFAIL)
            reasons += [entry.reason] if entry is not None else []
        verdict = worst(verdicts)
        if verdict is not Verdict.XFAIL:
            return record
        return record.model_copy(
            update={"verdict": verdict, "reason": f"accepted ({reasons[0]}): {record.reason}"}
        )
    named = next((one for one in entries if one.case and _should_have_failed(one, record)), None)
    if named is None:
        return record
    reason = f"the baseline, line {named.line}, expects that it does not meet {named.requirement}"
    return record.model_copy(update={"verdict": Verdict.XPASS, "reason": reason})


def _should_have_failed(entry: Entry, record: CaseRecord) -> bool:
    return (
        record.verdict in (Verdict.PASS, Verdict.INFO)
        and entry.concerns(record)
        and entry.requirement in record.requirements
        and bool({"failed", "warned"} & set(entry.accept))
    )


def review(
    baseline: Baseline,
    states: Mapping[str, State],
    records: Sequence[CaseRecord] = (),
    *,
    network: str,
    today: date,
    complete: bool,
) -> Review:
    """Hold ``baseline`` against the states and the records of a run.

    ``complete`` is False for a run of chosen cases: what was left out says nothing about an entry.
    """
    accepted: dict[str, Entry] = {}
    stale: list[str] = []
    entries = tuple(_applying(baseline.entries, network))
    for entry in entries:
        state = states.get(entry.requirement)
        place = f"baseline line {entry.line}: {entry.requirement}"
        if entry.expires < today:
            stale.append(f"{place} expired on {entry.expires}; look again, then remove or extend it")
        elif state in entry.accept:
            if not _others_fail(entry.requirement, entries, records):
                accepted.setdefault(entry.requirement, entry)
        elif complete and state in _SHOWN and not _happened(entry, records):
            expected = " or ".join(entry.accept)
            stale.append(f"{place} is {state} now, and no longer {expected}; remove the entry")
    notes = {
        row.requirement: f"partly: {row.missing}"
        for row in baseline.partial
        if states.get(row.requirement) is State.PASSED
    }
    return Review(accepted, notes, tuple(stale))


def _others_fail(requirement: str, entries: Sequence[Entry], records: Sequence[CaseRecord]) -> bool:
    """Say whether a case does not meet ``requirement`` although no entry expects it."""
    return any(
        judgement.requirement == requirement
        and judgement.verdict in (Verdict.FAIL, Verdict.WARN)
        and not any(entry.accepts(record, judgement) for entry in entries)
        for record in records
        for judgement in record.judgements
    )


def _happened(entry: Entry, records: Sequence[CaseRecord]) -> bool:
    """Say whether a case did what ``entry`` expects, whatever the others made of the requirement."""
    return any(entry.accepts(record, judgement) for record in records for judgement in record.judgements)


def _applying(entries: Sequence[Entry], network: str) -> Iterable[Entry]:
    return (entry for entry in entries if entry.network in (None, network))
