"""How each fault is built into the reference server of this process: by replacing one part of it.

The server's modules are imported when a fault is applied, not before: the catalogue is read by processes
that run no server. A part that is no longer where it was is an error at once (`parts`), never a
fault that silently does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

from conformance.selftest.parts import replace_part as _replace

if TYPE_CHECKING:
    from reference_server.addresses import IPAddress
    from reference_server.listening.gate import Listener
    from reference_server.session import NewMail
    from reference_server.settings import IpRange, Port

STORED_AFTER = 30.0
"""Seconds from the 250 until a message is stored, unless somebody asks for the mailbox before."""
_GREETINGS = {"smtp": b"220 localhost ESMTP\r\n", "pop3": b"+OK ready\r\n", "imap": b"* OK ready\r\n"}


def _change_ranges(change: Callable[[IpRange], IpRange | None]) -> None:
    """Let every range table be built from changed ranges; None leaves a range out."""
    from reference_server.listening.ip_ranges import RangeTable

    build, cooperatively = RangeTable.build, RangeTable.build_cooperatively

    def changed(ranges: Sequence[IpRange]) -> list[IpRange]:
        return [other for other in map(change, ranges) if other is not None]

    @functools.wraps(build)
    def wrong_build(ranges: Sequence[IpRange], now: datetime) -> RangeTable:
        return build(changed(ranges), now)

    @functools.wraps(cooperatively)
    async def wrong_cooperatively(ranges: Sequence[IpRange], now: datetime) -> RangeTable:
        return await cooperatively(changed(ranges), now)

    _replace(RangeTable, "build", staticmethod(wrong_build))
    _replace(RangeTable, "build_cooperatively", staticmethod(wrong_cooperatively))


def upper_bound_exclusive() -> None:
    """``lower <= address < upper``: a range of one address holds none."""
    _change_ranges(lambda one: None if one.lower == one.upper else replace(one, upper=one.upper - 1))


def lowest_priority_wins() -> None:
    """The priorities are compared the wrong way round."""
    _change_ranges(lambda one: replace(one, priority=-one.priority))


def only_upper_64_bits_compared() -> None:
    """The lower halves of an IPv6 range's bounds and of the client do not count."""
    low = (1 << 64) - 1

    def wrong(one: IpRange) -> IpRange:
        if one.lower.version == 4:
            return one
        lower, upper = IPv6Address(int(one.lower) & ~low), IPv6Address(int(one.upper) | low)
        return replace(one, lower=lower, upper=upper)

    _change_ranges(wrong)


def greeting_before_range_check() -> None:
    """A client that is going to be refused is greeted first."""
    from reference_server.addresses import peer_address
    from reference_server.listening.admission import Refused
    from reference_server.listening.gate import Gate

    receive = Gate.receive

    def wrong(self: Gate, listener: Listener, client: socket.socket, address: Any) -> None:
        protocol = listener.port.protocol
        if isinstance(self._admit(peer_address(address[0]), protocol), Refused):
            with contextlib.suppress(OSError):
                client.sendall(_GREETINGS[protocol])
        receive(self, listener, client, address)

    _replace(Gate, "receive", wrong)


def ipv6_wildcard_takes_ipv4() -> None:
    """IPv6 sockets are dual-stack."""
    from reference_server.listening import gate

    open_socket = gate.open_socket

    def wrong(address: IPAddress, number: int) -> socket.socket:
        if address.version == 4:
            return open_socket(address, number)
        listening = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.setblocking(False)
            listening.bind((address.compressed, number))
            listening.listen(100)
        except OSError:
            listening.close()
            raise
        return listening

    _replace(gate, "open_socket", wrong)


def gate_blocks_on_one_client() -> None:
    """A listener takes one client, and the next when that one has said something, or has left."""
    from reference_server import limits
    from reference_server.listening.gate import Gate
    from reference_server.listening.sessions import OpenSessions
    from reference_server.protocols.conversation import Conversation
    from reference_server.session import Session

    welcome, finish, data_received = Gate._welcome, OpenSessions.finish, Conversation.data_received
    blocked: dict[int, Callable[[], None]] = {}

    def wrong_welcome(self: Gate, listener: Listener, client: socket.socket, session: Session) -> None:
        def next_one() -> None:
            if listener.socket.fileno() >= 0:
                self._loop.add_reader(listener.socket.fileno(), self._accept, listener)

        self._loop.remove_reader(listener.socket.fileno())
        blocked[session.id] = next_one
        welcome(self, listener, client, session)

    def wrong_finish(self: OpenSessions, session: Session, reason: str) -> None:
        blocked.pop(session.id, lambda: None)()
        finish(self, session, reason)

    def wrong_data_received(self: Conversation, data: bytes) -> None:
        blocked.pop(self.client.id, lambda: None)()
        data_received(self, data)

    _replace(limits, "ACCEPT_BATCH", 1)
    _replace(Gate, "_welcome", wrong_welcome)
    _replace(OpenSessions, "finish", wrong_finish)
    _replace(Conversation, "data_received", wrong_data_received)


def pop3_not_gated() -> None:
    """The POP3 listener never asks for admission."""
    import reference_server.server  # noqa: F401 - whoever uses `decide` is to be loaded
    from reference_server.listening import admission
    from reference_server.settings import IpRange, Protocol

    decide = admission.decide

    @functools.wraps(decide)
    def wrong(peer: IPAddress, protocol: Protocol, *args: Any, **kwargs: Any) -> Any:
        decision = decide(peer, protocol, *args, **kwargs)
        refused = isinstance(decision, admission.Refused) and decision.reason != admission.LIMIT_REACHED
        if protocol is Protocol.POP3 and refused:
            return admission.Admitted(IpRange(id=0, name="nobody asked", priority=0, lower=peer, upper=peer))
        return decision

    _replace(admission, "decide", wrong)


def ipv6_listening_by_default() -> None:
    """The shipped ports are there for both families."""
    from reference_server.storage import first_start

    default_ports = first_start.default_ports

    def wrong(offset: int) -> list[Port]:
        ports = list(default_ports(offset))
        return [*ports, *(replace(port, address=IPv6Address("::")) for port in ports)]

    _replace(first_start, "default_ports", wrong)


def acknowledged_before_stored() -> None:
    """`deliver` and `accept` return at once; the message is stored later, or when somebody looks."""
    from reference_server.storage.mailboxes import SqlMailStore
    from reference_server.storage.queue import SqlMailQueue

    accept = SqlMailQueue.accept
    deliver, mailboxes, messages = SqlMailStore.deliver, SqlMailStore.mailboxes, SqlMailStore.messages
    waiting: list[Callable[[], Any]] = []
    tasks: set[asyncio.Task[None]] = set()

    async def store() -> None:
        while waiting:
            await waiting.pop(0)()

    def store_now() -> None:
        task = asyncio.get_running_loop().create_task(store())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def wrong_deliver(
        self: SqlMailStore, account_ids: Sequence[int], content: bytes, received: datetime
    ) -> None:
        waiting.append(functools.partial(deliver, self, account_ids, content, received))
        asyncio.get_running_loop().call_later(STORED_AFTER, store_now)

    async def wrong_accept(self: SqlMailQueue, mail: NewMail) -> None:
        waiting.append(functools.partial(accept, self, mail))
        asyncio.get_running_loop().call_later(STORED_AFTER, store_now)

    async def looking_mailboxes(self: SqlMailStore, account_id: int) -> Any:
        await store()
        return await mailboxes(self, account_id)

    async def looking_messages(self: SqlMailStore, mailbox_id: int) -> Any:
        await store()
        return await messages(self, mailbox_id)

    _replace(SqlMailStore, "deliver", wrong_deliver)
    _replace(SqlMailQueue, "accept", wrong_accept)
    _replace(SqlMailStore, "mailboxes", looking_mailboxes)
    _replace(SqlMailStore, "messages", looking_messages)


def ranges_cached_until_restart() -> None:
    """The running server is not told of changed ranges."""
    from reference_server.server import Server

    async def wrong(_self: Server, _ranges: Sequence[IpRange]) -> None:
        return None

    _replace(Server, "ranges_changed", wrong)


def storage_not_synced() -> None:
    """The database leaves the writing to disk to the system."""
    from reference_server.storage.database import Database

    open_ = Database.open

    async def wrong(url: str, *, synced: bool = True) -> Database:  # noqa: ARG001 - that is the fault
        return await open_(url, synced=False)

    _replace(Database, "open", staticmethod(wrong))
