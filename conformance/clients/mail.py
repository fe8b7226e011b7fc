"""The ordinary clients: logging in by SMTP, POP3 or IMAP, and looking into INBOX by POP3 or IMAP.

POP3 and IMAP are spoken by the standard library's poplib and imaplib, over a socket of ours: bound to the
source address, with limits of octets and time, and recorded without passwords.
"""

from __future__ import annotations

import imaplib
import io
import poplib
import re
import socket
from dataclasses import dataclass
from typing import IO, Any, cast

from conformance.adapters.base import ProtocolName
from conformance.addresses import Address
from conformance.clients import smtp
from conformance.clients.channel import CHUNK, CLOSES, Channel, Ended, now
from conformance.clients.connect import Connector
from conformance.clients.outcome import Observation, Outcome
from conformance.clients.record import Record, credentials, redacted_command, without
from conformance.clients.reply import speaks
from conformance.clients.result import FetchResult, LoginResult, Stage, answer_at_connect
from conformance.clients.session import PATIENCE, say_goodbye

MAX_LITERAL = 32 * 1024 * 1024
"""Octets of one IMAP literal that are read; imaplib would reserve what the server announces."""

_TAGGED = re.compile(rb"^[A-Z]{4}\d+ (OK|NO|BAD)\b")  # imaplib's tags


def login(
    connector: Connector,
    target: Address,
    port: int,
    *,
    protocol: ProtocolName,
    source: Address | None,
    record: Record,
    user: str,
    password: str,
    patience: float = PATIENCE,
) -> LoginResult:
    """Log in by ``protocol``, and end the session.

    ``patience`` (seconds) holds for the handshake and for each answer.
    """
    if protocol == "smtp":
        return smtp.login(
            connector,
            target,
            port,
            source=source,
            record=record,
            user=user,
            password=password,
            patience=patience,
        )
    found = _visit(connector, target, port, protocol, source, record, (user, password), patience, look=False)
    return LoginResult(found.accepted, found.stage, found.code, found.text, found.outcome)


def fetch(
    connector: Connector,
    target: Address,
    port: int,
    *,
    protocol: ProtocolName,
    source: Address | None,
    record: Record,
    user: str,
    password: str,
    patience: float = PATIENCE,
) -> FetchResult:
    """Log in by ``protocol`` (POP3 or IMAP), count the messages of INBOX and read the newest.

    Nothing is changed in the mailbox. Raises ValueError for SMTP.
    """
    if protocol == "smtp":
        raise ValueError("mail cannot be fetched by SMTP; use a POP3 or IMAP port")
    return _visit(connector, target, port, protocol, source, record, (user, password), patience, look=True)


@dataclass
class _Progress:
    stage: Stage = "connect"


def _visit(
    connector: Connector,
    target: Address,
    port: int,
    protocol: ProtocolName,
    source: Address | None,
    record: Record,
    login_as: tuple[str, str],
    patience: float,
    *,
    look: bool,
) -> FetchResult:
    secrets = credentials(*login_as)
    channel = connector.open(target, port, source=source, record=record, patience=patience, secrets=secrets)
    if isinstance(channel, Observation):
        return FetchResult(False, "connect", *answer_at_connect(channel), channel.outcome)
    progress = _Progress()
    lent = LentSocket(channel, patience)
    visit = _visit_pop3 if protocol == "pop3" else _visit_imap
    try:
        return visit(lent, login_as, progress, look=look)
    # imaplib's and poplib's own words for a refusal; their parsers raise ValueError, IndexError and the like
    # on answers that are no answers: the server's fault, and a refusal as well.
    except (imaplib.IMAP4.error, poplib.error_proto, OSError, ValueError, LookupError, TypeError) as error:
        code, text = lent.last_answer(protocol)
        ended = f" ({channel.ended})" if channel.ended is not None else ""
        if not text and not ended:
            text = str(error)
        outcome = _outcome(channel, lent, protocol, patience) if progress.stage == "connect" else None
        return FetchResult(False, progress.stage, code, without(secrets, f"{text}{ended}".strip()), outcome)
    finally:
        say_goodbye(channel, protocol)


def _outcome(channel: Channel, lent: LentSocket, protocol: ProtocolName, patience: float) -> Outcome:
    """Say what a connection came to whose client was never let in."""
    if speaks(lent.first_line) not in (None, protocol):
        return Outcome.WRONG_PROTOCOL
    if channel.ended is None:
        channel.await_close(now() + patience)
    if channel.ended not in CLOSES:
        return Outcome.HUNG
    if channel.first_byte_after is not None:
        return Outcome.CLOSED_AFTER_TEXT
    return Outcome.RESET if channel.ended is Ended.RST else Outcome.CLOSED_SILENT


def _visit_pop3(
    lent: LentSocket, login_as: tuple[str, str], progress: _Progress, *, look: bool
) -> FetchResult:
    client = _Pop3(lent)
    progress.stage = "auth"
    client.user(login_as[0])
    text = client.pass_(login_as[1])
    count, newest = 0, b""
    if look:
        progress.stage = "fetch"
        count, _octets = client.stat()
        if count:
            newest = b"\r\n".join([*client.retr(count)[1], b""])
    words = text.decode("utf-8", "backslashreplace").removeprefix("+OK").strip()
    return FetchResult(True, progress.stage, "+OK", words, messages=count, newest=newest)


def _visit_imap(
    lent: LentSocket, login_as: tuple[str, str], progress: _Progress, *, look: bool
) -> FetchResult:
    client = _Imap(lent)
    progress.stage = "auth"
    _status, [text, *_more] = client.login(*login_as)
    count, newest = 0, b""
    if look:
        progress.stage = "fetch"
        status, data = client.select("INBOX", readonly=True)
        if status != "OK":
            raise imaplib.IMAP4.error("INBOX cannot be selected")
        count = int(data[0] or b"0")
        if count:
            status, parts = client.fetch(str(count), "(BODY.PEEK[])")
            if status != "OK":
                raise imaplib.IMAP4.error("the newest message cannot be fetched")
            literals = [part[1] for part in parts if isinstance(part, tuple)]
            if not literals:
                raise imaplib.IMAP4.error("the newest message was not in the answer")
            newest = literals[0]
    words = bytes(text or b"").decode("utf-8", "backslashreplace")
    return FetchResult(True, progress.stage, "OK", words, messages=count, newest=newest)


class LentSocket:
    """What poplib and imaplib take for a socket: octets through a channel, which stays the owner's.

    ``patience`` (seconds) begins anew with everything that is sent; TimeoutError is raised when it is over.
    """

    def __init__(self, channel: Channel, patience: float) -> None:
        self._channel = channel
        self._patience = patience
        self._deadline = now() + patience
        self._rest = b""
        self._last_line = b""
        self.first_line = b""

    def sendall(self, data: bytes) -> None:
        """Send all octets; a login command is recorded without its password."""
        self._deadline = now() + self._patience
        self._last_line = self._rest = b""
        shown = redacted_command(data.decode("utf-8", "backslashreplace").rstrip("\r\n"))
        if self._channel.send(data, self._deadline, shown=shown) is not None and self._channel.ended is None:
            # What the server said before it stopped reading can still be read; then the end is reported.
            self._channel.note("the server does not take the command")

    def recv(self, _size: int) -> bytes:
        """Return octets, b"" at the end."""
        data = self._channel.receive(self._deadline)
        if data is Ended.SILENCE:
            raise TimeoutError(str(data))
        if isinstance(data, Ended):
            return b""
        self._remember(data)
        return data

    def makefile(self, _mode: str) -> IO[bytes]:
        """Return a buffered reader of this socket."""
        return io.BufferedReader(_Reader(self), CHUNK)

    def settimeout(self, _seconds: float | None) -> None:
        """The limit is ours."""

    def shutdown(self, _how: int) -> None:
        """The channel's owner closes it."""

    def close(self) -> None:
        """The channel's owner closes it."""

    def last_answer(self, protocol: ProtocolName) -> tuple[str, str]:
        """Return code and text of the server's last line since something was sent; "" without one."""
        line = self._last_line.decode("utf-8", "backslashreplace").strip()
        if protocol == "imap" and _TAGGED.match(self._last_line):
            line = line.partition(" ")[2]
        elif protocol == "imap" and line.startswith("* "):
            line = line.removeprefix("* ")
        code, _, text = line.partition(" ")
        return code, text

    def _remember(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-CHUNK:]
        for line in lines:
            self.first_line = self.first_line or line.rstrip(b"\r")
            self._last_line = line[:CHUNK]


class _Reader(io.RawIOBase):
    def __init__(self, lent: LentSocket) -> None:
        super().__init__()
        self._lent = lent
        self._waiting = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._waiting:
            self._waiting = self._lent.recv(len(buffer))
        taken = self._waiting[: len(buffer)]
        buffer[: len(taken)] = taken
        self._waiting = self._waiting[len(taken) :]
        return len(taken)


class _Pop3(poplib.POP3):
    def __init__(self, lent: LentSocket) -> None:
        self._lent = lent
        super().__init__("", timeout=1)

    def _create_socket(self, timeout: float | None) -> socket.socket:  # noqa: ARG002 - the limit is ours
        return cast("socket.socket", self._lent)


class _Imap(imaplib.IMAP4):
    def __init__(self, lent: LentSocket) -> None:
        self._lent = lent
        super().__init__("", timeout=1)

    def _create_socket(self, timeout: float | None) -> socket.socket:  # noqa: ARG002 - the limit is ours
        return cast("socket.socket", self._lent)

    def read(self, size: int) -> bytes:
        if size > MAX_LITERAL:
            raise self.abort(f"a literal of {size} octets is announced")
        return super().read(size)
