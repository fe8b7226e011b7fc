"""Kept sessions: talking, and the three ways to end one."""

from __future__ import annotations

import socket

import pytest

from conformance.clients.channel import Ended
from conformance.clients.outcome import Outcome

SMTP = (b"220 hi\r\n", ("NOOP", b"250 fine\r\n"))
IMAP = (b"* OK hi\r\n", (r"(ready\d) NOOP", b"\\1 OK\r\n"))
POP3 = (b"+OK hi\r\n", ("CAPA", b"+OK\r\n.\r\n"))


@pytest.fixture
def keep(connector, start, tools, transcript):
    kept = []

    def begin(protocol, behave):
        server = start(behave)
        seen, session = connector.observe(
            server.address,
            server.port,
            protocol=protocol,
            source=None,
            record=transcript,
            patience=20,
            keep=True,
        )
        assert seen.outcome is Outcome.SERVED
        kept.append(session)
        return session

    yield begin
    for session in kept:
        session.close()


def test_smtp_replies_may_have_several_lines(keep, tools) -> None:
    session = keep(
        "smtp", tools.script(*SMTP, ("EHLO", b"250-a\r\n250-b\r\n250 c\r\n"), ("RSET", b"250 r\r\n"))
    )
    assert session.talk("EHLO me") == "250-a\n250-b\n250 c"
    assert session.talk("RSET") == "250 r"
    assert session.ended is None


def test_pop3_replies_end_by_the_command(keep, tools) -> None:
    session = keep(
        "pop3",
        tools.script(
            *POP3,
            ("LIST 1", b"+OK 1 20\r\n"),
            ("LIST", b"+OK\r\n1 20\r\n.\r\n"),
            ("RETR 9", b"-ERR none\r\n"),
            ("STAT", b"+OK 1 20\r\n"),
        ),
    )
    assert session.talk("LIST") == "+OK\n1 20\n."
    assert session.talk("LIST 1") == "+OK 1 20"
    assert session.talk("RETR 9") == "-ERR none"
    assert session.talk("STAT") == "+OK 1 20"


def test_imap_replies_are_the_tagged_line(keep, tools, transcript) -> None:
    session = keep("imap", tools.script(*IMAP, ("a NOOP", b"* 3 EXISTS\r\na OK done\r\n")))
    assert session.talk("a NOOP") == "a OK done"
    assert "* 3 EXISTS" in transcript.text


def test_imap_continuation_keeps_the_tag_and_hides_what_follows(keep, tools, transcript) -> None:
    session = keep(
        "imap", tools.script(*IMAP, ("a AUTHENTICATE PLAIN$", b"+ \r\n"), ("AHVzZXI", b"a OK in\r\n"))
    )
    assert session.talk("a AUTHENTICATE PLAIN") == "+ "
    assert session.talk("AHVzZXIAc2VjcmV0") == "a OK in"
    assert "AHVzZXI" not in transcript.text


@pytest.mark.parametrize(
    ("protocol", "greeting", "line"),
    [
        ("smtp", SMTP, "AUTH PLAIN c2VjcmV0"),
        ("pop3", POP3, "PASS c2VjcmV0"),
        ("imap", IMAP, 'a LOGIN "me too" c2VjcmV0'),
        ("imap", IMAP, "a AUTHENTICATE PLAIN c2VjcmV0"),
    ],
)
def test_passwords_are_not_recorded(keep, tools, transcript, protocol, greeting, line) -> None:
    answer = {"smtp": b"235 in\r\n", "pop3": b"+OK in\r\n", "imap": b"a OK in\r\n"}[protocol]
    session = keep(protocol, tools.script(*greeting, (".*c2VjcmV0", answer)))
    assert session.talk(line).split()[-1] == "in"
    assert "c2VjcmV0" not in transcript.text
    assert "***" in transcript.text


def test_a_server_that_closes_gives_an_empty_reply(keep, tools) -> None:
    session = keep("smtp", tools.script(*SMTP, ("DIE", None)))
    assert (session.talk("DIE"), session.ended) == ("", Ended.FIN)
    assert (session.talk("NOOP"), session.ended is not None) == ("", True)


def test_what_was_said_before_the_close_is_the_reply(keep, tools) -> None:
    def behave(client: socket.socket) -> None:
        client.sendall(b"220 hi\r\n")
        client.recv(100)
        client.sendall(b"250 fine\r\n")
        client.recv(100)
        client.sendall(b"421 shutting down\r\n")

    session = keep("smtp", behave)
    assert session.talk("NOOP") == "421 shutting down"
    assert session.await_close(20) is Ended.FIN


def test_a_silent_server(keep, tools) -> None:
    session = keep("smtp", tools.script(*SMTP))
    assert (session.talk("HELO", patience=0.1), session.ended) == ("", Ended.SILENCE)
    assert session.await_close(0.1) is Ended.SILENCE
    assert session.talk("NOOP") == "250 fine"


@pytest.mark.parametrize(
    ("protocol", "greeting", "word"),
    [("smtp", SMTP, "QUIT"), ("pop3", POP3, "QUIT"), ("imap", IMAP, "bye LOGOUT")],
)
def test_quit_lets_the_server_close_first(keep, tools, transcript, protocol, greeting, word) -> None:
    session = keep(protocol, tools.script(*greeting, (word, None)))
    session.quit()
    assert not session.is_open
    assert word in transcript.of("sent")
    assert len(transcript.of("closed")) == 1
    session.quit()
    assert transcript.of("sent").count(word) == 1


@pytest.mark.parametrize(("how", "seen_by_the_server"), [("close", b""), ("reset", ConnectionResetError)])
def test_close_is_fin_and_reset_is_rst(keep, how, seen_by_the_server) -> None:
    seen = []

    def behave(client: socket.socket) -> None:
        client.sendall(b"220 hi\r\n")
        client.recv(100)
        client.sendall(b"250 fine\r\n")
        try:
            seen.append(client.recv(100))
        except OSError as error:
            seen.append(type(error))
        done.set()

    import threading

    done = threading.Event()
    session = keep("smtp", behave)
    getattr(session, how)()
    assert done.wait(20)
    assert seen == [seen_by_the_server]
    assert not session.is_open


def test_a_flood_of_lines_ends(keep, tools) -> None:
    def behave(client: socket.socket) -> None:
        tools.script(*SMTP, ("QUIT", None))  # its greeting and NOOP by hand, then the flood
        client.sendall(b"220 hi\r\n")
        client.recv(100)
        client.sendall(b"250 fine\r\n")
        client.recv(100)
        while True:
            client.sendall(b"250-more\r\n" * 1000)

    session = keep("smtp", behave)
    session.talk("HELP", patience=20)
    assert session.ended is Ended.FLOOD
