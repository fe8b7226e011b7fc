"""Addresses in the harness: the one place that parses and prints them.

Shares no code with the reference server, on purpose: an oracle that parsed with the server's own
parser would certify its errors.
"""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Literal

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
"""An address with its prefix length."""
Network = IPv4Network | IPv6Network
"""A prefix: the addresses that begin so."""
Family = Literal["ipv4", "ipv6"]

LOOPBACK_V4 = IPv4Address("127.0.0.1")
LOOPBACK_V6 = IPv6Address("::1")


def parse(text: str) -> Address:
    """Return the address that ``text`` names, in any form of RFC 4291 section 2.2.

    White space around is ignored. Raises ValueError for anything else.
    """
    return ip_address(text.strip())


def parse_interface(text: str) -> Interface:
    """Return the address with its prefix length that ``text`` gives, such as ``2001:db8::1/64``.

    Raises ValueError for anything else, an address alone included.
    """
    if "/" not in text:
        raise ValueError(f"{text!r} has no prefix length")
    return ip_interface(text.strip())


def parse_network(text: str) -> Network:
    """Return the prefix that ``text`` names, such as ``2001:db8::/48``. Raises ValueError otherwise."""
    if "/" not in text:
        raise ValueError(f"{text!r} has no prefix length")
    return ip_network(text.strip())


def family(address: Address) -> Family:
    """Return ``"ipv4"`` or ``"ipv6"``."""
    return "ipv4" if address.version == 4 else "ipv6"


def canonical(address: Address) -> str:
    """Return the text of RFC 5952 section 4."""
    return address.compressed


def is_loopback(address: Address) -> bool:
    """Say whether the harness may bind and talk to ``address`` outside a namespace of its own."""
    if isinstance(address, IPv6Address):
        return address == LOOPBACK_V6
    return address.is_loopback


def with_port(address: Address | str, port: int) -> str:
    """Return ``address:port``, an IPv6 address in brackets (RFC 3986 section 3.2.2)."""
    text = str(address)
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"
