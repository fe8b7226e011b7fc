"""Looking again until something holds, where nothing tells us that it has changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25


def again_until(holds: Callable[[Seen], bool], look: Callable[[], Seen], limit: float) -> Seen:
    """Return what ``look`` gives when it ``holds``, or what it gave last after ``limit`` seconds."""
    deadline = time.monotonic() + limit
    pause = _FIRST_PAUSE
    seen = look()
    while not holds(seen) and time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
        seen = look()
    return seen
