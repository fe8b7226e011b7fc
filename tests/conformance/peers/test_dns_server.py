"""The DNS server of a case, asked over UDP and TCP, IPv4 and IPv6."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from conformance.addresses import parse
from conformance.peers import sockets
from conformance.peers.dns_server import DnsServer
from conformance.peers.names import Failure, Records

BOTH = (parse("127.0.0.1"), parse("::1"))
LIMIT = 60.0
ZONE = {
    "both.test": {"A": "192.0.2.1", "AAAA": ["2001:db8::1", "2001:db8::2"]},
    "six.test": {"AAAA": "2001:db8::6"},
    "alias.test": {"CNAME": "second.test"},
    "second.test": {"CNAME": "both.test"},
    "loop.test": {"CNAME": "loop.test"},
    "mail.test": {"MX": ["10 mx1.test", "20 mx2.test"], "TXT": "some text"},
    "nomail.test": {"MX": "0 ."},
    "large.test": {"A": [f"192.0.2.{number}" for number in range(100)]},
}


class Asked:
    def __init__(self, server: DnsServer) -> None:
        self.server = server

    def __call__(
        self, name: str, kind: str = "AAAA", *, over: str = "udp", at: str = "::1", **options: Any
    ) -> dns.message.Message:
        query = dns.message.make_query(name, kind, **options)
        ask = {"udp": dns.query.udp, "tcp": dns.query.tcp}[over]
        return ask(query, at, timeout=LIMIT, port=self.server.port)

    def texts(self, *words: str, **options: Any) -> list[str]:
        return sorted(str(item) for rrset in self(*words, **options).answer for item in rrset)

    def fails(self, **failure: Any) -> None:
        self.server.change(failures=[Failure.model_validate(failure)])


@pytest.fixture
def ask() -> Iterator[Asked]:
    server = DnsServer(BOTH, sockets.claim(BOTH, udp=True))
    server.open()
    server.change({name: Records.model_validate(records) for name, records in ZONE.items()})
    yield Asked(server)
    server.close()
    assert [thread.name for thread in threading.enumerate()] == ["MainThread"]


@pytest.mark.parametrize("over", ["udp", "tcp"])
@pytest.mark.parametrize("at", ["127.0.0.1", "::1"])
def test_it_answers_each_way(ask, over, at) -> None:
    assert ask.texts("both.test", over=over, at=at) == ["2001:db8::1", "2001:db8::2"]
    assert ask.texts("BOTH.test", "A", over=over, at=at) == ["192.0.2.1"]
    (query, _) = ask.server.queries
    assert (query.name, query.type, query.over, str(query.source)) == ("both.test", "AAAA", over, at)


def test_several_questions_on_one_connection(ask) -> None:
    with socket.create_connection(("::1", ask.server.port)) as sock:
        for _ in range(3):
            answer = dns.query.tcp(
                dns.message.make_query("six.test", "AAAA"), "::1", timeout=LIMIT, sock=sock
            )
            assert len(answer.answer) == 1


def test_one_family_only(ask) -> None:
    answer = ask("six.test", "A")
    assert (answer.rcode(), answer.answer) == (dns.rcode.NOERROR, [])
    assert answer.flags & dns.flags.RA


def test_a_name_that_is_not_there(ask) -> None:
    assert ask("none.test").rcode() == dns.rcode.NXDOMAIN


def test_mail_exchangers(ask) -> None:
    assert ask.texts("mail.test", "MX") == ["10 mx1.test.", "20 mx2.test."]
    assert ask.texts("nomail.test", "MX") == ["0 ."]
    assert ask.texts("mail.test", "TXT") == ['"some text"']


def test_aliases_are_followed(ask) -> None:
    assert ask.texts("alias.test", "A") == ["192.0.2.1", "both.test.", "second.test."]
    assert ask.texts("alias.test", "CNAME") == ["second.test."]
    assert ask("loop.test").rcode() == dns.rcode.NOERROR


def test_an_alias_to_nowhere(ask) -> None:
    ask.server.change({"lost.test": Records(CNAME="none.test")})
    assert ask("lost.test").rcode() == dns.rcode.NXDOMAIN
    assert ask.texts("lost.test") == ["none.test."]


@pytest.mark.parametrize("word", ["servfail", "refused", "nxdomain"])
@pytest.mark.parametrize("over", ["udp", "tcp"])
def test_failures(ask, word, over) -> None:
    ask.fails(answer=word)
    assert ask("both.test", over=over).rcode() == dns.rcode.from_text(word)


def test_a_failure_of_one_name_and_type(ask) -> None:
    ask.fails(name="both.test", type="AAAA", answer="servfail", over="udp")
    assert ask("both.test").rcode() == dns.rcode.SERVFAIL
    for words, options in ((("both.test", "A"), {}), (("six.test",), {}), (("both.test",), {"over": "tcp"})):
        assert ask(*words, **options).rcode() == dns.rcode.NOERROR


def test_a_failure_that_ends(ask) -> None:
    ask.fails(answer="servfail", times=2)
    assert [ask("six.test").rcode() == dns.rcode.SERVFAIL for _ in range(3)] == [True, True, False]


def test_no_answer(ask) -> None:
    ask.fails(name="six.test", answer="nothing")
    with pytest.raises(dns.exception.Timeout):
        dns.query.udp(dns.message.make_query("six.test", "AAAA"), "::1", timeout=0.3, port=ask.server.port)
    with pytest.raises(EOFError):
        ask("six.test", over="tcp")
    assert len(ask.texts("both.test")) == 2


def test_a_cut_answer_is_whole_over_tcp(ask) -> None:
    ask.fails(answer="truncated")
    answer = ask("six.test")
    assert answer.flags & dns.flags.TC
    assert answer.answer == []
    assert ask.texts("six.test", over="tcp") == ["2001:db8::6"]


def test_what_does_not_fit_is_cut(ask) -> None:
    assert ask("large.test", "A").flags & dns.flags.TC
    assert not ask("large.test", "A", use_edns=0, payload=4096).flags & dns.flags.TC
    assert len(ask.texts("large.test", "A", over="tcp")) == 100


def test_a_late_answer_keeps_nobody_waiting(ask) -> None:
    ask.fails(name="six.test", delay="1s")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.sendto(dns.message.make_query("six.test", "AAAA").to_wire(), ("::1", ask.server.port))
        assert len(ask.texts("both.test")) == 2
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        sock.settimeout(LIMIT)
        assert len(dns.message.from_wire(sock.recv(4096)).answer) == 1


def test_the_zone_changes(ask) -> None:
    ask.server.change({"six.test": Records(A=("192.0.2.6",))}, remove=["both.test"])
    assert (ask.texts("six.test"), ask.texts("six.test", "A")) == ([], ["192.0.2.6"])
    assert ask("both.test").rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize("junk", [b"", b"x", bytes(12), b"\xff" * 40])
def test_junk_is_not_answered(ask, junk) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.sendto(junk, ("::1", ask.server.port))
    assert len(ask.texts("both.test")) == 2
    assert len(ask.server.queries) == 1
