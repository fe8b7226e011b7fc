"""The benchmarks' own parts: the table, the limits, and one run of what needs no process."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

import benchmarks.__main__ as command
from benchmarks import handshakes, mail, postfix, range_table, reinitialize, startup, sweep
from benchmarks.measure import CannotMeasure, Measurement, as_json, table
from benchmarks.server import Server


def test_the_median_is_held_against_the_limit() -> None:
    assert Measurement("x", "ms", (1.0, 9.0, 2.0), 2.0).kept
    assert not Measurement("x", "ms", (1.0, 9.0, 2.1), 2.0).kept
    assert Measurement("x", "ms", (1.0, 9.0, 2.1)).kept


def test_a_limit_may_be_one_from_below() -> None:
    assert Measurement("x", "%", (50.0, 60.0, 90.0), 60.0, at_least=True).kept
    assert not Measurement("x", "%", (50.0, 59.0, 90.0), 60.0, at_least=True).kept
    shown = table([Measurement("x", "%", (59.0,), 60.0, at_least=True)]).splitlines()[-1]
    assert shown.split()[-3:] == ["≥", "60", "MISSED"]


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


def cannot(_repeat: int) -> list[Measurement]:
    raise CannotMeasure("no compiler")


@pytest.mark.needs_namespace
def test_a_sweep_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        ours, theirs, ratio = sweep.measure(2)
    except CannotMeasure as error:
        pytest.skip(str(error))
    assert (ours.limit, theirs.limit, ratio.limit, ratio.at_least) == (None, None, sweep.LEAST, True)
    for own, other, quotient in zip(ours.values, theirs.values, ratio.values, strict=True):
        assert quotient == pytest.approx(100 * own / other)


def test_the_sweep_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(
        CannotMeasure, match=r"no C compiler: install one \(Debian: apt install gcc libc6-dev\)"
    ):
        sweep.measure(1)


def test_a_sweep_that_is_judged_wrongly_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates of clients that were not closed would be rates of something else."""
    from conformance.addresses import LOOPBACK_V6

    with socket.socket(socket.AF_INET6) as bound:  # nobody listens: every client is refused
        bound.bind(("::1", 0))
        with pytest.raises(CannotMeasure, match="1 of 1 otherwise: ::1: expected closed, got refused"):
            sweep.ours(bound.getsockname()[1], [LOOPBACK_V6], sweep.some_ranges())


@pytest.mark.needs_namespace
def test_handshakes_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scapy.layers.inet6", reason="needs scapy")
    try:
        templates, scapys, ratios = handshakes.measure(1)
    except CannotMeasure as error:
        pytest.skip(str(error))
    assert (templates.limit, templates.at_least, scapys.limit) == (handshakes.LEAST, True, None)
    assert ratios.median == pytest.approx(templates.median / scapys.median)
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(CannotMeasure, match="no C compiler"):
        handshakes.measure(1)


@pytest.mark.parametrize(("median", "code"), [(1.0, 0), (3.0, 1)])
def test_a_limit_that_is_exceeded_is_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], median: float, code: int
) -> None:
    monkeypatch.setattr(Server, "prepare", lambda _self: None)
    monkeypatch.setattr(startup, "measure", lambda *_: [Measurement("greeting", "ms", (median,), 2.0)])
    monkeypatch.setattr(reinitialize, "measure", lambda *_: [])
    monkeypatch.setattr(range_table, "measure", lambda *_: [])
    monkeypatch.setattr(sweep, "measure", cannot)
    monkeypatch.setattr(handshakes, "measure", cannot)
    monkeypatch.setattr(mail, "measure", lambda *_: [])
    assert command.main([]) == code
    shown = capsys.readouterr()
    assert "greeting" in shown.out
    assert shown.err == "sweep: not measured: no compiler\nhandshakes: not measured: no compiler\n"
    assert command.main(["--json"]) == code
    assert json.loads(capsys.readouterr().out)[0]["median"] == median


def test_what_cannot_be_measured_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Server, "prepare", lambda _self: None)
    for module in (startup, reinitialize, range_table, sweep, handshakes):
        monkeypatch.setattr(module, "measure", lambda *_: [])
    monkeypatch.setattr(postfix.shutil, "which", lambda *_args, **_more: None)
    assert command.main([]) == 0
    assert "mail beside Postfix: not measured: Postfix is not installed" in capsys.readouterr().err


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
