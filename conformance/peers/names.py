"""Names of a case, and what goes wrong with looking them up: what scenarios write. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from conformance.scenario.values import Duration, Model, one_or_many

RecordType = Literal["A", "AAAA", "CNAME", "MX", "TXT"]
Texts = Annotated[tuple[str, ...], BeforeValidator(one_or_many)]


class Records(Model):
    """What a name has; nothing: the name is there, and has none of them."""

    A: Texts = ()
    AAAA: Texts = ()
    CNAME: str | None = None
    MX: Texts = Field(default=(), examples=[["10 mx.example.net"], ["0 ."]])
    TXT: Texts = ()
    ttl: int = Field(default=60, ge=0)


class Failure(Model):
    """What goes wrong with a question; the first that fits holds."""

    name: str | None = Field(default=None, description="Left out: every name")
    type: RecordType | None = Field(default=None, description="Left out: every type")
    answer: Literal["right", "servfail", "refused", "nxdomain", "nothing", "truncated"] = Field(
        default="right",
        description="nothing: no answer; truncated: over UDP the answer is cut, over TCP it is whole",
    )
    delay: Duration = Field(default=0.0, description="Before the answer")
    over: Literal["udp", "tcp"] | None = Field(default=None, description="Left out: both")
    times: int | None = Field(default=None, ge=1, description="So often; left out: always")


Zone = dict[str, Records]
"""By name, without the last dot; a name that is not there does not exist."""
