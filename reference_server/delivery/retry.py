"""When a recipient is tried again, and when it is given up. Pure (RFC 5321 section 4.5.4.1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

_SHORTEST = timedelta(seconds=1)
"""With 0 minutes between the tries they still do not follow each other as fast as a computer can."""
_LONGEST = timedelta(days=365)
"""A next try beyond this is as good as none, and times have an end."""


@dataclass(frozen=True, slots=True)
class Again:
    """The recipient is tried again at ``at``."""

    at: datetime


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The tries are used up: the message goes back to its sender."""

    reason: str


def decide(tries: int, now: datetime, *, number: int, minutes: int) -> Again | GivenUp:
    """Decide after a try that ended with "later".

    ``tries`` were made, this one included. ``number`` are all that may be made (`smtp_no_of_tries`; the first
    is always made), ``minutes`` apart (`smtp_minutes_between_try`).
    """
    if tries >= number:
        return GivenUp(f"given up after {tries} {'try' if tries == 1 else 'tries'}")
    return Again(now + min(max(timedelta(minutes=minutes), _SHORTEST), _LONGEST))
