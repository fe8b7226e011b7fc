"""The first start: a database with the documented defaults, and a password for the administrator."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address

from sqlalchemy import Connection

from reference_server.settings import InvalidField, IpRange, Port, Protocol
from reference_server.storage import accounts, configuration
from reference_server.storage.database import Database
from reference_server.storage.migration import migrate
from reference_server.storage.passwords import Passwords

DEFAULT_PORTS = ((Protocol.SMTP, 25), (Protocol.SMTP, 587), (Protocol.POP3, 110), (Protocol.IMAP, 143))
"""On 0.0.0.0, without TLS: the page prescribes that nothing listens on IPv6 until it is asked to."""
PASSWORD_OCTETS = 18
"""144 random bits: 24 characters that nobody guesses."""


async def prepare(
    database: Database, *, port_offset: int, bare: bool, admin_password: str | None, cheap_hashes: bool
) -> str | None:
    """Migrate ``database``, and set it up if it is new; return the password that was generated, if one was.

    ``port_offset`` is added to the default port numbers. ``bare``: no ports and no IP ranges.
    ``admin_password`` is the administrator's first password; in a database that has one it is ignored.
    ``cheap_hashes``: see `Passwords`. Raises StorageError, InvalidField (``port_offset``).
    """
    await migrate(database)
    if await database.read(accounts.administrator_hash) is not None:
        return None
    ports = [] if bare else list(default_ports(port_offset))
    password = admin_password or secrets.token_urlsafe(PASSWORD_OCTETS)
    password_hash = await Passwords(cheap=cheap_hashes).hash(password)

    def set_up(connection: Connection) -> None:
        accounts.insert_administrator(connection, password_hash)
        for port in ports:
            configuration.insert_port(connection, port)
        for ip_range in () if bare else default_ranges():
            configuration.insert_range(connection, ip_range)

    await database.write(set_up)
    return None if admin_password else password


def default_ports(offset: int) -> Iterator[Port]:
    """Yield the ports of a new installation. Raises InvalidField when a number does not fit."""
    for protocol, number in DEFAULT_PORTS:
        if not 0 < number + offset <= 65535:
            raise InvalidField("port_offset", f"{number} + {offset} is no port number; choose 0 to 64948")
        yield Port(id=0, protocol=protocol, address=IPv4Address("0.0.0.0"), port=number + offset)


def default_ranges() -> Iterator[IpRange]:
    """Yield the IP ranges of a new installation: both IPv4, like the ports."""
    computer = IpRange(
        id=0,
        name="My computer",
        priority=30,
        lower=IPv4Address("127.0.0.1"),
        upper=IPv4Address("127.0.0.1"),
        deliver_local_to_remote=True,
        deliver_remote_to_remote=True,
        require_auth_local_to_remote=False,
    )
    yield computer
    yield replace(
        computer,
        name="Internet",
        priority=10,
        lower=IPv4Address("0.0.0.0"),
        upper=IPv4Address("255.255.255.255"),
        require_auth_local_to_local=True,
        require_auth_local_to_remote=True,
    )
