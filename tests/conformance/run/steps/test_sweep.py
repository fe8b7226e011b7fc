"""The step ``sweep``, from addresses in 127.0.0.0/8; from anywhere it is seen in the scenarios that ship."""

from __future__ import annotations

import json
import re
import socket
from collections import Counter
from typing import Any

import pytest

from conformance.clients import sweep as client
from conformance.network.modes import Network
from conformance.run.steps import sweep as step

RANGES = """\
  - {name: Office, lower: "127.0.5.10", upper: "127.0.5.20"}
  - {name: Banned, priority: 20, lower: "127.0.5.12", upper: "127.0.5.12", allow: []}
  - {name: Elsewhere, lower: "2001:db8::", upper: "2001:db8::ff"}
"""
OFFICE = f"""\
ports: [{{name: door, protocol: smtp, address: "127.0.0.1"}}]
ip_ranges:
{RANGES}"""
EDGES = ["9", "10", "11", "19", "20", "21", "12", "13"]
SERVED = {"10", "11", "13", "19", "20"}


def here(number: str) -> str:
    return f"127.0.5.{number}"


@pytest.fixture(autouse=True)
def any_source(stage: Any) -> None:
    """Let the runner take the case; what may be bound the harness sees for itself."""
    stage.bench.network = Network("namespace")


@pytest.fixture
def by_source(stage: Any) -> Any:
    """Serve those whose last number is in SERVED; ``others`` treats who is in ``change``, by last number."""

    def make(change: dict[str, Any] | None = None, served: set[str] = SERVED) -> None:
        def behave(client: socket.socket) -> Any:
            last = client.getpeername()[0].rpartition(".")[2]
            own = stage.decent("smtp") if last in served else stage.leave
            return (change or {}).get(last, own)(client)

        stage.adapter.behave["door"] = behave

    return make


def actions(stage: Any, record: Any) -> str:
    return "\n".join(stage.said(record, "action"))


# --- what it does ---------------------------------------------------------------------------------------


def test_every_client_gets_what_the_configuration_says(stage, by_source) -> None:
    by_source()
    record = stage.run("- {sweep: {to: door}}", server=OFFICE)
    assert record.verdict == "pass", record.reason
    assert Counter(stage.adapter.door("door").peers) == Counter(map(here, EDGES))
    assert [(one.expected, one.actual) for one in record.judgements] == [("3 closed, 5 served of 8", "that")]
    assert "3 closed_silent, 5 served; the last close came" in actions(stage, record)
    assert stage.said(record, "note") == []
    assert record.latencies["sweep:door"] > 0


def test_who_is_wrongly_treated_is_named(stage, by_source) -> None:
    by_source({"20": stage.leave, "9": stage.decent("smtp")})
    record = stage.run("- {sweep: {to: door}}", server=OFFICE)
    assert record.verdict == "fail"
    [judgement] = record.judgements
    assert judgement.actual.startswith(
        "2 of 8 otherwise: 127.0.5.9: expected closed, got served; 127.0.5.20: "
    )
    assert "expected served, got closed_silent" in judgement.actual
    assert [text.partition(":")[0] for text in stage.said(record, "note")] == [here("9"), here("20")]


def test_of_many_the_first_are_named_and_recorded(stage, by_source, monkeypatch) -> None:
    monkeypatch.setattr(step, "RECORDED", 7)
    by_source(served=set())
    sources = [f"127.0.5.{number}" for number in range(100, 120)]
    server = 'ports: [{name: door, protocol: smtp, address: "127.0.0.1"}]'
    record = stage.run(f"- {{sweep: {{to: door, sources: {json.dumps(sources)}}}}}", server=server)
    [judgement] = record.judgements
    assert judgement.actual.startswith("20 of 20 otherwise: ")
    assert re.findall(r"127\.0\.5\.(\d+)", judgement.actual) == ["100", "101", "102", "103", "104"]
    assert judgement.actual.endswith("; …")
    assert len(stage.said(record, "note")) == 7


def test_chosen_ranges_more_sources_and_scattered_ones(stage, by_source) -> None:
    by_source(served={*SERVED, "77"})
    steps = "- {sweep: {to: door, ranges: [Banned], sources: ['127.0.5.77', '127.0.5.11']}}"
    record = stage.run(steps, server=OFFICE)
    assert sorted(stage.adapter.door("door").peers) == sorted(map(here, ["11", "12", "13", "77"]))
    assert record.verdict == "fail", "77 is in no range, and is served"
    assert "from 4 addresses, 0 of them scattered" in actions(stage, record)


def test_the_scattered_ones_are_the_same_for_the_same_case(stage, monkeypatch) -> None:
    asked: list[tuple[int, int]] = []

    def sources(*_: object, count: int, seed: int, more: object) -> Any:
        asked.append((count, seed))
        return client_sources

    client_sources = step.sources([], "ipv4", more=[step.parse("127.0.0.1")])
    monkeypatch.setattr(step, "sources", sources)
    sweep = "- {sweep: {to: door, random: 30}, expect: served}\n"
    server = 'ports: [{name: door, protocol: smtp, address: "127.0.0.1"}]'
    record = stage.run(sweep + sweep, server=server)
    stage.run(sweep, server=server, name="tests.another")
    assert record.verdict == "pass"
    first, again, other = asked
    assert first == again != other
    assert first[0] == 30
    assert f"seed {first[1]}" in actions(stage, record)


def test_the_bounds_of_ranges_that_come_and_go_are_swept_all_the_time(stage, by_source) -> None:
    served = {*SERVED, "30", "31"}
    by_source(served=served)
    stage.adapter.does["configure"] = lambda: served.symmetric_difference_update({"12", "30", "31"})
    steps = """
        - {sweep: {to: door}}
        - change: {delete_ip_ranges: [Banned, Later]}
        - {sweep: {to: door}}
        """
    later = '  - {name: Later, lower: "127.0.5.30", upper: "127.0.5.31"}\n'
    record = stage.run(steps, server=OFFICE + later)
    assert [one.actual for one in record.judgements] == ["that", "that"], record.reason
    first, second = stage.adapter.door("door").peers[:12], stage.adapter.door("door").peers[12:]
    assert sorted(first) == sorted(second)


def test_a_written_outcome_and_a_time(stage, by_source) -> None:
    by_source({"9": stage.say(b"421 no\r\n"), "21": stage.say(b"421 no\r\n")}, set())
    steps = """
        - sweep: {to: door, ranges: [], sources: ["127.0.5.9", "127.0.5.21"]}
          expect:
            - {outcome: closed, within: 30s, judges: [RANGE-4]}
            - {outcome: closed_silent, judges: [RANGE-5]}
            - {outcome: closed_silent, judges: [RANGE-6]}
        - {connect: {to: other}, expect: {outcome: served, control: true}}
        """
    server = OFFICE.replace("ports: [", 'ports: [{name: other, protocol: smtp, address: "127.0.0.2"}, ')
    server += '  - {name: Mine, lower: "127.0.0.1", upper: "127.0.0.9"}\n'
    record = stage.run(steps, server=server, requirements_="RANGE-4, RANGE-5, RANGE-6")
    assert stage.verdicts(record) == [("RANGE-4", "pass"), ("RANGE-5", "warn"), ("RANGE-6", "pass")]
    assert record.judgements[0].expected == "2 closed, all, each within 30 s"


def test_a_wrong_refusal_is_no_close_of_any_kind(stage, by_source) -> None:
    """RANGE-4 passes over text before a close, not over somebody who should have been served."""
    by_source({"10": stage.leave})
    record = stage.run("- {sweep: {to: door}}", server=OFFICE, requirements_="RANGE-4")
    assert stage.verdicts(record) == [("RANGE-4", "fail")]


def test_a_late_close_is_a_lesser_form(stage, by_source, monkeypatch) -> None:
    from conformance.verdict import judge

    monkeypatch.setattr(judge, "CLOSE_PASSES", -1.0)
    by_source()
    record = stage.run("- {sweep: {to: door}}", server=OFFICE)
    assert record.verdict == "warn"
    assert record.judgements[0].actual.startswith("3 of 8 otherwise: ")


def test_what_was_not_tried_is_a_failure(stage, monkeypatch) -> None:
    really = client.sweep

    def sweep(*arguments: Any, **options: Any) -> Any:
        swept = really(*arguments, **options)
        return client.Swept((*swept.observations[:-1], None), (), 1, swept.seconds)

    monkeypatch.setattr(client, "sweep", sweep)
    server = 'ports: [{name: door, protocol: smtp, address: "127.0.0.1"}]'
    steps = "- {sweep: {to: door, sources: ['127.0.0.1', '127.0.0.2']}, expect: served}"
    record = stage.run(steps, server=server)
    assert record.verdict == "fail"
    assert "1 more were not tried" in record.judgements[0].actual


def test_it_can_be_a_control(stage) -> None:
    stage.adapter.behave["door"] = stage.leave
    server = 'ports: [{name: door, protocol: smtp, address: "127.0.0.1"}]'
    steps = """
        - {sweep: {to: door, sources: ['127.0.0.1']}, expect: {outcome: served, control: true}}
        - {connect: {to: door}, expect: served}
        """
    record = stage.run(steps, server=server)
    assert record.verdict == "inconclusive"


# --- what it does not take ------------------------------------------------------------------------------


def test_addresses_that_no_client_has_are_named_and_counted(stage) -> None:
    stage.adapter.behave["door"] = stage.decent("smtp")
    server = """\
ports: [{name: door, protocol: smtp, address: "127.0.0.1"}]
ip_ranges: [{name: Up to the end, lower: "127.0.0.1", upper: "127.255.255.255"}]
"""
    steps = "- {sweep: {to: door, ranges: [], sources: ['127.255.255.255', '127.255.255.254', '224.0.0.1']}}"
    record = stage.run(steps, server=server)
    assert record.verdict == "pass", record.reason
    assert stage.adapter.door("door").peers == ["127.255.255.254"]
    said = actions(stage, record)
    assert "2 left out, since no client can come from there: 127.255.255.255 (broadcast), 224.0.0.1" in said


def test_without_any_address_the_scenario_is_at_fault(stage) -> None:
    server = 'ports: [{name: door, protocol: smtp, address: "127.0.0.1"}]'
    steps = "- {sweep: {to: door, sources: ['224.0.0.1', '0.0.0.0']}, expect: served}"
    record = stage.run(steps, server=server)
    assert (record.verdict, record.fault) == ("error", "scenario")
    assert "no client can come from any address of this sweep" in record.reason


def test_outside_a_namespace_it_refuses(stage) -> None:
    server = 'ports: [{name: door, protocol: smtp, address: "127.0.0.1"}]'
    record = stage.run("- {sweep: {to: door, sources: ['192.0.2.1']}, expect: served}", server=server)
    assert record.verdict == "skipped"
    assert "refused to connect from 192.0.2.1" in record.reason
    assert stage.adapter.door("door").peers == []


def test_on_loopback_a_sweep_is_skipped(stage) -> None:
    stage.bench.network = Network("loopback")
    record = stage.run("- {sweep: {to: door}}", server=OFFICE)
    assert record.verdict == "skipped"
    assert "addresses other than loopback" in record.reason


CLOSED = """\
ports: [{name: door, protocol: smtp, address: "127.0.0.1"}]
ip_ranges: [{name: Nobody, lower: "127.0.5.10", upper: "127.0.5.20", allow: []}]
"""


def test_a_sweep_in_which_nobody_is_to_be_served_proves_nothing_alone(stage) -> None:
    stage.adapter.behave["door"] = stage.leave
    record = stage.run("- {sweep: {to: door}}", server=CLOSED)
    assert (record.verdict, record.fault) == ("error", "scenario")
    assert "add a positive control" in record.reason
    other = 'ports: [{name: other, protocol: smtp, address: "127.0.0.2"}, '
    mine = '\n  - {name: Mine, lower: "127.0.0.1", upper: "127.0.0.1"}\n'
    server = (
        CLOSED.replace("ports: [", other).replace("ip_ranges: [", "ip_ranges:\n  - ").replace("]}]", "]}")
    )
    steps = """
        - {sweep: {to: door, ranges: [Nobody]}}
        - {connect: {to: other}, expect: {outcome: served, control: true}}
        """
    record = stage.run(steps, server=server.rstrip() + mine, name="tests.controlled")
    assert record.verdict == "pass", record.reason


def test_what_is_written_may_not_contradict_the_configuration(stage) -> None:
    record = stage.run("- {sweep: {to: door}, expect: served}", server=OFFICE)
    assert (record.verdict, record.fault) == ("error", "scenario")
    assert "'served' contradicts the configuration, which says 'closed' for 127.0.5.9" in record.reason
    assert stage.adapter.door("door").peers == []


def test_where_the_oracle_cannot_know_the_outcome_is_to_be_written(stage) -> None:
    server = OFFICE.replace("priority: 20", "priority: 10")
    record = stage.run("- {sweep: {to: door}}", server=server)
    assert record.fault == "scenario"
    assert "'oracle' cannot say what must happen for 127.0.5.12: the ranges Office, Banned" in record.reason


@pytest.mark.parametrize(("limit", "fault"), [(client.AT_ONCE - 1, "scenario"), (client.AT_ONCE, "")])
def test_a_limit_below_what_comes_at_one_time_would_leave_it_to_chance(
    stage, by_source, limit, fault
) -> None:
    by_source()
    record = stage.run("- {sweep: {to: door}}", server=f"{OFFICE}limits: {{smtp: {limit}}}")
    assert record.fault == fault, record.reason


def test_a_limit_that_is_reached_is_no_chance(stage) -> None:
    stage.adapter.behave["door"] = stage.one_after_the_other(stage.decent("smtp"), stage.leave)
    server = 'ports: [{name: door, protocol: smtp, address: "127.0.0.1"}]\nlimits: {smtp: 1}'
    steps = """
        - {connect: {to: door, as: one}, expect: served}
        - {sweep: {to: door, sources: ["127.0.0.1", "127.0.0.2"]}}
        - {talk: {session: one, say: NOOP}, expect: {reply: 250}}
        """
    record = stage.run(steps, server=server)
    assert record.verdict == "pass", record.reason
    assert record.judgements[1].expected == "2 closed, all"


def test_another_sweep_may_be_the_control(stage) -> None:
    stage.adapter.behave["door"] = stage.one_after_the_other(stage.decent("smtp"), stage.leave)
    server = """\
ports: [{name: door, protocol: smtp, address: "127.0.0.1"}]
ip_ranges: [{name: One, lower: "127.0.0.9", upper: "127.0.0.9"}]
"""
    steps = """
        - {sweep: {to: door, ranges: [], sources: ["127.0.0.9"]}, expect: served}
        - {sweep: {to: door, ranges: [], sources: ["127.0.0.1", "127.0.0.2"]}}
        """
    record = stage.run(steps, server=server)
    assert record.verdict == "pass", record.reason
