"""The data directory and its lock."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reference_server.data_directory import DataDirectory, DataDirectoryError


def test_it_is_made_for_its_owner_alone_and_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "data"
    with DataDirectory(path):
        assert path.stat().st_mode & 0o777 == 0o700
    assert list(path.iterdir()) == []


def test_it_is_held_once_and_free_again_afterwards(tmp_path: Path) -> None:
    first, second = DataDirectory(tmp_path), DataDirectory(tmp_path)
    with first, pytest.raises(DataDirectoryError, match="another reference-server is using it"):
        second.__enter__()
    with DataDirectory(tmp_path):
        pass


def test_the_lock_is_not_inherited(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    with directory:
        assert directory._descriptor is not None
        assert not os.get_inheritable(directory._descriptor)


def test_a_file_in_its_place_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(DataDirectoryError, match=r"--data-dir .*file: Not a directory; choose another one"):
        DataDirectory(path).__enter__()


def test_a_place_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirectoryError, match="choose another one"):
        DataDirectory(tmp_path / "file" / "data").__enter__()
