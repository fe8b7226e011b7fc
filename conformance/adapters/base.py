"""The contract between the harness and a server under test.

The values here are both the Python interface of built-in adapters and the messages of the ``exec:``
protocol (`process.py`), whose JSON Schema is generated from them. An adapter translates a
`Configuration` into the settings of its server, starts it, and reports what really listens.

An adapter is honest: what its server cannot express is answered with `AdapterUnsupported`
(``unsupported`` on the wire), never approximated.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

ProtocolName = Literal["smtp", "pop3", "imap"]
Direction = Literal["local_to_local", "local_to_remote", "remote_to_local", "remote_to_remote"]
"""Of a delivery: where the sender is, where the recipient is. Local = a domain of this server."""
RelaySecurity = Literal["none", "starttls_optional", "starttls_required", "tls"]
AdminKind = Literal["ip_range", "port", "settings"]
PortNumber = Annotated[int, Field(ge=0, le=65535)]

PROTOCOL_VERSION = 1

Feature = Literal[
    "protocol.smtp",
    "protocol.pop3",
    "protocol.imap",
    "ports.wildcard",  # 0.0.0.0 and :: as port addresses
    "ports.change",  # configure() while the server runs: ports, holding at the next restart
    "ports.report",  # a port that did not open is reported (Endpoint.state, Endpoint.error, the log)
    "ip_ranges",  # which clients are served, by address
    "ip_ranges.priority",
    "ip_ranges.expiry",
    "ip_ranges.permissions",  # allow smtp, pop3, imap, each
    "ip_ranges.deliveries",  # the four directions
    "ip_ranges.authentication",  # required for each of the four directions
    "ip_ranges.tls_for_authentication",
    "ip_ranges.live",  # configure() while the server runs: ranges, holding for the next connection
    "connection_limit",
    "dual_stack_listener",
    "accounts",
    "mail.local",  # mail for a local account can be fetched afterwards (POP3 or IMAP)
    "relay",  # Configuration.relay: one next hop for all outgoing mail, by name or address of either family
    "relay.alternatives",  # several next hops, one after the other
    "relay.security",  # STARTTLS, optional or required, and TLS from the first octet
    "relay.login",
    "delivery.mx",  # outgoing mail without a relay: by MX
    "delivery.bind",  # DeliverySpec.bind: the source address of outgoing connections
    "delivery.ipv6_preferred",
    "delivery.retries",  # DeliverySpec.tries and minutes_between_tries
    "dns",  # Configuration.dns: the resolver that it asks, with its port
    "queue",  # queue(): what waits
    "queue.change",  # change_queue(): retry and delete
    "clock",  # advance(): its clock goes on at once
    "administration",  # admin(): enter and read back single records
    "status.ipv6",  # status(): says whether IPv6 is available to it
    "default_configuration",  # Configuration.default: the program's shipped configuration
    "restart",
    "reinitialize",
    "kill",
    "process_ids",
    "log",
]
"""What an adapter declares in `Hello.capabilities`; a case that needs one more is ``unsupported``."""


class Value(BaseModel):
    """A frozen value; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Limitation(Value):
    """A feature that this server does not have, and why."""

    feature: str
    reason: str
    link: str = ""


class Hello(Value):
    """Who the server under test is and what its adapter can express."""

    protocol: int = PROTOCOL_VERSION
    name: str
    version: str
    path: str = Field(default="", description="The binary, where there is one")
    follows: tuple[Literal["page"], ...] = Field(
        default=(),
        description="['page'] when the server claims to follow the IPv6 page: binds it to levels with *",
    )
    capabilities: tuple[str, ...] = ()
    limitations: tuple[Limitation, ...] = ()


class PortSpec(Value):
    """A TCP/IP port of the server under test."""

    name: str = Field(description="The scenario's name for it; unique in the configuration")
    protocol: ProtocolName
    address: str = Field(description="As written in the scenario, in any text form")
    number: PortNumber = Field(default=0, description="0: any free number; the answer says which")
    security: Literal["none"] = "none"


class RangeSpec(Value):
    """An IP range. Bounds are inclusive; the highest priority that matches decides."""

    name: str
    priority: int = 10
    lower: str
    upper: str
    expires: str | None = Field(default=None, description="UTC, 'YYYY-MM-DD HH:MM:SS'; null = never")
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


class LimitsSpec(Value):
    """Sessions at one time, per protocol; 0 = no limit."""

    smtp: int = Field(default=0, ge=0)
    pop3: int = Field(default=0, ge=0)
    imap: int = Field(default=0, ge=0)


class AccountSpec(Value):
    """A local account; its domain becomes a local domain."""

    address: str
    password: str


class RelaySpec(Value):
    """The next hop of all mail that is not for this server's own accounts."""

    to: str = Field(description="Host name, IPv4 or IPv6 address, as written; several with | between them")
    port: PortNumber = 25
    security: RelaySecurity = "none"
    user: str = Field(default="", description="Empty: no login")
    password: str = ""


class DeliverySpec(Value):
    """How mail goes out, with a relay or without."""

    bind: str = Field(
        default="",
        description="Source of connections of its own family, as written; empty: the system's choice",
    )
    ipv6_preferred: bool = False
    tries: int = Field(default=4, ge=1, description="In all; then the message is returned to its sender")
    minutes_between_tries: int = Field(default=60, ge=0)
    verify: bool = Field(default=True, description="Certificates of next hops are verified")


class DnsSpec(Value):
    """The resolver that the server under test has to ask, and no other."""

    address: str
    port: PortNumber


class HostSpec(Value):
    """The host that the server starts on."""

    ipv6: bool = Field(default=True, description="false: the system has no IPv6 (socket(AF_INET6) fails)")


class Configuration(Value):
    """Everything that a server under test is configured with. What it does not name is the default."""

    default: bool = Field(
        default=False, description="The shipped configuration, only directories and port numbers changed"
    )
    ports: tuple[PortSpec, ...] = ()
    ip_ranges: tuple[RangeSpec, ...] | None = Field(
        default=None, description="null: every client of either family is served and may deliver anything"
    )
    limits: LimitsSpec = LimitsSpec()
    accounts: tuple[AccountSpec, ...] = ()
    relay: RelaySpec | None = Field(default=None, description="null: outgoing mail goes by MX")
    delivery: DeliverySpec = DeliverySpec()
    dns: DnsSpec | None = Field(
        default=None, description="null: the case has no names, and none must be asked for anywhere"
    )
    trust: str = Field(
        default="", description="PEM file of the authority that next hops' certificates come from"
    )
    host: HostSpec = HostSpec()


class Endpoint(Value):
    """What became of one port."""

    name: str
    protocol: ProtocolName
    address: str = Field(description="The address that the server was told, canonical")
    port: int = Field(description="The real number; for a failed port the number that was asked for")
    state: Literal["open", "failed"] = "open"
    error: str = Field(default="", description="The server's words about a port that it could not open")


class Running(Value):
    """The server as it runs now."""

    endpoints: tuple[Endpoint, ...] = ()
    pids: tuple[int, ...] = ()
    log_file: str = ""


class AdminRequest(Value):
    """One thing that an administrator does: add, change, delete or read one record."""

    operation: Literal["add", "change", "delete", "read"]
    kind: AdminKind
    name: str = Field(default="", description="Of the range or port to change, delete or read")
    values: dict[str, str | int | bool] = Field(
        default_factory=dict,
        description="Fields by the names of the HTTP contract, as typed: white space and wrong text included",
    )
    over: Literal["ipv4", "ipv6"] = "ipv4"
    password: Literal["right", "wrong", "none"] = "right"  # noqa: S105 - it says which


class AdminAnswer(Value):
    """What the administration answered."""

    outcome: Literal["accepted", "refused", "unauthorized", "absent", "unreachable"]
    message: str = Field(default="", description="The server's words, where it refused")
    values: dict[str, str | int | bool | None] = Field(default_factory=dict, description="What was read")


class Status(Value):
    """What the server says of itself."""

    ipv6_available: bool | None = None
    text: str = ""


class Waiting(Value):
    """One message that waits to be delivered."""

    id: str
    mail_from: str
    rcpt_to: tuple[str, ...] = Field(description="Recipients that are not settled")
    due: bool = Field(description="It was not tried yet, is tried now, or will be at once")


class Queue(Value):
    """What waits."""

    messages: tuple[Waiting, ...] = ()


class QueueChange(Value):
    """What is done to everything that waits."""

    action: Literal["retry", "delete"]


class Advance(Value):
    """How far a clock goes on."""

    seconds: float = Field(gt=0)


class Adapter(Protocol):
    """A server under test, as the harness sees it. Used by one thread at a time.

    Every method may raise `AdapterUnsupported` (the server cannot do this) or `AdapterError` (it did
    not start, it is gone, or the adapter failed).
    """

    def hello(self) -> Hello:
        """Say who the server is. Callable before `start`, and cheap after the first call."""

    def start(self, case: str, workdir: Path, configuration: Configuration) -> Running:
        """Start the server freshly with empty data below ``workdir`` (exists, empty) and this configuration.

        Returns when every port is open or has been reported as failed. A server that runs from an
        earlier `start` is stopped first.
        """

    def configure(self, configuration: Configuration, *, reset: bool = False) -> Running:
        """Bring the running server to ``configuration``.

        ``reset=False``: what an administrator does to a running server: ranges, limits and accounts hold
        at once, ports after the next `restart` or `reinitialize`.
        ``reset=True``: start of a new case on the same process: mail, sessions and counters of
        the old case are gone, and ports are open, as after `start`.
        """

    def restart(self) -> Running:
        """Stop (if it runs) and start the program with the data it has."""

    def reinitialize(self) -> Running:
        """Let the same process close and reopen everything."""

    def kill(self) -> None:
        """End the server at once, without notice (SIGKILL)."""

    def admin(self, request: AdminRequest) -> AdminAnswer:
        """Do what an administrator does through the server's own administration."""

    def status(self) -> Status:
        """Ask the server for its diagnostics."""

    def queue(self) -> Queue:
        """Return the mail that waits to be delivered."""

    def change_queue(self, change: QueueChange) -> None:
        """Try everything that waits now, or take all of it out; returns when that has begun."""

    def advance(self, step: Advance) -> None:
        """Let the server's clock go on at once; what is due by then happens."""

    def log(self) -> str:
        """Return what the server has logged since `start` (text; the newest at the end)."""

    def stop(self) -> None:
        """End the server and remove what it left. Idempotent; the adapter can `start` again."""

    def close(self) -> None:
        """End the adapter itself, the server included. Idempotent."""


def missing_features(needed: Sequence[str], hello: Hello) -> tuple[Limitation, ...]:
    """Return a reason for each needed feature that ``hello`` does not declare."""
    known = {limitation.feature: limitation for limitation in hello.limitations}
    return tuple(
        known.get(feature)
        or Limitation(feature=feature, reason=f"{hello.name} does not declare the capability {feature}")
        for feature in needed
        if feature not in hello.capabilities
    )
