"""Message texts as rows. One may belong to several messages, in mailboxes and in the queue.

Functions over a connection, for `Database.write`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, bindparam, delete, insert, select

from reference_server.storage.schema import contents, messages, queue_messages

_AT_ONCE = 500
"""Parameters of one statement; SQLite allows 999 in old versions."""


_UNUSED = (
    ~select(messages.c.id).where(messages.c.content_id == contents.c.id).exists(),
    ~select(queue_messages.c.id).where(queue_messages.c.content_id == contents.c.id).exists(),
)
# Made once: to build a statement takes longer than to run it.
_INSERT = insert(contents)
_DROP = delete(contents).where(contents.c.id == bindparam("content"), *_UNUSED)


def add(connection: Connection, octets: bytes) -> int:
    """Store a text and return its id."""
    key = connection.execute(_INSERT, {"octets": octets}).inserted_primary_key
    assert key is not None
    return int(key[0])


def drop_if_unused(connection: Connection, content_id: int) -> None:
    """Delete a text if no message needs it any more."""
    connection.execute(_DROP, {"content": content_id})


def drop_unused(connection: Connection, content_ids: Sequence[int]) -> None:
    """Delete those of the texts that no message needs any more."""
    for some in batches(content_ids):
        connection.execute(delete(contents).where(contents.c.id.in_(some), *_UNUSED))


def batches(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield ``ids`` in parts that fit into one statement."""
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]
