"""The step ``os``, in a network that only notes what is done to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import ClassVar

import pytest

from conformance.errors import MachineError, UsageError
from conformance.network import world
from conformance.network.modes import Network
from conformance.network.plan import NetworkPlan

SERVED = "- {connect: {to: door}, expect: served}"


class Noted(world.World):
    """A network that exists on paper."""

    done: ClassVar[list[object]] = []
    fails: Exception | None = None

    def switch_ipv6(self, *, on: bool) -> None:
        self.note("ipv6", on)
        self.ipv6 = on

    def set_bindv6only(self, *, on: bool) -> None:
        self.note("bindv6only", on)

    def add_address(self, link, address) -> None:
        self.note("add", link, str(address))

    def remove_address(self, link, address) -> None:
        self.note("remove", link, str(address))

    def note(self, *words: object) -> None:
        self.done.append(words)
        if self.fails:
            raise self.fails


@pytest.fixture
def noted(stage, monkeypatch: pytest.MonkeyPatch) -> type[Noted]:
    class Here(Noted):
        done: ClassVar[list[object]] = []

    @contextlib.contextmanager
    def of(plan: NetworkPlan) -> Iterator[world.World]:
        yield Here(plan)

    monkeypatch.setattr(world, "of", of)
    stage.bench.network = Network("namespace")
    return Here


@pytest.mark.parametrize(
    ("step", "done"),
    [
        ("{ipv6: disabled}", [("ipv6", False)]),
        ("{ipv6: enabled}", [("ipv6", True)]),
        ("{bindv6only: true}", [("bindv6only", True)]),
        ("{bindv6only: false}", [("bindv6only", False)]),
        ("{add_address: '2001:DB8:0::9/64', link: lan}", [("add", "lan", "2001:db8::9/64")]),
        ("{add_address: '192.0.2.9/24'}", [("add", None, "192.0.2.9/24")]),
        (
            "{remove_address: '2001:db8::1/64', add_address: '2001:db8::1/48', link: lan, ipv6: enabled}",
            [("ipv6", True), ("remove", "lan", "2001:db8::1/64"), ("add", "lan", "2001:db8::1/48")],
        ),
    ],
)
def test_it_is_done_in_this_order(stage, noted, step, done) -> None:
    links = "links: [{name: lan, addresses: ['2001:db8::1/64']}]\n"
    record = stage.run(f"- os: {step}\n{SERVED}", more=links)
    assert record.verdict == "pass", record.reason
    assert noted.done == done
    assert any(line.startswith("os: ") for line in stage.said(record, "action"))


def test_what_was_done_is_in_the_transcript(stage, noted) -> None:
    record = stage.run(f"- {{os: {{ipv6: disabled, bindv6only: true}}}}\n{SERVED}")
    assert "os: ipv6 disabled, bindv6only True" in stage.said(record)


def test_until_the_server_is_started_again_nobody_knows_what_comes(stage, noted) -> None:
    """Before, the oracle would say that a port of a running server is served."""
    stage.adapter.behave["door"] = stage.leave
    wrong = "- {connect: {to: door}, expect: closed}"
    ports = """
    ports:
      - {name: door, protocol: smtp, address: "::1"}
      - {name: other, protocol: smtp, address: "127.0.0.1"}
    """
    alive = "- {connect: {to: other}, expect: {outcome: served, control: true}}"
    unknown = stage.run(f"{alive}\n- os: {{ipv6: disabled}}\n- os: {{ipv6: enabled}}\n{wrong}", server=ports)
    assert unknown.verdict == "pass", unknown.reason
    steps = f"{alive}\n- os: {{ipv6: disabled}}\n- os: {{ipv6: enabled}}\n- server: restart\n{wrong}"
    known = stage.run(steps, server=ports)
    assert (known.verdict, known.fault) == ("error", "scenario")
    assert "contradicts" in known.reason


def test_every_case_with_this_step_has_a_server_and_a_network_of_its_own(stage, noted) -> None:
    for _ in range(2):
        assert stage.run(f"- os: {{bindv6only: true}}\n{SERVED}").verdict == "pass"
    assert stage.adapter.calls.count("start") == 2
    assert "reset" not in stage.adapter.calls


@pytest.mark.parametrize(
    ("error", "verdict", "fault"),
    [
        (MachineError("this kernel has no such switch"), "skipped", ""),
        (UsageError("there is no such address"), "error", "scenario"),
    ],
)
def test_what_cannot_be_done(stage, noted, error, verdict, fault) -> None:
    noted.fails = error
    record = stage.run(f"{SERVED}\n- os: {{ipv6: disabled}}")
    assert (record.verdict, record.fault, record.reason) == (verdict, fault, str(error))


def test_on_loopback_it_is_skipped(stage) -> None:
    record = stage.run(f"{SERVED}\n- os: {{ipv6: disabled}}")
    assert record.verdict == "skipped"
    assert "a network that the case may change" in record.reason
    assert stage.adapter.calls == ["hello"]
