"""The steps ``login``, ``send`` and ``fetch``."""

from __future__ import annotations

import pytest

ACCOUNT = "accounts: [{address: a@example.org, password: geheim}]"
ALIVE = "- {connect: {to: door}, expect: {outcome: served, control: true}}"


def server(protocol: str, more: str = "") -> str:
    return f'ports: [{{name: door, protocol: {protocol}, address: "::1"}}]\n{ACCOUNT}\n{more}'


def login(expect: str, password: str = "geheim") -> str:
    return f"- {{login: {{to: door, user: a@example.org, password: {password}}}, expect: {expect}}}\n"


def send(expect: str, more: str = "", to: str = "a@example.org") -> str:
    message = f"{{to: door, mail_from: b@example.com, rcpt_to: {to}{more}}}"
    return f"- {{send: {message}, expect: {expect}}}\n"


@pytest.mark.parametrize("protocol", ["smtp", "pop3", "imap"])
@pytest.mark.parametrize("word", ["accepted", "oracle"])
def test_a_login_is_taken(stage, protocol, word) -> None:
    record = stage.run(login(word) + ALIVE, server=server(protocol))
    assert (record.verdict, record.judgements[0].expected) == ("pass", "login accepted"), record.reason


REFUSED = {"smtp": b"535 no\r\n", "pop3": b"-ERR no\r\n", "imap": b"@ NO no\r\n"}
RULES = {"smtp": "AUTH", "pop3": "PASS", "imap": r"\S+ LOGIN"}


@pytest.mark.parametrize("protocol", ["smtp", "pop3", "imap"])
@pytest.mark.parametrize("word", ["refused", "oracle"])
def test_a_login_is_refused(stage, protocol, word) -> None:
    stage.adapter.behave["door"] = stage.decent(protocol, (RULES[protocol], REFUSED[protocol]))
    record = stage.run(login(word, "wrong-one") + ALIVE, server=server(protocol))
    assert (record.verdict, record.judgements[0].expected) == ("pass", "login refused"), record.reason


def test_a_wrong_password_that_is_taken(stage) -> None:
    record = stage.run(login("refused", "wrong-one") + ALIVE, server=server("pop3"))
    assert (record.verdict, record.judgements[0].actual) == ("fail", "accepted at auth: +OK")


def test_a_refusal_has_its_code(stage) -> None:
    stage.adapter.behave["door"] = stage.decent("smtp", ("AUTH", b"454 later\r\n"))
    steps = login("{outcome: refused, code: 535}", "wrong-one")
    record = stage.run(steps + ALIVE, server=server("smtp"))
    assert record.verdict == "fail"
    assert record.judgements[0].expected == "login refused with 535"


def test_a_server_that_is_not_there_refuses_no_login(stage) -> None:
    stage.adapter.behave["door"] = stage.one_after_the_other(stage.leave, stage.decent("pop3"))
    record = stage.run(login("refused", "wrong-one") + ALIVE, server=server("pop3"))
    assert (record.verdict, record.judgements[0].actual.startswith("refused at connect")) == ("fail", True)


@pytest.mark.parametrize(("word", "password"), [("refused", "geheim"), ("accepted", "wrong-one")])
def test_a_login_that_contradicts_the_oracle(stage, word, password) -> None:
    record = stage.run(login(word, password) + ALIVE, server=server("imap"))
    assert (record.verdict, record.fault) == ("error", "scenario")
    assert f"the outcome '{word}' contradicts the configuration" in record.reason


def test_no_password_is_in_the_record(stage) -> None:
    for protocol in ("smtp", "pop3", "imap"):
        record = stage.run(login("accepted"), server=server(protocol), name=f"tests.{protocol}")
        assert record.verdict == "pass"
        assert "geheim" not in record.model_dump_json()


# --- send -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["accepted", "oracle"])
def test_a_message_is_taken(stage, word) -> None:
    record = stage.run(send(word) + ALIVE, server=server("smtp"))
    assert (record.verdict, record.judgements[0].expected) == ("pass", "message accepted"), record.reason
    assert record.judgements[0].actual.startswith("accepted at data: 250")


def test_only_the_recipients_are_asked(stage) -> None:
    stage.adapter.behave["door"] = stage.decent("smtp", ("DATA", b"554 never\r\n"))
    record = stage.run(send("accepted", ", until: rcpt"), server=server("smtp"))
    assert record.judgements[0].actual.startswith("accepted at rcpt")


DENIED = (
    'ip_ranges: [{name: Mine, lower: "::1", upper: "::1", deliver: [local_to_local], require_auth: []}]\n'
)


@pytest.mark.parametrize("expect", ["oracle", "rejected", "{outcome: rejected, at: rcpt, code: 550}"])
def test_a_message_is_rejected(stage, expect) -> None:
    stage.adapter.behave["door"] = stage.decent("smtp", ("RCPT", b"550 no\r\n"))
    record = stage.run(send(expect, to="c@example.net") + ALIVE, server=server("smtp", DENIED))
    assert record.verdict == "pass", record.reason


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (("RCPT", b"450 later\r\n"), "refused at rcpt: 450 later"),
        (("MAIL", b"550 no\r\n"), "refused at mail: 550 no"),
        (("NOTHING", None), "accepted at data: 250 fine"),
    ],
)
def test_another_rejection_is_none(stage, rules, expected) -> None:
    stage.adapter.behave["door"] = stage.decent("smtp", rules)
    expect = "{outcome: rejected, at: rcpt, code: 550}"
    record = stage.run(send(expect, to="c@example.net") + ALIVE, server=server("smtp", DENIED))
    assert (record.verdict, record.judgements[0].actual) == ("fail", expected)


def test_a_connection_that_does_not_come_about_rejects_nothing(stage) -> None:
    stage.adapter.behave["door"] = stage.one_after_the_other(stage.leave, stage.decent("smtp"))
    record = stage.run(send("rejected", to="c@example.net") + ALIVE, server=server("smtp", DENIED))
    assert record.verdict == "fail"
    assert record.judgements[0].actual.startswith("refused at connect")


def test_a_message_that_contradicts_the_oracle(stage) -> None:
    record = stage.run(send("{outcome: rejected, at: rcpt, code: 550}") + ALIVE, server=server("smtp"))
    assert (record.verdict, record.fault) == ("error", "scenario")
    assert "contradicts the configuration" in record.reason


def test_a_message_is_sent_after_a_login(stage) -> None:
    stage.adapter.behave["door"] = stage.decent("smtp", ("AUTH", b"535 no\r\n"))
    with_login = ", login: {user: a@example.org, password: geheim}"
    record = stage.run(send("accepted", with_login), server=server("smtp"))
    assert record.verdict == "fail"
    assert record.judgements[0].actual.startswith("refused at auth: 535")


# --- fetch ----------------------------------------------------------------------------------------------


def fetch(expect: str) -> str:
    return f"- {{fetch: {{to: door, user: a@example.org, password: geheim}}, expect: {expect}}}"


@pytest.mark.parametrize("protocol", ["pop3", "imap"])
@pytest.mark.parametrize(
    ("expect", "verdict", "actual"),
    [
        ("{messages: 2}", "pass", "2 messages"),
        ('{messages: 2, contains: ["Subject: hello", the newest]}', "pass", "2 messages"),
        ("{messages: 1}", "fail", "2 messages"),
        ("{contains: [goodbye]}", "fail", "2 messages; the newest lacks 'goodbye'"),
    ],
)
def test_what_is_in_the_mailbox(stage, protocol, expect, verdict, actual) -> None:
    record = stage.run(fetch(expect), server=server(protocol))
    assert (record.verdict, record.judgements[0].actual) == (verdict, actual)


@pytest.mark.parametrize("protocol", ["pop3", "imap"])
def test_a_mailbox_that_cannot_be_opened(stage, protocol) -> None:
    stage.adapter.behave["door"] = stage.decent(protocol, (RULES[protocol], REFUSED[protocol]))
    record = stage.run(fetch("{messages: 0}"), server=server(protocol))
    assert record.verdict == "fail"
    assert record.judgements[0].actual.startswith("refused at auth")
