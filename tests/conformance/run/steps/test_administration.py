"""The steps ``admin`` and ``change``."""

from __future__ import annotations

import pytest

from conformance.adapters.base import AdminAnswer, AdminRequest

SERVED = "- {connect: {to: door}, expect: served}"
ADD = 'add: ip_range, values: {name: Mine, lower: "::1", upper: "::1"}'


WITH_RANGE = """
ports: [{name: door, protocol: smtp, address: "::1"}]
ip_ranges: [{name: Mine, lower: "::1", upper: "::1"}]
"""


def admin(action: str, expect: str) -> str:
    return f"- {{admin: {{{action}}}, expect: {expect}}}\n{SERVED}"


def test_what_is_typed_is_handed_on_as_it_is(stage) -> None:
    stage.adapter.answers = [AdminAnswer(outcome="refused", message="lower: is no address")]
    action = 'change: ip_range, name: Mine, values: {lower: " ::g"}, over: ipv6, password: wrong'
    record = stage.run(admin(action, "refused"), server=WITH_RANGE)
    assert record.verdict == "pass"
    assert stage.adapter.asked == [
        AdminRequest(
            operation="change",
            kind="ip_range",
            name="Mine",
            values={"lower": " ::g"},
            over="ipv6",
            password="wrong",
        )
    ]


@pytest.mark.parametrize("outcome", ["accepted", "refused", "unauthorized", "absent"])
@pytest.mark.parametrize("answered", ["accepted", "refused", "unauthorized", "absent", "unreachable"])
def test_the_outcomes(stage, outcome, answered) -> None:
    stage.adapter.answers = [AdminAnswer(outcome=answered)]
    record = stage.run(admin("read: ip_range, name: Mine", outcome), server=WITH_RANGE)
    assert stage.verdicts(record)[0] == ("BIND-2", "pass" if outcome == answered else "fail")


@pytest.mark.parametrize(
    ("names", "message", "verdict"),
    [
        ("lower", "lower: no address", "pass"),
        ("lower", "the bounds are wrong", "fail"),
        ("lower|upper", "Upper: below the other", "pass"),
        ("max_connections", "Max connections is too large", "pass"),
    ],
)
def test_a_refusal_names_the_field(stage, names, message, verdict) -> None:
    stage.adapter.answers = [AdminAnswer(outcome="refused", message=message)]
    record = stage.run(admin(ADD, f'{{outcome: refused, names: "{names}"}}'))
    assert stage.verdicts(record)[0] == ("BIND-2", verdict)


@pytest.mark.parametrize(
    ("wanted", "read", "verdict"),
    [
        ('{lower: "::1"}', {"lower": "::1", "upper": "::2"}, "pass"),
        ('{lower: "::1"}', {"lower": "0::1"}, "fail"),
        ('{lower: "::1"}', {}, "fail"),
        ("{priority: 10}", {"priority": 10}, "pass"),
        ("{priority: 10}", {"priority": "10"}, "fail"),
        ("{priority: 1}", {"priority": True}, "fail"),
        ("{expires: false}", {"expires": None}, "fail"),
    ],
)
def test_what_is_read_back_is_compared_exactly(stage, wanted, read, verdict) -> None:
    stage.adapter.answers = [AdminAnswer(outcome="accepted", values=read)]
    action = "read: ip_range, name: Mine"
    record = stage.run(admin(action, f"{{outcome: accepted, values: {wanted}}}"), server=WITH_RANGE)
    assert stage.verdicts(record)[0] == ("BIND-2", verdict)


def test_the_oracle_is_silent_once_an_administrator_changed_a_range(stage) -> None:
    stage.adapter.answers = [AdminAnswer(outcome="accepted")]
    steps = f"{SERVED}\n- {{admin: {{{ADD}}}, expect: accepted}}\n- {{connect: {{to: door}}, expect: oracle}}"
    record = stage.run(steps)
    assert (record.verdict, record.fault) == ("error", "scenario")
    assert "nobody knows the configuration at this step" in record.reason


@pytest.mark.parametrize(("action", "answered"), [(ADD, "refused"), ("change: settings", "accepted")])
def test_the_oracle_still_knows(stage, action, answered) -> None:
    stage.adapter.answers = [AdminAnswer(outcome=answered)]
    steps = f"- {{admin: {{{action}}}, expect: {answered}}}\n- {{connect: {{to: door}}, expect: oracle}}"
    assert stage.run(steps + "\n" + SERVED).verdict == "pass"


# --- change ---------------------------------------------------------------------------------------------


def test_ranges_hold_at_once(stage) -> None:
    stage.adapter.behave["door"] = stage.one_after_the_other(stage.decent("smtp"), stage.leave)
    steps = """
        - {connect: {to: door}, expect: served}
        - {change: {delete_ip_ranges: [Mine]}}
        - {connect: {to: door}, expect: oracle}
        """
    record = stage.run(steps, server=WITH_RANGE)
    assert record.verdict == "pass", record.reason
    assert [one.expected for one in record.judgements] == ["served", "closed"]
    assert stage.adapter.calls == ["hello", "start", "configure"]
    assert stage.adapter.configurations[-1].ip_ranges == ()


def test_a_port_holds_at_the_next_restart(stage) -> None:
    steps = """
        - connect: {to: door}
          expect: served
        - change: {add_ports: [{name: more, protocol: pop3, address: "127.0.0.1"}], delete_ports: [door]}
        - {connect: {to: door}, expect: served}
        - {server: reinitialize}
        - {connect: {to: door}, expect: refused}
        - {connect: {to: more}, expect: served}
        """
    record = stage.run(steps)
    assert record.verdict == "pass", record.reason
    first, *_, last = stage.adapter.configurations
    assert [port.name for port in first.ports] == ["door"]
    assert [port.name for port in last.ports] == ["more"]
