"""A case: one scenario with one set of matrix values, and where each of its parts stands in the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from conformance.scenario.model import Scenario


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file, 1-based."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Case:
    """What the runner runs."""

    id: str
    """Scenario id, then the matrix values in brackets: ``ip_ranges.no-match[smtp-ipv6]``."""
    scenario: Scenario
    parameters: Mapping[str, str | int | bool]
    file: Path
    positions: Mapping[tuple[str | int, ...], Position]
    """By path in the document, e.g. ``("steps", 2, "connect", "to")``; ``()`` is the file's beginning."""

    def position(self, *path: str | int) -> Position:
        """Return where ``path`` stands, or the nearest enclosing part that has a position."""
        for length in range(len(path), -1, -1):
            found = self.positions.get(tuple(path[:length]))
            if found is not None:
                return found
        return Position(1, 1)
