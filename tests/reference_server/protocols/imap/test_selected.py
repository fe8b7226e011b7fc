from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from reference_server.protocols.imap.selected import Selected
from reference_server.protocols.imap.syntax import Arguments, No

WHEN = datetime(2026, 2, 1, tzinfo=UTC)


async def opened(mail: Any, count: int = 2) -> Selected:
    for _ in range(count):
        await mail.deliver([1], b"Subject: x\r\n\r\nbody\r\n", WHEN)
    selected = Selected(mail, (await mail.mailboxes(1))[0], read_only=False, changed=lambda: None)
    await selected.news(expunges=False)
    return selected


async def test_flags_that_the_client_was_not_told_of_are_kept(mail: Any) -> None:
    selected = await opened(mail)
    first = selected.messages[0]
    await mail.set_flags(selected.mailbox.id, {first.id: frozenset({"\\Draft"})})
    answer = await selected.store(Arguments(b"1 +FLAGS (\\Seen)"), uid=False)
    assert answer == b"* 1 FETCH (FLAGS (\\Draft \\Seen))\r\n"
    assert (await mail.messages(selected.mailbox.id))[0].flags == {"\\Draft", "\\Seen"}
    selected.close()


async def test_own_changes_are_no_news(mail: Any) -> None:
    selected = await opened(mail)
    await selected.store(Arguments(b"1:2 +FLAGS.SILENT (\\Seen)"), uid=False)
    assert await selected.news(expunges=True) == b""
    await selected.store(Arguments(b"2 FLAGS.SILENT (\\Deleted)"), uid=False)
    await selected.expunge()
    assert await selected.news(expunges=True) == b"* 2 EXPUNGE\r\n"
    assert await selected.news(expunges=True) == b""
    selected.close()


async def test_several_removals_are_told_in_an_order_that_keeps_numbers_right(mail: Any) -> None:
    selected = await opened(mail, 5)
    ids = [message.id for message in selected.messages]
    await mail.remove(selected.mailbox.id, [ids[0], ids[2], ids[3]])
    await mail.deliver([1], b"new", WHEN)
    mirror = [1, 2, 3, 4, 5]
    for line in (await selected.news(expunges=True)).splitlines():
        words = line.split()
        if words[2] == b"EXPUNGE":
            del mirror[int(words[1]) - 1]
        elif words[2] == b"EXISTS":
            mirror += range(6, 6 + int(words[1]) - len(mirror))
    assert mirror == [2, 5, 6]
    assert [message.uid for message in selected.messages] == mirror
    selected.close()


async def test_a_message_that_goes_while_it_is_fetched(mail: Any) -> None:
    selected = await opened(mail)
    await mail.remove(selected.mailbox.id, [selected.messages[0].id])
    answers: list[bytes] = []

    async def fetch() -> None:
        async for answer in selected.fetch(Arguments(b"1:2 (UID BODY.PEEK[TEXT])"), uid=False):
            answers.append(answer)

    with pytest.raises(No, match="EXPUNGEISSUED"):
        await fetch()
    assert answers == [b"* 2 FETCH (UID 2 BODY[TEXT] {6}\r\nbody\r\n)\r\n"]
    selected.close()
