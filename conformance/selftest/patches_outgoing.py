"""How faults of outgoing mail are built into the reference server of this process; see `patches`."""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from conformance.selftest.parts import replace_part

if TYPE_CHECKING:
    from reference_server.addresses import IPAddress
    from reference_server.delivery.next_hop import Bound, Host, Target
    from reference_server.delivery.results import Result
    from reference_server.delivery.smtp_client import Message, SmtpClient

Opener = Callable[["IPAddress", "IPAddress | None"], socket.socket]


def _change_opening(change: Callable[[Opener], Opener]) -> None:
    from reference_server.delivery import connect

    replace_part(connect, "_socket", change(connect._socket))


def bind_address_for_both_families() -> None:
    """The source address is bound whatever the family of the target is: the system refuses that."""
    from reference_server.delivery.connect import Unreachable

    def change(right: Opener) -> Opener:
        def wrong(address: IPAddress, bind: IPAddress | None) -> socket.socket:
            if bind is not None and bind.version != address.version:
                raise Unreachable(f"cannot leave from {bind.compressed}: Invalid argument")
            return right(address, bind)

        return wrong

    _change_opening(change)


def ipv6_source_has_no_route() -> None:
    """An IPv6 source address is never usable."""
    from reference_server.delivery.connect import Unreachable

    def change(right: Opener) -> Opener:
        def wrong(address: IPAddress, bind: IPAddress | None) -> socket.socket:
            if bind is not None and bind.version == address.version == 6:
                raise Unreachable("no valid route to remote MX")
            return right(address, bind)

        return wrong

    _change_opening(change)


def bind_address_ignored() -> None:
    """Connections leave from whatever address the system chooses."""
    _change_opening(lambda right: lambda address, _bind: right(address, None))


def ipv4_always_first() -> None:
    """A comes before AAAA, whatever the setting says."""
    from reference_server.delivery import next_hop, relay  # noqa: F401 - who uses it is to be loaded

    in_order = next_hop.in_order

    @functools.wraps(in_order)
    def wrong(addresses: Iterable[IPAddress], *, ipv6_preferred: bool) -> list[IPAddress]:  # noqa: ARG001
        return in_order(addresses, ipv6_preferred=False)

    replace_part(next_hop, "in_order", wrong)


def only_first_address_tried() -> None:
    """Of all addresses of a host only the first is ever connected to."""
    from reference_server.delivery import next_hop, relay  # noqa: F401 - who uses it is to be loaded

    in_order = next_hop.in_order

    @functools.wraps(in_order)
    def wrong(addresses: Iterable[IPAddress], *, ipv6_preferred: bool) -> list[IPAddress]:
        return in_order(addresses, ipv6_preferred=ipv6_preferred)[:1]

    replace_part(next_hop, "in_order", wrong)


def self_check_knows_ipv4_only() -> None:
    """Whether a next hop is this server is asked of IPv4 addresses alone."""
    from reference_server.delivery import next_hop, relay  # noqa: F401 - who uses it is to be loaded

    is_ourselves = next_hop.is_ourselves

    @functools.wraps(is_ourselves)
    def wrong(target: Target, listeners: Collection[Bound], is_local: Callable[[IPAddress], bool]) -> bool:
        return target.address.version == 4 and is_ourselves(target, listeners, is_local)

    replace_part(next_hop, "is_ourselves", wrong)


def relay_cut_at_last_colon() -> None:
    """What follows the last colon of a relay is taken for its port."""
    from reference_server.delivery import next_hop, relay  # noqa: F401 - who uses it is to be loaded

    parse_host = next_hop.parse_host

    @functools.wraps(parse_host)
    def wrong(text: str) -> Host:
        return parse_host(text.rpartition(":")[0] if ":" in text else text)

    replace_part(next_hop, "parse_host", wrong)


def cut_after_data_counts_as_delivered() -> None:
    """A connection that ends where the reply to the message should come is taken for a yes."""
    from reference_server.delivery.results import Reply, from_reply
    from reference_server.delivery.smtp_client import SmtpClient

    data = SmtpClient._data

    async def wrong(self: SmtpClient, message: Message) -> Result:
        result = await data(self, message)
        return from_reply(Reply(250), str(self.target)) if result.unclear else result

    replace_part(SmtpClient, "_data", wrong)


def address_literal_not_understood() -> None:
    """EHLO with an IPv6 address literal is a syntax error."""
    from reference_server.protocols.smtp import SmtpSession

    ehlo = SmtpSession.smtp_EHLO

    async def wrong(self: SmtpSession, hostname: str | None) -> None:
        if (hostname or "").upper().startswith("[IPV6:"):
            await self.push("501 5.5.4 Syntax: EHLO hostname")
            return
        await ehlo(self, hostname)

    replace_part(SmtpSession, "smtp_EHLO", wrong)


def literal_compared_as_text() -> None:
    """A literal in EHLO has to be the text that this server would write for the client's address."""
    from reference_server.addresses import address_literal
    from reference_server.protocols.smtp import SmtpSession

    ehlo = SmtpSession.smtp_EHLO

    async def wrong(self: SmtpSession, hostname: str | None) -> None:
        literal = hostname or ""
        if literal.startswith("[") and literal != address_literal(self.client.peer):
            await self.push("550 5.7.1 This is not your address")
            return
        await ehlo(self, hostname)

    replace_part(SmtpSession, "smtp_EHLO", wrong)


def ipv6_clients_not_relayed() -> None:
    """Mail of an IPv6 client for other servers is refused, whatever its range says."""
    from reference_server.protocols.smtp import SmtpSession

    recipient = SmtpSession._recipient

    def wrong(self: SmtpSession, address: str, options: list[str]) -> str:
        local = self.services.accounts.is_local_domain(address.rpartition("@")[2])
        if self.client.peer.version == 6 and not local:
            return "550 5.7.1 No relaying for you"
        return recipient(self, address, options)

    replace_part(SmtpSession, "_recipient", wrong)
