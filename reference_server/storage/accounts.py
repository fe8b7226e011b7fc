"""Domains, accounts and the administrator: rows, and the book in memory that answers for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlalchemy import Connection, delete, insert, select, update

from reference_server.settings import Account, Domain
from reference_server.storage import schema
from reference_server.storage.contents import drop_unused
from reference_server.storage.passwords import Passwords

ADMINISTRATOR = "Administrator"


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """An account with what its row holds besides."""

    account: Account
    domain_id: int
    password_hash: str


class AccountBook:
    """All domains and accounts, in memory (`session.Accounts`). Follows the database: see `Operations`."""

    def __init__(
        self, passwords: Passwords, domains: Iterable[Domain] = (), accounts: Iterable[StoredAccount] = ()
    ) -> None:
        self._passwords = passwords
        self._domains = {domain.name: domain for domain in domains}
        self._accounts = {stored.account.address: stored for stored in accounts}
        self._active = {domain.id for domain in self._domains.values() if domain.active}

    def domains(self) -> tuple[Domain, ...]:
        """Return every domain, by id."""
        return tuple(sorted(self._domains.values(), key=lambda domain: domain.id))

    def domain(self, name: str) -> Domain | None:
        """Return the domain of that name (any case), or None."""
        return self._domains.get(name.strip().lower())

    def accounts(self, domain: Domain) -> tuple[Account, ...]:
        """Return the accounts of ``domain``, by id."""
        found = [stored.account for stored in self._accounts.values() if stored.domain_id == domain.id]
        return tuple(sorted(found, key=lambda account: account.id))

    def account(self, address: str) -> Account | None:
        """Return the account of that address (any case), that of an inactive domain too, or None."""
        stored = self._accounts.get(address.strip().lower())
        return None if stored is None else stored.account

    def is_local_domain(self, domain: str) -> bool:
        """Say whether mail for ``domain`` (any case) belongs here; that for an inactive one is refused."""
        return domain.lower() in self._domains

    def find(self, address: str) -> Account | None:
        """Return the account of a mail address (any case); None if its domain is inactive."""
        stored = self._find(address)
        return None if stored is None else stored.account

    async def authenticate(self, address: str, password: str) -> Account | None:
        """Return the account when the password is right; takes the same time for an unknown account."""
        stored = self._find(address)
        if not await self._passwords.verify(None if stored is None else stored.password_hash, password):
            return None
        # The account may have gone, or have got another password, while the hash was computed.
        return stored.account if stored is not None and self._find(address) == stored else None

    def put_domain(self, domain: Domain) -> None:
        """Take over a new or changed domain; after another name, its accounts have other addresses."""
        before = next((each for each in self._domains.values() if each.id == domain.id), None)
        if before is not None:
            del self._domains[before.name]
        self._domains[domain.name] = domain
        (self._active.add if domain.active else self._active.discard)(domain.id)
        if before is not None and before.name != domain.name:
            for stored in [each for each in self._accounts.values() if each.domain_id == domain.id]:
                del self._accounts[stored.account.address]
                address = renamed(stored.account.address, domain.name)
                self.put_account(replace(stored, account=replace(stored.account, address=address)))

    def remove_domain(self, domain: Domain) -> None:
        """Forget a domain and its accounts."""
        for account in self.accounts(domain):
            self.remove_account(account)
        self._domains.pop(domain.name, None)
        self._active.discard(domain.id)

    def put_account(self, stored: StoredAccount) -> None:
        """Take over a new account."""
        self._accounts[stored.account.address] = stored

    def remove_account(self, account: Account) -> None:
        """Forget an account."""
        stored = self._accounts.pop(account.address, None)
        if stored is not None:
            self._passwords.forget(stored.password_hash)

    def _find(self, address: str) -> StoredAccount | None:
        stored = self._accounts.get(address.lower())
        return stored if stored is not None and stored.domain_id in self._active else None


def renamed(address: str, domain: str) -> str:
    """Return the address of the same mailbox in another domain."""
    return f"{address.rpartition('@')[0]}@{domain}"


def load_domains(connection: Connection) -> list[Domain]:
    """Return every domain."""
    rows = connection.execute(select(schema.domains).order_by(schema.domains.c.id))
    return [Domain(id=row.id, name=row.name, active=row.active) for row in rows]


def load_accounts(connection: Connection) -> list[StoredAccount]:
    """Return every account."""
    return [
        StoredAccount(Account(id=row.id, address=row.address), row.domain_id, row.password_hash)
        for row in connection.execute(select(schema.accounts).order_by(schema.accounts.c.id))
    ]


def insert_domain(connection: Connection, domain: Domain) -> int:
    """Store a new domain and return its id."""
    values = {"name": domain.name, "active": domain.active}
    return _id(connection.execute(insert(schema.domains).values(values)).inserted_primary_key)


def update_domain(connection: Connection, domain: Domain) -> None:
    """Store a changed domain; its accounts follow its name."""
    table, accounts = schema.domains, schema.accounts
    values = {"name": domain.name, "active": domain.active}
    connection.execute(update(table).where(table.c.id == domain.id).values(values))
    mine = select(accounts.c.id, accounts.c.address).where(accounts.c.domain_id == domain.id)
    for row in connection.execute(mine).all():
        address = renamed(row.address, domain.name)
        if address != row.address:
            connection.execute(update(accounts).where(accounts.c.id == row.id).values(address=address))


def delete_domain(connection: Connection, domain_id: int) -> None:
    """Delete a domain with its accounts and their mail."""
    table = schema.accounts
    for account_id in (
        connection.execute(select(table.c.id).where(table.c.domain_id == domain_id)).scalars().all()
    ):
        delete_account(connection, account_id)
    connection.execute(delete(schema.domains).where(schema.domains.c.id == domain_id))


def insert_account(connection: Connection, domain_id: int, address: str, password_hash: str) -> int:
    """Store a new account and return its id."""
    values = {"domain_id": domain_id, "address": address, "password_hash": password_hash}
    return _id(connection.execute(insert(schema.accounts).values(values)).inserted_primary_key)


def delete_account(connection: Connection, account_id: int) -> None:
    """Delete an account with its mail; a text that another account's message shares stays."""
    mailboxes, messages = schema.mailboxes, schema.messages
    mine = select(mailboxes.c.id).where(mailboxes.c.account_id == account_id)
    texts = select(messages.c.content_id).where(messages.c.mailbox_id.in_(mine)).distinct()
    candidates = list(connection.execute(texts).scalars())
    connection.execute(delete(schema.accounts).where(schema.accounts.c.id == account_id))
    drop_unused(connection, candidates)


def administrator_hash(connection: Connection) -> str | None:
    """Return the hash of the administrator's password; None in a database that is not set up yet."""
    table = schema.administrators
    return connection.execute(
        select(table.c.password_hash).where(table.c.name == ADMINISTRATOR)
    ).scalar_one_or_none()


def insert_administrator(connection: Connection, password_hash: str) -> None:
    """Store the first password of the administrator."""
    values = {"name": ADMINISTRATOR, "password_hash": password_hash}
    connection.execute(insert(schema.administrators).values(values))


def _id(key: object) -> int:
    assert key is not None
    return int(key[0])  # type: ignore[index]
