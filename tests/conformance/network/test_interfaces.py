"""Addresses, routes and settings: refused outside, exact inside."""

from __future__ import annotations

import os
from collections.abc import Callable
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from conformance.network import interfaces, netns
from conformance.network.safety import UnsafeAddress

PRELUDE = """
import json, os, socket
from ipaddress import ip_interface, ip_network
from pathlib import Path
from conformance.errors import MachineError
from conformance.network import interfaces, modes, namespace, netns
modes.enter("namespace")
def binds(address, port=0):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as sock:
        try:
            sock.bind((address, port))
        except OSError as error:
            return error.strerror
    return "bound"
def refused(what, *arguments):
    try:
        what(*arguments)
    except MachineError as error:
        return str(error)
"""


@pytest.mark.parametrize(
    "change",
    [
        lambda: interfaces.write("ipv6.conf.all.disable_ipv6", 1),
        interfaces.allow_low_ports,
        interfaces.any_address_is_ours,
        lambda: interfaces.reach_by_link([ip_network("2001:db8::/64")]),
        lambda: interfaces.add_address("lo", ip_interface("2001:db8::1/128")),
        lambda: interfaces.remove_address("lo", ip_interface("127.0.0.1/8")),
        lambda: interfaces.up("lo"),
        lambda: interfaces.add_bridge("lan"),
    ],
)
def test_outside_a_namespace_of_ours_nothing_is_changed(change: Callable[[], None]) -> None:
    with pytest.raises(UnsafeAddress, match="refused"):
        change()


def test_and_no_interface_is_made() -> None:
    here = netns.current()
    try:
        with pytest.raises(UnsafeAddress):
            interfaces.connect("lan", "p1", "lan", here, "02:00:5e:00:00:01")
    finally:
        os.close(here)
    names = {line.partition(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()}
    assert "lan" not in names


@pytest.mark.needs_namespace
def test_addresses_come_and_go_at_once(python, user) -> None:
    seen = python(
        PRELUDE
        + """
seen = []
with netns.fresh():
    for text in ("2001:db8::1/64", "192.0.2.1/24", "fd00::1/128"):
        address = ip_interface(text)
        steps = [binds(str(address.ip))]
        interfaces.add_address("lo", address)
        steps.append(binds(str(address.ip)))
        steps.append(refused(interfaces.add_address, "lo", address))
        interfaces.remove_address("lo", address)
        steps.append(binds(str(address.ip)))
        steps.append(refused(interfaces.remove_address, "lo", address))
        seen.append(steps)
    no_interface = refused(interfaces.add_address, "lan", ip_interface("2001:db8::1/64"))
print(json.dumps([seen, no_interface]))
""",
        user=user,
    )
    for (before, there, twice, gone, not_there), text in zip(
        seen[0], ("2001:db8::1/64", "192.0.2.1/24", "fd00::1/128"), strict=True
    ):
        assert (before, there, gone) == (
            "Cannot assign requested address",
            "bound",
            "Cannot assign requested address",
        )
        assert twice == f"cannot add {text} to lo: File exists"
        assert not_there == f"cannot remove {text} from lo: Cannot assign requested address"
    assert seen[1] == "there is no interface lan"


@pytest.mark.needs_namespace
def test_settings(python, user) -> None:
    seen = python(
        PRELUDE
        + """
with netns.fresh():
    seen = [Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text().strip()]
    interfaces.allow_low_ports()
    seen.append(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text().strip())
    interfaces.write("ipv6.conf.lo.disable_ipv6", 1)
    seen += [binds("::1"), refused(interfaces.write, "ipv6.no_such_thing", 1),
        refused(interfaces.write, "ipv6.bindv6only", "nonsense")]
print(json.dumps(seen))
""",
        user=user,
    )
    assert seen == [
        "1024",
        "0",
        "Cannot assign requested address",
        "cannot set net.ipv6.no_such_thing to 1: No such file or directory",
        "cannot set net.ipv6.bindv6only to nonsense: Invalid argument",
    ]


@pytest.mark.needs_namespace
def test_every_address_is_ours_but_those_on_a_link(python, user) -> None:
    """Asked twice, as after IPv6 was off, it stays so."""
    ours, beyond, rules, descriptors = python(
        PRELUDE
        + """
from pyroute2 import IPRoute
def where(address):
    with IPRoute() as network:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            (route,) = network.route("get", family=family, dst=address)
        except Exception as error:
            return str(error)
        return {2: "local", 1: "unicast"}[route["type"]]
before = len(os.listdir("/proc/self/fd"))
with netns.fresh():
    for _ in range(2):
        interfaces.any_address_is_ours()
        interfaces.reach_by_link([ip_network("2001:db8:1::/64"), ip_network("192.0.2.0/24")])
    ours = [where(one) for one in ("2001:db8:2::1", "::ffff", "8000::1", "192.0.3.1", "203.0.113.7")]
    beyond = [where(one) for one in ("2001:db8:1::7", "192.0.2.7")]
    with IPRoute() as network:
        rules = len([1 for rule in network.get_rules(family=socket.AF_INET)])
print(json.dumps([ours, beyond, rules, len(os.listdir("/proc/self/fd")) - before]))
""",
        user=user,
    )
    assert ours == ["local"] * 5
    assert all("nreachable" in words for words in beyond), beyond
    assert rules == 4, "the three of the kernel, and ours once"
    assert descriptors == 0


@pytest.mark.needs_namespace
def test_what_the_kernel_refuses_is_said(python, user) -> None:
    seen = python(
        PRELUDE
        + """
with netns.fresh() as switch:
    interfaces.add_bridge("lan")
    with netns.fresh():
        interfaces.connect("lan", "p1", "lan", switch, "02:00:5e:00:00:01")
        seen = [refused(interfaces.connect, "lan", "p2", "lan", switch, "02:00:5e:00:00:02"),
            refused(interfaces.connect, "dmz", "p3", "dmz", switch, "02:00:5e:00:00:03"),
            refused(interfaces.up, "lan", "wan")]
    seen.append(refused(interfaces.add_bridge, "lan"))
print(json.dumps(seen))
""",
        user=user,
    )
    assert seen == [
        "cannot make the interface lan: File exists",
        "there is no interface dmz",
        "there is no interface wan",
        "cannot make the bridge lan: File exists",
    ]
