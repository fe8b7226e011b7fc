"""The scenario model: what a scenario file may say.

A file is a mapping; its steps are mappings with exactly one action key (``connect``, ``login``, …), beside
``expect`` and ``why``. Unknown keys are refused. The JSON Schema for editors is generated from here.

Matrix variables (``$protocol``) are substituted in the raw document before it is validated, so that the
model never sees them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from conformance.scenario.actions import (
    Admin,
    Change,
    Connect,
    Credentials,
    Descriptors,
    Disconnect,
    Empty,
    Fetch,
    Listening,
    Login,
    Os,
    Packets,
    Send,
    Sweep,
    Talk,
)
from conformance.scenario.expectations import (
    AdminExpectation,
    ConnectExpectation,
    DescriptorsExpectation,
    Expectation,
    FetchExpectation,
    ListeningExpectation,
    LoginExpectation,
    PacketsExpectation,
    SendExpectation,
    SocketsExpectation,
    StatusExpectation,
    SweepExpectation,
    TalkExpectation,
)
from conformance.scenario.outgoing import (
    Clock,
    Delivery,
    Dns,
    DnsChange,
    DnsExpectation,
    Queue,
    QueueExpectation,
    Relay,
    Relayed,
    RelayedExpectation,
    SmartHost,
    SmartHostChange,
)
from conformance.scenario.server import Account, Host, IpRange, Limits, Link, OtherHost, Port, Server
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
    "Clock",
    "ClockStep",
    "Connect",
    "ConnectExpectation",
    "ConnectStep",
    "Credentials",
    "Delivery",
    "Descriptors",
    "DescriptorsExpectation",
    "DescriptorsStep",
    "Disconnect",
    "DisconnectStep",
    "Dns",
    "DnsChange",
    "DnsExpectation",
    "DnsStep",
    "Empty",
    "Expectation",
    "Fetch",
    "FetchExpectation",
    "FetchStep",
    "Host",
    "IpRange",
    "Limits",
    "Link",
    "Listening",
    "ListeningExpectation",
    "ListeningStep",
    "Login",
    "LoginExpectation",
    "LoginStep",
    "Model",
    "Os",
    "OsStep",
    "OtherHost",
    "OutcomeWord",
    "Packets",
    "PacketsExpectation",
    "PacketsStep",
    "Port",
    "Queue",
    "QueueExpectation",
    "QueueStep",
    "Relay",
    "Relayed",
    "RelayedExpectation",
    "RelayedStep",
    "Scenario",
    "Send",
    "SendExpectation",
    "SendStep",
    "Server",
    "ServerStep",
    "SmartHost",
    "SmartHostChange",
    "SmartHostStep",
    "SocketsExpectation",
    "SocketsStep",
    "StatusExpectation",
    "StatusStep",
    "Step",
    "Sweep",
    "SweepExpectation",
    "SweepStep",
    "Talk",
    "TalkExpectation",
    "TalkStep",
]

# --- steps ----------------------------------------------------------------------------------------


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


class OsStep(Step):
    os: Os


class SweepStep(Step):
    sweep: Sweep
    expect: Annotated[tuple[SweepExpectation, ...], BeforeValidator(outcomes)] = (SweepExpectation(),)


class PacketsStep(Step):
    packets: Packets
    expect: Annotated[tuple[PacketsExpectation, ...], BeforeValidator(outcomes)] = _expect()


class RelayedStep(Step):
    relayed: Relayed
    expect: Annotated[tuple[RelayedExpectation, ...], BeforeValidator(one_or_many)] = _expect()


class SmartHostStep(Step):
    smart_host: SmartHostChange


class DnsStep(Step):
    dns: DnsChange
    expect: Annotated[tuple[DnsExpectation, ...], BeforeValidator(one_or_many)] = _expect(optional=True)


class ClockStep(Step):
    clock: Clock


class QueueStep(Step):
    queue: Queue
    expect: Annotated[tuple[QueueExpectation, ...], BeforeValidator(one_or_many)] = _expect(optional=True)


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
    "os": OsStep,
    "sweep": SweepStep,
    "packets": PacketsStep,
    "relayed": RelayedStep,
    "smart_host": SmartHostStep,
    "dns": DnsStep,
    "clock": ClockStep,
    "queue": QueueStep,
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
    | OsStep
    | SweepStep
    | PacketsStep
    | RelayedStep
    | SmartHostStep
    | DnsStep
    | ClockStep
    | QueueStep
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
    | Annotated[SocketsStep, Tag("sockets")]
    | Annotated[OsStep, Tag("os")]
    | Annotated[SweepStep, Tag("sweep")]
    | Annotated[PacketsStep, Tag("packets")]
    | Annotated[RelayedStep, Tag("relayed")]
    | Annotated[SmartHostStep, Tag("smart_host")]
    | Annotated[DnsStep, Tag("dns")]
    | Annotated[ClockStep, Tag("clock")]
    | Annotated[QueueStep, Tag("queue")],
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
    links: tuple[Link, ...] = Field(default=(), description="Networks that the server's host is on")
    hosts: tuple[OtherHost, ...] = Field(
        default=(), description="Other hosts, each on a link of the server's"
    )
    smart_hosts: tuple[SmartHost, ...] = Field(
        default=(), description="Mail servers of ours that take what the server sends, and record it"
    )
    dns: Dns | None = Field(default=None, description="The names that the server can look up")
    steps: tuple[StepItem, ...] = Field(min_length=1)
    finally_: tuple[StepItem, ...] = Field(default=(), alias="finally", description="Run whatever happened")
    catches: tuple[str, ...] = Field(
        default=(), description="Faults of the self-test that this scenario turns red"
    )
    profile: Literal["core", "full", "slow"] | None = Field(
        default=None, description="Left out: core when it judges a MUST, full otherwise"
    )
