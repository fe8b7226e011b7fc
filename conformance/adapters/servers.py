"""Child processes of the harness: start one, keep its log, wait for a line of it, end it and its children.

A child leads a session of its own, so that whatever it started is ended with it. POSIX only.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import site
import subprocess
import sysconfig
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import IO

import conformance
from conformance.errors import AdapterError
from conformance.network import launch

START_LIMIT = 60.0
"""Seconds for a server to start: generous, a loaded machine is no fault of the server's."""
STOP_LIMIT = 20.0
"""Seconds from SIGTERM to SIGKILL."""
LOG_LIMIT = 64 * 2**20
"""Octets of log that are kept; what a flooding program writes after them is read and thrown away."""
LINE_LIMIT = 8 * 2**10
"""Octets of one log line that `ServerProcess.wait_for` sees; a longer one may count as several."""
RECENT_LINES = 5_000
"""Lines that are kept in memory, for `ServerProcess.wait_for`."""
TAIL = 8 * 2**10
"""Octets of log that an error carries."""


def python_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for a child that imports our packages: they are found wherever we were found."""
    environment = dict(os.environ)
    root = str(Path(conformance.__file__).resolve().parent.parent)
    installed = (*site.getsitepackages(), sysconfig.get_path("purelib"))
    if root not in {str(Path(path).resolve()) for path in installed}:
        known = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([root, known]) if known else root
    environment.update(extra or {})
    return environment


class LogFile:
    """A file that collects what a pipe gives, by a thread, and lets others wait for a line.

    The thread ends at the end of the pipe; `close` waits for it.
    """

    def __init__(self, pipe: IO[bytes], path: Path) -> None:
        self.path = path
        self._pipe = pipe
        self._file = path.open("wb", buffering=0)
        self._lines: deque[str] = deque(maxlen=RECENT_LINES)
        self._count = 0
        self._written = 0
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._collect, name=f"log {path.name}", daemon=True)
        self._thread.start()

    @property
    def count(self) -> int:
        """How many lines have come so far: a place to `wait_for` from."""
        with self._changed:
            return self._count

    def _collect(self) -> None:
        rest = b""
        with self._pipe, self._file:
            while octets := os.read(self._pipe.fileno(), 2**16):
                self._store(octets)
                *lines, rest = (rest + octets).split(b"\n")
                if len(rest) > LINE_LIMIT:
                    lines, rest = [*lines, rest], b""
                self._announce(lines)
        self._announce([rest] if rest else [])
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _store(self, octets: bytes) -> None:
        if self._written + len(octets) <= LOG_LIMIT:
            self._file.write(octets)
        elif self._written <= LOG_LIMIT:
            self._file.write(b"\n[the log is longer than is kept]\n")
        self._written += len(octets)

    def _announce(self, lines: Sequence[bytes]) -> None:
        with self._changed:
            for line in lines:
                self._lines.append(line[:LINE_LIMIT].decode("utf-8", "replace").rstrip("\r"))
            self._count += len(lines)
            self._changed.notify_all()

    def wait_for(self, wanted: Callable[[str], bool], *, since: int, limit: float) -> str | None:
        """Return the first line after the ``since`` first ones that is ``wanted``.

        None when ``limit`` seconds have passed or the log has ended without one.
        """
        deadline = time.monotonic() + limit
        with self._changed:
            looked = since
            while True:
                first = self._count - len(self._lines)
                fresh = [self._lines[index - first] for index in range(max(looked, first), self._count)]
                looked = max(looked, self._count)
                for line in fresh:
                    if wanted(line):
                        return line
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    return None
                self._changed.wait(left)

    def text(self) -> str:
        """Return everything that was kept."""
        with contextlib.suppress(FileNotFoundError):
            return self.path.read_text("utf-8", "replace")
        return ""

    def tail(self) -> str:
        """Return the last `TAIL` octets, from the beginning of a line."""
        text = self.text()
        return text if len(text) <= TAIL else text[-TAIL:].partition("\n")[2]

    def close(self) -> None:
        """Wait until the pipe has been read to its end. Call it when no process writes to it any more."""
        self._thread.join(STOP_LIMIT)


_alive: set[Child] = set()


@atexit.register
def _end_all() -> None:
    """A harness that breaks off leaves no server behind."""
    for child in tuple(_alive):
        if child.owner == os.getpid():  # not in a fork of the harness
            child.end(term=False)


class Child:
    """A started process, its group, and the moment of its end. `end` must be called."""

    def __init__(self, process: subprocess.Popen[bytes], *, group: bool = True) -> None:
        """``group``: the process leads a group of its own, which ends with it."""
        self.process = process
        self._group = group
        self.pid = process.pid
        self.owner = os.getpid()
        self._exited = threading.Event()
        self._reaped = False
        self._thread = threading.Thread(target=self._watch, name=f"exit of {self.pid}", daemon=True)
        self._thread.start()
        _alive.add(self)

    def _watch(self) -> None:
        # Without reaping: the process id, and with it the group's, stays ours until `end` has used it.
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self._exited.set()

    @property
    def alive(self) -> bool:
        return not self._exited.is_set()

    def wait(self, limit: float) -> bool:
        """Wait for the process's end; say whether it came within ``limit`` seconds."""
        return self._exited.wait(limit)

    def end(self, *, term: bool = True, limit: float = STOP_LIMIT) -> int:
        """End the process and its whole group; return its exit code.

        SIGTERM comes first (unless not ``term``), SIGKILL after ``limit`` seconds.
        """
        if not self._reaped:
            if term and self.alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, SIGTERM)
                self._exited.wait(limit)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                (os.killpg if self._group else os.kill)(self.pid, SIGKILL)
            self._thread.join()
            self._reaped = True
            _alive.discard(self)
        return self.process.wait()


class ServerProcess:
    """A running server program and its log."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log_path: Path,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        limit: float = STOP_LIMIT,
        group: bool = True,
    ) -> None:
        """Start ``argv``; stdout and stderr are its log. Raises AdapterError when it cannot be executed.

        ``group``: it leads a session of its own. An adapter program leaves it out, so that its server is
        ended with it.
        """
        self.argv = tuple(argv)
        self._limit = limit
        try:
            process = subprocess.Popen(
                launch.command(self.argv, cwd, None if environment is None else environment.get("PATH")),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=dict(environment) if environment is not None else None,
                cwd=cwd,
                start_new_session=group,
            )
        except OSError as error:
            message = f"the server could not be started: {self.argv[0]}: {error.strerror}"
            raise AdapterError(message) from error
        assert process.stdout is not None
        self.child = Child(process, group=group)
        self.log = LogFile(process.stdout, log_path)

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def alive(self) -> bool:
        return self.child.alive

    def wait_for(self, wanted: Callable[[str], bool], what: str, *, since: int = 0) -> str:
        """Return the first log line after ``since`` lines that is ``wanted``.

        Raises AdapterError, with the log, when the program ended or `START_LIMIT` passed before ``what``.
        """
        line = self.log.wait_for(wanted, since=since, limit=START_LIMIT)
        if line is None:
            # The end of the log and the end of the process are two events; either may come first.
            ended = self.child.wait(1.0)
            why = (
                f"it ended with exit code {self.child.end(term=False)}"
                if ended
                else f"{START_LIMIT:.0f} s have passed"
            )
            raise AdapterError(f"the server did not come to {what}: {why}", log=self.log.tail())
        return line

    def stop(self) -> int:
        """End it politely; after the limit not so. Return its exit code."""
        return self._finish(self.child.end(limit=self._limit))

    def kill(self) -> int:
        """End it at once."""
        return self._finish(self.child.end(term=False))

    def _finish(self, code: int) -> int:
        self.log.close()
        return code
