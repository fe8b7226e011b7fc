"""A reference adapter, and the small clients that tests look with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.adapters.reference import ReferenceAdapter


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """The empty directory of one case."""
    path = tmp_path / "case"
    path.mkdir()
    return path


@pytest.fixture
def reference(tmp_path: Path) -> Iterator[ReferenceAdapter]:
    adapter = ReferenceAdapter({}, tmp_path)
    yield adapter
    adapter.close()
