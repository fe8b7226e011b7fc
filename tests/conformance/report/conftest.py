"""A small run that a report is made of."""

from __future__ import annotations

import pytest

from conformance import requirements
from conformance.verdict.model import CaseRecord, Judgement, TranscriptLine, Verdict
from conformance.verdict.requirements import RequirementState, states

CATALOGUE = requirements.load()


def record(verdict: str, name: str = "tests.case", requirement: str = "BIND-2", **more: object) -> CaseRecord:
    """Return a record of one case with one judgement, where its verdict has one."""
    judged = verdict in ("pass", "fail", "warn", "info")
    values = {
        "id": f"{name}[smtp]",
        "scenario": name,
        "title": "A title of a case",
        "file": "dir/case.yaml",
        "line": 1,
        "requirements": (requirement,),
        "verdict": Verdict(verdict),
        "reason": "" if verdict in ("pass", "info") else f"the reason of {verdict}",
        "judgements": (
            Judgement(
                requirement=requirement,
                verdict=Verdict(verdict),
                step="steps[0]",
                line=12,
                expected="the expected",
                actual="the actual",
            ),
        )
        if judged
        else (),
        "transcript": (
            TranscriptLine(at=0.25, who="client[::1]:4711", kind="received", text="250 grüß Gott <&>\x00"),
        ),
        "log_tail": "the log of the server",
        "seconds": 1.5,
        "replay": "conformance run --case x",
        **more,
    }
    return CaseRecord.model_validate(values)


class Make:
    """What this conftest offers, without an import."""

    catalogue = CATALOGUE
    record = staticmethod(record)

    @staticmethod
    def states(*records: CaseRecord) -> dict[str, RequirementState]:
        return states(records, [], CATALOGUE, "full")


@pytest.fixture(scope="session")
def make() -> type[Make]:
    return Make
