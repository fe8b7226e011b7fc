"""The requirement catalogue: which requirements there are, at which level, and how it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import requirements
from conformance.errors import HarnessBug, UsageError
from conformance.requirements import UnknownRequirement

LEVELS = {
    "OS": "MUST MUST INFO SHOULD SHOULD SHOULD",
    "BIND": "MUST* MUST MUST MUST SHOULD* SHOULD* MUST MUST MUST SHOULD SHOULD SHOULD SHOULD INFO",
    "RANGE": (
        "MUST MUST MUST MUST SHOULD* MUST SHOULD SHOULD MUST SHOULD SHOULD MUST SHOULD SHOULD SHOULD SHOULD "
        "SHOULD SHOULD INFO MUST MUST*"
    ),
    "RELAY": (
        "MUST MUST MUST MUST SHOULD SHOULD SHOULD SHOULD SHOULD SHOULD MUST SHOULD SHOULD SHOULD SHOULD "
        "SHOULD MUST SHOULD MUST"
    ),
    "ADMIN": "MUST SHOULD SHOULD SHOULD SHOULD SHOULD",
    "STORE": "MUST MUST SHOULD",
    "WIRE": "SHOULD SHOULD SHOULD SHOULD SHOULD SHOULD SHOULD SHOULD",
}


def test_every_requirement_is_there_at_its_level() -> None:
    """Ids and levels are a promise to reports and baselines: this list changes when the promise does."""
    expected = {
        f"{topic}-{number}": level
        for topic, levels in LEVELS.items()
        for number, level in enumerate(levels.split(), start=1)
    }
    catalogue = requirements.load()
    assert {requirement.id: requirement.level_text for requirement in catalogue} == expected
    assert list(catalogue.ids) == list(expected)
    assert len(catalogue) == len(expected) == 77


@pytest.mark.parametrize(
    ("source", "ids"),
    [
        ("rfc", "BIND-12 RELAY-11 RELAY-12 RELAY-15 RELAY-16 RELAY-18"),
        ("hm", "OS-6 BIND-10 RANGE-5 RANGE-7 RANGE-8 RANGE-10 RANGE-11 RANGE-15 RANGE-16 RANGE-17 RELAY-7 "
               "RELAY-10 RELAY-13 RELAY-14 ADMIN-2 STORE-3"),
    ],
)  # fmt: skip
def test_sources(source: str, ids: str) -> None:
    found = [requirement.id for requirement in requirements.load() if source in requirement.sources]
    assert found == ids.split()


@pytest.mark.parametrize(
    ("requirement", "numbers"),
    [
        ("RANGE-4", ["at most 1 s", "up to 10 s", "hung"]),
        ("RANGE-16", ["550", "530"]),
        ("RANGE-12", ["128", "low 64 bits", "7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "8000::", '"::"']),
        ("RELAY-11", ["250", "4xx", "RFC 5321 sections 4.2.5 and 6.1"]),
        ("RELAY-18", ["998 octets", "RFC 6152"]),
        ("STORE-2", ["fe80::", "255.255.255.255", "0.0.0.0"]),
    ],
)
def test_what_is_measured_is_in_the_text(requirement: str, numbers: list[str]) -> None:
    text = requirements.load()[requirement].text
    assert [number for number in numbers if number not in text] == []


def test_every_topic_has_a_title() -> None:
    catalogue = requirements.load()
    assert list(catalogue.topics) == list(LEVELS)
    assert all(catalogue.topics[requirement.topic] for requirement in catalogue)


def test_an_unknown_id_is_answered_with_the_nearest() -> None:
    catalogue = requirements.load()
    assert "RANGE-4" in catalogue
    assert "RANGE-99" not in catalogue
    with pytest.raises(UnknownRequirement) as caught:
        catalogue["RNGE-4"]
    assert str(caught.value) == "unknown requirement 'RNGE-4'; did you mean 'RANGE-4'?"
    assert isinstance(caught.value, UsageError)
    assert isinstance(caught.value, KeyError)
    assert catalogue.unknown("nonsense").endswith("the topics are OS, BIND, RANGE, RELAY, ADMIN, STORE, WIRE")
    assert catalogue.unknown("os-7777777777").endswith("the topic OS has OS-1, OS-2, OS-3, OS-4, OS-5, OS-6")


GOOD = """\
topics:
  OS:
    title: Systems
    requirements:
      OS-1: {level: MUST, sources: [doc], text: The server does what it must., excluded: cannot be shown}
"""


def test_a_requirement_may_be_excluded_with_a_reason(tmp_path: Path) -> None:
    file = tmp_path / "requirements.yaml"
    file.write_text(GOOD, encoding="utf-8")
    assert requirements.read(file)["OS-1"].excluded == "cannot be shown"
    assert all(requirement.excluded is None for requirement in requirements.load())


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("MUST", "MAY"),
        ("OS-1", "OS-01"),
        ("OS-1", "BIND-1"),
        ("[doc]", "[]"),
        ("[doc]", "[hearsay]"),
        ("level", "levl"),
        ("title", "titel"),
        ("topics", "topic"),
        ("topics:", "- topics:"),
        ("The server does what it must.", "short"),
    ],
)
def test_a_damaged_catalogue_is_a_bug_of_ours(tmp_path: Path, right: str, wrong: str) -> None:
    file = tmp_path / "requirements.yaml"
    file.write_text(GOOD.replace(right, wrong, 1), encoding="utf-8")
    with pytest.raises(HarnessBug, match=r"requirements\.yaml is damaged"):
        requirements.read(file)
