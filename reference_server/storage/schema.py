"""The tables. `HEAD_REVISION` is the migration that makes them; a test compares the two.

Ids are never given twice (``AUTOINCREMENT``): a session that remembers the id of a deleted message must
not be given another one's content.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator

from reference_server.storage.addresses import AddressOctets

HEAD_REVISION = "0002"
"""The revision of `migrations/versions` that a database must have."""

RANGE_FLAGS = (
    "allow_smtp",
    "allow_pop3",
    "allow_imap",
    "deliver_local_to_local",
    "deliver_local_to_remote",
    "deliver_remote_to_local",
    "deliver_remote_to_remote",
    "require_auth_local_to_local",
    "require_auth_local_to_remote",
    "require_auth_remote_to_local",
    "require_auth_remote_to_remote",
    "require_tls_for_auth",
    "spam_protection",
    "virus_protection",
)
"""The flags of an IP range: names of columns, of fields of `IpRange`, and of the HTTP contract."""


class UtcTime(TypeDecorator[datetime]):
    """A moment: aware in Python, in UTC without a zone in the database, so that it sorts everywhere."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the moment in UTC, naive. Raises ValueError for one without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the moment, aware."""
        return None if value is None else value.replace(tzinfo=UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

settings = Table(
    "settings",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False, comment="JSON"),
)

administrators = Table(
    "administrators",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("password_hash", String(255), nullable=False),
)

certificates = Table(
    "certificates",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("certificate_file", Text, nullable=False),
    Column("private_key_file", Text, nullable=False),
    sqlite_autoincrement=True,
)

ports = Table(
    "ports",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("protocol", String(8), nullable=False),
    Column("family", SmallInteger, nullable=False),
    Column("address", AddressOctets, nullable=False),
    Column("port", Integer, nullable=False),
    Column("connection_security", String(20), nullable=False),
    Column("certificate_id", ForeignKey("certificates.id")),
    CheckConstraint("family IN (4, 6)", name="family"),
    CheckConstraint("length(address) = 16", name="address"),
    CheckConstraint("port BETWEEN 0 AND 65535", name="port"),
    sqlite_autoincrement=True,
)

ip_ranges = Table(
    "ip_ranges",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("priority", Integer, nullable=False),
    Column("family", SmallInteger, nullable=False),
    Column("lower", AddressOctets, nullable=False),
    Column("upper", AddressOctets, nullable=False),
    Column("expires", Boolean, nullable=False),
    Column("expires_time", UtcTime),
    *(Column(flag, Boolean, nullable=False) for flag in RANGE_FLAGS),
    CheckConstraint("family IN (4, 6)", name="family"),
    CheckConstraint("length(lower) = 16 AND length(upper) = 16 AND lower <= upper", name="bounds"),
    sqlite_autoincrement=True,
)

domains = Table(
    "domains",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False, unique=True, comment="lower case"),
    Column("active", Boolean, nullable=False),
    sqlite_autoincrement=True,
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("domain_id", ForeignKey("domains.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("address", String(320), nullable=False, unique=True, comment="lower case"),
    Column("password_hash", String(255), nullable=False),
    sqlite_autoincrement=True,
)

mailboxes = Table(
    "mailboxes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("uid_validity", Integer, nullable=False),
    Column("uid_next", Integer, nullable=False),
    Column("subscribed", Boolean, nullable=False),
    UniqueConstraint("account_id", "name"),
    sqlite_autoincrement=True,
)

contents = Table(
    "contents",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("octets", LargeBinary(2**32 - 1), nullable=False),
    sqlite_autoincrement=True,
)
"""Message texts. One may belong to several messages; whoever deletes the last of them deletes it."""

messages = Table(
    "messages",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("mailbox_id", ForeignKey("mailboxes.id", ondelete="CASCADE"), nullable=False),
    Column("uid", Integer, nullable=False),
    Column("size", Integer, nullable=False),
    Column("internal_date", UtcTime, nullable=False),
    Column("flags", Text, nullable=False, comment="separated by spaces"),
    Column("content_id", ForeignKey("contents.id"), nullable=False, index=True),
    UniqueConstraint("mailbox_id", "uid"),
    sqlite_autoincrement=True,
)

queue_messages = Table(
    "queue_messages",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sender", String(320), nullable=False, comment="empty: the null sender"),
    Column("content_id", ForeignKey("contents.id"), nullable=False, index=True),
    Column("skip", Integer, nullable=False, comment="octets that only local copies have"),
    Column("size", Integer, nullable=False, comment="octets that are sent"),
    Column("eight_bit", Boolean, nullable=False),
    Column("received", UtcTime, nullable=False),
    Column("trace_id", String(64), nullable=False, comment="as in its Received field"),
    Column("helo", String(255), nullable=False, comment="empty: made here"),
    Column("family", SmallInteger, comment="of the client that brought it; NULL: made here"),
    Column("peer", AddressOctets),
    Column("next_try", UtcTime, nullable=False, index=True, comment="the earliest of its recipients"),
    Column("lease_owner", String(32), comment="who is sending it now"),
    Column("lease_until", UtcTime),
    CheckConstraint("family IN (4, 6)", name="family"),
    CheckConstraint("length(peer) = 16", name="peer"),
    sqlite_autoincrement=True,
)
"""Outgoing messages that have recipients left."""

queue_recipients = Table(
    "queue_recipients",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("message_id", ForeignKey("queue_messages.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("address", String(320), nullable=False),
    Column("tries", Integer, nullable=False, comment="that were made"),
    Column("next_try", UtcTime, nullable=False),
    Column("last_reply", Text, nullable=False),
    sqlite_autoincrement=True,
)
"""Recipients that a message still has to reach: who was reached, or given up, has no row."""
