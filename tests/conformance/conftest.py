"""Runs of the real programs, each in a folder of its own with nothing of ours in it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import conformance

LIMIT = 110.0
"""Seconds; below the limit of a test."""
_LEFT_OUT = ("PYTEST_", "SIXPOST_", "COV_", "FORCE_COLOR", "COLUMNS", "PYTHONWARNINGS")
_WORKER = "PYTEST_XDIST_WORKER"
"""Is handed on: programs of two workers draw port numbers from two supplies."""


@dataclass(frozen=True)
class Done:
    """What a program came to."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def last(self) -> str:
        """The last line of the output."""
        lines = self.out.splitlines()
        return lines[-1] if lines else ""


class Programs:
    """Runs our programs in ``folder``; their temporary files are below ``temporary``."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        self.folder = folder
        self.temporary = temporary
        inherited = {
            key: value
            for key, value in os.environ.items()
            if key.startswith(_WORKER) or not key.startswith(_LEFT_OUT)
        }
        root = str(Path(conformance.__file__).parents[1])
        self.environment = {**inherited, "PYTHONPATH": root, "TMPDIR": str(temporary), "NO_COLOR": "1"}

    def conformance(self, *words: str, environment: Mapping[str, str] | None = None) -> Done:
        """Run ``conformance`` and wait for its end."""
        return self._run([*self.conformance_command, *words], environment or {})

    def judge(self, *words: str, environment: Mapping[str, str] | None = None) -> Done:
        """Run ``conformance run --server reference`` on loopback."""
        return self.conformance(
            "run", "--server", "reference", "--network", "loopback", *words, environment=environment
        )

    def pytest(self, *words: str) -> Done:
        """Run pytest, with our plugin as an installed one is there."""
        return self._run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *_plugin(), *words], {})

    @property
    def conformance_command(self) -> list[str]:
        return [sys.executable, "-m", "conformance.cli"]

    def scenario(self, text: str, name: str = "mine.yaml") -> Path:
        """Write a scenario file below ``scenarios/`` and return its path."""
        path = self.folder / "scenarios" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    def records(self, report: str = "report") -> list[dict[str, Any]]:
        """Return the lines of a report."""
        lines = (self.folder / report / "report.ndjson").read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def summary(self, report: str = "report") -> dict[str, Any]:
        summary = json.loads((self.folder / report / "summary.json").read_text("utf-8"))
        assert isinstance(summary, dict)
        return summary

    def left(self) -> list[str]:
        """Return what runs still made: processes that name the temporary folder, and files in it."""
        mark = str(self.temporary).encode()
        found = [path.name for path in self.temporary.iterdir()]
        for entry in Path("/proc").iterdir():
            try:
                command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            except OSError:
                continue  # it ended meanwhile
            if mark in command:
                found.append(command.replace(b"\0", b" ").decode())
        return found

    def _run(self, command: list[str], environment: Mapping[str, str]) -> Done:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def _plugin() -> list[str]:
    installed = importlib.metadata.entry_points(group="pytest11", name="sixpost")
    return [] if installed else ["-p", "conformance.plugin"]


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    folder, temporary = tmp_path / "folder", tmp_path / "temporary"
    folder.mkdir()
    temporary.mkdir()
    programs = Programs(folder, temporary)
    yield programs
    assert programs.left() == []
