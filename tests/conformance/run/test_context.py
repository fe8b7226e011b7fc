"""What one running case knows."""

from __future__ import annotations

import pytest

from conformance import requirements
from conformance.adapters.base import Configuration, Endpoint, PortSpec, RangeSpec, Running
from conformance.addresses import parse
from conformance.run.context import Context, ControlFailed, ScenarioAtFault
from conformance.scenario.model import ConnectExpectation
from conformance.verdict.judge import Finding, found

DOOR = PortSpec(name="door", protocol="smtp", address="::1", number=2525)
WIDE = PortSpec(name="wide", protocol="smtp", address="::", number=2526)
WIDE4 = PortSpec(name="wide4", protocol="smtp", address="0.0.0.0", number=2527)


@pytest.fixture
def context(stage):
    case = stage.case("- {connect: {to: door}, expect: served}", requirements_="BIND-2, RANGE-7")
    made = Context(
        case, stage.adapter, stage.adapter.hello(), stage.network, requirements.load(), stage.bench.workdir
    )
    made.configuration = Configuration(ports=(DOOR, WIDE, WIDE4))
    made.server_runs(running(DOOR, WIDE, WIDE4), reopened=True)
    yield made
    made.numbers.release()


def running(*ports) -> Running:
    return Running(
        endpoints=tuple(
            Endpoint(name=one.name, protocol=one.protocol, address=one.address, port=one.number)
            for one in ports
        )
    )


# --- where clients go and come from ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "at", "source", "target"),
    [
        ("door", None, None, "::1"),
        ("door", "127.0.0.1", None, "127.0.0.1"),
        ("wide", None, None, "::1"),
        ("wide", None, "127.0.0.5", "127.0.0.1"),
        ("wide", None, "2001:db8::1", "::1"),
        ("wide4", None, None, "127.0.0.1"),
        ("wide4", None, "::1", "::1"),
        ("wide4", "127.0.0.9", "127.0.0.5", "127.0.0.9"),
    ],
)
def test_the_target(context, name, at, source, target) -> None:
    number = {"door": 2525, "wide": 2526, "wide4": 2527}[name]
    assert context.target(name, at, source) == (parse(target), number)


def test_the_source(context) -> None:
    assert context.source("127.0.0.7", parse("127.0.0.1")) == parse("127.0.0.7")
    assert context.source(None, parse("127.0.0.9")) == parse("127.0.0.1")
    assert context.source(None, parse("::1")) == parse("::1")


def test_a_port_that_the_server_does_not_have(context) -> None:
    with pytest.raises(ScenarioAtFault, match="has no port 'dor'; it has door, wide, wide4"):
        context.endpoint("dor")


def test_a_port_that_was_there_is_remembered(context) -> None:
    context.server_runs(running(WIDE), reopened=True)
    assert context.endpoint("door").port == 2525


# --- what is expected -----------------------------------------------------------------------------------


def expected(context, name="door", source="::1", at="::1"):
    return context.expected_connection(name, parse(source), parse(at)).outcome


def test_a_change_of_ports_is_expected_at_the_next_start_only(context) -> None:
    context.configuration = Configuration(ports=(WIDE,))
    context.server_runs(running(DOOR, WIDE), reopened=False)
    assert [port.name for port in context.effective().ports] == ["door", "wide", "wide4"]
    assert expected(context) == "served"
    context.server_runs(running(WIDE), reopened=True)
    assert [port.name for port in context.effective().ports] == ["wide"]
    assert expected(context) == "refused"


def test_a_change_of_ranges_is_expected_at_once(context) -> None:
    nobody = RangeSpec(name="Others", lower="2001:db8::", upper="2001:db8::1")
    context.configuration = Configuration(ports=(DOOR,), ip_ranges=(nobody,))
    context.server_runs(running(DOOR), reopened=False)
    assert expected(context) == "closed"


def test_a_dead_server_is_expected_to_refuse(context) -> None:
    context.alive = False
    assert expected(context) == "refused"


def test_nobody_is_expected_behind_a_number_in_use(context) -> None:
    context.numbers.taken.add("door")
    assert expected(context) == "refused"
    assert expected(context, "wide") == "served"


def test_the_oracle_does_not_know(context) -> None:
    context.oracle_knows = False
    assert context.expected_connection("door", parse("::1"), parse("::1")) is None
    context.oracle_knows = True
    context.configuration = Configuration(default=True)
    assert context.expected_connection("door", parse("::1"), parse("::1")) is None


# --- judging --------------------------------------------------------------------------------------------


def expectation(**more) -> ConnectExpectation:
    return ConnectExpectation.model_validate({"outcome": "served", **more})


def test_all_requirements_are_judged_unless_some_are_named(context) -> None:
    context.begin_step("steps", 0)
    context.judge(expectation(), found(False, "a", "b"))
    context.judge(expectation(judges=["RANGE-7"]), found(True, "c", "d"))
    seen = [(one.requirement, one.verdict, one.step, one.line, one.expected) for one in context.judgements]
    assert seen == [
        ("BIND-2", "fail", "steps[0]", 7, "a"),
        ("RANGE-7", "warn", "steps[0]", 7, "a"),
        ("RANGE-7", "pass", "steps[0]", 7, "c"),
    ]


def test_a_control_judges_nothing(context) -> None:
    context.begin_step("steps", 0)
    context.judge(expectation(control=True), found(True, "a", "b"))
    context.judge(expectation(control=True), Finding("lesser", "a", "b"))
    assert context.judgements == []
    with pytest.raises(ControlFailed, match="line 7 failed: expected a, got b"):
        context.judge(expectation(control=True), found(False, "a", "b"))


def test_a_failure_of_everything(context) -> None:
    context.begin_step("server")
    context.judge_all("a server that starts", "none")
    assert [(one.requirement, one.verdict, one.step) for one in context.judgements] == [
        ("BIND-2", "fail", "server"),
        ("RANGE-7", "warn", "server"),
    ]
