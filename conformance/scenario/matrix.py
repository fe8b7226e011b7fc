"""The matrix: which values the variables take, and a document with the variables filled in.

``matrix: {protocol: [smtp, imap], source: ["::1"]}`` gives every combination; ``matrix: [{protocol: smtp,
source: "::1"}, …]`` gives the combinations that are written, each with a ``label`` if one likes: it
names the case instead of the values. ``$name`` alone takes the value with its type,
in a longer text (also as ``${name}``) its text; ``$$`` is a dollar sign. Keys may hold variables as well.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence as Items
from dataclasses import dataclass, field

from conformance.scenario.case import Position
from conformance.scenario.document import Entry, Mapping, Node, Scalar, Sequence
from conformance.scenario.mistakes import DocumentPath, Mistake
from conformance.scenario.words import expected, shown

MAX_CASES = 1_000
"""Of one file: more is a campaign, not a scenario."""

LABEL = "label"
"""In a list of combinations, the variable that names the case."""

Word = str | int | bool
MatrixValue = Word | tuple[Word, ...]
"""A list stands for itself where the variable is the whole value; it cannot be part of a text."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VARIABLE = re.compile(rf"\$(?:\$|({_NAME.pattern})|\{{({_NAME.pattern})\}})")
_WORDS_ONLY = frozenset({"title", "why"})
"""Keys whose text is for the reader: a variable that stands only there varies nothing."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of a variable, and where it stands."""

    value: MatrixValue
    position: Position


Combination = dict[str, Cell]


@dataclass(slots=True)
class Instance:
    """A document with one combination filled in. Sequences are tuples, as strict validation wants them."""

    combination: Combination
    explicit: bool = False
    """Whether the combination is written as such, and may have a label."""
    data: dict[str, object] = field(default_factory=dict)
    positions: dict[DocumentPath, Position] = field(default_factory=dict)
    keys: dict[DocumentPath, Position] = field(default_factory=dict)
    """Where the key of each value stands."""
    origins: dict[DocumentPath, Position] = field(default_factory=dict)
    """Of values that are nothing but a variable: where the matrix gives them."""
    unresolved: set[DocumentPath] = field(default_factory=set)
    """Values that hold an unknown variable: nothing more is to be said of them."""
    used: set[str] = field(default_factory=set)
    mistakes: list[Mistake] = field(default_factory=list)

    @property
    def parameters(self) -> dict[str, Word]:
        """The matrix values by name, a list as its words with '+' between them."""
        return {
            name: _text(cell.value) if isinstance(cell.value, tuple) else cell.value
            for name, cell in self.combination.items()
        }

    @property
    def label(self) -> str:
        """What stands in brackets after the scenario's id; '' without a matrix."""
        if self.explicit and LABEL in self.combination:
            return _text(self.combination[LABEL].value) or "empty"
        return "-".join(_text(cell.value) or "empty" for cell in self.combination.values())


def expand(root: Mapping) -> tuple[list[Instance], list[Mistake]]:
    """Return one instance of ``root`` for each combination of its matrix, and the mistakes found."""
    entry = root.get("matrix")
    mistakes: list[Mistake] = []
    combinations: list[Combination] = [{}]
    if entry is not None:
        reader = _product if isinstance(entry.value, Mapping) else _explicit
        combinations = reader(entry.value, mistakes)
        if not combinations:
            # Unknown variables everywhere would only repeat what is wrong with the matrix.
            return [], mistakes
    explicit = entry is not None and isinstance(entry.value, Sequence)
    instances = [instantiate(root, combination, explicit=explicit) for combination in combinations]
    mistakes.extend(dict.fromkeys(mistake for instance in instances for mistake in instance.mistakes))
    if entry is not None:
        mistakes.extend(_unused(entry, instances))
    mistakes.extend(_same_labels(instances))
    return instances, mistakes


def instantiate(root: Mapping, combination: Combination, *, explicit: bool = False) -> Instance:
    """Return ``root`` with ``combination`` filled in; unknown variables are among its mistakes."""
    instance = Instance(combination, explicit)
    data = _fill(root, (), instance, counts=True)
    assert isinstance(data, dict)
    instance.data = data
    return instance


def _product(node: Node, mistakes: list[Mistake]) -> list[Combination]:
    assert isinstance(node, Mapping)
    axes: list[tuple[str, list[Cell]]] = []
    if not node.entries:
        mistakes.append(Mistake(node.position, "the matrix is empty; leave it out, or give it a variable"))
    for entry in node.entries:
        _check_name(entry.key, entry.position, mistakes)
        if not isinstance(entry.value, Sequence) or not entry.value.items:
            mistakes.append(
                Mistake(
                    entry.value.position, f"expected a list of values for {entry.key!r}, such as [smtp, imap]"
                )
            )
            continue
        cells: dict[tuple[type, MatrixValue], Cell] = {}
        for item in entry.value.items:
            cell = _cell(item, mistakes)
            if cell is None:
                continue
            if (type(cell.value), cell.value) in cells:
                mistakes.append(Mistake(cell.position, f"{shown(cell.value)} stands in this list already"))
            cells.setdefault((type(cell.value), cell.value), cell)
        axes.append((entry.key, list(cells.values())))
    if len(axes) < len(node.entries):
        return []
    if math.prod(len(cells) for _, cells in axes) > MAX_CASES:
        mistakes.append(Mistake(node.position, f"the matrix gives more than {MAX_CASES} cases"))
        return []
    names = [name for name, _ in axes]
    return [
        dict(zip(names, cells, strict=True)) for cells in itertools.product(*(cells for _, cells in axes))
    ]


def _explicit(node: Node, mistakes: list[Mistake]) -> list[Combination]:
    if not isinstance(node, Sequence) or not node.items:
        mistakes.append(
            Mistake(
                node.position,
                "expected a mapping of lists, such as {protocol: [smtp, imap]}, or a list of combinations, "
                'such as [{protocol: smtp, address: "::1"}]',
            )
        )
        return []
    if len(node.items) > MAX_CASES:
        mistakes.append(Mistake(node.position, f"the matrix gives more than {MAX_CASES} cases"))
        return []
    combinations: list[Combination] = []
    for item in node.items:
        if not isinstance(item, Mapping) or not item.entries:
            mistakes.append(
                Mistake(item.position, 'expected a combination, such as {protocol: smtp, address: "::1"}')
            )
            continue
        combination: Combination = {}
        for entry in item.entries:
            _check_name(entry.key, entry.position, mistakes)
            if cell := _cell(entry.value, mistakes):
                combination[entry.key] = cell
        if combinations and combination.keys() != combinations[0].keys():
            differing = sorted(combination.keys() ^ combinations[0].keys())
            mistakes.append(
                Mistake(
                    item.position,
                    f"every combination has the same variables; these differ: {', '.join(differing)}",
                )
            )
            continue
        # One order for all, or labels of the same values would differ.
        combinations.append({name: combination[name] for name in (combinations or [combination])[0]})
    return combinations


def _check_name(name: str, position: Position, mistakes: list[Mistake]) -> None:
    if not _NAME.fullmatch(name):
        mistakes.append(
            Mistake(
                position,
                f"{name!r} is no name for a variable; expected letters, digits and _, such as 'protocol'",
            )
        )


def _cell(node: Node, mistakes: list[Mistake]) -> Cell | None:
    if isinstance(node, Scalar) and isinstance(node.value, (str, int, bool)):
        return Cell(node.value, node.position)
    if isinstance(node, Sequence):
        cells = [_cell(item, []) for item in node.items]
        words = tuple(cell.value for cell in cells if cell and not isinstance(cell.value, tuple))
        if len(words) == len(node.items):
            return Cell(words, node.position)
    found = shown(node.value) if isinstance(node, Scalar) else "a mapping, or a list of other things"
    words_taken = "a text, a whole number, true, false, or a list of these"
    mistakes.append(Mistake(node.position, f"a matrix value is {words_taken}; found {found}"))
    return None


def _unused(entry: Entry, instances: Items[Instance]) -> list[Mistake]:
    used = set().union(*(instance.used for instance in instances))
    if isinstance(entry.value, Sequence):
        used.add(LABEL)
    holder = entry.value if isinstance(entry.value, Mapping) else None
    if holder is None:
        assert isinstance(entry.value, Sequence)
        first = entry.value.items[0]
        assert isinstance(first, Mapping)
        holder = first
    return [
        Mistake(
            variable.position,
            f"the variable {variable.key!r} is used nowhere; write ${variable.key} where it belongs, "
            "or remove it",
        )
        for variable in holder.entries
        if variable.key not in used
    ]


def _same_labels(instances: Items[Instance]) -> list[Mistake]:
    seen: set[str] = set()
    mistakes = []
    for instance in instances:
        if instance.label in seen:
            cell = next(iter(instance.combination.values()))
            mistakes.append(Mistake(cell.position, f"two combinations give the same name [{instance.label}]"))
        seen.add(instance.label)
    return mistakes


def _fill(node: Node, path: DocumentPath, instance: Instance, *, counts: bool) -> object:
    """Return the value of ``node``; ``counts`` says whether a variable here varies anything."""
    instance.positions[path] = node.position
    if isinstance(node, Scalar):
        if not isinstance(node.value, str):
            return node.value
        return _substituted(node.value, node.position, path, instance, counts=counts)
    if isinstance(node, Sequence):
        return tuple(
            _fill(item, (*path, index), instance, counts=counts) for index, item in enumerate(node.items)
        )
    data: dict[str, object] = {}
    written: dict[str, str] = {}
    for entry in node.entries:
        if not path and entry.key == "matrix":
            instance.positions["matrix",] = entry.value.position
            instance.keys["matrix",] = entry.position
            continue
        filled = _substituted(entry.key, entry.position, None, instance, counts=True)
        key = filled if isinstance(filled, str) else _text(filled)
        if key in data:
            both = f"the keys {written[key]!r} and {entry.key!r} are both {key!r}"
            message = f"in the case [{instance.label}] {both}; keep one"
            instance.mistakes.append(Mistake(entry.position, message))
            continue
        written[key] = entry.key
        instance.keys[*path, key] = entry.position
        data[key] = _fill(entry.value, (*path, key), instance, counts=counts and key not in _WORDS_ONLY)
    return data


def _substituted(
    text: str, position: Position, path: DocumentPath | None, instance: Instance, *, counts: bool
) -> MatrixValue:
    def value_of(match: re.Match[str]) -> MatrixValue:
        name = match[1] or match[2]
        if name is None:
            return "$"
        cell = instance.combination.get(name)
        if cell is None:
            known = [f"${variable}" for variable in instance.combination]
            if path is not None:
                instance.unresolved.add(path)
            hint = expected(known, f"${name}") if known else "this file has no matrix"
            instance.mistakes.append(
                Mistake(position, f"unknown variable '${name}'; {hint} (a dollar sign is written $$)")
            )
            return ""
        if counts:
            instance.used.add(name)
        return cell.value

    whole = _VARIABLE.fullmatch(text)
    if whole:
        name = whole[1] or whole[2]
        if path is not None and name in instance.combination:
            instance.origins[path] = instance.combination[name].position
        return value_of(whole)
    listed = [match[0] for match in _VARIABLE.finditer(text) if isinstance(value_of(match), tuple)]
    if listed and counts:
        message = f"{listed[0]} is a list: it can only be the whole value, not a part of {shown(text)}"
        instance.mistakes.append(Mistake(position, message))
    return _VARIABLE.sub(lambda match: _text(value_of(match)), text)


def _text(value: MatrixValue) -> str:
    if isinstance(value, tuple):
        return "+".join(_text(word) for word in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
