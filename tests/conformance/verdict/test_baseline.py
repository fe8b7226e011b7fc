"""The baseline: read strictly, held against a run, never ignored."""

from __future__ import annotations

from datetime import date

import pytest

from conformance import requirements
from conformance.errors import ScenarioError, UsageError
from conformance.verdict import baseline
from conformance.verdict.model import State

CATALOGUE = requirements.load()
TODAY = date(2026, 6, 15)
ENTRY = '{requirement: BIND-2, accept: [unsupported], reason: "it cannot do that", expires: 2026-06-15}'


def written(tmp_path, text):
    file = tmp_path / "baseline.yaml"
    file.write_text(text, "utf-8")
    return file


def problems(tmp_path, text):
    file = written(tmp_path, text)
    with pytest.raises(ScenarioError) as caught:
        baseline.read(file, CATALOGUE)
    assert all(problem.file == file for problem in caught.value.problems)
    return [(problem.line, problem.message) for problem in caught.value.problems]


def test_a_baseline_is_read(tmp_path) -> None:
    text = (
        f"server: mine\nentries:\n  # a comment\n  - {ENTRY}\n"
        "partial:\n  - {requirement: BIND-3, shown: one, missing: the others}\n"
    )
    found = baseline.read(written(tmp_path, text), CATALOGUE)
    (entry,) = found.entries
    assert (entry.requirement, entry.accept, entry.line) == ("BIND-2", ("unsupported",), 4)
    assert entry.expires == TODAY
    assert [(row.requirement, row.missing, row.line) for row in found.partial] == [
        ("BIND-3", "the others", 6)
    ]


def test_the_baselines_that_ship_are_right() -> None:
    files = sorted(baseline.DIRECTORY.glob("*.yaml"))
    assert files
    for file in files:
        found = baseline.read(file, CATALOGUE)
        assert all(entry.line for entry in found.entries)


@pytest.mark.parametrize(
    ("wrong", "line", "says"),
    [
        ("entries: [", 1, "not YAML"),
        ("- 1", 1, "mapping"),
        ("", 1, "mapping"),
        (f"entries:\n  - {ENTRY.replace('BIND-2', 'BIND-99')}", 2, "BIND-99"),
        (f"entries:\n  - {ENTRY.replace('}', ', raeson: x}')}", 2, "raeson"),
        (f"entries:\n  - {ENTRY.replace('unsupported', 'unsuported')}", 2, "accept"),
        (f"entries:\n  - {ENTRY}\n  - {ENTRY.replace('2026-06-15', 'soon')}", 3, "expires"),
        (f"entries:\n  - {ENTRY.replace('it cannot do that', '-')}", 2, "reason"),
        (f"entries:\n  - {ENTRY.replace('[unsupported]', '[]')}", 2, "accept"),
        (f"entrys:\n  - {ENTRY}", 1, "entrys"),
        (f"entries:\n  - {ENTRY.replace(', expires: 2026-06-15', '')}", 2, "expires"),
        ("entries: 7", 1, "entries"),
        ("entries: [7]", 1, "entries"),
        (f"entries:\n  - {ENTRY}\n  - {ENTRY}\nentries: []", 4, "entries"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path, wrong, line, says) -> None:
    ((at, message),) = problems(tmp_path, wrong)
    assert says in message
    assert at == line


def test_the_position_is_printed_once(tmp_path) -> None:
    file = written(tmp_path, f"entries:\n  - {ENTRY.replace('BIND-2', 'BIND-99')}")
    with pytest.raises(ScenarioError) as caught:
        baseline.read(file, CATALOGUE)
    assert str(caught.value).startswith(f"{file}:2:1: unknown requirement 'BIND-99'")


@pytest.mark.parametrize("how", ["missing", "folder", "octets"])
def test_a_file_that_cannot_be_read(tmp_path, how) -> None:
    file = tmp_path / "baseline.yaml"
    if how == "folder":
        file.mkdir()
    elif how == "octets":
        file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"baseline\.yaml"):
        baseline.read(file, CATALOGUE)


# --- held against a run ---------------------------------------------------------------------------------


def reviewed(tmp_path, entry, state, *, today=TODAY, complete=True, network="loopback", more=""):
    held = baseline.read(written(tmp_path, f"entries:\n  - {entry}\n{more}"), CATALOGUE)
    known = {one.id: State.NOT_RUN for one in CATALOGUE} | {"BIND-2": state}
    return baseline.review(held, known, network=network, today=today, complete=complete)


def test_an_entry_accepts(tmp_path) -> None:
    review = reviewed(tmp_path, ENTRY, State.UNSUPPORTED)
    assert (list(review.accepted), review.stale) == (["BIND-2"], ())


@pytest.mark.parametrize("state", [State.PASSED, State.RECORDED, State.WARNED])
def test_an_entry_that_is_no_longer_true_is_stale(tmp_path, state) -> None:
    review = reviewed(tmp_path, ENTRY, state)
    assert review.accepted == {}
    (sentence,) = review.stale
    assert "line 2: BIND-2" in sentence
    assert "remove the entry" in sentence


def test_a_failure_is_not_accepted_by_an_entry_for_something_else(tmp_path) -> None:
    review = reviewed(tmp_path, ENTRY, State.FAILED)
    assert review.accepted == {}


@pytest.mark.parametrize("state", [State.PASSED, State.NOT_RUN])
def test_a_selection_makes_nothing_stale(tmp_path, state) -> None:
    assert reviewed(tmp_path, ENTRY, state, complete=False).stale == ()


@pytest.mark.parametrize("complete", [True, False])
def test_an_entry_past_its_date_is_expired_on_the_next_day(tmp_path, complete) -> None:
    assert reviewed(tmp_path, ENTRY, State.UNSUPPORTED, complete=complete).stale == ()
    review = reviewed(tmp_path, ENTRY, State.UNSUPPORTED, today=date(2026, 6, 16), complete=complete)
    assert review.accepted == {}
    (sentence,) = review.stale
    assert "expired on 2026-06-15" in sentence


def test_an_entry_for_the_other_network_applies_not(tmp_path) -> None:
    entry = ENTRY.replace("}", ", network: namespace}")
    assert reviewed(tmp_path, entry, State.UNSUPPORTED).accepted == {}
    assert reviewed(tmp_path, entry, State.PASSED).stale == ()
    assert list(reviewed(tmp_path, entry, State.UNSUPPORTED, network="namespace").accepted) == ["BIND-2"]


def test_what_is_shown_in_part_is_said_and_never_stale(tmp_path) -> None:
    more = "partial:\n  - {requirement: BIND-2, shown: one, missing: the rest}\n"
    review = reviewed(tmp_path, ENTRY.replace("BIND-2", "BIND-3"), State.PASSED, more=more)
    assert review.notes == {"BIND-2": "partly: the rest"}
    assert review.stale == ()
    assert reviewed(tmp_path, ENTRY, State.FAILED, more=more).notes == {}
