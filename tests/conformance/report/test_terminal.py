"""What a person reads at the end: that it is there, not where."""

from __future__ import annotations

import io
from datetime import date

import pytest
from rich.console import Console

from conformance.report import terminal
from conformance.verdict.baseline import Entry, Review
from conformance.verdict.model import TranscriptLine

NOTHING = Review({}, {}, ())


def shown(make, *records, review=NOTHING, notes=(), complete=True) -> str:
    console = Console(file=io.StringIO(), width=300, color_system=None)
    states = make.states(*records)
    terminal.show(console, records, states, make.catalogue, review, notes=notes, complete=complete)
    console.print(terminal.last_line(states))
    text = console.file.getvalue()
    assert isinstance(text, str)
    return text


def test_the_last_line(make) -> None:
    musts = sum(one.level == "MUST" and not one.excluded for one in make.catalogue)
    lines = shown(make, make.record("pass")).splitlines()
    assert lines[-1] == f"1 of {musts} MUST verified"


@pytest.mark.parametrize("word", ["fail", "warn"])
def test_a_case_that_did_not_pass(make, word) -> None:
    text = shown(make, make.record("pass", "tests.fine"), make.record(word, "tests.bad"))
    for part in (
        "tests.bad[smtp]",
        "dir/case.yaml:12",
        f"BIND-2 {word}",
        "the expected",
        "the actual",
        "client[::1]:4711",
        "250 grüß Gott",
        "the log of the server",
        "conformance run --case x",
    ):
        assert part in text
    assert "tests.fine[smtp]" not in text


@pytest.mark.parametrize("word", ["error", "inconclusive"])
def test_a_case_that_proves_nothing_has_its_reason(make, word) -> None:
    text = shown(make, make.record(word, reason="the first line\nthe second line"))
    assert "the first line" in text
    assert "the second line" in text


def test_what_was_not_judged_is_counted_by_reason(make) -> None:
    reason = "it cannot: pip install 'sixpost[packets]'"
    records = [make.record("unsupported", f"tests.n{number}", reason=reason) for number in range(37)]
    text = shown(make, *records)
    assert any("37" in line and reason in line for line in text.splitlines())


def test_every_requirement_of_a_full_run_has_its_line(make) -> None:
    words = shown(make, make.record("pass")).split()
    assert [one.id for one in make.catalogue if not one.excluded and one.id not in words] == []


def test_the_baseline_is_visible(make) -> None:
    entry = Entry.model_validate(
        {
            "requirement": "BIND-2",
            "accept": ["failed"],
            "reason": "known since long",
            "expires": date(2100, 1, 1),
        }
    )
    review = Review({"BIND-2": entry}, {"BIND-3": "partly: the rest"}, ("line 9 is stale",))
    text = shown(make, make.record("fail"), review=review, notes=["a note"])
    for part in ("known since long", "partly: the rest", "line 9 is stale", "a note"):
        assert part in text


def test_the_verdicts_are_counted(make) -> None:
    text = shown(make, make.record("pass"), make.record("pass", "tests.b"), make.record("fail", "tests.c"))
    assert "3 cases: 2 pass, 1 fail" in text


def test_nothing_of_a_server_is_taken_for_markup(make) -> None:
    line = TranscriptLine(at=0.0, who="server", kind="received", text="[bold]no[/bold] [/x]")
    assert "[bold]no[/bold] [/x]" in shown(make, make.record("fail", transcript=(line,)))


def test_without_any_case(make) -> None:
    assert "0 of" in shown(make, complete=False)


def test_the_packets_are_named(make) -> None:
    assert "captures/x.pcap, in the report's folder" in shown(
        make, make.record("fail", capture="captures/x.pcap")
    )
    assert "report's folder" not in shown(make, make.record("fail"))
