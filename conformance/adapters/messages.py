"""The messages of the ``exec:`` contract, and their JSON Schema.

The harness writes one request a line (UTF-8 JSON) to the adapter's stdin and reads one answer a line from
its stdout. Every request has ``seq`` and ``op``; the answer echoes ``seq`` and holds exactly one of

    {"seq": 1, "ok": {…}}                                                  its fields depend on the op
    {"seq": 1, "unsupported": {"feature": "…", "reason": "…", "link": "…"}}
    {"seq": 1, "error": {"message": "…"}}

One request is open at a time. What the adapter writes to stderr is its log. It ends, with its server, when
its stdin is closed. An op, a key or a value that it does not know is answered ``unsupported``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from conformance.adapters.base import (
    PROTOCOL_VERSION,
    AdminAnswer,
    AdminRequest,
    Advance,
    Configuration,
    Hello,
    Limitation,
    Queue,
    QueueChange,
    Running,
    Status,
    Value,
)


class Request(Value):
    """What every request has."""

    seq: int = Field(
        ge=1, description="Counts the requests of one adapter process from 1; the answer echoes it"
    )


class HelloRequest(Request):
    op: Literal["hello"] = "hello"
    protocol: int = PROTOCOL_VERSION
    settings: dict[str, str] = Field(
        default_factory=dict, description="What the user gave by --set KEY=VALUE"
    )


class StartRequest(Configuration, Request):
    op: Literal["start"] = "start"
    case: str = Field(description="The case's id, for the log")
    workdir: str = Field(description="An empty directory, for the server's data")


class ConfigureRequest(Configuration, Request):
    op: Literal["configure"] = "configure"
    reset: bool = Field(default=False, description="A new case begins on this process: as after start")


class RestartRequest(Request):
    op: Literal["restart"] = "restart"


class ReinitializeRequest(Request):
    op: Literal["reinitialize"] = "reinitialize"


class KillRequest(Request):
    op: Literal["kill"] = "kill"


class AdminOperationRequest(AdminRequest, Request):
    op: Literal["admin"] = "admin"


class StatusRequest(Request):
    op: Literal["status"] = "status"


class QueueRequest(Request):
    op: Literal["queue"] = "queue"


class ChangeQueueRequest(QueueChange, Request):
    op: Literal["change_queue"] = "change_queue"


class AdvanceRequest(Advance, Request):
    op: Literal["advance"] = "advance"


class LogRequest(Request):
    op: Literal["log"] = "log"


class StopRequest(Request):
    op: Literal["stop"] = "stop"


class Done(Value):
    """The answer of ``kill``, ``stop``, ``change_queue`` and ``advance``: nothing."""


class LogText(Value):
    """The answer of ``log``."""

    text: str


class Failure(Value):
    """The adapter or the server could not do what was asked."""

    message: str


AnyRequest = Annotated[
    HelloRequest
    | StartRequest
    | ConfigureRequest
    | RestartRequest
    | ReinitializeRequest
    | KillRequest
    | AdminOperationRequest
    | StatusRequest
    | QueueRequest
    | ChangeQueueRequest
    | AdvanceRequest
    | LogRequest
    | StopRequest,
    Field(discriminator="op"),
]

REQUESTS: dict[str, type[Request]] = {
    "hello": HelloRequest,
    "start": StartRequest,
    "configure": ConfigureRequest,
    "restart": RestartRequest,
    "reinitialize": ReinitializeRequest,
    "kill": KillRequest,
    "admin": AdminOperationRequest,
    "status": StatusRequest,
    "queue": QueueRequest,
    "change_queue": ChangeQueueRequest,
    "advance": AdvanceRequest,
    "log": LogRequest,
    "stop": StopRequest,
}
"""By op."""

ANSWERS: dict[str, type[Value]] = {
    "hello": Hello,
    "start": Running,
    "configure": Running,
    "restart": Running,
    "reinitialize": Running,
    "kill": Done,
    "admin": AdminAnswer,
    "status": Status,
    "queue": Queue,
    "change_queue": Done,
    "advance": Done,
    "log": LogText,
    "stop": Done,
}
"""What ``ok`` holds, by op."""


class Answer(Value):
    """One answer, before ``ok`` is looked at."""

    seq: int
    ok: dict[str, Any] | None = None
    unsupported: Limitation | None = None
    error: Failure | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Answer:
        if sum(part is not None for part in (self.ok, self.unsupported, self.error)) != 1:
            raise ValueError("exactly one of ok, unsupported and error is expected")
        return self


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of every message.

    A document is valid when it is a request or an answer; ``x-answers`` says, by op, what ``ok`` holds.
    """
    models: list[type[Value]] = [*REQUESTS.values(), *dict.fromkeys(ANSWERS.values()), Limitation, Failure]
    inputs: list[tuple[type[Value], JsonSchemaMode]] = [(model, "validation") for model in models]
    references, definitions = models_json_schema(inputs, ref_template="#/$defs/{model}")
    answers = {op: references[model, "validation"] for op, model in ANSWERS.items()}
    parts: list[tuple[str, dict[str, Any]]] = [
        ("ok", {"anyOf": list({str(ref): ref for ref in answers.values()}.values())}),
        ("unsupported", references[Limitation, "validation"]),
        ("error", references[Failure, "validation"]),
    ]
    for model in REQUESTS.values():
        definition = definitions["$defs"][model.__name__]
        definition["required"] = sorted({*definition.get("required", ()), "seq", "op"})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Sixpost adapter contract, exec:",
        "description": (__doc__ or "").strip(),
        "x-protocol": PROTOCOL_VERSION,
        "x-answers": answers,
        "oneOf": [
            *(references[model, "validation"] for model in REQUESTS.values()),
            *(
                {
                    "type": "object",
                    "properties": {"seq": {"type": "integer", "minimum": 1}, key: part},
                    "required": ["seq", key],
                    "additionalProperties": False,
                }
                for key, part in parts
            ),
        ],
        "$defs": definitions["$defs"],
    }
