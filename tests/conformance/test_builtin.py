"""Where the scenarios are that ship with the distribution."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import builtin
from conformance.errors import HarnessBug


def test_they_are_found_wherever_this_runs() -> None:
    assert builtin.scenarios_directory() in (builtin.PACKAGED, builtin.CHECKOUT)
    assert list(builtin.scenarios_directory().rglob("*.yaml"))


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(builtin, "_PACKAGE", tmp_path / "conformance")
    monkeypatch.setattr(builtin, "PACKAGED", tmp_path / "conformance" / "_scenarios")
    monkeypatch.setattr(builtin, "CHECKOUT", tmp_path / "scenarios")
    return tmp_path


def test_the_packaged_ones_come_first(elsewhere: Path) -> None:
    (elsewhere / "conformance" / "_scenarios").mkdir(parents=True)
    (elsewhere / "scenarios").mkdir()
    (elsewhere / "pyproject.toml").touch()
    assert builtin.scenarios_directory() == elsewhere / "conformance" / "_scenarios"


def test_a_folder_that_is_only_called_scenarios_is_not_ours(elsewhere: Path) -> None:
    """Beside an installed package, site-packages may have a folder of that name."""
    (elsewhere / "scenarios").mkdir()
    with pytest.raises(HarnessBug, match="built-in scenarios are missing"):
        builtin.scenarios_directory()
    (elsewhere / "pyproject.toml").touch()
    assert builtin.scenarios_directory() == elsewhere / "scenarios"
