"""IP addresses: the one module that parses and prints them.

No address is compared or sorted as text anywhere: text becomes an `IPAddress` here, and an `IPAddress`
becomes text here (RFC 5952).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

IPAddress = IPv4Address | IPv6Address


def parse_address(text: str) -> IPAddress:
    """Return the address that ``text`` names, in any form of RFC 4291 section 2.2; white space is ignored.

    Raises ValueError, with a message for people, for anything else, a zone (``%eth0``) included: the
    database stores 128 bits and no zone.
    """
    stripped = text.strip()
    try:
        address = ip_address(stripped)
    except ValueError:
        raise ValueError(
            f"{stripped!r} is not an IP address; enter an IPv4 address such as 192.0.2.1 "
            "or an IPv6 address such as 2001:db8::1"
        ) from None
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise ValueError(f"{stripped!r} has a zone (%{address.scope_id}); enter the address without it")
    return address


def peer_address(text: str) -> IPAddress:
    """Return the address of a peer as the socket reports it: without zone, a v4-mapped one as IPv4.

    The one place where a client's address loses both (RFC 4291 section 2.5.5.2).
    """
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def address_text(address: IPAddress) -> str:
    """Return the text of RFC 5952 section 4."""
    return address.compressed


def address_literal(address: IPAddress) -> str:
    """Return the address literal of RFC 5321 section 4.1.3, brackets included."""
    tag = "IPv6:" if address.version == 6 else ""
    return f"[{tag}{address.compressed}]"


def with_port(address: IPAddress, port: int) -> str:
    """Return ``address:port``, an IPv6 address in brackets."""
    return f"[{address.compressed}]:{port}" if address.version == 6 else f"{address.compressed}:{port}"
