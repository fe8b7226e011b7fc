from __future__ import annotations

import email
import email.policy
from base64 import b64decode
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from ipaddress import ip_address
from typing import cast

from reference_server import limits
from reference_server.delivery.bounce import NotReached, Returned, report
from reference_server.delivery.results import Outcome, Result, later
from reference_server.delivery.smtp_client import is_sendable

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
REFUSED = Result(Outcome.FAILED, "5.1.1", "550 5.1.1 no such user", "mx.far.test ([2001:db8::25]:25)")
RETURNED = Returned(
    sender="ann@example.test",
    content=b"Subject: hello\r\n\r\n.dot\r\nend\r\n",
    received=NOW,
    trace_id="a.1",
    helo="client.test",
    peer=ip_address("2001:db8::1"),
    recipients=(
        NotReached("joe@far.test", REFUSED),
        NotReached("sue@far.test", later("4.4.1", "hop: Connection refused"), "given up after 4 tries"),
    ),
)


def parsed(returned: Returned = RETURNED) -> EmailMessage:
    text = report(returned, "mail.example.test", NOW, "ab12")
    assert is_sendable(text)
    message = email.message_from_bytes(text, policy=email.policy.SMTP)
    assert message.defects == []
    return cast(EmailMessage, message)


def test_it_is_a_report_that_nobody_answers() -> None:
    message = parsed()
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["To"] == "ann@example.test"
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@mail.example.test>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Message-ID"] == "<ab12@mail.example.test>"
    kinds = [part.get_content_type() for part in message.iter_parts()]
    assert kinds == ["text/plain", "message/delivery-status", "message/rfc822"]


def test_people_read_who_and_why() -> None:
    text = next(parsed().iter_parts()).get_content()
    for words in ("<joe@far.test>", "550 5.1.1 no such user", "given up after 4 tries", "mx.far.test"):
        assert words in text


def test_programs_read_each_recipient() -> None:
    blocks = list(parsed().iter_parts())[1].get_payload()
    whole, joe, sue = cast(list[EmailMessage], blocks)
    assert whole["Reporting-MTA"] == "dns; mail.example.test"
    assert whole["Received-From-MTA"] == "dns; client.test ([IPv6:2001:db8::1])"
    assert (joe["Final-Recipient"], joe["Action"], joe["Status"]) == (
        "rfc822; joe@far.test",
        "failed",
        "5.1.1",
    )
    assert joe["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user"
    assert joe["Remote-MTA"] == "dns; mx.far.test ([2001:db8::25]:25)"
    assert sue["Status"] == "4.4.1"
    assert sue["Diagnostic-Code"] == "x-sixpost; hop: Connection refused"
    assert sue["Remote-MTA"] is None


def test_a_small_message_comes_back_whole() -> None:
    text = report(RETURNED, "mail.example.test", NOW, "ab12")
    assert b"\r\n\r\n" + RETURNED.content + b"\r\n--report-ab12--" in text


def test_of_a_big_one_the_header_comes_back() -> None:
    big = replace(RETURNED, content=RETURNED.content + b"x" * 70 + b"\r\n" * limits.REPORT_OCTETS)
    last = list(parsed(big).iter_parts())[-1]
    assert last.get_content_type() == "text/rfc822-headers"
    assert b"Subject: hello" in last.get_payload(decode=True)
    assert b".dot" not in last.as_bytes()


def test_a_header_without_end_is_cut_at_a_line() -> None:
    field = b"X-Long: " + b"y" * 60 + b"\r\n"
    text = report(replace(RETURNED, content=field * 3000), "mail.example.test", NOW, "ab12")
    assert len(text) < limits.REPORT_HEADER + 4096
    assert text.count(b"y" * 60) == limits.REPORT_HEADER // len(field)


def test_eight_bits_travel_encoded_so_that_the_report_passes_every_server() -> None:
    content = "Subject: äh\r\n\r\nöh\r\n".encode()
    text = report(replace(RETURNED, content=content), "mail.example.test", NOW, "ab12")
    assert text.isascii()
    last = list(parsed(replace(RETURNED, content=content)).iter_parts())[-1]
    assert b64decode(str(last.get_payload())).decode() == "Subject: äh\r\n"


def test_a_message_of_our_own_came_from_nobody() -> None:
    blocks = list(parsed(replace(RETURNED, peer=None, helo="")).iter_parts())[1].get_payload()
    assert cast(list[EmailMessage], blocks)[0]["Received-From-MTA"] is None
