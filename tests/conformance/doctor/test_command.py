"""The command on this machine."""

from __future__ import annotations

import json

import pytest

from conformance.doctor import command, examination
from conformance.doctor.examination import Answers
from conformance.errors import MachineError, UsageError

IDS = [
    *("python", "loopback_ipv4", "loopback_ipv6", "pyroute2", "namespace", "own_processes", "ipv6_switch"),
    *("wire", "capture", "scapy", "no_ipv6_filter", "process_table", "compiler"),
]


def test_this_machine(programs) -> None:
    done = programs.conformance("doctor", "--json")
    assert (done.code, done.err) == (0, "")
    value = json.loads(done.out)
    assert [one["id"] for one in value["checks"]] == IDS
    plain = programs.conformance("doctor")
    assert (plain.code, plain.err) == (0, "")
    assert plain.out.startswith(f"conformance run takes the network mode {value['mode']} here\n")
    assert "\x1b" not in plain.out
    # It says what a run does.
    words = ("--case", "ip_ranges.no-match", "--report-dir", "report")
    run = programs.conformance("run", "--server", "reference", *words)
    assert (run.code, programs.summary()["network"]) == (0, value["mode"]), run.text


@pytest.mark.needs_namespace
def test_this_machine_has_what_the_tests_need(programs) -> None:
    value = json.loads(programs.conformance("doctor", "--json", "--require-network", "namespace").out)
    state = {one["id"]: one["state"] for one in value["checks"]}
    assert (value["mode"], state["namespace"], state["capture"]) == ("namespace", "ok", "ok")


def test_a_mode_that_is_required(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "try_out", lambda: Answers(namespace="it is forbidden"))
    monkeypatch.setattr(command, "built_in_needs", lambda: [()])
    command.doctor(as_json=True, require=None)
    with pytest.raises(MachineError, match="namespace is required"):
        command.doctor(as_json=True, require="namespace")
    value = json.loads(capsys.readouterr().out.partition("}\n{")[0] + "}")
    assert value["mode"] == "loopback"
    with pytest.raises(UsageError, match="use auto, loopback or namespace"):
        command.doctor(as_json=False, require="lopback")


def test_a_trial_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing() -> dict[str, str]:
        raise MachineError("the trial failed")

    monkeypatch.setattr(examination.modes, "probe", lambda: "")
    monkeypatch.setattr(examination.trial, "ask", failing)
    assert examination.try_out().trial == "the trial failed"
