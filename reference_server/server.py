"""The composition root: the one module that wires everything; start, reinitialize, stop.

A quick start has an order: lock, database, operations, listeners; then, while clients are already greeted,
the administration, whose imports take as long as all the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime

from reference_server import __version__, limits
from reference_server.addresses import IPAddress, address_text
from reference_server.admin.operations import Operations
from reference_server.administration import Administration
from reference_server.clock import Clock, utc_now
from reference_server.control import ListenerStatus, ServerStatus
from reference_server.data_directory import DataDirectory
from reference_server.delivery.next_hop import Bound
from reference_server.delivery.queue_worker import QueueWorker
from reference_server.delivery.relay import Relay
from reference_server.delivery.resolver import Dns
from reference_server.listening import admission, gate, os_ipv6
from reference_server.listening.control_socket import ControlSocket
from reference_server.listening.ip_ranges import RangeTable
from reference_server.listening.sessions import OpenSessions
from reference_server.listening.tls import server_context
from reference_server.log import Log
from reference_server.options import Options
from reference_server.protocols import open_session, preload
from reference_server.session import Services, Session
from reference_server.settings import IpRange, Port, Protocol, ServerSettings
from reference_server.storage import first_start
from reference_server.storage.database import Database
from reference_server.storage.mailboxes import SqlMailStore
from reference_server.storage.queue import SqlMailQueue

NO_IPV6 = (
    "the operating system had no IPv6 when the server was started; enable it there, then restart the server"
)


class Server:
    """The running server (`control.ServerControl`). `start` once, `stop` once, in one loop."""

    def __init__(
        self,
        options: Options,
        log: Log,
        *,
        announce: Callable[[str], None] = lambda _text: None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """``announce`` is given what a person who starts the server must read, the password for one."""
        self._options = options
        self._log = log
        self._announce = announce
        self._now = Clock(now)
        self._state = "starting"
        self._generation = 0
        self._processed = 0
        self._ipv6_available = False
        self._listeners: tuple[ListenerStatus, ...] = ()
        self._settings = ServerSettings()
        self._ranges: tuple[IpRange, ...] = ()
        self._table = RangeTable.build((), now())
        self._building = asyncio.Lock()
        self._look_timer: asyncio.TimerHandle | None = None
        self._reinitializing = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._complete = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sessions = OpenSessions(self._session_finished)
        self._operations: Operations | None = None
        self._gate: gate.Gate | None = None
        self._worker: QueueWorker | None = None
        self._administration: Administration | None = None
        self._closing = contextlib.AsyncExitStack()

    # --- life -----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start everything; when this returns, the listeners are open and the administration is coming.

        Raises DataDirectoryError, StorageError, InvalidField: then nothing is left behind.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        options = self._options
        self._closing.enter_context(DataDirectory(options.data_dir))
        database = await Database.open(options.database_url)
        self._closing.push_async_callback(database.close)
        password = await first_start.prepare(
            database,
            port_offset=options.port_offset,
            bare=options.bare,
            admin_password=options.admin_password,
            cheap_hashes=options.cheap_password_hashes,
        )
        if password is not None:
            self._announce(f"The password of Administrator, shown this once: {password}")
        operations = await Operations.load(
            database, now=self._now, cheap_hashes=options.cheap_password_hashes
        )
        operations.attach(self)
        self._operations = operations
        self._ipv6_available = os_ipv6.available()
        mail = SqlMailStore(database)
        queue = SqlMailQueue(database, mail)
        await queue.recover()
        relay = Relay(self._dns, self._bound, self._now)
        self._worker = QueueWorker(
            queue, relay, operations.accounts, lambda: self._settings, self._now, self._log
        )
        services = Services(
            settings=lambda: self._settings,
            accounts=operations.accounts,
            mail=mail,
            queue=self._worker,
            now=self._now,
            finished=self._sessions.finish,
            message_accepted=self._message_accepted,
        )
        self._gate = gate.Gate(self._admit, open_session, self._sessions, services, self._log)
        await self._open_services()
        self._worker.start()
        await self._open_control()
        self._spawn(self._reinitialize_on_request())
        self._administration = Administration(options, operations, self._log, self._announce)
        self._spawn(self._open_administration(self._administration))

    async def _open_administration(self, administration: Administration) -> None:
        try:
            await administration.start()
        finally:
            self._complete.set()

    async def complete(self) -> None:
        """Return when the administration is open as well, or was reported."""
        await self._complete.wait()

    async def stop(self) -> None:
        """Let what is running finish, for a bounded time, then end everything. Leaves nothing behind."""
        self._state = "stopping"
        if self._gate is not None:
            self._gate.close()
        if self._look_timer is not None:
            self._look_timer.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._gate is not None:
            self._gate.close()  # what a reinitialize may have opened while it was cancelled
        try:
            async with asyncio.TaskGroup() as ends:
                ends.create_task(self._end_sessions())
                if self._worker is not None:
                    ends.create_task(self._worker.stop(limits.STOP_GRACE))
                if self._administration is not None:
                    ends.create_task(self._administration.stop())
            if self._gate is not None:
                await self._gate.settle()
        finally:
            await self._closing.aclose()
        if self._generation:
            self._log.info("server.stopped")

    async def _end_sessions(self) -> None:
        leaving = self._sessions.open_now()
        self._sessions.shutdown()
        if not await self._sessions.ended(leaving, limits.STOP_GRACE):
            self._sessions.abort(leaving)
            await self._sessions.ended(leaving, limits.ABORT_GRACE)

    def hurry(self) -> None:
        """Cut off whoever is still there: the person who stops the server will not wait."""
        self._sessions.abort(self._sessions.open_now())
        if self._worker is not None:
            self._worker.hurry()

    async def reinitialize(self) -> None:
        """Stop the services and start them again from the configuration as it is now, in this process.

        Sessions end politely: idle ones before the listeners open again, the others after the command that
        is running, and after `limits.STOP_GRACE` at the latest. Mail that is being sent goes on, and so does
        the administration.
        """
        assert self._gate is not None
        assert self._worker is not None
        async with self._reinitializing:
            self._state = "reinitializing"
            self._gate.close()
            await self._worker.pause()
            self._listeners = ()
            leaving = self._sessions.open_now()
            self._sessions.shutdown()
            if not await self._sessions.ended(leaving, limits.REINITIALIZE_GRACE):
                self._spawn(self._cut_off(leaving))
            try:
                await self._open_services()
            finally:
                self._worker.start()

    async def _reinitialize_on_request(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self.reinitialize()
            except Exception as error:  # noqa: BLE001 - the server has to live on, and to say so
                self._log.error("reinitialize.failed", error=repr(error))
                self._state = "running"

    async def _cut_off(self, sessions: Sequence[int]) -> None:
        if not await self._sessions.ended(sessions, limits.STOP_GRACE):
            self._sessions.abort(sessions)

    async def _open_services(self) -> None:
        """Open a listener for each configured port; one that cannot open is reported, the others run."""
        assert self._operations is not None
        self._settings = self._operations.settings()
        self._ranges = self._operations.ranges()
        await self._rebuild_table()
        ports = self._operations.ports()
        await asyncio.to_thread(preload, {port.protocol for port in ports})
        contexts: dict[int, ssl.SSLContext] = {}
        self._listeners = tuple([self._open_listener(port, contexts) for port in ports])
        self._generation += 1
        self._state = "running"
        self._log.info("listeners.ready", generation=self._generation)

    def _open_listener(self, port: Port, contexts: dict[int, ssl.SSLContext]) -> ListenerStatus:
        assert self._gate is not None
        said = {"port_id": port.id, "protocol": port.protocol.value, "address": address_text(port.address)}
        reason = ""
        if port.address.version == 6 and not self._ipv6_available:
            reason = NO_IPV6
        else:
            try:
                number = self._gate.open(port, self._context(port, contexts))
            except OSError as error:
                reason = gate.cause(error)
        if reason:
            self._log.error("listener.failed", **said, port=port.port, error=reason)
            return ListenerStatus(port, port.port, open=False, error=reason)
        self._log.info("listener.open", **said, port=number)
        return ListenerStatus(port, number, open=True)

    def _context(self, port: Port, contexts: dict[int, ssl.SSLContext]) -> ssl.SSLContext | None:
        """Return the context of the port's certificate, read from its files at every (re)start."""
        assert self._operations is not None
        wanted = port.certificate_id
        for certificate in self._operations.certificates():
            if certificate.id == wanted and wanted not in contexts:
                contexts[wanted] = server_context(certificate)
        return None if wanted is None else contexts.get(wanted)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._log.error("server.error", error=repr(task.exception()))

    # --- clients --------------------------------------------------------------------------------------

    def _admit(self, peer: IPAddress, protocol: Protocol) -> admission.Decision:
        now = self._now()
        if not self._table.good_at(now):
            self._look_at_table()
        return admission.decide(peer, protocol, self._table, self._sessions.counts, self._settings, now)

    def _session_finished(self, session: Session, reason: str) -> None:
        seconds = (self._now() - session.started).total_seconds()
        self._log.info("session.finished", **gate.describe(session), reason=reason, seconds=round(seconds, 3))
        if self._gate is not None:
            self._gate.descriptor_freed()

    def _message_accepted(self) -> None:
        self._processed += 1

    # --- outgoing mail --------------------------------------------------------------------------------

    def _dns(self) -> Dns:
        return Dns(self._settings.dns_server, ipv6=self._ipv6_available)

    def _bound(self) -> tuple[Bound, ...]:
        """Return where our listeners are: mail for one of them would come back to us."""
        return tuple(Bound(each.port.address, each.number) for each in self._listeners if each.open)

    async def _open_control(self) -> None:
        """Open the control socket, when the options name one; its trouble is reported."""
        path = self._options.control_socket
        if path is None:
            return
        control = ControlSocket(path, self._advance, self._log)
        try:
            await control.open()
        except OSError as error:
            self._log.error("control.failed", path=str(path), error=error.strerror or str(error))
        else:
            self._closing.push_async_callback(control.close)

    async def _advance(self, seconds: float) -> Mapping[str, object]:
        """Move the clock, and look at everything that it makes due."""
        assert self._worker is not None
        before = self._worker.begun
        self._now.advance(seconds)
        if not self._table.good_at(self._now()):
            await self._rebuild_table()
        await self._worker.look()
        return {
            "now": self._now().isoformat(timespec="seconds"),
            "begun": self._worker.begun - before,
        }

    # --- control.ServerControl ------------------------------------------------------------------------

    def status(self) -> ServerStatus:
        """See `control.ServerControl`."""
        return ServerStatus(
            version=__version__,
            state=self._state,
            generation=self._generation,
            processed_messages=self._processed,
            sessions={protocol.value: count for protocol, count in self._sessions.counts.items()},
            ipv6_available=self._ipv6_available,
            listeners=self._listeners,
        )

    async def ranges_changed(self, ranges: Sequence[IpRange]) -> None:
        """See `control.ServerControl`."""
        self._ranges = tuple(ranges)
        await self._rebuild_table()

    def settings_changed(self, settings: ServerSettings) -> None:
        """See `control.ServerControl`."""
        self._settings = settings

    def queue_changed(self) -> None:
        """See `control.ServerControl`."""
        if self._worker is not None:
            self._worker.wake()

    def request_reinitialize(self) -> None:
        """See `control.ServerControl`."""
        if self._state != "stopping":
            self._state = "reinitializing"
            self._wanted.set()

    # --- the table of IP ranges -----------------------------------------------------------------------

    async def _rebuild_table(self) -> None:
        """Put a new table in the place of the old one, at once, when it is complete."""
        async with self._building:
            self._table = await RangeTable.build_cooperatively(self._ranges, self._now())
        self._set_look_timer()

    def _set_look_timer(self) -> None:
        """Have the table looked at when the earliest of its winners expires."""
        if self._look_timer is not None:
            self._look_timer.cancel()
        delay = limits.RANGES_LOOK
        if self._table.good_until is not None:
            delay = min(delay, max(0.01, (self._table.good_until - self._now()).total_seconds()))
        self._look_timer = asyncio.get_running_loop().call_later(delay, self._look_at_table)

    def _look_at_table(self) -> None:
        """Rebuild the table if it is not good any more, and nobody is about it."""
        if self._state == "stopping" or self._building.locked():
            return
        if self._table.good_at(self._now()):
            self._set_look_timer()
        else:
            self._spawn(self._rebuild_table())
