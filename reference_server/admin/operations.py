"""Everything that an administrator can do, every verb once.

A verb validates (`InvalidField`), writes to the database, updates what is in memory, and tells the running
server, in this order: what a verb has answered is on disk and in force. Changes come one after the other.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import NoReturn, TypeVar

from sqlalchemy import Connection

from reference_server.admin import checks
from reference_server.admin.checks import Fields
from reference_server.control import ServerControl, ServerStatus
from reference_server.settings import (
    Account,
    Certificate,
    Domain,
    InvalidField,
    IpRange,
    Port,
    ServerSettings,
)
from reference_server.storage import accounts as account_rows
from reference_server.storage import configuration
from reference_server.storage.accounts import ADMINISTRATOR, AccountBook, StoredAccount
from reference_server.storage.configuration import Configuration
from reference_server.storage.database import Database
from reference_server.storage.passwords import Passwords
from reference_server.storage.queue import Queued, queued, remove, retry

T = TypeVar("T")


class NotFound(LookupError):  # noqa: N818 - an answer
    """There is no such record."""


class Conflict(ValueError):  # noqa: N818 - an answer
    """The record would be a duplicate, or is in use."""


class Operations:
    """The verbs, and the configuration in memory; made by `load`."""

    def __init__(
        self,
        database: Database,
        stored: Configuration,
        accounts: AccountBook,
        passwords: Passwords,
        administrator_hash: str | None,
        now: Callable[[], datetime],
    ) -> None:
        self.accounts = accounts
        self.now = now
        self._database = database
        self._passwords = passwords
        self._administrator_hash = administrator_hash
        self._server: ServerControl | None = None
        self._settings = stored.settings
        self._ports = {port.id: port for port in stored.ports}
        self._ranges = {ip_range.id: ip_range for ip_range in stored.ranges}
        self._range_ids = {ip_range.name: ip_range.id for ip_range in stored.ranges}
        self._certificates = {certificate.id: certificate for certificate in stored.certificates}
        self._change = asyncio.Lock()
        self._announce = asyncio.Lock()
        self._ranges_version = 0
        self._ranges_announced = 0

    @classmethod
    async def load(
        cls, database: Database, *, now: Callable[[], datetime], cheap_hashes: bool = False
    ) -> Operations:
        """Read everything from a database that `first_start.prepare` has seen.

        ``now`` is the server's clock; ``cheap_hashes`` is for new accounts, see `Passwords`.
        """
        passwords = Passwords(cheap=cheap_hashes)

        def read(
            connection: Connection,
        ) -> tuple[Configuration, list[Domain], list[StoredAccount], str | None]:
            return (
                configuration.load(connection),
                account_rows.load_domains(connection),
                account_rows.load_accounts(connection),
                account_rows.administrator_hash(connection),
            )

        stored, domains, accounts, administrator_hash = await database.read(read)
        book = AccountBook(passwords, domains, accounts)
        return cls(database, stored, book, passwords, administrator_hash, now)

    def attach(self, server: ServerControl) -> None:
        """Name the running server that is to be told of changes."""
        self._server = server

    # --- what is configured now ---

    def ports(self) -> tuple[Port, ...]:
        """Return the configured ports, by id; the listeners are those of the last start."""
        return tuple(self._ports.values())

    def ranges(self) -> tuple[IpRange, ...]:
        """Return the IP ranges, by id, the expired ones included."""
        return tuple(self._ranges.values())

    def settings(self) -> ServerSettings:
        """Return the settings."""
        return self._settings

    def certificates(self) -> tuple[Certificate, ...]:
        """Return the certificates, by id."""
        return tuple(self._certificates.values())

    def status(self) -> ServerStatus:
        """Return what the server says of itself."""
        return self._control.status()

    async def check_administrator(self, user: str, password: str) -> bool:
        """Say whether these are the administrator's name and password."""
        known = self._administrator_hash if user == ADMINISTRATOR else None
        return await self._passwords.verify(known, password)

    # --- ports: they hold at the next start or reinitialize ---

    async def add_port(self, fields: Fields) -> Port:
        """Add a port. Raises InvalidField, Conflict."""
        async with self._change:
            port = self._checked_port(fields, 0)
            port_id = await self._database.write(lambda db: configuration.insert_port(db, port))
            return self._keep(self._ports, replace(port, id=port_id))

    async def change_port(self, port_id: int, fields: Fields) -> Port:
        """Replace a port by a whole record. Raises NotFound, InvalidField, Conflict."""
        async with self._change:
            _get(self._ports, port_id, "port")
            port = self._checked_port(fields, port_id)
            await self._database.write(lambda db: configuration.update_port(db, port))
            return self._keep(self._ports, port)

    async def delete_port(self, port_id: int) -> None:
        """Delete a port. Raises NotFound."""
        async with self._change:
            _get(self._ports, port_id, "port")
            await self._database.write(lambda db: configuration.delete_port(db, port_id))
            del self._ports[port_id]

    def _checked_port(self, fields: Fields, port_id: int) -> Port:
        port = checks.port(fields, self._certificates.keys(), port_id)
        for other in self._ports.values():
            same = (other.address, other.port) == (port.address, port.port)
            if same and port.port and other.id != port_id:
                raise Conflict(f"port: {port.address} port {port.port} is port {other.id} already")
        return port

    # --- IP ranges: they hold for the next connection ---

    async def add_range(self, fields: Fields) -> IpRange:
        """Add an IP range. Raises InvalidField, Conflict."""
        async with self._change:
            ip_range = checks.ip_range(fields)
            self._check_range_name(ip_range)
            range_id = await self._database.write(lambda db: configuration.insert_range(db, ip_range))
            version = self._put_range(replace(ip_range, id=range_id))
        await self._announce_ranges(version)
        return replace(ip_range, id=range_id)

    async def change_range(self, range_id: int, fields: Fields) -> IpRange:
        """Change some fields of an IP range. Raises NotFound, InvalidField, Conflict."""
        async with self._change:
            ip_range = checks.ip_range(fields, _get(self._ranges, range_id, "IP range"))
            self._check_range_name(ip_range)
            await self._database.write(lambda db: configuration.update_range(db, ip_range))
            version = self._put_range(ip_range)
        await self._announce_ranges(version)
        return ip_range

    async def delete_range(self, range_id: int) -> None:
        """Delete an IP range. Raises NotFound."""
        async with self._change:
            ip_range = _get(self._ranges, range_id, "IP range")
            await self._database.write(lambda db: configuration.delete_range(db, range_id))
            del self._ranges[range_id]
            del self._range_ids[ip_range.name]
            self._ranges_version += 1
            version = self._ranges_version
        await self._announce_ranges(version)

    def _check_range_name(self, ip_range: IpRange) -> None:
        if self._range_ids.get(ip_range.name, ip_range.id) != ip_range.id:
            raise Conflict(f"name: there is an IP range {ip_range.name!r} already")

    def _put_range(self, ip_range: IpRange) -> int:
        before = self._ranges.get(ip_range.id)
        if before is not None:
            del self._range_ids[before.name]
        self._ranges[ip_range.id] = ip_range
        self._range_ids[ip_range.name] = ip_range.id
        self._ranges_version += 1
        return self._ranges_version

    async def _announce_ranges(self, version: int) -> None:
        """Return when the server has taken over the ranges of ``version``; changes in a row share one."""
        async with self._announce:
            if self._ranges_announced < version:
                latest = self._ranges_version
                await self._control.ranges_changed(self.ranges())
                self._ranges_announced = latest

    # --- settings: they hold at once ---

    async def change_settings(self, fields: Fields) -> ServerSettings:
        """Change some settings. Raises InvalidField."""
        async with self._change:
            values = checks.settings(fields)
            plain = {name: configuration.plain(value) for name, value in values.items()}
            await self._database.write(lambda db: configuration.store_settings(db, plain))
            self._settings = replace(self._settings, **values)
            self._control.settings_changed(self._settings)
            return self._settings

    # --- certificates ---

    async def add_certificate(self, fields: Fields) -> Certificate:
        """Add a certificate. Raises InvalidField (also when the files cannot be used), Conflict."""
        async with self._change:
            certificate = checks.certificate(fields)
            if any(each.name == certificate.name for each in self._certificates.values()):
                raise Conflict(f"name: there is a certificate {certificate.name!r} already")
            await asyncio.to_thread(_try_certificate, certificate)
            certificate_id = await self._database.write(
                lambda db: configuration.insert_certificate(db, certificate)
            )
            return self._keep(self._certificates, replace(certificate, id=certificate_id))

    async def delete_certificate(self, certificate_id: int) -> None:
        """Delete a certificate. Raises NotFound; Conflict while a port uses it."""
        async with self._change:
            _get(self._certificates, certificate_id, "certificate")
            users = [str(port.id) for port in self._ports.values() if port.certificate_id == certificate_id]
            if users:
                raise Conflict(f"the certificate is in use by port {', '.join(users)}; change that first")
            await self._database.write(lambda db: configuration.delete_certificate(db, certificate_id))
            del self._certificates[certificate_id]

    # --- domains and accounts: they hold at once ---

    async def add_domain(self, fields: Fields) -> Domain:
        """Add a local domain. Raises InvalidField, Conflict."""
        async with self._change:
            domain = self._checked_domain({"active": True, **fields}, Domain(0, ""))
            domain_id = await self._database.write(lambda db: account_rows.insert_domain(db, domain))
            domain = replace(domain, id=domain_id)
            self.accounts.put_domain(domain)
            return domain

    async def change_domain(self, name: str, fields: Fields) -> Domain:
        """Change some fields; the accounts follow the name. Raises NotFound, InvalidField, Conflict."""
        async with self._change:
            domain = self._checked_domain(fields, self.domain(name))
            await self._database.write(lambda db: account_rows.update_domain(db, domain))
            self.accounts.put_domain(domain)
            return domain

    async def delete_domain(self, name: str) -> None:
        """Delete a domain with its accounts and their mail. Raises NotFound."""
        async with self._change:
            domain = self.domain(name)
            await self._database.write(lambda db: account_rows.delete_domain(db, domain.id))
            self.accounts.remove_domain(domain)

    def domain(self, name: str) -> Domain:
        """Return a domain by its name. Raises NotFound."""
        return self.accounts.domain(name) or _missing(f"there is no domain {name[:80]!r}")

    def _checked_domain(self, fields: Fields, base: Domain) -> Domain:
        for field in fields:
            if field not in {"name", "active"}:
                raise InvalidField(field, "is no field of this record; it has name, active")
        if not base.name and "name" not in fields:
            raise InvalidField("name", "is missing")
        name = checks.domain_name("name", fields["name"]) if "name" in fields else base.name
        active = checks.flag("active", fields["active"]) if "active" in fields else base.active
        other = self.accounts.domain(name)
        if other is not None and other.id != base.id:
            raise Conflict(f"name: there is a domain {name} already")
        return Domain(base.id, name, active)

    async def add_account(self, domain_name: str, fields: Fields) -> Account:
        """Add an account with its password. Raises NotFound (the domain), InvalidField, Conflict."""
        async with self._change:
            domain = self.domain(domain_name)
            for field in ("address", "password"):
                if field not in fields:
                    raise InvalidField(field, "is missing")
            for field in fields:
                if field not in {"address", "password"}:
                    raise InvalidField(field, "is no field of this record; it has address, password")
            address = checks.account_address("address", fields["address"], domain.name)
            password = checks.password("password", fields["password"])
            if self.accounts.account(address) is not None:
                raise Conflict(f"address: there is an account {address} already")
            hashed = await self._passwords.hash(password)
            account_id = await self._database.write(
                lambda db: account_rows.insert_account(db, domain.id, address, hashed)
            )
            stored = StoredAccount(Account(account_id, address), domain.id, hashed)
            self.accounts.put_account(stored)
            return stored.account

    async def delete_account(self, address: str) -> None:
        """Delete an account with its mail. Raises NotFound."""
        async with self._change:
            account = self.accounts.account(address) or _missing(f"there is no account {address[:80]!r}")
            await self._database.write(lambda db: account_rows.delete_account(db, account.id))
            self.accounts.remove_account(account)

    # --- the queue of outgoing mail ---

    async def queue(self) -> list[Queued]:
        """Return the queued messages, by id."""
        return await self._database.read(queued)

    async def retry_queued(self, message_id: int) -> None:
        """Try a queued message now. Raises NotFound."""
        if not await self._database.write(lambda db: retry(db, message_id, self.now())):
            _missing(f"there is no queued message {message_id}")
        self._control.queue_changed()

    async def delete_queued(self, message_id: int) -> None:
        """Delete a queued message; nobody is told. Raises NotFound."""
        if not await self._database.write(lambda db: remove(db, message_id)):
            _missing(f"there is no queued message {message_id}")

    # --- the server ---

    def reinitialize(self) -> None:
        """Ask the server to stop and start every service; it does so soon after this returns."""
        self._control.request_reinitialize()

    @property
    def _control(self) -> ServerControl:
        if self._server is None:
            raise RuntimeError("no server is attached")
        return self._server

    @staticmethod
    def _keep(records: dict[int, T], record: T) -> T:
        records[record.id] = record  # type: ignore[attr-defined]
        return record


def _get(records: dict[int, T], record_id: int, what: str) -> T:
    return records[record_id] if record_id in records else _missing(f"there is no {what} {record_id}")


def _missing(message: str) -> NoReturn:
    raise NotFound(message)


def _try_certificate(certificate: Certificate) -> None:
    """Load the files as a listener will. Raises InvalidField."""
    files = {
        "certificate_file": certificate.certificate_file,
        "private_key_file": certificate.private_key_file,
    }
    for field, path in files.items():
        try:
            Path(path).open("rb").close()
        except OSError as error:
            raise InvalidField(field, f"cannot be read: {error.strerror}") from None
    try:
        # Without an answer at hand OpenSSL would ask the terminal for the key's password.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            certificate.certificate_file, certificate.private_key_file, password=lambda: b""
        )
    except (OSError, ValueError) as error:
        raise InvalidField(
            "certificate_file",
            f"this file and private_key_file are no PEM chain with its key, unencrypted: {error}",
        ) from None
