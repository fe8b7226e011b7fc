"""What a scenario says of the server under test: its ports, ranges, limits and accounts, and its host."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from conformance.adapters.base import Direction, ProtocolName
from conformance.scenario.outgoing import Delivery, Relay
from conformance.scenario.values import LooseText, Model


class Port(Model):
    """A TCP/IP port of the server under test."""

    name: str = Field(description="What steps call it", examples=["door"])
    protocol: ProtocolName
    address: str = Field(description="IPv4 or IPv6 address, in any text form", examples=["::1"])
    number: LooseText = Field(
        default="any",
        description="'any': a free number, read back; 'in_use': one that another program already holds on "
        "this address; the name of another port: the same number as that port has",
    )


class IpRange(Model):
    """An IP range; left out: everything allowed, authentication as in the shipped Internet range."""

    name: str
    priority: int = 10
    lower: str
    upper: str
    expires: str = Field(
        default="never",
        description="'past' and 'future': an hour ago, in an hour; or 'YYYY-MM-DD HH:MM:SS' UTC",
    )
    allow: tuple[ProtocolName, ...] = ("smtp", "pop3", "imap")
    deliver: tuple[Direction, ...] = (
        "local_to_local",
        "local_to_remote",
        "remote_to_local",
        "remote_to_remote",
    )
    require_auth: tuple[Direction, ...] = ("local_to_local", "local_to_remote", "remote_to_remote")
    require_tls_for_auth: bool = False
    spam_protection: bool = True
    virus_protection: bool = True


class Limits(Model):
    """Sessions at one time; 0 = no limit."""

    smtp: int = Field(default=0, ge=0)
    pop3: int = Field(default=0, ge=0)
    imap: int = Field(default=0, ge=0)


class Account(Model):
    address: str
    password: str


class Link(Model):
    """A network segment that the server's host has an interface on, in a network of the case's own."""

    name: str = Field(pattern=r"^[a-z][a-z0-9]{0,9}$", description="Of the interface, too", examples=["lan"])
    addresses: tuple[str, ...] = Field(
        default=(),
        description="Of the server's host there, with prefix length",
        examples=[["2001:db8:1::1/64", "192.0.2.1/24", "fe80::1/64"]],
    )


class OtherHost(Model):
    """Another host on a link, from which clients come (``connect: {host: …}``)."""

    name: str = Field(pattern=r"^[a-z][a-z0-9]{0,9}$", examples=["office"])
    link: str
    addresses: tuple[str, ...] = Field(default=(), examples=[["2001:db8:1::25/64", "192.0.2.25/24"]])


class Host(Model):
    """The host that the server is started on."""

    ipv6: bool | Literal["disabled"] = Field(
        default=True,
        description="false: an operating system without IPv6; disabled: switched off until a step 'os' "
        "switches it on",
    )
    bindv6only: bool = Field(default=False, description="The system's default for IPV6_V6ONLY")


class Server(Model):
    """The server's configuration for this case."""

    ports: tuple[Port, ...] = ()
    ip_ranges: tuple[IpRange, ...] | None = Field(
        default=None, description="Left out: everybody is served and may deliver anything"
    )
    limits: Limits = Limits()
    accounts: tuple[Account, ...] = ()
    relay: Relay | None = Field(
        default=None, description="Next hop of all outgoing mail; left out: it goes by MX"
    )
    delivery: Delivery = Delivery()
    host: Host = Host()
