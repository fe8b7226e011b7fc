"""The messages of the ``exec:`` contract and their published schema."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from conformance.adapters import messages
from conformance.adapters.base import Configuration, Feature


def test_the_schema_is_json_and_every_reference_is_there() -> None:
    text = json.dumps(messages.schema())
    schema = json.loads(text)

    def references(part: Any) -> list[str]:
        if isinstance(part, dict):
            own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
            return own + [found for value in part.values() for found in references(value)]
        return [found for value in part for found in references(value)] if isinstance(part, list) else []

    found = references(schema)
    assert found
    assert {reference.removeprefix("#/$defs/") for reference in found} <= set(schema["$defs"])


def test_every_op_has_a_request_and_an_answer_in_the_schema() -> None:
    schema = messages.schema()
    ops = {"hello", "start", "configure", "restart", "reinitialize", "kill", "admin", "status", "log", "stop"}
    ops |= {"queue", "change_queue", "advance"}
    assert set(messages.REQUESTS) == set(messages.ANSWERS) == set(schema["x-answers"]) == ops
    for op, model in messages.REQUESTS.items():
        definition = schema["$defs"][model.__name__]
        assert definition["properties"]["op"]["const"] == op
        assert {"seq", "op"} <= set(definition["required"])
        assert definition["additionalProperties"] is False


@pytest.mark.parametrize("op", sorted(messages.REQUESTS))
def test_a_request_reads_back_as_itself(op: str) -> None:
    extra = {
        "start": {
            "case": "a.b",
            "workdir": "/nowhere",
            "ports": [{"name": "p", "protocol": "smtp", "address": "::"}],
        },
        "admin": {"operation": "read", "kind": "port", "name": "door"},
        "change_queue": {"action": "retry"},
        "advance": {"seconds": 61},
    }.get(op, {})
    request = messages.REQUESTS[op].model_validate({"seq": 7, "op": op, **extra})
    again: Any = TypeAdapter(messages.AnyRequest).validate_json(request.model_dump_json())
    assert again == request


def test_a_start_says_everything_of_a_configuration() -> None:
    assert set(Configuration.model_fields) <= set(messages.StartRequest.model_fields)
    assert set(Configuration.model_fields) <= set(messages.ConfigureRequest.model_fields)


@pytest.mark.parametrize(
    "answer",
    [
        {"seq": 1},
        {"seq": 1, "ok": {}, "error": {"message": ""}},
        {"seq": 1, "ok": {}, "more": 1},
        {"ok": {}},
        {"seq": 1, "unsupported": {"feature": "x"}},
    ],
)
def test_a_wrong_answer_is_refused(answer: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        messages.Answer.model_validate(answer)


def test_features_are_named_once() -> None:
    features = get_args(Feature)
    assert len(features) == len(set(features))
