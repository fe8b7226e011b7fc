"""The scenario model: what a scenario file may say.

A file is a mapping; its steps are mappings with exactly one action key (``connect``, ``login``, …), beside
``expect`` and ``why``. Unknown keys are refused. The JSON Schema for editors is generated from here.

Matrix variables (``$protocol``) are substituted in the raw document before it is validated, so that the
model never sees them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from conformance.scenario.expectations import (
    AdminExpectation,
    ConnectExpectation,
    DescriptorsExpectation,
    Expectation,
    FetchExpectation,
    ListeningExpectation,
    LoginExpectation,
    SendExpectation,
    SocketsExpectation,
    StatusExpectation,
    TalkExpectation,
)
from conformance.scenario.server import Account, Host, IpRange, Limits, Port, Server
from conformance.scenario.values import Model, OutcomeWord, one_or_many, outcomes

__all__ = [
    "STEP_TYPES",
    "Account",
    "Admin",
    "AdminExpectation",
    "AdminStep",
    "AnyStep",
    "Change",
    "ChangeStep",
    "Connect",
    "ConnectExpectation",
    "ConnectStep",
    "Credentials",
    "Descriptors",
    "DescriptorsExpectation",
    "DescriptorsStep",
    "Disconnect",
    "DisconnectStep",
    "Empty",
    "Expectation",
    "Fetch",
    "FetchExpectation",
    "FetchStep",
    "Host",
    "IpRange",
    "Limits",
    "Listening",
    "ListeningExpectation",
    "ListeningStep",
    "Login",
    "LoginExpectation",
    "LoginStep",
    "Model",
    "OutcomeWord",
    "Port",
    "Scenario",
    "Send",
    "SendExpectation",
    "SendStep",
    "Server",
    "ServerStep",
    "SocketsExpectation",
    "SocketsStep",
    "StatusExpectation",
    "StatusStep",
    "Step",
    "Talk",
    "TalkExpectation",
    "TalkStep",
]

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
    times: int = Field(
        default=1, ge=1, le=10_000, description="One after the other; each must meet the expectation"
    )
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
    rcpt_to: Annotated[tuple[str, ...], BeforeValidator(one_or_many)]
    login: Credentials | None = None
    helo: str | None = Field(
        default=None, description="EHLO argument; left out: the address literal of the source"
    )
    body: str = "A test message of the conformance suite.\n"
    until: Literal["rcpt", "data"] = Field(
        default="data", description="'rcpt': only ask whether the recipients are taken, and send no message"
    )


class Fetch(Model):
    """Log in by POP3 or IMAP (the port's protocol) and look."""

    to: str
    from_: str | None = Field(default=None, alias="from")
    user: str
    password: str


class Admin(Model):
    """What an administrator does in the server's own administration: one of add, change, delete, read."""

    add: Literal["ip_range", "port", "settings"] | None = None
    change: Literal["ip_range", "port", "settings"] | None = None
    delete: Literal["ip_range", "port"] | None = None
    read: Literal["ip_range", "port", "settings"] | None = None
    name: str = Field(default="", description="Of the range or port to change, delete or read")
    values: dict[str, str | int | bool] = Field(
        default_factory=dict, description="Field names of the HTTP contract"
    )
    over: Literal["ipv4", "ipv6"] = "ipv4"
    password: Literal["right", "wrong", "none"] = "right"  # noqa: S105 - it says which


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
    expect: Annotated[tuple[ConnectExpectation, ...], BeforeValidator(outcomes)] = _expect()


class TalkStep(Step):
    talk: Talk
    expect: Annotated[tuple[TalkExpectation, ...], BeforeValidator(one_or_many)] = _expect()


class DisconnectStep(Step):
    disconnect: Disconnect


class LoginStep(Step):
    login: Login
    expect: Annotated[tuple[LoginExpectation, ...], BeforeValidator(outcomes)] = _expect()


class SendStep(Step):
    send: Send
    expect: Annotated[tuple[SendExpectation, ...], BeforeValidator(outcomes)] = _expect()


class FetchStep(Step):
    fetch: Fetch
    expect: Annotated[tuple[FetchExpectation, ...], BeforeValidator(one_or_many)] = _expect()


class AdminStep(Step):
    admin: Admin
    expect: Annotated[tuple[AdminExpectation, ...], BeforeValidator(outcomes)] = _expect()


class ChangeStep(Step):
    change: Change


class ServerStep(Step):
    """``kill`` ends the process at once; ``restart`` starts it again, with its data, dead or alive."""

    server: Literal["restart", "reinitialize", "kill"]


class ListeningStep(Step):
    listening: Listening
    expect: Annotated[tuple[ListeningExpectation, ...], BeforeValidator(one_or_many)] = _expect()


class StatusStep(Step):
    status: Empty
    expect: Annotated[tuple[StatusExpectation, ...], BeforeValidator(one_or_many)] = _expect()


class DescriptorsStep(Step):
    descriptors: Descriptors
    expect: Annotated[tuple[DescriptorsExpectation, ...], BeforeValidator(one_or_many)] = _expect(
        optional=True
    )


class SocketsStep(Step):
    sockets: Empty
    expect: Annotated[tuple[SocketsExpectation, ...], BeforeValidator(one_or_many)] = _expect()


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


def _action(value: Any) -> str | None:
    """Return the action key of a step as it is written, or of a step that is built."""
    if isinstance(value, Step):
        return next((name for name, step in STEP_TYPES.items() if type(value) is step), None)
    if isinstance(value, dict):
        return next((name for name in value if name in STEP_TYPES), None)
    return None


StepItem = Annotated[
    Annotated[ConnectStep, Tag("connect")]
    | Annotated[TalkStep, Tag("talk")]
    | Annotated[DisconnectStep, Tag("disconnect")]
    | Annotated[LoginStep, Tag("login")]
    | Annotated[SendStep, Tag("send")]
    | Annotated[FetchStep, Tag("fetch")]
    | Annotated[AdminStep, Tag("admin")]
    | Annotated[ChangeStep, Tag("change")]
    | Annotated[ServerStep, Tag("server")]
    | Annotated[ListeningStep, Tag("listening")]
    | Annotated[StatusStep, Tag("status")]
    | Annotated[DescriptorsStep, Tag("descriptors")]
    | Annotated[SocketsStep, Tag("sockets")],
    Discriminator(_action),
]
"""`AnyStep`, told apart by its one action key: an error speaks of that step only."""

Value = str | int | bool


def _shape(value: Any) -> str:
    return "(default)" if isinstance(value, str) else "(configured)"


ServerItem = Annotated[
    Annotated[Server, Tag("(configured)")] | Annotated[Literal["default"], Tag("(default)")],
    Discriminator(_shape),
]


class Scenario(Model):
    """One scenario file after matrix substitution: one case."""

    id: str = Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_-]+)+$", examples=["ip_ranges.no-match"])
    title: str = Field(min_length=10, description="The behaviour, as a sentence")
    requirements: tuple[str, ...] = Field(min_length=1)
    matrix: dict[str, tuple[Value, ...]] | tuple[dict[str, Value], ...] = Field(
        default_factory=dict,
        description="Variables with their values: every combination is a case. Or a list of combinations, "
        "each with a 'label' if one likes, which then names the case",
    )
    server: ServerItem = Server()
    steps: tuple[StepItem, ...] = Field(min_length=1)
    finally_: tuple[StepItem, ...] = Field(default=(), alias="finally", description="Run whatever happened")
    catches: tuple[str, ...] = Field(
        default=(), description="Faults of the self-test that this scenario turns red"
    )
    profile: Literal["core", "full", "slow"] | None = Field(
        default=None, description="Left out: core when it judges a MUST, full otherwise"
    )
