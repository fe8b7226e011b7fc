"""What is kept in the repository is the same on every machine: no paths of one, no addresses of an index."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATED = frozenset({".git", ".tox", ".venv", "__pycache__", "build", "dist", "report"})

# Written in pieces, so that this file does not hold what it looks for.
FORBIDDEN = {
    "a path of one machine": re.compile(
        r"(?<![\w.])/" + r"(?:home/[a-z]|root/|Users/|work/|tmp/v/)" + r"[\w./-]*"
    ),
    "an address of a package index": re.compile(
        r"index"
        + r"-url|extra-"
        + r"index|PIP_"
        + r"INDEX|files\.python"
        + r"hosted|/simple"
        + r"/|find-"
        + r"links",
        re.IGNORECASE,
    ),
}


def tracked() -> list[Path]:
    """Return the files that git has or would take; without git, all that are not generated."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listing = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout.decode()
        return [ROOT / name for name in sorted(set(listing.split("\0"))) if name and (ROOT / name).is_file()]
    return [
        file
        for file in sorted(ROOT.rglob("*"))
        if file.is_file() and not GENERATED & set(file.relative_to(ROOT).parts)
    ]


def found_in(text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        for what, pattern in FORBIDDEN.items():
            match = pattern.search(line)
            if match:
                yield f"{number}: {what}: {match[0]}"


def test_no_file_is_of_one_machine() -> None:
    files = tracked()
    assert len(files) > 50
    found = [
        f"{file.relative_to(ROOT)}:{line}"
        for file in files
        for line in found_in(file.read_bytes().decode("utf-8", errors="replace"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "prefix = /" + "home/somebody/src",
        'python = "/' + 'root/.venv/bin/python"',
        "cd /" + "work/tree",
        "--" + "index" + "-url https://example.test/",
        "https://example.test/root/pypi/+" + "simple" + "/: /simple" + "/",
        "PIP_" + "INDEX_URL=x",
    ],
)
def test_what_is_of_one_machine_is_seen(line: str) -> None:
    assert list(found_in(line))


@pytest.mark.parametrize(
    "line", ["/" + "api/v1/status", "https://example.test/work/x", "./work/x", "/proc/self/fd"]
)
def test_other_paths_are_left_alone(line: str) -> None:
    assert list(found_in(line)) == []
