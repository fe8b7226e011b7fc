"""Where mail goes next: relay hosts or a domain, the order of addresses, our own listeners. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from reference_server.addresses import IPAddress, address_literal, parse_address, peer_address, with_port
from reference_server.settings import ConnectionSecurity, ServerSettings

SMTP_PORT = 25

Host = IPAddress | str
"""An address, or a name to be looked up."""


@dataclass(frozen=True, slots=True)
class Route:
    """A next hop and everything that a connection to it depends on: equal routes may share one."""

    hosts: tuple[Host, ...]
    """Relay hosts in order; empty: the mail exchangers of ``domain``."""
    domain: str
    """The recipients' domain, lower case; empty with a relay, which takes every domain."""
    port: int
    security: ConnectionSecurity
    """For mail exchangers it is optional, and nobody's certificate is verified (RFC 7435)."""
    verify: bool
    username: str
    password: str = field(repr=False)
    authenticate: bool
    host_name: str
    bind: IPAddress | None
    ipv6_preferred: bool

    @property
    def is_relay(self) -> bool:
        """Whether it is the configured relay."""
        return bool(self.hosts)


@dataclass(frozen=True, slots=True)
class Target:
    """An address to connect to. ``name`` is the host it belongs to; empty when the address was configured."""

    name: str
    address: IPAddress
    port: int

    def __str__(self) -> str:
        where = with_port(self.address, self.port)
        return f"{self.name} ({where})" if self.name else where


@dataclass(frozen=True, slots=True)
class Bound:
    """Where one of our listeners is: an address (maybe the wildcard of its family) and a number."""

    address: IPAddress
    port: int


def route_of(settings: ServerSettings, recipient: str) -> Route:
    """Return where mail for ``recipient`` goes: with a relay set, there and nowhere else."""
    hosts = tuple(parse_host(text) for text in settings.smtp_relayer.split("|") if text.strip())
    bind = settings.smtp_delivery_bind_to_ip
    authenticate = bool(hosts) and settings.smtp_relayer_requires_authentication
    return Route(
        hosts=hosts,
        domain="" if hosts else recipient.rpartition("@")[2].lower(),
        port=(settings.smtp_relayer_port or SMTP_PORT) if hosts else SMTP_PORT,
        security=(
            settings.smtp_relayer_connection_security if hosts else ConnectionSecurity.STARTTLS_OPTIONAL
        ),
        verify=bool(hosts) and settings.verify_remote_ssl_certificate,
        username=settings.smtp_relayer_username if authenticate else "",
        password=settings.smtp_relayer_password if authenticate else "",
        authenticate=authenticate,
        host_name=settings.host_name,
        bind=parse_address(bind) if bind else None,
        ipv6_preferred=settings.ipv6_preferred,
    )


def parse_host(text: str) -> Host:
    """Return the address that ``text`` is, or the name.

    Every text form of an address is one, in brackets or not, with ``IPv6:`` or not: its colons never separate
    a port. A v4-mapped address is the IPv4 address that it means.
    """
    text = text.strip()
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return plain(parse_address(re.sub("^ipv6:", "", inner, flags=re.IGNORECASE)))
    except ValueError:
        return text.removesuffix(".").lower()


def plain(address: IPAddress) -> IPAddress:
    """Return the IPv4 address of a v4-mapped one, any other as it is."""
    return peer_address(address.compressed)


def in_order(addresses: Iterable[IPAddress], *, ipv6_preferred: bool) -> list[IPAddress]:
    """Return each address once, the preferred family first, otherwise in the order they came."""
    unique = dict.fromkeys(map(plain, addresses))
    return sorted(unique, key=lambda address: (address.version == 6) != ipv6_preferred)


def is_ourselves(target: Target, listeners: Collection[Bound], is_local: Callable[[IPAddress], bool]) -> bool:
    """Say whether a connection to ``target`` would end at one of our listeners.

    ``is_local`` says whether an address is one of this host; it is asked for wildcard listeners only. The
    unspecified address as a target means this host as well.
    """
    address = plain(target.address)
    for bound in listeners:
        if bound.port != target.port or bound.address.version != address.version:
            continue
        if bound.address == address or address.is_unspecified:
            return True
        if bound.address.is_unspecified and is_local(address):
            return True
    return False


def ehlo_name(host_name: str, local: IPAddress) -> str:
    """Return how we call ourselves: the name when it is one of the DNS, else our address as a literal.

    RFC 5321 sections 2.3.5 and 4.1.4: a name without a dot (``localhost``) tells the other side nothing.
    """
    name = host_name.removesuffix(".")
    return name if "." in name else address_literal(local)


@dataclass(frozen=True, slots=True)
class Exchanger:
    """An MX record. ``name`` is lower case, without the last dot; empty in a null MX."""

    preference: int
    name: str


def is_null_mx(exchangers: Collection[Exchanger]) -> bool:
    """Say whether a domain takes no mail at all (RFC 7505 section 3)."""
    return len(exchangers) == 1 and next(iter(exchangers)).name == ""


def by_preference(
    exchangers: Iterable[Exchanger], shuffle: Callable[[list[Exchanger]], None]
) -> list[Exchanger]:
    """Return the exchangers, lowest preference first, those of one preference in random order.

    RFC 5321 section 5.1 wants those of one preference to be tried in random order: ``shuffle`` does it.
    """
    groups: dict[int, list[Exchanger]] = {}
    for exchanger in exchangers:
        groups.setdefault(exchanger.preference, []).append(exchanger)
    for group in groups.values():
        shuffle(group)
    return [exchanger for preference in sorted(groups) for exchanger in groups[preference]]
