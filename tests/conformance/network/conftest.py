"""Code in fresh processes: a namespace is entered before any thread exists, never in the process of pytest."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.network import modes

ROOT = Path(modes.__file__).parents[2]
LIMIT = 60.0
"""Seconds for what takes less than one on an idle machine."""
PROBE = "import json; from conformance.network import modes; print(json.dumps({'missing': modes.probe()}))"


@functools.cache
def interpreter(user: int | None) -> str:
    """Return a Python of our version that ``user`` may run; "" without one (ours may be in root's home)."""
    if user is None:
        return sys.executable
    question = "import sys; print(*sys.version_info[:2])"
    for candidate in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            answer = subprocess.run(
                [candidate, "-c", question],
                capture_output=True,
                text=True,
                user=user,
                group=user,
                check=False,
            )
            if answer.stdout.split() == [str(part) for part in sys.version_info[:2]]:
                return candidate
    return ""


@functools.cache
def readable(user: int) -> bool:
    """Say whether ``user`` may read the package that is tested: what tox makes, root alone may read."""
    question = f"import os, sys; sys.exit(not os.access({str(ROOT / 'conformance')!r}, os.R_OK | os.X_OK))"
    done = subprocess.run([interpreter(user), "-c", question], user=user, group=user, cwd="/", check=False)
    return done.returncode == 0


class Python:
    """Runs code in fresh processes, with what this process can import."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []

    def __call__(self, code: str, *words: str, user: int | None = None) -> Any:
        """Run code to its end; it prints one JSON value, which is returned."""
        process = self.start(code, *words, user=user, stderr=subprocess.PIPE)
        out, err = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, err.decode()
        return json.loads(out)

    def start(
        self, code: str, *words: str, user: int | None = None, **options: Any
    ) -> subprocess.Popen[bytes]:
        """Start code; its stdout is a pipe. It is killed after the test; ``options``: of Popen."""
        path = os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry.endswith("-packages"))])
        process = subprocess.Popen(
            [interpreter(user), "-W", "error", "-c", code, *words],
            **{
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "env": {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
                "user": user,
                "group": user,
                "extra_groups": None if user is None else [],
                "cwd": "/",
                **options,
            },
        )
        self._started.append(process)
        return process

    def end(self) -> None:
        """Kill what still runs."""
        for process in self._started:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


@pytest.fixture
def python() -> Iterator[Python]:
    python = Python()
    yield python
    python.end()


def users() -> list[int | None]:
    """Ourselves, and where we are root an ordinary user too."""
    return [None, 65534] if os.geteuid() == 0 else [None]


@pytest.fixture(params=users(), ids=lambda user: "ourselves" if user is None else "ordinary-user")
def user(request: pytest.FixtureRequest, python: Python) -> int | None:
    """Who runs it; the test is skipped where a namespace cannot be entered."""
    chosen: int | None = request.param
    if not interpreter(chosen):
        pytest.skip("an ordinary user may run no Python of this version here")
    if chosen is not None and not readable(chosen):
        pytest.skip("an ordinary user may not read this installation: its folders are root's alone")
    if missing := _missing(chosen):
        pytest.skip(missing)
    return chosen


@functools.cache
def _missing(user: int | None) -> str:
    python = Python()
    try:
        return str(python(PROBE, user=user)["missing"])
    finally:
        python.end()
