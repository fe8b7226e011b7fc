"""The steps ``connect``, ``talk`` and ``disconnect``."""

from __future__ import annotations

import pytest

from conformance.run.steps import connections

SERVED = "- {connect: {to: door}, expect: served}"
CONTROL = "- {connect: {to: other}, expect: {outcome: served, control: true}}"
CLOSED = """\
ports:
  - {name: door, protocol: smtp, address: "::1"}
  - {name: other, protocol: smtp, address: "127.0.0.1"}
ip_ranges: [{name: Four, lower: "127.0.0.1", upper: "127.255.255.255"}]
"""


@pytest.mark.parametrize("protocol", ["smtp", "pop3", "imap"])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_each_protocol_is_served(stage, protocol, address) -> None:
    server = f'ports: [{{name: door, protocol: {protocol}, address: "{address}"}}]'
    record = stage.run(SERVED, server=server)
    assert record.verdict == "pass", record.reason
    assert stage.adapter.door("door").peers == [address]


def test_a_greeting_of_another_protocol(stage) -> None:
    stage.adapter.behave["door"] = stage.decent("imap")
    record = stage.run(SERVED)
    assert record.verdict == "fail"
    assert "got wrong_protocol" in record.reason


def test_the_source_is_the_one_that_is_written(stage) -> None:
    server = 'ports: [{name: door, protocol: smtp, address: "127.0.0.1"}]'
    record = stage.run('- {connect: {to: door, from: "127.3.2.1"}, expect: served}', server=server)
    assert record.verdict == "pass"
    assert stage.adapter.door("door").peers == ["127.3.2.1"]


@pytest.mark.parametrize(("outcome", "behaviour"), [("closed_silent", "leave"), ("reset", "hang_up")])
def test_one_kind_of_close(stage, hang_up, outcome, behaviour) -> None:
    stage.adapter.behave["door"] = hang_up if behaviour == "hang_up" else stage.leave
    steps = f"- {{connect: {{to: door}}, expect: {outcome}}}\n{CONTROL}"
    assert stage.run(steps, server=CLOSED).verdict == "pass"


def test_another_kind_of_close_than_the_one_expected(stage, hang_up) -> None:
    stage.adapter.behave["door"] = hang_up
    record = stage.run(f"- {{connect: {{to: door}}, expect: closed_silent}}\n{CONTROL}", server=CLOSED)
    assert record.verdict == "fail"
    assert "got reset" in record.reason


def test_nobody_listens_at_another_address(stage) -> None:
    steps = f'- {{connect: {{to: door, at: "127.0.0.1"}}, expect: refused}}\n{SERVED}'
    assert stage.run(steps).verdict == "pass"


# --- the oracle -----------------------------------------------------------------------------------------


def test_the_oracle_says_what_is_expected(stage) -> None:
    stage.adapter.behave["door"] = stage.leave
    steps = "- {connect: {to: door}, expect: oracle}\n- {connect: {to: other}, expect: oracle}\n" + CONTROL
    record = stage.run(steps, server=CLOSED)
    assert record.verdict == "pass"
    assert [one.expected for one in record.judgements] == ["closed", "served"]


def test_where_ranges_of_equal_priority_disagree_the_outcome_is_to_be_written(stage) -> None:
    server = """
        ports: [{name: door, protocol: smtp, address: "::1"}]
        ip_ranges:
          - {name: One, lower: "::1", upper: "::1"}
          - {name: Two, lower: "::1", upper: "::1", allow: [pop3]}
        """
    steps = "- {connect: {to: door}, expect: oracle}\n- {connect: {to: door}, expect: served}"
    record = stage.run(steps, server=server)
    assert (record.verdict, record.fault) == ("error", "scenario")
    assert "'oracle' cannot say what must happen" in record.reason
    assert stage.run(SERVED, server=server, name="tests.written").verdict == "pass"


def test_a_killed_server_refuses(stage) -> None:
    record = stage.run(f"{SERVED}\n- {{server: kill}}\n- {{connect: {{to: door}}, expect: refused}}")
    assert record.verdict == "pass"
    wrong = stage.run(f"{SERVED}\n- {{server: kill}}\n{SERVED}", name="tests.wrong")
    assert wrong.fault == "scenario"
    assert "the server does not run" in wrong.reason


# --- often ----------------------------------------------------------------------------------------------


def test_every_one_of_many_connections_counts(stage) -> None:
    stage.adapter.behave["door"] = stage.one_after_the_other(
        *[stage.decent("smtp")] * 4, stage.leave, stage.decent("smtp")
    )
    record = stage.run("- {connect: {to: door, times: 7}, expect: served}")
    assert record.verdict == "fail"
    assert record.judgements[0].expected == "served, 7 times"
    assert record.judgements[0].actual.startswith("connection 5: closed_silent")
    assert len(stage.adapter.door("door").peers) == 5, "the first failure is enough"


def test_many_connections_are_made_and_few_are_written_down(stage) -> None:
    record = stage.run("- {connect: {to: door, times: 9}, expect: served}")
    assert (record.verdict, record.judgements[0].actual) == ("pass", "served")
    assert len(stage.adapter.door("door").peers) == 9
    assert len(stage.said(record, "connect")) == connections.RECORDED
    assert any(text.startswith("9 connections to door") for text in stage.said(record, "action"))


def test_eventually_waits_until_it_holds(stage) -> None:
    stage.adapter.behave["door"] = stage.one_after_the_other(
        stage.leave, stage.leave, stage.leave, stage.decent("smtp")
    )
    record = stage.run("- {connect: {to: door, eventually: true}, expect: served}")
    assert record.verdict == "pass"
    assert len(stage.adapter.door("door").peers) == 4


def test_eventually_does_not_wait_for_ever(stage, monkeypatch) -> None:
    monkeypatch.setattr(connections, "EVENTUALLY", 0.2)
    stage.adapter.behave["door"] = stage.leave
    record = stage.run("- {connect: {to: door, eventually: true}, expect: served}")
    assert record.verdict == "fail"
    assert len(stage.adapter.door("door").peers) > 1


# --- kept sessions --------------------------------------------------------------------------------------


def test_a_kept_session_answers(stage) -> None:
    record = stage.run(
        """
        - {connect: {to: door, as: one}, expect: served}
        - {talk: {session: one, say: NOOP}, expect: {reply: 250}}
        - {talk: {session: one, say: EXPN x}, expect: {reply: 550}}
        """
    )
    assert stage.verdicts(record) == [("BIND-2", "pass"), ("BIND-2", "pass"), ("BIND-2", "fail")]
    assert record.judgements[2].actual.startswith("the reply '250")


def test_a_session_that_the_server_closed(stage) -> None:
    stage.adapter.behave["door"] = stage.decent("smtp", ("STOP", None))
    record = stage.run(
        """
        - {connect: {to: door, as: one}, expect: served}
        - {talk: {session: one, say: STOP}, expect: {reply: 250}}
        """
    )
    assert record.verdict == "fail"
    assert record.judgements[1].actual.startswith("no reply (")


def test_talk_in_a_session_that_was_never_opened(stage) -> None:
    stage.adapter.behave["door"] = stage.leave
    record = stage.run(
        """
        - {connect: {to: door, as: one}, expect: served}
        - {talk: {session: one, say: NOOP}, expect: {reply: 250}}
        - {disconnect: {session: one}}
        """
    )
    assert record.judgements[1].actual == "the session was never opened"
    assert "the session one was never opened" in stage.said(record, "action")


@pytest.mark.parametrize(("how", "end"), [("quit", "goodbye"), ("close", "end"), ("reset", "reset")])
def test_the_ways_to_end_a_session(stage, how, end) -> None:
    ends = []

    def wait() -> None:
        stage.adapter.door("door").wait()
        ends.extend(stage.adapter.door("door").ends)

    stage.adapter.does["status"] = wait
    record = stage.run(
        f"""
        - {{connect: {{to: door, as: one}}, expect: served}}
        - {{disconnect: {{session: one, how: {how}}}}}
        - {{status: {{}}, expect: {{ipv6_available: true}}}}
        """
    )
    assert (record.verdict, ends) == ("pass", [end]), "while the case still runs"


def test_kept_sessions_count_for_the_limit(stage) -> None:
    stage.adapter.behave["door"] = stage.one_after_the_other(stage.decent("smtp"), stage.leave)
    server = 'ports: [{name: door, protocol: smtp, address: "::1"}]\nlimits: {smtp: 1}'
    steps = "- {connect: {to: door, as: one}, expect: oracle}\n- {connect: {to: door}, expect: oracle}\n"
    record = stage.run(steps + "- {talk: {session: one, say: NOOP}, expect: {reply: 250}}", server=server)
    assert record.verdict == "pass", record.reason
    assert [one.expected for one in record.judgements[:2]] == ["served", "closed"]
