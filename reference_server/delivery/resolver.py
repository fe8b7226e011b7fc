"""Names to addresses and mail exchangers, by DNS (dnspython).

Answers come from the server of the settings, or from the system's. What was truncated is asked again over
TCP. Temporary (time-out, SERVFAIL, nobody to ask) and permanent (no such name, no record) are told apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

from reference_server import limits
from reference_server.addresses import IPAddress, parse_address
from reference_server.delivery.next_hop import Exchanger

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

DNS_PORT = 53


class ResolutionError(Exception):
    """A name gave no answer; the message says which and why."""


class TemporaryError(ResolutionError):
    """It may give one later."""


class NoSuchName(ResolutionError):  # noqa: N818 - an answer
    """The name does not exist (NXDOMAIN)."""


class Dns:
    """Asks one DNS server, or the system's. Import of dnspython (50 ms) is left to the first question."""

    def __init__(self, server: str, *, ipv6: bool) -> None:
        """``server``: as in `ServerSettings.dns_server`. Without ``ipv6`` nobody is asked for AAAA."""
        self._server = server
        self._ipv6 = ipv6
        self._resolver: Resolver | None = None

    async def addresses(self, name: str) -> list[IPAddress]:
        """Return the addresses of ``name``, IPv4 first; none when it has none.

        Raises NoSuchName; TemporaryError when there is no address and one of the questions failed.
        """
        if name == "localhost" or name.endswith(".localhost"):
            # RFC 6761 section 6.3: no question to anybody.
            return [IPv4Address("127.0.0.1"), *([IPv6Address("::1")] if self._ipv6 else [])]
        types = ["A", "AAAA"] if self._ipv6 else ["A"]
        answers = await asyncio.gather(*(self._ask(name, each) for each in types), return_exceptions=True)
        found: list[IPAddress] = []
        errors: list[ResolutionError] = []
        for answer in answers:
            if isinstance(answer, ResolutionError):
                errors.append(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found += [parse_address(record.address) for record in answer]
        if not found and errors:
            # One family may be broken and the other one empty: that is no answer for good.
            temporary = [error for error in errors if isinstance(error, TemporaryError)]
            raise (temporary or errors)[0]
        return found

    async def exchangers(self, domain: str) -> list[Exchanger]:
        """Return the MX records of ``domain``; none when it has none. Raises NoSuchName, TemporaryError."""
        return [
            Exchanger(record.preference, record.exchange.to_text(omit_final_dot=True).lower().strip("."))
            for record in await self._ask(domain, "MX")
        ]

    async def _ask(self, name: str, kind: str) -> list[Any]:
        """Return the records of a name, at the end of its CNAMEs."""
        import dns.exception
        import dns.name
        import dns.rdatatype

        wanted = dns.rdatatype.from_text(kind)
        try:
            asked = dns.name.from_text(name)
        except (dns.exception.DNSException, UnicodeError) as error:
            raise NoSuchName(f"{name} is no name of the DNS: {error}") from None
        followed = 0
        while True:
            question = asked
            sets = {(each.name, each.rdtype): each for each in await self._query(question, wanted)}
            while (asked, wanted) not in sets and (asked, dns.rdatatype.CNAME) in sets:
                followed += 1
                if followed > limits.DNS_CNAMES:
                    raise TemporaryError(f"{name}: more than {limits.DNS_CNAMES} CNAMEs")
                asked = sets[asked, dns.rdatatype.CNAME][0].target
            if (asked, wanted) in sets:
                return list(sets[asked, wanted])
            if asked == question:
                return []
            # The server gave CNAMEs alone: where they lead to is a question of its own.

    async def _query(self, name: Any, kind: Any) -> list[Any]:
        """Return the answer section for one question."""
        import dns.exception
        import dns.resolver

        try:
            answer = await self._open().resolve(
                name, kind, raise_on_no_answer=False, search=False, lifetime=limits.DNS_TIME
            )
        except dns.resolver.NXDOMAIN:
            raise NoSuchName(f"{name} {kind.name}: no such name (NXDOMAIN)") from None
        except (dns.exception.DNSException, OSError, EOFError) as error:
            raise TemporaryError(f"{name} {kind.name}: {str(error) or type(error).__name__}") from None
        return list(answer.response.answer)

    def _open(self) -> Resolver:
        """Return the resolver. Raises DNSException where the system has none configured."""
        if self._resolver is None:
            import dns.asyncresolver

            resolver = dns.asyncresolver.Resolver(configure=not self._server)
            if self._server:
                address, port = server_address(self._server)
                resolver.port = port  # before the servers, which take it over
                resolver.nameservers = [address.compressed]
            self._resolver = resolver
        return self._resolver


def server_address(text: str) -> tuple[IPAddress, int]:
    """Return address and number of ``192.0.2.1:53``, ``[2001:db8::1]:53``, or an address alone."""
    try:
        return parse_address(text), DNS_PORT
    except ValueError:
        host, _, port = text.rpartition(":")
        return parse_address(host.removeprefix("[").removesuffix("]")), int(port)


Resolve = Callable[[str], Dns]
"""How a resolver for a `ServerSettings.dns_server` is made."""
