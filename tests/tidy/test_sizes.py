"""House sizes: modules up to 400 lines, functions up to 60. Longer means that a second idea wants a name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("conformance", "reference_server", "benchmarks", "torture")
MODULE_LINES = 400
FUNCTION_LINES = 60


def too_long(root: Path, *packages: str) -> Iterator[str]:
    for package in packages:
        for file in sorted((root / package).rglob("*.py")):
            text = file.read_text(encoding="utf-8")
            name = file.relative_to(root).as_posix()
            lines = len(text.splitlines())
            if lines > MODULE_LINES:
                yield f"{name}: {lines} lines"
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    length = (node.end_lineno or node.lineno) - node.lineno + 1
                    if length > FUNCTION_LINES:
                        yield f"{name}:{node.lineno}: {node.name} has {length} lines"


def test_nothing_is_too_long() -> None:
    assert list(too_long(ROOT, *PACKAGES)) == []


def test_what_is_too_long_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "module.py").write_text("x = 1\n" * 401)
    (tmp_path / "a" / "right.py").write_text("def f():\n" + "    x = 1\n" * 59 + "x = 1\n" * 340)
    (tmp_path / "a" / "wrong.py").write_text("class C:\n    async def f(self):\n" + "        x = 1\n" * 60)
    assert list(too_long(tmp_path, "a")) == ["a/module.py: 401 lines", "a/wrong.py:2: f has 61 lines"]
