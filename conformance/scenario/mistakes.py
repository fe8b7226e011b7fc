"""A mistake in a scenario file: where it stands, and what is wrong with the remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from conformance.scenario.case import Position

DocumentPath = tuple[str | int, ...]
"""Where a value is in a document, e.g. ``("steps", 2, "connect", "to")``."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """At a place of the file."""

    position: Position
    message: str


@dataclass(frozen=True, slots=True)
class Finding:
    """At a value (or at its key) of a document whose variables are filled in."""

    path: DocumentPath
    message: str
    at_key: bool = False


def resolve(location: DocumentPath, data: object) -> tuple[DocumentPath, DocumentPath]:
    """Return the part of ``location`` that is a path of ``data``, and what remains after its last found part.

    Skipped on the way: the index 0 of a single value that stands for a list, and names of types.
    """
    path: list[str | int] = []
    rest: list[str | int] = []
    value: Any = data
    for part in location:
        if not _has(value, part):
            rest.append(part)
            continue
        value = value[part]
        path.append(part)
        rest.clear()
    return tuple(path), tuple(rest)


def _has(value: object, part: str | int) -> bool:
    if isinstance(value, dict):
        return part in value
    return isinstance(value, (tuple, list)) and isinstance(part, int) and part < len(value)
