"""The transcript."""

from __future__ import annotations

from conformance.run.transcript import MAX_LINES, Transcript


def test_events_are_kept_in_order_with_their_times() -> None:
    transcript = Transcript()
    transcript.record("client[::1]:1", "connect", "[::1]:25")
    transcript.action("restart")
    first, second = transcript.lines
    assert (first.who, first.kind, first.text) == ("client[::1]:1", "connect", "[::1]:25")
    assert (second.who, second.kind, second.text) == ("harness", "action", "restart")
    assert 0 <= first.at <= second.at <= round(transcript.seconds, 4)


def test_what_is_too_much_is_counted() -> None:
    transcript = Transcript()
    for number in range(MAX_LINES):
        transcript.action(str(number))
    assert len(transcript.lines) == MAX_LINES
    for _ in range(3):
        transcript.action("more")
    lines = transcript.lines
    assert len(lines) == MAX_LINES + 1
    assert lines[-2].text == str(MAX_LINES - 1)
    assert (lines[-1].kind, lines[-1].text) == ("note", "3 more lines were left out")
