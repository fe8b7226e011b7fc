"""The steps about outgoing mail, against a server that does what each test says: no real one is involved."""

from __future__ import annotations

import smtplib
from collections.abc import Callable

import dns.message
import dns.query
import pytest

from conformance.adapters.base import Queue, Waiting
from conformance.run.steps.relayed import different, says_the_same

SERVER = """
ports: [{name: door, protocol: smtp, address: "::1"}]
relay: {to: "::1"}
"""
HOSTS = """
smart_hosts:
  - {name: relay, addresses: ["::1", "127.0.0.1"]}
  - {name: other, addresses: ["127.0.0.2"]}
"""
SEND = "- {send: {to: door, mail_from: a@b.test, rcpt_to: [one@c.test, two@c.test]}, expect: accepted}\n"
RECEIVED = b"Received: from x\r\n by y; now\r\n"


def forwarding(stage, *ways: Callable[[smtplib.SMTP, bytes], object], to: str = "::1") -> None:
    """Let the scripted server take a message and pass it on in each of ``ways``."""

    def behave(client) -> None:
        client.sendall(b"220 here\r\n")
        text, content = b"", None
        with client.makefile("rb") as lines:
            for line in lines:
                if content is not None and line != b".\r\n":
                    content += line
                    continue
                if content is not None:
                    text, content = content, None
                    port = stage.adapter.configurations[-1].relay.port
                    for way in ways:
                        with smtplib.SMTP(to, port, "server.test", timeout=60) as out:
                            way(out, RECEIVED + text)
                    client.sendall(b"250 fine\r\n")
                elif line.startswith(b"DATA"):
                    content = b""
                    client.sendall(b"354 go\r\n")
                elif line.startswith(b"QUIT"):
                    return
                else:
                    client.sendall(b"250 fine\r\n")

    stage.adapter.behave["door"] = behave


def pass_on(*to: str, sender: str = "a@b.test") -> Callable[[smtplib.SMTP, bytes], object]:
    return lambda out, text: out.sendmail(sender, to or ("one@c.test", "two@c.test"), text)


def relayed(expect: str, what: str = "{by: relay}") -> str:
    return f"- {{relayed: {what}, expect: {expect}}}\n"


def run(stage, steps: str):
    return stage.run(steps, server=SERVER, more=HOSTS)


def test_what_was_passed_on_is_found_with_all_that_was_seen(stage) -> None:
    forwarding(stage, pass_on())
    record = run(
        stage,
        SEND
        + relayed(
            "{times: 1, transactions: 1, connections: 1, family: ipv6, from: '::1', at: '::1', "
            "mail_from: a@b.test, rcpt_to: [two@c.test, one@c.test], content: identical, tls: false, "
            "ehlo: 'server[.]test', user: '', trace_fields: 1, contains: 'Subject:', never_to: x@c.test}"
        ),
    )
    assert record.verdict == "pass", record.reason
    assert any("relayed: 1 by relay at ::1 from ::1" in line for line in stage.said(record))


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        ("{times: 2}", "1 times for one@c.test"),
        ("{times: 0}", "1 times for one@c.test"),
        ("{family: ipv4}", "it came over ipv6"),
        ("{from: '127.0.0.1'}", "it came from ::1"),
        ("{at: '127.0.0.1'}", "it came to ::1"),
        ("{mail_from: x@b.test}", "its sender is 'a@b.test'"),
        ("{rcpt_to: one@c.test}", "it came for two@c.test, too"),
        ("{transactions: 2}", "1 transactions"),
        ("{connections: 2}", "1 connections"),
        ("{ehlo: other}", "the client called itself 'server.test'"),
        ("{tls: true}", "it came without TLS"),
        ("{user: us}", "the client was not logged in"),
        ("{trace_fields: 2}", "it has 1 fields 'Received'"),
        ("{contains: Nonsense}", "it lacks 'Nonsense'"),
        ("{never_to: two@c.test}", "a smart host was asked to take mail for two@c.test"),
    ],
)
def test_what_is_otherwise_than_expected_is_said(stage, expect, words) -> None:
    forwarding(stage, pass_on())
    record = run(stage, SEND + relayed(expect, "{by: relay, within: 1s}") + relayed("{times: 1}"))
    assert (record.verdict, words in record.judgements[1].actual) == ("fail", True), record.judgements[
        1
    ].actual


def test_a_message_that_stays_away(stage) -> None:
    forwarding(stage)
    record = run(stage, SEND + relayed("{times: 1}"))
    assert record.verdict == "fail"
    assert "0 times for one@c.test; 0 times for two@c.test" in record.judgements[-1].actual


def test_a_message_that_another_host_has(stage) -> None:
    forwarding(stage, pass_on(), to="127.0.0.2")
    steps = SEND + relayed("{times: 1}", "{by: other}") + relayed("{times: 0}")
    assert run(stage, steps).verdict == "pass"


def test_a_message_that_comes_twice(stage) -> None:
    forwarding(stage, pass_on(), pass_on())
    record = run(stage, SEND + relayed("{times: 1}") + relayed("{at_most: 2}") + relayed("{accounted: true}"))
    assert [verdict for _name, verdict in stage.verdicts(record)] == ["pass", "fail", "pass", "fail"]
    assert "2 copies for one@c.test, 0 of them excused" in record.judgements[-1].actual


def test_a_changed_octet_is_seen(stage) -> None:
    forwarding(stage, lambda out, text: pass_on()(out, text.replace(b"suite.", b"suite!")))
    record = run(stage, SEND + relayed("{content: identical}") + relayed("{times: 1}"))
    assert "its octets are others" in record.judgements[1].actual


def test_a_second_copy_is_excused_where_the_client_was_cut_off(stage) -> None:
    def cut_off(out: smtplib.SMTP, text: bytes) -> None:
        with pytest.raises(smtplib.SMTPServerDisconnected):
            pass_on()(out, text)

    forwarding(stage, cut_off, pass_on())
    change = "- smart_host: {name: relay, behaviour: {cut: {at: taken}, times: 1}}\n"
    record = run(stage, change + SEND + relayed("{accounted: true}") + relayed("{at_most: 2}"))
    assert record.verdict == "pass", record.reason


def test_a_lost_message_is_not_accounted_for(stage) -> None:
    forwarding(stage)
    record = run(stage, SEND + relayed("{accounted: true}") + relayed("{times: 1}"))
    assert "was acknowledged, and is lost" in record.judgements[1].actual


def test_a_message_that_waits_is_accounted_for(stage) -> None:
    forwarding(stage)
    one = Waiting(id="1", mail_from="a@b.test", rcpt_to=("one@c.test", "two@c.test"), due=False)
    stage.adapter.waiting = Queue(messages=(one,))
    steps = SEND + relayed("{accounted: true}") + "- {queue: {}, expect: {messages: 1, settled: true}}\n"
    assert run(stage, steps).verdict == "pass"


def test_a_server_that_took_nothing_relays_nothing(stage) -> None:
    stage.adapter.behave["door"] = stage.decent("smtp", ("MAIL", b"550 no\r\n"))
    record = run(stage, SEND + relayed("{times: 0}") + relayed("{times: 1}"))
    assert [verdict for _name, verdict in stage.verdicts(record)] == ["fail", "fail", "fail"]
    assert "no message was taken" in record.judgements[1].actual


def test_the_queue_is_waited_for_and_changed(stage) -> None:
    states = [Queue(messages=(Waiting(id="1", mail_from="", rcpt_to=("x@y",), due=True),)), Queue()]
    stage.adapter.does["queue"] = lambda: setattr(
        stage.adapter, "waiting", states.pop(0) if len(states) > 1 else states[0]
    )
    steps = "- {queue: {retry: true}, expect: {messages: 0}}\n- {queue: {delete: true}}\n"
    assert run(stage, steps).verdict == "pass"
    assert [call for call in stage.adapter.calls if call.startswith("queue.")] == [
        "queue.retry",
        "queue.delete",
    ]


def test_a_queue_that_is_not_as_expected(stage) -> None:
    stage.adapter.waiting = Queue(messages=(Waiting(id="1", mail_from="", rcpt_to=("x@y",), due=True),))
    for expect in ("messages: 0", "settled: true", "mail_from: a@b", "rcpt_to: z@y"):
        record = run(stage, f"- {{queue: {{}}, expect: {{{expect}, within: 10ms}}}}\n")
        assert (record.verdict, record.judgements[0].actual) == (
            "fail",
            "1 messages wait: the null sender to x@y (due)",
        )


def test_the_clock_goes_on_and_the_server_is_not_used_again(stage) -> None:
    forwarding(stage, pass_on())
    assert run(stage, "- clock: {advance: 61min}\n" + SEND + relayed("{times: 1}")).verdict == "pass"
    assert stage.adapter.calls.count("advance 3660.0") == 1
    assert not stage.bench.reusable


def test_names_are_looked_up_here(stage) -> None:
    steps = "- {dns: {}, expect: {asked: relay.test}}\n- {dns: {}, expect: {never_asked: relay.test}}\n"
    record = stage.run(steps, server=SERVER, more=HOSTS + "dns: {zone: {relay.test: {AAAA: '::1'}}}\n")
    assert [verdict for _name, verdict in stage.verdicts(record)] == ["fail", "pass"]
    assert stage.adapter.configurations[-1].dns.address == "127.0.0.1"


def test_names_are_those_of_the_case(stage) -> None:
    found = []

    def ask() -> None:
        query = dns.message.make_query("relay.test", "AAAA")
        port = stage.adapter.configurations[-1].dns.port
        answer = dns.query.udp(query, "127.0.0.1", timeout=60, port=port)
        found.extend(str(item) for rrset in answer.answer for item in rrset)

    stage.adapter.does["queue.retry"] = ask
    steps = (
        "- queue: {retry: true}\n"
        "- {dns: {zone: {relay.test: {AAAA: '::2'}}}, expect: {asked: AAAA relay.test}}\n"
        "- queue: {retry: true}\n- dns: {remove: relay.test}\n- queue: {retry: true}\n"
    )
    names = "dns: {zone: {relay.test: {AAAA: '::1'}}}\n"
    assert stage.run(steps, server=SERVER, more=HOSTS + names).verdict == "pass"
    assert found == ["::1", "::2"]


SENT = b"Subject: x\r\n\r\nbody\r\n"


@pytest.mark.parametrize(
    ("arrived", "words"),
    [
        (SENT, []),
        (RECEIVED + SENT, []),
        (b"Return-Path: <a@b>\r\n" + RECEIVED + SENT, []),
        (RECEIVED + SENT + b"\r\n", ["its octets are others"]),
        (SENT.replace(b"body", b"Body"), ["its octets are others"]),
        (b"not a field\r\n" + SENT, ["before the message stands what is no header field"]),
        (b"\r\n" + SENT, ["before the message stands what is no header field"]),
    ],
)
def test_octet_by_octet(arrived, words) -> None:
    found = list(different(SENT, arrived))
    assert len(found) == len(words)
    assert all(one.startswith(begin) for one, begin in zip(found, words, strict=True))


def test_a_conversion_says_the_same() -> None:
    head = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
    sent = head + "8bit\r\n\r\nGrüße\r\n".encode()
    assert says_the_same(sent, head + b"quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n")
    assert not says_the_same(sent, head + b"quoted-printable\r\n\r\nGr=C3=BC=C3=9F\r\n")
    assert not says_the_same(sent, sent)
