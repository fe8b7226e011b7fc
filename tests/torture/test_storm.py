"""A small torture of the reference server, and of one that acknowledges before it stores."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import torture.__main__ as command
from torture import storm
from torture.judge import Verdict
from torture.plan import make
from torture.storm import Summary

LIMIT = 100.0


def test_no_mail_is_lost() -> None:
    summary = storm.run(make(6, 50, 5, 4), limit=LIMIT)
    assert summary.good, command.text(summary)
    assert (summary.kills, summary.acknowledged) == (5, 50)


def test_mail_that_is_acknowledged_before_it_is_stored_is_missed() -> None:
    summary = storm.run(make(6, 50, 5, 4), fault="acknowledged-before-stored", limit=LIMIT)
    assert not summary.good
    assert summary.verdict.lost
    assert not summary.faults


def test_a_server_that_does_not_start_is_a_fault() -> None:
    summary = storm.run(make(6, 5, 1, 1), fault="no-such-fault", limit=LIMIT)
    assert not summary.good
    assert "run 1" in summary.faults[0]


@pytest.mark.parametrize(("verdict", "code"), [(Verdict(), 0), (Verdict(lost=("1.1 for x",)), 1)])
def test_the_command_says_what_it_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verdict: Verdict, code: int
) -> None:
    found = replace(Summary(3, 10, 2), kills=2, acknowledged=10, verdict=verdict)
    monkeypatch.setattr(storm, "run", lambda *_args, **_more: found)
    assert command.main(["--seed", "3"]) == code
    shown = capsys.readouterr()
    assert "--seed 3" in shown.err
    assert ("lost: 1.1 for x" in shown.out) == bool(code)
    assert command.main(["--seed", "3", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["good"] is (code == 0)
