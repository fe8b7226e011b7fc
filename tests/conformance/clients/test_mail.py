"""Logging in and fetching by POP3 and IMAP, against tiny servers that do it right or wrong."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from conformance.clients import mail
from conformance.clients.outcome import Outcome

USER, PASSWORD = "me@example.org", 'ge"heim!'
MESSAGE = b"Subject: hello\r\n\r\n..two dots\r\nlast line\r\n"
IMAP_QUOTED = 'ge\\\\"heim!'

POP3 = {
    "USER me@example.org$": b"+OK\r\n",
    'PASS ge"heim!$': b"+OK in\r\n",
    "STAT": b"+OK 2 99\r\n",
    "RETR 2$": b"+OK\r\nSubject: hello\r\n\r\n...two dots\r\nlast line\r\n.\r\n",
    "QUIT": None,
}
IMAP = {
    r"(\w+) CAPABILITY": b"* CAPABILITY IMAP4rev1\r\n\\1 OK done\r\n",
    r'(\w+) LOGIN "?me@example.org"? "ge\\"heim!"$': b"\\1 OK in\r\n",
    r"(\w+) EXAMINE \"?INBOX": b"* FLAGS ()\r\n* 2 EXISTS\r\n\\1 OK [READ-ONLY]\r\n",
    r"(\w+) FETCH 2 \(BODY.PEEK": (
        b"* 2 FETCH (BODY[] {%d}\r\n" % len(MESSAGE) + MESSAGE + b")\r\n\\1 OK done\r\n"
    ),
    r"\w+ LOGOUT": None,
}
GREETING = {"pop3": b"+OK hi\r\n", "imap": b"* OK hi\r\n"}
GOOD = {"pop3": POP3, "imap": IMAP}
BOTH = pytest.mark.parametrize("protocol", ["pop3", "imap"])


def server_with(tools, protocol, changes=None, greeting=None):
    changes = changes or {}
    rules = {**changes, **{k: v for k, v in GOOD[protocol].items() if k not in changes}}
    return tools.script(greeting or GREETING[protocol], *rules.items())


def visit(verb, connector, server, record, protocol, **changes):
    values = {"source": None, "record": record, "user": USER, "password": PASSWORD, "patience": 20, **changes}
    return getattr(mail, verb)(connector, server.address, server.port, protocol=protocol, **values)


@BOTH
def test_a_login(connector, start, tools, transcript, host, protocol) -> None:
    server = start(server_with(tools, protocol), host)
    result = visit("login", connector, server, transcript, protocol)
    assert (result.accepted, result.stage) == (True, "auth"), result
    assert result.text == "in"
    assert server.peers == [host]
    assert "heim!" not in transcript.text
    assert len(transcript.of("closed")) == 1


@BOTH
def test_the_newest_message_is_fetched_unchanged(connector, start, tools, transcript, protocol) -> None:
    result = visit("fetch", connector, start(server_with(tools, protocol)), transcript, protocol)
    assert (result.accepted, result.messages, result.newest) == (True, 2, MESSAGE), result
    assert result.stage == "fetch"
    assert result.contains("Subject: hello")
    assert not result.contains("Subject: goodbye")


@BOTH
def test_an_empty_mailbox(connector, start, tools, transcript, protocol) -> None:
    empty = {
        "pop3": {"STAT": b"+OK 0 0\r\n"},
        "imap": {r"(\w+) EXAMINE \"?INBOX": b"* 0 EXISTS\r\n\\1 OK done\r\n"},
    }[protocol]
    result = visit("fetch", connector, start(server_with(tools, protocol, empty)), transcript, protocol)
    assert (result.accepted, result.messages, result.newest) == (True, 0, b"")


@pytest.mark.parametrize(
    ("protocol", "changes", "code"),
    [
        ("pop3", {'PASS ge"heim!$': b"-ERR not you\r\n"}, "-ERR"),
        ("pop3", {"USER me@example.org$": b"-ERR not you\r\n"}, "-ERR"),
        ("imap", {r"(\w+) LOGIN": b"\\1 NO not you\r\n"}, "NO"),
        ("imap", {r"(\w+) LOGIN": b"\\1 BAD not you\r\n"}, "BAD"),
    ],
)
def test_a_refused_login_has_code_and_text(
    connector, start, tools, transcript, protocol, changes, code
) -> None:
    server = start(server_with(tools, protocol, changes))
    result = visit("login", connector, server, transcript, protocol)
    assert (result.accepted, result.stage, result.code, result.text) == (False, "auth", code, "not you")


@BOTH
def test_a_close_instead_of_an_answer(connector, start, tools, transcript, protocol) -> None:
    rule = {"pop3": {"PASS": None}, "imap": {r"\w+ LOGIN": None}}[protocol]
    server = start(server_with(tools, protocol, rule))
    result = visit("login", connector, server, transcript, protocol)
    assert (result.accepted, result.stage, result.code) == (False, "auth", "")
    assert "closed by the server" in result.text


@BOTH
def test_the_gate(connector, start, tools, transcript, protocol) -> None:
    def outcome(behave, **changes):
        result = visit("login", connector, start(behave), transcript, protocol, **changes)
        assert (result.accepted, result.stage) == (False, "connect"), result
        return result.outcome

    assert outcome(tools.leave) is Outcome.CLOSED_SILENT
    assert outcome(tools.hang_up) is Outcome.RESET
    assert outcome(tools.say(b"-ERR no\r\n" if protocol == "pop3" else b"* BYE no\r\n")) is (
        Outcome.CLOSED_AFTER_TEXT
    )
    assert outcome(tools.say_and_stay(b""), patience=0.1) is Outcome.HUNG
    assert outcome(tools.say_and_stay(b"220 hi\r\n")) is Outcome.WRONG_PROTOCOL


def test_nobody_there(connector, transcript) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        result = mail.login(
            connector,
            ip_address("127.0.0.1"),
            bound.getsockname()[1],
            protocol="pop3",
            source=None,
            record=transcript,
            user=USER,
            password=PASSWORD,
        )
    assert (result.stage, result.outcome) == ("connect", Outcome.REFUSED)


def test_the_source_address(connector, start, tools, transcript) -> None:
    server = start(server_with(tools, "imap"), ip_address("127.0.0.1"))
    source = ip_address("127.9.9.9")
    assert visit("fetch", connector, server, transcript, "imap", source=source).accepted
    assert server.peers == [source]


@pytest.mark.parametrize(
    ("protocol", "changes"),
    [
        ("pop3", {"STAT": b"+OK many\r\n"}),
        ("pop3", {"RETR 2$": b"+OK\r\n" + b"x" * 5000 + b"\r\n.\r\n"}),
        ("imap", {r"(\w+) EXAMINE \"?INBOX": b"\\1 NO done\r\n"}),
        ("imap", {r"(\w+) FETCH 2 \(BODY.PEEK": b"* 2 FETCH (BODY[] {99999999999}\r\n"}),
        ("imap", {r"(\w+) FETCH 2 \(BODY.PEEK": b"\\1 OK nothing\r\n"}),
        ("imap", {r"(\w+) FETCH 2 \(BODY.PEEK": b"hello\r\n"}),
    ],
)
def test_nonsense_is_a_refusal_and_no_crash(connector, start, tools, transcript, protocol, changes) -> None:
    server = start(server_with(tools, protocol, changes))
    result = visit("fetch", connector, server, transcript, protocol)
    assert (result.accepted, result.stage) == (False, "fetch")


def test_a_flood_ends(connector, start, transcript) -> None:
    def behave(client: socket.socket) -> None:
        client.sendall(b"+OK hi\r\n")
        client.recv(100)
        while True:
            client.sendall(b"x" * 65_536)

    result = visit("login", connector, start(behave), transcript, "pop3")
    assert (result.accepted, result.stage) == (False, "auth")
    assert len(transcript.text) < 2_000_000


def test_mail_is_not_fetched_by_smtp(connector, start, transcript) -> None:
    with pytest.raises(ValueError, match="POP3 or IMAP"):
        mail.fetch(
            connector,
            ip_address("::1"),
            1,
            protocol="smtp",
            source=None,
            record=transcript,
            user=USER,
            password=PASSWORD,
        )
