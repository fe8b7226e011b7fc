"""Plans are values: equal where they are the same network."""

from __future__ import annotations

from ipaddress import ip_interface

from conformance.network.plan import SERVER_V4, SERVER_V6, SHARED, HostPlan, LinkPlan, NetworkPlan


def plan(name: str = "lan") -> NetworkPlan:
    link = LinkPlan(name, (ip_interface("2001:db8:1::1/64"),))
    return NetworkPlan(own=True, links=(link,), hosts=(HostPlan("office", name),))


def test_the_default_is_shared_and_changes_nothing() -> None:
    assert NetworkPlan() == SHARED
    assert (SHARED.own, SHARED.ipv6, SHARED.bindv6only, SHARED.wire) == (False, True, False, False)
    assert (SHARED.links, SHARED.hosts, SHARED.addresses) == ((), (), ())


def test_the_same_network_is_equal_and_another_is_not() -> None:
    assert plan() == plan()
    assert hash(plan()) == hash(plan())
    assert plan() != plan("dmz")


def test_addresses_beyond_a_wire_are_for_documentation() -> None:
    assert SERVER_V4.is_private
    assert SERVER_V6.is_private
    assert not SERVER_V4.is_loopback
    assert not SERVER_V6.is_loopback
