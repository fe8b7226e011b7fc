"""The composition root, in this process: order, ranges in time, and ends that leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from reference_server import limits
from reference_server.admin.operations import Operations
from reference_server.data_directory import DataDirectory, DataDirectoryError
from reference_server.listening import os_ipv6
from reference_server.listening.ip_ranges import RangeTable
from reference_server.options import Options
from reference_server.server import NO_IPV6, Server
from reference_server.settings import IpRange, ServerSettings
from reference_server.storage.database import Database, StorageError

from .listening.conftest import KeptLog

HERE = {"name": "here", "lower": "::1", "upper": "::1"}


class Clock:
    """The server's time, set by the test."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Site:
    """A server that was started, and everything it said."""

    def __init__(self, folder: Path) -> None:
        self.log = KeptLog()
        self.clock = Clock()
        self.announced: list[str] = []
        self.options = Options(
            data_dir=folder / "data",
            admin_port=0,
            bare=True,
            cheap_password_hashes=True,
            admin_password="secret",
        )

    def make(self) -> Server:
        return Server(self.options, self.log, announce=self.announced.append, now=self.clock)

    async def first_line(self, address: str, port: int) -> bytes:
        reader, writer = await asyncio.open_connection(address, port)
        try:
            async with asyncio.timeout(60):
                return await reader.readline()
        finally:
            writer.close()
            await writer.wait_closed()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
async def server(site: Site) -> AsyncIterator[Server]:
    made = site.make()
    await made.start()
    yield made
    await made.stop()


def operations(server: Server) -> Operations:
    assert server._operations is not None
    return server._operations


async def open_port(server: Server, address: str = "::1", **fields: Any) -> int:
    """Add a port, reinitialize, and return its number."""
    port = await operations(server).add_port({"protocol": "smtp", "address": address, "port": 0, **fields})
    await server.reinitialize()
    return next(each.number for each in server.status().listeners if each.port.id == port.id)


async def test_the_administration_comes_after_the_listeners(site: Site, server: Server) -> None:
    await server.complete()
    names = [event.name for event in site.log.events]
    assert names == ["listeners.ready", "administration.ready"]
    status = server.status()
    assert (status.state, status.generation, status.processed_messages) == ("running", 1, 0)
    assert status.sessions == {"smtp": 0, "pop3": 0, "imap": 0}
    assert site.announced == [f"The administration is at {site.log.named('administration.ready')[0]['url']}"]


def test_nothing_slow_is_imported_before_the_listeners_are_open() -> None:
    code = (
        "import sys, reference_server.run, reference_server.log as log; log.configure('json');"
        "print(sorted({'alembic', 'fastapi', 'pydantic', 'rich', 'twisted', 'uvicorn'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout == "[]\n"


async def test_a_generated_password_is_told_once_and_never_logged(site: Site) -> None:
    site.options = replace(site.options, admin_password=None)
    for expected in (1, 0):
        site.announced.clear()
        server = site.make()
        await server.start()
        told = [text for text in site.announced if "password" in text]
        assert len(told) == expected
        if told:
            password = told[0].rpartition(" ")[2]
            assert await operations(server).check_administrator("Administrator", password)
        await server.stop()
    assert password not in str([event.fields for event in site.log.events])


async def test_a_range_that_expires_gives_way_to_a_new_table(site: Site, server: Server) -> None:
    number = await open_port(server)
    expires = (site.clock.now + timedelta(seconds=5)).strftime("%Y-%m-%d %H:%M:%S")
    await operations(server).add_range({**HERE, "expires": True, "expires_time": expires})
    assert (await site.first_line("::1", number)).startswith(b"220")
    timer = server._look_timer
    assert timer is not None
    assert timer.when() - asyncio.get_running_loop().time() <= 5
    site.clock.now += timedelta(seconds=5)
    assert await site.first_line("::1", number) == b""
    # That client was decided by a slow search, and had the table built again.
    async with asyncio.timeout(60), server._building:
        pass
    assert server._table.good_at(site.clock.now)
    assert server._table.find(ip_address("::1"), site.clock.now) is None
    assert server._table.good_until is None


async def test_the_timer_rebuilds_without_any_client(
    site: Site, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = site.clock.now + timedelta(milliseconds=20)
    one = IpRange(1, "here", 1, ip_address("::1"), ip_address("::1"), expires=True, expires_time=soon)
    rebuilt = asyncio.Event()
    right = RangeTable.build_cooperatively

    async def build(*args: Any) -> RangeTable:
        rebuilt.set()
        return await right(*args)

    await server.ranges_changed([one])
    monkeypatch.setattr(RangeTable, "build_cooperatively", build)
    site.clock.now = soon
    async with asyncio.timeout(60):
        await rebuilt.wait()


async def test_the_timer_looks_again_when_the_clock_was_slow(site: Site, server: Server) -> None:
    soon = site.clock.now + timedelta(milliseconds=20)
    one = IpRange(1, "here", 1, ip_address("::1"), ip_address("::1"), expires=True, expires_time=soon)
    await server.ranges_changed([one])
    first = server._look_timer
    server._look_at_table()
    assert server._look_timer is not first
    assert server._table.good_until == soon


async def test_the_latest_ranges_win_when_changes_overlap(server: Server) -> None:
    def named(count: int) -> list[IpRange]:
        return [
            IpRange(n, f"{count}", n, ip_address(n << 64), ip_address((n << 64) + 9)) for n in range(1, count)
        ]

    await asyncio.gather(*(server.ranges_changed(named(count)) for count in (2000, 300, 7)))
    found = server._table.find(ip_address(1 << 64), server._now())
    assert found is not None
    assert found.name == "7"


async def test_the_table_is_replaced_as_a_whole(server: Server) -> None:
    """Until the new one is complete the old one answers."""
    here = IpRange(1, "old", 1, ip_address("::1"), ip_address("::1"))
    await server.ranges_changed([here])
    many = [IpRange(n, f"{n}", n, ip_address(n << 64), ip_address((n << 64) + 9)) for n in range(2, 3000)]
    change = asyncio.create_task(server.ranges_changed(many))
    turns = 0
    while not change.done():
        found = server._table.find(ip_address("::1"), server._now())
        if len(server._table.ranges) == 1:
            assert found == here
            turns += 1
        await asyncio.sleep(0)
    assert turns > 10
    assert server._table.find(ip_address("::1"), server._now()) is None


async def test_without_ipv6_its_ports_are_reported_until_a_restart(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os_ipv6, "available", lambda: False)
    server = site.make()
    await server.start()
    number = await open_port(server, "::1")
    assert number == 0
    monkeypatch.setattr(os_ipv6, "available", lambda: True)
    await server.reinitialize()  # is no restart
    status = server.status()
    assert status.ipv6_available is False
    assert [(each.open, each.error) for each in status.listeners] == [(False, NO_IPV6)]
    await server.stop()
    restarted = site.make()
    await restarted.start()
    assert restarted.status().ipv6_available is True
    assert [each.open for each in restarted.status().listeners] == [True]
    await restarted.stop()


async def test_requests_to_reinitialize_in_a_row_are_all_served(site: Site, server: Server) -> None:
    server.request_reinitialize()
    assert server.status().state == "reinitializing"
    server.request_reinitialize()
    await site.log.until("listeners.ready", 2)
    assert (server.status().state, server.status().generation) == ("running", 2)
    server.request_reinitialize()
    await site.log.until("listeners.ready", 3)


async def test_a_reinitialize_that_fails_is_reported_and_the_next_one_works(
    site: Site, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as fault:
        fault.setattr(operations(server), "ports", broken)
        server.request_reinitialize()
        await site.log.until("reinitialize.failed")
    server.request_reinitialize()
    await site.log.until("listeners.ready", 2)
    assert server.status().state == "running"


async def test_settings_hold_at_once(site: Site, server: Server) -> None:
    number = await open_port(server)
    await operations(server).add_range(HERE)
    server.settings_changed(ServerSettings(max_smtp_connections=1))
    reader, writer = await asyncio.open_connection("::1", number)
    assert (await reader.readline()).startswith(b"220")
    assert await site.first_line("::1", number) == b""
    server.settings_changed(ServerSettings())
    assert (await site.first_line("::1", number)).startswith(b"220")
    writer.close()
    await writer.wait_closed()


async def test_a_command_that_never_ends_is_cut_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STOP_GRACE", 0.01)
    server = site.make()
    await server.start()
    number = await open_port(server)
    await operations(server).add_range(HERE)
    await operations(server).add_domain({"name": "example.test"})
    await operations(server).add_account(
        "example.test", {"address": "joe@example.test", "password": "joes-own"}
    )
    reader, writer = await asyncio.open_connection("::1", number)
    for line in (b"HELO me", b"MAIL FROM:<>", b"RCPT TO:<joe@example.test>", b"DATA"):
        await reader.readline()
        writer.write(line + b"\r\n")
    assert (await reader.readline()).startswith(b"354")
    await server.stop()
    assert await reader.read() == b""
    writer.close()
    assert [event["session"] for event in site.log.named("session.finished")] == [1]
    assert site.log.events[-1].name == "server.stopped"


async def test_a_start_that_fails_leaves_nothing_behind(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise StorageError("the disk is full")

    descriptors = len(os.listdir("/dev/fd"))  # noqa: PTH208 - numbers, not files
    with monkeypatch.context() as fault:
        fault.setattr(Operations, "load", broken)
        with pytest.raises(StorageError, match="the disk is full"):
            await site.make().start()
    assert len(os.listdir("/dev/fd")) <= descriptors + 1  # noqa: PTH208
    assert site.log.events == []
    with DataDirectory(site.options.data_dir):  # not locked any more
        pass


async def test_one_directory_one_server(site: Site, server: Server) -> None:
    with pytest.raises(DataDirectoryError, match="another reference-server is using it"):
        await site.make().start()
    assert server.status().state == "running"


async def test_the_database_can_be_elsewhere(site: Site, tmp_path: Path) -> None:
    site.options = replace(site.options, database=f"sqlite:///{tmp_path / 'other.sqlite3'}")
    server = site.make()
    await server.start()
    await server.stop()
    assert (tmp_path / "other.sqlite3").exists()
    assert list(site.options.data_dir.iterdir()) == []
    database = await Database.open(site.options.database_url)
    await database.close()


async def test_a_certificate_that_is_gone_fails_its_port_only(
    site: Site, server: Server, tmp_path: Path
) -> None:
    import trustme

    issued = trustme.CA().issue_cert("::1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(chain)
    issued.private_key_pem.write_to_path(key)
    certificate = await operations(server).add_certificate(
        {"name": "ours", "certificate_file": str(chain), "private_key_file": str(key)}
    )
    secured = {"connection_security": "tls", "certificate_id": certificate.id}
    assert await open_port(server, "::1", **secured) > 0
    chain.unlink()
    await operations(server).add_range(HERE)
    plain = await open_port(server)
    assert [each.open for each in server.status().listeners] == [False, True]
    assert "chain.pem" in server.status().listeners[0].error
    assert (await site.first_line("::1", plain)).startswith(b"220")
