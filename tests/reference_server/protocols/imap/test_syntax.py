from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_server.protocols.imap import names
from reference_server.protocols.imap.folders import with_crlf
from reference_server.protocols.imap.syntax import (
    Arguments,
    Bad,
    No,
    SequenceSet,
    date_time_text,
    string,
)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1", [1]),
        ("2:4", [2, 4]),
        ("4:2", [2, 4]),
        ("*", [9]),
        ("8:*", [9]),
        ("*:8", [9]),
        ("50:*", [9]),
        ("1,4,*", [1, 4, 9]),
        ("3", []),
    ],
)
def test_sequence_sets(text: str, numbers: list[int]) -> None:
    assert Arguments(text.encode()).sequence_set().resolve([1, 2, 4, 9]) == numbers
    assert Arguments(text.encode()).sequence_set().resolve([]) == []


def whole_set(text: str) -> SequenceSet:
    arguments = Arguments(text.encode())
    found = arguments.sequence_set()
    arguments.end()
    return found


@pytest.mark.parametrize("text", ["", "0", "a", ":1", "-1", "99999999999"])
def test_what_is_no_sequence_set(text: str) -> None:
    with pytest.raises(Bad):
        whole_set(text)


def test_sets_are_values() -> None:
    assert SequenceSet(((1, None),)) == Arguments(b"1:*").sequence_set()


def test_strings() -> None:
    arguments = Arguments(rb'atom "qu\"o\\ted" {3}' + b"\r\n {0}\r\n end", [b"a\r\n", b""])
    found = []
    for _ in range(5):
        found.append(arguments.astring())
        arguments.take(b" ")
    assert found == [b"atom", b'qu"o\\ted', b"a\r\n", b"", b"end"]
    arguments.end()


@given(st.binary(max_size=60))
def test_what_is_written_reads_back(octets: bytes) -> None:
    text = string(octets)
    if text.startswith(b"{"):
        head, _, tail = text.partition(b"\r\n")
        assert tail == octets
        assert head == b"{%d}" % len(octets)
    else:
        assert Arguments(text).astring() == octets


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_mailbox_names_survive_modified_utf7(name: str) -> None:
    assert names.encoded(name).isascii()
    if not name.upper().startswith("INBOX"):
        assert names.decoded(names.encoded(name)) == name


def test_names() -> None:
    assert (
        names.encoded("~peter/mail/台北/日本語") == b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"
    )  # RFC 3501 section 5.1.3
    assert names.decoded(b"inbox") == "INBOX"
    assert names.decoded(b"iNbOx/Sub") == "INBOX/Sub"
    assert names.decoded(b"Inboxes") == "Inboxes"
    assert names.parents("a/b/c") == ["a", "a/b"]
    for wrong in (b"", b"/a", b"a//b", b"a*b", b"a%", b" a", b"a\x01"):
        with pytest.raises(No):
            names.new_name(wrong)
    assert names.new_name(b"a/b/") == "a/b"


def test_patterns_with_many_wildcards_are_quick() -> None:
    pattern = names.matcher("", "*%" * 200 + "x")
    assert pattern.fullmatch("a" * 250) is None


def test_dates() -> None:
    assert Arguments(b"1-feb-2026").date() == date(2026, 2, 1)
    moment = datetime(2026, 2, 1, 23, 30, tzinfo=UTC)
    assert date_time_text(moment) == b'" 1-Feb-2026 23:30:00 +0000"'
    assert Arguments(b'" 1-Feb-2026 21:00:00 -0230"').date_time() == moment
    for wrong in (b"31-Feb-2026", b"1-Foo-2026", b"2026-02-01"):
        with pytest.raises(Bad):
            Arguments(wrong).date()
    for wrong in (
        b'"01-Feb-2026 25:00:00 +0000"',
        b'"01-Feb-2026 00:00:00 +9900"',
        b'"01-Xxx-2026 00:00:00 +0000"',
    ):
        with pytest.raises(Bad):
            Arguments(wrong).date_time()


def test_line_ends() -> None:
    assert with_crlf(b"a\nb\r\nc\rd") == b"a\r\nb\r\nc\r\nd"
    same = b"a\r\nb"
    assert with_crlf(same) is same
