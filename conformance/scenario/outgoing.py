"""Outgoing mail in a scenario: the world that the server talks to, what it is told about it, what it did.

``smart_hosts`` and ``dns`` are that world, ``server: {relay, delivery}`` what the server is told; the steps
``relayed``, ``queue``, ``smart_host``, ``dns`` and ``clock`` look at it and change it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from conformance.adapters.base import RelaySecurity
from conformance.addresses import Family
from conformance.peers.behaviour import Behaviour, Login
from conformance.peers.names import Failure, Records, Texts
from conformance.scenario.expectations import Expectation
from conformance.scenario.values import Duration, LooseText, Model, one_or_many

_NAME = r"^[a-z][a-z0-9_-]{0,30}$"
LIMIT = 120.0
"""Seconds that a step waits for what must happen: a server may wait a minute for a silent next hop."""

Words = Annotated[tuple[str, ...], BeforeValidator(one_or_many)]


class SmartHost(Model):
    """A mail server of ours that takes what the server under test sends, and records it."""

    name: str = Field(pattern=_NAME, description="What steps call it", examples=["relay"])
    addresses: Texts = Field(min_length=1, examples=[["::1", "127.0.0.1"]])
    port: LooseText = Field(
        default="any",
        description="'any': a free number, the same for all of them; or a number, such as 25, in a namespace",
    )
    host: str | None = Field(default=None, description="One of 'hosts', where it is; left out: the server's")
    names: Words = Field(default=(), description="Host names that its certificate has beside the addresses")
    behaviour: Behaviour = Behaviour()


class Dns(Model):
    """What the server under test looks names up in. A name that is not in the zone does not exist."""

    zone: dict[str, Records] = Field(
        default_factory=dict, examples=[{"relay.test": {"AAAA": "::1", "A": "127.0.0.1"}}]
    )
    failures: tuple[Failure, ...] = ()
    at: Texts = Field(
        default=("127.0.0.1",), min_length=1, description="Addresses; the server gets the first"
    )


class Relay(Model):
    """The next hop of all outgoing mail."""

    to: str = Field(description="Host name or address as an administrator types it; several with |")
    port: LooseText = Field(
        default="smart_hosts",
        description="'smart_hosts': their number; a number; or the name of a port of the server itself",
    )
    security: RelaySecurity = "none"
    login: Login | None = None


class Delivery(Model):
    """How mail goes out, with a relay or without."""

    bind: str = Field(default="", description="Where connections come from; '': the system's choice")
    ipv6_preferred: bool = False
    tries: int = Field(
        default=4, ge=1, le=100, description="In all; then the message goes back to its sender"
    )
    minutes_between_tries: int = Field(default=60, ge=0, le=10_000)
    verify: bool = Field(default=True, description="Certificates of next hops")


# --- steps ------------------------------------------------------------------------------------------------


class Relayed(Model):
    """What the smart hosts got of a message that was sent, or of a notification about one."""

    by: Words = Field(default=(), description="Names of smart hosts; left out: all of them together")
    message: str | None = Field(
        default=None, description="What 'send' called it; left out: every message since the case began"
    )
    notification: bool = Field(
        default=False, description="Delivery status notifications (RFC 3464) instead of what was sent"
    )
    within: Duration = Field(default=LIMIT, description="What must happen later than this did not happen")


class RelayedExpectation(Expectation):
    """Without a number: at least once. Every delivery must be as the rest says."""

    times: int | None = Field(default=None, ge=0, description="Exactly so often, of each message")
    at_most: int | None = Field(default=None, ge=1, description="Beside at least once")
    accounted: bool = Field(
        default=False,
        description="Of each message that was acknowledged: a copy is here, or the sender has it back, or it "
        "waits; more copies than one only where the smart host had the final dot and the client no reply",
    )
    family: Family | None = None
    from_: str | None = Field(default=None, alias="from", description="Source address")
    at: str | None = Field(default=None, description="Address of the smart host that was connected to")
    mail_from: str | None = None
    rcpt_to: Words | None = Field(default=None, description="Of all transactions together, in any order")
    never_to: Words = Field(
        default=(), description="Recipients of whom no smart host has heard, in any message at all"
    )
    transactions: int | None = Field(default=None, ge=1, description="How many carried the recipients")
    connections: int | None = Field(default=None, ge=1, description="How many brought the messages")
    content: Literal["identical", "equivalent"] | None = Field(
        default=None,
        description="identical: octet by octet as it was sent, behind trace fields that were put before; "
        "equivalent: or converted to 7 bits, saying the same (RFC 6152)",
    )
    contains: Words = Field(default=(), description="Texts that the message has as it arrived")
    trace_fields: int | None = Field(
        default=None,
        ge=0,
        description="How many fields 'Received' it has: one for each time that it was taken",
    )
    ehlo: str | None = Field(default=None, description="A regular expression that the whole argument matches")
    tls: bool | None = None
    user: str | None = Field(default=None, description="Who logged in; '': nobody")


class SmartHostChange(Model):
    """It behaves otherwise from now on."""

    name: str
    behaviour: Behaviour = Behaviour()


class DnsChange(Model):
    """Names change, or fail; what is left out stays as it is."""

    zone: dict[str, Records] = Field(default_factory=dict, description="These names, as they are now")
    remove: Words = ()
    failures: tuple[Failure, ...] | None = None


class DnsExpectation(Expectation):
    """What was looked up since the case began, such as ``AAAA relay.test``."""

    asked: Words = ()
    never_asked: Words = Field(default=(), description="A name alone stands for every type")


class Clock(Model):
    """The server's clock goes on by so much at once."""

    advance: Duration = Field(gt=0, examples=["61min"])


class Queue(Model):
    """The mail that waits in the server; left empty, it is only looked at."""

    retry: bool = Field(default=False, description="Try everything that waits now")
    delete: bool = Field(default=False, description="Take everything out, returned to nobody")


class QueueExpectation(Expectation):
    """Waited for: it is so at some time before ``within`` has passed."""

    messages: int | None = Field(default=None, ge=0, description="So many wait")
    mail_from: str | None = Field(default=None, description="Of every one of them")
    rcpt_to: Words | None = Field(
        default=None, description="Recipients that are not settled, of all together"
    )
    settled: bool = Field(default=False, description="Everything was tried, and waits for its next try")
    within: Duration = LIMIT
