from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_server.protocols.smtp_data import DataText, Fault

LIMIT = 100_000


def collect(wire: bytes, cuts: list[int] | None = None, limit: int = LIMIT) -> tuple[DataText, bytes]:
    """Feed ``wire`` cut at ``cuts``; return the text and what is left over."""
    text = DataText(limit)
    bounds = [0, *sorted(set(cuts or [])), len(wire)]
    pieces = [wire[start:end] for start, end in pairwise(bounds)]
    while pieces and not text.complete:
        rest = text.feed(pieces.pop(0))
        if text.complete:
            return text, rest + b"".join(pieces)
        assert rest == b""
    return text, b"".join(pieces)


def stuffed(content: bytes) -> bytes:
    return b"".join(
        (b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in content.split(b"\r\n")[:-1]
    )


LINES = st.lists(
    st.binary(max_size=40).map(lambda b: b.replace(b"\r", b".").replace(b"\n", b".")), max_size=8
)


@given(LINES, st.lists(st.integers(0, 400), max_size=12), st.sampled_from([b"", b"QUIT\r\n", b".\r\n"]))
def test_however_the_octets_arrive_the_message_is_the_same(
    lines: list[bytes], cuts: list[int], after: bytes
) -> None:
    content = b"".join(line + b"\r\n" for line in lines)
    wire = stuffed(content) + b".\r\n" + after
    text, rest = collect(wire, [cut for cut in cuts if cut < len(wire)])
    assert text.complete
    assert text.fault is None
    assert text.content() == content
    assert rest == after


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n", b"\r\n.\r\n"]), max_size=30), st.data())
def test_only_crlf_dot_crlf_ends_it_however_it_is_cut(parts: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(parts)
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=10))
    text, rest = collect(wire, cuts)
    end = (b"\r\n" + wire).find(b"\r\n.\r\n")
    assert text.complete is (end >= 0)
    if text.complete:
        assert rest == (b"\r\n" + wire)[end + 5 :]
        body = wire[:end]
        clean = body.replace(b"\r\n", b"")
        assert (text.fault is Fault.BARE_LINE_END) is (b"\r" in clean or b"\n" in clean)


@pytest.mark.parametrize(
    "end",
    [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r.\r", b"\r\n.\r\r\n", b"\r\n.\0\r\n", b"\r.\r\n"],
)
def test_no_other_end_ends_the_text(end: bytes) -> None:
    text, _ = collect(b"Subject: x\r\n\r\nbody" + end + b"MAIL FROM:<evil@x>\r\n")
    assert not text.complete


@pytest.mark.parametrize(
    "bad", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\r\n", b"\n\r\n", b"a\n.\r\nMAIL FROM:<x@y>\r\n"]
)
def test_a_bare_cr_or_lf_is_a_fault(bad: bytes) -> None:
    text, rest = collect(bad + b".\r\n")
    assert text.complete
    assert text.fault is Fault.BARE_LINE_END
    assert rest == b""


def test_line_length_is_without_line_end_and_transparency_dot() -> None:
    assert collect(b"x" * 998 + b"\r\n.\r\n")[0].fault is None
    assert collect(b"x" * 999 + b"\r\n.\r\n")[0].fault is Fault.LINE_TOO_LONG
    text, _ = collect(b".." + b"x" * 997 + b"\r\n.\r\n")
    assert text.fault is None
    assert text.content() == b"." + b"x" * 997 + b"\r\n"
    assert collect(b".." + b"x" * 998 + b"\r\n.\r\n")[0].fault is Fault.LINE_TOO_LONG


def test_a_line_without_end_does_not_grow() -> None:
    text = DataText(LIMIT)
    for _ in range(1000):
        text.feed(b"x" * 10_000)
        assert len(text._pending) < 2000
    assert text.feed(b"\r\n.\r\nNOOP\r\n") == b"NOOP\r\n"
    assert text.complete
    assert text.fault is Fault.LINE_TOO_LONG


def test_size_counts_octets_of_the_message() -> None:
    content = b"x" * 98 + b"\r\n"
    assert collect(content * 2 + b".\r\n", limit=200)[0].fault is None
    assert collect(content * 2 + b".\r\n", limit=199)[0].fault is Fault.TOO_BIG
    # Dots of transparency do not count.
    assert collect(b"..\r\n" + b".\r\n", limit=3)[0].fault is None


def test_the_beginning() -> None:
    text = DataText(LIMIT)
    for line in (b"one\r\n", b"two\r\n", b"three\r\n", b".\r\n"):
        text.feed(line)
    assert text.beginning(1).startswith(b"one\r\n")
    assert text.beginning(6).startswith(b"one\r\ntwo\r\n"[:6])
    assert text.beginning(1000) == b"one\r\ntwo\r\nthree\r\n"
    assert text.content(b"X: y\r\n") == b"X: y\r\none\r\ntwo\r\nthree\r\n"


def test_an_empty_message() -> None:
    text, rest = collect(b".\r\n")
    assert text.complete
    assert text.content() == b""
    assert rest == b""
