"""The worker over a real queue, with a delivery that does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from reference_server import limits
from reference_server.clock import Clock
from reference_server.delivery.next_hop import Route
from reference_server.delivery.queue_worker import QueueWorker
from reference_server.delivery.results import Outcome, Result, failed, later
from reference_server.delivery.smtp_client import Message
from reference_server.session import NewMail
from reference_server.settings import Account, ServerSettings
from reference_server.storage import queue, schema
from reference_server.storage.database import Database
from reference_server.storage.mailboxes import SqlMailStore
from reference_server.storage.queue import SqlMailQueue

from ..listening.conftest import KeptLog

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
TAKEN = Result(Outcome.DELIVERED, "2.0.0", "250 taken", "hop")
BUSY = later("4.2.1", "busy")
UNKNOWN = failed("5.1.1", "unknown")


class FakeDelivery:
    """Remembers what it was to send; says what it is told, by recipient."""

    def __init__(self) -> None:
        self.says: dict[str, Result | Exception] = {}
        self.sent: list[tuple[Route, Message, list[str]]] = []
        self.gate: asyncio.Event | None = None
        self.open = False

    async def deliver(
        self, route: Route, message: Message, recipients: Sequence[str]
    ) -> Mapping[str, Result]:
        self.sent.append((route, message, list(recipients)))
        if self.gate is not None:
            await self.gate.wait()
        found = {}
        for recipient in recipients:
            said = self.says.get(recipient, TAKEN)
            if isinstance(said, Exception):
                raise said
            found[recipient] = said
        return found

    def close(self) -> None:
        self.open = False

    async def settle(self, limit: float) -> None:
        assert limit > 0

    def reopen(self) -> None:
        self.open = True


class FakeAccounts:
    def is_local_domain(self, domain: str) -> bool:
        return domain == "example.test"

    def find(self, address: str) -> Account | None:
        return Account(1, address) if address == "ann@example.test" else None

    async def authenticate(self, address: str, password: str) -> Account | None:
        raise NotImplementedError


class Site:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = SqlMailStore(database)
        self.queue = SqlMailQueue(database, self.store)
        self.delivery = FakeDelivery()
        self.settings = ServerSettings(smtp_no_of_tries=3, smtp_minutes_between_try=10)
        self.clock = Clock(lambda: NOW)
        self.log = KeptLog()
        self.worker = self.make()

    def make(self) -> QueueWorker:
        return QueueWorker(
            self.queue, self.delivery, FakeAccounts(), lambda: self.settings, self.clock, self.log
        )

    async def give(self, *remote: str, sender: str = "ann@example.test") -> None:
        text = b"Subject: hello\r\n\r\nend\r\n"
        await self.worker.accept(NewMail(sender, text, 0, self.clock(), (), remote, "a.1"))

    async def advance(self, seconds: float) -> int:
        """Return how many messages were begun with because of it."""
        before = self.worker.begun
        self.clock.advance(seconds)
        await self.worker.look()
        return self.worker.begun - before

    async def waiting(self) -> list[queue.Queued]:
        return await self.database.read(queue.queued)

    async def inbox(self) -> list[bytes]:
        inbox = (await self.store.mailboxes(1))[0]
        return [await self.store.content(each.id) for each in await self.store.messages(inbox.id)]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    database = await Database.open(f"sqlite:///{tmp_path}/x.sqlite3", synced=False)

    def prepare(connection: Any) -> None:
        schema.metadata.create_all(connection)
        connection.execute(insert(schema.domains).values(id=1, name="example.test", active=True))
        connection.execute(
            insert(schema.accounts).values(id=1, domain_id=1, address="ann@example.test", password_hash="x")
        )

    await database.write(prepare)
    made = Site(database)
    made.worker.start()
    yield made
    await made.worker.stop(30)
    await database.close()


async def test_new_mail_is_sent_at_once_and_forgotten(site: Site) -> None:
    await site.give("joe@far.test")
    [event] = await site.log.until("queue.delivered")
    assert (event["recipients"], event["remote"], event["id"]) == (1, "hop", "a.1")
    assert await site.waiting() == []
    [(_, message, _)] = site.delivery.sent
    assert message == Message("ann@example.test", b"Subject: hello\r\n\r\nend\r\n", eight_bit=False)


async def test_recipients_of_one_next_hop_share_a_transaction(site: Site) -> None:
    await site.give("a@far.test", "b@FAR.test", "c@other.test")
    await site.log.until("queue.delivered", 2)
    assert sorted(recipients for _, _, recipients in site.delivery.sent) == [
        ["a@far.test", "b@FAR.test"],
        ["c@other.test"],
    ]
    site.settings = replace(site.settings, smtp_relayer="relay.test")
    await site.give("a@far.test", "b@far.test", "c@other.test")
    await site.log.until("queue.delivered", 3)
    route, _, recipients = site.delivery.sent[-1]
    assert route.hosts == ("relay.test",)
    assert recipients == ["a@far.test", "b@far.test", "c@other.test"]


async def test_many_recipients_are_several_transactions(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OUT_RECIPIENTS", 2)
    await site.give(*(f"{number}@far.test" for number in range(5)))
    await site.log.until("queue.delivered", 3)
    assert sorted(len(recipients) for _, _, recipients in site.delivery.sent) == [1, 2, 2]
    assert await site.waiting() == []


async def test_it_is_tried_again_as_often_as_the_settings_say_then_returned(site: Site) -> None:
    site.delivery.says["joe@far.test"] = BUSY
    await site.give("joe@far.test")
    await site.log.until("queue.deferred", 1)
    assert (await site.waiting())[0].next_try.minute == NOW.minute + 10
    assert await site.advance(599) == 0
    assert await site.advance(1) == 1
    await site.log.until("queue.deferred", 2)
    assert await site.advance(600) == 1
    [event] = await site.log.until("queue.returned")
    assert event["reason"] == "busy"
    assert await site.waiting() == []
    [report] = await site.inbox()
    assert report.startswith(b"Return-Path: <>\r\nFrom: Mail Delivery System")
    assert b"given up after 3 tries" in report
    assert len(site.delivery.sent) == 3


async def test_it_wakes_by_itself_when_something_is_due(site: Site) -> None:
    site.settings = replace(site.settings, smtp_minutes_between_try=0)
    site.clock = Clock()  # a clock that goes
    site.worker._clock = site.clock
    site.delivery.says["joe@far.test"] = BUSY
    await site.give("joe@far.test")
    await site.log.until("queue.returned")
    assert len(site.delivery.sent) == 3


async def test_a_refusal_is_returned_at_once_and_the_others_go_on(site: Site) -> None:
    site.delivery.says = {"no@far.test": UNKNOWN, "busy@far.test": BUSY}
    await site.give("yes@far.test", "no@far.test", "busy@far.test")
    await site.log.until("queue.returned")
    [left] = await site.waiting()
    assert left.recipients == ("busy@far.test",)
    [report] = await site.inbox()
    assert b"Final-Recipient: rfc822; no@far.test" in report
    assert b"yes@far.test" not in report
    assert b"busy@far.test" not in report


async def test_the_report_to_a_remote_sender_goes_into_the_queue(site: Site) -> None:
    site.delivery.says = {"joe@far.test": UNKNOWN}
    await site.give("joe@far.test", sender="sue@other.test")
    await site.log.until("queue.delivered")
    _, report, recipients = site.delivery.sent[-1]
    assert (report.sender, recipients) == ("", ["sue@other.test"])
    assert report.content.startswith(b"From: Mail Delivery System")
    assert await site.waiting() == []


@pytest.mark.parametrize("sender", ["", "gone@example.test"])
async def test_where_nobody_is_to_be_told_nobody_is(site: Site, sender: str) -> None:
    site.delivery.says = {"joe@far.test": UNKNOWN}
    await site.give("joe@far.test", sender=sender)
    await site.log.until("queue.dropped")
    assert await site.waiting() == []
    assert await site.inbox() == []
    assert len(site.delivery.sent) == 1


async def test_a_fault_of_ours_loses_nothing_and_does_not_spin(site: Site) -> None:
    site.delivery.says = {"joe@far.test": RuntimeError("a bug")}
    await site.give("joe@far.test")
    await site.log.until("queue.deferred")
    assert "a bug" in site.log.named("queue.error")[0]["error"]
    site.delivery.says.clear()
    assert await site.advance(600) == 1
    await site.log.until("queue.delivered")


async def test_what_was_delivered_is_settled_whatever_it_takes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "QUEUE_RETRY", 0.01)
    right, failures = site.queue.settle, [OSError("disk full"), OSError("disk full")]

    async def settle(*args: Any, **more: Any) -> bool:
        if failures:
            raise failures.pop()
        return await right(*args, **more)

    monkeypatch.setattr(site.queue, "settle", settle)
    await site.give("joe@far.test")
    await site.log.until("queue.delivered")
    assert len(site.delivery.sent) == 1
    assert len(site.log.named("queue.error")) == 2


async def test_a_queue_that_cannot_be_read_is_asked_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "QUEUE_RETRY", 0.01)
    right, failures = site.queue.lease, [OSError("disk full")]

    async def lease(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return await right(*args)

    monkeypatch.setattr(site.queue, "lease", lease)
    await site.give("joe@far.test")
    await site.log.until("queue.delivered")


async def test_one_that_is_deleted_while_it_is_sent_leaves_nothing(site: Site) -> None:
    site.delivery.gate = asyncio.Event()
    site.delivery.says = {"joe@far.test": UNKNOWN}
    await site.give("joe@far.test")
    await _until(lambda: site.delivery.sent)
    await site.database.write(lambda db: queue.remove(db, 1))
    site.delivery.gate.set()
    await site.log.until("queue.gone")
    assert await site.inbox() == []


async def test_a_stop_lets_it_end(site: Site) -> None:
    site.delivery.gate = asyncio.Event()
    await site.give("joe@far.test")
    await _until(lambda: site.delivery.sent)
    stopping = asyncio.create_task(site.worker.stop(30))
    await _until(lambda: not site.delivery.open)
    site.delivery.gate.set()
    await stopping
    assert len(site.log.named("queue.delivered")) == 1
    assert await site.waiting() == []


async def test_a_stop_that_waits_no_longer_gives_it_back(site: Site) -> None:
    site.delivery.gate = asyncio.Event()
    await site.give("joe@far.test")
    await _until(lambda: site.delivery.sent)
    await site.worker.stop(0)
    assert site.log.named("queue.delivered") == []
    # Due as before, for whoever comes next; nothing was counted.
    [leased] = await SqlMailQueue(site.database, site.store).lease(NOW, 10)
    assert [each.tries for each in leased.recipients] == [0]


async def test_while_it_pauses_nothing_begins_and_what_runs_goes_on(site: Site) -> None:
    site.delivery.gate = asyncio.Event()
    await site.give("joe@far.test")
    await _until(lambda: site.delivery.sent)
    await site.worker.pause()
    await site.give("sue@far.test")
    site.delivery.gate.set()
    await site.log.until("queue.delivered")
    assert len(site.delivery.sent) == 1
    site.worker.start()
    await site.log.until("queue.delivered", 2)


async def test_more_than_it_sends_at_a_time_waits(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "QUEUE_MESSAGES", 4)
    for number in range(20):
        await site.give(f"{number}@far.test")
    await site.log.until("queue.delivered", 20)
    assert await site.waiting() == []
    assert len(site.delivery.sent) == 20


async def _until(wanted: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not wanted():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)
