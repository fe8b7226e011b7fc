"""A verb that fails changes nothing: not the database, not the memory, not the server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest

from reference_server.admin.operations import Conflict, NotFound, Operations
from reference_server.settings import InvalidField
from reference_server.storage.database import Database, StorageError

if TYPE_CHECKING:
    from tests.reference_server.admin.conftest import Recorder

RANGE = {"name": "r", "lower": "::1", "upper": "::1"}
PORT = {"protocol": "smtp", "port": 25}


async def load(database: Database) -> Operations:
    return await Operations.load(database, now=lambda: datetime.now(UTC), cheap_hashes=True)


@pytest.fixture
async def filled(database: Database, new_recorder: type[Recorder]) -> Operations:
    """One record of each kind, with the id 1."""
    operations = await load(database)
    operations.attach(new_recorder())
    await operations.add_range(RANGE)
    await operations.add_port(PORT)
    await operations.add_domain({"name": "example.com"})
    await operations.add_account("example.com", {"address": "a@example.com", "password": "x"})
    return operations


VERBS: dict[str, Callable[[Operations], Awaitable[Any]]] = {
    "add_range": lambda o: o.add_range({**RANGE, "name": "s"}),
    "change_range": lambda o: o.change_range(1, {"name": "s", "priority": 9}),
    "delete_range": lambda o: o.delete_range(1),
    "add_port": lambda o: o.add_port({**PORT, "port": 26}),
    "change_port": lambda o: o.change_port(1, {**PORT, "port": 26}),
    "delete_port": lambda o: o.delete_port(1),
    "change_settings": lambda o: o.change_settings({"host_name": "other.example"}),
    "add_domain": lambda o: o.add_domain({"name": "b.example"}),
    "change_domain": lambda o: o.change_domain("example.com", {"name": "b.example"}),
    "delete_domain": lambda o: o.delete_domain("example.com"),
    "add_account": lambda o: o.add_account("example.com", {"address": "b@example.com", "password": "x"}),
    "delete_account": lambda o: o.delete_account("a@example.com"),
}


def everything(operations: Operations) -> tuple[Any, ...]:
    book = operations.accounts
    return (
        operations.ranges(),
        operations.ports(),
        operations.settings(),
        operations.certificates(),
        book.domains(),
        [book.accounts(domain) for domain in book.domains()],
    )


@pytest.mark.parametrize("verb", VERBS)
async def test_what_the_database_refuses_does_not_happen(
    database: Database,
    filled: Operations,
    verb: str,
    new_recorder: type[Recorder],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = everything(filled)
    recorder = new_recorder()
    filled.attach(recorder)

    async def full(_work: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(database, "write", full)
        with pytest.raises(StorageError):
            await VERBS[verb](filled)
    assert everything(filled) == before == everything(await load(database))
    assert recorder == new_recorder()
    await VERBS[verb](filled)  # control: it was the database alone that refused
    assert everything(filled) != before
    assert everything(filled) == everything(await load(database))


async def test_missing_and_double_records(filled: Operations) -> None:
    for call in (
        filled.change_range(9, {}),
        filled.delete_range(9),
        filled.change_port(9, PORT),
        filled.delete_port(9),
        filled.delete_certificate(9),
        filled.change_domain("b.example", {}),
        filled.delete_domain("b.example"),
        filled.add_account("b.example", {"address": "a@b.example", "password": "x"}),
        filled.delete_account("b@example.com"),
        filled.retry_queued(1),
        filled.delete_queued(1),
    ):
        with pytest.raises(NotFound):
            await call
    for call in (filled.add_range(RANGE), filled.add_port(PORT), filled.add_domain({"name": "Example.COM"})):
        with pytest.raises(Conflict):
            await call


async def test_values_of_the_wrong_type_are_refused_here_too(filled: Operations) -> None:
    """Whoever calls, not the HTTP interface alone."""
    for call in (
        filled.add_range({**RANGE, "name": 7}),
        filled.add_range({**RANGE, "allow_smtp": "yes"}),
        filled.add_port({**PORT, "port": "26"}),
        filled.change_settings({"max_smtp_connections": True}),
        filled.change_settings({"nonsense": 1}),
        filled.add_domain({"name": None}),
        filled.add_domain({"name": "b.example", "nonsense": 1}),
        filled.add_domain({}),
        filled.add_account("example.com", {"address": "b@example.com"}),
        filled.add_account("example.com", {"address": "b@example.com", "password": "x", "nonsense": 1}),
        filled.add_certificate({}),
    ):
        with pytest.raises(InvalidField):
            await call


async def test_nothing_can_be_changed_without_a_server_to_tell(database: Database) -> None:
    operations = await load(database)
    with pytest.raises(RuntimeError, match="no server is attached"):
        operations.status()


async def test_the_administrator(database: Database, administrator_password: str) -> None:
    operations = await load(database)
    assert await operations.check_administrator("Administrator", administrator_password)
    assert not await operations.check_administrator("Administrator", administrator_password + " ")
    assert not await operations.check_administrator("administrator", administrator_password)
    assert not await operations.check_administrator("", "")


async def test_what_a_range_was_is_what_the_server_is_told(
    filled: Operations, new_recorder: type[Recorder]
) -> None:
    recorder = new_recorder()
    filled.attach(recorder)
    made = await filled.add_range({"name": "v4", "lower": "0.0.0.0", "upper": "255.255.255.255"})
    assert made.upper == ip_address("255.255.255.255")
    assert recorder.told_ranges == [filled.ranges()]
    assert filled.ranges()[-1] == made
