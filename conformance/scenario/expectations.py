"""Expectations: what a step must come to, and which requirements that judges."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from conformance.scenario.values import Duration, LooseText, Model, OutcomeWord


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

    outcome: Literal[OutcomeWord, "oracle"]
    within: Duration | None = Field(
        default=None,
        description="Greeting or close at most this long after the handshake; later is a failure",
    )
    warn_after: Duration | None = Field(default=None, description="Later than this is warned about")
    warn: tuple[OutcomeWord, ...] = ()


class TalkExpectation(Expectation):
    reply: LooseText = Field(description="How the server's answer begins, e.g. '250', '+OK', 'a OK'")


class LoginExpectation(Expectation):
    outcome: Literal["accepted", "refused", "oracle"]
    code: LooseText = Field(default="", description="How the refusal begins, e.g. '530' or '-ERR'")


class SendExpectation(Expectation):
    """``left``: the client went away in DATA, as 'until' says, and heard nothing of what became of it;
    ``answered``: the message was taken or refused at the end of DATA, either will do.
    """

    outcome: Literal["accepted", "rejected", "answered", "left", "oracle"]
    at: Literal["connect", "helo", "auth", "mail", "rcpt", "data"] | None = None
    code: LooseText = Field(default="", description="How the refusal begins, e.g. '550'")


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
        default=False,
        description="The log or the status names address and number of the port that did not open",
    )


class StatusExpectation(Expectation):
    ipv6_available: bool


class DescriptorsExpectation(Expectation):
    growth_at_most: int = Field(ge=0, description="Open descriptors more than at the mark")


class SocketsExpectation(Expectation):
    ipv6: Literal["none", "some"] = Field(description="Listening IPv6 sockets of the server's processes")


class SweepExpectation(Expectation):
    """``oracle``: each source gets what the configuration says for it."""

    outcome: Literal[OutcomeWord, "oracle"] = "oracle"
    within: Duration | None = Field(
        default=None, description="Greeting or close at most this long after the handshake"
    )


class PacketsExpectation(Expectation):
    """``completed``: the exchange came to its end, the floods were sent, the handshakes were completed."""

    outcome: Literal["completed"]
    everyone: Literal["greeted", "closed"] | None = Field(
        default=None,
        description="Of handshakes: every client was told something, or was disconnected with no octet",
    )
    within: Duration = Field(default=30.0, description="Of everyone: later is a failure")
