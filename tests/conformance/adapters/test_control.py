"""Where the control socket of the reference server is: short, and gone with the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.adapters.control import ControlSocket
from conformance.network import supervisor


def test_it_is_below_the_folder_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(supervisor.TEMPORARY, str(tmp_path))
    place = ControlSocket()
    assert place.path.is_relative_to(tmp_path)
    assert len(place.path.relative_to(tmp_path).as_posix()) < 20
    place.close()
    place.close()
    assert list(tmp_path.iterdir()) == []


def test_without_a_run_it_is_among_the_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(supervisor.TEMPORARY, raising=False)
    place = ControlSocket()
    assert place.path.parent.is_dir()
    place.close()
    assert not place.path.parent.exists()
