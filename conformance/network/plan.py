"""What network a case needs: worked out from its scenario, built by `conformance.network.world`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from conformance.addresses import Interface

SERVER_V4 = IPv4Address("198.51.100.25")
SERVER_V6 = IPv6Address("2001:db8:6::25")
"""Of the server's host, where packets come over a wire: loopback addresses cannot be reached by it."""


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """A segment: the server's host has an interface of this name on it, with these addresses."""

    name: str
    addresses: tuple[Interface, ...] = ()


@dataclass(frozen=True, slots=True)
class HostPlan:
    """Another host on one segment."""

    name: str
    link: str
    addresses: tuple[Interface, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """The network of one case. The default is the worker's own, which its cases share."""

    own: bool = False
    """Whether the case has a network namespace of its own: it changes something in it."""
    ipv6: bool = True
    """Whether IPv6 is switched on when the server starts (``net.ipv6.conf.all.disable_ipv6``)."""
    bindv6only: bool = False
    links: tuple[LinkPlan, ...] = ()
    hosts: tuple[HostPlan, ...] = ()
    alone: bool = False
    """Whether no other case may be in this network: this one changes it, or leaves much behind."""
    wire: bool = False
    """Whether crafted packets come over a wire: then foreign addresses are beyond it, and not this host's."""
    addresses: tuple[Interface, ...] = ()
    """More addresses of the server's host, on ``lo``: listeners and ordinary clients beside a wire."""


SHARED = NetworkPlan()
"""The worker's network, which its cases share."""
