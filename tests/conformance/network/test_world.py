"""The network of one case: who reaches what, what is switched, and that nothing of it is left."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

import pytest

from conformance.errors import MachineError
from conformance.network.plan import SHARED, HostPlan, LinkPlan, NetworkPlan
from conformance.network.world import World, of

PRELUDE = """
import contextlib, json, os, socket
from ipaddress import ip_address, ip_interface
from pathlib import Path
from conformance.clients.connect import Connector, Observation, sockaddr
from conformance.errors import MachineError, UsageError
from conformance.network import modes, namespace, netns, safety
from conformance.network.plan import SHARED, HostPlan, LinkPlan, NetworkPlan
from conformance.network.world import World, of
connector = Connector(modes.enter("namespace"))
def addresses(*texts):
    return tuple(map(ip_interface, texts))
PLAN = NetworkPlan(own=True,
    links=(LinkPlan("lan", addresses("2001:db8:1::1/64", "2001:db8:1::2/64", "192.0.2.1/24", "fe80::1/64")),
           LinkPlan("dmz", addresses("2001:db8:2::1/64", "198.51.100.1/24", "fe80::1/64"))),
    hosts=(HostPlan("office", "lan", addresses("2001:db8:1::25/64", "192.0.2.25/24", "fe80::25/64")),
           HostPlan("gateway", "dmz", addresses("2001:db8:2::25/64", "198.51.100.25/24", "fe80::25/64"))))
def listening(text, port=25):
    address = ip_address(text)
    sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(sockaddr(address, port))
    sock.listen()
    return sock
def connected(world, listener, target, host=None, source=None, port=25):
    # What the client was told, and what the server saw of it: peer, and the address that was reached.
    target = ip_address(target)
    where = world.source(host, target) if source is None else ip_address(source)
    with world.at(host):
        channel = connector.open(target, port, source=where, record=lambda *event: None, patience=2)
    if isinstance(channel, Observation):
        return str(channel.outcome)
    with contextlib.closing(channel), listener.accept()[0] as accepted:
        return [named(accepted.getpeername()), named(accepted.getsockname())]
def named(name):
    return name[0] + (f"%{socket.if_indextoname(name[3])}" if len(name) == 4 and name[3] else "")
def binds(text, port=0):
    try:
        listening(text, port).close()
    except OSError as error:
        return error.strerror
    return "bound"
def refused(what, *arguments, **named):
    try:
        what(*arguments, **named)
    except (MachineError, UsageError) as error:
        return str(error)
def state():
    return [os.readlink("/proc/thread-self/ns/net"), os.environ[safety.VARIABLE],
        len(os.listdir("/proc/self/fd")), namespace.threads(), socket.if_nameindex()]
"""


@pytest.mark.needs_namespace
def test_a_client_on_another_host_reaches_exactly_the_address_that_it_was_given(python, user) -> None:
    seen = python(
        PRELUDE
        + """
seen = {}
with of(PLAN) as world:
    for text in ("2001:db8:1::1", "192.0.2.1", "fe80::1%lan"):
        with listening(text) as listener:
            seen[text] = connected(world, listener, text, "office")
    for text in ("2001:db8:2::1", "198.51.100.1", "fe80::1%dmz"):
        with listening(text) as listener:
            seen[text] = connected(world, listener, text, "gateway")
    with listening("2001:db8:1::2") as listener:
        seen["its neighbour"] = connected(world, listener, "2001:db8:1::1", "office")
    with listening("fe80::1%dmz") as listener:
        seen["the other zone"] = connected(world, listener, "fe80::1%lan", "office")
    for wildcard in ("::", "0.0.0.0"):
        with listening(wildcard) as listener:
            for host, text in (("office", "2001:db8:1::2"), ("gateway", "2001:db8:2::1"),
                    ("office", "192.0.2.1"), ("gateway", "198.51.100.1")):
                if (":" in text) == (":" in wildcard):
                    seen["wildcard " + text] = connected(world, listener, text, host)
print(json.dumps(seen))
""",
        user=user,
    )
    assert seen == {
        "2001:db8:1::1": ["2001:db8:1::25", "2001:db8:1::1"],
        "192.0.2.1": ["192.0.2.25", "192.0.2.1"],
        "fe80::1%lan": ["fe80::25%lan", "fe80::1%lan"],
        "2001:db8:2::1": ["2001:db8:2::25", "2001:db8:2::1"],
        "198.51.100.1": ["198.51.100.25", "198.51.100.1"],
        "fe80::1%dmz": ["fe80::25%dmz", "fe80::1%dmz"],
        "its neighbour": "refused",
        "the other zone": "refused",
        "wildcard 2001:db8:1::2": ["2001:db8:1::25", "2001:db8:1::2"],
        "wildcard 2001:db8:2::1": ["2001:db8:2::25", "2001:db8:2::1"],
        "wildcard 192.0.2.1": ["192.0.2.25", "192.0.2.1"],
        "wildcard 198.51.100.1": ["198.51.100.25", "198.51.100.1"],
    }


@pytest.mark.needs_namespace
def test_beside_links_clients_come_from_anywhere(python, user) -> None:
    seen = python(
        PRELUDE
        + """
seen = []
with of(PLAN) as world:
    for target, sources in (("2001:db8:1::1", ("2001:db8:77::7", "8000::1", "2001:db8:1::2", "::1")),
            ("2001:db8:99::1", ("fc00::1",)),
            ("192.0.2.1", ("203.0.113.7", "8.8.8.8", "127.0.0.1")), ("203.0.113.1", ("192.0.2.1",))):
        wildcard = "::" if ":" in target else "0.0.0.0"
        with listening(wildcard) as listener:
            for source in sources:
                came = connected(world, listener, target, source=source)
                seen.append(came == [source, target] or [source, target, came])
print(json.dumps(seen))
""",
        user=user,
    )
    assert seen == [True] * 9


@pytest.mark.needs_namespace
def test_nobody_is_reached_from_a_link_but_who_is_on_it(python, user) -> None:
    """The other hosts have no way to loopback, or to the other link; and the server's host is no bridge."""
    seen = python(
        PRELUDE
        + """
with of(PLAN) as world:
    with listening("::") as listener, listening("127.0.0.1", 26) as four:
        print(json.dumps([
            connected(world, listener, "2001:db8:2::1", "office", source="2001:db8:1::25"),
            connected(world, four, "127.0.0.1", "office", source="127.0.0.1", port=26),
            connected(world, listener, "2001:db8:1::77", source="2001:db8:1::1"),
        ]))
""",
        user=user,
    )
    assert seen[:2] == ["unreachable", "refused"]
    assert seen[2] in ("unreachable", "filtered"), "an address of the link that nobody has is not ours"


SWITCH = """
seen = []
def look(world):
    found = {}
    for text in ("2001:db8:1::1", "fe80::1%lan"):
        try:
            with listening(text) as listener:
                found[text] = connected(world, listener, text, "office") != "refused" and "reached"
        except OSError as error:
            found[text] = error.strerror
    with listening("::") as listener:
        found["anywhere"] = connected(world, listener, "2001:db8:99::1", source="2001:db8:77::7")
        found["::1"] = connected(world, listener, "::1", source="::1") != "unreachable"
    with listening("192.0.2.1") as listener:
        found["IPv4"] = connected(world, listener, "192.0.2.1", "office")
    with listening("0.0.0.0") as listener:
        found["IPv4 anywhere"] = connected(world, listener, "203.0.113.1", source="8.8.8.8")
    seen.append(found)
def look_at(plan, *switches):
    with of(plan) as world:
        for on in switches:
            if on is not None:
                world.switch_ipv6(on=on)
                assert world.ipv6 is on
            with contextlib.suppress(MachineError):
                look(world) if world.ipv6 else look_without(world)
def look_without(world):
    found = {text: binds(text) for text in ("2001:db8:1::1", "::1", "::")}
    with listening("192.0.2.1") as listener:
        found["IPv4"] = connected(world, listener, "192.0.2.1", "office")
    with listening("0.0.0.0") as listener:
        found["IPv4 anywhere"] = connected(world, listener, "203.0.113.1", source="8.8.8.8")
    seen.append(found)
"""
ON = {
    "2001:db8:1::1": "reached",
    "fe80::1%lan": "reached",
    "anywhere": ["2001:db8:77::7", "2001:db8:99::1"],
    "::1": True,
    "IPv4": ["192.0.2.25", "192.0.2.1"],
    "IPv4 anywhere": ["8.8.8.8", "203.0.113.1"],
}
OFF = {
    "2001:db8:1::1": "Cannot assign requested address",
    "::1": "Cannot assign requested address",
    "::": "bound",
    "IPv4": ["192.0.2.25", "192.0.2.1"],
    "IPv4 anywhere": ["8.8.8.8", "203.0.113.1"],
}


@pytest.mark.needs_namespace
def test_ipv6_comes_back_with_every_address(python, user) -> None:
    seen = python(
        PRELUDE
        + SWITCH
        + "look_at(PLAN, None, False, False, True, True, False, True)\nprint(json.dumps(seen))",
        user=user,
    )
    assert seen == [ON, OFF, OFF, ON, ON, OFF, ON]


@pytest.mark.needs_namespace
def test_a_host_that_starts_without_ipv6_gets_it(python, user) -> None:
    seen = python(
        PRELUDE
        + SWITCH
        + "from dataclasses import replace\n"
        + "look_at(replace(PLAN, ipv6=False), None, True, False)\nprint(json.dumps(seen))",
        user=user,
    )
    assert seen == [OFF, ON, OFF]


@pytest.mark.needs_namespace
def test_addresses_come_and_go(python, user) -> None:
    seen = python(
        PRELUDE
        + """
new, old = ip_interface("2001:db8:1::9/64"), ip_interface("2001:db8:1::1/64")
four, lone = ip_interface("192.0.2.9/24"), ip_interface("2001:db8:9::9/128")
with of(PLAN) as world:
    seen = [binds("2001:db8:1::9"), binds("192.0.2.9"), binds("2001:db8:9::9")]
    for link, one in (("lan", new), ("lan", four), (None, lone)):
        world.add_address(link, one)
    seen.append([binds("2001:db8:1::9"), binds("192.0.2.9"), binds("2001:db8:9::9")])
    with listening("2001:db8:1::9") as listener:
        seen.append(connected(world, listener, "2001:db8:1::9", "office"))
    world.remove_address("lan", old)
    world.switch_ipv6(on=False)
    world.remove_address("lan", new)
    world.add_address("lan", ip_interface("2001:db8:1::8/64"))  # it waits
    seen.append(binds("2001:db8:1::8"))
    world.switch_ipv6(on=True)
    texts = ("2001:db8:1::1", "2001:db8:1::9", "2001:db8:1::8", "2001:db8:9::9")
    seen.append([binds(text) for text in texts])
    seen += [refused(world.add_address, "lan", four), refused(world.remove_address, "lan", old),
        refused(world.remove_address, "dmz", four), refused(world.remove_address, None, new)]
print(json.dumps(seen))
""",
        user=user,
    )
    no = "Cannot assign requested address"
    assert seen == [
        no,
        no,
        no,
        ["bound", "bound", "bound"],
        ["2001:db8:1::25", "2001:db8:1::9"],
        no,
        [no, no, "bound", "bound"],
        "the server's host has the address 192.0.2.9/24 on lan already",
        "the server's host has no address 2001:db8:1::1/64 on lan",
        "the server's host has no address 192.0.2.9/24 on dmz",
        "the server's host has no address 2001:db8:1::9/64 on lo",
    ]


@pytest.mark.needs_namespace
def test_bindv6only(python, user) -> None:
    seen = python(
        PRELUDE
        + """
def only():
    with socket.socket(socket.AF_INET6) as sock:
        return sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
seen = [only()]
for given in (False, True):
    with of(NetworkPlan(own=True, bindv6only=given)) as world:
        seen.append(only())
        world.set_bindv6only(on=not given)
        seen.append(only())
    seen.append(only())
print(json.dumps(seen))
""",
        user=user,
    )
    assert seen == [0, 0, 1, 0, 1, 0, 0]


@pytest.mark.needs_namespace
def test_beyond_a_wire_no_address_is_ours_but_those_that_are_named(python, user) -> None:
    seen = python(
        PRELUDE
        + """
with of(NetworkPlan(own=True, wire=True, addresses=addresses("2001:db8:6::25/128", "198.51.100.25/32"))):
    print(json.dumps([binds(text) for text in ("2001:db8:6::25", "198.51.100.25", "::1", "127.0.0.1",
        "192.0.2.1", "2001:db8:6::26")]))
""",
        user=user,
    )
    assert seen == ["bound"] * 4 + ["Cannot assign requested address"] * 2


@pytest.mark.needs_namespace
def test_low_ports_are_for_servers_too(python, user) -> None:
    """They have no capability of ours."""
    seen = python(
        PRELUDE
        + """
import subprocess, sys
from conformance.network import launch
code = '''
import socket
for family, address, port in ((socket.AF_INET, "192.0.2.1", 25), (socket.AF_INET6, "2001:db8:1::1", 143)):
    with socket.socket(family) as sock:
        sock.bind((address, port))
'''
with of(PLAN):
    print(json.dumps(subprocess.run(launch.command([sys.executable, "-c", code])).returncode))
""",
        user=user,
    )
    assert seen == 0


@pytest.mark.needs_namespace
def test_nothing_is_left(python, user) -> None:
    first, *others = python(
        PRELUDE
        + """
with of(PLAN):
    pass
seen = [state()]
with of(PLAN) as world:
    with world.at("office"), world.at("gateway"):
        pass
seen.append(state())
for error in (ValueError(), KeyboardInterrupt()):
    try:
        with of(PLAN) as world, world.at("office"):
            raise error
    except BaseException:
        seen.append(state())
# One that cannot be built: the second host has no such link.
broken = NetworkPlan(own=True, links=PLAN.links, hosts=(PLAN.hosts[0],
    HostPlan("other", "no-such-link", addresses("2001:db8:3::1/64"))))
assert "there is no interface no-such-link" == refused(of(broken).__enter__)
seen.append(state())
again = NetworkPlan(own=True, links=(PLAN.links[0],), hosts=(HostPlan("twice", "lan",
    addresses("2001:db8:3::1/64", "2001:db8:3::1/64")),))
assert "File exists" in refused(of(again).__enter__)
seen.append(state())
print(json.dumps(seen))
""",
        user=user,
    )
    assert others == [first] * 5
    assert first[3] == 1, "threads"


@pytest.mark.needs_namespace
def test_a_network_that_is_shared_is_left_alone(python, user) -> None:
    seen = python(
        PRELUDE
        + """
before = state()
with of(SHARED) as world:
    seen = [state() == before]
    one = ip_interface("2001:db8::1/128")
    for what, words in ((world.switch_ipv6, {"on": False}), (world.set_bindv6only, {"on": True}),
            (world.add_address, {"link": None, "address": one}),
            (world.remove_address, {"link": None, "address": one})):
        seen.append(refused(what, **words))
    seen.append(Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").read_text().strip())
print(json.dumps(seen))
""",
        user=user,
    )
    words = "this case shares its network with others, and may not change it"
    assert seen == [True, words, words, words, words, "0"]


# --- outside --------------------------------------------------------------------------------------

OWN = NetworkPlan(
    own=True,
    links=(LinkPlan("lan", (ip_interface("2001:db8:1::1/64"),)),),
    hosts=(HostPlan("office", "lan", (ip_interface("2001:db8:1::25/64"), ip_interface("fe80::25/64"))),),
)


@pytest.mark.parametrize("plan", [NetworkPlan(own=True), OWN])
def test_outside_a_namespace_of_ours_none_is_built(plan: NetworkPlan) -> None:
    with pytest.raises(MachineError, match="inside a network namespace of our own only"), of(plan):
        pass


def test_outside_a_namespace_of_ours_nothing_is_switched() -> None:
    world = World(NetworkPlan(own=True))
    one = ip_interface("2001:db8::1/128")
    for change in (
        lambda: world.switch_ipv6(on=False),
        lambda: world.set_bindv6only(on=True),
        lambda: world.add_address(None, one),
        lambda: world.build(),
    ):
        with pytest.raises(MachineError, match="refused to"):
            change()
    with pytest.raises(MachineError), World(OWN, {"office": 0}).at("office"):
        pass


def test_without_a_network_of_its_own_a_case_runs_anywhere() -> None:
    with of(SHARED) as world, world.at(None):
        assert world.plan is SHARED


def test_the_source_of_a_client() -> None:
    world = World(OWN)
    assert world.source("office", ip_address("2001:db8:1::1")) == ip_address("2001:db8:1::25")
    assert world.source("office", ip_address("fe80::1%lan")) == ip_address("fe80::25%lan")
    with pytest.raises(MachineError, match=r"^the host office has no address from which to reach 192.0.2.1$"):
        world.source("office", ip_address("192.0.2.1"))
