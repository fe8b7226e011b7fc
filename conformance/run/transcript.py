"""The transcript of a case: every byte, close and reset, with the time since the case began."""

from __future__ import annotations

import time

from conformance.clients.record import Kind
from conformance.verdict.model import TranscriptLine

MAX_LINES = 600
"""Kept per case; a case with more says how many were left out."""


class Transcript:
    """Collects lines; its `record` is what the clients are given."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lines: list[TranscriptLine] = []
        self._left_out = 0

    def record(self, who: str, kind: Kind, text: str) -> None:
        """Add one event; above the limit it is only counted."""
        if len(self._lines) >= MAX_LINES:
            self._left_out += 1
            return
        self._lines.append(TranscriptLine(at=round(self.seconds, 4), who=who, kind=kind, text=text))

    def action(self, text: str) -> None:
        """Add something that the harness did."""
        self.record("harness", "action", text)

    @property
    def seconds(self) -> float:
        """Seconds since the case began."""
        return time.monotonic() - self._began

    @property
    def lines(self) -> tuple[TranscriptLine, ...]:
        """What was recorded."""
        if not self._left_out:
            return tuple(self._lines)
        note = TranscriptLine(
            at=round(self.seconds, 4),
            who="harness",
            kind="note",
            text=f"{self._left_out} more lines were left out",
        )
        return (*self._lines, note)
