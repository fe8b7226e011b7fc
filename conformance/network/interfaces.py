"""Addresses, routes and settings of the network namespace that this thread is in (Linux only, pyroute2)."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
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
_PASSES = ("UP", "UNKNOWN")  # RFC 2863; tun and lo never say more than UNKNOWN
_RTN_LOCAL = 2
_READY_LIMIT = 30.0
_LOOK_AGAIN = 0.002
_EVERYTHING = ((socket.AF_INET, "0.0.0.0/0"), (socket.AF_INET6, "::/0"))


@contextlib.contextmanager
def _guarded(what: str) -> Iterator[IPRoute]:
    """Give the way to the kernel. Raises UnsafeAddress outside, MachineError when it refuses ``what``."""
    if not safety.inside_own_namespace():
        raise safety.UnsafeAddress(f"refused to {what}: this network is not a namespace of our own")
    try:
        with IPRoute() as network:
            yield network
    except NetlinkError as error:
        raise MachineError(f"cannot {what}: {os.strerror(error.code)}") from error


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
    with _guarded("make every address ours") as network:
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
    with _guarded("leave addresses to a link") as network:
        if wanted and not network.get_rules(family=socket.AF_INET, FRA_PRIORITY=_OWN_RULE):
            # IPv4 keeps the tables local and main as one until there is a rule of one's own; in one table the
            # way to the link would end at "throw".
            network.rule("add", family=socket.AF_INET, table=_MAIN_TABLE, priority=_OWN_RULE)
        for prefix in wanted:
            family = socket.AF_INET6 if prefix.version == 6 else socket.AF_INET
            network.route("replace", family=family, dst=str(prefix), type="throw", table=_LOCAL_TABLE)


def add_address(interface: str, address: Interface) -> None:
    """Give an interface an address, usable at once. Raises MachineError."""
    more = {"flags": _NO_DUPLICATE_DETECTION} if address.version == 6 else {}
    with _guarded(f"add {address} to {interface}") as network:
        _address(network, "add", interface, address, more)
        if address.version == 6 and _is_up(network, interface):
            _wait_until_local(network, interface, address)


def _is_up(network: IPRoute, interface: str) -> bool:
    return bool(network.get_links(_index(network, interface))[0]["flags"] & 0x1)  # IFF_UP


def _wait_until_local(network: IPRoute, interface: str, address: Interface) -> None:
    """Return when the kernel takes packets for an IPv6 address, which it does some time after it has it."""
    deadline = time.monotonic() + _READY_LIMIT
    only = {"oif": _index(network, interface)} if address.ip.is_link_local else {}
    while True:
        # Until then the way to the address is another one, or none.
        with contextlib.suppress(NetlinkError):
            routes = network.route("get", family=socket.AF_INET6, dst=str(address.ip), **only)
            if any(route["type"] == _RTN_LOCAL for route in routes):
                return
        if time.monotonic() > deadline:
            raise MachineError(f"packets to {address.ip} were not taken in {_READY_LIMIT:.0f} s")
        time.sleep(_LOOK_AGAIN)


def remove_address(interface: str, address: Interface) -> None:
    """Take an address from an interface. Raises MachineError."""
    with _guarded(f"remove {address} from {interface}") as network:
        _address(network, "del", interface, address, {})


def _address(
    network: IPRoute, verb: str, interface: str, address: Interface, more: Mapping[str, int]
) -> None:
    index, length = _index(network, interface), address.network.prefixlen
    network.addr(verb, index=index, address=str(address.ip), prefixlen=length, **more)


def set_unreachable(address: Address, *, on: bool) -> None:
    """Let the kernel say at once that there is no way to ``address``, or no longer. Raises MachineError."""
    with _guarded(f"change the way to {address}") as network:
        network.route(
            "replace" if on else "del",
            family=socket.AF_INET6 if address.version == 6 else socket.AF_INET,
            dst=f"{address}/{address.max_prefixlen}",
            type="unreachable",
            table=_LOCAL_TABLE,
        )


def up(*interfaces: str) -> None:
    """Switch interfaces on."""
    with _guarded(f"switch {' and '.join(interfaces)} on") as network:
        for interface in interfaces:
            network.link("set", index=_index(network, interface), state="up")


def wait_until_ready(*interfaces: str) -> None:
    """Return when packets pass: the kernel connects an interface some time after it was switched on.

    Until then what is sent is lost. Raises MachineError after `_READY_LIMIT` seconds.
    """
    deadline = time.monotonic() + _READY_LIMIT
    with _guarded(f"look at {', '.join(interfaces)}") as network:
        for interface in interfaces:
            index = _index(network, interface)
            while network.get_links(index)[0].get_attr("IFLA_OPERSTATE") not in _PASSES:
                if time.monotonic() > deadline:
                    raise MachineError(f"the interface {interface} was not ready in {_READY_LIMIT:.0f} s")
                time.sleep(_LOOK_AGAIN)


def add_bridge(name: str) -> None:
    """Make a bridge, and switch it on."""
    with _guarded(f"make the bridge {name}") as network:
        network.link("add", ifname=name, kind="bridge")
    up(name)


def connect(name: str, port: str, bridge: str, switch: int, mac: str) -> None:
    """Make the interface ``name`` here, connected to ``bridge`` in the namespace ``switch`` as its ``port``.

    It is left off, so that it can be configured first.
    """
    from conformance.network import netns

    with _guarded(f"make the interface {name}") as network:
        network.link("add", ifname=name, kind="veth", address=mac, peer={"ifname": port, "net_ns_fd": switch})
    with netns.inside(switch), _guarded(f"connect {name} to {bridge}") as network:
        network.link("set", index=_index(network, port), master=_index(network, bridge), state="up")


def _index(network: IPRoute, name: str) -> int:
    found = network.link_lookup(ifname=name)
    if not found:
        raise MachineError(f"there is no interface {name}")
    return int(found[0])
