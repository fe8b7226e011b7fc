"""Where the scenarios are that ship with the distribution."""

from __future__ import annotations

from pathlib import Path

from conformance.errors import HarnessBug

_PACKAGE = Path(__file__).parent
PACKAGED = _PACKAGE / "_scenarios"
"""Inside an installed wheel."""
CHECKOUT = _PACKAGE.parent / "scenarios"
"""Beside the package in a checkout of the repository."""


def scenarios_directory() -> Path:
    """Return the folder of the scenarios that ship with the harness. Raises HarnessBug when there is none."""
    if PACKAGED.is_dir():
        return PACKAGED
    if CHECKOUT.is_dir() and (_PACKAGE.parent / "pyproject.toml").is_file():
        return CHECKOUT
    raise HarnessBug(f"the built-in scenarios are missing; looked in {PACKAGED} and {CHECKOUT}")
