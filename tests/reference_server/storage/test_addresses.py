"""16 bytes and a family sort and compare as the numbers that the addresses are."""

from __future__ import annotations

import sqlite3
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, insert, select
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.pool import StaticPool
from sqlalchemy.schema import CreateTable

from reference_server.addresses import IPAddress
from reference_server.storage.addresses import AddressOctets, address_from, octets_of

EXTREMES = [
    ip_address(text)
    for text in (
        "::",
        "::1",
        "::ffff:0:0",
        "::ffff:192.0.2.1",
        "7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "8000::",
        "fe80::",
        "ffff:ffff:ffff:ffff:7fff:ffff:ffff:ffff",
        "ffff:ffff:ffff:ffff:8000::",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "0.0.0.0",
        "127.255.255.255",
        "128.0.0.0",
        "192.0.2.1",
        "255.255.255.255",
    )
]
TABLE = Table(
    "seen",
    MetaData(),
    Column("family", Integer, primary_key=True),
    Column("address", AddressOctets, primary_key=True),
)
FAMILIES = {4: IPv4Address, 6: IPv6Address}
addresses = st.sampled_from([4, 6]).flatmap(
    lambda family: st.one_of(
        st.integers(0, 2 ** (32 if family == 4 else 128) - 1).map(FAMILIES[family]),
        st.sampled_from([extreme for extreme in EXTREMES if extreme.version == family]),
    )
)


def stored(found: list[IPAddress]) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE seen (family, address)")
    connection.executemany("INSERT INTO seen VALUES (?, ?)", [(a.version, octets_of(a)) for a in found])
    return connection


@given(addresses)
def test_every_address_comes_back(address: IPAddress) -> None:
    octets = octets_of(address)
    assert len(octets) == 16
    assert address_from(address.version, octets) == address


@given(st.lists(addresses, max_size=30))
def test_the_database_sorts_as_the_numbers(found: list[IPAddress]) -> None:
    connection = stored(found)
    rows = connection.execute("SELECT family, address FROM seen ORDER BY family, address").fetchall()
    connection.close()
    assert [address_from(*row) for row in rows] == sorted(found, key=lambda a: (a.version, int(a)))


@given(st.lists(addresses, max_size=30), addresses, addresses)
def test_the_database_compares_as_the_numbers(found: list[IPAddress], one: IPAddress, two: IPAddress) -> None:
    connection = stored(found)
    query = "SELECT family, address FROM seen WHERE family = ? AND ? <= address AND address <= ?"
    rows = connection.execute(query, (one.version, octets_of(one), octets_of(two))).fetchall()
    connection.close()
    if one.version == two.version:
        inside = [a for a in found if a.version == one.version and int(one) <= int(a) <= int(two)]
        assert sorted(address_from(*row) for row in rows) == sorted(inside)


def test_the_extremes_through_the_column_type() -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as connection:
        TABLE.create(connection)
        for address in reversed(EXTREMES):
            connection.execute(insert(TABLE).values(family=address.version, address=address))
        rows = connection.execute(select(TABLE).order_by(TABLE.c.family, TABLE.c.address)).all()
        low = ip_address("7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
        above = connection.execute(
            select(TABLE.c.address).where(TABLE.c.family == 6, TABLE.c.address > low)
        ).scalars()
        assert len(list(above)) == 5
    engine.dispose()
    found = [address_from(row.family, row.address) for row in rows]
    assert found == sorted(EXTREMES, key=lambda a: (a.version, int(a)))
    assert len({row.address for row in rows}) < len(rows)  # the family is the second fact, not a comfort


def test_a_damaged_row_is_told_from_an_address() -> None:
    for family, octets in ((6, b"\0" * 15), (6, b""), (4, b"\0" * 16), (5, b"\0" * 16)):
        with pytest.raises(ValueError, match="in the database"):
            address_from(family, octets)


def test_the_column_is_16_bytes_on_every_database() -> None:
    types = {
        dialect.name: str(CreateTable(TABLE).compile(dialect=dialect))
        for dialect in (sqlite.dialect(), postgresql.dialect(), mysql.dialect())
    }
    assert "address BLOB" in types["sqlite"]
    assert "address BYTEA" in types["postgresql"]
    assert "address BINARY(16)" in types["mysql"]
