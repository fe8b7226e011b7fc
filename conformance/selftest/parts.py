"""Replacing one part of the reference server in this process."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from conformance.errors import HarnessBug


def replace_part(owner: Any, name: str, wrong: Any) -> None:
    """Put ``wrong`` in the place of a part, in every server module that has it by name."""
    right = getattr(owner, name, None)
    if right is None:
        raise HarnessBug(f"selftest: {owner.__name__} has no {name} any more; adapt this fault")
    setattr(owner, name, wrong)
    if isinstance(owner, ModuleType):
        for module_name, module in tuple(sys.modules.items()):
            if module_name.startswith("reference_server") and getattr(module, name, None) is right:
                setattr(module, name, wrong)
