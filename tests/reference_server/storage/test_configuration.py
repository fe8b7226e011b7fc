"""The configuration comes back from the database as it was put in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError

from reference_server.settings import (
    Certificate,
    ConnectionSecurity,
    IpRange,
    Port,
    Protocol,
    ServerSettings,
)
from reference_server.storage import configuration, schema
from reference_server.storage.configuration import plain
from reference_server.storage.database import Database
from reference_server.storage.migration import migrate

TOP = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
BOUNDS = [
    ("::", "::"),
    ("::", TOP),
    ("::1", "::1"),
    ("::ffff:192.0.2.1", "::ffff:192.0.2.9"),
    ("7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "8000::"),
    ("fe80::", "febf:ffff::"),
    (TOP, TOP),
    ("0.0.0.0", "0.0.0.0"),
    ("0.0.0.0", "255.255.255.255"),
    ("127.255.255.255", "128.0.0.0"),
    ("192.0.2.1", "192.0.2.9"),
]
RANGE = IpRange(0, "r", 10, ip_address("::"), ip_address(TOP))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(f"sqlite:///{tmp_path}/x.sqlite3", synced=False)
    await migrate(opened)
    yield opened
    await opened.close()


async def test_the_extremes_survive_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/again.sqlite3"
    database = await Database.open(url)
    await migrate(database)
    ranges, ports = [], []
    for number, (lower, upper) in enumerate(BOUNDS):
        ip_range = replace(RANGE, name=f"{number}", lower=ip_address(lower), upper=ip_address(upper))
        range_id = await database.write(lambda c, r=ip_range: configuration.insert_range(c, r))
        ranges.append(replace(ip_range, id=range_id))
        port = Port(0, Protocol.IMAP, ip_address(lower), number)
        port_id = await database.write(lambda c, p=port: configuration.insert_port(c, p))
        ports.append(replace(port, id=port_id))
    await database.close()
    database = await Database.open(url)
    found = await database.read(configuration.load)
    await database.close()
    assert list(found.ranges) == ranges
    assert list(found.ports) == ports


def any_range() -> st.SearchStrategy[IpRange]:
    texts = st.sampled_from(BOUNDS)
    times = st.datetimes(timezones=st.just(UTC))
    flags = st.fixed_dictionaries({flag: st.booleans() for flag in schema.RANGE_FLAGS})
    return st.builds(
        lambda bounds, priority, expires, time, chosen: IpRange(
            id=0,
            name="any",
            priority=priority,
            lower=ip_address(bounds[0]),
            upper=ip_address(bounds[1]),
            expires=expires,
            expires_time=time,
            **chosen,
        ),
        texts,
        st.integers(-(2**31) + 1, 2**31 - 1),
        st.booleans(),
        st.none() | times,
        flags,
    )


@given(any_range())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
def test_every_field_of_a_range_comes_back(tmp_path_factory: pytest.TempPathFactory, made: IpRange) -> None:
    from sqlalchemy import create_engine

    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        schema.metadata.create_all(connection)
        range_id = configuration.insert_range(connection, RANGE)
        configuration.update_range(connection, replace(made, id=range_id))
        (found,) = configuration.load(connection).ranges
    engine.dispose()
    assert found == replace(made, id=range_id)


async def test_a_time_of_another_zone_is_stored_in_utc_and_one_without_is_refused(database: Database) -> None:
    east = timezone(timedelta(hours=2))
    late = replace(RANGE, expires=True, expires_time=datetime(2030, 1, 2, 3, 4, 5, tzinfo=east))
    await database.write(lambda c: configuration.insert_range(c, late))
    (found,) = (await database.read(configuration.load)).ranges
    assert found.expires_time == late.expires_time
    assert found.expires_time is not None
    assert found.expires_time.hour == 1
    naive = replace(RANGE, name="n", expires_time=datetime(2030, 1, 2))  # noqa: DTZ001 - that is the point
    with pytest.raises(Exception, match="has no time zone"):
        await database.write(lambda c: configuration.insert_range(c, naive))


async def test_settings_come_back_and_only_known_ones(database: Database) -> None:
    wanted = replace(
        ServerSettings(),
        host_name="mx.example.com",
        ipv6_preferred=True,
        max_pop3_connections=7,
        smtp_relayer_connection_security=ConnectionSecurity.TLS,
        smtp_relayer_password="pä|ss'\"",
    )
    values = {name: plain(value) for name, value in asdict(wanted).items()}
    await database.write(lambda c: configuration.store_settings(c, values))
    await database.write(lambda c: configuration.store_settings(c, {"host_name": "mx2.example.com"}))
    await database.write(lambda c: c.execute(insert(schema.settings).values(name="of_the_future", value="1")))
    found = (await database.read(configuration.load)).settings
    assert found == replace(wanted, host_name="mx2.example.com")


async def test_ports_with_certificates(database: Database) -> None:
    made = Certificate(0, "c", "/c.pem", "/k.pem")
    certificate_id = await database.write(lambda c: configuration.insert_certificate(c, made))
    port = Port(0, Protocol.SMTP, ip_address("::1"), 0, ConnectionSecurity.TLS, certificate_id)
    port_id = await database.write(lambda c: configuration.insert_port(c, port))
    changed = replace(port, id=port_id, protocol=Protocol.POP3, port=65535)
    await database.write(lambda c: configuration.update_port(c, changed))
    found = await database.read(configuration.load)
    assert found.ports == (changed,)
    assert found.certificates == (replace(made, id=certificate_id),)
    with pytest.raises(IntegrityError):
        await database.write(lambda c: configuration.delete_certificate(c, certificate_id))
    await database.write(lambda c: configuration.delete_port(c, port_id))
    await database.write(lambda c: configuration.delete_certificate(c, certificate_id))


async def test_the_database_itself_refuses_impossible_rows(database: Database) -> None:
    await database.write(lambda c: configuration.insert_range(c, RANGE))
    for values in ({"lower": b"\1" * 15}, {"family": 5}, {"lower": b"\xff" * 16, "upper": b"\0" * 16}):
        with pytest.raises(IntegrityError):
            await database.write(lambda c, v=values: c.execute(update(schema.ip_ranges).values(v)))
    with pytest.raises(IntegrityError):
        await database.write(lambda c: configuration.insert_range(c, RANGE))  # the same name
