"""A served connection that stays open, and the question whether a session answers."""

from __future__ import annotations

from dataclasses import dataclass

from conformance.adapters.base import ProtocolName
from conformance.clients.channel import CLOSES, Channel, Ended, now
from conformance.clients.record import redacted_command
from conformance.clients.reply import Reply, read_reply

PATIENCE = 11.0
"""Seconds for one answer, when the caller says nothing."""
GOODBYE_PATIENCE = 2.0
"""Seconds that a server has to close after QUIT; it only delays us, it judges nothing."""

# Harmless before login, each in its own protocol: RFC 5321 §4.1.1.9, RFC 2449 §5 (POP3's NOOP needs a login,
# RFC 1939 §5), RFC 9051 §6.1.2.
QUESTIONS: dict[ProtocolName, tuple[str, str]] = {
    "smtp": ("NOOP", "NOOP"),
    "pop3": ("CAPA", "CAPA"),
    "imap": ("ready1 NOOP", "ready2 NOOP"),
}
"""What to ask after a positive greeting; the second when the first is not understood."""
FAREWELLS: dict[ProtocolName, str] = {"smtp": "QUIT", "pop3": "QUIT", "imap": "bye LOGOUT"}
"""How a client ends a session politely."""
_SMTP_NOT_UNDERSTOOD = frozenset({"500", "501", "502", "503", "504", "530"})


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a session answers after its greeting. ``ended`` says how it ended when it does not."""

    ready: bool
    ended: Ended | None
    detail: str


def confirm(channel: Channel, protocol: ProtocolName, patience: float) -> Readiness:
    """Ask a harmless question after a positive greeting: who answers it in the right protocol serves us.

    A server that does not know the question is asked again: who answers twice is there. A server that says
    goodbye (421, 554, * BYE) is waited for until it closes, at most ``patience`` seconds.
    """
    for question in QUESTIONS[protocol]:
        reply = _ask(channel, protocol, question, patience)
        if reply.ended is not None:
            said = f"; it had answered {reply.text!r}" if reply.lines else ""
            return Readiness(False, reply.ended, f"a greeting, then to {question}: {reply.ended}{said}")
        meaning = meaning_of(protocol, question, reply)
        if meaning == "yes":
            return Readiness(True, None, "")
        if meaning == "no":
            ended = channel.await_close(now() + patience)
            return Readiness(False, ended, f"a greeting, then to {question}: {reply.text!r}, {ended}")
    return Readiness(True, None, f"{QUESTIONS[protocol][0]} is not understood, but answered")


def meaning_of(protocol: ProtocolName, question: str, reply: Reply) -> str:
    """Say what an answer to one of `QUESTIONS` means: "yes", "unknown" (of a live session, too) or "no"."""
    if protocol == "smtp":
        if reply.code.startswith("2"):
            return "yes"
        return "unknown" if reply.code in _SMTP_NOT_UNDERSTOOD else "no"
    if protocol == "pop3":
        return {"+OK": "yes", "-ERR": "unknown"}.get(reply.code.upper(), "no")
    tag = question.partition(" ")[0]
    if any(line.upper().startswith("* BYE") for line in reply.lines):
        return "no"
    word = reply.deciding.removeprefix(f"{tag} ").partition(" ")[0].upper()
    return {"OK": "yes", "NO": "unknown", "BAD": "unknown"}.get(word, "no")


def _ask(channel: Channel, protocol: ProtocolName, command: str, patience: float) -> Reply:
    deadline = now() + patience
    channel.send(f"{command}\r\n".encode(), deadline, shown=redacted_command(command))
    # When sending failed the server may have spoken before it closed: reading tells.
    return read_reply(channel, protocol, command, deadline)


class ClientSession:
    """A session that the server serves. Its holder ends it: `quit`, `close` or `reset`, all idempotent."""

    def __init__(self, channel: Channel, protocol: ProtocolName, greeting: bytes) -> None:
        self._channel = channel
        self._tag = ""
        self.protocol = protocol
        self.greeting = greeting
        self.ended: Ended | None = None
        """Why the last `talk` brought no complete reply; None when it did."""

    @property
    def who(self) -> str:
        """The client's name in the transcript."""
        return self._channel.who

    @property
    def is_open(self) -> bool:
        """Say whether our end is open."""
        return self._channel.is_open

    def talk(self, line: str, *, patience: float = PATIENCE) -> str:
        """Say one line (CRLF is added) and return the reply; "" or its beginning when none came, see `ended`.

        For SMTP and POP3 all lines of the reply; for IMAP the tagged line (or the ``+`` line), so that a
        reply begins with ``a OK`` whatever untagged data comes before. Passwords are not recorded.
        """
        if not self.is_open:
            self.ended = self._channel.ended or Ended.FIN
            return ""
        deadline = now() + patience
        shown = "***" if self._tag else redacted_command(line)
        self._channel.send(f"{line}\r\n".encode(), deadline, shown=shown)
        command = self._tag or line  # after "+" the line continues a command, whose tag still holds
        reply = read_reply(self._channel, self.protocol, command, deadline)
        self.ended = reply.ended
        self._tag = command if self.protocol == "imap" and reply.deciding.startswith("+") else ""
        if self.protocol == "imap" and reply.ended is None:
            return reply.deciding
        return reply.text

    def await_close(self, patience: float = PATIENCE) -> Ended:
        """Wait until the server ends the session and return how; SILENCE when it did not."""
        self.ended = self._channel.await_close(now() + patience)
        return self.ended

    def quit(self, patience: float = GOODBYE_PATIENCE) -> None:
        """Say goodbye in the protocol's words, let the server close first, then close."""
        if self.is_open:
            say_goodbye(self._channel, self.protocol, patience)

    def close(self) -> None:
        """Close with FIN, without a word."""
        self._channel.close()

    def reset(self) -> None:
        """Close with RST."""
        self._channel.reset()


def say_goodbye(channel: Channel, protocol: ProtocolName, patience: float = GOODBYE_PATIENCE) -> None:
    """End a session politely: when this returns the server has closed it, or had ``patience`` seconds to."""
    deadline = now() + patience
    if channel.ended not in CLOSES and channel.send(f"{FAREWELLS[protocol]}\r\n".encode(), deadline) is None:
        channel.await_close(deadline)
    channel.close()
