"""What the models of a scenario file are made of: the base model, durations, lists that may be one value."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

OutcomeWord = Literal[
    "served",
    "wrong_protocol",
    "closed_silent",
    "reset",
    "closed_after_text",
    "refused",
    "filtered",
    "unreachable",
    "hung",
    "closed",
]


def _seconds(value: Any) -> Any:
    """'1s', '250ms', '2min' → seconds; a bare number is refused by the field's own type message."""
    if isinstance(value, str):
        for unit, factor in (("ms", 0.001), ("min", 60.0), ("s", 1.0), ("h", 3600.0)):
            number = value.removesuffix(unit)
            if number != value and number.strip().replace(".", "", 1).isdigit():
                return float(number) * factor
    raise ValueError("a duration with its unit is expected, such as 250ms, 1s, 2min or 1h")


def one_or_many(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def outcomes(value: Any) -> Any:
    """``expect: served`` stands for ``expect: {outcome: served}``."""
    return tuple({"outcome": one} if isinstance(one, str) else one for one in one_or_many(value))


def _loose_text(value: Any) -> Any:
    """``code: 550`` is the text "550"."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Duration = Annotated[float, BeforeValidator(_seconds)]
"""Seconds; written with a unit."""
LooseText = Annotated[str, BeforeValidator(_loose_text)]
"""Text that is often digits: a bare number stands for itself, so that nobody trips over quotes."""


class Model(BaseModel):
    """Base of everything in a scenario file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
