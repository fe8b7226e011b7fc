"""The data directory: made when missing, and held by one process at a time."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType

PRIVATE = 0o700


class DataDirectoryError(Exception):
    """The directory cannot be used; the message says which, why, and what to do."""


class DataDirectory:
    """A context in which this process alone uses ``path``.

    The lock is the operating system's, on the directory itself (flock): it leaves no file, and a process
    that is killed leaves no lock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def __enter__(self) -> DataDirectory:
        """Make the directory, and lock it. Raises DataDirectoryError."""
        path = self._path
        try:
            if not path.exists():
                path.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise DataDirectoryError(f"--data-dir {path}: {error.strerror}; choose another one") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise DataDirectoryError(
                    f"--data-dir {path}: another reference-server is using it; stop that one, or name "
                    "another directory"
                ) from None
            raise DataDirectoryError(
                f"--data-dir {path}: cannot be locked ({error.strerror}); choose a local directory"
            ) from None
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Unlock it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
