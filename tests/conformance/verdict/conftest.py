"""Records and cases for what is computed from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.scenario.case import Case
from conformance.scenario.model import Scenario
from conformance.verdict.model import CaseRecord, Judgement, Verdict


def record(
    name: str,
    verdict: str,
    judged: dict[str, str] | None = None,
    *,
    requirements: tuple[str, ...] = (),
    reason: str = "",
    fault: str = "",
) -> CaseRecord:
    """Return a record; ``judged`` is requirement → verdict."""
    judgements = tuple(
        Judgement(requirement=one, verdict=Verdict(word), step="steps[0]", line=9, expected="a", actual="b")
        for one, word in (judged or {}).items()
    )
    return CaseRecord(
        id=f"{name}[x]",
        scenario=name,
        title="A title",
        file="a.yaml",
        line=1,
        requirements=requirements or tuple(judged or ()),
        verdict=Verdict(verdict),
        reason=reason,
        fault=fault,  # type: ignore[arg-type]
        judgements=judgements,
    )


def case(name: str, *requirements: str) -> Case:
    """Return a case that judges ``requirements``."""
    scenario = Scenario.model_validate(
        {
            "id": name,
            "title": "A title of a case",
            "requirements": requirements,
            "steps": [{"server": "kill"}],
        }
    )
    return Case(f"{name}[x]", scenario, {}, Path("a.yaml"), {})


class Make:
    """What this conftest offers, without an import."""

    record = staticmethod(record)
    case = staticmethod(case)


@pytest.fixture(scope="session")
def make() -> type[Make]:
    return Make
