"""A document against the model: what pydantic finds becomes findings at the offending key or value.

Each says what is wrong, what was expected, and the nearest known word. A step is judged by its one action
key alone, so that a mistyped key never brings the complaints of twelve other kinds of step.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from conformance.scenario.mistakes import DocumentPath, Finding, resolve
from conformance.scenario.model import STEP_TYPES, Dns, Scenario, ServerItem, SmartHost, Step
from conformance.scenario.words import expected, listed, shown

_BESIDE_ACTION = ("expect", "why")
_STEP_BLOCKS = ("steps", "finally")
_SERVER: TypeAdapter[Any] = TypeAdapter(ServerItem)
_SMART_HOSTS: TypeAdapter[tuple[SmartHost, ...]] = TypeAdapter(tuple[SmartHost, ...])
_DNS: TypeAdapter[Dns | None] = TypeAdapter(Dns | None)


_DEFINING = frozenset({"change", "admin", "descriptors", "send"})
"""Steps that give names to things."""


@dataclass(frozen=True, slots=True)
class Salvaged:
    """The right parts of a scenario; wrong steps are a bare `Step` in their place."""

    scenario: Scenario
    complete: bool = True
    """Whether nothing is missing."""
    names_known: bool = True
    """Whether everything that gives a name is there."""


def validate(data: Mapping[str, object]) -> tuple[Scenario | None, list[Finding]]:
    """Return the scenario that ``data`` is, or None and everything that keeps it from being one."""
    findings = _step_shapes(data)
    broken = {finding.path[:2] for finding in findings}
    try:
        scenario = Scenario.model_validate(data, strict=True)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            location = tuple(detail["loc"])
            # A list of which every item is wrong counts as too short as well: said once is enough.
            repeats = detail["type"] == "too_short" and len(detail["input"]) > 0
            if location[:2] not in broken and not repeats:
                findings.append(_finding(detail, location, data))
        return None, _merged(_without_echoes(findings))
    return (None if findings else scenario), findings


def salvage(data: Mapping[str, object]) -> Salvaged:
    """Return what is right in ``data``, so that all mistakes of a file are shown at once."""
    names_known = True
    server: Any = "default"
    smart_hosts: tuple[SmartHost, ...] = ()
    names: Dns | None = None
    try:
        server = _SERVER.validate_python(data.get("server", {}), strict=True)
        smart_hosts = _SMART_HOSTS.validate_python(data.get("smart_hosts", ()), strict=True)
        names = _DNS.validate_python(data.get("dns"), strict=True)
    except ValidationError:
        names_known = False
    blocks: dict[str, tuple[Step, ...]] = {}
    for block in _STEP_BLOCKS:
        raw = data.get(block)
        steps = tuple(_salvaged_step(step) for step in (raw if isinstance(raw, tuple) else ()))
        blocks[block] = steps
        for step, written in zip(steps, raw if isinstance(raw, tuple) else (), strict=True):
            names_known = names_known and (type(step) is not Step or not _defines(written))
    requirements = data.get("requirements")
    words = (
        tuple(word if isinstance(word, str) else "" for word in requirements)
        if isinstance(requirements, tuple)
        else ()
    )
    scenario = Scenario.model_construct(
        id="",
        title="",
        requirements=words,
        server=server,
        smart_hosts=smart_hosts,
        dns=names,
        steps=blocks["steps"],
        finally_=blocks["finally"],
    )
    return Salvaged(scenario, complete=False, names_known=names_known)


def _salvaged_step(step: object) -> Step:
    if isinstance(step, dict) and _step_shape(step, ()) is None:
        kind = next(STEP_TYPES[key] for key in step if key in STEP_TYPES)
        try:
            return kind.model_validate(step, strict=True)
        except ValidationError:
            pass
    return Step()


def _defines(step: object) -> bool:
    """Say whether a wrong step may be where a later step's name comes from."""
    if not isinstance(step, dict) or not step.keys() <= {*STEP_TYPES, *_BESIDE_ACTION}:
        return True
    connect = step.get("connect")
    return bool(_DEFINING & step.keys()) or (isinstance(connect, dict) and "as" in connect)


def _step_shapes(data: Mapping[str, object]) -> list[Finding]:
    """Return what is wrong with the action keys of the steps."""
    findings = []
    for block in _STEP_BLOCKS:
        steps = data.get(block)
        for index, step in enumerate(steps if isinstance(steps, tuple) else ()):
            finding = _step_shape(step, (block, index))
            if finding is not None:
                findings.append(finding)
    return findings


def _step_shape(step: object, path: DocumentPath) -> Finding | None:
    if not isinstance(step, dict):
        return Finding(path, f"expected a step, such as 'connect: {{to: door}}'; found {shown(step)}")
    actions = [key for key in step if key in STEP_TYPES]
    if len(actions) > 1:
        message = (
            f"a step has one action; {actions[0]!r} is its action, so give {actions[1]!r} a step of its own"
        )
        return Finding((*path, actions[1]), message, at_key=True)
    if actions:
        return None
    unknown = [key for key in step if key not in _BESIDE_ACTION]
    if unknown:
        message = f"unknown step {unknown[0]!r}; {expected(STEP_TYPES, unknown[0], limit=len(STEP_TYPES))}"
        return Finding((*path, unknown[0]), message, at_key=True)
    return Finding(path, f"this step has no action; {expected(STEP_TYPES, '')}")


def _finding(detail: ErrorDetails, location: DocumentPath, data: Mapping[str, object]) -> Finding:
    path, rest = resolve(_without_tag(location), data)
    word = str(location[-1])
    if detail["type"] == "extra_forbidden":
        return Finding(path, f"unknown key {word!r}; {expected(_known_keys(location), word)}", at_key=True)
    if detail["type"] == "missing":
        return Finding(path, f"the key {str(rest[-1])!r} is missing here{_purpose(location)}")
    return Finding(path, _message(detail))


def _without_tag(location: DocumentPath) -> DocumentPath:
    """Return ``location`` without the tag of a step's type, which is in no document."""
    return location[:2] + location[3:] if location[0] in _STEP_BLOCKS else location


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models(part)]


def _field(models: list[type[BaseModel]], name: str) -> Any:
    for model in models:
        for field_name, field in model.model_fields.items():
            if (field.alias or field_name) == name:
                return field
    return None


def _models_at(location: DocumentPath) -> list[type[BaseModel]]:
    """Return the models whose keys are known beside the last part of ``location``."""
    models: list[type[BaseModel]] = [Scenario]
    for index, part in enumerate(location[:-1]):
        if isinstance(part, int):
            continue
        if index == 2 and location[0] in _STEP_BLOCKS:
            models = [STEP_TYPES[part]]
            continue
        field = _field(models, part)
        if field is not None:
            models = _models(field.annotation)
    return models


def _known_keys(location: DocumentPath) -> list[str]:
    models = _models_at(location)
    return [field.alias or name for model in models for name, field in model.model_fields.items()]


def _purpose(location: DocumentPath) -> str:
    field = _field(_models_at(location), str(location[-1]))
    return f": {field.description}" if field is not None and field.description else "; add it"


def _literal(detail: ErrorDetails) -> str:
    words = re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected", "")))
    return f"{shown(detail['input'])} is not known here; {expected(words, detail['input'])}"


def _pattern(detail: ErrorDetails) -> str:
    return (
        f"{shown(detail['input'])} cannot be an id; expected lower-case words with a dot between them, "
        "such as ip_ranges.no-match"
    )


def _own(detail: ErrorDetails) -> str:
    return f"{detail.get('ctx', {}).get('error', detail['msg'])}; found {shown(detail['input'])}"


def _context(name: str, words: str) -> Callable[[ErrorDetails], str]:
    def message(detail: ErrorDetails) -> str:
        return f"expected {words.format(detail.get('ctx', {}).get(name))}, found {shown(detail['input'])}"

    return message


def _expects(words: str) -> Callable[[ErrorDetails], str]:
    return lambda detail: f"expected {words}, found {shown(detail['input'])}"


def _mapping(detail: ErrorDetails) -> str:
    empty = " (an empty one is written {})" if detail["input"] is None else ""
    return f"expected a mapping of keys and values{empty}, found {shown(detail['input'])}"


_MESSAGES: dict[str, Callable[[ErrorDetails], str]] = {
    "literal_error": _literal,
    "string_pattern_mismatch": _pattern,
    "value_error": _own,
    "string_type": _expects("text (put it in quotes)"),
    "int_type": _expects("a whole number (without quotes)"),
    "bool_type": _expects("true or false"),
    "float_type": _expects("a number"),
    "tuple_type": _expects("a list"),
    "dict_type": _expects("a mapping"),
    "model_type": _mapping,
    "union_tag_invalid": _expects("a mapping of keys and values"),
    "greater_than_equal": _context("ge", "{} or more"),
    "less_than_equal": _context("le", "at most {}"),
    "too_short": lambda _: "expected at least one item, found an empty list",
    "string_too_short": _context("min_length", "text of at least {} characters"),
}


def _message(detail: ErrorDetails) -> str:
    known = _MESSAGES.get(detail["type"])
    return known(detail) if known else f"{detail['msg']}; found {shown(detail['input'])}"


_TYPE_WORDS = {
    "expected text (put it in quotes)": "text",
    "expected a whole number (without quotes)": "a whole number",
    "expected true or false": "true or false",
}


def _without_echoes(findings: list[Finding]) -> list[Finding]:
    """Return ``findings`` without the complaint that a key is missing which is there, mistyped."""
    meant = {
        (finding.path[:-1], found[1])
        for finding in findings
        if finding.at_key and (found := re.search(r"did you mean '([^']*)'", finding.message))
    }
    return [
        finding
        for finding in findings
        if not any(
            finding.path == parent and finding.message.startswith(f"the key {word!r} is missing")
            for parent, word in meant
        )
    ]


def _merged(findings: list[Finding]) -> list[Finding]:
    """Return ``findings`` with those of one value joined, where a value may be of several types."""
    merged: dict[tuple[DocumentPath, bool], list[str]] = {}
    for finding in findings:
        messages = merged.setdefault((finding.path, finding.at_key), [])
        if finding.message not in messages:
            messages.append(finding.message)
    result: list[Finding] = []
    for (path, at_key), messages in merged.items():
        split = [message.partition(", found ") for message in messages]
        if len(messages) > 1 and all(head in _TYPE_WORDS for head, _, _ in split):
            words = listed([_TYPE_WORDS[head] for head, _, _ in split])
            messages = [f"expected {words}, found {split[0][2]}"]
        result.extend(Finding(path, message, at_key) for message in messages)
    return result
