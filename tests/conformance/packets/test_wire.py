"""A wire is refused where it could lead anywhere."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from conformance import packets
from conformance.adapters.servers import python_environment
from conformance.errors import MachineError
from conformance.network import modes, safety
from conformance.packets import wire


@pytest.fixture
def harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the refusal missing, these tests would change the machine's own network: nothing gets so far."""
    import pyroute2

    def never(*_: object) -> None:
        raise AssertionError("it was not refused")

    monkeypatch.setattr(pyroute2, "IPRoute", never)
    monkeypatch.setattr(wire, "_DEVICE", "/dev/null/tun")
    monkeypatch.setattr(wire, "_sysctl", never)
    monkeypatch.setattr(wire, "_offloads_off", never)


@pytest.mark.usefixtures("harmless")
@pytest.mark.parametrize("kind", [None, "tun", "veth"])
def test_outside_a_namespace_of_ours_there_is_no_wire(kind: wire.Kind | None) -> None:
    with pytest.raises(safety.UnsafeAddress, match="--network namespace"):
        wire.open_wire(kind)


@pytest.mark.usefixtures("harmless")
def test_no_route_is_changed_outside() -> None:
    with pytest.raises(safety.UnsafeAddress):
        wire._route()


@pytest.mark.usefixtures("harmless")
@pytest.mark.parametrize("make", [wire.Wire, wire.TunWire, wire.VethWire])
def test_nor_by_the_back_door(make: type[wire.Wire], monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is forged, or another namespace's, opens nothing either."""
    for name in ("", safety.identity(), "4:4026531840"):
        monkeypatch.setenv(safety.VARIABLE, name)
        monkeypatch.setattr(safety, "_only_ours_are_up", lambda: False)
        with pytest.raises(safety.UnsafeAddress):
            make()


def test_without_scapy_or_linux_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from conformance.packets import build

    monkeypatch.setattr(packets.importlib.util, "find_spec", lambda _name: None)
    assert "pip install 'sixpost[packets]'" in packets.missing()
    build.scapy.cache_clear()
    with pytest.raises(MachineError, match="pip install"):
        build.scapy()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "need Linux" in packets.missing()


NEITHER = """
import json
from conformance.errors import MachineError
from conformance.network import modes, netns
from conformance.packets import wire
modes.enter("namespace")
wire._DEVICE = "/dev/null/tun"
wire.VethWire.__init__ = lambda self: 1 / 0
seen = []
with netns.fresh():
    for kind in (None, "tun", "veth"):
        try:
            wire.open_wire(kind)
        except MachineError as error:
            seen.append(str(error))
    wire._route = lambda: 1 / 0
    wire._DEVICE = "/dev/net/tun"
    wire.VethWire.__init__ = wire.Wire.__init__
    wire.VethWire.close = lambda self: seen.append("closed")
    try:
        wire.open_wire("veth")
    except MachineError as error:
        seen.append(str(error))
print(json.dumps(seen))
"""

FALLBACK = """
import json, socket
from conformance.network import modes, netns
from conformance.packets import wire
modes.enter("namespace")
wire._DEVICE = "/dev/null/tun"
with netns.fresh():
    with wire.open_wire() as one:
        kind, inside = one.kind, sorted(name for _, name in socket.if_nameindex())
    one.close()
    after = [name for _, name in socket.if_nameindex()]
print(json.dumps([kind, inside, after]))
"""


def python(code: str) -> object:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=python_environment(),
    )
    assert (result.returncode, result.stderr) == (0, "")
    return json.loads(result.stdout)


@pytest.mark.needs_namespace
def test_where_no_kind_is_possible_each_says_why() -> None:
    if reason := modes.probe():
        pytest.skip(reason)
    both, tun, veth, closed, unrouted = python(NEITHER)  # type: ignore[misc]
    assert "tun: " in both
    assert "veth: division by zero" in both
    assert "veth" not in tun.partition(";")[0]
    assert "tun" not in veth.partition(";")[0]
    assert closed == "closed"
    for message in (both, tun, veth, unrouted):
        assert "conformance doctor" in message


@pytest.mark.needs_namespace
def test_veth_takes_the_place_of_tun_and_goes_with_the_wire() -> None:
    if reason := modes.probe():
        pytest.skip(reason)
    assert python(FALLBACK) == ["veth", ["lo", "sixwire", "sixwire-far"], ["lo"]]
