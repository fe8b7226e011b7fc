"""Starts a server under test: without any capability of ours, and ended by the kernel when the harness ends.

This file is also a program, and imports the standard library only, so that it runs isolated from the server's
environment (Linux):

    python -m conformance.network.launch PARENT -- CMD ARG…

``PARENT`` is the process id of who starts it; 0: it is not to end with anybody.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_CAP_AMBIENT, _CLEAR_ALL = 47, 4


def command(argv: Sequence[str], cwd: Path | None = None, path: str | None = None) -> list[str]:
    """Return a command line that runs ``argv``, environment and directory unchanged.

    ``cwd`` and ``path`` are the directory and the PATH that it is to run with; None: those of this process.
    Raises FileNotFoundError or PermissionError when there is no such program. Elsewhere than on Linux there
    are no capabilities, and ``argv`` is returned as it is.
    """
    program = Path(cwd or Path.cwd(), argv[0]) if "/" in argv[0] else shutil.which(argv[0], path=path)
    if program is None or not Path(program).exists():
        raise FileNotFoundError(2, os.strerror(2), argv[0])
    if not os.access(program, os.X_OK) or Path(program).is_dir():
        raise PermissionError(13, os.strerror(13), argv[0])
    if not sys.platform.startswith("linux"):
        return list(argv)
    # The signal comes when the thread ends that started it: any but the main one may end before the process.
    parent = os.getpid() if threading.current_thread() is threading.main_thread() else 0
    return [sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(parent), "--", *argv]


def main(arguments: Sequence[str]) -> int:
    """Become the program; returns only when that fails."""
    if len(arguments) < 3 or arguments[1] != "--" or not arguments[0].isdigit():
        print("usage: python -m conformance.network.launch PARENT -- CMD ARG…", file=sys.stderr)
        return 2
    try:
        _prctl(_PR_CAP_AMBIENT, _CLEAR_ALL)
        parent = int(arguments[0])
        if parent:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it ended before
                return 126
        os.execvpe(arguments[2], list(arguments[2:]), _environment())  # noqa: S606 - it becomes that program
    except OSError as error:
        print(f"launch: {arguments[2]}: {error.strerror or error}", file=sys.stderr)
    return 126


def _environment() -> dict[bytes, bytes]:
    """Return what this process was started with: in the C locale, Python adds a variable to it (PEP 538)."""
    try:
        entries = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return dict(os.environb)
    return dict(entry.split(b"=", 1) for entry in entries if b"=" in entry[1:])


def _prctl(what: int, value: int) -> None:
    words = (ctypes.c_ulong(word) for word in (value, 0, 0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(what, *words) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({what})")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
