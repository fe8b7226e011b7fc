"""What came of a message, a login or a look into a mailbox: frozen results of the ordinary clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from conformance.clients.outcome import Observation, Outcome
from conformance.clients.record import printable

Stage = Literal["connect", "helo", "auth", "mail", "rcpt", "data", "fetch"]
"""How far a client got: where it was refused, or the last stage of a success."""


@dataclass(frozen=True, slots=True)
class Result:
    """``code`` and ``text`` are the server's deciding answer: ``550``, ``-ERR``, ``NO``.

    Where the server gave none (it closed, it was silent, nobody was there) the code is "" and the text says
    what happened; at stage ``connect`` without any text of the server, ``outcome`` says what.
    """

    accepted: bool
    stage: Stage
    code: str = ""
    text: str = ""
    outcome: Outcome | None = None

    @property
    def answer(self) -> str:
        """Code and text as one: ``550 no such user``."""
        return f"{self.code} {self.text}".strip()

    def __str__(self) -> str:
        word = "accepted" if self.accepted else "refused"
        return f"{word} at {self.stage}: {self.answer}" if self.answer else f"{word} at {self.stage}"


@dataclass(frozen=True, slots=True)
class SendResult(Result):
    """Of one message. ``refused_recipients`` are those whose RCPT was refused, in order."""

    refused_recipients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoginResult(Result):
    """Of one login: stage ``auth`` when the server decided it."""


@dataclass(frozen=True, slots=True)
class FetchResult(Result):
    """Of one look into INBOX: how many messages, and the octets of the newest (highest number)."""

    messages: int = 0
    newest: bytes = b""

    def contains(self, text: str) -> bool:
        """Say whether the newest message has ``text``, in its header or body."""
        return text.encode() in self.newest


def answer_at_connect(observation: Observation) -> tuple[str, str]:
    """Return code and text for a connection that did not come to a channel.

    The code is "" unless the server spoke and was gone before the client could look.
    """
    if not observation.received:
        words = f"{observation.outcome}: {observation.detail}" if observation.detail else observation.outcome
        return "", str(words)
    code, _, text = printable(observation.received).rpartition("\n")[2].removeprefix("* ").partition(" ")
    return code, f"{text} ({observation.detail})".strip()
