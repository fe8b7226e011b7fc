"""One case from start to record: each verdict, with real connections to a server that shows it."""

from __future__ import annotations

import socket

import pytest

from conformance.adapters.base import Limitation
from conformance.errors import AdapterError, AdapterUnsupported, MachineError
from conformance.network import without_ipv6
from conformance.run.runner import LOG_LINES
from conformance.verdict.model import Verdict

SERVED = "- {connect: {to: door}, expect: served}"
CONTROL = "- {connect: {to: door}, expect: {outcome: served, control: true}}"
TWO_PORTS = """\
ports:
  - {name: door, protocol: smtp, address: "::1"}
  - {name: other, protocol: smtp, address: "127.0.0.1"}
ip_ranges: [{name: Four, lower: "127.0.0.1", upper: "127.255.255.255"}]
"""
CLOSED_ELSE_SERVED = """\
- {connect: {to: door}, expect: closed}
- {connect: {to: other}, expect: {outcome: served, control: true}}
"""


def test_pass(stage) -> None:
    record = stage.run(SERVED)
    assert (record.verdict, record.reason, record.fault) == ("pass", "", "")
    assert stage.verdicts(record) == [("BIND-2", "pass")]
    assert (record.id, record.scenario, record.replay) == ("tests.case", "tests.case", "again")
    assert record.judgements[0].step == "steps[0]"
    assert record.judgements[0].line == 7
    assert record.log_tail == ""
    assert record.latencies["greeting:door"] > 0
    assert record.seconds > 0
    assert stage.adapter.calls == ["hello", "start"]


def test_fail(stage) -> None:
    stage.adapter.behave["door"] = stage.leave
    record = stage.run(SERVED)
    assert (record.verdict, record.fault) == ("fail", "")
    assert record.reason.startswith("BIND-2 (line 7): expected served, got closed_silent")
    assert record.log_tail == "first line\nlast line"


def test_the_end_of_the_log_is_shown(stage) -> None:
    stage.adapter.behave["door"] = stage.leave
    stage.adapter.text = "\n".join(f"line {number}" for number in range(100))
    lines = stage.run(SERVED).log_tail.splitlines()
    assert (len(lines), lines[-1]) == (LOG_LINES, "line 99")


def test_a_log_that_cannot_be_had_changes_no_verdict(stage) -> None:
    stage.adapter.behave["door"] = stage.leave
    stage.adapter.fails["log"] = AdapterError("gone")
    record = stage.run(SERVED)
    assert (record.verdict, record.log_tail) == ("fail", "")


def test_warn_of_a_should(stage) -> None:
    stage.adapter.behave["door"] = stage.leave
    record = stage.run(SERVED, requirements_="RANGE-7")
    assert (record.verdict, stage.verdicts(record)) == ("warn", [("RANGE-7", "warn")])


def test_info_of_what_is_only_recorded(stage) -> None:
    stage.adapter.behave["door"] = stage.leave
    assert stage.run(SERVED, requirements_="RANGE-19").verdict == "info"


def test_a_policy_of_the_page_binds_only_who_follows_it(stage) -> None:
    stage.adapter.behave["door"] = stage.leave
    assert stage.run(SERVED, requirements_="RANGE-21").verdict == "fail"
    stage.adapter.follows = ()
    assert stage.run(SERVED, requirements_="RANGE-21", name="tests.other").verdict == "info"


def test_each_expectation_gives_one_result_per_requirement(stage) -> None:
    stage.adapter.behave["door"] = stage.say(b"220-you are not welcome\r\n")
    record = stage.run(
        """
        - connect: {to: door}
          expect:
            - {outcome: closed, judges: [RANGE-4, RANGE-6]}
            - {outcome: closed_silent, judges: [RANGE-5]}
        - {connect: {to: other}, expect: {outcome: served, control: true}}
        """,
        server=TWO_PORTS,
        requirements_="RANGE-4, RANGE-5, RANGE-6",
    )
    assert stage.verdicts(record) == [("RANGE-4", "pass"), ("RANGE-6", "pass"), ("RANGE-5", "warn")]
    assert record.verdict is Verdict.WARN


def test_unsupported_by_a_missing_capability(stage) -> None:
    stage.adapter.capabilities = ("protocol.pop3",)
    stage.adapter.limitations = (Limitation(feature="protocol.smtp", reason="it speaks POP3 only"),)
    record = stage.run(SERVED)
    assert (record.verdict, record.reason) == ("unsupported", "protocol.smtp: it speaks POP3 only")
    assert stage.adapter.calls == ["hello"], "nothing is started for it"
    assert record.transcript == ()


def test_unsupported_by_an_answer_leaves_no_judgement(stage) -> None:
    stage.adapter.fails["restart"] = AdapterUnsupported("restart", "it cannot")
    record = stage.run(f"{SERVED}\n- {{server: restart}}\n{SERVED}")
    assert (record.verdict, record.reason, record.judgements) == ("unsupported", "restart: it cannot", ())


def test_skipped_names_what_the_machine_lacks(stage) -> None:
    record = stage.run(
        SERVED.replace("to: door", 'to: door, from: "2001:db8::1"'),
        server=f'ports: [{{name: door, protocol: smtp, address: "::1"}}]\n{stage.NOBODY}',
    )
    assert record.verdict == "skipped"
    assert "addresses other than loopback" in record.reason
    assert "start" not in stage.adapter.calls


def test_skipped_without_the_filter(stage, monkeypatch) -> None:
    monkeypatch.setattr(without_ipv6, "missing", lambda: "no seccomp here")
    server = 'host: {ipv6: false}\nports: [{name: door, protocol: smtp, address: "127.0.0.1"}]'
    record = stage.run(SERVED, server=server)
    assert (record.verdict, record.reason) == ("skipped", "no seccomp here")


def test_skipped_when_the_machine_fails_within_the_case(stage) -> None:
    stage.adapter.fails["start"] = MachineError("no free port number is left")
    record = stage.run(SERVED)
    assert (record.verdict, record.reason) == ("skipped", "no free port number is left")


def test_inconclusive_by_a_failed_control(stage) -> None:
    stage.adapter.behave = {"door": stage.leave, "other": stage.leave}
    record = stage.run(CLOSED_ELSE_SERVED, server=TWO_PORTS, requirements_="RANGE-4")
    assert record.verdict == "inconclusive"
    assert record.reason.startswith("the positive control at line 11 failed: expected served, got closed")
    assert stage.verdicts(record) == [("RANGE-4", "inconclusive")], "a dead server earns no pass"


def test_a_failed_control_hides_no_recorded_extra(stage) -> None:
    stage.adapter.behave = {"door": stage.leave, "other": stage.leave}
    record = stage.run(CLOSED_ELSE_SERVED, server=TWO_PORTS, requirements_="RANGE-19")
    assert stage.verdicts(record) == [("RANGE-19", "info")]
    assert record.verdict == "inconclusive"


def test_the_control_proves_a_case(stage) -> None:
    stage.adapter.behave["door"] = stage.leave
    record = stage.run(CLOSED_ELSE_SERVED, server=TWO_PORTS, requirements_="RANGE-4")
    assert stage.verdicts(record) == [("RANGE-4", "pass")]


def test_error_of_a_scenario_that_contradicts_the_oracle(stage) -> None:
    case = stage.case(f"- {{connect: {{to: door}}, expect: closed}}\n{CONTROL}")
    record = stage.run(f"- {{connect: {{to: door}}, expect: closed}}\n{CONTROL}")
    assert (record.verdict, record.fault) == ("error", "scenario")
    place = f"{case.file}:7:"
    assert record.reason.startswith(place)
    assert "the outcome 'closed' contradicts the configuration, which says 'served'" in record.reason


def test_error_of_an_adapter_that_fails(stage) -> None:
    stage.adapter.fails["start"] = AdapterError("it did not come up", log="panic: no disk\n")
    record = stage.run(SERVED)
    assert (record.verdict, record.fault) == ("error", "adapter")
    assert record.reason == "it did not come up\npanic: no disk\n"


def test_error_of_an_adapter_that_fails_at_hello(stage) -> None:
    stage.adapter.fails["hello"] = AdapterError("no such program")
    record = stage.run(SERVED)
    assert (record.verdict, record.fault, record.reason) == ("error", "adapter", "no such program")


def test_a_bug_of_ours_is_a_verdict_with_its_trace(stage) -> None:
    stage.adapter.fails["start"] = RuntimeError("who would have thought")
    record = stage.run(SERVED)
    assert (record.verdict, record.fault) == ("error", "harness")
    assert "who would have thought" in record.reason
    assert "please report" in record.reason


def test_an_interruption_goes_through(stage) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    stage.adapter.does["restart"] = interrupt
    steps = (
        "- {connect: {to: door, as: kept}, expect: served}\n"
        "- {server: restart}\n"
        "- {connect: {to: door}, expect: served}"
    )
    with pytest.raises(KeyboardInterrupt):
        stage.run(steps)
    stage.adapter.door("door").wait()
    assert not stage.bench.reusable


# --- finally --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failing", "verdict"),
    [(None, "pass"), (AdapterError("gone"), "error"), (AdapterUnsupported("restart", "no"), "unsupported")],
)
def test_finally_is_done_whatever_happened(stage, failing, verdict) -> None:
    if failing is not None:
        stage.adapter.fails["restart"] = failing
    record = stage.run(
        f"{SERVED}\n- {{server: restart}}", finally_="- {server: reinitialize}\n- {server: kill}"
    )
    assert record.verdict == verdict
    done = [call for call in stage.adapter.calls if call != "log"]
    assert done[-3:] == ["restart", "reinitialize", "kill"]


def test_finally_is_done_after_a_failed_control(stage) -> None:
    stage.adapter.behave = {"door": stage.leave, "other": stage.leave}
    record = stage.run(
        CLOSED_ELSE_SERVED, server=TWO_PORTS, requirements_="RANGE-4", finally_="- {server: reinitialize}"
    )
    assert record.verdict == "inconclusive"
    assert "reinitialize" in stage.adapter.calls


def test_what_finally_judges_counts(stage) -> None:
    stage.adapter.behave["other"] = stage.leave
    record = stage.run(
        SERVED,
        server=TWO_PORTS.partition("ip_ranges")[0],
        finally_="- {connect: {to: other}, expect: served}",
    )
    assert record.verdict == "fail"
    assert [one.step for one in record.judgements] == ["steps[0]", "finally[0]"]


# --- what a case leaves behind --------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", ["good", "fails"])
def test_kept_sessions_are_closed_at_the_end(stage, behaviour) -> None:
    if behaviour == "fails":
        stage.adapter.fails["status"] = AdapterError("gone")
    stage.run(
        """
        - {connect: {to: door, as: one}, expect: served}
        - {connect: {to: door, as: two}, expect: served}
        - {status: {}, expect: {ipv6_available: true}}
        """
    )
    door = stage.adapter.door("door")
    door.wait()
    assert door.ends == ["end", "end"]


def test_the_number_of_a_port_in_use_is_held_and_let_go(stage) -> None:
    server = """
        ports:
          - {name: door, protocol: smtp, address: "::1"}
          - {name: taken, protocol: smtp, address: "::1", number: in_use}
        """
    steps = f"{SERVED}\n- {{listening: {{port: taken}}, expect: {{state: failed, reported: true}}}}"
    record = stage.run(steps, server=server, requirements_="BIND-10")
    assert stage.verdicts(record) == [("BIND-10", "pass"), ("BIND-10", "pass")]
    number = {port.name: port.number for port in stage.adapter.configurations[0].ports}["taken"]
    assert number > 0
    with socket.create_server(("::1", number), family=socket.AF_INET6):
        pass


def test_the_server_is_reused_and_reset(stage) -> None:
    stage.run(SERVED)
    record = stage.run(SERVED, name="tests.second")
    assert record.verdict == "pass"
    assert stage.adapter.calls == ["hello", "start", "hello", "reset"]


def test_a_server_that_cannot_be_reused_is_started_afresh(stage) -> None:
    stage.run(SERVED)
    stage.adapter.fails["reset"] = AdapterError("the process is gone")
    record = stage.run(SERVED, name="tests.second")
    assert record.verdict == "pass"
    assert stage.adapter.calls[-2:] == ["reset", "start"]
    assert any("could not be reused: the process is gone" in text for text in stage.said(record, "note"))


def test_a_killed_server_is_not_reused(stage) -> None:
    stage.run(f"{SERVED}\n- {{server: kill}}")
    stage.run(SERVED, name="tests.second")
    assert stage.adapter.calls[-1] == "start"


def test_after_an_error_the_server_is_not_reused(stage) -> None:
    stage.adapter.fails["restart"] = AdapterError("gone")
    stage.run(f"{SERVED}\n- {{server: restart}}")
    stage.run(SERVED, name="tests.second")
    assert stage.adapter.calls[-1] == "start"


def test_a_host_without_ipv6_has_a_server_of_its_own(stage) -> None:
    if without_ipv6.missing():
        pytest.skip(without_ipv6.missing())
    server = 'host: {ipv6: false}\nports: [{name: door, protocol: smtp, address: "127.0.0.1"}]'
    stage.run(SERVED)
    assert stage.run(SERVED, name="tests.second", server=server).verdict == "pass"
    stage.run(SERVED, name="tests.third")
    assert [call for call in stage.adapter.calls if call != "hello"] == ["start", "start", "start"]


# --- a server that does not start -----------------------------------------------------------------------

TAKEN = """
ports:
  - {name: door, protocol: smtp, address: "127.0.0.1"}
  - {name: taken, protocol: smtp, address: "::1", number: in_use}
"""
LISTENING = f"{SERVED}\n- {{listening: {{port: taken}}, expect: {{state: failed}}}}"


def test_a_server_that_gives_up_over_one_port_is_judged(stage) -> None:
    def give_up() -> None:
        if any(port.name == "taken" for port in stage.adapter.configurations[-1].ports):
            raise AdapterError("it ended with exit code 1", log="cannot bind")

    stage.adapter.does["start"] = give_up
    record = stage.run(LISTENING, server=TAKEN, requirements_="BIND-10, BIND-2")
    assert (record.verdict, record.fault) == ("fail", "")
    assert {one.actual for one in record.judgements} == {"it did not start: it ended with exit code 1"}
    assert [one.requirement for one in record.judgements] == ["BIND-10", "BIND-2"]
    assert record.log_tail == "cannot bind"


def test_a_server_that_never_starts_is_not_judged(stage) -> None:
    stage.adapter.fails["start"] = AdapterError("it ended with exit code 1")
    record = stage.run(LISTENING, server=TAKEN, requirements_="BIND-10")
    assert (record.verdict, record.fault) == ("error", "adapter")
    assert stage.adapter.calls.count("start") == 2
