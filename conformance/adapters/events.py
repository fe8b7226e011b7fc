"""The log of the reference server: a JSON object a line, each of them an event."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


def event_of(line: str, name: str) -> dict[str, Any] | None:
    """Return a log line as event when it is the event ``name``."""
    if name not in line:
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and event.get("event") == name else None


def is_event(name: str) -> Callable[[str], bool]:
    return lambda line: event_of(line, name) is not None


def number_of(line: str, key: str) -> int:
    return int(json.loads(line)[key])
