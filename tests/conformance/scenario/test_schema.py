"""The JSON Schema accepts what the loader accepts, and shows an editor the common mistakes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from conformance.builtin import scenarios_directory
from conformance.scenario.document import plain, read_mapping
from conformance.scenario.loader import scenario_files
from conformance.scenario.model import STEP_TYPES
from conformance.scenario.schema import scenario_schema

SCHEMA = scenario_schema()
BUILT_IN = scenario_files([scenarios_directory()])
WRONG = Path(__file__).with_name("wrong")

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
KNOWN_WORDS = {
    *(
        "$schema",
        "$id",
        "$defs",
        "$ref",
        "title",
        "description",
        "default",
        "examples",
        "type",
        "enum",
        "const",
    ),
    *("pattern", "minLength", "minimum", "maximum", "items", "minItems", "properties", "patternProperties"),
    *("additionalProperties", "propertyNames", "required", "anyOf", "oneOf"),
}


def valid(value: Any, schema: Mapping[str, Any]) -> bool:
    """A validator of the words that our schema uses; another word is a mistake of this test."""
    assert schema.keys() <= KNOWN_WORDS, schema.keys() - KNOWN_WORDS
    if "$ref" in schema:
        target: Any = SCHEMA
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        if not valid(value, target):
            return False
    if "type" in schema:
        if isinstance(value, bool) and schema["type"] != "boolean":
            return False
        if not isinstance(value, TYPES[schema["type"]]):
            return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if "anyOf" in schema and not any(valid(value, one) for one in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(valid(value, one) for one in schema["oneOf"]) != 1:
        return False
    return _valid_text(value, schema) and _valid_list(value, schema) and _valid_object(value, schema)


def _valid_text(value: Any, schema: Mapping[str, Any]) -> bool:
    if isinstance(value, str):
        return re.search(schema.get("pattern", ""), value) is not None and len(value) >= schema.get(
            "minLength", 0
        )
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    return True


def _valid_list(value: Any, schema: Mapping[str, Any]) -> bool:
    if not isinstance(value, list):
        return True
    return len(value) >= schema.get("minItems", 0) and all(
        valid(item, schema.get("items", {})) for item in value
    )


def _valid_object(value: Any, schema: Mapping[str, Any]) -> bool:
    if not isinstance(value, dict):
        return True
    if not value.keys() >= set(schema.get("required", ())):
        return False
    if not all(valid(key, schema.get("propertyNames", {})) for key in value):
        return False
    for key, item in value.items():
        known = schema.get("properties", {}).get(key)
        patterns = [
            one for pattern, one in schema.get("patternProperties", {}).items() if re.search(pattern, key)
        ]
        extra = schema.get("additionalProperties", True)
        if known is not None:
            patterns.append(known)
        elif not patterns and extra is False:
            return False
        elif not patterns and isinstance(extra, dict):
            patterns.append(extra)
        if not all(valid(item, one) for one in patterns):
            return False
    return True


@pytest.mark.parametrize("file", BUILT_IN, ids=lambda file: file.stem)
def test_every_scenario_that_ships_is_valid(file: Path) -> None:
    assert valid(plain(read_mapping(file)), SCHEMA)


@pytest.mark.parametrize(
    "name",
    [
        "unknown-key",
        "unknown-key-in-port",
        "unknown-key-in-expectation",
        "unknown-step",
        "two-actions",
        "no-action",
        "missing-keys",
        "missing-expect",
        "missing-in-step",
        "unknown-outcome",
        "unknown-protocol",
        "wrong-types",
        "number-out-of-bounds",
        "duration-without-unit",
        "short-title",
        "wrong-id",
        "steps-not-a-list",
        "no-steps",
    ],
)
def test_an_editor_shows_the_common_mistakes(name: str) -> None:
    assert not valid(plain(read_mapping(WRONG / f"{name}.yaml")), SCHEMA)


def test_each_step_has_a_form_with_its_action() -> None:
    forms = [one["$ref"].rpartition("/")[2] for one in SCHEMA["properties"]["steps"]["items"]["oneOf"]]
    assert forms == [step.__name__ for step in STEP_TYPES.values()]
    for action, step in STEP_TYPES.items():
        form = SCHEMA["$defs"][step.__name__]
        assert action in form["required"]
        assert form["properties"].keys() & STEP_TYPES.keys() == {action}
        assert form["additionalProperties"] is False


@pytest.mark.parametrize(
    "document",
    [
        {
            "matrix": {"p": ["smtp"]},
            "server": {"limits": {"$p": 1}, "ports": [{"name": "$p", "protocol": "$p", "address": "::"}]},
        },
        {"matrix": [{"label": "x", "how": "restart"}], "steps": [{"server": "$how"}]},
        {"steps": [{"connect": {"to": "x", "times": "$n"}, "expect": "served", "why": "because"}]},
        {"steps": [{"connect": {"to": "x"}, "expect": ["served", {"outcome": "$o", "within": "${n}s"}]}]},
        {"steps": [{"talk": {"session": "x", "say": "NOOP"}, "expect": {"reply": 250}}]},
        {"server": "default", "finally": [{"disconnect": {"session": "x", "how": "quit"}}]},
    ],
)
def test_variables_and_short_forms_are_valid(document: dict[str, Any]) -> None:
    whole = {
        "id": "a.b",
        "title": "Something or other",
        "requirements": ["BIND-2"],
        "steps": [{"status": {}, "expect": {"ipv6_available": True}}],
    } | document
    assert valid(whole, SCHEMA)


def test_it_is_json_and_stays_the_same() -> None:
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert scenario_schema() == SCHEMA
