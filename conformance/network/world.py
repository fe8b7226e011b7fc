"""The network of one case: links, other hosts, the switch of IPv6, addresses that come and go.

Most cases share the worker's own network, in which every address is ours. A case that changes something in
it, has links, or is reached over a wire, gets a fresh namespace, which is gone with it (Linux only).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from ipaddress import IPv6Network

from conformance.addresses import Address, Interface, parse
from conformance.errors import MachineError
from conformance.network.plan import HostPlan, NetworkPlan

_LINK_LOCAL = IPv6Network("fe80::/10")


class World:
    """What a case may do with its network; made by `of`."""

    def __init__(self, plan: NetworkPlan, hosts: Mapping[str, int] | None = None) -> None:
        """``hosts``: a descriptor of the namespace of each other host."""
        self.plan = plan
        self._hosts = dict(hosts or {})
        self._addresses = [(link.name, address) for link in plan.links for address in link.addresses]
        self._addresses += [("lo", address) for address in plan.addresses]
        self.ipv6 = plan.ipv6
        """Whether IPv6 is switched on now."""

    @contextlib.contextmanager
    def at(self, host: str | None) -> Iterator[None]:
        """Be on another host; None is the server's own. Sockets opened meanwhile stay there."""
        if host is None:
            yield
            return
        from conformance.network import netns

        with netns.inside(self._hosts[host]):
            yield

    def source(self, host: str, target: Address) -> Address:
        """Return the address from which a client on ``host`` reaches ``target``; link-local with its zone.

        Raises MachineError when the host has none of that family.
        """
        plan = next(one for one in self.plan.hosts if one.name == host)
        fitting = [
            one.ip
            for one in plan.addresses
            if one.version == target.version and one.ip.is_link_local == target.is_link_local
        ]
        if not fitting:
            raise MachineError(f"the host {host} has no address from which to reach {target}")
        zoned = target.version == 6 and target.is_link_local
        return parse(f"{fitting[0]}%{plan.link}") if zoned else fitting[0]

    def switch_ipv6(self, *, on: bool) -> None:
        """Switch IPv6 on or off in the operating system of the server's host.

        Switching it on gives back the addresses that the host has: the kernel brings back ``::1`` alone.
        """
        self._changed()
        from conformance.network import interfaces

        interfaces.write("ipv6.conf.all.disable_ipv6", 0 if on else 1)
        interfaces.write("ipv6.conf.default.disable_ipv6", 0 if on else 1)
        if on and not self.ipv6:
            self._prepare(ipv6=True)
            for name, address in self._addresses:
                if address.version == 6:
                    interfaces.add_address(name, address)
        self.ipv6 = on

    def set_bindv6only(self, *, on: bool) -> None:
        """Set ``net.ipv6.bindv6only``, which holds for sockets that are opened from now on."""
        self._changed()
        from conformance.network import interfaces

        interfaces.write("ipv6.bindv6only", int(on))

    def add_address(self, link: str | None, address: Interface) -> None:
        """Give the server's host one more address."""
        self._changed()
        from conformance.network import interfaces

        interfaces.add_address(link or "lo", address)
        self._addresses.append((link or "lo", address))

    def remove_address(self, link: str | None, address: Interface) -> None:
        """Take an address from the server's host."""
        self._changed()
        from conformance.network import interfaces

        interfaces.remove_address(link or "lo", address)
        self._addresses.remove((link or "lo", address))

    def set_unreachable(self, address: Address, *, on: bool) -> None:
        """Take the way to ``address`` from the server's host, or give it back."""
        self._changed()
        from conformance.network import interfaces

        interfaces.set_unreachable(address, on=on)

    def _changed(self) -> None:
        if not self.plan.own:
            raise MachineError("this case shares its network with others, and may not change it")

    # --- building ---

    def build(self) -> None:
        """Configure the fresh namespace that this thread is in."""
        from conformance.network import interfaces

        interfaces.allow_low_ports()
        for name in ("all", "default"):
            interfaces.write(f"ipv6.conf.{name}.accept_dad", 0)
            interfaces.write(f"ipv6.conf.{name}.disable_ipv6", int(not self.plan.ipv6))
        # Link-local addresses are those that the scenario gives: known, and there at once.
        interfaces.write("ipv6.conf.default.addr_gen_mode", 1)
        interfaces.write("ipv6.bindv6only", int(self.plan.bindv6only))
        self._prepare(ipv6=self.plan.ipv6)
        for name, address in self._addresses:
            if name == "lo" and (self.plan.ipv6 or address.version == 4):
                interfaces.add_address(name, address)

    def _prepare(self, *, ipv6: bool) -> None:
        """Make every address ours that is not beyond a link."""
        from conformance.network import interfaces

        if self.plan.wire:
            return
        interfaces.any_address_is_ours(ipv6=ipv6)
        beyond = [address.network for link in self.plan.links for address in link.addresses]
        if self.plan.links:
            beyond.append(_LINK_LOCAL)
        interfaces.reach_by_link(one for one in beyond if ipv6 or one.version == 4)

    def build_links(self, switch: int) -> None:
        """Connect the server's host and the others by bridges in the namespace ``switch``."""
        from conformance.network import interfaces, netns

        for number, link in enumerate(self.plan.links, start=1):
            with netns.inside(switch):
                interfaces.add_bridge(link.name)
            self._plug(link.name, link.name, switch, number, 0)
            for address in link.addresses:
                if self.plan.ipv6 or address.version == 4:
                    interfaces.add_address(link.name, address)
        for number, host in enumerate(self.plan.hosts, start=1):
            with netns.inside(self._hosts[host.name]):
                self._plug_host(host, switch, number)

    def _plug_host(self, host: HostPlan, switch: int, number: int) -> None:
        from conformance.network import interfaces

        for name in ("all", "default"):
            interfaces.write(f"ipv6.conf.{name}.accept_dad", 0)
            interfaces.write(f"ipv6.conf.{name}.disable_ipv6", 0)
        interfaces.write("ipv6.conf.default.addr_gen_mode", 1)
        self._plug(host.link, host.link, switch, 0, number)
        for address in host.addresses:
            interfaces.add_address(host.link, address)

    def _plug(self, name: str, bridge: str, switch: int, link: int, host: int) -> None:
        from conformance.network import interfaces

        # Locally administered, and the same in every run (RFC 7042 2.1).
        mac = f"02:00:5e:00:{link:02x}:{host:02x}"
        interfaces.connect(name, f"p{link}x{host}", bridge, switch, mac)
        interfaces.up(name)


@contextlib.contextmanager
def of(plan: NetworkPlan) -> Iterator[World]:
    """Be in the network of a case. Raises MachineError where it cannot be built."""
    if not plan.own:
        yield World(plan)
        return
    from conformance.network import netns

    with ExitStack() as stack:
        hosts = {}
        for host in plan.hosts:
            hosts[host.name] = _made(stack)
        switch = _made(stack) if plan.links else -1
        stack.enter_context(netns.fresh())
        world = World(plan, hosts)
        world.build()
        if plan.links:
            world.build_links(switch)
        yield world


def _made(stack: ExitStack) -> int:
    """Return a descriptor of a new namespace, closed with ``stack``; this thread stays where it is."""
    from conformance.network import netns

    with netns.fresh() as made:
        kept = os.dup(made)
    stack.callback(os.close, kept)
    return kept
