"""Addresses, routes and settings of the network namespace that this thread is in (Linux only, pyroute2)."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from conformance.addresses import Address, Interface
from conformance.errors import MachineError
from conformance.network import safety

Network = IPv4Network | IPv6Network
_LOCAL_TABLE = 255
_MAIN_TABLE = 254
_SCOPE_HOST = 254
_OWN_RULE = 32_000
_NO_DUPLICATE_DETECTION = 2  # IFA_F_NODAD: else the first bind fails for 1.8 s
_EVERYTHING = ((socket.AF_INET, "0.0.0.0/0"), (socket.AF_INET6, "::/0"))


def _guarded() -> IPRoute:
    if not safety.inside_own_namespace():
        raise safety.UnsafeAddress("refused to change a network that is not a namespace of our own")
    return IPRoute()


def write(name: str, value: str | int) -> None:
    """Write a setting below ``net.``, such as ``ipv6.bindv6only``. Raises MachineError naming it."""
    from pathlib import Path

    if not safety.inside_own_namespace():
        raise safety.UnsafeAddress(f"refused to set net.{name} outside a namespace of our own")
    file = Path("/proc/sys/net", *name.split("."))
    try:
        file.write_text(str(value), "ascii")
    except OSError as error:
        raise MachineError(f"cannot set net.{name} to {value}: {error.strerror}") from error


def allow_low_ports() -> None:
    """Ports below 1024 need no privilege."""
    write("ipv4.ip_unprivileged_port_start", 0)


def any_address_is_ours(*, ipv6: bool = True) -> None:
    """Make every address an address of this host; again after IPv6 was off."""
    with _guarded() as network:
        lo = network.link_lookup(ifname="lo")[0]
        for family, everything in _EVERYTHING if ipv6 else _EVERYTHING[:1]:
            network.route(
                "replace",
                family=family,
                dst=everything,
                oif=lo,
                type="local",
                table=_LOCAL_TABLE,
                scope=_SCOPE_HOST,
            )


def reach_by_link(prefixes: Iterable[Network]) -> None:
    """Except ``prefixes`` from `any_address_is_ours`: who has such an address is on a link."""
    wanted = list(dict.fromkeys(prefixes))
    with _guarded() as network:
        if wanted and not network.get_rules(family=socket.AF_INET, FRA_PRIORITY=_OWN_RULE):
            # IPv4 keeps the tables local and main as one until there is a rule of one's own; in one table the
            # way to the link would end at "throw".
            network.rule("add", family=socket.AF_INET, table=_MAIN_TABLE, priority=_OWN_RULE)
        for prefix in wanted:
            family = socket.AF_INET6 if prefix.version == 6 else socket.AF_INET
            network.route("replace", family=family, dst=str(prefix), type="throw", table=_LOCAL_TABLE)


def add_address(interface: str, address: Interface) -> None:
    """Give an interface an address, usable at once. Raises MachineError."""
    _address("add", interface, address)


def remove_address(interface: str, address: Interface) -> None:
    """Take an address from an interface. Raises MachineError."""
    _address("del", interface, address)


def _address(verb: str, interface: str, address: Interface) -> None:
    more = {"flags": _NO_DUPLICATE_DETECTION} if address.version == 6 and verb == "add" else {}
    with _guarded() as network:
        try:
            network.addr(
                verb,
                index=_index(network, interface),
                address=str(address.ip),
                prefixlen=address.network.prefixlen,
                **more,
            )
        except NetlinkError as error:
            raise MachineError(f"cannot {verb} {address} on {interface}: {error}") from error


def set_unreachable(address: Address, *, on: bool) -> None:
    """Let the kernel say at once that there is no way to ``address``, or no longer. Raises MachineError."""
    with _guarded() as network:
        try:
            network.route(
                "replace" if on else "del",
                family=socket.AF_INET6 if address.version == 6 else socket.AF_INET,
                dst=f"{address}/{address.max_prefixlen}",
                type="unreachable",
                table=_LOCAL_TABLE,
            )
        except NetlinkError as error:
            raise MachineError(f"cannot change the way to {address}: {error}") from error


def up(*interfaces: str) -> None:
    """Switch interfaces on."""
    with _guarded() as network:
        for interface in interfaces:
            network.link("set", index=_index(network, interface), state="up")


def add_bridge(name: str) -> None:
    """Make a bridge, and switch it on."""
    with _guarded() as network:
        network.link("add", ifname=name, kind="bridge")
    up(name)


def connect(name: str, port: str, bridge: str, switch: int, mac: str) -> None:
    """Make the interface ``name`` here, connected to ``bridge`` in the namespace ``switch`` as its ``port``.

    It is left off, so that it can be configured first.
    """
    from conformance.network import netns

    with _guarded() as network:
        network.link("add", ifname=name, kind="veth", address=mac, peer={"ifname": port, "net_ns_fd": switch})
    with netns.inside(switch), _guarded() as network:
        network.link("set", index=_index(network, port), master=_index(network, bridge), state="up")


def _index(network: IPRoute, name: str) -> int:
    found = network.link_lookup(ifname=name)
    if not found:
        raise MachineError(f"there is no interface {name}")
    return int(found[0])
