"""What a connection came to, as seen by the client: the outcome alphabet."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What happened to one TCP connection. Exactly one of them holds for an attempt."""

    SERVED = "served"
    """The greeting of the right protocol arrived."""
    WRONG_PROTOCOL = "wrong_protocol"
    """A greeting arrived, of another protocol."""
    CLOSED_SILENT = "closed_silent"
    """Accepted, then FIN, and no byte."""
    RESET = "reset"
    """Accepted, then RST, and no byte."""
    CLOSED_AFTER_TEXT = "closed_after_text"
    """Accepted, some bytes that are no positive greeting (or a greeting), then closed by the server."""
    REFUSED = "refused"
    """RST to SYN: nothing listens."""
    FILTERED = "filtered"
    """Nothing came back to the SYN within the limit."""
    UNREACHABLE = "unreachable"
    """The system says that there is no way there."""
    HUNG = "hung"
    """Accepted, and neither greeting nor close within the limit."""


CLOSED = frozenset({Outcome.CLOSED_SILENT, Outcome.RESET, Outcome.CLOSED_AFTER_TEXT})
"""What the word ``closed`` in a scenario stands for."""

NEGATIVE = CLOSED | {Outcome.REFUSED, Outcome.FILTERED, Outcome.UNREACHABLE, Outcome.HUNG}
"""Outcomes that a dead server shows as well: each needs a positive control."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One connection attempt: its outcome, its bytes, and its times in seconds from the first SYN."""

    outcome: Outcome
    source: str
    """The client's address as the kernel reports it (canonical text)."""
    target: str
    """``address:port``, an IPv6 address in brackets."""
    received: bytes = b""
    connected_after: float | None = None
    first_byte_after: float | None = None
    closed_after: float | None = None
    detail: str = ""
    """The system's words, where there are any."""

    @property
    def close_delay(self) -> float | None:
        """Seconds from the completed handshake to FIN or RST; None when it was not closed."""
        if self.closed_after is None or self.connected_after is None:
            return None
        return self.closed_after - self.connected_after
