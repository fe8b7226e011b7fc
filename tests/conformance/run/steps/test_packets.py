"""The step ``packets``: what it asks of the wire, and what it makes of the answer."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from conformance.addresses import parse, parse_network
from conformance.errors import HarnessBug
from conformance.packets import exchange, peer
from conformance.packets.exchange import Result
from conformance.packets.peer import Crowd, Flood
from conformance.run.steps import packets as step
from conformance.run.transcript import Transcript
from conformance.scenario.model import PacketsStep
from conformance.verdict.judge import Finding

EXCHANGE = [{"send": {"flags": "SYN"}}]


class FakeStation:
    """Reads nothing; ``pump_until`` looks once, after what ``then`` does."""

    def __init__(self, _wire: object = None) -> None:
        self.then: Callable[[], None] = lambda: None
        self.limit = 0.0

    def pump_until(self, met: Callable[[], bool], limit: float) -> None:
        self.then()
        self.limit = limit
        met()


@pytest.fixture
def station(monkeypatch: pytest.MonkeyPatch) -> FakeStation:
    one = FakeStation()
    monkeypatch.setattr(step, "Station", FakeStation)
    return one


def context(station: FakeStation | None, address: str = "2001:db8:6::99") -> Any:
    findings: list[Finding] = []
    return SimpleNamespace(
        crowds=[] if station is None else [station],
        wire=object(),
        transcript=Transcript(),
        endpoint=lambda _name: SimpleNamespace(address=address, port=25),
        judge=lambda _expectation, finding: findings.append(finding),
        findings=findings,
    )


def made(expect: Any = "completed", **packets: Any) -> PacketsStep:
    return PacketsStep.model_validate({"packets": {"to": "door", **packets}, "expect": expect})


@pytest.mark.parametrize("completed", [True, False])
def test_an_exchange_is_met_when_it_was_completed(
    station: FakeStation, monkeypatch: pytest.MonkeyPatch, completed: bool
) -> None:
    asked: list[Any] = []

    def run(*arguments: Any) -> Result:
        asked.extend(arguments)
        return Result(completed, "the end", "what came")

    monkeypatch.setattr(exchange, "run", run)
    one = context(station)
    step.packets(one, made(**{"from": "2001:db8:f::1"}, exchange=EXCHANGE))
    assert asked[:4] == [station, parse("2001:db8:f::1"), parse("2001:db8:6::99"), 25]
    assert one.findings == [Finding("met" if completed else "unmet", "the end", "what came")]


@pytest.mark.parametrize(
    ("address", "target"), [("::", "2001:db8:6::25"), ("0.0.0.0", "198.51.100.25"), ("fd00::1", "fd00::1")]
)
def test_a_wildcard_is_reached_at_the_hosts_address(
    station: FakeStation, monkeypatch: pytest.MonkeyPatch, address: str, target: str
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        peer, "half_open", lambda *arguments: asked.append(arguments) or Flood(arguments[1], 25, sent=7)
    )
    step.packets(context(station, address), made(**{"from": "2001:db8:f::/64"}, half_open=7))
    assert asked == [(station, parse(target), 25, parse_network("2001:db8:f::/64"), 7)]


@pytest.mark.parametrize(
    ("flood", "state"),
    [
        ({"sent": 7, "answered": 7}, "met"),
        ({"sent": 7, "answered": 1}, "met"),
        ({"sent": 7, "refused": 7}, "unmet"),
        ({"sent": 6, "answered": 6}, "unmet"),
    ],
)
def test_half_open_handshakes_want_a_listener(
    station: FakeStation, monkeypatch: pytest.MonkeyPatch, flood: dict[str, int], state: str
) -> None:
    monkeypatch.setattr(peer, "half_open", lambda *_: Flood(parse("::"), 25, **flood))
    one = context(station)
    step.packets(one, made(**{"from": "2001:db8:f::/64"}, half_open=7))
    assert [finding.state for finding in one.findings] == [state]
    assert f"{flood['sent']} SYNs" in one.findings[0].actual
    assert one.findings[0].actual in one.transcript.lines[0].text


GREETED = {"_heard": {b"1", b"2", b"3"}, "octets": 30}


@pytest.mark.parametrize(
    ("established", "later", "everyone", "state"),
    [
        (3, {}, None, "met"),
        (2, {}, None, "unmet"),
        (2, {"finished": 2}, "closed", "unmet"),
        (3, {"finished": 2, "resets": 1}, "closed", "met"),
        (3, {"finished": 2}, "closed", "unmet"),
        (3, {"finished": 3, **GREETED}, "closed", "unmet"),
        (3, GREETED, "greeted", "met"),
        (3, {"_heard": {b"1"}, "octets": 10}, "greeted", "unmet"),
    ],
)
def test_a_crowd_is_complete_and_everyone_meets_the_same(
    station: FakeStation,
    monkeypatch: pytest.MonkeyPatch,
    established: int,
    later: dict[str, Any],
    everyone: str | None,
    state: str,
) -> None:
    crowd = Crowd(parse("::"), 25, 3, established=established)
    station.then = lambda: [setattr(crowd, key, value) for key, value in later.items()] and None  # type: ignore[func-returns-value]
    monkeypatch.setattr(peer, "complete_handshakes", lambda *_: crowd)
    one = context(station)
    expect = {"outcome": "completed", "everyone": everyone, "within": "7s"}
    step.packets(one, made(expect, **{"from": "2001:db8:f::/64"}, handshakes=3))
    assert [finding.state for finding in one.findings] == [state]
    assert one.crowds == [station, crowd]  # it stays until the case ends
    assert station.limit == (7.0 if everyone and established == 3 else 0.0)


def test_a_case_has_one_station(monkeypatch: pytest.MonkeyPatch, station: FakeStation) -> None:
    monkeypatch.setattr(peer, "half_open", lambda *_: Flood(parse("::"), 25))
    one = context(None)
    for _ in range(2):
        step.packets(one, made(**{"from": "2001:db8:f::/64"}, half_open=7))
    assert [type(kept) for kept in one.crowds] == [FakeStation]


def test_a_case_without_a_wire_is_ours(station: FakeStation) -> None:
    one = context(None)
    one.wire = None
    with pytest.raises(HarnessBug, match="no wire"):
        step.packets(one, made(**{"from": "2001:db8:f::/64"}, half_open=7))
