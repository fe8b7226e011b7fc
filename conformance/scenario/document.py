"""Reading YAML 1.2 with positions: text becomes a tree of nodes, each of which knows its line and column.

Plain values follow the core schema of YAML 1.2 (chapter 10.3), whatever the library would make of them:
``yes``, ``on``, ``2030-01-02 03:04:05`` and ``1:30`` are text.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.nodes import Node as YamlNode
from ruamel.yaml.reader import ReaderError

from conformance.errors import Problem, ScenarioError
from conformance.scenario.case import Position

MAX_OCTETS = 256 * 1024
"""Of one file: a hundred times what a scenario takes."""
MAX_NODES = 20_000
"""Values after aliases are followed; ends 'a billion laughs' before they begin."""
MAX_DEPTH = 40

Plain = str | int | float | bool | None

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_TAG = "tag:yaml.org,2002:"
_OWN_TAGS = frozenset(
    _TAG + name
    for name in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge", "map", "seq")
)


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value, and where it stands."""

    value: Plain
    position: Position


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping, where the key stands, and its value."""

    key: str
    position: Position
    value: Node


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys in the order of the file; no key twice."""

    entries: tuple[Entry, ...]
    position: Position

    def get(self, key: str) -> Entry | None:
        """Return the entry of ``key``, or None."""
        return next((entry for entry in self.entries if entry.key == key), None)


@dataclass(frozen=True, slots=True)
class Sequence:
    """Items in the order of the file."""

    items: tuple[Node, ...]
    position: Position


Node = Scalar | Mapping | Sequence


def read_mapping(file: Path) -> Mapping:
    """Return the document of ``file``, a mapping; raise ScenarioError with everything wrong with it."""
    text = _text(file)
    root = _compose(file, text)
    if root is None:
        raise _error(file, 1, 1, "the file is empty; it should begin with 'id:' and 'title:'")
    if not isinstance(root, MappingNode):
        kind = "a list" if isinstance(root, SequenceNode) else "a single value"
        mark = root.start_mark
        raise _error(
            file,
            mark.line + 1,
            mark.column + 1,
            f"the file holds {kind}; expected a mapping of 'key: value' lines",
        )
    builder = _Builder(file)
    tree = builder.build(root)
    if builder.problems:
        raise ScenarioError(builder.problems)
    assert isinstance(tree, Mapping)
    return tree


def plain(node: Node) -> object:
    """Return ``node`` as dict, list and plain values, without positions."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {entry.key: plain(entry.value) for entry in node.entries}


def _error(file: Path, line: int, column: int, message: str) -> ScenarioError:
    return ScenarioError([Problem(file, line, column, message)])


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            octets = stream.read(MAX_OCTETS + 1)
    except OSError as error:
        raise _error(file, 1, 1, f"the file cannot be read: {error.strerror or error}") from None
    if len(octets) > MAX_OCTETS:
        raise _error(file, 1, 1, f"the file is larger than {MAX_OCTETS // 1024} KiB; split it into several")
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = octets[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        octet = octets[error.start]
        message = f"the file is not UTF-8 (octet 0x{octet:02x} here); save it as UTF-8"
        raise _error(file, line, column, message) from None


def _compose(file: Path, text: str) -> YamlNode | None:
    try:
        with warnings.catch_warnings():
            # An anchor name used twice is legal; the later one counts (YAML 1.2.2, section 3.2.2.2).
            warnings.simplefilter("ignore", ReusedAnchorWarning)
            node: YamlNode | None = YAML(typ="rt", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        words = ", ".join(part for part in (error.context, error.problem) if part)
        hint = "; a text with ': ' in it needs quotes" if "mapping values are not allowed" in words else ""
        raise _error(file, line, column, f"this is not YAML: {' '.join(words.split())}{hint}") from None
    except ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, error.position - (before.rfind("\n") + 1) + 1
        raise _error(file, line, column, "this is not YAML: a control character stands here") from None
    except YAMLError as error:
        raise _error(file, 1, 1, f"this is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise _error(file, 1, 1, f"values are nested more than {MAX_DEPTH} deep") from None
    return node


class _Builder:
    """Turns the library's nodes into ours, and collects what is wrong with them."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._count = 0
        self._open: list[int] = []
        self._full = False
        self.problems: list[Problem] = []

    def build(self, node: YamlNode) -> Node:
        position = Position(node.start_mark.line + 1, node.start_mark.column + 1)
        self._count += 1
        if not self._may_descend(node, position):
            return Scalar(None, position)
        if isinstance(node, ScalarNode):
            return Scalar(self._value(node, position), position)
        self._open.append(id(node))
        try:
            if isinstance(node, SequenceNode):
                return Sequence(tuple(self.build(item) for item in node.value), position)
            return Mapping(tuple(self._entries(node.value)), position)
        finally:
            self._open.pop()

    def _may_descend(self, node: YamlNode, position: Position) -> bool:
        if self._full:
            return False
        if id(node) in self._open:
            self._problem(position, "this value contains itself through its alias; write it out")
            return False
        if len(self._open) >= MAX_DEPTH:
            self._problem(position, f"values are nested more than {MAX_DEPTH} deep")
            return False
        if self._count > MAX_NODES:
            self._full = True
            self._problem(
                position, f"the file holds more than {MAX_NODES} values, its aliases followed; split it"
            )
            return False
        return True

    def _value(self, node: ScalarNode, position: Position) -> Plain:
        tag = str(node.tag)
        if tag not in _OWN_TAGS:
            self._problem(
                position, f"the tag {tag.removeprefix(_TAG)!r} is not known; write the value without it"
            )
            return None
        text: str = node.value
        if node.style or tag == _TAG + "str":
            return text
        return _resolved(text)

    def _entries(self, pairs: list[tuple[YamlNode, YamlNode]]) -> Iterator[Entry]:
        seen: dict[str, Position] = {}
        for key_node, value_node in pairs:
            position = Position(key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, ScalarNode) or not isinstance(self._value(key_node, position), str):
                self._problem(position, "a key must be a word; put it in quotes if it is meant as text")
                continue
            key: str = key_node.value
            if key in seen:
                first = seen[key]
                self._problem(
                    position,
                    f"the key {key!r} stands here a second time; the first is in line {first.line}, keep one",
                )
                continue
            seen[key] = position
            yield Entry(key, position, self.build(value_node))

    def _problem(self, position: Position, message: str) -> None:
        self.problems.append(Problem(self._file, position.line, position.column, message))


def _resolved(text: str) -> Plain:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        if text.startswith(("0o", "0x")):
            return int(text, 0)
        return int(text) if len(text) <= 20 else text
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
