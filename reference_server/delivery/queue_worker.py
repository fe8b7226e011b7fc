"""Sends what is in the queue: takes what is due, delivers it, keeps what became of it, sleeps until the next.

It wakes for new mail and at the next due time. What became of each recipient is kept as soon as it is known,
with the report to the sender if there is one, in one transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol as Interface

from reference_server import limits
from reference_server.clock import Clock
from reference_server.delivery import bounce, retry, trace
from reference_server.delivery.next_hop import Route, route_of
from reference_server.delivery.results import Outcome, Result, later
from reference_server.delivery.smtp_client import Message
from reference_server.log import Log
from reference_server.session import Accounts, NewMail
from reference_server.settings import ServerSettings
from reference_server.storage.queue import Later, Leased, Recipient, Settlement, SqlMailQueue

INTERNAL = later("4.3.0", "internal error of this server; see its log")


class Delivery(Interface):
    """How a message gets to a next hop (`relay.Relay`)."""

    async def deliver(
        self, route: Route, message: Message, recipients: Sequence[str]
    ) -> Mapping[str, Result]: ...
    def close(self) -> None: ...
    async def settle(self, limit: float) -> None: ...
    def reopen(self) -> None: ...


class QueueWorker:
    """The one worker of a server (implements `session.MailQueue`). `start` it, `stop` it."""

    def __init__(
        self,
        queue: SqlMailQueue,
        delivery: Delivery,
        accounts: Accounts,
        settings: Callable[[], ServerSettings],
        clock: Clock,
        log: Log,
    ) -> None:
        self._queue = queue
        self._delivery = delivery
        self._accounts = accounts
        self._settings = settings
        self._clock = clock
        self._log = log
        self._woken = asyncio.Event()
        self._taking = asyncio.Lock()
        self._deliveries = asyncio.Semaphore(limits.OUT_DELIVERIES)
        self._sending: dict[int, asyncio.Task[None]] = {}
        self._loop: asyncio.Task[None] | None = None
        self.begun = 0
        """How often a message was begun with, since the start."""

    # --- for the server -------------------------------------------------------------------------------

    async def accept(self, mail: NewMail) -> None:
        """Keep a message, and have it sent soon. See `session.MailQueue`."""
        await self._queue.accept(mail)
        self.wake()

    def wake(self) -> None:
        """Look at the queue soon: it has changed, or the clock has."""
        self._woken.set()

    async def look(self) -> None:
        """Begin with everything that is due now, as far as there is room."""
        while await self._take(limits.QUEUE_MESSAGES - len(self._sending)):
            pass
        self.wake()

    def start(self) -> None:
        """Begin to work, or go on after `pause`. What an earlier run left is taken back by the caller."""
        self._delivery.reopen()
        self._loop = asyncio.get_running_loop().create_task(self._run(), name="queue")

    async def pause(self) -> None:
        """Begin with nothing new, and end the connections that are idle; what is being sent goes on."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait([self._loop])
            self._loop = None
        self._delivery.close()

    async def stop(self, grace: float) -> None:
        """Pause; let what is being sent end within ``grace`` seconds, then cut it off and give it back."""
        await self.pause()
        if self._sending:
            await asyncio.wait(self._sending.values(), timeout=grace)
        left = dict(self._sending)
        self.hurry()
        if left:
            await asyncio.wait(left.values())
            with contextlib.suppress(Exception):  # the next run takes them back
                await self._queue.release(tuple(left))
        await self._delivery.settle(limits.ABORT_GRACE)

    def hurry(self) -> None:
        """Cut off what is being sent."""
        for task in self._sending.values():
            task.cancel()

    # --- taking ---------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                wait = await self._work()
            except Exception as error:  # noqa: BLE001 - the queue has to live on, and to say so
                self._log.error("queue.error", error=repr(error))
                wait = limits.QUEUE_RETRY
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._woken.wait()

    async def _work(self) -> float:
        """Begin with what is due; return after how many seconds to look again, unless woken before."""
        free = limits.QUEUE_MESSAGES - len(self._sending)
        if free < limits.QUEUE_MESSAGES // 2:
            # Not for each one that ends: every lease is a write.
            return limits.QUEUE_LOOK
        if await self._take(free) == free:
            return 0
        due = await self._queue.next_due(tuple(self._sending))
        if due is None:
            return limits.QUEUE_LOOK
        return min(max((due - self._clock()).total_seconds(), 0), limits.QUEUE_LOOK)

    async def _take(self, limit: int) -> int:
        if limit <= 0:
            return 0
        async with self._taking:
            found = await self._queue.lease(self._clock(), limit, tuple(self._sending))
            for leased in found:
                task = asyncio.get_running_loop().create_task(self._send(leased))
                self._sending[leased.id] = task
                task.add_done_callback(partial(self._sent, leased.id))
            self.begun += len(found)
        return len(found)

    def _sent(self, message_id: int, task: asyncio.Task[None]) -> None:
        if self._sending.get(message_id) is task:
            del self._sending[message_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("queue.error", message=message_id, error=repr(error))
        self.wake()

    # --- sending --------------------------------------------------------------------------------------

    async def _send(self, leased: Leased) -> None:
        """Deliver one message to everybody who is due."""
        try:
            content = leased.content
            if content is None:
                content = await self._queue.content(leased.id)
        except LookupError:
            return
        except Exception:
            # Still ours, and due: not at once again.
            await asyncio.sleep(limits.QUEUE_RETRY)
            raise
        message = Message(leased.sender, content, leased.eight_bit)
        groups = list(_groups(self._settings(), leased.recipients))
        left = len(groups)

        async def deliver(route: Route, some: Sequence[Recipient]) -> None:
            nonlocal left
            addresses = [each.address for each in some]
            async with self._deliveries:
                try:
                    results = await self._delivery.deliver(route, message, addresses)
                except Exception as error:  # noqa: BLE001 - a fault of ours must not lose mail, nor spin
                    self._log.error("queue.error", message=leased.id, error=repr(error))
                    results = dict.fromkeys(addresses, INTERNAL)
            left -= 1
            settled = [(recipient, results[recipient.address]) for recipient in some]
            await self._settle(leased, content, settled, release=left == 0)

        async with asyncio.TaskGroup() as group:
            for route, some in groups:
                group.create_task(deliver(route, some))

    async def _settle(
        self, leased: Leased, content: bytes, results: Sequence[tuple[Recipient, Result]], *, release: bool
    ) -> None:
        """Keep what became of recipients, whatever it takes: what was delivered must not be sent again."""
        done: list[int] = []
        again: dict[int, Later] = {}
        lost: list[bounce.NotReached] = []
        settings, now = self._settings(), self._clock()
        for recipient, result in results:
            tries = recipient.tries + 1
            if result.outcome is Outcome.LATER:
                next_try = retry.decide(
                    tries,
                    now,
                    number=settings.smtp_no_of_tries,
                    minutes=settings.smtp_minutes_between_try,
                )
                if isinstance(next_try, retry.Again):
                    again[recipient.id] = Later(next_try.at, tries, result.reason)
                    continue
                lost.append(bounce.NotReached(recipient.address, result, next_try.reason))
            elif result.outcome is Outcome.FAILED:
                lost.append(bounce.NotReached(recipient.address, result))
            done.append(recipient.id)
        reports = self._reports(leased, content, lost)
        settlement = Settlement(leased.id, tuple(done), again, reports)
        # Not cut off when the server stops: the database finishes what it was given.
        ours = await asyncio.shield(self._keep(settlement, release=release))
        if release:
            self._sending.pop(leased.id, None)  # it may be due again at once
        self._tell(leased, results, lost, reported=bool(reports), ours=ours)
        if reports:
            self.wake()

    async def _keep(self, settlement: Settlement, *, release: bool) -> bool:
        while True:
            try:
                return await self._queue.settle(settlement, release=release)
            except Exception as error:  # noqa: BLE001 - a full disk, say: sent again, it would come twice
                self._log.error("queue.error", message=settlement.message_id, error=repr(error))
                await asyncio.sleep(limits.QUEUE_RETRY)

    def _reports(
        self, leased: Leased, content: bytes, lost: Sequence[bounce.NotReached]
    ) -> tuple[NewMail, ...]:
        """Return the report to the sender; none to the null sender, nor to an account that we do not have."""
        if not lost or not leased.sender:
            return ()
        account = self._accounts.find(leased.sender)
        domain = leased.sender.rpartition("@")[2]
        local = account is not None or self._accounts.is_local_domain(domain)
        if local and account is None:
            return ()
        now = self._clock()
        identity = f"{int(now.timestamp()):x}.{leased.id:x}.{secrets.token_hex(8)}"
        returned = bounce.Returned(
            leased.sender, content, leased.received, leased.trace_id, leased.helo, leased.peer, lost
        )
        header = trace.return_path("")
        text = header + bounce.report(returned, self._settings().host_name, now, identity)
        accounts, remote = ((account.id,), ()) if account is not None else ((), (leased.sender,))
        return (NewMail("", text, len(header), now, accounts, remote, identity),)

    def _tell(
        self,
        leased: Leased,
        results: Sequence[tuple[Recipient, Result]],
        lost: Sequence[bounce.NotReached],
        *,
        reported: bool,
        ours: bool,
    ) -> None:
        """Say in the log what became of recipients: an event for each kind."""
        said = {"message": leased.id, "id": leased.trace_id}
        if not ours:
            self._log.warning("queue.gone", **said, reason="deleted while it was being sent")
            return
        delivered = [result for _, result in results if result.outcome is Outcome.DELIVERED]
        waiting = len(results) - len(delivered) - len(lost)
        if delivered:
            self._log.info("queue.delivered", **said, recipients=len(delivered), remote=delivered[0].remote)
        if waiting:
            reason = next(result.reason for _, result in results if result.outcome is Outcome.LATER)
            self._log.info("queue.deferred", **said, recipients=waiting, reason=reason)
        if lost:
            name = "queue.returned" if reported else "queue.dropped"
            self._log.warning(name, **said, recipients=len(lost), reason=lost[0].result.reason)


def _groups(
    settings: ServerSettings, recipients: Sequence[Recipient]
) -> Iterator[tuple[Route, Sequence[Recipient]]]:
    """Yield those who share a next hop together: they share a transaction (RFC 5321 section 4.5.4.1)."""
    groups: dict[Route, list[Recipient]] = {}
    for recipient in recipients:
        groups.setdefault(route_of(settings, recipient.address), []).append(recipient)
    for route, some in groups.items():
        for start in range(0, len(some), limits.OUT_RECIPIENTS):
            yield route, some[start : start + limits.OUT_RECIPIENTS]
