"""A measured number, and the table of them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass


class CannotMeasure(Exception):  # noqa: N818 - a finding, not an error
    """This machine lacks what a benchmark needs; the message says what, and the remedy."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Several values of one quantity. ``limit`` is what the median must not exceed; None: for information.

    ``at_least``: the limit is one that the median must not fall below.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    limit: float | None = None
    at_least: bool = False

    @property
    def median(self) -> float:
        """The middle of the values."""
        return statistics.median(self.values)

    @property
    def kept(self) -> bool:
        """Whether the median is within the limit."""
        if self.limit is None:
            return True
        return self.median >= self.limit if self.at_least else self.median <= self.limit


def table(measurements: Sequence[Measurement]) -> str:
    """Return the measurements for people."""
    lines = [f"{'':56} {'median':>10} {'lowest':>10} {'highest':>10} {'limit':>10}"]
    for each in measurements:
        numbers = [each.median, min(each.values), max(each.values)]
        # Ratios are small numbers: their second place counts.
        places = 2 if each.unit in ("times", "") else 1
        digits = 2 if places == 2 else 0
        limit = "" if each.limit is None else f"{'≥ ' if each.at_least else ''}{each.limit:,.{digits}f}"
        row = " ".join(f"{number:>10,.{places}f}" for number in numbers)
        failed = "  MISSED" if each.at_least else "  EXCEEDED"
        verdict = "" if each.limit is None else "  kept" if each.kept else failed
        lines.append(f"{', '.join(filter(None, (each.name, each.unit))):56} {row} {limit:>10}{verdict}")
    return "\n".join(lines)


def as_json(measurements: Sequence[Measurement]) -> str:
    """Return the measurements for programs: a list of objects."""
    found = [{**asdict(each), "median": each.median, "kept": each.kept} for each in measurements]
    return json.dumps(found, indent=2)
