"""How a smart host treats its clients: what scenarios write, and `smart_host` does. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from conformance.scenario.values import Duration, LooseText, Model, one_or_many

State = Literal["up", "down", "black_hole", "unreachable", "silent", "reset"]
AnswerStage = Literal["connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "end"]
CutPoint = Literal["connect", "ehlo", "mail", "rcpt", "data", "content", "dot", "taken", "answered"]
Extension = Literal["8bitmime", "pipelining", "size", "ehlo"]


class Login(Model):
    """Who may send."""

    user: str
    password: str


class Cut(Model):
    """Where a connection ends without warning.

    ``connect``: before the greeting; ``ehlo`` to ``data``: in place of the reply to that command;
    ``content``: in the midst of the message; ``dot``: after the final dot, and the message is not taken;
    ``taken``: it is, and no reply says so; ``answered``: after the 250.
    """

    at: CutPoint
    how: Literal["close", "reset"] = "close"


class Behaviour(Model):
    """How it treats whoever comes. What is left out is as with an ordinary host that takes everything."""

    state: State = Field(
        default="up",
        description="down: nothing listens, SYN is answered with RST; black_hole: SYN is not answered; "
        "unreachable: there is no way there; silent: takes connections and says nothing; reset: takes "
        "connections and resets them",
    )
    answer: dict[AnswerStage, LooseText] = Field(
        default_factory=dict,
        description="Replies in place of the good ones",
        examples=[{"mail": "451 4.3.0 later", "end": "554 5.6.0 no"}],
    )
    recipients: dict[str, LooseText] = Field(
        default_factory=dict, description="Replies to RCPT by recipient", examples=[{"b@example.net": "550"}]
    )
    cut: Cut | None = None
    times: int | None = Field(
        default=None,
        ge=1,
        description="'answer', 'recipients' and 'cut' hold so often, together; left out: always",
    )
    slow: Duration = Field(default=0.0, description="Before every reply")
    lacks: Annotated[tuple[Extension, ...], BeforeValidator(one_or_many)] = Field(
        default=(), description="What EHLO does not offer; ehlo: EHLO itself is not known"
    )
    size: int = Field(default=32 * 2**20, ge=1, description="Octets of the largest message")
    security: Literal["none", "starttls_offered", "starttls", "tls"] = Field(
        default="none", description="starttls: nothing is taken before it; tls: from the first octet"
    )
    certificate: tuple[str, ...] | None = Field(
        default=None,
        description="Host names and addresses that the certificate names; left out: 'names' and addresses",
    )
    untrusted: bool = Field(default=False, description="The certificate is of an authority nobody knows")
    login: Login | None = Field(default=None, description="Required before MAIL")

    @property
    def listens(self) -> bool:
        """Whether connections are taken."""
        return self.state in ("up", "silent", "reset")
