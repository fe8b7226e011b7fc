"""Opening a connection: the source address, and several addresses with a head start for the earlier ones."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from reference_server import limits
from reference_server.addresses import IPAddress, peer_address
from reference_server.clock import Clock
from reference_server.delivery.next_hop import Target
from reference_server.delivery.wire import Wire, cancelled, words

# Linux; Python does not name them.
_IP_BIND_ADDRESS_NO_PORT = 24
_IPV6_ADDR_PREFERENCES = 72
_IPV6_PREFER_SRC_PUBLIC = 0x0002


class Unreachable(Exception):  # noqa: N818 - an answer
    """No connection; the message says why, in plain words."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The first connection that came about."""

    target: Target
    wire: Wire


async def open_first(
    targets: Sequence[Target], bind: IPAddress | None, clock: Clock
) -> tuple[Opened | None, dict[Target, str]]:
    """Connect to the first of ``targets`` that answers; return it, and why those did not that failed.

    One after the other, but one that is silent for `limits.OUT_HEAD_START` has the next one tried beside it
    (RFC 8305): a black hole costs this time, not the time-out of TCP. Those that were still being tried have
    no reason in the result: they may be asked again.
    """
    failed: dict[Target, str] = {}
    running: dict[asyncio.Task[Wire], Target] = {}
    waiting = list(targets)
    try:
        while waiting or running:
            if waiting:
                target = waiting.pop(0)
                running[asyncio.create_task(open_one(target, bind, clock))] = target
            done = await _first(running, limits.OUT_HEAD_START if waiting else None)
            # In the order in which they were begun: of two that answered the earlier one is meant.
            for task in [each for each in running if each in done]:
                target = running.pop(task)
                try:
                    return Opened(target, task.result()), failed
                except Unreachable as error:
                    failed[target] = str(error)
    finally:
        for task in running:
            if task.done() and not task.cancelled() and task.exception() is None:
                task.result().abort()
        await cancelled(*running)
    return None, failed


async def _first(running: dict[asyncio.Task[Wire], Target], limit: float | None) -> set[asyncio.Task[Wire]]:
    done, _ = await asyncio.wait(running, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
    return done


async def open_one(target: Target, bind: IPAddress | None, clock: Clock) -> Wire:
    """Connect to ``target``, from ``bind`` if that is of its family. Raises Unreachable."""
    loop = asyncio.get_running_loop()
    try:
        connecting = _socket(target.address, bind)
    except OSError as error:
        raise Unreachable(words(error)) from None
    try:
        async with clock.timeout(limits.OUT_CONNECT):
            await loop.sock_connect(connecting, (target.address.compressed, target.port))
        _, wire = await loop.create_connection(lambda: Wire(clock), sock=connecting)
    except TimeoutError:
        connecting.close()
        raise Unreachable(f"no connection within {limits.OUT_CONNECT:.0f} s") from None
    except OSError as error:
        connecting.close()
        raise Unreachable(words(error)) from None
    except BaseException:
        connecting.close()
        raise
    return wire


def _socket(address: IPAddress, bind: IPAddress | None) -> socket.socket:
    """Return a socket for a connection to ``address``. Raises OSError, and Unreachable for ``bind``."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setblocking(False)
        if bind is not None and bind.version == address.version:
            with contextlib.suppress(OSError):
                # The number is chosen when it connects: there are enough for each next hop then.
                made.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            try:
                made.bind((bind.compressed, 0))
            except OSError as error:
                raise Unreachable(f"cannot leave from {bind.compressed}: {words(error)}") from None
        elif address.version == 6:
            with contextlib.suppress(OSError):
                # RFC 5014: not from a temporary address, which no reverse zone and no list of friends knows.
                made.setsockopt(socket.IPPROTO_IPV6, _IPV6_ADDR_PREFERENCES, _IPV6_PREFER_SRC_PUBLIC)
    except Unreachable:
        made.close()
        raise
    return made


def is_local(address: IPAddress) -> bool:
    """Say whether ``address`` is one of this host. Asks the system; takes microseconds, sends nothing."""
    if address.is_loopback:
        return True
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            # The way to one's own address begins at that address, whatever ip_nonlocal_bind says.
            probe.connect((address.compressed, 9))
            return peer_address(probe.getsockname()[0]) == address
    except OSError:
        return False
