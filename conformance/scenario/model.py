"""The scenario model: what a scenario file may say.

A file is a mapping; its steps are mappings with exactly one action key (``connect``, ``login``, …), beside
``expect`` and ``why``. Unknown keys are refused. The JSON Schema for editors is generated from here.

Matrix variables (``$protocol``) are substituted in the raw document before it is validated, so that the
model never sees them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from conformance.adapters.base import Direction, ProtocolName

OutcomeWord = Literal[
    "served",
    "wrong_protocol",
    "closed_silent",
    "reset",
    "closed_after_text",
    "refused",
    "filtered",
    "unreachable",
    "hung",
    "closed",
]


def _seconds(value: Any) -> Any:
    """'1s', '250ms', '2min' → seconds; a bare number is refused by the field's own type message."""
    if isinstance(value, str):
        for unit, factor in (("ms", 0.001), ("min", 60.0), ("s", 1.0), ("h", 3600.0)):
            number = value.removesuffix(unit)
            if number != value and number.strip().replace(".", "", 1).isdigit():
                return float(number) * factor
    raise ValueError("a duration with its unit is expected, such as 250ms, 1s, 2min or 1h")


def _one_or_many(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else [value]


Duration = Annotated[float, BeforeValidator(_seconds)]
"""Seconds; written with a unit."""


class Model(BaseModel):
    """Base of everything in a scenario file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# --- server ---------------------------------------------------------------------------------------


class Port(Model):
    """A TCP/IP port of the server under test."""

    name: str = Field(description="What steps call it", examples=["door"])
    protocol: ProtocolName
    address: str = Field(description="IPv4 or IPv6 address, in any text form", examples=["::1"])
    number: Literal["any", "in_use"] | str = Field(
        default="any",
        description="'any': a free number, read back; 'in_use': one that another program already holds on this "
        "address; the name of another port: the same number as that port has",
    )


class IpRange(Model):
    """An IP range; left out: everything allowed, authentication as in the shipped Internet range."""

    name: str
    priority: int = 10
    lower: str
    upper: str
    expires: Literal["never", "past", "future"] | str = Field(
        default="never", description="'past' and 'future': an hour ago, in an hour; or 'YYYY-MM-DD HH:MM:SS' UTC"
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


class Host(Model):
    """The host that the server is started on."""

    ipv6: bool = Field(default=True, description="false: an operating system without IPv6")


class Server(Model):
    """The server's configuration for this case."""

    ports: tuple[Port, ...] = ()
    ip_ranges: tuple[IpRange, ...] | None = Field(
        default=None, description="Left out: everybody is served and may deliver anything"
    )
    limits: Limits = Limits()
    accounts: tuple[Account, ...] = ()
    host: Host = Host()


# --- expectations ---------------------------------------------------------------------------------


class Expectation(Model):
    """Base: which requirements it judges."""

    judges: tuple[str, ...] | None = Field(
        default=None, description="Requirements that this judges; left out: all of the scenario's"
    )
    control: bool = Field(
        default=False,
        description="A positive control: it judges nothing; when it fails the case is inconclusive",
    )


class ConnectExpectation(Expectation):
    """``warn`` names a lesser outcome that is only warned about."""

    outcome: OutcomeWord | Literal["oracle"]
    within: Duration | None = Field(
        default=None, description="Greeting or close at most this long after the handshake; later is a failure"
    )
    warn_after: Duration | None = Field(default=None, description="Later than this is warned about")
    warn: tuple[OutcomeWord, ...] = ()


class TalkExpectation(Expectation):
    reply: str = Field(description="How the server's answer begins, e.g. '250', '+OK', 'a OK'")


class LoginExpectation(Expectation):
    outcome: Literal["accepted", "refused", "oracle"]
    code: str = Field(default="", description="How the refusal begins, e.g. '530' or '-ERR'")


class SendExpectation(Expectation):
    outcome: Literal["accepted", "rejected", "oracle"]
    at: Literal["connect", "helo", "auth", "mail", "rcpt", "data"] | None = None
    code: str = Field(default="", description="How the refusal begins, e.g. '550'")


class FetchExpectation(Expectation):
    messages: int | None = Field(default=None, description="How many messages are there")
    contains: tuple[str, ...] = Field(default=(), description="Texts that the newest message has")


class AdminExpectation(Expectation):
    outcome: Literal["accepted", "refused", "unauthorized", "absent"]
    names: str = Field(default="", description="The field that the refusal names")
    values: dict[str, str | int | bool] = Field(
        default_factory=dict, description="What is read back: the exact text or number of these fields"
    )


class ListeningExpectation(Expectation):
    state: Literal["open", "failed"]
    reported: bool = Field(
        default=False, description="The log or the status names address and number of the port that did not open"
    )


class StatusExpectation(Expectation):
    ipv6_available: bool


class DescriptorsExpectation(Expectation):
    growth_at_most: int = Field(ge=0, description="Open descriptors more than at the mark")


class SocketsExpectation(Expectation):
    ipv6: Literal["none", "some"] = Field(description="Listening IPv6 sockets of the server's processes")


# --- steps ----------------------------------------------------------------------------------------


class Connect(Model):
    """One TCP connection (or ``times``), without a word from the client."""

    to: str = Field(description="Name of a port")
    at: str | None = Field(default=None, description="Another address of the host, with that port's number")
    from_: str | None = Field(
        default=None,
        alias="from",
        description="Source address; left out: the loopback address of the target's family",
    )
    as_: str | None = Field(default=None, alias="as", description="Keep the session open under this name")
    times: int = Field(default=1, ge=1, le=10_000, description="One after the other; each must meet the expectation")
    eventually: bool = Field(default=False, description="Try again until it holds (a slot that becomes free)")


class Talk(Model):
    session: str
    say: str = Field(description="One line; CRLF is added", examples=["NOOP", "a NOOP"])


class Disconnect(Model):
    session: str
    how: Literal["quit", "close", "reset"] = "close"


class Login(Model):
    to: str
    from_: str | None = Field(default=None, alias="from")
    user: str
    password: str


class Credentials(Model):
    user: str
    password: str


class Send(Model):
    """One message by SMTP."""

    to: str
    from_: str | None = Field(default=None, alias="from")
    mail_from: str = Field(description="Envelope sender; '' is the null sender")
    rcpt_to: Annotated[tuple[str, ...], BeforeValidator(_one_or_many)]
    login: Credentials | None = None
    helo: str | None = Field(default=None, description="EHLO argument; left out: the address literal of the source")
    body: str = "A test message of the conformance suite.\n"


class Fetch(Model):
    """Log in by POP3 or IMAP (the port's protocol) and look."""

    to: str
    from_: str | None = Field(default=None, alias="from")
    user: str
    password: str


class Admin(Model):
    """What an administrator does in the server's own administration. Exactly one of add, change, delete, read."""

    add: Literal["ip_range", "port", "settings"] | None = None
    change: Literal["ip_range", "port", "settings"] | None = None
    delete: Literal["ip_range", "port"] | None = None
    read: Literal["ip_range", "port", "settings"] | None = None
    name: str = Field(default="", description="Of the range or port to change, delete or read")
    values: dict[str, str | int | bool] = Field(default_factory=dict, description="Field names of the HTTP contract")
    over: Literal["ipv4", "ipv6"] = "ipv4"
    password: Literal["right", "wrong", "none"] = "right"


class Change(Model):
    """A change of the running server's configuration. Ranges hold at once, ports at the next restart."""

    add_ports: tuple[Port, ...] = ()
    delete_ports: tuple[str, ...] = ()
    add_ip_ranges: tuple[IpRange, ...] = ()
    replace_ip_ranges: tuple[IpRange, ...] = Field(default=(), description="By name")
    delete_ip_ranges: tuple[str, ...] = ()
    limits: Limits | None = None


class Listening(Model):
    port: str


class Descriptors(Model):
    """Exactly one of both: take a mark, or compare with it."""

    mark: str | None = None
    since: str | None = None


class Empty(Model):
    pass


class Step(Model):
    """Base of all steps."""

    why: str = Field(default="", description="For the reader and the report")


def _expect(optional: bool = False) -> Any:
    return Field(default=()) if optional else Field(min_length=1)


class ConnectStep(Step):
    connect: Connect
    expect: Annotated[tuple[ConnectExpectation, ...], BeforeValidator(_one_or_many)] = _expect()


class TalkStep(Step):
    talk: Talk
    expect: Annotated[tuple[TalkExpectation, ...], BeforeValidator(_one_or_many)] = _expect()


class DisconnectStep(Step):
    disconnect: Disconnect


class LoginStep(Step):
    login: Login
    expect: Annotated[tuple[LoginExpectation, ...], BeforeValidator(_one_or_many)] = _expect()


class SendStep(Step):
    send: Send
    expect: Annotated[tuple[SendExpectation, ...], BeforeValidator(_one_or_many)] = _expect()


class FetchStep(Step):
    fetch: Fetch
    expect: Annotated[tuple[FetchExpectation, ...], BeforeValidator(_one_or_many)] = _expect()


class AdminStep(Step):
    admin: Admin
    expect: Annotated[tuple[AdminExpectation, ...], BeforeValidator(_one_or_many)] = _expect()


class ChangeStep(Step):
    change: Change


class ServerStep(Step):
    """``kill`` ends the process at once; ``restart`` starts it again, with its data, dead or alive."""

    server: Literal["restart", "reinitialize", "kill"]


class ListeningStep(Step):
    listening: Listening
    expect: Annotated[tuple[ListeningExpectation, ...], BeforeValidator(_one_or_many)] = _expect()


class StatusStep(Step):
    status: Empty
    expect: Annotated[tuple[StatusExpectation, ...], BeforeValidator(_one_or_many)] = _expect()


class DescriptorsStep(Step):
    descriptors: Descriptors
    expect: Annotated[tuple[DescriptorsExpectation, ...], BeforeValidator(_one_or_many)] = _expect(optional=True)


class SocketsStep(Step):
    sockets: Empty
    expect: Annotated[tuple[SocketsExpectation, ...], BeforeValidator(_one_or_many)] = _expect()


STEP_TYPES: dict[str, type[Step]] = {
    "connect": ConnectStep,
    "talk": TalkStep,
    "disconnect": DisconnectStep,
    "login": LoginStep,
    "send": SendStep,
    "fetch": FetchStep,
    "admin": AdminStep,
    "change": ChangeStep,
    "server": ServerStep,
    "listening": ListeningStep,
    "status": StatusStep,
    "descriptors": DescriptorsStep,
    "sockets": SocketsStep,
}

AnyStep = (
    ConnectStep
    | TalkStep
    | DisconnectStep
    | LoginStep
    | SendStep
    | FetchStep
    | AdminStep
    | ChangeStep
    | ServerStep
    | ListeningStep
    | StatusStep
    | DescriptorsStep
    | SocketsStep
)


class Scenario(Model):
    """One scenario file after matrix substitution: one case."""

    id: str = Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_-]+)+$", examples=["ip_ranges.no-match"])
    title: str = Field(min_length=10, description="The behaviour, as a sentence")
    requirements: tuple[str, ...] = Field(min_length=1)
    matrix: dict[str, tuple[str | int | bool, ...]] = Field(default_factory=dict)
    server: Server | Literal["default"] = Server()
    steps: tuple[AnyStep, ...] = Field(min_length=1)
    finally_: tuple[AnyStep, ...] = Field(default=(), alias="finally")
    catches: tuple[str, ...] = Field(default=(), description="Faults of the self-test that this scenario turns red")
    profile: Literal["core", "full", "slow"] | None = Field(
        default=None, description="Left out: core when it judges a MUST, full otherwise"
    )
