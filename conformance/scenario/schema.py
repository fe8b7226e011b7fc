"""JSON Schema of a scenario file, for editors: completion, and checks as one types.

Generated from the model, with what the model's validators accept besides: one value where a list may stand,
``expect: served``, durations with a unit, and a matrix variable wherever a value may stand. The loader
says more (names, addresses, requirements); what it accepts, the schema accepts.
"""

from __future__ import annotations

import copy
from typing import Any

from conformance.scenario.expectations import (
    AdminExpectation,
    ConnectExpectation,
    LoginExpectation,
    PacketsExpectation,
    SendExpectation,
    SweepExpectation,
)
from conformance.scenario.model import STEP_TYPES, Scenario

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_VARIABLE: dict[str, Any] = {
    "type": "string",
    "pattern": r"\$[A-Za-z_{]",
    "description": "A matrix variable, such as $protocol",
}
_DURATION: dict[str, Any] = {
    "type": "string",
    "pattern": r"^[0-9. ]+(ms|s|min|h)$",
    "examples": ["250ms", "1s", "2min"],
}
_OUTCOME_EXPECTATIONS = frozenset(
    kind.__name__
    for kind in (
        AdminExpectation,
        ConnectExpectation,
        LoginExpectation,
        PacketsExpectation,
        SendExpectation,
        SweepExpectation,
    )
)
_DURATION_KEYS = frozenset({"within", "warn_after", "nothing", "advance", "delay", "slow"})
_REPLY_KEYS = frozenset({"code", "reply", "port"})
_REPLIES_KEYS = frozenset({"answer", "recipients"})
_ONE_OR_MANY_KEYS = frozenset(
    {"expect", "rcpt_to", "by", "asked", "never_asked", "never_to", "remove", "lacks", "names", "contains"}
    | {"A", "AAAA", "MX", "TXT", "at", "addresses"}
)
"""Where the value is a list."""
_NOT_SUBSTITUTED = frozenset({"id", "matrix"})


def scenario_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a scenario file."""
    schema = copy.deepcopy(Scenario.model_json_schema(by_alias=True, mode="validation"))
    definitions: dict[str, Any] = schema["$defs"]
    for name, definition in definitions.items():
        _properties(definition, step=name in _step_names())
    _properties(schema, step=False)
    return {"$schema": DIALECT, "$id": "urn:sixpost:scenario", **schema, "title": "A scenario of Sixpost"}


def _step_names() -> frozenset[str]:
    return frozenset(step.__name__ for step in STEP_TYPES.values())


def _properties(definition: dict[str, Any], *, step: bool) -> None:
    """Widen what the properties of one object take."""
    properties: dict[str, Any] = definition.get("properties", {})
    for key, value in properties.items():
        if key in _DURATION_KEYS:
            value = _without_type(value, "number", _DURATION)
        if key in _REPLY_KEYS:
            value = {"anyOf": [{"type": "string"}, {"type": "integer"}], **_about(value)}
        if key in _REPLIES_KEYS and "additionalProperties" in value:
            value = {**value, "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}
        if "propertyNames" in value:
            value = {**value, "propertyNames": _with_variables(value["propertyNames"])}
        if key in _ONE_OR_MANY_KEYS:
            value = _one_or_many(value)
        if key not in _NOT_SUBSTITUTED or step:
            value = _with_variables(value)
        properties[key] = value
    if definition.get("additionalProperties") is False and not step:
        # A key may hold a variable as well: ``limits: {$protocol: 1}``.
        definition["patternProperties"] = {_VARIABLE["pattern"]: {}}


def _about(value: dict[str, Any]) -> dict[str, Any]:
    return {key: value[key] for key in ("title", "description", "default", "examples") if key in value}


def _without_type(value: dict[str, Any], name: str, instead: dict[str, Any]) -> dict[str, Any]:
    kinds = value.get("anyOf", [value])
    return {
        "anyOf": [instead if kind.get("type") == name else kind for kind in kinds],
        **_about(value),
    }


def _one_or_many(value: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in value:
        members = [_one_or_many(member) for member in value["anyOf"]]
        flat = [part for one in members for part in (one["anyOf"] if set(one) == {"anyOf"} else [one])]
        return {**value, "anyOf": flat}
    if "items" not in value:
        return value
    item = value["items"]
    reference = str(item.get("$ref", "")).rpartition("/")[2]
    if reference in _OUTCOME_EXPECTATIONS:
        item = {"anyOf": [item, {"$ref": f"#/$defs/{reference}/properties/outcome"}]}
    many = {key: content for key, content in value.items() if key not in ("title", "description", "default")}
    return {"anyOf": [item, {**many, "items": item}], **_about(value)}


def _with_variables(value: dict[str, Any]) -> dict[str, Any]:
    """Return ``value`` so that a variable may stand for each word, number or flag in it."""
    if "enum" in value or "const" in value or "pattern" in value:
        return _either(value)
    if value.get("type") in ("integer", "boolean", "number"):
        return _either(value)
    result = dict(value)
    if "items" in result:
        result["items"] = _with_variables(result["items"])
    for union in ("anyOf", "oneOf"):
        if union in result:
            members = [member if "$ref" in member else _with_variables(member) for member in result[union]]
            flat: list[dict[str, Any]] = []
            for member in members:
                for part in member["anyOf"] if set(member) == {"anyOf"} else [member]:
                    if part not in flat:
                        flat.append(part)
            result[union] = flat
    return result


def _either(value: dict[str, Any]) -> dict[str, Any]:
    about = _about(value)
    bare = {key: content for key, content in value.items() if key not in about}
    return {"anyOf": [bare, _VARIABLE], **about}
