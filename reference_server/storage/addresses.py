"""How an IP address stands in the database: its family, and 16 bytes.

The 16 bytes are in network order and compared as bytes, so they sort and compare as the unsigned number
that the address is, on every database: no signed 64-bit halves, and no text. An IPv4 address fills them
as ``::ffff:a.b.c.d`` (RFC 4291 section 2.5.5.2). As the IPv6 address ``::ffff:a.b.c.d`` is an ordinary
value too, the bytes alone do not tell the family: it stands in a column of its own, 4 or 6, and whoever
compares or sorts addresses in SQL names the family first.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from sqlalchemy import Dialect, LargeBinary
from sqlalchemy.types import TypeDecorator, TypeEngine

from reference_server.addresses import IPAddress

OCTETS = 16
_MAPPED = b"\0" * 10 + b"\xff\xff"


def octets_of(address: IPAddress) -> bytes:
    """Return the 16 bytes that stand for ``address`` within its family."""
    return address.packed if address.version == 6 else _MAPPED + address.packed


def address_from(family: int, octets: bytes) -> IPAddress:
    """Return the address that `octets_of` stored; ``family`` is 4 or 6.

    Raises ValueError for anything that `octets_of` cannot have written: the row is damaged.
    """
    if len(octets) != OCTETS:
        raise ValueError(f"an address of {len(octets)} bytes in the database; expected {OCTETS}")
    if family == 6:
        return IPv6Address(octets)
    if family == 4 and octets.startswith(_MAPPED):
        return IPv4Address(octets[len(_MAPPED) :])
    raise ValueError(f"the bytes {octets.hex()} in the database are no address of family {family}")


class AddressOctets(TypeDecorator[bytes]):
    """A column of `octets_of`. Takes an address (or its 16 bytes) and gives the bytes: see `address_from`."""

    impl = LargeBinary(OCTETS)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[bytes]:
        """Use the fixed-length type where a variable one cannot be indexed."""
        if dialect.name in {"mysql", "mariadb"}:
            from sqlalchemy.dialects.mysql import BINARY  # slow to load, and SQLite has no use for it

            return dialect.type_descriptor(BINARY(OCTETS))
        return dialect.type_descriptor(LargeBinary(OCTETS))

    def process_bind_param(self, value: IPAddress | bytes | None, dialect: Dialect) -> bytes | None:  # noqa: ARG002
        """Return the bytes to store."""
        if isinstance(value, (IPv4Address, IPv6Address)):
            return octets_of(value)
        return value
