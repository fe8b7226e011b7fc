"""What a smart host says to one client, as its behaviour wants it."""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from conformance.clients.record import Kind, printable, redacted_command
from conformance.peers.behaviour import AnswerStage, Behaviour, CutPoint
from conformance.peers.recording import Message, Recording

MAX_LINE = 65_536
"""Octets of one command line; RFC 5321 §4.5.3.1.4 allows 512."""
MAX_CONTENT = 64 * 2**20
_PATH = re.compile(r"^(FROM|TO):\s*<([^>]*)>\s*(.*)$", re.IGNORECASE)
_END = b"\r\n.\r\n"


class Hanging(Exception):  # noqa: N818 - the way out of a dialogue
    """The connection ends; ``how`` as in `Visit.ended`."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class Wire(Protocol):
    """The connection, as the dialogue sees it."""

    def receive(self) -> bytes:
        """Return the next octets; b"" at the end."""

    def send(self, data: bytes) -> None: ...

    def start_tls(self) -> str:
        """Shake hands; return the version."""

    def cut(self, how: str) -> None:
        """End it by FIN (``close``) or RST (``reset``)."""

    def pause(self, seconds: float) -> None: ...


@dataclass(slots=True)
class _Transaction:
    mail_from: str
    parameters: tuple[str, ...]
    rcpt_to: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def message(self) -> Message:
        return Message(self.mail_from, self.rcpt_to, self.refused, self.parameters)


class Dialogue:
    """One SMTP session. ``behaviour`` is asked before each turn: it may change meanwhile."""

    def __init__(
        self,
        wire: Wire,
        number: int,
        recording: Recording,
        behaviour: Callable[[], Behaviour],
        used: Callable[[], None],
        say: Callable[[Kind, str], None],
    ) -> None:
        """``used`` is told of each answer, recipient or cut out of the ordinary; ``say`` of every line."""
        self._wire = wire
        self._number = number
        self._recording = recording
        self._behaviour = behaviour
        self._used = used
        self._say = say
        self._buffer = bytearray()
        self._transaction: _Transaction | None = None
        self._greeted = self._secure = self._user = ""
        self._pipelining = False

    def run(self) -> str:
        """Talk until somebody ends it; return who: see `Visit.ended`."""
        try:
            if self._behaviour().security == "tls":
                self._start_tls()
            self._cut("connect")
            if not self._reply("connect", "220 smart-host.sixpost.invalid ESMTP"):
                self._wire.cut("close")
                return "refused"
            while True:
                self._command(self._line())
        except Hanging as end:
            return end.how
        except ssl.SSLError as error:
            self._say("error", f"TLS: {error.reason or error}")
            return "tls"
        except OSError:
            return "client"

    # --- octets -----------------------------------------------------------------------------------------

    def _more(self, limit: int = MAX_LINE) -> None:
        if len(self._buffer) > limit:
            raise Hanging("flood")
        data = self._wire.receive()
        if not data:
            raise Hanging("client")
        self._buffer += data

    def _line(self) -> str:
        while b"\n" not in self._buffer:
            self._more()
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer[:] = rest
        text = line.removesuffix(b"\r").decode("utf-8", "surrogateescape")
        if self._buffer and not self._pipelining and self._greeted:
            self._recording.update(self._number, early=True)
        return text

    def _send(self, text: str) -> None:
        behaviour = self._behaviour()
        if behaviour.slow:
            self._wire.pause(behaviour.slow)
        self._say("sent", text)
        self._wire.send(text.replace("\n", "\r\n").encode() + b"\r\n")

    def _reply(self, stage: AnswerStage, good: str) -> bool:
        """Say the good reply, or what the behaviour has instead; say whether it was a good one."""
        other = self._behaviour().answer.get(stage)
        text = good if other is None else _with_words(other)
        if other is not None:
            self._used()
        self._send(text)
        if text.startswith("421"):
            self._wire.cut("close")
            raise Hanging("refused")
        return text.startswith(("2", "3"))

    def _cut(self, point: CutPoint) -> None:
        cut = self._behaviour().cut
        if cut is not None and cut.at == point:
            self._used()
            self._say("action", f"cut at {point}, by {cut.how}")
            self._wire.cut(cut.how)
            raise Hanging("cut")

    def _reached(self, stage: str) -> None:
        self._recording.update(self._number, reached=stage)

    # --- commands ---------------------------------------------------------------------------------------

    def _command(self, line: str) -> None:
        verb, _, rest = line.partition(" ")
        self._say("received", redacted_command(line))
        match verb.upper():
            case "EHLO" | "HELO" as verb:
                self._hello(verb == "EHLO", rest.strip())
            case "STARTTLS":
                self._starttls()
            case "AUTH":
                self._auth(rest)
            case "MAIL":
                self._mail(rest)
            case "RCPT":
                self._rcpt(rest)
            case "DATA":
                self._data()
            case "RSET":
                self._transaction = None
                self._send("250 2.0.0 forgotten")
            case "NOOP":
                self._send("250 2.0.0 here")
            case "QUIT":
                self._send("221 2.0.0 bye")
                self._wire.cut("close")
                raise Hanging("quit")
            case _:
                self._send("502 5.5.1 not known here")

    def _hello(self, extended: bool, name: str) -> None:
        behaviour = self._behaviour()
        self._recording.update(self._number, ehlo=name, extended=extended)
        self._reached("ehlo")
        self._cut("ehlo")
        if extended and "ehlo" in behaviour.lacks:
            self._send("502 5.5.1 not known here")
            return
        self._transaction = None
        self._pipelining = extended and "pipelining" not in behaviour.lacks
        offers = ["smart-host.sixpost.invalid"]
        if extended:
            offers += [word.upper() for word in ("pipelining", "8bitmime") if word not in behaviour.lacks]
            offers += [f"SIZE {behaviour.size}"] if "size" not in behaviour.lacks else []
            offers += ["STARTTLS"] if self._may_start_tls(behaviour) else []
            if behaviour.login is not None and (self._secure or not self._may_start_tls(behaviour)):
                offers.append("AUTH PLAIN LOGIN")
        lines = [f"250-{offer}" for offer in offers[:-1]]
        if self._reply("ehlo", "\n".join([*lines, f"250 {offers[-1]}"])):
            self._greeted = name or "-"

    def _may_start_tls(self, behaviour: Behaviour) -> bool:
        return behaviour.security in ("starttls", "starttls_offered") and not self._secure

    def _starttls(self) -> None:
        if not self._may_start_tls(self._behaviour()):
            self._send("502 5.5.1 not offered")
            return
        self._reached("starttls")
        if self._reply("starttls", "220 2.0.0 go ahead"):
            # What came before the handshake is not of it (RFC 3207 §4.2).
            self._buffer.clear()
            self._start_tls()

    def _start_tls(self) -> None:
        self._secure = self._wire.start_tls()
        self._greeted, self._transaction = "", None
        self._recording.update(self._number, tls=self._secure)
        self._say("note", f"{self._secure} from here on")

    def _auth(self, rest: str) -> None:
        wanted = self._behaviour().login
        if wanted is None or self._may_start_tls(self._behaviour()):
            self._send("502 5.5.1 not offered")
            return
        self._reached("auth")
        method, _, initial = rest.partition(" ")
        try:
            if method.upper() == "PLAIN":
                secret = initial or self._ask("")
                _, user, password = base64.b64decode(secret, validate=True).decode().split("\0")
            elif method.upper() == "LOGIN":
                user = base64.b64decode(initial or self._ask("VXNlcm5hbWU6"), validate=True).decode()
                password = base64.b64decode(self._ask("UGFzc3dvcmQ6"), validate=True).decode()
            else:
                self._send("504 5.5.4 PLAIN or LOGIN")
                return
        except (binascii.Error, ValueError):
            self._send("501 5.5.2 not understood")
            return
        if (user, password) != (wanted.user, wanted.password):
            self._send("535 5.7.8 not you")
        elif self._reply("auth", "235 2.7.0 in"):
            self._user = user
            self._recording.update(self._number, user=user)

    def _ask(self, prompt: str) -> str:
        self._send(f"334 {prompt}")
        answer = self._line()
        self._say("received", "***")
        return answer

    def _mail(self, rest: str) -> None:
        behaviour = self._behaviour()
        found = _PATH.match(rest)
        if found is None or found[1].upper() != "FROM":
            self._send("501 5.5.4 MAIL FROM:<address>")
            return
        if not self._greeted or self._transaction is not None:
            self._send("503 5.5.1 not now")
            return
        if self._may_start_tls(behaviour) and behaviour.security == "starttls":
            self._send("530 5.7.0 STARTTLS first")
            return
        if behaviour.login is not None and not self._user:
            self._send("530 5.7.0 AUTH first")
            return
        self._reached("mail")
        self._cut("mail")
        parameters = tuple(found[3].upper().split())
        if wrong := _not_offered(parameters, behaviour):
            self._send(wrong)
        elif self._reply("mail", "250 2.1.0 fine"):
            self._transaction = _Transaction(found[2], parameters)

    def _rcpt(self, rest: str) -> None:
        found = _PATH.match(rest)
        if self._transaction is None or found is None or found[1].upper() != "TO":
            self._send("503 5.5.1 MAIL first" if self._transaction is None else "501 5.5.4 RCPT TO:<address>")
            return
        self._reached("rcpt")
        self._cut("rcpt")
        own = self._behaviour().recipients.get(found[2])
        if own is not None:
            self._used()
            self._send(_with_words(own))
        if own is None and self._reply("rcpt", "250 2.1.5 fine"):
            self._transaction.rcpt_to += (found[2],)
        else:
            self._transaction.refused += (found[2],)

    def _data(self) -> None:
        transaction = self._transaction
        if transaction is None or not transaction.rcpt_to:
            self._send("503 5.5.1 RCPT first" if transaction is None else "554 5.5.1 no valid recipients")
            return
        self._reached("data")
        self._cut("data")
        if not self._reply("data", "354 go ahead"):
            return
        self._transaction = None
        raw = self._content(transaction)
        message = transaction.message()
        content = unstuffed(raw)
        message = replace(message, raw=raw, content=content, dot=True)
        self._reached("end")
        self._say("received", f"({len(raw)} octets of message)")
        self._finish(message)

    def _finish(self, message: Message) -> None:
        behaviour = self._behaviour()
        cut = behaviour.cut.at if behaviour.cut is not None else None
        if cut in ("dot", "taken"):
            # Before the cut: who waits for the message finds it when the connection has ended.
            self._recording.add(self._number, replace(message, taken=cut == "taken"))
            self._cut(cut)
        good = "250 2.0.0 taken" if len(message.content) <= behaviour.size else "552 5.3.4 too large"
        other = behaviour.answer.get("end")
        reply = good if other is None else _with_words(other)
        if behaviour.slow:
            self._wire.pause(behaviour.slow)
        taken = reply.startswith("2")
        if other is not None:
            self._used()
        self._say("sent", reply)
        # Before the reply: whoever has heard it finds the message.
        self._recording.add(self._number, replace(message, taken=taken, reply=reply))
        try:
            self._wire.send(f"{reply}\r\n".encode())
        except OSError:
            # A host that has decided keeps the message, whether or not the client still hears of it.
            self._recording.unheard(self._number)
            raise
        self._cut("answered")

    def _content(self, transaction: _Transaction) -> bytes:
        """Read to the final dot, which is CRLF.CRLF and nothing else (RFC 5321 §4.1.1.4)."""
        scanned = 0
        try:
            if not self._buffer:
                self._more()
            self._cut("content")  # a small message may be there as a whole: it is not looked at
            while True:
                if self._buffer.startswith(b".\r\n"):
                    del self._buffer[:3]
                    return b""
                end = self._buffer.find(_END, scanned)
                if end >= 0:
                    raw = bytes(self._buffer[: end + 2])
                    del self._buffer[: end + len(_END)]
                    return raw
                scanned = max(0, len(self._buffer) - len(_END))
                self._more(MAX_CONTENT)
        except (Hanging, OSError):
            raw = bytes(self._buffer)
            message = replace(transaction.message(), raw=raw, content=unstuffed(raw))
            self._recording.add(self._number, message)
            raise


def unstuffed(raw: bytes) -> bytes:
    """Return the message without the dots that were put before lines that begin with one."""
    # Lines end with CRLF alone: a dot after a bare LF is part of the text.
    return re.sub(rb"(\A|\r\n)\.", rb"\1", raw)


def _with_words(reply: str) -> str:
    return f"{reply} as the scenario wants it" if len(reply) == 3 else reply


def _not_offered(parameters: tuple[str, ...], behaviour: Behaviour) -> str:
    """Return the refusal of parameters of MAIL that EHLO did not offer, or ""."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        known = {"SIZE": "size", "BODY": "8bitmime"}.get(name)
        if known is None and not (name == "AUTH" and behaviour.login is not None):
            return f"555 5.5.4 {printable(name.encode())} is not known"
        if known is not None and (known in behaviour.lacks or "ehlo" in behaviour.lacks):
            return f"555 5.5.4 {name} was not offered"
        if name == "SIZE":
            with contextlib.suppress(ValueError):
                if int(value) > behaviour.size:
                    return "552 5.3.4 too large"
    return ""
