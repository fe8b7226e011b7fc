"""The queue of outgoing mail."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_OCTETS = sa.LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")


def upgrade() -> None:
    """Make its two tables."""
    op.create_table(
        "queue_messages",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("sender", sa.String(320), nullable=False, comment="empty: the null sender"),
        sa.Column("content_id", sa.Integer, nullable=False),
        sa.Column("skip", sa.Integer, nullable=False, comment="octets that only local copies have"),
        sa.Column("size", sa.Integer, nullable=False, comment="octets that are sent"),
        sa.Column("eight_bit", sa.Boolean, nullable=False),
        sa.Column("received", sa.DateTime, nullable=False),
        sa.Column("trace_id", sa.String(64), nullable=False, comment="as in its Received field"),
        sa.Column("helo", sa.String(255), nullable=False, comment="empty: made here"),
        sa.Column("family", sa.SmallInteger, comment="of the client that brought it; NULL: made here"),
        sa.Column("peer", _OCTETS),
        sa.Column("next_try", sa.DateTime, nullable=False, comment="the earliest of its recipients"),
        sa.Column("lease_owner", sa.String(32), comment="who is sending it now"),
        sa.Column("lease_until", sa.DateTime),
        sa.CheckConstraint("family IN (4, 6)", name=op.f("ck_queue_messages_family")),
        sa.CheckConstraint("length(peer) = 16", name=op.f("ck_queue_messages_peer")),
        sa.ForeignKeyConstraint(["content_id"], ["contents.id"], name="fk_queue_messages_content_id"),
        sa.PrimaryKeyConstraint("id", name="pk_queue_messages"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_queue_messages_content_id", "queue_messages", ["content_id"])
    op.create_index("ix_queue_messages_next_try", "queue_messages", ["next_try"])
    op.create_table(
        "queue_recipients",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("message_id", sa.Integer, nullable=False),
        sa.Column("address", sa.String(320), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False, comment="that were made"),
        sa.Column("next_try", sa.DateTime, nullable=False),
        sa.Column("last_reply", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["queue_messages.id"],
            name="fk_queue_recipients_message_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_queue_recipients"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_queue_recipients_message_id", "queue_recipients", ["message_id"])
