"""The configuration as rows: ports, IP ranges, certificates, settings.

Functions over a connection, for `Database.read` and `Database.write`; what they take is valid.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any

from sqlalchemy import Connection, Row, Table, delete, insert, select, update

from reference_server.settings import (
    Certificate,
    ConnectionSecurity,
    IpRange,
    Port,
    Protocol,
    ServerSettings,
)
from reference_server.storage import schema
from reference_server.storage.addresses import address_from

_CHUNK = 100
"""Rows fetched at a time: between two of them the event loop's thread gets its turn."""
_PAUSE = 0.0001
"""Seconds. Without a pause this thread would take the interpreter back before the other one is awake."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that an administrator has configured, accounts aside. Each list is by id."""

    ports: tuple[Port, ...]
    ranges: tuple[IpRange, ...]
    settings: ServerSettings
    certificates: tuple[Certificate, ...]


def load(connection: Connection) -> Configuration:
    """Return the whole configuration. Raises ValueError for a damaged row."""
    return Configuration(
        ports=tuple(_port(row) for row in _rows(connection, schema.ports)),
        ranges=tuple(_range(row) for row in _rows(connection, schema.ip_ranges)),
        settings=load_settings(connection),
        certificates=tuple(
            Certificate(row.id, row.name, row.certificate_file, row.private_key_file)
            for row in _rows(connection, schema.certificates)
        ),
    )


def load_settings(connection: Connection) -> ServerSettings:
    """Return the settings; one that has no row has its default, an unknown row is left alone."""
    known = {field.name for field in fields(ServerSettings)}
    rows = {
        row.name: json.loads(row.value)
        for row in connection.execute(select(schema.settings))
        if row.name in known
    }
    security = rows.pop("smtp_relayer_connection_security", ConnectionSecurity.NONE)
    return replace(ServerSettings(), smtp_relayer_connection_security=ConnectionSecurity(security), **rows)


def store_settings(connection: Connection, values: Mapping[str, object]) -> None:
    """Store some settings."""
    table = schema.settings
    for name, value in values.items():
        text = json.dumps(value)
        changed = connection.execute(update(table).where(table.c.name == name).values(value=text)).rowcount
        if not changed:
            connection.execute(insert(table).values(name=name, value=text))


def insert_port(connection: Connection, port: Port) -> int:
    """Store a new port and return its id."""
    return _insert(connection, schema.ports, _port_values(port))


def update_port(connection: Connection, port: Port) -> None:
    """Store a changed port."""
    _update(connection, schema.ports, port.id, _port_values(port))


def insert_range(connection: Connection, ip_range: IpRange) -> int:
    """Store a new IP range and return its id."""
    return _insert(connection, schema.ip_ranges, _range_values(ip_range))


def update_range(connection: Connection, ip_range: IpRange) -> None:
    """Store a changed IP range."""
    _update(connection, schema.ip_ranges, ip_range.id, _range_values(ip_range))


def insert_certificate(connection: Connection, certificate: Certificate) -> int:
    """Store a new certificate and return its id."""
    values = {
        "name": certificate.name,
        "certificate_file": certificate.certificate_file,
        "private_key_file": certificate.private_key_file,
    }
    return _insert(connection, schema.certificates, values)


def delete_port(connection: Connection, port_id: int) -> None:
    """Delete a port."""
    _delete(connection, schema.ports, port_id)


def delete_range(connection: Connection, range_id: int) -> None:
    """Delete an IP range."""
    _delete(connection, schema.ip_ranges, range_id)


def delete_certificate(connection: Connection, certificate_id: int) -> None:
    """Delete a certificate; its files stay."""
    _delete(connection, schema.certificates, certificate_id)


def _rows(connection: Connection, table: Table) -> Iterator[Row[Any]]:
    query = select(table).order_by(table.c.id).execution_options(yield_per=_CHUNK)
    for rows in connection.execute(query).partitions():
        yield from rows
        time.sleep(_PAUSE)


def _port(row: Row[Any]) -> Port:
    return Port(
        id=row.id,
        protocol=Protocol(row.protocol),
        address=address_from(row.family, row.address),
        port=row.port,
        connection_security=ConnectionSecurity(row.connection_security),
        certificate_id=row.certificate_id,
    )


def _port_values(port: Port) -> dict[str, object]:
    return {
        "protocol": port.protocol.value,
        "family": port.address.version,
        "address": port.address,
        "port": port.port,
        "connection_security": port.connection_security.value,
        "certificate_id": port.certificate_id,
    }


def _range(row: Row[Any]) -> IpRange:
    values = dict(row._mapping)
    family = values.pop("family")
    values["lower"] = address_from(family, values["lower"])
    values["upper"] = address_from(family, values["upper"])
    return IpRange(**values)


def _range_values(ip_range: IpRange) -> dict[str, object]:
    values: dict[str, object] = {
        field.name: getattr(ip_range, field.name) for field in fields(IpRange) if field.name != "id"
    }
    return {"family": ip_range.lower.version, **values}


def _insert(connection: Connection, table: Table, values: Mapping[str, object]) -> int:
    key = connection.execute(insert(table).values(values)).inserted_primary_key
    assert key is not None
    return int(key[0])


def _update(connection: Connection, table: Table, row_id: int, values: Mapping[str, object]) -> None:
    connection.execute(update(table).where(table.c.id == row_id).values(values))


def _delete(connection: Connection, table: Table, row_id: int) -> None:
    connection.execute(delete(table).where(table.c.id == row_id))


def plain(value: object) -> object:
    """Return ``value`` as JSON knows it: of an enumeration, its value."""
    return value.value if isinstance(value, Enum) else value
