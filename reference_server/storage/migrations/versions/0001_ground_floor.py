"""The first schema: configuration, accounts, mail."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_OCTETS = sa.LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")
_FLAGS = (
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


def upgrade() -> None:
    """Make every table."""
    _configuration()
    _accounts()
    _mail()


def _configuration() -> None:
    op.create_table(
        "settings",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.Text, nullable=False, comment="JSON"),
        sa.PrimaryKeyConstraint("name", name="pk_settings"),
    )
    op.create_table(
        "administrators",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_administrators"),
    )
    op.create_table(
        "certificates",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("certificate_file", sa.Text, nullable=False),
        sa.Column("private_key_file", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_certificates"),
        sa.UniqueConstraint("name", name="uq_certificates_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "ports",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("protocol", sa.String(8), nullable=False),
        sa.Column("family", sa.SmallInteger, nullable=False),
        sa.Column("address", _OCTETS, nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("connection_security", sa.String(20), nullable=False),
        sa.Column("certificate_id", sa.Integer),
        sa.CheckConstraint("family IN (4, 6)", name=op.f("ck_ports_family")),
        sa.CheckConstraint("length(address) = 16", name=op.f("ck_ports_address")),
        sa.CheckConstraint("port BETWEEN 0 AND 65535", name=op.f("ck_ports_port")),
        sa.ForeignKeyConstraint(["certificate_id"], ["certificates.id"], name="fk_ports_certificate_id"),
        sa.PrimaryKeyConstraint("id", name="pk_ports"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "ip_ranges",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("family", sa.SmallInteger, nullable=False),
        sa.Column("lower", _OCTETS, nullable=False),
        sa.Column("upper", _OCTETS, nullable=False),
        sa.Column("expires", sa.Boolean, nullable=False),
        sa.Column("expires_time", sa.DateTime),
        *(sa.Column(flag, sa.Boolean, nullable=False) for flag in _FLAGS),
        sa.CheckConstraint("family IN (4, 6)", name=op.f("ck_ip_ranges_family")),
        sa.CheckConstraint(
            "length(lower) = 16 AND length(upper) = 16 AND lower <= upper", name=op.f("ck_ip_ranges_bounds")
        ),
        sa.PrimaryKeyConstraint("id", name="pk_ip_ranges"),
        sa.UniqueConstraint("name", name="uq_ip_ranges_name"),
        sqlite_autoincrement=True,
    )


def _accounts() -> None:
    op.create_table(
        "domains",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(255), nullable=False, comment="lower case"),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_domains"),
        sa.UniqueConstraint("name", name="uq_domains_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "accounts",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("domain_id", sa.Integer, nullable=False),
        sa.Column("address", sa.String(320), nullable=False, comment="lower case"),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.ForeignKeyConstraint(
            ["domain_id"], ["domains.id"], name="fk_accounts_domain_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        sa.UniqueConstraint("address", name="uq_accounts_address"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_accounts_domain_id", "accounts", ["domain_id"])


def _mail() -> None:
    op.create_table(
        "mailboxes",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("account_id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("uid_validity", sa.Integer, nullable=False),
        sa.Column("uid_next", sa.Integer, nullable=False),
        sa.Column("subscribed", sa.Boolean, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name="fk_mailboxes_account_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_mailboxes"),
        sa.UniqueConstraint("account_id", "name", name="uq_mailboxes_account_id_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "contents",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("octets", sa.LargeBinary(2**32 - 1), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_contents"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("mailbox_id", sa.Integer, nullable=False),
        sa.Column("uid", sa.Integer, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("internal_date", sa.DateTime, nullable=False),
        sa.Column("flags", sa.Text, nullable=False, comment="separated by spaces"),
        sa.Column("content_id", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(["content_id"], ["contents.id"], name="fk_messages_content_id"),
        sa.ForeignKeyConstraint(
            ["mailbox_id"], ["mailboxes.id"], name="fk_messages_mailbox_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
        sa.UniqueConstraint("mailbox_id", "uid", name="uq_messages_mailbox_id_uid"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_messages_content_id", "messages", ["content_id"])
