"""Sending by SMTP: where a refusal came, in the server's words, and what was on the wire."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import queue
import re
import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from aiosmtpd.smtp import SMTP

from conformance.clients import smtp
from conformance.clients.outcome import Outcome

BOB = "bob@example.org"
USER, PASSWORD = "me@example.org", "geheim!"
PLAIN = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
OK = {
    "EHLO": b"250-me\r\n250-AUTH LOGIN PLAIN\r\n250 8BITMIME\r\n",
    "AUTH PLAIN": b"235 in\r\n",
    "MAIL": b"250 ok\r\n",
    "RCPT": b"250 ok\r\n",
    "DATA": b"354 go\r\n",
    r"\.$": b"250 stored\r\n",
    "RSET": b"250 ok\r\n",
    "QUIT": None,
}


def server_with(tools, greeting=b"220 hi\r\n", **changes):
    names = {"dot": r"\.$", "AUTH": "AUTH"}
    rules = {**{names.get(name, name): answer for name, answer in changes.items()}}
    return tools.script(greeting, *rules.items(), *((k, v) for k, v in OK.items() if k not in rules))


def send(connector, server, record, **changes):
    values = {
        "source": None,
        "record": record,
        "mail_from": USER,
        "rcpt_to": [BOB],
        "patience": 20,
        **changes,
    }
    return smtp.send(connector, server.address, server.port, **values)


def test_a_message_is_accepted(connector, start, tools, transcript) -> None:
    result = send(connector, start(server_with(tools)), transcript, log_in_as=(USER, PASSWORD))
    assert (result.accepted, result.stage, result.code, result.text) == (True, "data", "250", "stored")
    sent = transcript.of("sent")
    assert sent[0] == "EHLO [IPv6:::1]"
    assert sent[1:5] == ["AUTH PLAIN ***", f"MAIL FROM:<{USER}>", f"RCPT TO:<{BOB}>", "DATA"]
    assert sent[-1] == "QUIT"
    assert PASSWORD not in transcript.text
    assert PLAIN not in transcript.text


def test_the_address_literal_is_that_of_the_source(connector, start, tools, transcript) -> None:
    server = start(server_with(tools), ip_address("127.0.0.1"))
    send(connector, server, transcript, source=ip_address("127.5.6.7"))
    assert transcript.of("sent")[0] == "EHLO [127.5.6.7]"
    assert server.peers == [ip_address("127.5.6.7")]
    send(connector, server, transcript, helo="me.example")
    assert "EHLO me.example" in transcript.of("sent")


@pytest.mark.parametrize(
    ("changes", "stage", "code"),
    [
        ({"greeting": b"554 not you\r\n"}, "connect", "554"),
        ({"EHLO": b"550 not you\r\n"}, "helo", "550"),
        ({"AUTH PLAIN": b"535 not you\r\n"}, "auth", "535"),
        ({"MAIL": b"530 not you\r\n"}, "mail", "530"),
        ({"RCPT": b"550-not\r\n550 you\r\n"}, "rcpt", "550"),
        ({"DATA": b"451 not you\r\n"}, "data", "451"),
        ({"dot": b"552 not you\r\n"}, "data", "552"),
    ],
)
def test_a_refusal_names_its_stage(connector, start, tools, transcript, changes, stage, code) -> None:
    result = send(connector, start(server_with(tools, **changes)), transcript, log_in_as=(USER, PASSWORD))
    assert (result.accepted, result.stage, result.code) == (False, stage, code)
    assert result.text == "not you"
    assert transcript.of("sent")[-1] == "QUIT"


@pytest.mark.parametrize(
    ("word", "stage"),
    [("EHLO", "helo"), ("MAIL", "mail"), ("RCPT", "rcpt"), ("DATA", "data"), ("dot", "data")],
)
def test_a_close_in_the_middle_has_no_code(connector, start, tools, transcript, word, stage) -> None:
    result = send(connector, start(server_with(tools, **{word: None})), transcript)
    assert (result.accepted, result.stage, result.code) == (False, stage, "")
    assert "closed by the server" in result.text


def test_a_close_at_the_gate(connector, start, tools, transcript) -> None:
    result = send(connector, start(tools.leave), transcript)
    assert (result.accepted, result.stage, result.outcome) == (False, "connect", Outcome.CLOSED_SILENT)
    result = send(connector, start(tools.hang_up), transcript)
    assert (result.stage, result.outcome) == ("connect", Outcome.RESET)
    result = send(connector, start(tools.say(b"421 no\r\n")), transcript)
    assert (result.stage, result.code, result.outcome) == ("connect", "421", Outcome.CLOSED_AFTER_TEXT)
    result = send(connector, start(tools.say(b"+OK hi\r\n")), transcript)
    assert (result.stage, result.outcome) == ("connect", Outcome.WRONG_PROTOCOL)
    result = send(connector, start(tools.say_and_stay(b"")), transcript, patience=0.1)
    assert (result.stage, result.outcome) == ("connect", Outcome.HUNG)


def test_nobody_there(connector, transcript) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        result = smtp.send(
            connector,
            ip_address("127.0.0.1"),
            bound.getsockname()[1],
            source=None,
            record=transcript,
            mail_from="",
            rcpt_to=[BOB],
        )
    assert (result.accepted, result.stage, result.outcome) == (False, "connect", Outcome.REFUSED)
    assert "refused" in result.text


def test_helo_where_ehlo_is_unknown(connector, start, tools, transcript) -> None:
    server = start(server_with(tools, EHLO=b"502 what?\r\n", HELO=b"250 hi\r\n"))
    assert send(connector, server, transcript).accepted
    assert "HELO [IPv6:::1]" in transcript.of("sent")


def test_login_only_where_plain_is_not_offered(connector, start, tools, transcript) -> None:
    server = start(
        tools.script(
            b"220 hi\r\n",
            ("EHLO", b"250-me\r\n250 AUTH LOGIN\r\n"),
            ("AUTH LOGIN$", b"334 VXNlcm5hbWU6\r\n"),
            (re.escape(base64.b64encode(USER.encode()).decode()), b"334 UGFzc3dvcmQ6\r\n"),
            (re.escape(base64.b64encode(PASSWORD.encode()).decode()), b"235 in\r\n"),
            ("QUIT", None),
        )
    )
    result = smtp.login(
        connector, server.address, server.port, source=None, record=transcript, user=USER, password=PASSWORD
    )
    assert (result.accepted, result.stage, result.code) == (True, "auth", "235")
    assert base64.b64encode(PASSWORD.encode()).decode() not in transcript.text


def test_without_an_offer_the_servers_own_answer_decides(connector, start, tools, transcript) -> None:
    server = start(server_with(tools, EHLO=b"250 me\r\n", AUTH=b"530 TLS first\r\n"))
    result = smtp.login(
        connector, server.address, server.port, source=None, record=transcript, user=USER, password=PASSWORD
    )
    assert (result.accepted, result.stage, result.code) == (False, "auth", "530")


def test_a_server_that_repeats_the_password_does_not_bring_it_into_the_report(
    connector, start, tools, transcript
) -> None:
    server = start(server_with(tools, **{"AUTH PLAIN": f"535 not {PASSWORD}\r\n".encode()}))
    result = smtp.login(
        connector, server.address, server.port, source=None, record=transcript, user=USER, password=PASSWORD
    )
    assert result.text == "not ***"
    assert PASSWORD not in transcript.text


def test_a_partly_refused_message_is_taken_back(connector, start, tools, transcript) -> None:
    server = start(server_with(tools, **{"RCPT TO:<eve": b"550 no eve\r\n"}))
    result = send(connector, server, transcript, rcpt_to=[BOB, "eve@example.org", "ann@example.org"])
    assert (result.accepted, result.stage, result.text) == (False, "rcpt", "no eve")
    assert result.refused_recipients == ("eve@example.org",)
    assert "RSET" in transcript.of("sent")
    assert "DATA" not in transcript.of("sent")


def test_asking_about_the_recipients_sends_no_message(connector, start, tools, transcript) -> None:
    result = send(connector, start(server_with(tools)), transcript, until="rcpt")
    assert (result.accepted, result.stage, result.code) == (True, "rcpt", "250")
    assert "DATA" not in transcript.of("sent")
    assert transcript.of("sent")[-1] == "QUIT"
    result = send(connector, start(server_with(tools, RCPT=b"530 no\r\n")), transcript, until="rcpt")
    assert (result.accepted, result.stage, result.code) == (False, "rcpt", "530")


def test_a_server_that_does_not_read_ends_in_time(connector, start, transcript) -> None:
    def behave(client: socket.socket) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"220 hi\r\n250 e\r\n250 m\r\n250 r\r\n354 go\r\n")
        go.wait(30)

    go = threading.Event()
    result = send(connector, start(behave), transcript, body=("x" * 900 + "\n") * 9_000, patience=1.5)
    go.set()
    assert (result.accepted, result.stage, result.code) == (False, "data", "")


class Mailbox:
    def __init__(self) -> None:
        self.envelopes: list = []

    async def handle_DATA(self, _server, _session, envelope) -> str:  # noqa: N802 - its name
        self.envelopes.append(envelope)
        return "250 stored"


@contextlib.contextmanager
def running(mailbox: Mailbox) -> Iterator[int]:
    """Run aiosmtpd on ::1 in a thread of its own; gives its port."""
    opened: queue.Queue = queue.Queue()

    async def serve() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        server = await loop.create_server(lambda: SMTP(mailbox, hostname="me.example"), "::1", 0)
        opened.put((server.sockets[0].getsockname()[1], loop, stop))
        async with server:
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    port, loop, stop = opened.get(timeout=30)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)


@pytest.mark.parametrize("body", [".\n..\n.a\nend", "one\r\ntwo\n\n", "grün\n", "x" * 900 + "\n"])
def test_a_real_server_gets_what_was_meant(connector, transcript, body) -> None:
    mailbox = Mailbox()
    with running(mailbox) as port:
        result = smtp.send(
            connector,
            ip_address("::1"),
            port,
            source=None,
            record=transcript,
            mail_from="",
            rcpt_to=[BOB, "ann@example.org"],
            body=body,
        )
    assert result.accepted, result
    [envelope] = mailbox.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("<>", [BOB, "ann@example.org"])
    header, _, content = envelope.original_content.partition(b"\r\n\r\n")
    assert content.decode().replace("\r\n", "\n").rstrip("\n") == body.replace("\r\n", "\n").rstrip("\n")
    assert b"\n" not in envelope.original_content.replace(b"\r\n", b"")
    assert b"To: <bob@example.org>, <ann@example.org>" in header


def test_dot_stuffing() -> None:
    assert smtp.stuffed(b".\r\n..\r\na.\r\n") == b"..\r\n...\r\na.\r\n"
    assert smtp.stuffed(b"a") == b"a\r\n"
    assert smtp.stuffed(b"") == b""
