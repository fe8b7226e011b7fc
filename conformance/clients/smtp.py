"""Sending one message by SMTP, as a dialogue on our own socket: every refusal keeps its stage, code and text.

A message is offered only when every recipient was accepted; otherwise it is taken back (RSET), and the result
is the first refusal.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Literal

from conformance.addresses import Address, canonical, parse
from conformance.clients.channel import CLOSES, Channel, Ended, now
from conformance.clients.connect import Connector
from conformance.clients.outcome import Observation, Outcome
from conformance.clients.record import Record, credentials, redacted_command, without
from conformance.clients.reply import Reply, classify_greeting, read_reply
from conformance.clients.result import LoginResult, SendResult, Stage, answer_at_connect
from conformance.clients.session import PATIENCE, say_goodbye

Until = Literal["rcpt", "content", "dot", "data"]
"""How far a client goes."""
_BARE_LINE_END = re.compile(rb"\r\n|\r|\n")


class Refused(Exception):  # noqa: N818 - an answer of the server's, carried to the end of the dialogue
    """The dialogue ended at ``stage`` with an answer that is not the hoped-for one."""

    def __init__(self, stage: Stage, reply: Reply, outcome: Outcome | None = None) -> None:
        super().__init__(reply.text)
        self.stage: Stage = stage
        self.reply = reply
        self.outcome = outcome

    @property
    def code(self) -> str:
        """The reply code, "" when there was no complete reply."""
        return self.reply.code if self.reply.lines else ""

    @property
    def text(self) -> str:
        """The server's words, or what happened in their place."""
        said = " ".join(line[4:] for line in self.reply.lines)
        return f"{said} ({self.reply.ended})".strip() if self.reply.ended is not None else said


class Dialogue:
    """One SMTP session on a channel; each step returns the good reply or raises `Refused`."""

    def __init__(self, channel: Channel, patience: float) -> None:
        self._channel = channel
        self._patience = patience
        self.offers: tuple[str, ...] = ()
        """The keywords of the EHLO reply, with their parameters, in upper case."""

    def greeting(self) -> Reply:
        """Await the greeting."""
        reply = read_reply(self._channel, "smtp", "", now() + self._patience)
        complete = "".join(f"{line}\r\n" for line in reply.lines).encode()
        if reply.ended is not None or classify_greeting("smtp", complete) != "positive":
            raise Refused("connect", reply, _outcome_without_greeting(reply))
        return reply

    def command(self, stage: Stage, line: str, *good: str, shown: str | None = None) -> Reply:
        """Say a command; ``good`` are the beginnings of the codes that are hoped for."""
        return self.exchange(
            stage, f"{line}\r\n".encode(), *good, shown=redacted_command(line) if shown is None else shown
        )

    def exchange(self, stage: Stage, data: bytes, *good: str, shown: str) -> Reply:
        """Send octets and read the reply: what the server said before it stopped reading, if it did."""
        deadline = now() + self._patience
        self._channel.send(data, deadline, shown=shown)
        reply = read_reply(self._channel, "smtp", "", deadline)
        if reply.ended is not None or not reply.code.startswith(good):
            raise Refused(stage, reply)
        return reply

    def hello(self, name: str) -> None:
        """EHLO, and HELO where that is not known (RFC 5321 §3.2)."""
        try:
            reply = self.command("helo", f"EHLO {name}", "2")
        except Refused as refused:
            # 501 is about the name that we gave, and HELO would only hide it.
            if refused.reply.ended is not None or refused.code not in ("500", "502"):
                raise
            self.command("helo", f"HELO {name}", "2")
        else:
            self.offers = tuple(line[4:].strip().upper() for line in reply.lines[1:])

    def log_in(self, user: str, password: str) -> Reply:
        """AUTH with PLAIN, or LOGIN where only that is offered (RFC 4954).

        Without any offer PLAIN is tried all the same, so that the server's own answer decides.
        """
        self._channel.hide(credentials(user, password))
        offered = {
            word for line in self.offers if line.startswith("AUTH") for word in re.split(r"[ =]", line)
        }
        if "LOGIN" in offered and "PLAIN" not in offered:
            self.command("auth", "AUTH LOGIN", "334")
            self.command("auth", _base64(user), "334")
            return self.command("auth", _base64(password), "2", shown="***")
        reply = self.command("auth", f"AUTH PLAIN {_base64(f'{chr(0)}{user}{chr(0)}{password}')}", "2", "334")
        if reply.code == "334":  # no initial response is taken: the credentials go alone (RFC 4954 §4)
            secret = _base64(f"\0{user}\0{password}")
            reply = self.command("auth", secret, "2", shown="***")
        return reply

    def recipients(self, rcpt_to: Sequence[str]) -> Reply:
        """RCPT for each; returns the last reply, or raises the first refusal, naming all the refused."""
        first: Refused | None = None
        refused: list[str] = []
        reply = Reply(())
        for recipient in rcpt_to:
            try:
                reply = self.command("rcpt", f"RCPT TO:<{recipient}>", "2")
            except Refused as refusal:
                first = first or refusal
                refused.append(recipient)
                if refusal.reply.ended is not None or refusal.code == "421":
                    break
        if first is not None and first.reply.ended is None and len(refused) < len(rcpt_to):
            self.take_back()
        if first is not None:
            raise _RecipientsRefused(first, tuple(refused))
        return reply

    def take_back(self) -> None:
        """RSET: the server forgets the message that was begun."""
        try:
            self.command("rcpt", "RSET", "2")
        except Refused:
            self._channel.note("RSET was not accepted")

    def content(self, message: bytes) -> Reply:
        """DATA: the message with CRLF line ends, dot-stuffed here (RFC 5321 §4.5.2)."""
        self.command("data", "DATA", "354")
        return self.exchange(
            "data", stuffed(message) + b".\r\n", "2", shown=f"({len(message)} octets of message)"
        )

    def begin_content(self, message: bytes, *, whole: bool) -> None:
        """DATA, and half of the message, or the whole of it with the final dot; no answer is awaited."""
        self.command("data", "DATA", "354")
        data = stuffed(message) + b".\r\n" if whole else stuffed(message)[: len(message) // 2]
        self._channel.send(data, now() + self._patience, shown=f"({len(data)} octets, then it leaves)")


class _RecipientsRefused(Refused):
    def __init__(self, first: Refused, recipients: tuple[str, ...]) -> None:
        super().__init__("rcpt", first.reply)
        self.recipients = recipients


def send(
    connector: Connector,
    target: Address,
    port: int,
    *,
    source: Address | None,
    record: Record,
    mail_from: str,
    rcpt_to: Sequence[str],
    body: str = "A test message of the conformance suite.\n",
    message: bytes | None = None,
    log_in_as: tuple[str, str] | None = None,
    helo: str | None = None,
    until: Until = "data",
    patience: float = PATIENCE,
) -> SendResult:
    """Send one message; with ``until`` "rcpt" only ask whether the recipients are taken.

    ``message`` goes out as it is, in place of one that is composed of ``body``. With "content" and "dot" the
    client leaves in the midst of the message, or right after its end: what it says of the result is "".

    ``log_in_as``: user and password; ``helo`` None is the address literal of the source; ``mail_from``
    "" is the null sender. ``patience`` (seconds) holds for the handshake and for each answer.
    """
    channel = connector.open(target, port, source=source, record=record, patience=patience)
    if isinstance(channel, Observation):
        return SendResult(False, "connect", *answer_at_connect(channel), channel.outcome)
    dialogue = Dialogue(channel, patience)
    message = compose(mail_from, rcpt_to, body) if message is None else message
    secrets = credentials(*log_in_as) if log_in_as is not None else ()
    try:
        dialogue.greeting()
        dialogue.hello(helo or address_literal(parse(channel.local)))
        if log_in_as is not None:
            dialogue.log_in(*log_in_as)
        eight_bit = " BODY=8BITMIME" if not message.isascii() and "8BITMIME" in dialogue.offers else ""
        dialogue.command("mail", f"MAIL FROM:<{mail_from}>{eight_bit}", "2")
        reply = dialogue.recipients(rcpt_to)
        if until == "rcpt":  # QUIT without DATA: the server forgets it
            return SendResult(True, "rcpt", reply.code, _words(reply))
        if until in ("content", "dot"):
            dialogue.begin_content(message, whole=until == "dot")
            return SendResult(False, "data")
        reply = dialogue.content(message)
        return SendResult(True, "data", reply.code, _words(reply))
    except Refused as refused:
        recipients = refused.recipients if isinstance(refused, _RecipientsRefused) else ()
        words = without(secrets, refused.text)
        return SendResult(False, refused.stage, refused.code, words, refused.outcome, recipients)
    finally:
        if until in ("content", "dot"):
            channel.close()
        else:
            say_goodbye(channel, "smtp")


def login(
    connector: Connector,
    target: Address,
    port: int,
    *,
    source: Address | None,
    record: Record,
    user: str,
    password: str,
    patience: float = PATIENCE,
) -> LoginResult:
    """Log in by SMTP AUTH, and end the session."""
    channel = connector.open(target, port, source=source, record=record, patience=patience)
    if isinstance(channel, Observation):
        return LoginResult(False, "connect", *answer_at_connect(channel), channel.outcome)
    dialogue = Dialogue(channel, patience)
    try:
        dialogue.greeting()
        dialogue.hello(address_literal(parse(channel.local)))
        reply = dialogue.log_in(user, password)
        return LoginResult(True, "auth", reply.code, _words(reply))
    except Refused as refused:
        words = without(credentials(user, password), refused.text)
        return LoginResult(False, refused.stage, refused.code, words, refused.outcome)
    finally:
        say_goodbye(channel, "smtp")


def compose(
    mail_from: str, rcpt_to: Sequence[str], body: str, *, as_written: bool = False, identity: str = ""
) -> bytes:
    """Return a message (RFC 5322) with CRLF line ends; a body with other than ASCII is UTF-8, 8bit.

    ``as_written``: the line ends of the body are left alone. ``identity`` is the Message-ID; "": a new one.
    """
    header = [
        f"From: <{mail_from or 'postmaster@sixpost.invalid'}>",
        f"To: {', '.join(f'<{recipient}>' for recipient in rcpt_to)}",
        "Subject: Conformance",
        f"Date: {format_datetime(datetime.now(UTC))}",
        f"Message-ID: {identity or new_identity()}",
    ]
    if not body.isascii():
        header += [
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: 8bit",
        ]
    text = body.encode()
    text = text if as_written else _BARE_LINE_END.sub(b"\r\n", text)
    return "\r\n".join([*header, "", ""]).encode() + text


def new_identity() -> str:
    """Return a Message-ID that no other message has."""
    return f"<{uuid.uuid4()}@sixpost.invalid>"


def stuffed(message: bytes) -> bytes:
    """Return the message as DATA carries it: a dot before each line that begins with one, CRLF at the end."""
    data = message if message.endswith(b"\r\n") or not message else message + b"\r\n"
    # Lines end with CRLF alone: after a bare LF no dot is doubled.
    return re.sub(rb"(?:\A|(?<=\r\n))\.", b"..", data)


def address_literal(address: Address) -> str:
    """Return the address literal of RFC 5321 §4.1.3, brackets included."""
    return f"[IPv6:{canonical(address)}]" if address.version == 6 else f"[{canonical(address)}]"


def _outcome_without_greeting(reply: Reply) -> Outcome:
    if reply.ended is None:
        return Outcome.WRONG_PROTOCOL if reply.code in ("+OK", "*") else Outcome.CLOSED_AFTER_TEXT
    if reply.ended not in CLOSES:
        return Outcome.HUNG
    if reply.lines:
        return Outcome.CLOSED_AFTER_TEXT
    return Outcome.RESET if reply.ended is Ended.RST else Outcome.CLOSED_SILENT


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _words(reply: Reply) -> str:
    return " ".join(line[4:] for line in reply.lines)
