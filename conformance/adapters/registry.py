"""From the name that the user gave (``--server NAME``) to an adapter."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.errors import UsageError

if TYPE_CHECKING:
    from conformance.adapters.base import Adapter

BUILT_IN = ("reference",)

_FORMS = (
    f"{', '.join(BUILT_IN)}; exec:COMMAND, a program that speaks the adapter contract; "
    "python:package.module:Class, an adapter class"
)


def create(name: str, settings: Mapping[str, str], workdir: Path) -> Adapter:
    """Return the adapter of the server ``name``; nothing is started yet.

    ``settings`` are the user's ``--set KEY=VALUE``; ``workdir`` exists, belongs to the adapter, and
    outlives it. Raises UsageError for a name or a setting that cannot be used.
    """
    kind, colon, rest = name.partition(":")
    if name == "reference":
        from conformance.adapters.reference import ReferenceAdapter

        return ReferenceAdapter(settings, workdir)
    if kind == "exec" and colon:
        return _program(name, rest, settings, workdir)
    if kind == "python" and colon:
        return _class(name, rest, settings, workdir)
    raise UsageError(f"--server {name}: no such server; known are {_FORMS}")


def _program(name: str, command: str, settings: Mapping[str, str], workdir: Path) -> Adapter:
    from conformance.adapters.process import ProcessAdapter

    try:
        argv = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--server {name}: the command cannot be read: {error}") from error
    if not argv:
        raise UsageError(f"--server {name}: a command is expected after exec:")
    return ProcessAdapter(argv, settings, workdir)


def _class(name: str, path: str, settings: Mapping[str, str], workdir: Path) -> Adapter:
    module_name, colon, class_name = path.partition(":")
    if not (module_name and colon and class_name):
        raise UsageError(f"--server {name}: python:package.module:Class is expected")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UsageError(f"--server {name}: module {module_name} cannot be imported: {error}") from error
    factory = getattr(module, class_name, None)
    if not callable(factory):
        raise UsageError(f"--server {name}: module {module_name} has no class {class_name}")
    adapter: Adapter = factory(settings, workdir)
    return adapter
