"""Cases that need the same network share it; a server never goes on into another one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from conformance.addresses import parse_interface
from conformance.errors import MachineError
from conformance.network import world
from conformance.network.plan import SHARED, LinkPlan, NetworkPlan
from conformance.run.place import Place

LINKED = NetworkPlan(own=True, links=(LinkPlan("lan"),))
ALONE = NetworkPlan(own=True, alone=True)
ADDRESS = parse_interface("2001:db8::1/128")


class Events(list[str]):
    """What happened, in its order."""


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Events:
    """Networks that only say that they are there."""
    seen = Events()

    class Named(world.World):
        def add_address(self, link: str | None, address: Any) -> None:
            seen.append(f"add {address}")

        def remove_address(self, link: str | None, address: Any) -> None:
            seen.append(f"remove {address}")

    @contextlib.contextmanager
    def of(plan: NetworkPlan) -> Iterator[world.World]:
        name = "alone" if plan.alone else "linked"
        seen.append(f"build {name}")
        yield Named(plan)
        seen.append(f"drop {name}")

    monkeypatch.setattr(world, "of", of)
    return seen


@pytest.fixture
def place(events: Events) -> Place:
    return Place(lambda: events.append("stop the server"))


def test_cases_of_the_shared_network_change_nothing(place: Place, events: Events) -> None:
    for _ in range(2):
        with place.visit(SHARED):
            assert place.world.plan == SHARED
    assert events == []


def test_the_server_of_the_shared_network_does_not_go_on_in_another(place: Place, events: Events) -> None:
    with place.visit(SHARED):
        pass
    with place.visit(LINKED):
        events.append("case")
    assert events == ["stop the server", "build linked", "case"]


def test_cases_with_the_same_network_share_it_but_not_their_addresses(place: Place, events: Events) -> None:
    with place.visit(replace(LINKED, addresses=(ADDRESS,))):
        pass
    with place.visit(LINKED):
        pass
    assert events == ["stop the server", "build linked", f"add {ADDRESS}", f"remove {ADDRESS}"]
    place.leave()
    assert events[-2:] == ["stop the server", "drop linked"]
    assert place.world.plan == SHARED


def test_a_case_that_changes_its_network_gets_a_fresh_one(place: Place, events: Events) -> None:
    for _ in range(2):
        with place.visit(ALONE):
            pass
    one = ["build alone", "stop the server", "drop alone"]
    assert [event for event in events if event != "stop the server"] == ["build alone", "drop alone"] * 2
    assert events[-3:] == one


def test_after_a_failure_nobody_else_is_there(place: Place, events: Events) -> None:
    with pytest.raises(MachineError), place.visit(LINKED):
        raise MachineError("the case could not go on")
    assert events[-2:] == ["stop the server", "drop linked"]
    with place.visit(LINKED):
        pass
    assert events.count("build linked") == 2


def test_a_network_that_cannot_be_built_leaves_us_where_we_were(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def of(plan: NetworkPlan) -> Iterator[world.World]:
        raise MachineError("no bridge")
        yield

    monkeypatch.setattr(world, "of", of)
    with pytest.raises(MachineError, match="no bridge"), place.visit(LINKED):
        pass
    assert place.world.plan == SHARED
