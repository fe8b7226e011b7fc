"""Nothing but loopback outside a namespace of our own, whatever is claimed."""

from __future__ import annotations

import os
from ipaddress import ip_address

import pytest

from conformance.network import safety
from conformance.network.modes import Network
from conformance.network.ports import PortPool


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.0", "127.255.255.255", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_allowed(address: str) -> None:
    safety.check(ip_address(address), "connect to")
    assert safety.allowed(ip_address(address))


FOREIGN = [
    "126.255.255.255",
    "128.0.0.0",
    "0.0.0.0",
    "192.0.2.1",
    "255.255.255.255",
    "::",
    "::2",
    "2001:db8::1",
    "fe80::1",
    "::ffff:192.0.2.1",
    "::ffff:0:0",
    "::127.0.0.1",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
]


@pytest.mark.parametrize("address", FOREIGN)
def test_anything_else_is_refused_with_the_remedy(address: str) -> None:
    with pytest.raises(safety.UnsafeAddress) as refusal:
        safety.check(ip_address(address), "listen on")
    assert f"refused to listen on {ip_address(address)}" in str(refusal.value)
    assert "--network namespace" in str(refusal.value)


def test_a_claim_of_being_in_a_namespace_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    Network("namespace")  # a value that anybody can make; nothing asks it
    monkeypatch.setenv(safety.VARIABLE, "4:4026531840")
    assert not safety.inside_own_namespace()
    with pytest.raises(safety.UnsafeAddress):
        safety.check(ip_address("2001:db8::1"), "connect from")


def test_even_the_right_number_is_no_permission_where_a_network_is_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(safety.VARIABLE, safety.identity())
    monkeypatch.setattr(safety, "_only_ours_are_up", lambda: False)
    assert not safety.inside_own_namespace()


def test_the_namespace_is_looked_at_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(safety.VARIABLE, safety.identity())
    monkeypatch.setattr(safety, "_only_ours_are_up", lambda: True)
    assert safety.inside_own_namespace()
    monkeypatch.delenv(safety.VARIABLE)
    assert not safety.inside_own_namespace()


def test_a_system_without_namespaces(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    assert safety.identity(tmp_path / "missing") == ""
    monkeypatch.setattr(safety, "identity", lambda: "")
    monkeypatch.setenv(safety.VARIABLE, "")
    assert not safety.inside_own_namespace()


def test_holding_a_number_is_refused_too() -> None:
    assert os.environ.get(safety.VARIABLE) is None
    for address in ("0.0.0.0", "::", "2001:db8::1"):
        with pytest.raises(safety.UnsafeAddress):
            PortPool().hold(ip_address(address))
