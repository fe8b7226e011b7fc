"""What a next hop said, and what became of a recipient. Pure.

A `Result` is final for the attempt: `retry` decides about `Outcome.LATER`; `Outcome.FAILED` goes back to the
sender.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?: |\Z)")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_TEXT = 500


class Outcome(Enum):
    """What became of a recipient in one attempt."""

    DELIVERED = "delivered"
    LATER = "later"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply of SMTP. ``lines`` are without the code, in whatever octets came, as ASCII."""

    code: int
    lines: tuple[str, ...] = ("",)

    @property
    def positive(self) -> bool:
        """2yz, or 3yz where one is expected."""
        return 200 <= self.code < 400

    @property
    def permanent(self) -> bool:
        """5yz (RFC 5321 section 4.2.1)."""
        return self.code >= 500

    @property
    def status(self) -> str:
        """The enhanced status code (RFC 2034), or what the code says of it (RFC 3463)."""
        found = _ENHANCED.match(self.lines[0])
        if found and found[1] == str(self.code)[0]:
            return ".".join(found.groups())
        return f"{str(self.code)[0]}.0.0"

    @property
    def text(self) -> str:
        """The reply as one printable line."""
        return printable(f"{self.code} {' '.join(self.lines)}")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a recipient, with its reason."""

    outcome: Outcome
    status: str
    """Enhanced status code (RFC 3463)."""
    reason: str
    """One printable line: the reply of the other server, or our own words."""
    remote: str = ""
    """The server that said it; empty when we say it ourselves."""
    unclear: bool = False
    """The connection ended between the final dot and its answer: that server may have the message, so nobody
    else is asked in this attempt (RFC 5321 section 4.2.5: without its 250 the message is still ours)."""

    @property
    def said_by_remote(self) -> bool:
        """Whether ``reason`` is a reply of another server."""
        return self.remote != ""


def from_reply(reply: Reply, remote: str) -> Result:
    """Return what a reply to MAIL, RCPT, DATA or the final dot means for its recipients."""
    outcomes = {2: Outcome.DELIVERED, 5: Outcome.FAILED}
    return Result(outcomes.get(reply.code // 100, Outcome.LATER), reply.status, reply.text, remote)


def later(status: str, reason: str) -> Result:
    """Return that it did not work now, for a reason of our own. ``status`` begins with 4."""
    return Result(Outcome.LATER, status, printable(reason))


def failed(status: str, reason: str) -> Result:
    """Return that it will never work, for a reason of our own. ``status`` begins with 5."""
    return Result(Outcome.FAILED, status, printable(reason))


def final(results: list[Result]) -> Result:
    """Return what several servers (or addresses) together mean: one that may take it later decides.

    ``results`` are those of the servers in order, none of them delivered; there is at least one.
    """
    waiting = [result for result in results if result.outcome is Outcome.LATER]
    return (waiting or results)[-1]


def printable(text: str) -> str:
    """Return ``text`` as one line of printable ASCII."""
    return _UNPRINTABLE.sub("?", text)[:_TEXT]
