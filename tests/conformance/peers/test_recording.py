"""What was seen, as values."""

from __future__ import annotations

import threading

import pytest

from conformance.addresses import parse
from conformance.peers.recording import Message, Recording

_TYPE = b"Content-Type: multipart/report; report-type=delivery-status; boundary=x\r\n"
REPORT = _TYPE + b"\r\n--x\r\n\r\nno\r\n--x--\r\n"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (Message("", ("a@b",), content=REPORT), True),
        (Message("me@b", ("a@b",), content=REPORT), False),
        (Message("", ("a@b",), content=b"Subject: no\r\n\r\nno\r\n"), False),
    ],
)
def test_a_delivery_status_notification(message, expected) -> None:
    assert message.is_notification is expected


def test_several_threads_record_at_once() -> None:
    recording = Recording()

    def visit() -> None:
        number = recording.begin("relay", parse("::1"), 1, parse("::1"))
        for _ in range(50):
            recording.add(number, Message("a@b", ("c@d",), taken=True, reply="250"))

    threads = [threading.Thread(target=visit) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert recording.wait_for(lambda visits: sum(len(one.messages) for one in visits) == 400, 60)
    for thread in threads:
        thread.join()
    assert [one.number for one in recording.visits] == list(range(1, 9))
    assert all(one.message.told for one in recording.deliveries)


def test_a_reply_that_nobody_heard() -> None:
    recording = Recording()
    number = recording.begin("relay", parse("::1"), 1, parse("::1"))
    recording.add(number, Message("a@b", ("c@d",), taken=True, reply="250 fine"))
    recording.unheard(number)
    assert (recording.deliveries[0].message.taken, recording.deliveries[0].message.told) == (True, False)
