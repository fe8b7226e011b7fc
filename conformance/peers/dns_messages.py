"""Answers of the test DNS server, built with dnspython. Pure: a question and a zone give an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from conformance.peers.names import Failure, Records

MAX_CHAIN = 64
"""CNAMEs that are followed; a loop is answered as far as that (RFC 1034 §3.6.2 leaves it open)."""
_RCODES = {
    "servfail": dns.rcode.SERVFAIL,
    "refused": dns.rcode.REFUSED,
    "nxdomain": dns.rcode.NXDOMAIN,
}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a name in lower case without the last dot, and a type."""

    name: str
    type: str


def parse(wire: bytes) -> tuple[dns.message.Message, Question] | None:
    """Return a query and its question; None for what is no query of one question."""
    try:
        query = dns.message.from_wire(wire)
    except dns.exception.DNSException:
        return None
    if query.flags & dns.flags.QR or query.opcode() != dns.opcode.QUERY or len(query.question) != 1:
        return None
    asked = query.question[0]
    name = asked.name.to_text(omit_final_dot=True).lower()
    return query, Question(name, dns.rdatatype.to_text(asked.rdtype))


def fitting(failures: tuple[Failure, ...], question: Question, over: str) -> Failure | None:
    """Return the first failure that fits the question."""
    for one in failures:
        name = None if one.name is None else one.name.rstrip(".").lower()
        if name in (None, question.name) and one.type in (None, question.type) and one.over in (None, over):
            return one
    return None


def answer(
    query: dns.message.Message, question: Question, zone: Mapping[str, Records], failure: Failure | None
) -> dns.message.Message:
    """Return the answer as a resolver gives it: CNAMEs followed, RA set. Of a failure, that one."""
    response = dns.message.make_response(query, recursion_available=True)
    code = None if failure is None else _RCODES.get(failure.answer)
    if code is not None:
        response.set_rcode(code)
        return response
    response.set_rcode(_fill(response, question, zone))
    return response


def _fill(response: dns.message.Message, question: Question, zone: Mapping[str, Records]) -> dns.rcode.Rcode:
    name = question.name
    for _ in range(MAX_CHAIN):
        found = zone.get(name)
        if found is None:
            return dns.rcode.NXDOMAIN
        if found.CNAME is not None:
            response.answer.append(_rrset(name, found.ttl, "CNAME", (found.CNAME,)))
            if question.type == "CNAME":
                break
            name = found.CNAME.rstrip(".").lower()
            continue
        texts = cast("tuple[str, ...]", getattr(found, question.type, ()))
        if texts:
            response.answer.append(_rrset(name, found.ttl, question.type, texts))
        break
    return dns.rcode.NOERROR


def _rrset(name: str, ttl: int, kind: str, texts: tuple[str, ...]) -> dns.rrset.RRset:
    absolute = [_absolute(kind, text) for text in texts]
    return dns.rrset.from_text(
        dns.name.from_text(name), ttl, dns.rdataclass.IN, dns.rdatatype.from_text(kind), *absolute
    )


def _absolute(kind: str, text: str) -> str:
    if kind in ("CNAME", "MX") and not text.endswith("."):
        return f"{text}."
    return f'"{text}"' if kind == "TXT" else text


def problem(name: str, records: Records) -> str:
    """Say what is wrong with what a zone says of a name; "" for nothing."""
    others = [kind for kind in ("A", "AAAA", "MX", "TXT") if getattr(records, kind)]
    if records.CNAME is not None and others:
        return f"a name with a CNAME has nothing else (RFC 1034 §3.6.2), and {name} has {others[0]}, too"
    for kind in ("A", "AAAA", "MX", "TXT", "CNAME"):
        value = getattr(records, kind)
        for text in (value,) if isinstance(value, str) else value or ():
            try:
                _rrset(name, 0, kind, (text,))
            except (dns.exception.DNSException, ValueError) as error:
                return f"{text!r} is no {kind} record: {str(error) or type(error).__name__}"
    return ""
