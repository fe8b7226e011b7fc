"""The benchmarks' own parts: the table, the limits, and one run of what needs no process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import benchmarks.__main__ as command
from benchmarks import mail, postfix, range_table, reinitialize, startup
from benchmarks.measure import CannotMeasure, Measurement, as_json, table
from benchmarks.server import Server


def test_the_median_is_held_against_the_limit() -> None:
    assert Measurement("x", "ms", (1.0, 9.0, 2.0), 2.0).kept
    assert not Measurement("x", "ms", (1.0, 9.0, 2.1), 2.0).kept
    assert Measurement("x", "ms", (1.0, 9.0, 2.1)).kept


def test_the_table_shows_each_limit_beside_its_number() -> None:
    shown = table([Measurement("good", "ms", (1.0,), 20), Measurement("bad", "ms", (30.0,), 20)])
    _, good, bad = shown.splitlines()
    assert good.split() == ["good,", "ms", "1.0", "1.0", "1.0", "20", "kept"]
    assert bad.split() == ["bad,", "ms", "30.0", "30.0", "30.0", "20", "EXCEEDED"]


def test_json_has_the_verdict() -> None:
    [found] = json.loads(as_json([Measurement("x", "ms", (3.0, 1.0, 2.0), 1.5)]))
    assert (found["median"], found["kept"], found["limit"], found["values"]) == (
        2.0,
        False,
        1.5,
        [3.0, 1.0, 2.0],
    )


def test_the_rebuild_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(range_table, "RANGES", 500)
    monkeypatch.setattr(range_table, "LOOK_UPS", 100)
    hold, whole, rate = range_table.measure(2)
    assert (hold.limit, whole.limit, rate.limit) == (20.0, None, None)
    assert all(0 < held <= took for held, took in zip(hold.values, whole.values, strict=True))


@pytest.mark.parametrize(("median", "code"), [(1.0, 0), (3.0, 1)])
def test_a_limit_that_is_exceeded_is_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], median: float, code: int
) -> None:
    monkeypatch.setattr(Server, "prepare", lambda _self: None)
    monkeypatch.setattr(startup, "measure", lambda *_: [Measurement("greeting", "ms", (median,), 2.0)])
    monkeypatch.setattr(reinitialize, "measure", lambda *_: [])
    monkeypatch.setattr(range_table, "measure", lambda *_: [])
    monkeypatch.setattr(mail, "measure", lambda *_: [])
    assert command.main([]) == code
    assert "greeting" in capsys.readouterr().out
    assert command.main(["--json"]) == code
    assert json.loads(capsys.readouterr().out)[0]["median"] == median


def test_what_cannot_be_measured_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Server, "prepare", lambda _self: None)
    for module in (startup, reinitialize, range_table):
        monkeypatch.setattr(module, "measure", lambda *_: [])
    monkeypatch.setattr(postfix.shutil, "which", lambda *_args, **_more: None)
    assert command.main([]) == 0
    assert "not measured: mail beside Postfix: Postfix is not installed" in capsys.readouterr().out


def test_ratios_are_held_against_a_floor() -> None:
    found = mail._compared("accepted", [(2.0, 1.0), (4.0, 1.0), (2.0, 2.0)], 0.5)
    assert [each.median for each in found] == [500.0, 1000.0, 0.5]
    assert found[2].kept
    assert not mail._compared("accepted", [(2.1, 1.0)], 0.5)[2].kept
    assert "≥ 0.50" in table(found)


def test_syncs_are_read_from_the_tracers_table() -> None:
    shown = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 90.00    0.500000        1000       301         2 fsync
 10.00    0.004706          27        42           fdatasync
------ ----------- ----------- --------- --------- ----------------
100.00    0.504706          29       343         2 total
"""
    assert mail._SYNCS.findall(shown) == ["301", "42"]


def test_both_servers_take_and_relay_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        postfix.available()
    except CannotMeasure as error:
        pytest.skip(str(error))
    monkeypatch.setattr(mail, "MESSAGES", 40)
    assert all(value > 0 for each in mail.relayed(tmp_path / "relayed", 1) for value in each.values)
