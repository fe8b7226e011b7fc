"""One message to one next hop: look names up, try every address in order, keep connections for what follows.

Each address is asked until one takes the message; who it refused for good is not asked about again. An
address that is ourselves is left out: it would send our own mail to us for ever.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing

from reference_server import limits
from reference_server.addresses import IPAddress
from reference_server.clock import Clock
from reference_server.delivery import connect
from reference_server.delivery.next_hop import (
    Bound,
    Exchanger,
    Host,
    Route,
    Target,
    by_preference,
    in_order,
    is_null_mx,
    is_ourselves,
    parse_host,
)
from reference_server.delivery.resolver import Dns, NoSuchName, TemporaryError
from reference_server.delivery.results import Outcome, Result, failed, final, later
from reference_server.delivery.smtp_client import (
    HopFailed,
    Message,
    SmtpClient,
    Stale,
    TlsRefused,
    is_sendable,
)
from reference_server.delivery.wire import Wire, cancelled
from reference_server.settings import ConnectionSecurity

BARE = failed("5.6.0", "the message has a bare CR or LF (RFC 5321 section 2.3.8)")


class NoRoute(Exception):  # noqa: N818 - an answer
    """There is nobody to connect to; ``result`` says why."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.reason)
        self.result = result


class Relay:
    """Delivers over SMTP, and keeps idle connections for a short time. To be closed, then settled."""

    def __init__(
        self,
        dns: Callable[[], Dns],
        listeners: Callable[[], Collection[Bound]],
        clock: Clock,
        *,
        is_local: Callable[[IPAddress], bool] = connect.is_local,
        shuffle: Callable[[list[Exchanger]], None] = random.shuffle,
    ) -> None:
        """``dns`` gives the resolver of the settings as they are; ``listeners`` our own, for loops."""
        self._dns = dns
        self._listeners = listeners
        self._clock = clock
        self._is_local = is_local
        self._shuffle = shuffle
        self._kept: dict[Route, list[tuple[SmtpClient, asyncio.TimerHandle]]] = {}
        self._slots: dict[Route, _Slots] = {}
        self._ends: set[asyncio.Task[None]] = set()
        self._closed = False

    async def deliver(self, route: Route, message: Message, recipients: Sequence[str]) -> dict[str, Result]:
        """Return what became of each recipient. At most `limits.OUT_RECIPIENTS`, each once."""
        if not is_sendable(message.content):
            return dict.fromkeys(recipients, BARE)
        slots = self._slots.setdefault(route, _Slots())
        slots.users += 1
        try:
            async with slots.semaphore:
                return await self._deliver(route, message, recipients)
        finally:
            slots.users -= 1
            if not slots.users:
                self._slots.pop(route, None)

    def close(self) -> None:
        """Begin to say goodbye on the connections that are idle; those in use end with their message."""
        self._closed = True
        for route in tuple(self._kept):
            for client, timer in self._kept.pop(route, ()):
                timer.cancel()
                self._end(client)

    async def settle(self, limit: float) -> None:
        """Return when every goodbye is said, after ``limit`` seconds at most. After `close`."""
        if self._ends:
            _, late = await asyncio.wait(self._ends, timeout=limit)
            await cancelled(*late)

    def reopen(self) -> None:
        """Keep connections again, after `close`."""
        self._closed = False

    # --- one delivery ---------------------------------------------------------------------------------

    async def _deliver(self, route: Route, message: Message, recipients: Sequence[str]) -> dict[str, Result]:
        attempt = _Attempt(message, recipients)
        while (client := self._take(route)) is not None:
            try:
                await self._send(client, route, attempt)
                break
            except Stale:
                client.abort()
        if attempt.open:
            try:
                async with aclosing(self._clients(route, attempt)) as clients:
                    async for client in clients:
                        await self._send(client, route, attempt)
                        if not attempt.open:
                            break
            except NoRoute as error:
                attempt.refused.append(error.result)
        return attempt.results()

    async def _send(self, client: SmtpClient, route: Route, attempt: _Attempt) -> None:
        """Ask one server about everybody who is open. Raises Stale."""
        try:
            attempt.note(await client.send(attempt.message, attempt.open))
        except HopFailed as error:
            attempt.refused.append(error.result)
        except BaseException:
            client.abort()
            raise
        attempt.asked.add(client.target)
        self._keep(route, client)

    async def _clients(self, route: Route, attempt: _Attempt) -> AsyncGenerator[SmtpClient, None]:
        """Yield a new session with one address after the other, those left out that were asked."""
        async with aclosing(self._hosts(route, attempt.refused)) as hosts:
            async for targets in hosts:
                left = [target for target in targets if target not in attempt.asked]
                while left:
                    opened, failures = await connect.open_first(left, route.bind, self._clock)
                    for target, why in failures.items():
                        attempt.refused.append(later("4.4.1", f"{target}: {why}"))
                        left.remove(target)
                    if opened is None:
                        break
                    left.remove(opened.target)
                    try:
                        client = await self._session(opened.wire, opened.target, route)
                    except HopFailed as error:
                        attempt.refused.append(error.result)
                    else:
                        yield client

    async def _session(self, wire: Wire, target: Target, route: Route) -> SmtpClient:
        client = SmtpClient(wire, target, route)
        try:
            await client.hello()
        except TlsRefused:
            wire.abort()
            if route.is_relay or route.security is not ConnectionSecurity.STARTTLS_OPTIONAL:
                raise
            # RFC 7435: to a stranger, TLS that does not work is no worse than none.
            try:
                wire = await connect.open_one(target, route.bind, self._clock)
            except connect.Unreachable as error:
                raise HopFailed(later("4.4.1", f"{target}: {error}")) from None
            client = SmtpClient(wire, target, route)
            await self._plainly(client, wire)
        except BaseException:
            wire.abort()
            raise
        return client

    async def _plainly(self, client: SmtpClient, wire: Wire) -> None:
        try:
            await client.hello(avoid_tls=True)
        except BaseException:
            wire.abort()
            raise

    # --- whom to ask ----------------------------------------------------------------------------------

    async def _hosts(self, route: Route, refused: list[Result]) -> AsyncGenerator[list[Target], None]:
        """Yield the addresses of one host after the other, without our own. Raises NoRoute."""
        count = 0
        for host in route.hosts or await self._exchangers(route.domain):
            try:
                addresses = [host] if not isinstance(host, str) else await self._dns().addresses(host)
            except (NoSuchName, TemporaryError) as error:
                missing = isinstance(error, NoSuchName) and not route.is_relay
                refused.append(failed("5.1.2", str(error)) if missing else later("4.4.3", str(error)))
                continue
            if not addresses:
                none = f"{host} has no address"
                refused.append(later("4.4.4", none) if route.is_relay else failed("5.4.4", none))
                continue
            name = host if isinstance(host, str) else ""
            targets = [
                Target(name, address, route.port)
                for address in in_order(addresses, ipv6_preferred=route.ipv6_preferred)
            ]
            ours = [each for each in targets if is_ourselves(each, self._listeners(), self._is_local)]
            if ours:
                refused.append(_myself(ours[0], route))
                if not route.is_relay:
                    # RFC 5321 section 5.1: nor to those of a higher number, which would give it to us.
                    return
            yield [each for each in targets if each not in ours][: limits.OUT_ADDRESSES - count]
            count += len(targets)
            if count >= limits.OUT_ADDRESSES:
                return

    async def _exchangers(self, domain: str) -> list[Host]:
        """Return the hosts that take mail for ``domain``, in order. Raises NoRoute."""
        if domain.startswith("["):
            return [parse_host(domain)]
        try:
            found = await self._dns().exchangers(domain)
        except NoSuchName as error:
            raise NoRoute(failed("5.1.2", str(error))) from None
        except TemporaryError as error:
            raise NoRoute(later("4.4.3", str(error))) from None
        if is_null_mx(found):
            # RFC 7505 section 4.1
            raise NoRoute(failed("5.1.10", f"{domain} takes no mail (null MX)"))
        # RFC 5321 section 5.1: without any MX the domain is its own.
        return [each.name for each in by_preference(found, self._shuffle) if each.name] or [domain]

    # --- connections that are kept --------------------------------------------------------------------

    def _take(self, route: Route) -> SmtpClient | None:
        """Return an idle session with the next hop, if there is one that still lives."""
        kept = self._kept.get(route, [])
        while kept:
            client, timer = kept.pop()
            timer.cancel()
            if not kept:
                self._kept.pop(route, None)
            if client.usable:
                return client
            client.abort()
        return None

    def _keep(self, route: Route, client: SmtpClient) -> None:
        """Keep a session for the next message, for a while."""
        if self._closed or not client.usable or client.sent >= limits.OUT_MESSAGES:
            self._end(client)
            return
        timer = asyncio.get_running_loop().call_later(limits.OUT_KEPT_IDLE, self._expire, route, client)
        self._kept.setdefault(route, []).append((client, timer))

    def _expire(self, route: Route, client: SmtpClient) -> None:
        kept = [each for each in self._kept.pop(route, []) if each[0] is not client]
        if kept:
            self._kept[route] = kept
        self._end(client)

    def _end(self, client: SmtpClient) -> None:
        """End a session beside what goes on."""
        if not client.usable:
            client.abort()
            return
        task = asyncio.get_running_loop().create_task(client.quit())
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)


class _Slots:
    """How many connections to one next hop are in use, and who waits for one."""

    def __init__(self) -> None:
        self.users = 0
        self.semaphore = asyncio.Semaphore(limits.OUT_CONNECTIONS)


class _Attempt:
    """What is known of the recipients of a message while one address after the other is asked."""

    def __init__(self, message: Message, recipients: Sequence[str]) -> None:
        self.message = message
        self.open = list(recipients)
        """To be asked of the next server."""
        self.asked: set[Target] = set()
        self.refused: list[Result] = []
        """Why servers were not reached, or could not have the message at all."""
        self._everybody = list(recipients)
        self._decided: dict[str, Result] = {}
        self._waiting: dict[str, Result] = {}

    def note(self, results: Sequence[Result]) -> None:
        """Take what a server said of those who were open."""
        still: list[str] = []
        for recipient, result in zip(self.open, results, strict=True):
            if result.outcome is Outcome.LATER and not result.unclear:
                self._waiting[recipient] = result
                still.append(recipient)
            else:
                self._decided[recipient] = result
        self.open = still

    def results(self) -> dict[str, Result]:
        """Return what became of everybody."""
        found = dict(self._decided)
        for recipient in self.open:
            said = self._waiting.get(recipient)
            found[recipient] = said or (final(self.refused) if self.refused else _NOBODY)
        return {recipient: found[recipient] for recipient in self._everybody}


_NOBODY = later("4.4.4", "there is no address to connect to")


def _myself(target: Target, route: Route) -> Result:
    reason = f"{target} is this server itself: the mail would come back"
    # A relay is a setting, which can be mended while the mail waits.
    return later("4.4.6", reason) if route.is_relay else failed("5.4.6", reason)
