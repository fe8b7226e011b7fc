"""The book in memory answers as the database does; deleting takes the mail along, and nobody else's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select

from reference_server.settings import Account, Domain
from reference_server.storage import accounts, schema
from reference_server.storage.accounts import AccountBook, StoredAccount
from reference_server.storage.database import Database
from reference_server.storage.mailboxes import SqlMailStore
from reference_server.storage.migration import migrate
from reference_server.storage.passwords import Passwords

HERE = Domain(1, "example.com")
ASLEEP = Domain(2, "asleep.example", active=False)


async def book() -> AccountBook:
    passwords = Passwords(cheap=True)
    hashed = await passwords.hash("secret")
    return AccountBook(
        passwords,
        [ASLEEP, HERE],
        [
            StoredAccount(Account(1, "ann@example.com"), HERE.id, hashed),
            StoredAccount(Account(2, "bob@asleep.example"), ASLEEP.id, await passwords.hash("secret")),
        ],
    )


async def test_names_are_found_in_any_case() -> None:
    found = await book()
    assert found.is_local_domain("EXAMPLE.com")
    assert not found.is_local_domain("example.org")
    assert found.find("ANN@Example.COM") == Account(1, "ann@example.com")
    assert found.find("nobody@example.com") is None
    assert [domain.name for domain in found.domains()] == ["example.com", "asleep.example"]


async def test_logging_in() -> None:
    found = await book()
    assert await found.authenticate("Ann@example.com", "secret") == Account(1, "ann@example.com")
    assert await found.authenticate("ann@example.com", "Secret") is None
    assert await found.authenticate("nobody@example.com", "secret") is None
    assert await found.authenticate("", "") is None


async def test_an_inactive_domain_is_local_and_nobody_is_at_home() -> None:
    found = await book()
    assert found.is_local_domain("asleep.example")
    assert found.find("bob@asleep.example") is None
    assert await found.authenticate("bob@asleep.example", "secret") is None
    assert found.account("bob@asleep.example") == Account(2, "bob@asleep.example")
    found.put_domain(Domain(2, "asleep.example", active=True))
    assert await found.authenticate("bob@asleep.example", "secret") is not None


async def test_accounts_follow_a_renamed_domain() -> None:
    found = await book()
    found.put_domain(Domain(1, "example.net"))
    assert found.find("ann@example.com") is None
    assert await found.authenticate("ann@example.net", "secret") == Account(1, "ann@example.net")
    assert not found.is_local_domain("example.com")


async def test_a_removed_account_cannot_log_in_and_its_successor_has_its_own_password() -> None:
    found = await book()
    assert await found.authenticate("ann@example.com", "secret")
    found.remove_account(Account(1, "ann@example.com"))
    assert await found.authenticate("ann@example.com", "secret") is None
    hashed = await Passwords(cheap=True).hash("other")
    found.put_account(StoredAccount(Account(3, "ann@example.com"), HERE.id, hashed))
    assert await found.authenticate("ann@example.com", "secret") is None
    assert await found.authenticate("ann@example.com", "other") == Account(3, "ann@example.com")


async def test_an_account_removed_while_its_password_is_checked_is_not_let_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = await book()

    async def slow(_self: Passwords, _stored: str | None, _password: str) -> bool:
        found.remove_account(Account(1, "ann@example.com"))
        return True

    monkeypatch.setattr(Passwords, "verify", slow)
    assert await found.authenticate("ann@example.com", "secret") is None


async def test_a_removed_domain_takes_its_accounts_along() -> None:
    found = await book()
    found.remove_domain(HERE)
    assert found.find("ann@example.com") is None
    assert not found.is_local_domain("example.com")
    assert found.account("bob@asleep.example") is not None


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(f"sqlite:///{tmp_path}/x.sqlite3", synced=False)
    await migrate(opened)
    yield opened
    await opened.close()


def counts(connection: Connection) -> dict[str, int]:
    tables = (schema.domains, schema.accounts, schema.mailboxes, schema.messages, schema.contents)
    return {
        table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in tables
    }


async def three_accounts(database: Database) -> list[int]:
    """Two accounts in the first domain, one in the second."""

    def work(connection: Connection) -> list[int]:
        first = accounts.insert_domain(connection, Domain(0, "one.example"))
        second = accounts.insert_domain(connection, Domain(0, "two.example"))
        homes = {"a@one.example": first, "b@one.example": first, "c@two.example": second}
        return [accounts.insert_account(connection, home, name, "-") for name, home in homes.items()]

    return await database.write(work)


async def test_deleting_an_account_leaves_shared_mail_to_the_others(database: Database) -> None:
    mail = SqlMailStore(database)
    one, two, three = await three_accounts(database)
    now = datetime.now(UTC)
    await mail.deliver([one, two], b"to both", now)
    await mail.deliver([one], b"to one", now)
    await mail.deliver([three], b"to three", now)
    await database.write(lambda c: accounts.delete_account(c, one))
    assert await database.read(counts) == {
        "domains": 2,
        "accounts": 2,
        "mailboxes": 2,
        "messages": 2,
        "contents": 2,
    }
    (inbox,) = await mail.mailboxes(two)
    (message,) = await mail.messages(inbox.id)
    assert await mail.content(message.id) == b"to both"


async def test_deleting_a_domain_takes_all_its_mail_along(database: Database) -> None:
    mail = SqlMailStore(database)
    found = await three_accounts(database)
    now = datetime.now(UTC)
    await mail.deliver(found[:2], b"inside", now)
    await mail.deliver(found, b"to all", now)
    (first, _second) = await database.read(accounts.load_domains)
    await database.write(lambda c: accounts.delete_domain(c, first.id))
    assert await database.read(counts) == {
        "domains": 1,
        "accounts": 1,
        "mailboxes": 1,
        "messages": 1,
        "contents": 1,
    }


async def test_many_messages_go_with_their_account(database: Database) -> None:
    mail = SqlMailStore(database)
    one, two, _three = await three_accounts(database)
    await mail.deliver([two], b"stays", datetime.now(UTC))
    (inbox,) = await mail.mailboxes(one)

    def fill(connection: Connection) -> None:
        for uid in range(1, 1202):
            content = connection.execute(schema.contents.insert().values(octets=b"x")).inserted_primary_key
            assert content is not None
            connection.execute(
                schema.messages.insert().values(
                    mailbox_id=inbox.id,
                    uid=uid,
                    size=1,
                    internal_date=datetime.now(UTC),
                    flags="",
                    content_id=content[0],
                )
            )

    await database.write(fill)
    await database.write(lambda c: accounts.delete_account(c, one))
    left = await database.read(counts)
    assert (left["messages"], left["contents"]) == (1, 1)


async def test_renaming_a_domain_in_the_database(database: Database) -> None:
    await three_accounts(database)
    (first, _second) = await database.read(accounts.load_domains)
    await database.write(lambda c: accounts.update_domain(c, Domain(first.id, "new.example", active=False)))
    found = await database.read(accounts.load_accounts)
    assert [stored.account.address for stored in found] == [
        "a@new.example",
        "b@new.example",
        "c@two.example",
    ]
    assert (await database.read(accounts.load_domains))[0] == Domain(first.id, "new.example", active=False)


async def test_ids_are_never_given_twice(database: Database) -> None:
    *_, three = await three_accounts(database)
    await database.write(lambda c: accounts.delete_account(c, three))
    (_first, second) = await database.read(accounts.load_domains)
    again = await database.write(lambda c: accounts.insert_account(c, second.id, "c@two.example", "-"))
    assert again > three
